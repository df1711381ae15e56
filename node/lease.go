package node

import (
	"context"
	"errors"

	"baler/bundlesender"
	"baler/rpc"
)

// ErrLeaseLost is why a node ends whose pool, or a worker whose key, another process may have by now.
var ErrLeaseLost = errors.New("the lease is lost")

func modeSet(auto bool) bundlesender.Event { return bundlesender.ModeSet{Auto: auto} }

// holds reports whether the key may be used at this moment, for what the node's pool hands out.
func (w *worker) holds() bool {
	pool := w.node.config.Lease
	return (w.lease == nil || w.lease.Valid()) && (pool == nil || pool.Valid())
}

// lose stops the machine: nothing is signed or written any more.
func (w *worker) lose(ctx context.Context) {
	w.lost = true
	w.step(ctx, bundlesender.LeaseLost{})
}

// drain lets the worker end as soon as no transaction of its key may be mined any more.
func (w *worker) drain() {
	w.draining.Store(true)
	w.inbox.wake()
}

// drained reports whether the key has nothing left to do.
func (w *worker) drained() bool {
	return w.draining.Load() && len(w.machine.Watch()) == 0 && w.machine.Status().InFlight == ""
}

// idles answers a proposal that is not to be made: the key is drained, and has no transaction that needs a replacement.
func (w *worker) idles(e bundlesender.Propose) bool {
	if !w.draining.Load() || len(w.machine.Watch()) > 0 {
		return false
	}
	w.post(bundlesender.NothingToSend{Seq: e.Seq, Reason: bundlesender.NoOperations})
	return true
}

// keyStatus says where the key stands.
func (w *worker) keyStatus() rpc.KeyStatus {
	status := w.current()
	return rpc.KeyStatus{Key: w.key.Address(), Held: true, Draining: w.draining.Load(), Live: len(status.Attempts)}
}

// answerRest answers the calls that are still open after the loop has ended.
func (w *worker) answerRest(ctx context.Context) {
	for _, m := range w.inbox.take() {
		switch {
		case m.call != nil:
			m.call <- manualAnswer{err: bundlesender.ErrStopped}
		case m.event != nil && w.lost: // what came of the last effects
			w.step(ctx, m.event)
		}
		if m.journaled != nil {
			m.journaled()
		}
	}
	for _, call := range w.calls {
		call <- manualAnswer{err: bundlesender.ErrStopped}
	}
	clear(w.calls)
}
