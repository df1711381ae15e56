// Package proposer puts bundles together: the best paying valid operations of one EntryPoint, and why the others were
// left out.
//
// In: a request of a bundle sender (head, fees to beat, signer balance), candidates from the pool, verdicts of the
// validator. Out: a bundle that the whole-bundle validation passed, with its calldata, gas limit and fees, or the
// reason why there is none; and for every candidate that is not in it a reason with numbers: skipped (it stays in the
// pool) or removed (it must leave the pool).
//
// It promises that a bundle stays within its limits of gas, bytes, operations and signer balance, holds one operation
// of an unstaked sender at most, no operation that touches another one's sender, no more cost per paymaster than its
// deposit, and that it is expected to earn the least profit asked for. It never signs or submits, and never changes
// the pool beyond the claims it takes and gives back.
//
// The choice itself is pure (chooser); Propose asks the pool and the validator.
package proposer

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/gas"
	"baler/pool"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// Pool is where candidates come from. Its methods are safe for concurrent use.
type Pool interface {
	// EntryPoints lists the EntryPoints with operations that may be bundled now.
	EntryPoints(ctx context.Context) ([]entrypoint.EntryPoint, error)
	// Candidates is pool.Pool's: best paying first, claimed for the builder if the query asks for it.
	Candidates(ctx context.Context, q pool.Query) ([]*pool.Operation, error)
	// Held lists the operations the builder has claimed.
	Held(ctx context.Context, builder string) ([]common.Hash, error)
	// Release gives claimed operations back.
	Release(ctx context.Context, builder string, hashes []common.Hash) error
}

// Validator runs operations against the state of a block. A refusal by the rules is a *Refusal or a *rejection.Rejection; any other
// error is the node's trouble and never counts against an operation.
type Validator interface {
	// Prepare reads, in as few round trips as it can, what the validations of these operations at the head will need.
	Prepare(ctx context.Context, head *types.Header, ep entrypoint.EntryPoint, ops []*userop.UserOperation) error
	// Validate is the second validation of one operation. ahead is the number of operations of the same sender and
	// nonce key that come before it in the bundle.
	Validate(ctx context.Context, head *types.Header, ep entrypoint.EntryPoint, op *userop.UserOperation, ahead uint64) (*Validation, error)
	// ValidateBundle runs the whole bundle to its end.
	ValidateBundle(ctx context.Context, head *types.Header, d Draft) (*BundleValidation, error)
	// Deposits returns what the paymasters have deposited at the EntryPoint, wei.
	Deposits(ctx context.Context, head *types.Header, ep entrypoint.EntryPoint, paymasters []common.Address) (map[common.Address]uint256.Int, error)
}

// Draft is a bundle that is to be validated.
type Draft struct {
	EntryPoint entrypoint.EntryPoint
	Ops        []*userop.UserOperation // in the order of execution, as they were sent
	// Groups are the same operations as they stand in the bundle, with the signatures of their aggregators (ERC-7766); nil:
	// all accounts check their own signatures.
	Groups         []entrypoint.OpsPerAggregator
	Beneficiary    common.Address
	Fees           gas.Fees
	Authorizations []types.SetCodeAuthorization
}

// Validation is what the second validation found out.
type Validation struct {
	ValidAfter, ValidUntil uint64 // unix seconds, or block numbers if ValidityInBlocks; ValidUntil 0: for ever
	ValidityInBlocks       bool
	Aggregator             common.Address
	// Bundled is the operation with the signature its aggregator gave it; nil: as it was sent.
	Bundled *userop.UserOperation
	// VerificationGasUsed is what validation used, SignatureGas what its aggregator's check of its signature adds, if that is
	// more than is expected.
	VerificationGasUsed, SignatureGas uint64
	DataGas                           uint64           // what its data costs on the chain, as gas that it pays for
	Prefund                           uint256.Int      // wei
	ContextSize                       uint64           // bytes of the paymaster's context
	Accessed                          []common.Address // contracts used beside the operation's own entities and the EntryPoint
	Created                           []common.Address // contracts its validation created
	Known                             Storage          // what must stay as it is for the operation to stay valid
}

// Storage is slots of contracts with their values.
type Storage map[common.Address]map[common.Hash]common.Hash

// BundleValidation is what running a bundle found out. The figures count only if nothing failed.
type BundleValidation struct {
	Failed []Failure
	// BadSignatures is an aggregator that refuses the signature of a group; zero: none.
	BadSignatures common.Address
	// OutOfGas says that the bundle needs more gas than a transaction may have: no operation's fault, and the rest is not known.
	OutOfGas bool

	ExecutionGas uint64      // by the EntryPoint's call: no intrinsic gas, no refund taken off
	CallGas      uint64      // the part of it used by the operations' own execution and postOp
	GasUsed      uint64      // by the transaction, as its receipt would say
	Charged      []Charge    // of each operation, in order; nil: not known
	Revenue      uint256.Int // wei the EntryPoint pays to the beneficiary
	DataFee      uint256.Int // wei that the transaction's data costs beside its gas, on chains that charge so
	DataGas      uint64      // gas that the transaction uses for its data beside GasUsed, on chains that charge so
}

