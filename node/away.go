package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"baler/event"
	"baler/rpc"

	"github.com/holiman/uint256"
)

// What a process does whose pool is in another one.

// remote reports whether the pool is another process's.
func (n *Node) remote() bool { return n.config.RemotePool != nil || n.config.RemoteEdge != nil }

// abroad is a sink for the process that has the pool; nil: it is this one. What is told is of interest there: what becomes of
// operations and bundles. Heads that process sees itself, and what operations do in its pool it says itself.
func (c *Config) abroad(ctx context.Context) event.Sink {
	var tell func(context.Context, []event.Event) error
	switch {
	case c.RemotePool != nil:
		tell = c.RemotePool.Tell
	case c.RemoteEdge != nil:
		tell = c.RemoteEdge.Tell
	default:
		return nil
	}
	return func(e event.Event) {
		if toldAbroad(e) {
			_ = tell(ctx, []event.Event{e}) // it is queued there, and repeated until it is known to have come
		}
	}
}

func toldAbroad(e event.Event) bool {
	switch e.(type) {
	case event.OperationSkipped, event.OperationsReleased, event.OperationRejected, event.BundleProposed, event.BundleSent,
		event.BundleMined, event.BundleUnmined, event.BundleReverted, event.SenderMoved, event.Alert, event.BalanceSeen, event.LeaseMoved, event.FundsMoved:
		return true
	default:
		return false
	}
}

// attendant takes the orders of the pool's process.
type attendant struct {
	node   *Node
	orders sync.WaitGroup // under way

	mu   sync.Mutex
	well error // nil: the pool is attended
}

// run takes orders until the context ends.
func (a *attendant) run(ctx context.Context) {
	defer a.orders.Wait()
	for attempt := 1; ctx.Err() == nil; attempt++ {
		err := a.node.config.RemotePool.Attend(ctx, processName(), func(order Order) error {
			attempt = 1
			a.set(nil)
			a.obey(ctx, order)
			return nil
		})
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = ErrUnreachable
		}
		if attempt == 1 {
			a.node.log.Warn("the pool is not reached; nothing new is proposed until it is", "err", err)
		}
		a.set(err)
		_ = pause(ctx, min(backoffTime(attempt), time.Second)) // the loop looks at the context
	}
}

func (a *attendant) set(well error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.well = well
}

func (a *attendant) check() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.well
}

// obey carries out one order.
func (a *attendant) obey(ctx context.Context, order Order) {
	n := a.node
	switch order.Kind {
	case OrderResume:
		n.log.Info("the pool is reached")
		for _, w := range n.keys.all() {
			w.inbox.post(message{resume: true})
		}
	case OrderMode:
		n.keys.setMode(order.Auto)
	case OrderSendNow:
		a.orders.Go(func() {
			answer := OrderAnswer{ID: order.ID}
			n.catchUp(ctx)
			idle, busy := n.idleFirst()
			hash, err := n.sendBy(ctx, idle)
			if err != nil && len(busy) > 0 {
				err = errors.New(allBusy)
			}
			if err != nil {
				answer.Failed, answer.Nothing = err.Error(), errors.Is(err, rpc.ErrNothingToSend)
			}
			answer.Hash = hash
			if err := n.config.RemotePool.Answer(ctx, answer); err != nil && ctx.Err() == nil {
				n.log.Warn("an order was carried out and not answered", "err", err)
			}
		})
	}
}

// checkPool: the process that has the pool answers.
func (n *Node) checkPool(ctx context.Context) error {
	if n.attendant != nil {
		if err := n.attendant.check(); err != nil {
			return fmt.Errorf("the pool is not reached: %w", err)
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	first := n.config.EntryPoints[0].Address
	if _, err := n.config.RemoteEdge.Lane(ctx, first, first, uint256.Int{}); err != nil {
		return fmt.Errorf("the pool is not reached: %w", err)
	}
	return nil
}

// processName names this process to others.
func processName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "?"
	}
	return host + ":" + strconv.Itoa(os.Getpid())
}
