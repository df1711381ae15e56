package devchain

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// MaxReorgDepth is the deepest reorganisation, in blocks: geth's pool takes transactions back from no deeper one.
const MaxReorgDepth = 64

// ErrReorg is wrapped by the complaints of [Chain.Reorg] and [Chain.ReplaceBranch].
var ErrReorg = errors.New("devchain: reorg")

// ErrNotInPool says that the transaction is not in the node's pool.
var ErrNotInPool = errors.New("devchain: transaction is not in the pool")

// Reorg makes the canonical block of the given number the head again, so that the blocks after it are orphans, and
// returns when their transactions are back in the pool. It pauses automatic mining: what the new branch holds is decided
// by Mine (with Hold and Drop) until SetAutoMine(true). Blocks of the new branch always differ in hash from those of the
// old one.
func (c *Chain) Reorg(ctx context.Context, parent uint64) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrReorg, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	block, _, err := c.branchPoint(parent)
	if err != nil {
		return err
	}
	c.autoMine.Store(false)
	c.branch++
	return c.settle(block)
}

// ReplaceBranch is the reorganisation as a network makes it: it builds n blocks on the canonical block of the given
// number beside the chain and then makes the last one the head in one step, so that subscribers see a new head whose
// parent they do not know. The new blocks hold the transactions of the replaced ones, as early as they fit, except those
// that Hold keeps back and those that fail on the new branch; these return to the pool. Automatic mining goes on.
func (c *Chain) ReplaceBranch(ctx context.Context, parent uint64, n int) ([]*types.Block, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReorg, err)
	}
	if n < 1 {
		return nil, fmt.Errorf("%w: have %d new blocks, want at least 1", ErrReorg, n)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	block, orphans, err := c.branchPoint(parent)
	if err != nil {
		return nil, err
	}
	c.branch++
	blocks := make([]*types.Block, 0, n)
	for range n {
		if block, orphans, err = c.mineBeside(ctx, block.Header(), orphans); err != nil {
			return nil, err
		}
		c.nextBaseFee = nil
		blocks = append(blocks, block)
	}
	if err := c.settle(block); err != nil {
		return nil, err
	}
	c.nudge()
	return blocks, nil
}

// branchPoint returns the canonical block of that number and the transactions of the blocks after it, oldest first.
func (c *Chain) branchPoint(parent uint64) (*types.Block, []*types.Transaction, error) {
	if c.closing() {
		return nil, nil, errClosed
	}
	bc := c.eth.BlockChain()
	head := bc.CurrentBlock().Number.Uint64()
	if parent >= head {
		return nil, nil, fmt.Errorf("%w: have parent %d, want a block below the head %d", ErrReorg, parent, head)
	}
	if head-parent > MaxReorgDepth {
		return nil, nil, fmt.Errorf("%w: have depth %d, want at most %d", ErrReorg, head-parent, MaxReorgDepth)
	}
	var orphans []*types.Transaction
	for number := parent + 1; number <= head; number++ {
		block := bc.GetBlockByNumber(number)
		if block == nil {
			return nil, nil, fmt.Errorf("%w: no block %d", ErrReorg, number)
		}
		orphans = append(orphans, block.Transactions()...)
	}
	block := bc.GetBlockByNumber(parent)
	if block == nil {
		return nil, nil, fmt.Errorf("%w: no block %d", ErrReorg, parent)
	}
	return block, orphans, nil
}

// mineBeside stores a block on the parent without making it the head. It takes the given transactions in their order
// and returns those that it did not take.
func (c *Chain) mineBeside(
	ctx context.Context, parent *types.Header, txs []*types.Transaction,
) (*types.Block, []*types.Transaction, error) {
	work, err := c.prepare(ctx, parent)
	if err != nil {
		return nil, nil, err
	}
	defer work.evm.Release()
	var left []*types.Transaction
	for _, tx := range txs {
		if c.held != nil && c.held(tx) || c.execute(ctx, work, tx) != nil {
			left = append(left, tx)
		}
	}
	block, err := c.seal(ctx, work)
	return block, left, err
}

// settle makes a stored block the head and waits until the pool has digested it.
func (c *Chain) settle(block *types.Block) error {
	if err := c.setHead(block); err != nil {
		return err
	}
	if err := c.eth.TxPool().Sync(); err != nil {
		return fmt.Errorf("devchain: sync pool: %w", err)
	}
	return nil
}

// SetBaseFee sets the base fee of the next block in wei; the blocks after it follow EIP-1559 from there. Until that block
// is made, the node still answers with the base fee that EIP-1559 foresees. nil takes the wish back.
func (c *Chain) SetBaseFee(wei *big.Int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if wei != nil {
		wei = new(big.Int).Set(wei)
	}
	c.nextBaseFee = wei
	c.nudge()
}

// SetAutoMine switches automatic mining off or on again. In mode Manual there is none to switch on.
func (c *Chain) SetAutoMine(on bool) {
	// Under mu, so that after SetAutoMine(false) no block is in the making.
	c.mu.Lock()
	defer c.mu.Unlock()
	c.autoMine.Store(on && c.cfg.Mining != Manual)
	c.nudge()
}

// AutoMine reports whether blocks are made without Mine.
func (c *Chain) AutoMine() bool { return c.autoMine.Load() }

// AdvanceTime lets the clock of the following blocks run further ahead of the wall clock. A negative duration sets it
// back, but a block is always later than its parent.
func (c *Chain) AdvanceTime(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clockAhead += d
}

// Hold keeps the transactions for which the filter says true in the pool: they are seen there, and not mined. A nil
// filter holds every transaction. A later nonce of the same account waits with a held one. The filter must not call the
// chain. Each call replaces the filter of the one before.
func (c *Chain) Hold(filter func(*types.Transaction) bool) {
	if filter == nil {
		filter = func(*types.Transaction) bool { return true }
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = filter
}

// Release lets held transactions be mined again.
func (c *Chain) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = nil
	c.nudge()
}

// Drop removes a transaction from the pool, as a node does under pressure: it is forgotten and never mined unless it is
// sent again. Other transactions stay; later nonces of its account wait for another one to take its place. An unknown
// transaction, or one already mined, answers [ErrNotInPool].
func (c *Chain) Drop(hash common.Hash) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sends.Lock()
	defer c.sends.Unlock()
	pool := c.eth.TxPool()
	if err := pool.Sync(); err != nil {
		return fmt.Errorf("devchain: drop: sync pool: %w", err)
	}
	if !pool.Has(hash) {
		return fmt.Errorf("%w: %v", ErrNotInPool, hash)
	}
	// geth has no way to remove one transaction: empty the pool and give the others back, in nonce order.
	var others []*types.Transaction
	executable, queued := pool.Content()
	for _, byAccount := range []map[common.Address][]*types.Transaction{executable, queued} {
		for _, txs := range byAccount {
			for _, tx := range txs {
				if tx.Hash() != hash {
					others = append(others, tx)
				}
			}
		}
	}
	slices.SortStableFunc(others, func(a, b *types.Transaction) int {
		if a.Nonce() < b.Nonce() {
			return -1
		}
		if a.Nonce() > b.Nonce() {
			return 1
		}
		return a.Time().Compare(b.Time())
	})
	pool.Clear()
	if err := errors.Join(pool.Add(others, true)...); err != nil {
		return fmt.Errorf("devchain: drop: give the others back: %w", err)
	}
	return nil
}
