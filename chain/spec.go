package chain

import (
	"embed"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"baler/datafee"

	"github.com/BurntSushi/toml"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

// Spec is what is sane on a chain: the defaults of settings that an operator leaves open. Fees are in wei per gas,
// budgets in wei of the chain's own coin.
type Spec struct {
	Name string

	// BlockTime is the time between blocks.
	BlockTime time.Duration
	// MaxFeePerGas is the most a bundle offers, MinPriorityFee the least priority fee of one.
	MaxFeePerGas   uint256.Int
	MinPriorityFee uint256.Int
	// MaxBundleFee is the most a bundle transaction may cost, MaxCancellationSpend the most one cancellation may.
	MaxBundleFee         uint256.Int
	MaxCancellationSpend uint256.Int
	// DataFees says how a transaction pays for its data, beside the gas of its execution.
	DataFees datafee.Kind
}

// PollInterval is how often the newest block is asked for where heads are not announced.
func (s Spec) PollInterval() time.Duration {
	return min(max(s.BlockTime/4, 100*time.Millisecond), 2*time.Second)
}

//go:embed specs.toml
var specFile embed.FS

// storedSpec is one table of specs.toml, which explains its fields.
type storedSpec struct {
	ChainIDs             []uint64 `toml:"chain_ids"`
	BlockTimeMS          uint64   `toml:"block_time_ms"`
	MaxFeeGwei           uint64   `toml:"max_fee_gwei"`
	MinPriorityFeeWei    uint64   `toml:"min_priority_fee_wei"`
	MaxBundleFeeMilli    uint64   `toml:"max_bundle_fee_milli"`
	MaxCancellationMilli uint64   `toml:"max_cancellation_milli"`
}

// specs reads the file, once. That it is right is a promise of the tests.
var specs = sync.OnceValue(func() map[string]storedSpec {
	stored := make(map[string]storedSpec)
	meta, err := toml.DecodeFS(specFile, "specs.toml", &stored)
	if err == nil && len(meta.Undecoded()) > 0 {
		err = fmt.Errorf("unknown keys: %v", meta.Undecoded())
	}
	if err != nil {
		panic(fmt.Sprintf("specs.toml: %v", err))
	}
	return stored
})

// SpecNames returns the names of the specs, in the order of the alphabet.
func SpecNames() []string { return slices.Sorted(maps.Keys(specs())) }

// SpecNamed returns a spec by its name, for a chain that is like it.
func SpecNamed(name string, chainID uint64) (Spec, bool) {
	stored, known := specs()[name]
	if !known {
		return Spec{}, false
	}
	return stored.spec(name, chainID), true
}

// SpecOf returns the spec of a chain. One that is not known gets Ethereum's numbers, which are the most careful where a
// coin is worth less, and no more than a budget where it is worth as much; its heads are polled more often.
func SpecOf(chainID uint64) Spec {
	for name, stored := range specs() {
		if slices.Contains(stored.ChainIDs, chainID) {
			return stored.spec(name, chainID)
		}
	}
	spec := specs()["ethereum"].spec("unknown", chainID)
	spec.BlockTime = 2 * time.Second
	return spec
}

func (s storedSpec) spec(name string, chainID uint64) Spec {
	spec := Spec{Name: name, BlockTime: time.Duration(s.BlockTimeMS) * time.Millisecond, DataFees: dataFeesOf(chainID)}
	milli := uint256.NewInt(params.Ether / 1000)
	spec.MaxFeePerGas.Mul(uint256.NewInt(s.MaxFeeGwei), uint256.NewInt(params.GWei))
	spec.MinPriorityFee.SetUint64(s.MinPriorityFeeWei)
	spec.MaxBundleFee.Mul(uint256.NewInt(s.MaxBundleFeeMilli), milli)
	spec.MaxCancellationSpend.Mul(uint256.NewInt(s.MaxCancellationMilli), milli)
	return spec
}

// dataFeesOf returns how the rollups that are known charge for data. Of the OP stack's chains those with fees of their own
// making, as Mantle are left out.
func dataFeesOf(chainID uint64) datafee.Kind {
	switch chainID {
	case 10, 11155420, // OP mainnet and Sepolia
		8453, 84532, // Base
		130, 1301, // Unichain
		252,       // Fraxtal
		288,       // Boba
		480, 4801, // World Chain
		1135, 1868, // Lisk, Soneium
		34443, 57073, // Mode, Ink
		7777777, 60808: // Zora, BOB
		return datafee.OPStack
	case 42161, 42170, 421614: // Arbitrum One, Nova and Sepolia
		return datafee.Arbitrum
	case 534352, 534351: // Scroll and Scroll Sepolia
		return datafee.Scroll
	default:
		return datafee.None
	}
}
