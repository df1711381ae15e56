package remote

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"baler/event"
	pb "baler/remote/remotev1"
)

// tellAtOnce is how many events one call tells.
const tellAtOnce = 512

// outbox holds what the pool was not told yet, in order. Nobody waits for it.
//
// Each event has a number, so that the pool's process hears it once however often it is told. Another process that serves the
// pool from now on is told what the one before had not acknowledged; what that had heard without saying so, both have.
type outbox struct {
	client *Client
	most   int

	mu      sync.Mutex
	waiting []*pb.Event
	first   uint64 // number of the first that waits
	dropped uint64
	wake    chan struct{}
}

func newOutbox(c *Client, most int) *outbox {
	return &outbox{client: c, most: most, first: 1, wake: make(chan struct{}, 1)}
}

// put adds events. When there is no room left, the oldest go.
func (o *outbox) put(events []event.Event) {
	messages := encodeEvents(events)
	if len(messages) == 0 {
		return
	}
	o.mu.Lock()
	o.waiting = append(o.waiting, messages...)
	if over := len(o.waiting) - o.most; over > 0 {
		if o.dropped == 0 {
			o.client.cfg.Logger.Warn("the pool is told nothing any more: the oldest events are dropped", "waiting", len(o.waiting))
		}
		clear(o.waiting[:over])
		o.waiting = o.waiting[over:]
		o.first += uint64(over)
		o.dropped += uint64(over)
	}
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.waiting) == 0
}

// batch returns what to tell next; nil: nothing.
func (o *outbox) batch() *pb.TellRequest {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.waiting) == 0 {
		return nil
	}
	return &pb.TellRequest{Client: o.client.id, First: o.first, Events: o.waiting[:min(tellAtOnce, len(o.waiting))]}
}

// told forgets what was told, up to a number.
func (o *outbox) told(last uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if last < o.first {
		return
	}
	n := min(last-o.first+1, uint64(len(o.waiting)))
	clear(o.waiting[:n])
	o.waiting, o.first = o.waiting[n:], o.first+n
	if o.dropped > 0 {
		o.client.cfg.Logger.Warn("the pool is told again what happens; some events were dropped", "dropped", o.dropped)
		o.dropped = 0
	}
}

// run tells what there is until ctx ends, and then what is left, in the time that there is for it.
func (o *outbox) run(ctx context.Context) {
	waits := o.client.waits()
	for ctx.Err() == nil {
		if o.batch() == nil {
			select {
			case <-ctx.Done():
			case <-o.wake:
			}
			continue
		}
		if err := o.tell(ctx); err != nil {
			o.client.cfg.Logger.LogAttrs(ctx, slog.LevelDebug, "the pool was not told", slog.Any("err", err))
			if !waits.pause(ctx, false) {
				break
			}
			continue
		}
		waits = o.client.waits()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.client.cfg.FlushTime)
	defer cancel()
	for o.batch() != nil && ctx.Err() == nil {
		if err := o.tell(ctx); err != nil {
			o.client.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "the pool was not told everything", slog.Any("err", err))
			return
		}
	}
}

// tell tells one batch.
func (o *outbox) tell(ctx context.Context) error {
	batch := o.batch()
	answer, err := call(ctx, o.client, method{name: "Tell", time: 10 * time.Second}, batch,
		func(e *endpoint, ctx context.Context, r *pb.TellRequest) (*pb.TellResponse, error) {
			return e.link.Tell(ctx, r)
		})
	if err != nil {
		return err
	}
	o.told(answer.GetLast())
	return nil
}
