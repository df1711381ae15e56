package chain

import (
	"math/big"

	"baler/datafee"

	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

// Spec is what is sane on a chain: the defaults of settings that an operator leaves open. Fees are in wei per gas,
// budgets in wei of the chain's own coin.
type Spec struct {
	Name string

	// MaxFeePerGas is the most a bundle offers.
	MaxFeePerGas uint256.Int
	// MaxBundleFee is the most a bundle transaction may cost, MaxCancellationSpend the most one cancellation may.
	MaxBundleFee         uint256.Int
	MaxCancellationSpend uint256.Int
	// DataFees says how a transaction pays for its data, beside the gas of its execution.
	DataFees datafee.Kind
}

// SpecOf returns the spec of a chain. One that is not known gets Ethereum's numbers, which are the most careful where a
// coin is worth less, and no more than a budget where it is worth as much.
func SpecOf(chainID uint64) Spec {
	spec := budgetsOf(chainID)
	spec.DataFees = dataFeesOf(chainID)
	return spec
}

func budgetsOf(chainID uint64) Spec {
	ethereum := budgets("ethereum", 2_000, 2_000, 50)
	switch chainID {
	case 1:
		return ethereum
	case 11155111:
		return budgets("sepolia", 2_000, 2_000, 50)
	case 10:
		return budgets("optimism", 100, 100, 5)
	case 8453:
		return budgets("base", 100, 100, 5)
	case 42161:
		return budgets("arbitrum", 100, 100, 5)
	case 137:
		return budgets("polygon", 20_000, 500_000, 5_000)
	case 56:
		return budgets("bnb", 500, 2_000, 50)
	case 100:
		return budgets("gnosis", 5_000, 100_000, 2_000)
	case 43114:
		return budgets("avalanche", 5_000, 100_000, 2_000)
	case 1337:
		return budgets("dev", 100_000, 10_000, 1_000)
	default:
		ethereum.Name = "unknown"
		return ethereum
	}
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
	default:
		return datafee.None
	}
}

// budgets makes a spec of a fee in gwei and budgets in thousandths of the coin.
func budgets(name string, maxFeeGwei, maxBundleFeeMilli, maxCancellationMilli uint64) Spec {
	spec := Spec{Name: name}
	spec.MaxFeePerGas.Mul(uint256.NewInt(maxFeeGwei), uint256.NewInt(params.GWei))
	milli := uint256.MustFromBig(big.NewInt(params.Ether / 1000))
	spec.MaxBundleFee.Mul(uint256.NewInt(maxBundleFeeMilli), milli)
	spec.MaxCancellationSpend.Mul(uint256.NewInt(maxCancellationMilli), milli)
	return spec
}
