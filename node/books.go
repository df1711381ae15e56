package node

import (
	"context"
	"math/big"
	"slices"
	"sync"
	"sync/atomic"

	"baler/bundlesender"
	"baler/chain"
	"baler/entrypoint"
	"baler/event"
	"baler/profit"
	"baler/store"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// booksSize is how many mined transactions of ours the memory holds. It must be more than a reorg can take back.
const booksSize = 4096

// books are the books with a lock, and the times of the blocks last seen.
type books struct {
	mu    sync.Mutex
	books *profit.Books
	times map[uint64]uint64 // block number -> unix seconds
	size  atomic.Uint64     // operations of a bundle, of late
}

// sizeBlocks is over how many blocks the size of bundles is looked at. If there was no bundle for so long, the next operation
// is expected to be alone.
const sizeBlocks = 50

// estimateSize is the size of bundles for which operations are asked to pay when they are estimated.
func (b *books) estimateSize() uint64 { return b.size.Load() }

// setSize takes note of the size that the pool's process sees; 0: it is not followed, or there were no bundles.
func (b *books) setSize(size uint64) { b.size.Store(size) }

// acceptSize is the size for which operations have to pay to be accepted. It is twice the other, so that an estimate is still
// good if the load falls by half before the operation is sent.
func (b *books) acceptSize() uint64 { return 2 * b.size.Load() }

func newBooks() *books {
	return &books{books: profit.NewBooks(booksSize), times: make(map[uint64]uint64)}
}

// seen notes a head's time.
func (b *books) seen(head *types.Header) {
	b.mu.Lock()
	defer b.mu.Unlock()
	number := head.Number.Uint64()
	b.size.Store(b.books.BundleSize(number - min(number, sizeBlocks)))
	b.times[number] = head.Time
	for old := range b.times {
		if old+2*chain.ReorgDepth < number {
			delete(b.times, old)
		}
	}
}

// add takes an entry in. Its time is that of its block if that was seen, else the newest head's: it was mined while nobody
// looked, and is found now.
func (b *books) add(e *profit.Entry, head uint64) []profit.Account {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.Time = head
	if time, ok := b.times[e.Block]; ok {
		e.Time = time
	}
	return b.books.Add(*e)
}

// Profit implements [rpc.BalerBackend]: what the bundle senders of this process have earned and paid, cancelled and
// reverted transactions included, also before it was started if there is a store.
func (n *Node) Profit(_ context.Context, q profit.Query) (*profit.Report, error) {
	n.books.mu.Lock()
	defer n.books.mu.Unlock()
	return n.books.books.Report(q), nil
}

// settledTx is a mined transaction of ours as the bundle sender knows it.
type settledTx struct {
	kind       bundlesender.Kind
	operations int
	gasLimit   uint64
	expected   *big.Int // profit in wei; nil: not known
}

// settled describes a mined transaction. What it was signed with goes before what the machine remembers.
func (w *worker) settled(id bundlesender.AttemptID, kind bundlesender.Kind, operations int, gasLimit uint64) settledTx {
	tx := settledTx{kind: kind, operations: operations, gasLimit: gasLimit}
	if signed, ok := w.sent[id]; ok {
		tx.expected, tx.gasLimit = signed.expected, signed.gas
	}
	return tx
}

// account enters a mined transaction into the books.
func (w *worker) account(tx settledTx, receipt *chain.Receipt) {
	e := w.node.entryOf(w.key.Address(), tx, receipt)
	e.Expected = tx.expected
	w.node.book(&e, w.node.head.Load())
	w.node.sink(event.BundleMined{
		Signer: e.Signer, Tx: e.Transaction, Block: e.Block, Operations: e.Operations, Success: receipt.Status == types.ReceiptStatusSuccessful,
		GasUsed: e.GasUsed, Cost: e.Cost, Earned: e.Earned, Entry: e,
	})
}

// book enters an entry into the books, and keeps them. A transaction that stands there as mined in another block is struck before: the
// store has it under that block's number.
func (n *Node) book(e *profit.Entry, at *head) {
	n.strike(e.Transaction)
	changed := n.books.add(e, at.header.Time)
	n.enqueue(store.PutEarning(e, changed...))
}

// has reports whether a transaction is in the books as mined in a block.
func (b *books) has(transaction, block common.Hash) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.books.Has(transaction, block)
}

