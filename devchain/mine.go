package devchain

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus/misc/eip1559"
	"github.com/ethereum/go-ethereum/consensus/misc/eip4844"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/txpool"
	"github.com/ethereum/go-ethereum/core/txpool/txorder"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

const (
	// safeDepth and finalizedDepth are how far the safe and the finalized block trail the head: one and two epochs.
	safeDepth      = 32
	finalizedDepth = 64
	// maxBodySize is the size in bytes up to which transactions are taken; EIP-7934 caps the whole block.
	maxBodySize = params.MaxBlockSize - 1_000_000
)

// coinbaseAddress receives the priority fees. It is no one's account.
var coinbaseAddress = common.HexToAddress("0xba1e000000000000000000000000000000000c01")

// startMining starts the chain's own goroutines.
func (c *Chain) startMining() {
	c.workers.Go(c.mineLoop)
	c.workers.Go(c.watchPool)
}

// watchPool turns the pool's announcements into wakes. It is apart from mineLoop because the pool waits for its
// listeners while the block builder waits for the pool.
func (c *Chain) watchPool() {
	announced := make(chan core.NewTxsEvent, 64)
	sub := c.eth.TxPool().SubscribeTransactions(announced, true)
	defer sub.Unsubscribe() // ends only here: the pool is closed after the workers
	for {
		select {
		case <-c.quit:
			return
		case <-announced:
			c.nudge()
		}
	}
}

// nudge asks mineLoop to look at the pool again. It never blocks: one pending nudge stands for many.
func (c *Chain) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// mineLoop makes blocks until Close: on each tick, or on each wake that finds something to execute.
func (c *Chain) mineLoop() {
	var ticks <-chan time.Time
	if c.cfg.Mining == Interval {
		ticker := time.NewTicker(c.cfg.BlockTime)
		defer ticker.Stop()
		ticks = ticker.C
	}
	for {
		select {
		case <-c.quit:
			return
		case <-ticks:
			c.mineByItself(true)
		case <-c.wake:
			if c.cfg.Mining == OnDemand {
				c.mineByItself(false)
			}
		}
	}
}

// mineByItself makes one block of automatic mining, an empty one only if empty is set. A block that was made wakes the
// loop again, because the pool may hold more; one that was not made does not, so nothing is tried in a circle.
func (c *Chain) mineByItself(empty bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.autoMine.Load() {
		return
	}
	c.attempts.Add(1)
	_, err := c.mineBlock(context.Background(), empty)
	if err != nil && c.failed == nil && !c.closing() {
		c.failed = fmt.Errorf("devchain: automatic mining: %w", err)
	}
}

func (c *Chain) closing() bool {
	select {
	case <-c.quit:
		return true
	default:
		return false
	}
}

// errClosed answers calls after Close.
var errClosed = errors.New("devchain: closed")

// Mine makes n blocks at once, each with the transactions that are executable then, empty ones too. It works in every
// mode. On an error the blocks made so far are returned with it and stay on the chain.
func (c *Chain) Mine(ctx context.Context, n int) ([]*types.Block, error) {
	blocks := make([]*types.Block, 0, max(n, 0))
	for range n {
		if err := ctx.Err(); err != nil {
			return blocks, fmt.Errorf("devchain: mine: %w", err)
		}
		block, err := c.mineOne(ctx)
		if err != nil {
			return blocks, err
		}
		blocks = append(blocks, block)
	}
	return blocks, nil
}

func (c *Chain) mineOne(ctx context.Context) (*types.Block, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing() {
		return nil, errClosed
	}
	return c.mineBlock(ctx, true)
}

