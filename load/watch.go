package load

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"
)

// watcher looks for the receipts of all waiting operations together, in batches, at a fixed interval.
type watcher struct {
	bundler  *endpoint
	interval time.Duration

	mu      sync.Mutex
	waiting map[common.Hash]chan *opReceipt // each with room for its one receipt
	trouble error                           // of the last look
}

func newWatcher(bundler *endpoint, interval time.Duration) *watcher {
	return &watcher{bundler: bundler, interval: interval, waiting: make(map[common.Hash]chan *opReceipt)}
}

// await returns the operation's receipt once it is mined.
func (w *watcher) await(ctx context.Context, hash common.Hash, limit time.Duration) (*opReceipt, error) {
	found := make(chan *opReceipt, 1)
	w.mu.Lock()
	w.waiting[hash] = found
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.waiting, hash)
		w.mu.Unlock()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case receipt := <-found:
		return receipt, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timer.C:
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.trouble != nil {
			return nil, fmt.Errorf("operation %w (%s): %w", errNotMined, limit, w.trouble)
		}
		return nil, fmt.Errorf("operation %w (%s)", errNotMined, limit)
	}
}

// run looks until ctx ends.
func (w *watcher) run(ctx context.Context) {
	ticker := time.NewTicker(w.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := w.look(ctx)
		w.mu.Lock()
		w.trouble = err
		w.mu.Unlock()
	}
}

func (w *watcher) look(ctx context.Context) error {
	w.mu.Lock()
	hashes := slices.Collect(maps.Keys(w.waiting))
	w.mu.Unlock()
	if len(hashes) == 0 {
		return nil
	}
	elems := make([]rpc.BatchElem, len(hashes))
	receipts := make([]*opReceipt, len(hashes))
	for i, hash := range hashes {
		elems[i] = rpc.BatchElem{Method: "eth_getUserOperationReceipt", Args: []any{hash}, Result: &receipts[i]}
	}
	err := w.bundler.batch(ctx, elems)
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, hash := range hashes { // an error of one does not hide the others' receipts
		if found, ok := w.waiting[hash]; ok && elems[i].Error == nil && receipts[i] != nil {
			found <- receipts[i]
			delete(w.waiting, hash)
		}
	}
	return err
}
