package node

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"baler/bundlesender"
	"baler/entrypoint"
	"baler/event"
	"baler/evm"
	"baler/pool"
	"baler/proposer"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// suspicion is the record of suspects that all senders share: an operation that made one sender's bundle fail is
// deferred by all of them.
type suspicion struct {
	mu       sync.Mutex
	suspects *proposer.Suspects
}

func newSuspicion(maxBundleSize int) *suspicion {
	config := proposer.DefaultSuspectsConfig()
	config.NoLimit = maxBundleSize
	return &suspicion{suspects: proposer.NewSuspects(config)}
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

func (s *suspicion) raced(builder string, ops int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.suspects.Raced(builder, ops)
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
	s.suspects.Forget(func(h common.Hash) (gone bool) {
		m.look(func(p *pool.Pool) { gone = p.Get(h) == nil })
		return gone
	})
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

// onRevert finds out why a mined bundle reverted, takes the culprits out of the pool, and says so.
func (w *worker) onRevert(ctx context.Context, e bundlesender.Settle, receipt *types.Receipt, tx *types.Transaction) {
	cause, culprits, err := w.node.explainRevert(ctx, e, receipt, tx)
	switch {
	case err != nil:
		cause = "unknown: " + err.Error()
		fallthrough
	case cause == causeUnknown:
		w.node.suspicion.refused(w.builder, e.Operations, e.Block)
	case len(culprits) == 0: // raced, or out of gas: smaller bundles risk less
		w.node.suspicion.raced(w.builder, len(e.Operations))
	}
	var guilty []common.Hash
	for _, c := range culprits {
		guilty = append(guilty, c.Hash)
	}
	w.node.pool.remove(culprits)
	w.node.sink(event.BundleReverted{
		Signer: w.key.Address(), Tx: e.Hash, Block: e.Block, Operations: len(e.Operations), Hashes: e.Operations,
		Cause: cause, Culprits: guilty,
	})
}

const causeUnknown = "unknown: the bundle passes on the state before its block"

// explainRevert looks at what else was mined, and runs the bundle again on the state before its block.
func (n *Node) explainRevert(ctx context.Context, e bundlesender.Settle, receipt *types.Receipt, tx *types.Transaction) (string, []proposer.Removal, error) {
	for _, hash := range e.Operations {
		if m, ok := n.history.get(hash); ok && m.inclusion.TransactionHash != e.Hash {
			return fmt.Sprintf("operation %s was mined in %s", hash, m.inclusion.TransactionHash), nil, nil
		}
	}
	ep, ok := n.entryPoint(*tx.To())
	if !ok {
		return "", nil, errors.New("the transaction calls no EntryPoint that is served")
	}
	ops, beneficiary, err := entrypoint.DecodeHandleOps(ep.Version, tx.Data())
	if err != nil {
		return "", nil, err
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
	result, err := n.validator.inner.ValidateBundle(ctx, parent, validation.Bundle{
		EntryPoint: ep, Ops: ops, Beneficiary: beneficiary, Authorizations: tx.SetCodeAuthorizations(), Block: &at,
		Fees: feesOf(tx),
	})
	if err != nil {
		return "", nil, err
	}
	var culprits []proposer.Removal
	for _, f := range result.Failed {
		culprits = append(culprits, proposer.Removal{
			Hash: e.Operations[f.Index], Rejection: f.Rejection, Reason: pool.BundleFailed, Culprit: f.Entity,
		})
	}
	switch {
	case len(culprits) > 0:
		return culprits[0].Rejection.Message, culprits, nil
	case receipt.GasUsed == tx.Gas():
		return "out of gas", nil, nil
	default:
		return causeUnknown, nil, nil
	}
}
