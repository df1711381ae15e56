package validation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"baler/datafee"
	"baler/entrypoint"
	"baler/evm"
	"baler/gas"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// Bundle is a bundle to validate as a whole: the transaction handleOps(Ops, Beneficiary), sent by From, or
// handleAggregatedOps(Groups, Beneficiary).
type Bundle struct {
	EntryPoint entrypoint.EntryPoint
	Ops        []*userop.UserOperation // as they were sent
	// Groups are the same operations in the same order, as they stand in the bundle; nil: none has an aggregator.
	Groups         []entrypoint.OpsPerAggregator
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

// ValidateBundle runs the whole bundle on the state of the head's block, locally, to its end; where it fails, one pass
// over its operations finds every culprit, and the rest is run; and the node is asked for the last word by one eth_call
// (ERC-4337, "Bundling": "verify the entire handleOps bundle transaction"), or for some bundles' (Config.NodeCheck).
//
// A bundle that passes is run once. One in which any number of operations fail is run at most three times: until the
// first of them, operation by operation, and without them. Only operations that pass one after the other and fail in one
// call of handleOps (they must measure gas, which ERC-7562 forbids) cost a run each.
//
// In a bundle with aggregators the first failure ends it: without an operation the signature of its group is another one,
// and who asks for the validation has to make it.
//
// Operations that fail are in the result, and those that depend on others of the bundle. An error means that nothing is
// known of the bundle: the node's trouble, or one of this package's errors for whole bundles.
func (v *Validator) ValidateBundle(ctx context.Context, head *types.Header, b Bundle) (*BundleResult, error) {
	if b.From == (common.Address{}) {
		b.From = b.Beneficiary
	}
	for i, op := range b.Ops {
		if op.Version != b.EntryPoint.Version {
			return nil, fmt.Errorf("validate bundle: operation %d: have version %v, want %v", i, op.Version, b.EntryPoint.Version)
		}
	}
	w := wholeBundle{v: v, view: v.source.View(head), Bundle: b, left: make([]int, len(b.Ops))}
	for i := range w.left {
		w.left[i] = i
	}
	if err := w.prefetch(ctx); err != nil {
		return nil, fmt.Errorf("validate bundle: %w", err)
	}
	result, err := w.settle(ctx)
	if err != nil {
		return nil, fmt.Errorf("validate bundle: %w", err)
	}
	result.Failed, result.Reduced, result.Simulated = w.failed, w.reduced, w.simulated
	return result, nil
}

// wholeBundle is a bundle that is being validated.
type wholeBundle struct {
	Bundle

	v         *Validator
	view      *evm.View
	guessed   guess          // what was read before the first run
	quote     *datafee.Quote // of the operations that are left
	left      []int          // indices of the operations that have not failed, in order
	failed    []Failure
	reduced   []common.Address
	sifted    bool // the operations have been tried one by one
	simulated int  // validations of operations that were executed
}

// prefetch reads all that the operations' own validations are known or guessed to read, in one round trip.
func (w *wholeBundle) prefetch(ctx context.Context) error {
	all := newGuess()
	for _, aggregator := range aggregatorsOf(w.Groups) {
		all.account(aggregator)
	}
	for _, op := range w.Ops {
		if e := w.v.memo.get(w.v.memo.key(w.EntryPoint, op)); e != nil {
			all.join(guess{e.reads})
		}
		all.join(w.v.guess(w.EntryPoint, op))
	}
	w.guessed = guess{&evm.ReadSet{Accounts: maps.Clone(all.reads.Accounts), Slots: all.reads.Slots}}
	all.account(w.From)
	all.account(w.Beneficiary)
	w.quote = w.dataQuote()
	return w.view.PrefetchReads(ctx, []*evm.ReadSet{all.reads}, w.quote.Questions()...)
}

// dataQuote returns the question what the data of the operations that are left costs as one bundle.
func (w *wholeBundle) dataQuote() *datafee.Quote {
	oracle := w.v.cfg.DataFees
	if oracle.Kind() == datafee.None {
		return oracle.Quote(datafee.Transaction{})
	}
	return oracle.Quote(datafee.Transaction{
		To: w.EntryPoint.Address, Data: w.calldata(), Authorizations: w.Authorizations,
	})
}

// ops returns the operations that are left.
func (w *wholeBundle) ops() []*userop.UserOperation {
	ops := make([]*userop.UserOperation, len(w.left))
	for i, index := range w.left {
		ops[i] = w.Ops[index]
	}
	return ops
}

// settle runs the bundle until all operations that are left pass.
func (w *wholeBundle) settle(ctx context.Context) (*BundleResult, error) {
	for len(w.left) > 0 {
		result, err := w.round(ctx)
		if result != nil || err != nil {
			return result, err
		}
	}
	return &BundleResult{}, nil
}

// round runs the operations that are left once, here and at the node. It returns nil if some of them have failed, and the rest
// is to be run.
func (w *wholeBundle) round(ctx context.Context) (*BundleResult, error) {
	node, err := w.startAtNode(ctx)
	if err != nil {
		return nil, err
	}
	defer node.end()
	run, err := w.run(ctx)
	if err != nil {
		return nil, err
	}
	w.reduced = w.gasReduced(run)
	switch {
	case w.failContexts(run):
		return w.again(), nil
	case run.reverted() && w.aggregated():
		return w.giveUp(run)
	case run.reverted():
		return nil, w.sift(ctx, run)
	}
	at, refused, err := w.askNode(node, run)
	if err != nil {
		return nil, err
	}
	if refused != nil {
		w.fail(at, refused)
		return w.again(), nil
	}
	result := &BundleResult{
		ExecutionGas: run.trace.frameGas, CallGas: run.trace.innerCalls, GasUsed: run.outcome.GasUsed,
		Revenue: run.trace.compensation, Conflicts: run.touched.conflicts(w.Bundle, w.left),
	}
	if result.DataCost, err = w.quote.Cost(ctx, w.view); err != nil {
		return nil, err
	}
	result.Ops, err = outcomes(run.outcome.Logs, w.EntryPoint, w.left)
	return result, err
}

// again is what becomes of a bundle without an operation that has failed: it is run again, unless it has aggregators.
func (w *wholeBundle) again() *BundleResult {
	if w.aggregated() {
		return &BundleResult{}
	}
	return nil
}

func (w *wholeBundle) aggregated() bool { return w.Groups != nil }

// calldata is that of the bundle of the operations that are left.
func (w *wholeBundle) calldata() []byte {
	if w.aggregated() {
		return entrypoint.EncodeHandleAggregatedOps(w.EntryPoint.Version, w.Groups, w.Beneficiary)
	}
	return entrypoint.EncodeHandleOps(w.EntryPoint.Version, w.ops(), w.Beneficiary)
}

// giveUp says why a bundle with aggregators reverted: an aggregator refuses a group, or one operation fails.
func (w *wholeBundle) giveUp(run bundleRun) (*BundleResult, error) {
	if run.trace.last.part == partSignatures && run.trace.last.failed {
		if bad, ok := entrypoint.DecodeRevert(run.outcome.Return).(entrypoint.SignatureValidationFailed); ok {
			return &BundleResult{BadSignatures: bad.Aggregator}, nil
		}
	}
	at, refused, err := run.failure()
	if err != nil {
		return nil, err
	}
	w.failed = append(w.failed, Failure{Index: at, Rejection: refused.Rejection, Entity: refused.Entity})
	return &BundleResult{}, nil
}

// fail takes out the operation at the place among those that are left.
func (w *wholeBundle) fail(at int, refused *Refusal) {
	w.failed = append(w.failed, Failure{Index: w.left[at], Rejection: refused.Rejection, Entity: refused.Entity})
	w.left = slices.Delete(w.left, at, at+1)
	if !w.aggregated() {
		w.quote = w.dataQuote()
	}
}

// sift takes out the operations that made a run revert: the first time by trying all of them, one after the other, later
// (see ValidateBundle) the one that the run stopped at.
func (w *wholeBundle) sift(ctx context.Context, run bundleRun) error {
	at, refused, err := run.failure()
	if err != nil {
		return err
	}
	before := len(w.left)
	if !w.sifted {
		w.sifted = true
		if err := w.tryEach(ctx); err != nil {
			return err
		}
	}
	if len(w.left) == before {
		w.fail(at, refused)
	}
	return nil
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
