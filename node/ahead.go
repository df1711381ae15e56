package node

import (
	"context"
	"slices"
	"sync"

	"baler/chain"

	"github.com/ethereum/go-ethereum/common"
)

// What a block says of a key's transactions takes as long to be told as the operations that it has mined. Both are asked for at
// once.

// observation is what a block says of a key's transactions, as soon as it is told.
type observation struct {
	block        common.Hash
	transactions []common.Hash
	done         chan struct{} // closed when there is an answer
	seen         *chain.Observation
	err          error
}

// lookAhead asks what a block says of the transactions that wait, before the machine hears of the block.
func (w *worker) lookAhead(ctx context.Context, block common.Hash) {
	watched := w.machine.Watch()
	if len(watched) == 0 {
		return
	}
	o := &observation{block: block, done: make(chan struct{})}
	for _, attempt := range watched {
		o.transactions = append(o.transactions, attempt.Hash)
	}
	w.ahead = o
	w.task(func() {
		defer close(o.done)
		o.seen, o.err = w.node.chain.Observe(ctx, block, w.key.Address(), o.transactions)
	})
}

// seenAt returns what the block says of the transactions: what was asked ahead, if it was this and there was an answer.
func (w *worker) seenAt(ctx context.Context, block common.Hash, transactions []common.Hash) (*chain.Observation, error) {
	if o := w.ahead; o != nil && o.block == block && slices.Equal(o.transactions, transactions) {
		w.ahead = nil
		<-o.done // its request ends with the context
		if o.err == nil {
			return o.seen, nil
		}
	}
	return w.node.chain.Observe(ctx, block, w.key.Address(), transactions)
}

// beside starts a function whose caller waits for it later.
func beside(run func()) (wait func()) {
	var group sync.WaitGroup
	group.Go(run)
	return group.Wait
}