// entryOf is what a mined transaction cost and earned.
func (n *Node) entryOf(key common.Address, tx settledTx, receipt *chain.Receipt) profit.Entry {
	e := profit.Entry{
		Transaction: receipt.TxHash, Block: receipt.BlockNumber.Uint64(), BlockHash: receipt.BlockHash, Signer: key,
		Kind: profit.Bundle, Operations: tx.operations, GasLimit: tx.gasLimit, GasUsed: receipt.GasUsed, L1Fee: receipt.L1Fee,
		Cost: receipt.Cost(),
	}
	switch {
	case tx.kind == bundlesender.KindCancellation:
		e.Kind = profit.Cancellation
	case receipt.Status != types.ReceiptStatusSuccessful:
		e.Kind = profit.Reverted
	}
	logs, err := receipt.ReadLogs()
	if err != nil {
		n.log.Error("what a bundle earned is not in the books", "tx", receipt.TxHash, "err", err)
	}
	for _, log := range logs {
		op, err := entrypoint.ParseUserOperationEvent(log)
		if err != nil || !n.serves(log.Address) {
			continue
		}
		e.EntryPoint = log.Address
		e.Earned.Add(&e.Earned, &op.ActualGasCost)
		if op.ActualGasUsed.IsUint64() {
			e.ChargedGas += op.ActualGasUsed.Uint64()
		}
	}
	return e
}

// strike takes a transaction out of the books whose block has left the chain. It returns what stood there.
func (n *Node) strike(transaction common.Hash) (e profit.Entry, struck bool) {
	n.books.mu.Lock()
	e, changed, struck := n.books.books.Remove(transaction)
	n.books.mu.Unlock()
	if struck {
		n.enqueue(store.DeleteEarning(&e, changed))
	}
	return e, struck
}

// recallBooks reads back what the store keeps of the books. Damaged records are named and left out.
func (n *Node) recallBooks() {
	var entries []profit.Entry
	for e, err := range n.config.Store.Earnings() {
		if err != nil {
			n.log.Error("an entry of the books could not be read back", "err", err)
			continue
		}
		entries = append(entries, *e)
		if len(entries) >= 2*booksSize {
			entries = slices.Clone(entries[booksSize:])
		}
	}
	var accounts []profit.Account
	for a, err := range n.config.Store.Accounts() {
		if err != nil {
			n.log.Error("a sum of the books could not be read back", "err", err)
			continue
		}
		accounts = append(accounts, *a)
	}
	n.books.mu.Lock()
	defer n.books.mu.Unlock()
	n.books.books.Load(entries, accounts)
}

// strikeUnmined takes out of the books, which are read back by now, what a reorg had taken back when the process died. Books of another
// process are told of all that waits: they know what they have.
func (w *worker) strikeUnmined(ctx context.Context) {
	for _, attempt := range w.unmined {
		if w.node.remote() {
			_ = w.node.port.Tell(ctx, []event.Event{w.unminedEvent(attempt.ID, attempt.Hash, 0)}) // it is queued there
			continue
		}
		if mined, struck := w.node.strike(attempt.Hash); struck {
			w.node.sink(w.unminedEvent(attempt.ID, attempt.Hash, mined.Block))
		}
	}
	w.unmined = nil
}

// recountHeads is for how many heads after a start it is asked for a receipt that the node does not have.
const recountHeads = 64

// recount enters what was mined and settled before a crash and did not get into the books. After a start it is asked for; that a node has
// no receipt may mean that it is behind, so that is asked again.
func (w *worker) recount(ctx context.Context, head common.Hash) {
	w.unbooked = slices.DeleteFunc(w.unbooked, func(a bundlesender.Attempt) bool { return w.node.books.has(a.Hash, a.MinedHash) })
	if len(w.unbooked) == 0 {
		return
	}
	hashes := make([]common.Hash, len(w.unbooked))
	for i, attempt := range w.unbooked {
		hashes[i] = attempt.Hash
	}
	seen, err := w.node.chain.Observe(ctx, head, w.key.Address(), hashes)
	if err != nil {
		if ctx.Err() == nil {
			w.node.log.Warn("receipts missing in the books could not be read; it is tried again at the next head", "signer", w.builder, "err", err)
		}
		return
	}
	found, left := receiptsOf(w.unbooked, seen.Receipts)
	for _, attempt := range found {
		w.account(w.settled(attempt.ID, attempt.Kind, len(attempt.Operations), attempt.GasLimit), seen.Receipts[attempt.Hash])
	}
	if w.recounts++; w.recounts >= recountHeads && len(left) > 0 {
		w.node.log.Warn("the node has no receipts of transactions that the books miss", "signer", w.builder, "transactions", len(left))
		left = nil
	}
	w.unbooked = left
}

// receiptsOf tells mined transactions whose receipt is there from those without one. A receipt from another block is nobody's: a reorg has
// taken the transaction back meanwhile, and it is settled anew.
func receiptsOf(mined []bundlesender.Attempt, receipts map[common.Hash]*chain.Receipt) (found, without []bundlesender.Attempt) {
	for _, attempt := range mined {
		switch receipt := receipts[attempt.Hash]; {
		case receipt == nil:
			without = append(without, attempt)
		case receipt.BlockHash == attempt.MinedHash:
			found = append(found, attempt)
		}
	}
	return found, without
}
