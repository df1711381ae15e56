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

// forget drops suspects that are not in the pool any more.
func (s *suspicion) forget(m *mempool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := func(h common.Hash) (gone bool) {
		m.look(func(p *pool.Pool) { gone = p.Get(h) == nil })
		return gone
	}
	s.suspects.Forget(left)
	s.rivals.Forget(left)
}

// removeCulprits takes out operations that made bundle after bundle fail while others were accepted.
func (n *Node) removeCulprits(culprits []common.Hash) {
	for _, hash := range culprits {
		var removed []pool.Removed
		n.pool.look(func(p *pool.Pool) { removed, _ = p.Remove(hash, pool.Dropped, 0) }) // gone already: nothing to do
		for _, r := range removed {
			n.sink(event.OperationRemoved{
				Hash: r.Operation.Hash, Cause: r.Reason.String(), Reason: "bundles with it were refused again and again",
			})
		}
	}
}

// learn takes note of what rivals took of a bundle's operations, once for each bundle.
func (w *worker) learn(id bundlesender.AttemptID, operations []common.Hash, mined common.Hash) {
	signed, ok := w.sent[id]
	if !ok || signed.learnt || signed.tx.To() == nil {
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
		fates[i] = proposer.Fate{
			Operation: operations[i], Account: op.Sender, Taken: w.node.history.elsewhere(operations[i:i+1], mined),
		}
	}
	signed.learnt = true
	w.sent[id] = signed
	w.node.suspicion.settled(fates)
}

// onRevert takes note of a mined bundle that reverted. That a rival took operations out of it is known at once, and
// the next bundle heeds it; any other cause is looked for beside the loop.
func (w *worker) onRevert(ctx context.Context, e bundlesender.Settle, receipt *chain.Receipt, tx *types.Transaction) {
	if hash, other, raced := w.node.history.takenElsewhere(e.Operations, e.Hash); raced {
		w.learn(e.Attempt, e.Operations, e.Hash)
		w.reverted(e, fmt.Sprintf("operation %s was mined in %s", hash, other), nil)
		return
	}
	ops := w.node.pool.operations(e.Operations) // the next bundle's validation may remove the culprit first
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
		culprits = slices.DeleteFunc(culprits, w.node.early)
		for _, c := range culprits {
			w.node.convict(c, ops[c.Hash])
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
func (n *Node) early(c proposer.Removal) (waits bool) {
	if c.Rejection == nil || !strings.HasPrefix(c.Rejection.Message, "AA25 ") {
		return false
	}
	n.pool.look(func(p *pool.Pool) { waits = p.Get(c.Hash) != nil })
	return waits
}

// convict takes an operation that made a bundle revert out of the pool. If it has left the pool since, because it fails
// alone as well, the entity that failed loses its reputation nevertheless.
func (n *Node) convict(c proposer.Removal, op *pool.Operation) {
	var gone bool
	n.pool.look(func(p *pool.Pool) { gone = p.Get(c.Hash) == nil })
	if !gone {
		n.pool.remove([]proposer.Removal{c})
		return
	}
	if op != nil {
		n.pool.do(func(p *pool.Pool) []pool.Removed { return p.Blame(op, c.Culprit) })
	}
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
