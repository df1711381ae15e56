package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"baler/rejection"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
)

// What a client has just done on the chain, the bundler may not have seen yet: heads are polled, or pushed a moment after
// the client read its receipt. So before an operation is refused for the state of the chain, and when a bundle is asked for
// by hand, the node is asked for its newest block.

const (
	// catchUpPatience is how long a newer block is waited for.
	catchUpPatience = 2 * time.Second
	// minedAtOnce is how long debug_bundler_sendBundleNow waits to see whether the chain mines at once.
	minedAtOnce = 250 * time.Millisecond
	// minedPause is between two looks at that.
	minedPause = 20 * time.Millisecond
)

// lookout asks the node for its newest block, one question at a time: who comes while one is asked shares the next one.
type lookout struct {
	mu      sync.Mutex
	busy    bool
	next    *look // to be asked when the present one is answered; nil: nobody waits
	hurry   chan struct{}
	arrival chan struct{} // closed with the next head
}

// look is one question and its answer.
type look struct {
	done   chan struct{}
	header *types.Header
}

func newLookout() *lookout {
	return &lookout{hurry: make(chan struct{}, 1), arrival: make(chan struct{})}
}

// latest returns the node's newest header, read after the call began; nil if it cannot be read.
func (l *lookout) latest(ctx context.Context, read func() *types.Header) *types.Header {
	l.mu.Lock()
	if l.busy {
		if l.next == nil {
			l.next = &look{done: make(chan struct{})}
		}
		shared := l.next
		l.mu.Unlock()
		select {
		case <-shared.done:
			return shared.header
		case <-ctx.Done():
			return nil
		}
	}
	l.busy = true
	l.mu.Unlock()
	header := read()
	for {
		l.mu.Lock()
		waiting := l.next
		l.next = nil
		if waiting == nil {
			l.busy = false
			l.mu.Unlock()
			return header
		}
		l.mu.Unlock()
		waiting.header = read()
		close(waiting.done)
	}
}

// arrived tells whoever waits for a head that one has come.
func (l *lookout) arrived() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.arrival)
	l.arrival = make(chan struct{})
}

func (l *lookout) nextArrival() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.arrival
}

// catchUp asks the node for its newest block, and if it is newer than the head, waits until it is the head. It reports
// whether the head is another one now.
func (n *Node) catchUp(ctx context.Context) bool {
	before := n.head.Load()
	if before == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, catchUpPatience)
	defer cancel()
	newest := n.lookout.latest(ctx, func() *types.Header {
		header, err := n.chain.Latest(ctx)
		if err != nil {
			return nil // the node's trouble: what is known stands
		}
		return header
	})
	if newest == nil || newest.Hash() == before.header.Hash() {
		return n.head.Load() != before
	}
	n.awaitHead(ctx, newest.Number.Uint64())
	return n.head.Load() != before
}

// awaitHead waits until the head has a number, or the context ends.
func (n *Node) awaitHead(ctx context.Context, number uint64) {
	for {
		coming := n.lookout.nextArrival()
		if n.head.Load().number() >= number {
			return
		}
		select {
		case n.lookout.hurry <- struct{}{}:
		default: // somebody has asked already
		}
		select {
		case <-coming:
		case <-ctx.Done():
			return
		}
	}
}

// awaitMined waits a moment until a transaction is mined and its block is the head.
func (n *Node) awaitMined(ctx context.Context, tx common.Hash) {
	ctx, cancel := context.WithTimeout(ctx, catchUpPatience)
	defer cancel()
	deadline := time.Now().Add(minedAtOnce)
	for {
		var receipt *struct {
			BlockNumber *hexutil.Uint64 `json:"blockNumber"`
		}
		err := n.chain.CallContext(ctx, &receipt, "eth_getTransactionReceipt", tx)
		if err == nil && receipt != nil && receipt.BlockNumber != nil {
			n.awaitHead(ctx, uint64(*receipt.BlockNumber))
			return
		}
		if time.Now().After(deadline) || pause(ctx, minedPause) != nil {
			return
		}
	}
}

// outdated reports whether a refusal may be the doing of a head that is not the newest, and a newer one has come.
func (n *Node) outdated(ctx context.Context, err error) bool {
	r, refused := errors.AsType[*rejection.Rejection](err)
	if !refused {
		return false
	}
	switch r.Kind {
	case rejection.InvalidFields, rejection.Throttled, rejection.UnsupportedSigAggr:
		return false // whatever the state of the chain
	case rejection.EntryPointRejected, rejection.PaymasterRejected, rejection.OpcodeViolation, rejection.OutOfTimeRange,
		rejection.StakeTooLow, rejection.InvalidSignature, rejection.PaymasterDepositLow, rejection.ExecutionReverted:
		return n.catchUp(ctx)
	default:
		return false
	}
}
