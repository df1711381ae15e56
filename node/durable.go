package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"baler/chain"
	"baler/entrypoint"
	"baler/event"
	"baler/pool"
	"baler/rejection"
	"baler/rpc"
	"baler/store"
	"baler/userop"

	"github.com/cenkalti/backoff/v5"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// forgetRemoved is a sink that takes operations out of the store as they leave the pool. What it writes is durable soon:
// an operation that comes back after a crash is validated again.
func (n *Node) forgetRemoved(e event.Event) {
	if removed, ok := e.(event.OperationRemoved); ok {
		n.enqueue(store.DeleteOperations(removed.Hash))
	}
}

// enqueue hands writes to the store. That it takes no more is told by its committer, which ends the node.
func (n *Node) enqueue(writes ...store.Write) { n.enqueueBy(n.config.Store.Enqueue, writes...) }

func (n *Node) enqueueBy(hand func(context.Context, ...store.Write) error, writes ...store.Write) {
	if err := hand(context.Background(), writes...); err != nil && !errors.Is(err, store.ErrEnded) {
		n.log.Error("the store takes nothing more", "err", err)
	}
}

// keep makes an accepted operation durable; only then it is acknowledged. One that cannot be kept is not accepted.
func (n *Node) keep(ctx context.Context, op *pool.Operation) error {
	n.config.Boundary("operation pooled")
	receipt, err := n.keepAccepted(store.PutOperation(op))
	if err == nil {
		err = receipt.Wait(ctx)
	}
	if err == nil {
		n.config.Boundary("operation kept")
		return nil
	}
	n.pool.do(func(p *pool.Pool) []pool.Removed {
		removed, _ := p.Remove(op.Hash, pool.Dropped, 0) // it may be gone already
		return removed
	})
	return fmt.Errorf("keep operation %s: %w", op.Hash, err)
}

// kept returns when an operation that is in the pool is durable: whoever sent it first may still be waiting for that.
func (n *Node) kept(ctx context.Context, hash common.Hash) error {
	var op *pool.Operation
	n.pool.look(func(p *pool.Pool) { op = p.Get(hash) })
	if op == nil { // mined or removed meanwhile
		return nil
	}
	receipt, err := n.config.Store.Accept(store.PutOperation(op))
	if err == nil {
		err = receipt.Wait(ctx)
	}
	if err != nil {
		return fmt.Errorf("keep operation %s: %w", hash, err)
	}
	return nil
}

// restore validates what the store kept and puts it back into the pool, at the first head. What was mined in blocks
// that this chain does not have was not mined. The operations that live transactions hold are claimed for their
// senders before anybody else can take them.
func (n *Node) restore(ctx context.Context) error {
	n.recallReputation()
	n.recall()
	n.recallBooks()
	orphans, err := n.orphans(ctx)
	if err != nil {
		return err
	}
	kept := append(n.restoring, n.unmine(orphans)...)
	n.restoring = nil
	began := time.Now()
	back, err := n.readmit(ctx, kept)
	if err != nil {
		return err
	}
	if len(kept) > 0 {
		n.log.Info("operations restored", "kept", len(kept), "valid", back, "took", time.Since(began).Round(time.Millisecond))
	}
	n.keys.claimRestored(ctx)
	n.desk.register.begin(n)
	return nil
}

// recall reads back what was mined in the blocks that a reorg may still reach.
func (n *Node) recall() {
	oldest := n.oldestReorged()
	for m, err := range n.config.Store.Latest() {
		if err != nil {
			n.log.Error("a mined operation could not be read back", "err", err)
			continue
		}
		if m.Block < oldest {
			return
		}
		mined := minedOperation{entryPoint: m.EntryPoint, inclusion: rpc.Inclusion{
			BlockNumber: m.Block, BlockHash: m.BlockHash, TransactionHash: m.Transaction,
		}}
		mined.op = m.Operation
		n.history.add(m.Hash, mined)
	}
}

// oldestReorged is the number of the oldest block that a reorg is expected to reach.
func (n *Node) oldestReorged() uint64 {
	head := n.head.Load().number()
	return head - min(head, chain.ReorgDepth)
}

// orphans returns the blocks in which operations were mined, as far as is remembered, and which are not of this chain. It
// asks until the node answers: without the answer operations would be lost.
func (n *Node) orphans(ctx context.Context) ([]block, error) {
	var blocks []block
	var numbers []uint64
	for b := range n.history.since(n.oldestReorged()) {
		blocks, numbers = append(blocks, b), append(numbers, b.number)
	}
	canonical, err := backoff.Retry(ctx, func() ([]common.Hash, error) { return n.chain.Canonical(ctx, numbers) }, backoff.WithMaxElapsedTime(0))
	if err != nil {
		return nil, err
	}
	var gone []block
	for i, b := range blocks {
		if canonical[i] != b.hash {
			gone = append(gone, b)
		}
	}
	return gone, nil
}

// stored returns the operations of the store. A damaged record is left out, and named.
func (n *Node) stored() ([]*pool.Operation, error) {
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
	return list, nil
}

