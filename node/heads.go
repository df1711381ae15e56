package node

import (
	"context"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"baler/chain"
	"baler/entrypoint"
	"baler/event"
	"baler/pool"
	"baler/rpc"

	"github.com/cenkalti/backoff/v5"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// logsPatience is how long the logs of one block are asked for. Longer, and the block is gone or the node is: what the
// logs would have told is then read from the state.
const logsPatience = 20 * time.Second

// onUpdate takes one step of the chain: first the pool, then the senders, so that a bundle built at this head never
// holds an operation that the head has mined. What was mined is told and written down while they are at work.
//
// An error is the end of the node: what it must keep could not be read back.
func (n *Node) onUpdate(ctx context.Context, update chain.Update) error {
	var reading sync.WaitGroup
	defer reading.Wait()
	mined, err := n.takeIn(ctx, update, &reading)
	n.announce(mined)
	n.readDoubtful(ctx)
	return err
}

// readDoubtful reads the nonces of some of the lanes that have waited long: providers withhold logs.
func (n *Node) readDoubtful(ctx context.Context) {
	moves, at := n.moves.Load(), n.head.Load()
	if at != nil && ctx.Err() == nil {
		n.reconcile(ctx, at, n.doubtful(at), func() bool { return n.still(moves) })
	}
}

// takeIn is onUpdate up to what is told. It returns what was mined. What it begins and need not wait for is in the group.
func (n *Node) takeIn(ctx context.Context, update chain.Update, reading *sync.WaitGroup) (mined []inclusion, err error) {
	next, err := newHead(n.config, update.Head)
	if err != nil {
		n.log.Error("a head was not understood", "err", err)
		return nil, nil
	}
	n.keys.coming(update.Head)
	taken := &step{since: time.Now(), done: make(chan struct{})}
	n.updating.Store(taken)
	n.moves.Add(1)
	defer func() {
		n.moves.Add(1)
		n.updating.Store(nil)
		close(taken.done)
		n.lookout.arrived()
	}()
	lost, err := n.takeBack(ctx, update)
	if err != nil {
		return mined, nil // the end, not the node's failure
	}
	if n.interested() {
		var ahead sync.WaitGroup
		defer ahead.Wait() // also if the node ends
		ahead.Go(func() { n.askAhead(ctx, next) })
		reading.Go(func() { n.prepareAhead(ctx, next) })
		logs, err := n.operationLogs(ctx, update.Head)
		if ctx.Err() != nil {
			return mined, nil // the end, not the node's failure
		}
		if err != nil {
			n.log.Warn("logs of a block could not be read; the pool follows the nonces instead", "block", next.number(), "err", err)
			update.Gap = true
		}
		mined = n.settleLogs(logs)
		if update.Gap || n.withheld(update.Head, logs) {
			n.reconcile(ctx, next, n.lanes(), func() bool { return true })
		}
		ahead.Wait()
	}
	n.head.Store(next)
	n.books.seen(update.Head)
	n.carriers.forget(next.number())
	n.tellPool(next)
	if !n.remote() { // elsewhere the senders ask, beside their loops
		_ = n.forgetSuspects(ctx) // this process's pool has no errors
	}
	n.sink(event.HeadSeen{Number: next.number(), Hash: update.Head.Hash(), Removed: len(update.Removed)})
	select {
	case <-n.started:
	default:
		if err := n.restore(ctx); err != nil {
			return mined, err
		}
		close(n.started)
	}
	if _, err := n.readmit(ctx, lost); err != nil {
		return mined, nil // the end, not the node's failure
	}
	n.keepReputation()
	n.keys.heads(&update)
	n.treasury.heads(&update)
	return mined, nil
}

// tellPool tells the pool of a head.
func (n *Node) tellPool(next *head) {
	n.pool.do(func(p *pool.Pool) []pool.Removed {
		n.left.prolong(p, next.number()+leftClaimBlocks)
		return p.Head(pool.Head{Number: next.number(), Timestamp: next.header.Time, BaseFee: next.baseFee})
	})
}

// step is a step of the chain that is being taken in.
type step struct {
	since time.Time
	done  chan struct{} // closed when the pool and the head belong together again
}

// awaitStep returns when no step of the chain is being taken in, or when the context ends.
func (n *Node) awaitStep(ctx context.Context) {
	if taken := n.updating.Load(); taken != nil {
		select {
		case <-taken.done:
		case <-ctx.Done():
		}
	}
}

// still reports whether the pool and the head have belonged together since moves had this value. While a block is taken
// in, the pool knows already that an operation is mined, and the head's state does not: the next operation of the sender
// then seems to leave a gap. What was refused in between says nothing about the operation.
func (n *Node) still(moves uint64) bool { return moves%2 == 0 && n.moves.Load() == moves }

// interested reports whether a block's logs can matter: operations wait here, or were mined not long ago.
func (n *Node) interested() bool {
	if n.seen != nil {
		return true // operations of the senders here wait elsewhere
	}
	var waiting int
	n.pool.look(func(p *pool.Pool) { waiting = p.Len() })
	return waiting > 0
}

// takeBack takes back what blocks that left the chain had settled. It returns the operations that were mined there and are
// not in the pool again by themselves: they were mined before this process was born, or before a gap.
func (n *Node) takeBack(ctx context.Context, update chain.Update) ([]*pool.Operation, error) {
	gone := make([]block, len(update.Removed))
	for i, header := range update.Removed {
		gone[i] = block{header.Number.Uint64(), header.Hash()}
	}
	if update.Gap && n.head.Load() != nil { // at the first head the store is asked
		orphans, err := n.orphans(ctx)
		if err != nil {
			return nil, err
		}
		gone = append(gone, orphans...)
	}
	return n.unmine(gone), nil
}

// unmine takes back what the blocks had settled, and returns the operations that are not in the pool again by themselves.
func (n *Node) unmine(gone []block) (lost []*pool.Operation) {
	if len(gone) == 0 {
		return nil
	}
	lowest, highest := gone[0].number, gone[0].number
	for _, b := range gone {
		lowest, highest = min(lowest, b.number), max(highest, b.number)
	}
	ours := n.history.unmine(gone)
	var revived []*pool.Operation
	n.pool.do(func(p *pool.Pool) (removed []pool.Removed) {
		revived, removed = p.Reorg(lowest-1, highest+claimBlocks)
		maps.DeleteFunc(ours, func(hash common.Hash, _ minedOperation) bool { return p.Get(hash) != nil })
		return removed
	})
	for hash, m := range ours {
		ep, served := n.entryPoint(m.entryPoint)
		if !served {
			continue
		}
		op, err := n.history.operation(hash, m)
		if op == nil {
			n.log.Error("an operation that a reorg took out of its block could not be read back", "op", hash, "err", err)
			continue
		}
		lost = append(lost, &pool.Operation{Op: op, Hash: hash, EntryPoint: ep})
	}
	n.forgetMined(gone, slices.Concat(revived, lost))
	for _, op := range slices.Concat(revived, lost) {
		n.sink(event.OperationRevived{Hash: op.Hash})
	}
	return lost
}

// operationLogs reads the UserOperationEvents of a block, and asks again while the node fails.
func (n *Node) operationLogs(ctx context.Context, block *types.Header) ([]types.Log, error) {
	return backoff.Retry(ctx, func() ([]types.Log, error) {
		return n.chain.LogsOf(ctx, block.Hash(), n.entryPointAddresses(), []common.Hash{entrypoint.TopicUserOperationEvent})
	}, backoff.WithMaxElapsedTime(logsPatience))
}

func (n *Node) entryPointAddresses() []common.Address {
	addresses := make([]common.Address, len(n.config.EntryPoints))
	for i, ep := range n.config.EntryPoints {
		addresses[i] = ep.Address
	}
	return addresses
}

// inclusion is an operation that a block has mined.
type inclusion struct {
	log   *types.Log
	mined entrypoint.UserOperationEvent
	minedOperation
	ours *pool.Operation // nil: it was not in the pool
}

// settleLogs takes mined operations out of the pool, whoever bundled them, and remembers where they are. It returns what is to
// be told.
func (n *Node) settleLogs(logs []types.Log) []inclusion {
	list := make([]inclusion, 0, len(logs))
	for i := range logs {
		log := &logs[i]
		mined, err := entrypoint.ParseUserOperationEvent(log)
		if err != nil {
			n.log.Warn("an operation event was not understood", "tx", log.TxHash, "err", err)
			continue
		}
		var ours *pool.Operation
		n.pool.do(func(p *pool.Pool) []pool.Removed {
			ours = p.Get(mined.UserOpHash)
			return p.Mined(pool.Inclusion{
				EntryPoint: log.Address, Sender: mined.Sender, Nonce: mined.Nonce, Hash: mined.UserOpHash, Block: log.BlockNumber,
			})
		})
		list = append(list, n.included(log, mined, ours))
	}
	return list
}

// included remembers where an operation is mined.
func (n *Node) included(log *types.Log, mined entrypoint.UserOperationEvent, ours *pool.Operation) inclusion {
	record := minedOperation{entryPoint: log.Address, inclusion: rpc.Inclusion{
		BlockNumber: log.BlockNumber, BlockHash: log.BlockHash, TransactionHash: log.TxHash,
	}}
	if ours != nil {
		record.op = ours.Op
	}
	n.history.add(mined.UserOpHash, record)
	return inclusion{log, mined, record, ours}
}

// announce says which operations of ours are mined, and writes it down, each with its story, which ends here.
func (n *Node) announce(list []inclusion) {
	for i := range list {
		at := &list[i]
		if at.ours == nil {
			n.forgetSeen(at.mined.UserOpHash)
			continue
		}
		runtime.Gosched() // nobody waits for this
		n.validator.inner.Settled(at.ours.EntryPoint, at.ours.Op)
		n.config.Boundary("operation mined")
		n.sink(event.OperationMined{
			Hash: at.mined.UserOpHash, Tx: at.log.TxHash, Block: at.log.BlockNumber, Success: at.mined.Success,
			GasUsed: at.mined.ActualGasUsed, GasCost: at.mined.ActualGasCost,
		})
		n.rememberMined(at.mined.UserOpHash, at.minedOperation, at.ours)
	}
}

func (n *Node) serves(address common.Address) bool {
	for _, ep := range n.config.EntryPoints {
		if ep.Address == address {
			return true
		}
	}
	return false
}
