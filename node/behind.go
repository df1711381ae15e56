package node

import (
	"context"
	"errors"
	"slices"

	"baler/bundlesender"
	"baler/chain"
)

// maxBehind is how many looks in a row may find the node behind with its receipts, before what it says is believed.
const maxBehind = 16

// errBehind: a nonce is used, and the transaction of ours that may have used it still waits, as the node says.
var errBehind = errors.New("the node counts a transaction of ours and has no receipt of it yet")

// errOrphaned: the block that was looked at has left the chain meanwhile. The next head says what is true.
var errOrphaned = errors.New("the block has left the chain while it was looked at")

// orphaned reports an error if an observation at a block counts a nonce that no transaction of ours has used, because the block
// is not of the chain any more: the state of an orphan can still be read, and receipts are those of the chain. To conclude
// that another program used the nonce would be to give up what waits.
func (w *worker) orphaned(ctx context.Context, at bundlesender.Head, watched []bundlesender.Attempt, seen *chain.Observation) error {
	if !slices.ContainsFunc(watched, func(a bundlesender.Attempt) bool { return a.Nonce < seen.Nonce && !usedByOurs(a.Nonce, watched, seen) }) {
		return nil
	}
	canonical, err := w.node.chain.Canonical(ctx, []uint64{at.Number})
	if err != nil {
		return err
	}
	if canonical[0] != at.Hash {
		return errOrphaned
	}
	return nil
}

// usedByOurs reports whether a transaction of ours with this nonce has a receipt.
func usedByOurs(nonce uint64, watched []bundlesender.Attempt, seen *chain.Observation) bool {
	return slices.ContainsFunc(watched, func(a bundlesender.Attempt) bool { return a.Nonce == nonce && seen.Receipts[a.Hash] != nil })
}

// behind reports whether an observation contradicts itself, as one does that several nodes behind one address made
// together: the account's nonce is past a transaction of ours, no transaction of that nonce has a receipt, and the node
// knows one still. To conclude from it that another program used the nonce would be to lose sight of what we have mined.
func (w *worker) behind(watched []bundlesender.Attempt, seen *chain.Observation) bool {
	doubtful := slices.ContainsFunc(watched, func(a bundlesender.Attempt) bool {
		return a.Nonce < seen.Nonce && seen.Known[a.Hash] && !usedByOurs(a.Nonce, watched, seen)
	})
	if !doubtful {
		w.contradicted = 0
		return false
	}
	w.contradicted++
	return w.contradicted <= maxBehind
}
