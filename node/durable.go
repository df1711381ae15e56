package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"baler/event"
	"baler/pool"
	"baler/rejection"
	"baler/store"

	"github.com/cenkalti/backoff/v5"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// reputationBlocks is after how many blocks the reputation records are written down again.
const reputationBlocks = 32

// forgetRemoved is a sink that takes operations out of the store as they leave the pool. What it writes is durable soon:
// an operation that comes back after a crash is validated again.
func (n *Node) forgetRemoved(e event.Event) {
	if removed, ok := e.(event.OperationRemoved); ok {
		n.enqueue(store.DeleteOperations(removed.Hash))
	}
}

// enqueue hands writes to the store. That it takes no more is told by its committer, which ends the node.
func (n *Node) enqueue(writes ...store.Write) {
	if err := n.config.Store.Enqueue(context.Background(), writes...); err != nil && !errors.Is(err, store.ErrEnded) {
		n.log.Error("the store takes nothing more", "err", err)
	}
}

// keep makes an accepted operation durable; only then it is acknowledged. One that cannot be kept is not accepted.
func (n *Node) keep(ctx context.Context, op *pool.Operation) error {
	err := n.config.Store.Commit(ctx, store.PutOperation(op))
	if err == nil {
		return nil
	}
	n.pool.do(func(p *pool.Pool) []pool.Removed {
		removed, _ := p.Remove(op.Hash, pool.Dropped, 0) // it may be gone already
		return removed
	})
	return fmt.Errorf("keep operation %s: %w", op.Hash, err)
}

// restore validates what the store kept and puts it back into the pool, at the first head. The operations that live
// transactions hold are claimed for their senders before anybody else can take them.
func (n *Node) restore(ctx context.Context) error {
	reputation, err := n.config.Store.Reputation()
	if err != nil {
		n.log.Error("reputations could not be read, all begin anew", "err", err)
	}
	n.pool.do(func(p *pool.Pool) []pool.Removed { return p.SetReputation(reputation) })
	kept, err := n.kept()
	if err != nil {
		return err
	}
	began := time.Now()
	back := 0
	for _, op := range kept {
		ok, err := n.readmit(ctx, op)
		if err != nil {
			return err
		}
		if ok {
			back++
		}
	}
	if len(kept) > 0 {
		n.log.Info("operations restored", "kept", len(kept), "valid", back, "took", time.Since(began).Round(time.Millisecond))
	}
	until := n.head.Load().number() + claimBlocks
	for _, w := range n.workers {
		n.pool.look(func(p *pool.Pool) { p.Claim(w.builder, w.held, until) })
	}
	return nil
}

// kept returns the operations of the store, per sender in the order of their nonces. A damaged record is left out, and
// named.
func (n *Node) kept() ([]*pool.Operation, error) {
	var list []*pool.Operation
	for op, err := range n.config.Store.Operations() {
		switch {
		case errors.Is(err, store.ErrDamaged):
			n.log.Error("an operation could not be read back", "err", err)
		case err != nil:
			return nil, fmt.Errorf("read operations: %w", err)
		default:
			list = append(list, op)
		}
	}
	slices.SortStableFunc(list, func(a, b *pool.Operation) int {
		if by := a.Op.Sender.Cmp(b.Op.Sender); by != 0 {
			return by
		}
		return a.Op.Nonce.Cmp(&b.Op.Nonce)
	})
	return list, nil
}

// readmit puts one operation back into the pool if it is still valid. An error is the node's trouble that did not pass.
func (n *Node) readmit(ctx context.Context, op *pool.Operation) (bool, error) {
	_, err := backoff.Retry(ctx, func() (common.Hash, error) {
		hash, err := n.admit(ctx, op.EntryPoint, op.Op)
		if _, refused := errors.AsType[*rejection.Rejection](err); refused {
			return hash, backoff.Permanent(err)
		}
		return hash, err
	}, backoff.WithMaxElapsedTime(0))
	if refused, ok := errors.AsType[*rejection.Rejection](err); ok {
		n.sink(event.OperationRemoved{Hash: op.Hash, Reason: "not valid any more: " + refused.Message})
		return false, nil
	}
	return err == nil, err
}

// rememberMined writes down where an operation of ours was mined.
func (n *Node) rememberMined(hash common.Hash, m minedOperation, op *pool.Operation) {
	if op == nil {
		return
	}
	n.enqueue(store.DeleteOperations(hash), store.PutMined(store.MinedOperation{
		Hash: hash, EntryPoint: m.entryPoint, Block: m.inclusion.BlockNumber, BlockHash: m.inclusion.BlockHash,
		Transaction: m.inclusion.TransactionHash, Operation: op,
	}))
}

// forgetMined takes back what the store knows of blocks that left the chain, and keeps again what returned to the pool.
func (n *Node) forgetMined(blocks []*types.Header, revived []*pool.Operation) {
	writes := make([]store.Write, 0, len(blocks)+len(revived))
	for _, block := range blocks {
		writes = append(writes, store.Unmine(block.Hash()))
	}
	for _, op := range revived {
		writes = append(writes, store.PutOperation(op))
	}
	n.enqueue(writes...)
}

// storedMined finds a mined operation that the memory has forgotten.
func (n *Node) storedMined(hash common.Hash) (*minedOperation, error) {
	stored, err := n.config.Store.Mined(hash)
	if err != nil || stored == nil {
		return nil, err
	}
	mined := &minedOperation{entryPoint: stored.EntryPoint}
	mined.inclusion.BlockNumber, mined.inclusion.BlockHash = stored.Block, stored.BlockHash
	mined.inclusion.TransactionHash = stored.Transaction
	if stored.Operation != nil {
		mined.op = stored.Operation.Op
	}
	return mined, nil
}

// keepReputation writes the reputation records down.
func (n *Node) keepReputation() {
	var list []pool.Reputation
	n.pool.look(func(p *pool.Pool) { list = p.DumpReputation() })
	n.enqueue(store.SetReputation(list))
}