// mineBlock builds a block on the head, stores it and makes it the head. Without empty, a block that would hold no
// transaction is thrown away and nil returned. The caller holds mu.
func (c *Chain) mineBlock(ctx context.Context, empty bool) (*types.Block, error) {
	// The pool digests a new head on its own goroutine; wait, so that it offers neither mined nor missing ones.
	if err := c.eth.TxPool().Sync(); err != nil {
		return nil, fmt.Errorf("devchain: sync pool: %w", err)
	}
	work, err := c.prepare(ctx, c.eth.BlockChain().CurrentBlock())
	if err != nil {
		return nil, err
	}
	defer work.evm.Release()
	if err := c.fill(ctx, work); err != nil {
		return nil, err
	}
	if len(work.txs) == 0 && !empty {
		return nil, nil
	}
	block, err := c.seal(ctx, work)
	if err != nil {
		return nil, err
	}
	if err := c.settle(block); err != nil {
		return nil, err
	}
	c.nextBaseFee = nil
	c.nudge()
	return block, nil
}

// work is a block in the making.
type work struct {
	parent   *types.Header
	header   *types.Header
	state    *state.StateDB
	evm      *vm.EVM
	gas      *core.GasPool
	size     uint64 // bytes of the transactions taken
	txs      []*types.Transaction
	receipts []*types.Receipt
}

// prepare opens a block on the parent: its header, its state, and the system calls that come before transactions.
func (c *Chain) prepare(ctx context.Context, parent *types.Header) (*work, error) {
	bc := c.eth.BlockChain()
	header := c.header(parent)
	db, err := bc.StateAtForkBoundary(parent, header)
	if err != nil {
		return nil, fmt.Errorf("devchain: state of block %d: %w", parent.Number, err)
	}
	w := &work{
		parent: parent,
		header: header,
		state:  db,
		evm:    vm.NewEVM(core.NewEVMBlockContext(header, bc, &header.Coinbase), db, c.rules, vm.Config{}),
		gas:    core.NewGasPool(header.GasLimit),
	}
	core.PreExecution(ctx, header.ParentBeaconRoot, parent, c.rules, w.evm, header.Number, header.Time)
	return w, nil
}

// header returns the header of the block after the parent, without what execution decides.
func (c *Chain) header(parent *types.Header) *types.Header {
	now := time.Now().Add(c.clockAhead).Unix()
	baseFee := c.nextBaseFee
	if baseFee == nil {
		baseFee = eip1559.CalcBaseFee(c.rules, parent)
	}
	header := &types.Header{
		ParentHash:       parent.Hash(),
		UncleHash:        types.EmptyUncleHash,
		Coinbase:         coinbaseAddress,
		Difficulty:       new(big.Int),
		Number:           new(big.Int).Add(parent.Number, common.Big1),
		GasLimit:         c.cfg.GasLimit,
		Time:             max(parent.Time+1, uint64(max(now, 0))),
		Extra:            binary.BigEndian.AppendUint64([]byte("baler "), c.branch),
		BaseFee:          new(big.Int).Set(baseFee),
		BlobGasUsed:      new(uint64),
		ParentBeaconRoot: new(common.Hash),
	}
	header.MixDigest = crypto.Keccak256Hash(header.ParentHash[:], header.Extra)
	excess := eip4844.CalcExcessBlobGas(c.rules, parent, header.Time)
	header.ExcessBlobGas = &excess
	return header
}

// fill executes the pool's transactions, best tip first and in nonce order for each account, until the block is full.
// An account whose next transaction is held, does not fit or is refused is left out for this block.
func (c *Chain) fill(ctx context.Context, w *work) error {
	baseFee, overflow := uint256.FromBig(w.header.BaseFee)
	if overflow {
		return fmt.Errorf("devchain: base fee: have %v, want less than 2^256", w.header.BaseFee)
	}
	pending, _ := c.eth.TxPool().Pending(txpool.PendingFilter{
		MinTip:      new(uint256.Int),
		BaseFee:     baseFee,
		GasLimitCap: params.MaxTxGas, // EIP-7825
	})
	signer := types.MakeSigner(c.rules, w.header.Number, w.header.Time)
	order := txorder.NewTransactionsByPriceAndNonce(signer, pending, w.header.BaseFee)
	for !order.Empty() {
		lazy, _ := order.Peek()
		tx := lazy.Resolve()
		if tx == nil || c.held != nil && c.held(tx) || w.size+tx.Size() > maxBodySize {
			order.Pop()
			continue
		}
		if err := c.execute(ctx, w, tx); err != nil && !errors.Is(err, core.ErrNonceTooLow) {
			order.Pop()
			continue
		}
		order.Shift()
	}
	return nil
}

