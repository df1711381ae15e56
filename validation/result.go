package validation

import (
	"errors"

	"baler/datafee"
	"baler/entrypoint"
	"baler/erc7562"
	"baler/evm"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// Result is what the validation of an operation found out. Times are unix seconds, or block numbers if InBlocks.
type Result struct {
	Hash common.Hash

	ValidAfter uint64
	ValidUntil uint64 // 0: for ever
	InBlocks   bool

	Aggregator common.Address // zero: none
	// Bundled is the operation as it stands in a bundle, with the signature its aggregator gave it; nil: as it was sent.
	Bundled *userop.UserOperation
	// SignatureGas is what the aggregator's check of the signature takes, if it is more than was to be expected; else zero.
	SignatureGas uint64
	Prefund      uint256.Int // wei the EntryPoint takes in advance: the most the operation can cost
	Sender       StakeInfo
	// AggregatorStake is nil if the operation has no aggregator.
	AggregatorStake *StakeInfo
	Factory         *StakeInfo // nil: the operation has none (an EIP-7702 marker is none)
	Paymaster       *StakeInfo

	// Gas. VerificationGasUsed is what counts against verificationGasLimit, PaymasterVerificationGasUsed what counts
	// against paymasterVerificationGasLimit (v0.6: zero, it is in the former). PreOpGas is what the EntryPoint charges
	// before execution, preVerificationGas included.
	FactoryGasUsed               uint64 // by the factory's frame
	AccountGasUsed               uint64 // by validateUserOp
	PaymasterGasUsed             uint64 // by validatePaymasterUserOp
	VerificationGasUsed          uint64
	PaymasterVerificationGasUsed uint64
	PreOpGas                     uint64
	OwnGas                       EntityGas
	DataGas                      uint64 // what preVerificationGas must hold for the data's cost on the chain, see Config.DataFees

	ContextSize int              // bytes of the paymaster's context
	Accessed    []common.Address // other contracts and accounts touched: not the entities, the EntryPoint or its helper
	Created     []common.Address // contracts created by validation, the sender included
	ReadSet     *evm.ReadSet     // everything it depended on, at BlockHash

	// AssociatedStorageIn lists the contracts, beside the operation's own entities, in which validation used storage
	// associated with the account or a staked entity (ERC-7562, STO-041).
	AssociatedStorageIn []common.Address
	// CodeHashes are those of all code that validation visited, before it (COD-010).
	CodeHashes erc7562.CodeHashes
	// Verdicts are the rules of ERC-7562 that validation broke; there are some only with Config.Unsafe.
	Verdicts []*erc7562.Verdict
	// Environment says that validation depended on something that is not in the read set: on its block (opcodes of
	// OP-011), or on balances that a trace does not name. Its result may change though no value in the read set does.
	Environment bool

	BlockHash   common.Hash
	BlockNumber uint64
}

// EntityGas is the gas of an operation's entities in their own frames, less what depends on what was used and written before
// in the same transaction ([evm.Run.StateGas]): it can be compared between a validation alone and one in a bundle. It is
// zero where the node's tracer validated.
type EntityGas struct{ Factory, Account, Paymaster uint64 }

// StakeInfo is an entity's account at the EntryPoint.
type StakeInfo struct {
	Address         common.Address
	Deposit         uint256.Int // wei
	Staked          bool
	Stake           uint256.Int // wei
	UnstakeDelaySec uint64
}

// Failure is an operation that makes its bundle fail.
type Failure struct {
	Index     int // in the operations given
	Rejection *rejection.Rejection
	Entity    erc7562.Entity // the entity called last
	// Passed says that the bundle does not fail because of it: a rule keeps it out (EREP-055).
	Passed bool
}

// BundleResult is what running a whole bundle found out. Failed is in the order of discovery. The other fields describe
// the bundle of the operations that are left, and are zero if none is.
type BundleResult struct {
	Failed []Failure
	// BadSignatures is an aggregator that refuses the signature of a group; zero: none. Then nothing else is known.
	BadSignatures common.Address
	// Conflicts are operations that passed, but whose validation reads what an earlier one's writes. At most one for each.
	Conflicts []Conflict
	// Reduced are staked entities whose validation used over a tenth less gas than in the operation's own validation: they
	// are to be throttled (EREP-070).
	Reduced []common.Address
	// Simulated is how many validations of operations were executed to find all this: twice the operations that were
	// given, and those that are left, at most; once more those that are left if a paymaster's context has changed.
	Simulated int

	// ExecutionGas is what the EntryPoint's call used: no intrinsic gas, no refund taken off.
	ExecutionGas uint64
	// CallGas is the part of ExecutionGas used by the operations' own execution and postOp (the innerHandleOp frames).
	CallGas uint64
	// GasUsed is the transaction's gas as its receipt would say: with intrinsic gas, refunds and calldata floor.
	GasUsed uint64
	Revenue uint256.Int // wei that the EntryPoint pays to the beneficiary
	// DataCost is what the transaction's data costs beside that gas, see Config.DataFees.
	DataCost datafee.Cost
	Ops      []OpOutcome // of the operations left, in order
}

// OpOutcome is how one operation of a bundle went.
type OpOutcome struct {
	Index         int // in the operations given
	Success       bool
	ActualGasUsed uint64
	ActualGasCost uint256.Int // wei
}

// Refusal is a rejection that knows whose fault it is, if it is another entity's than the operation's own parameters.
// errors.As finds the *rejection.Rejection in it.
type Refusal struct {
	*rejection.Rejection
	Entity  erc7562.Entity // the entity the EntryPoint called last, or whose rule is broken
	Address common.Address // the entity's

	// Verdicts are the rules of ERC-7562 that are broken, if that is the reason; the first of them is the rejection.
	Verdicts []*erc7562.Verdict

	// Range is what the account, or the paymaster, said of its time range, if the EntryPoint found that it has ended or has
	// not begun.
	Range entrypoint.ValidationData
}

// Unwrap returns the rejection.
func (r *Refusal) Unwrap() error { return r.Rejection }

func refusal(r *rejection.Rejection, entity erc7562.Entity, addr common.Address) *Refusal {
	return &Refusal{Rejection: r, Entity: entity, Address: addr}
}

// asRefusal returns the refusal in an error, or nil if the error is something else: the node's trouble.
func asRefusal(err error) *Refusal {
	if refused, ok := errors.AsType[*Refusal](err); ok {
		return refused
	}
	if r, ok := errors.AsType[*rejection.Rejection](err); ok {
		return &Refusal{Rejection: r}
	}
	return nil
}