// readmit puts operations back into the pool, per sender in the order of their nonces, as far as they are still valid. What
// was mined meanwhile is told as mined. An error is the node's trouble that did not pass.
func (n *Node) readmit(ctx context.Context, ops []*pool.Operation) (back int, err error) {
	slices.SortStableFunc(ops, func(a, b *pool.Operation) int {
		if by := a.Op.Sender.Cmp(b.Op.Sender); by != 0 {
			return by
		}
		return a.Op.Nonce.Cmp(&b.Op.Nonce)
	})
	refused := make(map[common.Hash]*rejection.Rejection)
	gone := make(map[common.Hash]*pool.Operation)
	for i, op := range ops {
		if i%readAhead == 0 {
			n.readAhead(ctx, ops[i:min(i+readAhead, len(ops))])
		}
		n.timeline.begin(op)
		_, err := backoff.Retry(ctx, func() (common.Hash, error) {
			hash, err := n.readmitted(ctx, op)
			if _, no := errors.AsType[*rejection.Rejection](err); no {
				return hash, backoff.Permanent(err)
			}
			return hash, err
		}, backoff.WithMaxElapsedTime(0))
		r, no := errors.AsType[*rejection.Rejection](err)
		switch {
		case no:
			refused[op.Hash], gone[op.Hash] = r, op
		case err != nil:
			return back, err
		default:
			back++
		}
	}
	if err := n.tellMined(ctx, gone); err != nil {
		return back, err
	}
	for hash := range gone {
		n.sink(event.OperationRemoved{Hash: hash, Cause: "not valid any more", Reason: "not valid any more: " + refused[hash].Message, Code: int(refused[hash].Kind), Rule: refused[hash].Data.Rule})
	}
	return back, nil
}

// readAhead is for how many operations state is read at once before they are validated again.
const readAhead = 256

// readAhead reads what the validations of operations will need, a few round trips for many operations. What cannot be read
// now is read by each of them.
func (n *Node) readAhead(ctx context.Context, ops []*pool.Operation) {
	at := n.head.Load()
	for _, ep := range n.config.EntryPoints {
		var list []*userop.UserOperation
		for _, op := range ops {
			if op.EntryPoint == ep {
				list = append(list, op.Op)
			}
		}
		if len(list) == 0 {
			continue
		}
		if err := n.validator.Prepare(ctx, at.header, ep, list); err != nil {
			n.log.Info("reading ahead for what was kept failed", "operations", len(list), "err", err)
		}
	}
}

// maxTopics is how many operations are looked for in one request for logs.
const maxTopics = 100

// tellMined looks for operations in the chain's logs, and takes those that are there out of the map.
func (n *Node) tellMined(ctx context.Context, ops map[common.Hash]*pool.Operation) error {
	head := n.head.Load().number()
	for hashes := range slices.Chunk(slices.Collect(maps.Keys(ops)), maxTopics) {
		logs, err := backoff.Retry(ctx, func() ([]types.Log, error) {
			return n.chain.LogsSince(ctx, head-min(head, n.config.LookupBlocks), n.entryPointAddresses(),
				[]common.Hash{entrypoint.TopicUserOperationEvent}, hashes)
		}, backoff.WithMaxElapsedTime(0))
		if err != nil {
			return err
		}
		for i := range logs {
			mined, err := entrypoint.ParseUserOperationEvent(&logs[i])
			if err != nil {
				n.log.Warn("an operation event was not understood", "tx", logs[i].TxHash, "err", err)
				continue
			}
			if op := ops[mined.UserOpHash]; op != nil {
				n.announce([]inclusion{n.included(&logs[i], mined, op)})
				delete(ops, mined.UserOpHash)
			}
		}
	}
	return nil
}

// rememberMined writes down where an operation of ours was mined. A block's operations are many and nobody waits for their records: what
// is accepted meanwhile, and what senders write down, overtakes them. What a crash leaves unwritten is found in the chain's logs again.
func (n *Node) rememberMined(hash common.Hash, m minedOperation, op *pool.Operation) {
	n.enqueueBy(n.config.Store.EnqueueLater, store.DeleteOperations(hash), store.PutMined(store.MinedOperation{
		Hash: hash, EntryPoint: m.entryPoint, Block: m.inclusion.BlockNumber, BlockHash: m.inclusion.BlockHash,
		Transaction: m.inclusion.TransactionHash, Operation: op.Op, Story: n.timeline.kept(hash),
	}))
}

// forgetMined takes back what the store knows of blocks that left the chain, and keeps again what returned to the pool.
func (n *Node) forgetMined(blocks []block, revived []*pool.Operation) {
	writes := make([]store.Write, 0, len(blocks)+len(revived))
	for _, b := range blocks {
		writes = append(writes, store.Unmine(b.hash))
	}
	for _, op := range revived {
		writes = append(writes, store.PutOperation(op))
	}
	n.enqueue(writes...)
}

// readsMined is storedMined where there is a store.
func (n *Node) readsMined() func(common.Hash) (*minedOperation, error) {
	if n.config.Store == nil {
		return nil
	}
	return n.storedMined
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
	mined.op = stored.Operation
	return mined, nil
}
