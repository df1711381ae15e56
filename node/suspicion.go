package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"baler/bundlesender"
	"baler/chain"
	"baler/entrypoint"
	"baler/event"
	"baler/evm"
	"baler/pool"
	"baler/proposer"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// suspicion is the record of suspects and rivals that all senders share: an operation that made one sender's bundle fail
// is deferred by all of them, and all learn from what rivals take.
type suspicion struct {
	mu       sync.Mutex
	suspects *proposer.Suspects
	rivals   *proposer.Rivals
}

func newSuspicion(maxBundleSize int) *suspicion {
	config := proposer.DefaultSuspectsConfig()
	config.NoLimit = maxBundleSize
	return &suspicion{suspects: proposer.NewSuspects(config), rivals: proposer.NewRivals()}
}

func (s *suspicion) limit(builder string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.suspects.Limit(builder)
}

func (s *suspicion) deferred(block uint64) []common.Hash {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.suspects.Deferred(block)
}

func (s *suspicion) refused(builder string, ops []common.Hash, block uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.suspects.Refused(builder, ops, block)
}

func (s *suspicion) apart(block uint64) []common.Hash {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.suspects.Apart(block)
}

func (s *suspicion) shrink(builder string, ops int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.suspects.Shrink(builder, ops)
}

func (s *suspicion) settled(fates []proposer.Fate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rivals.Settled(fates)
}

func (s *suspicion) cut(ops []*pool.Operation) ([]*pool.Operation, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rivals.Cut(ops)
}

func (s *suspicion) raced(ops []*pool.Operation) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(ops, s.rivals.Raced)
}

func (s *suspicion) accepted(ops []common.Hash, block uint64) []common.Hash {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.suspects.Accepted(ops, block)
}

func (s *suspicion) mined(builder string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.suspects.Mined(builder)
}

// all returns the operations that something is remembered of.
func (s *suspicion) all() (hashes []common.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	note := func(h common.Hash) (gone bool) {
		hashes = append(hashes, h)
		return false
	}
	s.suspects.Forget(note)
	s.rivals.Forget(note)
	return hashes
}

