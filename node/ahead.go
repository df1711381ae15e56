package node

import (
	"context"
	"slices"
	"sync"
	"time"

	"baler/bundlesender"
	"baler/chain"
	"baler/entrypoint"
	"baler/pool"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
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

// maxPrepared is of how many operations it is read ahead what they depend on.
const maxPrepared = 512

// prepareTime is for how long it is read ahead at most: a node that hangs must not keep the next head waiting.
const prepareTime = 2 * time.Second

// prepareAhead reads what the next bundles' operations depend on, at the head to come, while the node is asked what its block has
// mined. Which operations these will be is guessed: the best of those that are in no transaction. What the guess does not have the
// proposals read, as if there had been none; and they wait for what is being read here.
func (n *Node) prepareAhead(ctx context.Context, at *head) {
	if n.remote() || !n.mayPropose(at) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	left := min(len(n.keys.all())*n.config.Proposer.MaxBundleSize, maxPrepared)
	for _, ep := range n.config.EntryPoints {
		var list []*pool.Operation
		n.pool.look(func(p *pool.Pool) {
			list = p.Candidates(pool.Query{EntryPoint: ep.Address, BaseFee: at.baseFee, MaxOps: left})
		})
		if len(list) == 0 {
			continue
		}
		ops := make([]*userop.UserOperation, 0, len(list))
		for _, op := range list {
			if op.Op.MaxFeePerGas.Lt(&at.baseFee) {
				break // the rest pays less than the base fee too
			}
			ops = append(ops, op.Op)
		}
		if err := n.validator.Prepare(ctx, at.header, ep, ops); err != nil {
			return // whoever needs it reads it, and says so
		}
		if left -= len(ops); left <= 0 {
			return
		}
	}
}

// mayPropose reports whether a sender may want a bundle at the head: it waits for none of its transactions, or the block may have mined
// them.
func (n *Node) mayPropose(at *head) bool {
	if types.BloomLookup(at.header.Bloom, entrypoint.TopicUserOperationEvent) {
		return true
	}
	return slices.ContainsFunc(n.keys.all(), func(w *worker) bool { return w.current().State == bundlesender.Building })
}

// beside starts a function whose caller waits for it later.
func beside(run func()) (wait func()) {
	var group sync.WaitGroup
	group.Go(run)
	return group.Wait
}
