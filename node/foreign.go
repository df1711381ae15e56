package node

import (
	"context"
	"slices"

	"baler/bundlesender"
	"baler/gas"
)

// lookForForeign asks the node once, when the worker starts, whether transactions of the key wait that are none of
// ours: of another program, or of a life whose journal is lost. They are told to the machine, which replaces or cancels
// them instead of queueing behind a nonce it knows nothing of.
func (w *worker) lookForForeign(ctx context.Context) {
	if w.looked {
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
