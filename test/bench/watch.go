package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"baler/entrypoint"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/rpc"
)

// block is what a block holds of bundles.
type block struct {
	number    uint64
	seen      time.Time
	gasLimit  uint64 // of the block
	gasUsed   uint64 // by bundles
	bundleGas uint64 // the bundles' own gas limits
	bundles   int
	reverted  int
	ops       []common.Hash // mined
	failed    int           // of these: the call reverted
}

// watch follows the chain by its own connection: what was included when is not a bundler's word.
type watch struct {
	client     *ethclient.Client
	entryPoint common.Address

	mu      sync.Mutex
	head    uint64
	blocks  []block
	arrived func(block) // told of each block; may be nil
}

func newWatch(ctx context.Context, chain chainReady) (*watch, error) {
	client, err := ethclient.DialContext(ctx, chain.WSURL)
	if err != nil {
		return nil, err
	}
	return &watch{client: client, entryPoint: entrypoint.Canonical(benchVersion).Address}, nil
}

// run follows the heads until ctx ends.
func (w *watch) run(ctx context.Context) error {
	heads := make(chan *types.Header, 64)
	subscription, err := w.client.SubscribeNewHead(ctx, heads)
	if err != nil {
		return err
	}
	defer subscription.Unsubscribe()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-subscription.Err():
			return fmt.Errorf("the chain's heads ended: %w", err)
		case head := <-heads:
			b, err := w.read(ctx, head, time.Now())
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			w.mu.Lock()
			w.head, w.blocks = b.number, append(w.blocks, b)
			arrived := w.arrived
			w.mu.Unlock()
			if arrived != nil {
				arrived(b)
			}
		}
	}
}

func (w *watch) read(ctx context.Context, head *types.Header, seen time.Time) (block, error) {
	b := block{number: head.Number.Uint64(), seen: seen, gasLimit: head.GasLimit}
	if head.GasUsed == 0 {
		return b, nil
	}
	full, err := w.client.BlockByHash(ctx, head.Hash())
	if err != nil {
		return b, fmt.Errorf("block %d: %w", b.number, err)
	}
	receipts, err := w.client.BlockReceipts(ctx, rpc.BlockNumberOrHashWithHash(head.Hash(), false))
	if err != nil {
		return b, fmt.Errorf("block %d: %w", b.number, err)
	}
	for i, tx := range full.Transactions() {
		if to := tx.To(); to == nil || *to != w.entryPoint {
			continue
		}
		b.bundles++
		b.gasUsed += receipts[i].GasUsed
		b.bundleGas += tx.Gas()
		if receipts[i].Status != types.ReceiptStatusSuccessful {
			b.reverted++
		}
		for _, log := range receipts[i].Logs {
			if event, err := entrypoint.ParseUserOperationEvent(log); err == nil {
				b.ops = append(b.ops, event.UserOpHash)
				if !event.Success {
					b.failed++
				}
			}
		}
	}
	return b, nil
}

// listen sets who is told of the blocks from now on, and returns the newest one's number.
func (w *watch) listen(arrived func(block)) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.arrived, w.blocks = arrived, nil
	return w.head
}

// since returns the blocks since the last call of listen.
func (w *watch) since() []block {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]block(nil), w.blocks...)
}

func (w *watch) now() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.head
}

// await returns when the chain has reached a block.
func (w *watch) await(ctx context.Context, number uint64) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for w.now() < number {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}
