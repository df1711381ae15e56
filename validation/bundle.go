package validation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/evm"
	"baler/gas"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
)

// Bundle is a bundle to validate as a whole: the transaction handleOps(Ops, Beneficiary), sent by From.
type Bundle struct {
	EntryPoint     entrypoint.EntryPoint
	Ops            []*userop.UserOperation
	Beneficiary    common.Address
	From           common.Address // zero: the beneficiary. Its balance does not matter here
	Fees           gas.Fees       // of the transaction; the max fee must reach the next base fee
	Authorizations []types.SetCodeAuthorization
	Block          *evm.Block // nil: the one after the head, a second later
}

// Errors of whole bundles, which no operation is to blame for.
var (
	// ErrBundleGas says that the bundle needs more gas than a transaction may have.
	ErrBundleGas = errors.New("bundle needs more gas than a transaction may have")
	// ErrBundleReverts says that handleOps reverts for a reason outside of the operations, such as a beneficiary that
	// takes no money.
	ErrBundleReverts = errors.New("bundle reverts")
	// ErrNodeDisagrees says that the node's eth_call reverts for a reason that is no operation's, though the local run
	// passed.
	ErrNodeDisagrees = errors.New("the node disagrees with the local run")
)

// ValidateBundle runs the whole bundle on the state of the head's block, locally, to its end; takes out the operation
// that makes it revert and runs the rest, until all that is left passes; and asks the node for the last word by one
// eth_call (ERC-4337, "Bundling": "verify the entire handleOps bundle transaction").
//
// Operations that fail are in the result. An error means that nothing is known of the bundle: the node's trouble, or
// one of this package's errors for whole bundles.
func (v *Validator) ValidateBundle(ctx context.Context, head *types.Header, b Bundle) (*BundleResult, error) {
	if b.From == (common.Address{}) {
		b.From = b.Beneficiary
	}
	for i, op := range b.Ops {
		if op.Version != b.EntryPoint.Version {
			return nil, fmt.Errorf("validate bundle: operation %d: have version %v, want %v", i, op.Version, b.EntryPoint.Version)
		}
	}
	view := v.source.View(head)
	if err := v.prefetchBundle(ctx, view, b); err != nil {
		return nil, fmt.Errorf("validate bundle: %w", err)
	}
	left := make([]int, len(b.Ops))
	for i := range left {
		left[i] = i
	}
	var failed []Failure
	for len(left) > 0 {
		result, failure, err := v.tryBundle(ctx, view, b, left)
		if err != nil {
			return nil, fmt.Errorf("validate bundle: %w", err)
		}
		if failure == nil {
			result.Failed = failed
			return result, nil
		}
		failed = append(failed, *failure)
		left = slices.DeleteFunc(left, func(i int) bool { return i == failure.Index })
	}
	return &BundleResult{Failed: failed}, nil
}

// prefetchBundle reads all that the operations' own validations are known or guessed to read, in one batch.
func (v *Validator) prefetchBundle(ctx context.Context, view *evm.View, b Bundle) error {
	all := newGuess()
	all.account(b.From)
	all.account(b.Beneficiary)
	for _, op := range b.Ops {
		g := v.guess(b.EntryPoint, op)
		for addr := range g.accounts {
			all.accounts[addr] = struct{}{}
		}
		for slot := range g.slots {
			all.slots[slot] = struct{}{}
		}
	}
	accounts, slots := all.prefetchable()
	return view.Prefetch(ctx, accounts, slots)
}

// tryBundle runs the bundle of the operations left. It returns its result, or the first operation that fails.
func (v *Validator) tryBundle(ctx context.Context, view *evm.View, b Bundle, left []int) (*BundleResult, *Failure, error) {
	ops := make([]*userop.UserOperation, len(left))
	for i, index := range left {
		ops[i] = b.Ops[index]
	}
	run, err := v.runBundle(ctx, view, b, ops)
	if err != nil {
		return nil, nil, err
	}
	if run.reverted() {
		index, refused, err := run.failure()
		return nil, failureOf(left, index, refused), err
	}
	if !v.cfg.SkipNodeCheck {
		index, refused, err := v.askNode(ctx, view, b, ops, run.gasLimit)
		if err != nil || refused != nil {
			return nil, failureOf(left, index, refused), err
		}
	}
	result := &BundleResult{
		ExecutionGas: run.trace.frameGas, CallGas: run.trace.innerCalls, GasUsed: run.outcome.GasUsed,
		Revenue: run.trace.compensation,
	}
	result.Ops, err = outcomes(run.outcome.Logs, b.EntryPoint, left)
	return result, nil, err
}

// failureOf says which of the operations given has failed; nil if none is to blame.
func failureOf(left []int, index int, refused *Refusal) *Failure {
	if refused == nil {
		return nil
	}
	return &Failure{Index: left[index], Rejection: refused.Rejection, Entity: refused.Entity}
}

// bundleRun is the local run of a bundle.
type bundleRun struct {
	trace    *handleOpsTrace
	outcome  *evm.Outcome
	gasLimit uint64
}

