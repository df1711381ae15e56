package node

import (
	"errors"
	"slices"

	"baler/bundlesender"
	"baler/chain"
)

// maxBehind is how many looks in a row may find the node behind with its receipts, before what it says is believed.
const maxBehind = 16

// errBehind: a nonce is used, and the transaction of ours that may have used it still waits, as the node says.
var errBehind = errors.New("the node counts a transaction of ours and has no receipt of it yet")

// behind reports whether an observation contradicts itself, as one does that several nodes behind one address made
// together: the account's nonce is past a transaction of ours, no transaction of that nonce has a receipt, and the node
// knows one still. To conclude from it that another program used the nonce would be to lose sight of what we have mined.
func (w *worker) behind(watched []bundlesender.Attempt, seen *chain.Observation) bool {
	doubtful := slices.ContainsFunc(watched, func(a bundlesender.Attempt) bool {
		return a.Nonce < seen.Nonce && seen.Known[a.Hash] && !slices.ContainsFunc(watched, func(b bundlesender.Attempt) bool {
			return b.Nonce == a.Nonce && seen.Receipts[b.Hash] != nil
		})
	})
	if !doubtful {
		w.contradicted = 0
		return false
	}
	w.contradicted++
	return w.contradicted <= maxBehind
}