// forget drops what is remembered of operations, but for those that are left.
func (s *suspicion) forget(asked []common.Hash, left []*pool.Operation) {
	gone := make(map[common.Hash]bool, len(asked))
	for _, h := range asked {
		gone[h] = true
	}
	for _, op := range left {
		delete(gone, op.Hash)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.suspects.Forget(func(h common.Hash) bool { return gone[h] })
	s.rivals.Forget(func(h common.Hash) bool { return gone[h] })
}

// forgetSuspects drops suspects that are not in the pool any more.
func (n *Node) forgetSuspects(ctx context.Context) error {
	asked := n.suspicion.all()
	if len(asked) == 0 {
		return nil
	}
	left, err := n.port.Operations(ctx, asked)
	if err != nil {
		return err
	}
	n.suspicion.forget(asked, left)
	return nil
}

// learn takes note of what rivals took of a bundle's operations, once for each bundle; none: it was mined.
func (w *worker) learn(id bundlesender.AttemptID, operations []common.Hash, taken map[common.Hash]bool) {
	signed, ok := w.sent[id]
	if !ok || signed.learnt || signed.tx == nil || signed.tx.To() == nil {
		return
	}
	ep, served := w.node.entryPoint(*signed.tx.To())
	if !served {
		return
	}
	ops, _, err := entrypoint.DecodeBundle(ep.Version, signed.tx.Data())
	if err != nil || len(ops) != len(operations) {
		return // not a bundle of ours: it says nothing
	}
	fates := make([]proposer.Fate, len(ops))
	for i, op := range ops {
		fates[i] = proposer.Fate{Operation: operations[i], Account: op.Sender, Taken: taken[operations[i]]}
	}
	signed.learnt = true
	w.sent[id] = signed
	w.node.suspicion.settled(fates)
}

// learnOfRivals takes note of what rivals took of the operations of a bundle, some of which are mined elsewhere, and reports whether
// they took any. An error says that it is not known.
func (w *worker) learnOfRivals(ctx context.Context, id bundlesender.AttemptID, operations []common.Hash, tx common.Hash) (took bool, err error) {
	taken, err := w.takenByRivals(ctx, operations, tx)
	if err != nil {
		w.node.log.Warn("who mined operations of a bundle is not known", "signer", w.builder, "tx", tx, "err", err)
		return false, err
	}
	if len(taken) > 0 {
		w.learn(id, operations, taken)
	}
	return len(taken) > 0, nil
}

// takenByRivals returns those of the operations that were mined in a transaction of somebody else. Often it is one of our own, and no
// rival's: the one that a bundle replaced or was replaced by, or another key's after a reorg.
func (w *worker) takenByRivals(ctx context.Context, operations []common.Hash, tx common.Hash) (map[common.Hash]bool, error) {
	taken, rivals := make(map[common.Hash]bool), make(map[common.Hash]bool)
	for _, operation := range operations {
		_, other, elsewhere := w.node.history.takenElsewhere([]common.Hash{operation}, tx)
		if !elsewhere {
			continue
		}
		rival, asked := rivals[other]
		if !asked {
			var err error
			if rival, err = w.isRivals(ctx, other); err != nil {
				return nil, err
			}
			rivals[other] = rival
		}
		if rival {
			taken[operation] = true
		}
	}
	return taken, nil
}

// isRivals reports whether none of our keys made a mined transaction. The node is asked only if this key did not.
func (w *worker) isRivals(ctx context.Context, tx common.Hash) (bool, error) {
	ours := func(a bundlesender.Attempt) bool { return a.Hash == tx }
	if slices.ContainsFunc(w.machine.Watch(), ours) || slices.ContainsFunc(w.machine.Settled(), ours) {
		return false, nil
	}
	var found *struct {
		From common.Address `json:"from"`
	}
	if err := w.node.chain.CallContext(ctx, &found, "eth_getTransactionByHash", tx); err != nil {
		return false, err
	}
	return found != nil && w.node.keys.position(found.From) < 0, nil
}

// onRevert takes note of a mined bundle that reverted. That a rival took operations out of it is known at once, and
// the next bundle heeds it; any other cause is looked for beside the loop.
func (w *worker) onRevert(ctx context.Context, e bundlesender.Settle, receipt *chain.Receipt, tx *types.Transaction) {
	if hash, other, raced := w.node.history.takenElsewhere(e.Operations, e.Hash); raced {
		by := "own transaction"
		switch took, err := w.learnOfRivals(ctx, e.Attempt, e.Operations, e.Hash); {
		case err != nil:
			by = "unknown"
		case took:
			by = "rival"
		}
		w.reverted(e, fmt.Sprintf("%s: operation %s was mined in %s", by, hash, other), nil)
		return
	}
	w.node.validator.inner.DoubtBundles()
	ops := w.node.remembered(ctx, e.Operations) // the next bundle's validation may remove the culprit first
	w.task(func() {
		cause, culprits, err := w.node.explainRevert(ctx, e, receipt, tx)
		switch {
		case err != nil:
			cause = "unknown: " + err.Error()
			fallthrough
		case cause == causeUnknown:
			w.node.suspicion.refused(w.builder, e.Operations, e.Block)
		case len(culprits) == 0: // out of gas: a smaller bundle has more to spare
			w.node.suspicion.shrink(w.builder, len(e.Operations))
		}
		culprits = slices.DeleteFunc(culprits, func(c proposer.Removal) bool { return w.node.early(ctx, c) })
		for _, c := range culprits {
			if err := w.node.port.Convict(ctx, c, ops[c.Hash]); err != nil {
				w.node.log.Warn("an operation that made a bundle revert stays in the pool", "signer", w.builder, "op", c.Hash, "err", err)
			}
		}
		w.reverted(e, cause, culprits)
	})
}

// reverted says that a bundle reverted, and why.
func (w *worker) reverted(e bundlesender.Settle, cause string, culprits []proposer.Removal) {
	var guilty []common.Hash
	for _, c := range culprits {
		guilty = append(guilty, c.Hash)
	}
	w.node.sink(event.BundleReverted{
		Signer: w.key.Address(), Tx: e.Hash, Block: e.Block, Operations: len(e.Operations), Hashes: e.Operations,
		Cause: cause, Culprits: guilty,
	})
}

// early reports whether an operation failed because its turn had not come: its nonce is not used, so the one before it was
// mined later, or waits still. A reorg puts two bundles into another order than they were made in.
func (n *Node) early(ctx context.Context, c proposer.Removal) (waits bool) {
	if c.Rejection == nil || !strings.HasPrefix(c.Rejection.Message, "AA25 ") {
		return false
	}
	found, err := n.port.Operations(ctx, []common.Hash{c.Hash})
	return err != nil || len(found) > 0 // not known: nobody is blamed
}

// remembered returns operations of a bundle as they were in the pool, as far as they are there or were offered to this process.
func (n *Node) remembered(ctx context.Context, hashes []common.Hash) map[common.Hash]*pool.Operation {
	var list []*pool.Operation
	if n.seen != nil {
		list = n.seen.all(hashes)
	} else {
		list, _ = n.desk.Operations(ctx, hashes) // has no errors
	}
	found := make(map[common.Hash]*pool.Operation, len(list))
	for _, op := range list {
		found[op.Hash] = op
	}
	return found
}

const causeUnknown = "unknown: the bundle passes on the state before its block, and on that after it"

// explainRevert runs a reverted bundle again: on the state before its block, which finds what the simulation overlooked,
// and on the state after it, which finds what a transaction in the same block took away.
func (n *Node) explainRevert(ctx context.Context, e bundlesender.Settle, receipt *chain.Receipt, tx *types.Transaction) (string, []proposer.Removal, error) {
	ep, ok := n.entryPoint(*tx.To())
	if !ok {
		return "", nil, errors.New("the transaction calls no EntryPoint that is served")
	}
	ops, beneficiary, err := entrypoint.DecodeBundle(ep.Version, tx.Data())
	if err != nil {
		return "", nil, err
	}
	groups, _, err := entrypoint.DecodeHandleAggregatedOps(ep.Version, tx.Data())
	if err != nil {
		groups = nil // handleOps
	}
	block, err := n.chain.Header(ctx, e.BlockHash)
	if err != nil {
		return "", nil, err
	}
	parent, err := n.chain.Header(ctx, block.ParentHash)
	if err != nil {
		return "", nil, err
	}
	at := evm.AtHeader(n.source.Config(), block)
	bundle := validation.Bundle{
		EntryPoint: ep, Ops: ops, Groups: groups, Beneficiary: beneficiary, Authorizations: tx.SetCodeAuthorizations(), Block: &at,
		Fees: feesOf(tx),
	}
	for _, state := range []struct {
		header *types.Header
		words  string
	}{{parent, ""}, {block, ", because of a transaction in the same block"}} {
		result, err := n.validator.inner.ValidateBundle(ctx, state.header, bundle)
		if err != nil {
			return "", nil, err
		}
		if culprits := culpritsOf(e, result); len(culprits) > 0 {
			return culprits[0].Rejection.Message + state.words, culprits, nil
		}
		if receipt.GasUsed == tx.Gas() {
			return "out of gas", nil, nil
		}
	}
	return causeUnknown, nil, nil
}

func culpritsOf(e bundlesender.Settle, result *validation.BundleResult) []proposer.Removal {
	var culprits []proposer.Removal
	for _, f := range result.Failed {
		culprits = append(culprits, proposer.Removal{
			Hash: e.Operations[f.Index], Rejection: f.Rejection, Reason: pool.BundleFailed, Culprit: f.Entity,
		})
	}
	return culprits
}