func (v *Validator) runBundle(ctx context.Context, view *evm.View, b Bundle, ops []*userop.UserOperation) (bundleRun, error) {
	head := view.Header()
	limit := head.GasLimit
	if v.source.Config().IsOsaka(head.Number, head.Time) {
		limit = min(limit, params.MaxTxGas) // EIP-7825
	}
	msg := evm.Message{
		From: b.From, To: b.EntryPoint.Address,
		Data:           entrypoint.EncodeHandleOps(b.EntryPoint.Version, ops, b.Beneficiary),
		Gas:            limit,
		MaxFee:         &b.Fees.MaxFee,
		MaxPriority:    &b.Fees.MaxPriority,
		Authorizations: b.Authorizations,
	}
	// The run has as much gas as a transaction may have, which the sender need not be able to pay for.
	options := evm.RunOptions{Block: b.Block, Overrides: evm.Overrides{b.From: {Balance: new(uint256.Int).Lsh(uint256.NewInt(1), 200)}}}
	run := bundleRun{gasLimit: limit}
	err := view.Execute(ctx, options, func(r *evm.Run) error {
		t := newTrace(b.EntryPoint, ops, b.Beneficiary)
		outcome, err := r.Apply(msg, t.hooks())
		run.trace, run.outcome = t, outcome
		return err
	})
	return run, err
}

// reverted reports whether handleOps did not succeed.
func (r bundleRun) reverted() bool { return r.outcome.Err != nil }

// failure finds the operation that made the bundle revert.
func (r bundleRun) failure() (int, *Refusal, error) {
	if !errors.Is(r.outcome.Err, vm.ErrExecutionReverted) {
		return 0, nil, fmt.Errorf("%w: %w", ErrBundleGas, r.outcome.Err)
	}
	if r.trace.last.part == partCompensate {
		return 0, nil, fmt.Errorf("%w: %s", ErrBundleReverts, entrypoint.RevertReason(r.outcome.Return))
	}
	index, refused := r.trace.refuse(r.outcome.Return)
	if entrypoint.AACode(refused.Message) == "AA95" {
		return 0, nil, fmt.Errorf("%w: %s", ErrBundleGas, refused.Message)
	}
	return index, refused, nil
}

// call is the transaction object of eth_call. It names no fees: the balance of the sender then does not matter.
type call struct {
	From           common.Address               `json:"from"`
	To             common.Address               `json:"to"`
	Gas            hexutil.Uint64               `json:"gas"`
	Input          hexutil.Bytes                `json:"input"`
	Authorizations []types.SetCodeAuthorization `json:"authorizationList,omitempty"`
}

// askNode runs the bundle by the node's eth_call at the view's block. It returns the operation the node's EntryPoint
// refuses, if it refuses one.
func (v *Validator) askNode(ctx context.Context, view *evm.View, b Bundle, ops []*userop.UserOperation, gasLimit uint64) (int, *Refusal, error) {
	msg := call{
		From: b.From, To: b.EntryPoint.Address, Gas: hexutil.Uint64(gasLimit),
		Input:          entrypoint.EncodeHandleOps(b.EntryPoint.Version, ops, b.Beneficiary),
		Authorizations: b.Authorizations,
	}
	var ret hexutil.Bytes
	err := v.source.Node().CallContext(ctx, &ret, "eth_call", msg, map[string]any{"blockHash": view.Hash()})
	if err == nil {
		return 0, nil, nil
	}
	data, reverted := revertData(err)
	if !reverted {
		return 0, nil, fmt.Errorf("eth_call of the bundle: %w", err)
	}
	var index uint64
	switch revert := entrypoint.DecodeRevert(data).(type) {
	case entrypoint.FailedOp:
		index = revert.OpIndex
	case entrypoint.FailedOpWithRevert:
		index = revert.OpIndex
	default:
		return 0, nil, fmt.Errorf("%w: %s", ErrNodeDisagrees, revert)
	}
	if index >= uint64(len(ops)) {
		return 0, nil, fmt.Errorf("%w: it blames operation %d of %d", ErrNodeDisagrees, index, len(ops))
	}
	refused := RefusalOf(ops[index], data, erc7562.Sender, true)
	if entrypoint.AACode(refused.Message) == "AA95" {
		return 0, nil, fmt.Errorf("%w: %s", ErrBundleGas, refused.Message)
	}
	return int(index), refused, nil
}

// revertData returns the revert data in a node's answer to eth_call.
func revertData(err error) ([]byte, bool) {
	var withData rpc.DataError
	if !errors.As(err, &withData) {
		return nil, false
	}
	text, ok := withData.ErrorData().(string)
	if !ok {
		return nil, false
	}
	data, err := hexutil.Decode(text)
	return data, err == nil
}

// outcomes reads the EntryPoint's events: one per operation, in the order of the bundle.
func outcomes(logs []*types.Log, ep entrypoint.EntryPoint, left []int) ([]OpOutcome, error) {
	ops := make([]OpOutcome, 0, len(left))
	for _, log := range logs {
		if !entrypoint.IsEvent(log, ep.Address, entrypoint.TopicUserOperationEvent) {
			continue
		}
		event, err := entrypoint.ParseUserOperationEvent(log)
		if err != nil {
			return nil, err
		}
		if len(ops) == len(left) {
			return nil, fmt.Errorf("have more UserOperationEvents than the %d operations", len(left))
		}
		ops = append(ops, OpOutcome{
			Index: left[len(ops)], Success: event.Success,
			ActualGasUsed: event.ActualGasUsed.Uint64(), ActualGasCost: event.ActualGasCost,
		})
	}
	if len(ops) != len(left) {
		return nil, fmt.Errorf("have %d UserOperationEvents, want %d", len(ops), len(left))
	}
	return ops, nil
}
