package validation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"baler/entrypoint"
	"baler/evm"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

// bundleRun is the local run of a bundle.
type bundleRun struct {
	trace    *handleOpsTrace
	outcome  *evm.Outcome
	reads    *evm.ReadSet
	gasLimit uint64
	touched  touches
}

// options of a run: it has as much gas as a transaction may have, which the sender need not be able to pay for, and the
// sender's nonce does not matter.
func (w *wholeBundle) options() evm.RunOptions {
	from := evm.Override{Balance: new(uint256.Int).Lsh(uint256.NewInt(1), 200), Nonce: new(uint64)}
	return evm.RunOptions{Block: w.Block, Origin: w.From, Overrides: evm.Overrides{w.From: from}}
}

// gasLimit is the most gas the bundle may have: the block's, or a transaction's (EIP-7825).
func (w *wholeBundle) gasLimit() uint64 {
	head := w.view.Header()
	if w.v.source.Config().IsOsaka(head.Number, head.Time) {
		return min(head.GasLimit, params.MaxTxGas)
	}
	return head.GasLimit
}

// run runs the operations that are left as the one transaction that they will be.
func (w *wholeBundle) run(ctx context.Context) (bundleRun, error) {
	ops := w.ops()
	run := bundleRun{gasLimit: w.gasLimit()}
	msg := evm.Message{
		From: w.From, To: w.EntryPoint.Address,
		Data:           w.calldata(),
		Gas:            run.gasLimit,
		MaxFee:         &w.Fees.MaxFee,
		MaxPriority:    &w.Fees.MaxPriority,
		Authorizations: w.Authorizations,
	}
	err := w.view.Execute(ctx, w.options(), func(r *evm.Run) error {
		t := newTrace(w.EntryPoint, ops, w.Beneficiary)
		t.stateGas, t.aggregators = r.StateGas, aggregatorsOf(w.Groups)
		run.touched = newTouches(len(ops))
		r.OnAccess(func(a evm.Access) {
			if t.last.open && t.last.part != partSignatures && t.executing == 0 && a.Account != w.EntryPoint.Address {
				run.touched.add(t.last.index, a)
			}
		})
		r.Quiet(w.quiet(r), w.EntryPoint.Address)
		outcome, err := r.Apply(msg, t.hooks())
		run.trace, run.outcome = t, outcome
		run.reads = r.ReadSet()
		return err
	})
	if err == nil {
		w.v.lately.learn(run.reads, w.guessed)
		w.simulated += min(max(run.trace.validating, run.trace.last.index+1), len(ops))
	}
	return run, err
}

