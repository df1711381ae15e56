package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"baler/bundlesender"

	"github.com/ethereum/go-ethereum/common"
)

const (
	// errandTime is how long a proposal waits for what the sender has still to tell the pool.
	errandTime = 2 * time.Second
	// confirmTime is for how long the pool's word counts that operations are claimed, from the moment at which it was asked. It is
	// shorter than buildersGrace.
	confirmTime = 2 * time.Second
)

// errand is something that a bundle sender has the pool do. With the pool in its own process it is done at once. Else it is done
// beside the loop, in order: a head is not kept waiting by a pool that does not answer.
type errand struct {
	what   string
	lapses bool // when it fails it is not tried again: the next head brings the same
	run    func(context.Context) error
}

// ask does an errand, or has it done.
func (w *worker) ask(ctx context.Context, e errand) {
	if w.errands != nil {
		w.errands.post(e)
		return
	}
	_ = e.run(ctx) // this process's pool has no errors
}

// runErrands does errands until the context ends. One that fails is tried again, unless the pool has begun anew: then it has no
// claims, and is told all of them.
func (w *worker) runErrands(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.errands.ready:
		}
		list := w.errands.take()
		for i, e := range list {
			if e.lapses && slices.ContainsFunc(list[i+1:], func(x errand) bool { return x.lapses && x.what == e.what }) {
				continue // a newer one does
			}
			for attempt := 1; ctx.Err() == nil; attempt++ {
				err := e.run(ctx)
				if err == nil || e.lapses || errors.Is(err, ErrNotResumed) {
					break
				}
				if attempt == 1 {
					w.node.log.Warn("the pool was not told; it is tried again", "what", e.what, "signer", w.builder, "err", err)
				}
				_ = pause(ctx, backoffTime(attempt)) // the loop looks at the context
			}
		}
	}
}

// settleErrands returns when the pool knows all that the sender had to tell. What is offered before might be released afterwards.
// A replacement goes on with what it has.
func (w *worker) settleErrands(ctx context.Context) error {
	if w.errands == nil {
		return nil
	}
	done := make(chan struct{})
	w.errands.post(errand{run: func(context.Context) error {
		close(done)
		return nil
	}})
	timer := time.NewTimer(errandTime)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		if w.market.alone() {
			return nil
		}
		return fmt.Errorf("%w: it has not been told yet what was given back", ErrUnreachable)
	}
}

// release gives operations back.
func (w *worker) release(ctx context.Context, operations []common.Hash) {
	w.ask(ctx, errand{what: "giving operations back", run: func(ctx context.Context) error {
		return w.node.port.Release(ctx, w.builder, operations)
	}})
}

// sayHeld tells a pool that has begun anew what the sender holds.
func (w *worker) sayHeld(ctx context.Context) {
	held, carries, until := w.machine.Held(), w.carries(), w.node.head.Load().number()+claimBlocks
	w.ask(ctx, errand{what: "claiming what is in flight", run: func(ctx context.Context) error {
		return w.present(ctx, held, carries, until)
	}})
}

// present prolongs claims, or makes all of them anew at a pool that does not know them. What is in live transactions and not claimed,
// because it was not in the pool for a while, is claimed: even where another builder holds its sender it is nobody else's.
func (w *worker) present(ctx context.Context, held, carries []common.Hash, until uint64) error {
	missing, err := w.node.port.ExtendClaim(ctx, w.builder, held, until)
	if errors.Is(err, ErrNotResumed) {
		return w.node.port.Resume(ctx, w.builder, carries, until)
	}
	if err != nil || len(missing) == 0 {
		return err
	}
	carried := make(map[common.Hash]bool, len(carries))
	for _, op := range carries {
		carried[op] = true
	}
	missing = slices.DeleteFunc(slices.Clone(missing), func(op common.Hash) bool { return !carried[op] })
	if len(missing) > 0 {
		err = w.node.port.Revive(ctx, w.builder, missing, until)
	}
	return err
}

// confirm makes sure, before a bundle leaves, that its operations are claimed: the pool that offered them may have ended, and the
// next one does not know of the offer; or an operation has left the pool since. What is in the sender's live transactions already is in
// its journal, where every pool finds it. claimed says at any moment whether the pool's word still counts: that of this process's pool
// does until the claim is given back.
func (w *worker) confirm(ctx context.Context, attempt bundlesender.Attempt, operations []common.Hash, waiting []bundlesender.Attempt) (claimed func() bool) {
	always := func() bool { return true }
	waits := make(map[common.Hash]bool)
	for _, a := range waiting {
		for _, op := range a.Operations {
			waits[op] = waits[op] || a.ID != attempt.ID
		}
	}
	added := slices.DeleteFunc(slices.Clone(operations), func(op common.Hash) bool { return waits[op] })
	if len(added) == 0 {
		return always
	}
	asked := time.Now()
	until := w.node.head.Load().number() + claimBlocks
	refused, err := w.node.port.ExtendClaim(ctx, w.builder, added, until)
	if err == nil && len(refused) > 0 {
		refused, err = w.node.port.Claim(ctx, w.builder, refused, until)
	}
	if err != nil || len(refused) > 0 {
		w.node.log.Warn("a bundle is not sent: its operations are not claimed any more", "signer", w.builder, "ops", len(operations), "refused", len(refused), "err", err)
		return func() bool { return false }
	}
	if w.errands == nil {
		return always
	}
	return func() bool { return time.Since(asked) < confirmTime }
}