// Charge is what the EntryPoint charges an operation for.
type Charge struct {
	Gas  uint64      // preVerificationGas included
	Cost uint256.Int // wei
}

// Failure is an operation that makes its bundle fail.
type Failure struct {
	Index     int // in the operations given
	Rejection *rejection.Rejection
	Culprit   erc7562.Entity
	Passed    bool // the bundle does not fail because of it: a rule keeps it out
}

// Refusal is an error of Validate that knows which entity failed. A bare *rejection.Rejection blames nobody.
type Refusal struct {
	Rejection *rejection.Rejection
	Culprit   erc7562.Entity
}

// Error implements error.
func (r *Refusal) Error() string { return r.Rejection.Error() }

// Unwrap returns the rejection.
func (r *Refusal) Unwrap() error { return r.Rejection }

// Request is what a bundle sender asks for.
type Request struct {
	Builder     string
	Head        *types.Header
	BaseFee     uint256.Int // of the next block, wei per gas
	Priority    uint256.Int // the oracle's priority fee, wei per gas
	Floor       gas.Fees    // a replacement must pay at least this; zero: no replacement
	Beneficiary common.Address
	Balance     uint256.Int // of the signer, wei
	ClaimUntil  uint64      // block number until which the bundle's operations stay claimed
	// Exclude are operations that wait in a transaction of the signer with a later nonce, as after a reorg: in a bundle
	// before that one they would be included twice.
	Exclude []common.Hash
	// Deferred are operations under suspicion of making bundles fail: they are skipped for now.
	Deferred []common.Hash
	// Apart are suspects whose turn it is: the first of them that can be bundled is bundled alone.
	Apart []common.Hash
	// Cut leaves the operations that may be in one bundle with the first, and says how many at most (0: not limited);
	// they pay enough, and the best paying is first. Nil: all. See [Rivals.Cut].
	Cut func([]*pool.Operation) ([]*pool.Operation, int)
	// GasCap is the most gas a transaction may have in the next block (EIP-7825); 0: no cap.
	GasCap uint64
	// GasShare is how much of it a bundle takes, unless the operation that pays best needs more; 0: all.
	GasShare uint64
	// MaxOps bounds this bundle below Config.MaxBundleSize; 0: it does not.
	MaxOps int
}

// Bundle is a valid bundle, ready to be signed.
type Bundle struct {
	EntryPoint     entrypoint.EntryPoint
	Ops            []*pool.Operation
	CallData       []byte
	GasLimit       uint64
	Fees           gas.Fees
	Authorizations []types.SetCodeAuthorization // non-empty: it must be a set-code transaction (EIP-7702)
	Conditions     Conditions

	ExpectedGasUsed uint64      // of the transaction
	ExpectedCost    uint256.Int // wei, at the next base fee
	ExpectedRevenue uint256.Int // wei
}

// Conditions are what the bundle relies on, for a relay that includes a transaction only while they hold. Zero numbers
// set no bound.
type Conditions struct {
	Known              Storage
	TimeMin, TimeMax   uint64 // unix seconds
	BlockMin, BlockMax uint64 // numbers
}

// Hashes returns the hashes of the bundle's operations in order.
func (b *Bundle) Hashes() []common.Hash {
	hashes := make([]common.Hash, len(b.Ops))
	for i, op := range b.Ops {
		hashes[i] = op.Hash
	}
	return hashes
}

// ExpectedProfit is expected revenue less expected cost, in wei; it may be negative.
func (b *Bundle) ExpectedProfit() *big.Int {
	return new(big.Int).Sub(b.ExpectedRevenue.ToBig(), b.ExpectedCost.ToBig())
}

// Proposal is the answer to a request. Fees are set even if there is no bundle.
type Proposal struct {
	Bundle  *Bundle // nil: see Reason
	Reason  Reason
	Fees    gas.Fees
	Skipped []Skip
	Removed []Removal
	// Considered are the operations that the pool offered, best paying first for each EntryPoint that was tried.
	Considered []*pool.Operation
}

// Reason says why there is no bundle.
type Reason uint8

// The reasons for which there is no bundle, in the order of the stages: with several EntryPoints it is the furthest
// stage that any of them reached.
const (
	Proposed                Reason = iota // there is a bundle
	NoOperations                          // the pool had nothing for this builder
	NoneLeftAfterFeeFilter                // all candidates pay too little
	NothingFits                           // no candidate fits the bundle's limits
	SignerBalanceLow                      // the signer cannot pay for the gas of a single candidate
	NoneLeftAfterSimulation               // all that pay failed or cannot be bundled now
	FeesOverBudget                        // the fees needed are over MaxFeePerGas, or no candidate fits MaxBundleFee
	Unprofitable                          // the bundle is expected to earn less than the least profit
)

