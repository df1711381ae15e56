package node

import (
	"context"
	"slices"

	"baler/bundlesender"
	"baler/gas"
)

// lookForForeign asks the node whether transactions of the key wait that are none of ours: of another program, or of a life
// whose journal is lost. It asks when the worker starts, and again at the head after something hinted at them. They are
// told to the machine, which replaces or cancels them instead of queueing behind a nonce it knows nothing of.
func (w *worker) lookForForeign(ctx context.Context) {
	if w.looked || w.machine.Submitting() { // the hash of what is on its way may not be known here yet: the next head
		return
	}
	waiting, err := w.node.chain.Pending(ctx, w.key.Address())
	if ctx.Err() != nil {
		return // the end, not the node's failure
	}
	if err != nil {
		w.node.log.Warn("looking for foreign transactions failed; it is tried again at the next head", "signer", w.builder, "err", err)
		return
	}
	w.looked = true
	ours := w.machine.Watch()
	for _, tx := range waiting {
		known := slices.ContainsFunc(ours, func(a bundlesender.Attempt) bool {
			return a.Nonce == tx.Nonce && (a.Hash == tx.Hash || tx.Hash == [32]byte{})
		})
		if known {
			continue
		}
		w.step(ctx, bundlesender.ForeignPending{
			Nonce: tx.Nonce, Hash: tx.Hash, Fees: gas.Fees{MaxFee: tx.MaxFee, MaxPriority: tx.MaxPriority},
		})
	}
}

// hintsAtForeign reports whether a step suggests that another program uses the key: a nonce was used by no transaction of
// ours, or a replacement is asked for that pays more than what we know to wait.
func hintsAtForeign(e bundlesender.Event, effects []bundlesender.Effect) bool {
	taken := slices.ContainsFunc(effects, func(effect bundlesender.Effect) bool {
		alert, ok := effect.(bundlesender.Alert)
		return ok && alert.Kind == bundlesender.AlertNonceTaken
	})
	switch e := e.(type) {
	case bundlesender.Submitted:
		return taken || e.Outcome == bundlesender.ReplacementUnderpriced
	case bundlesender.CancelSubmitted:
		return taken || e.Outcome == bundlesender.ReplacementUnderpriced
	default:
		return taken
	}
}
