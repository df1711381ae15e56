package devchain

import (
	"errors"
	"fmt"
	"math/big"
	"net"
	"strconv"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
)

// Mode says when blocks are made.
type Mode uint8

// The mining modes. OnDemand is the zero value.
const (
	// OnDemand makes a block as soon as there is a transaction that can be executed. A transaction that the block
	// builder refuses waits for the next event of the pool or the chain; it is not tried in a circle.
	OnDemand Mode = iota
	// Interval makes a block each BlockTime, empty ones too.
	Interval
	// Manual makes blocks only when [Chain.Mine] is called.
	Manual
)

// String returns the mode's name.
func (m Mode) String() string {
	switch m {
	case OnDemand:
		return "on-demand"
	case Interval:
		return "interval"
	case Manual:
		return "manual"
	default:
		return fmt.Sprintf("unknown(%d)", uint8(m))
	}
}

// The values that a zero field of [Config] stands for.
const (
	DefaultChainID    = 1337
	DefaultGasLimit   = 60_000_000 // gas, as on mainnet
	DefaultBaseFee    = params.GWei
	DefaultBlockTime  = time.Second
	DefaultFundedKeys = 10
	DefaultHTTPAddr   = "127.0.0.1:0"

	maxFundedKeys = 10_000
)

// ErrConfig is wrapped by every complaint about a [Config].
var ErrConfig = errors.New("devchain: config")

// Config describes a chain. The zero value is a chain 1337 that mines on demand and listens on a free loopback port.
type Config struct {
	// ChainID is the chain id; 0 means [DefaultChainID].
	ChainID uint64
	// Mining says when blocks are made.
	Mining Mode
	// BlockTime is the time between blocks in mode [Interval]; 0 means [DefaultBlockTime].
	BlockTime time.Duration
	// GasLimit is the gas limit of every block; 0 means [DefaultGasLimit].
	GasLimit uint64
	// BaseFee is the base fee of the genesis block in wei; nil means [DefaultBaseFee]. Later blocks follow EIP-1559.
	BaseFee *big.Int
	// FundedKeys is how many keys start with 10,000 ETH; 0 means [DefaultFundedKeys].
	FundedKeys int
	// HTTPAddr is the host:port of the JSON-RPC server, HTTP and WebSocket; empty means [DefaultHTTPAddr].
	HTTPAddr string
	// Alloc adds accounts to the genesis block; it may not touch an address that the chain itself fills.
	Alloc types.GenesisAlloc
	// GenesisTime is the timestamp of the genesis block in seconds; 0 means now.
	GenesisTime uint64
}

// withDefaults returns the config with its zero fields filled, and the host and port of HTTPAddr.
func (c Config) withDefaults(now time.Time) (Config, string, int, error) {
	if c.ChainID == 0 {
		c.ChainID = DefaultChainID
	}
	if c.GasLimit == 0 {
		c.GasLimit = DefaultGasLimit
	}
	if c.BaseFee == nil {
		c.BaseFee = big.NewInt(DefaultBaseFee)
	}
	if c.FundedKeys == 0 {
		c.FundedKeys = DefaultFundedKeys
	}
	if c.BlockTime == 0 {
		c.BlockTime = DefaultBlockTime
	}
	if c.HTTPAddr == "" {
		c.HTTPAddr = DefaultHTTPAddr
	}
	if c.GenesisTime == 0 {
		c.GenesisTime = uint64(max(now.Unix(), 0))
	}
	switch {
	case c.Mining > Manual:
		return c, "", 0, fmt.Errorf("%w: mining: have %v, want on-demand, interval or manual", ErrConfig, c.Mining)
	case c.GasLimit < params.MinGasLimit:
		return c, "", 0, fmt.Errorf("%w: gas limit: have %d, want at least %d", ErrConfig, c.GasLimit, params.MinGasLimit)
	case c.BaseFee.Sign() < 0 || c.BaseFee.BitLen() > 128:
		return c, "", 0, fmt.Errorf("%w: base fee: have %v, want 0 to 2^128-1 wei", ErrConfig, c.BaseFee)
	case c.FundedKeys < 0 || c.FundedKeys > maxFundedKeys:
		return c, "", 0, fmt.Errorf("%w: funded keys: have %d, want 1 to %d", ErrConfig, c.FundedKeys, maxFundedKeys)
	case c.BlockTime < 0:
		return c, "", 0, fmt.Errorf("%w: block time: have %v, want more than 0", ErrConfig, c.BlockTime)
	}
	host, portText, err := net.SplitHostPort(c.HTTPAddr)
	if err != nil || host == "" {
		return c, "", 0, fmt.Errorf("%w: HTTP address: have %q, want host:port", ErrConfig, c.HTTPAddr)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return c, "", 0, fmt.Errorf("%w: HTTP address: have port %q, want 0 to 65535", ErrConfig, portText)
	}
	return c, host, int(port), nil
}

// ChainConfig returns the rules of the chain: mainnet's forks as they are today (up to Osaka and its blob parameter
// forks BPO1 and BPO2), spelled out by name and active from genesis, after the merge. An upgrade of go-ethereum that adds
// a fork does not change them.
func ChainConfig(chainID uint64) *params.ChainConfig {
	zero := func() *big.Int { return new(big.Int) }
	genesis := func() *uint64 { return new(uint64) }
	return &params.ChainConfig{
		ChainID:                 new(big.Int).SetUint64(chainID),
		HomesteadBlock:          zero(),
		EIP150Block:             zero(),
		EIP155Block:             zero(),
		EIP158Block:             zero(),
		ByzantiumBlock:          zero(),
		ConstantinopleBlock:     zero(),
		PetersburgBlock:         zero(),
		IstanbulBlock:           zero(),
		MuirGlacierBlock:        zero(),
		BerlinBlock:             zero(),
		LondonBlock:             zero(),
		ArrowGlacierBlock:       zero(),
		GrayGlacierBlock:        zero(),
		TerminalTotalDifficulty: zero(),
		MergeNetsplitBlock:      zero(),
		ShanghaiTime:            genesis(),
		CancunTime:              genesis(),
		PragueTime:              genesis(),
		OsakaTime:               genesis(),
		BPO1Time:                genesis(),
		BPO2Time:                genesis(),
		DepositContractAddress:  common.HexToAddress("0x00000000219ab540356cBB839Cbe05303d7705Fa"),
		Ethash:                  new(params.EthashConfig),
		BlobScheduleConfig: &params.BlobScheduleConfig{
			Cancun: &params.BlobConfig{Target: 3, Max: 6, UpdateFraction: 3_338_477},
			Prague: &params.BlobConfig{Target: 6, Max: 9, UpdateFraction: 5_007_716},
			BPO1:   &params.BlobConfig{Target: 10, Max: 15, UpdateFraction: 8_346_193},
			BPO2:   &params.BlobConfig{Target: 14, Max: 21, UpdateFraction: 11_684_671},
		},
	}
}