// String returns the reason in words.
func (r Reason) String() string {
	switch r {
	case Proposed:
		return "bundle proposed"
	case NoOperations:
		return "no operations"
	case NoneLeftAfterFeeFilter:
		return "none left after the fee filter"
	case NothingFits:
		return "no operation fits the bundle limits"
	case SignerBalanceLow:
		return "signer balance too low"
	case NoneLeftAfterSimulation:
		return "none left after simulation"
	case FeesOverBudget:
		return "fees over the budget"
	case Unprofitable:
		return "bundle not profitable"
	default:
		return fmt.Sprintf("reason %d", uint8(r))
	}
}

// Removal is an operation that must leave the pool: pass it to pool.Remove.
type Removal struct {
	Hash      common.Hash
	Rejection *rejection.Rejection
	Reason    pool.Reason // ValidationFailed, BundleFailed or Expired
	Culprit   erc7562.Entity
}

// Packing says what happens to the operations behind the first that does not fit.
type Packing uint8

// The packings.
const (
	// PackPriority ends the bundle at the first operation that does not fit.
	PackPriority Packing = iota
	// PackFill passes over what does not fit and goes on.
	PackFill
)

// ErrPacking says that a packing is neither priority nor fill.
var ErrPacking = errors.New("unknown bundle packing")

// ParsePacking reads "priority" or "fill".
func ParsePacking(s string) (Packing, error) {
	switch s {
	case "priority":
		return PackPriority, nil
	case "fill":
		return PackFill, nil
	default:
		return 0, fmt.Errorf("%w: have %q, want priority or fill", ErrPacking, s)
	}
}

// String returns the packing as it is configured.
func (p Packing) String() string {
	if p == PackFill {
		return "fill"
	}
	return "priority"
}

// Config holds the proposer's settings. DefaultConfig has the defaults.
type Config struct {
	BaseFeeOverheadPercent     uint64 // added to the next base fee
	PriorityFeeOverheadPercent uint64 // added to the oracle's priority fee
	PriorityFeeMode            gas.PriorityFeeMode

	Packing      Packing
	MaxBundleGas uint64 // most gas of the operations of a bundle by their limits, and of a transaction
	// MaxBlockSharePercent is the most of a block's gas limit a bundle may take; 0: not limited.
	MaxBlockSharePercent uint64
	MaxBundleSize        int    // most operations of a bundle
	MaxBundleBytes       uint64 // most bytes of a bundle's calldata
	MaxContextBytes      uint64 // most bytes of all paymasters' contexts together, MAX_BUNDLE_CONTEXT_SIZE of ERC-7562 (LIM-050)
	MaxCandidates        int    // most operations asked of the pool: bounds the simulations of one proposal

	GasMarginPercent uint64      // added to the measured gas for the transaction's gas limit
	MaxFeePerGas     uint256.Int // most a bundle may offer, wei per gas; 0: no ceiling
	MaxBundleFee     uint256.Int // most a bundle transaction may cost: gas limit × max fee, wei; 0: no budget
	MinProfit        *big.Int    // wei; nil: 0. Negative: a loss that is accepted
	ExpiryMargin     uint64      // an operation must stay valid this long after the head: seconds
	ExpiryBlocks     uint64      // the same for ranges of block numbers

	// MaxDeferred is how often an operation is left out in favour of others that pay more (it conflicts with them, or they use up
	// its paymaster's deposit), before it goes first; 0: it never does.
	MaxDeferred int
	// MaxPassedOver is how often an EntryPoint with bundleable operations is passed over for one that pays more,
	// before it goes first.
	MaxPassedOver int

	// Aggregators are the signature aggregators that are served (ERC-7766); nil: none.
	Aggregators Aggregators
	// PreVerification is what operations must offer to a group of their aggregator.
	PreVerification gas.PreVerification

	// Shard restricts the proposer to its share of the senders, where work is divided by shards.
	Shard pool.Shard
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		BaseFeeOverheadPercent: 27,
		MaxBundleGas:           25_000_000,
		MaxBlockSharePercent:   75,
		MaxBundleSize:          128,
		MaxBundleBytes:         126 << 10, // nodes refuse transactions over 128 KiB
		MaxContextBytes:        65_536,
		MaxCandidates:          256,
		GasMarginPercent:       10,
		ExpiryMargin:           12,
		ExpiryBlocks:           2,
		MaxPassedOver:          4,
		MaxDeferred:            8,
	}
}

// Proposer proposes the bundles of one bundle sender. It remembers which EntryPoints it passed over, so it is not safe
// for concurrent use: each bundle sender has its own.
type Proposer struct {
	pool      Pool
	validator Validator
	config    Config
	passed    map[common.Address]int
	starved   *starved
	tight     tightness
}

// New returns a proposer.
func New(p Pool, v Validator, config Config) *Proposer {
	return &Proposer{pool: p, validator: v, config: config, passed: make(map[common.Address]int), starved: newStarved(config.MaxDeferred)}
}
