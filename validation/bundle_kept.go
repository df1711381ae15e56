package validation

import (
	"slices"

	"baler/erc7562"

	"github.com/ethereum/go-ethereum/common"
)

// An entity may find out that it is validated in a bundle. What it does there is compared with what it did when the
// operation was validated alone, as far as the validator remembers that.

// second returns the second validation of the operation at the place among those that are left; nil if it is not
// remembered, or if the run has not validated the operation.
func (w *wholeBundle) second(run bundleRun, at int) *Result {
	if run.trace.perOp[at].accountOutput == nil {
		return nil
	}
	e := w.v.memo.get(w.v.memo.key(w.EntryPoint, w.Ops[w.left[at]]))
	if e == nil {
		return nil
	}
	return e.result
}

// failContexts takes out the operations whose paymaster's context has another size than before (EREP-055), and reports
// whether there are any. If the bundle reverts, each of their paymasters counts as a cause.
func (w *wholeBundle) failContexts(run bundleRun) bool {
	var changed bool
	for at, index := range slices.Backward(slices.Clone(w.left)) {
		op, before := w.Ops[index], w.second(run, at)
		if before == nil || op.Paymaster == nil || run.trace.perOp[at].paymasterOutput == nil {
			continue
		}
		verdict := erc7562.ContextUnchanged(*op.Paymaster, before.ContextSize, contextSize(run.trace.perOp[at]))
		if verdict == nil {
			continue
		}
		changed = true
		w.fail(at, w.v.refuseVerdicts([]*erc7562.Verdict{verdict}))
		w.failed[len(w.failed)-1].Passed = !run.reverted()
	}
	return changed
}

// gasReduced adds to the staked entities that were found already those that use less gas in the bundle than they did
// before (EREP-070).
func (w *wholeBundle) gasReduced(run bundleRun) []common.Address {
	found := w.reduced
	for at := range w.left {
		before := w.second(run, at)
		if before == nil || before.OwnGas == (EntityGas{}) {
			continue
		}
		now := run.trace.perOp[at].own
		for _, entity := range []struct {
			info        *StakeInfo
			before, now uint64
		}{
			{&before.Sender, before.OwnGas.Account, now.Account},
			{before.Factory, before.OwnGas.Factory, now.Factory},
			{before.Paymaster, before.OwnGas.Paymaster, now.Paymaster},
		} {
			if entity.info == nil || !w.v.party(entity.info, nil).Staked || !erc7562.GasReduced(entity.before, entity.now) {
				continue
			}
			if !slices.Contains(found, entity.info.Address) {
				found = append(found, entity.info.Address)
			}
		}
	}
	return found
}
