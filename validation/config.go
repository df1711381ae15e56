package validation

import (
	"context"

	"baler/datafee"
	"baler/erc7562"
	"baler/gas"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

// Config is what an operator may choose. The zero value of a field means its default.
type Config struct {
	Limits          erc7562.Limits      // ERC-7562's constants
	PreVerification gas.PreVerification // how much preVerificationGas an operation must offer

	// Aggregators are the signature aggregators that are served; nil: none.
	Aggregators Aggregators
	// DataFees tells what data costs on the chain, which preVerificationGas must pay for too; nil: nothing.
	DataFees *datafee.Oracle

	// MinCallGasLimit is the least callGasLimit: the cost of a CALL with value, 9,000 and the 100 of a warm account.
	MinCallGasLimit uint64
	// MinMaxFee and MinPriorityFee are the least fees, wei per gas, whatever the base fee is.
	MinMaxFee      uint256.Int
	MinPriorityFee uint256.Int
	// ExpirySlack is how many seconds after the head an operation must still be valid; default 30.
	ExpirySlack uint64
	// ExpiryBlockSlack is the same for operations whose validity is in block numbers (v0.9); default 3.
	ExpiryBlockSlack uint64
	// SimulationGas is the gas of the local call that validates one operation; default 30,000,000.
	SimulationGas uint64
	// Beneficiary stands for the bundler in the validation of one operation. It must be without code. The default is
	// an address nobody has.
	Beneficiary common.Address
	// Unsafe keeps operations that break the rules of ERC-7562 on opcodes, code, storage and stakes: the verdicts are in
	// the result, and everything else is as without it. For chains with a single trusted sender of operations.
	Unsafe bool
	// Tracing says when the node's debug_traceCall simulates in place of the local EVM.
	Tracing Tracing
	// Stakes say who counts as staked; default: 1e18 wei, 86,400 seconds.
	Stakes erc7562.StakeLimits
	// Precompiles are the chain's precompiled contracts beyond those that go-ethereum has for its fork (OP-062).
	Precompiles []common.Address
	// SampleEvery says how often the local EVM is compared with the node's: for one operation in so many, and for the
	// first; default 500, negative: never. See Validator.SelfCheck.
	SampleEvery int
	// OnDisagreement, if not nil, is told of each disagreement, by the goroutine that found it.
	OnDisagreement func(Disagreement)
	// OnAgreement, if not nil, is told of each comparison that found none: at which of several nodes, and at which block.
	OnAgreement func(node string, block uint64)
	// Answerer, if not nil, returns a context to ask a node with, and tells afterwards which of several has answered.
	Answerer func(context.Context) (asking context.Context, answerer func() string)
	// NodeCheck says which bundles the node has the last word on, by an eth_call.
	NodeCheck NodeCheck
	// Beside, if not nil, has a function run while its caller does something else, and returns how to wait for its end: a
	// bundle then runs here and at the node at the same time.
	Beside func(run func()) (wait func())
}

// Tracing says where operations are simulated.
type Tracing uint8

// The modes. All give the same verdicts; tracing needs a node with geth's debug_traceCall and erc7562Tracer, and serves
// chains whose EVM is not go-ethereum's (Arbitrum, zkEVMs).
const (
	TracingNever    Tracing = iota // always in the local EVM
	TracingFallback                // in the local EVM, until it disagrees with the node
	TracingAlways                  // always by the node
)

// defaultBeneficiary is an address without code and with nobody's key.
func defaultBeneficiary() common.Address {
	return common.Address(crypto.Keccak256([]byte("baler: beneficiary of a simulation"))[12:])
}

func (c Config) withDefaults() Config {
	limits := erc7562.DefaultLimits()
	if c.Limits.MaxUserOpSize == 0 {
		c.Limits.MaxUserOpSize = limits.MaxUserOpSize
	}
	if c.Limits.MaxContextSize == 0 {
		c.Limits.MaxContextSize = limits.MaxContextSize
	}
	if c.Limits.MaxVerificationGas == 0 {
		c.Limits.MaxVerificationGas = limits.MaxVerificationGas
	}
	if c.Limits.ValidationGasSlack == 0 {
		c.Limits.ValidationGasSlack = limits.ValidationGasSlack
	}
	if c.MinCallGasLimit == 0 {
		c.MinCallGasLimit = DefaultMinCallGasLimit
	}
	if c.ExpirySlack == 0 {
		c.ExpirySlack = 30
	}
	if c.ExpiryBlockSlack == 0 {
		c.ExpiryBlockSlack = 3
	}
	if c.Stakes.MinStake.IsZero() {
		c.Stakes.MinStake = *uint256.NewInt(params.Ether)
	}
	if c.Stakes.MinUnstakeDelay == 0 {
		c.Stakes.MinUnstakeDelay = 86_400
	}
	if c.SampleEvery == 0 {
		c.SampleEvery = 500
	}
	if c.SimulationGas == 0 {
		c.SimulationGas = 30_000_000
	}
	if c.Beneficiary == (common.Address{}) {
		c.Beneficiary = defaultBeneficiary()
	}
	return c
}

// DefaultMinCallGasLimit is the cost of a CALL with non-zero value to a warm account (ERC-4337: "The callGasLimit is at
// least the cost of a CALL with non-zero value").
const DefaultMinCallGasLimit = 9_100