// quiet are the contracts whose own code the trace of the bundle need not see: all that the EntryPoint calls. Nil if it calls others,
// aggregators or a beneficiary with code.
func (w *wholeBundle) quiet(r *evm.Run) []common.Address {
	if w.aggregated() || r.State().GetCodeSize(w.Beneficiary) > 0 {
		return nil
	}
	list := []common.Address{entrypoint.SenderCreator(w.EntryPoint.Version)}
	for _, op := range w.ops() {
		list = append(list, entities(op)...)
	}
	return list
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

// tryEach validates the operations that are left one after the other, each on the state that those before it have left,
// in one run, and takes out those that fail. An operation that fails leaves nothing behind: its call reverts.
//
// What it runs is handleOps with the one operation up to the end of its validation, as in a bundle: all validations come
// before the first execution. The EntryPoint's guard against reentrance, which is closed at that point, is opened again.
func (w *wholeBundle) tryEach(ctx context.Context) error {
	var refusals map[int]*Refusal
	ops := w.ops()
	err := w.view.Execute(ctx, w.options(), func(r *evm.Run) error {
		refusals = make(map[int]*Refusal)
		for i, op := range ops {
			refused, err := w.try(r, op)
			if err != nil {
				return err
			}
			if refused != nil {
				refusals[i] = refused
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	w.simulated += len(ops)
	kept := w.left[:0]
	for i, index := range w.left {
		if refused := refusals[i]; refused != nil {
			w.failed = append(w.failed, Failure{Index: index, Rejection: refused.Rejection, Entity: refused.Entity})
			continue
		}
		kept = append(kept, index)
	}
	w.left = kept
	w.quote = w.dataQuote()
	return nil
}

// try validates one operation in a run. It returns why it fails, if it does.
func (w *wholeBundle) try(r *evm.Run, op *userop.UserOperation) (*Refusal, error) {
	ops := []*userop.UserOperation{op}
	t := newTrace(w.EntryPoint, ops, w.Beneficiary)
	t.stop = r.Stop
	var guard guard
	r.OnAccess(func(a evm.Access) {
		if t.last.part == partNone && a.Write && a.Account == w.EntryPoint.Address {
			guard.found(r, a)
		}
	})
	data := entrypoint.EncodeHandleOps(w.EntryPoint.Version, ops, w.Beneficiary)
	ret, _, err := r.Call(w.From, w.EntryPoint.Address, nil, data, w.v.cfg.SimulationGas, t.hooks())
	r.OnAccess(nil)
	switch {
	case evm.IsStateError(err):
		return nil, err
	case t.reached:
		guard.open(r)
		return nil, nil
	case err == nil:
		return nil, fmt.Errorf("%w at %s: handleOps returned without validating", ErrNoEntryPoint, w.EntryPoint.Address)
	}
	_, refused := t.refuse(ret)
	return refused, nil
}

// guard is the EntryPoint's lock against reentrance: the first slot it writes, before it calls anyone. Up to v0.7 it is
// in storage, later in transient storage.
type guard struct {
	seen   bool
	access evm.Access
	before common.Hash
}

func (g *guard) found(r *evm.Run, a evm.Access) {
	if g.seen {
		return
	}
	g.seen, g.access = true, a
	if a.Transient {
		g.before = r.State().GetTransientState(a.Account, a.Key)
	} else {
		g.before = r.State().GetState(a.Account, a.Key)
	}
}

func (g *guard) open(r *evm.Run) {
	switch {
	case !g.seen:
	case g.access.Transient:
		r.State().SetTransientState(g.access.Account, g.access.Key, g.before)
	default:
		r.State().SetState(g.access.Account, g.access.Key, g.before)
	}
}

// Conflict is an operation whose validation reads what the validation of another operation before it in the bundle
// writes: it may fail, or pass, only because of that one.
type Conflict struct {
	Index, Other int // in the operations given; Index reads what Other writes
	Contract     common.Address
	Slot         common.Hash
	Transient    bool
}

// touches is what the validation of each operation read and wrote outside of the EntryPoint.
type touches struct {
	reads, writes []map[touch]struct{}
}

type touch struct {
	evm.Slot
	transient bool
}

func newTouches(n int) touches {
	return touches{make([]map[touch]struct{}, n), make([]map[touch]struct{}, n)}
}

func (t touches) add(index int, a evm.Access) {
	sets := t.reads
	if a.Write {
		sets = t.writes
	}
	if sets[index] == nil {
		sets[index] = make(map[touch]struct{})
	}
	sets[index][touch{a.Slot, a.Transient}] = struct{}{}
}

// conflicts finds for each operation the first slot, if any, that ties it to an earlier one. Operations of one sender may
// build on each other, and so may those that share a factory or a paymaster in that one's own storage: a staked entity
// may keep books (ERC-7562, STO-031).
func (t touches) conflicts(b Bundle, left []int) []Conflict {
	var found []Conflict
	writers := make(map[touch][]int)
	for i, index := range left {
		var first *Conflict
		for slot := range t.reads[i] {
			for _, other := range writers[slot] {
				if mayShare(b.Ops[index], b.Ops[other], slot.Account) {
					continue
				}
				c := Conflict{Index: index, Other: other, Contract: slot.Account, Slot: slot.Key, Transient: slot.transient}
				if first == nil || compareConflicts(c, *first) < 0 {
					first = &c
				}
			}
		}
		if first != nil {
			found = append(found, *first)
		}
		for slot := range t.writes[i] {
			writers[slot] = append(writers[slot], index)
		}
	}
	return found
}

// compareConflicts makes the choice among an operation's conflicts the same every time.
func compareConflicts(a, b Conflict) int {
	if a.Other != b.Other {
		return a.Other - b.Other
	}
	if by := a.Contract.Cmp(b.Contract); by != 0 {
		return by
	}
	return a.Slot.Cmp(b.Slot)
}

func mayShare(a, b *userop.UserOperation, contract common.Address) bool {
	if a.Sender == b.Sender {
		return true
	}
	return slices.Contains(entities(a)[1:], contract) && slices.Contains(entities(b)[1:], contract)
}