// execute runs one transaction; on an error the block is as it was before.
func (c *Chain) execute(ctx context.Context, w *work, tx *types.Transaction) error {
	snapshot, gas := w.state.Snapshot(), w.gas.Snapshot()
	w.state.SetTxContext(tx.Hash(), len(w.txs), uint32(len(w.txs)+1))
	receipt, _, err := core.ApplyTransaction(ctx, w.evm, w.gas, w.state, w.header, tx)
	if err != nil {
		w.state.RevertToSnapshot(snapshot)
		w.gas.Set(gas)
		return fmt.Errorf("devchain: execute %v: %w", tx.Hash(), err)
	}
	w.header.GasUsed = w.gas.Used()
	w.txs = append(w.txs, tx)
	w.receipts = append(w.receipts, receipt)
	w.size += tx.Size()
	return nil
}

// seal makes the system calls that come after the transactions and closes the block.
func (c *Chain) seal(ctx context.Context, w *work) (*types.Block, error) {
	bc := c.eth.BlockChain()
	var logs []*types.Log
	for _, receipt := range w.receipts {
		logs = append(logs, receipt.Logs...)
	}
	requests, accesses, err := core.PostExecution(ctx, c.rules, w.header.Number, w.header.Time, logs, nil, w.evm,
		uint32(len(w.txs)+1))
	if err != nil {
		return nil, fmt.Errorf("devchain: system calls of block %d: %w", w.header.Number, err)
	}
	if requests != nil {
		hash := types.CalcRequestsHash(requests)
		w.header.RequestsHash = &hash
	}
	body := &types.Body{Transactions: w.txs, Withdrawals: types.Withdrawals{}}
	bc.Engine().Finalize(bc, w.header, w.state, body)
	block := core.AssembleBlock(bc, w.header, w.state, body, w.receipts, accesses)
	if err := c.store(block, w); err != nil {
		return nil, fmt.Errorf("devchain: store block %d: %w", block.NumberU64(), err)
	}
	return block, nil
}

// store writes the block, its receipts and its state. It goes around the import path of geth, which would verify the
// header and refuse a base fee that does not follow from the parent.
func (c *Chain) store(block *types.Block, w *work) error {
	rules := c.rules.Rules(block.Number(), true, block.Time())
	root, err := w.state.Commit(rules, block.NumberU64())
	if err != nil {
		return fmt.Errorf("commit state: %w", err)
	}
	if root != block.Root() {
		return fmt.Errorf("state root: have %v, want %v", root, block.Root())
	}
	if err := c.eth.BlockChain().TrieDB().Commit(root, false); err != nil {
		return fmt.Errorf("commit trie: %w", err)
	}
	batch := c.eth.ChainDb().NewBatch()
	rawdb.WriteBlock(batch, block)
	rawdb.WriteReceipts(batch, block.Hash(), block.NumberU64(), w.receipts)
	return batch.Write()
}

// setHead makes a stored block the head of the chain and lets the safe and finalized block follow.
func (c *Chain) setHead(block *types.Block) error {
	bc := c.eth.BlockChain()
	if _, err := bc.SetCanonical(block); err != nil {
		return fmt.Errorf("devchain: make block %d the head: %w", block.NumberU64(), err)
	}
	trail := func(depth uint64) *types.Header {
		return bc.GetHeaderByNumber(block.NumberU64() - min(depth, block.NumberU64()))
	}
	bc.SetSafe(trail(safeDepth))
	bc.SetFinalized(trail(finalizedDepth))
	return nil
}
