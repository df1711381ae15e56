package remote

import (
	"context"
	"errors"
	"sync"
	"time"

	"baler/event"
	pb "baler/remote/remotev1"

	"connectrpc.com/connect"
	"github.com/ethereum/go-ethereum/common/lru"
)

var errNotLeading = errors.New("this process does not serve the pool any more")

// linkHandler keeps the way to the pool's process.
type linkHandler struct{ server *Server }

var _ pb.LinkServiceHandler = (*linkHandler)(nil)

// Pulse implements the service.
func (h *linkHandler) Pulse(ctx context.Context, _ *pb.PulseRequest, stream *connect.ServerStream[pb.PulseResponse]) error {
	t := termOf(ctx)
	tick := time.NewTicker(h.server.cfg.Pulse)
	defer tick.Stop()
	for {
		m := &pb.PulseResponse{Server: h.server.id}
		if head := h.server.head.Load(); head != nil {
			m.HeadNumber, m.HeadHash = head.Number, encodeHash(head.Hash)
		}
		if err := stream.Send(m); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.over.Done():
			return notLeading()
		case <-tick.C:
		}
	}
}

// Tell implements the service.
func (h *linkHandler) Tell(ctx context.Context, r *pb.TellRequest) (*pb.TellResponse, error) {
	events, err := decodeEvents(r.GetEvents())
	if err != nil {
		return nil, notUnderstood(err)
	}
	last, err := h.server.told.take(r.GetClient(), r.GetFirst(), events, func(events []event.Event) error {
		return termOf(ctx).builders.Tell(ctx, events)
	})
	m := &pb.TellResponse{Last: last}
	m.Failure, err = failure(ctx, err)
	return m, err
}

// maxTellers is how many clients' places are remembered. One that was forgotten is believed where it says it is.
const maxTellers = 1024

// inbox lets each event of a client through once, in order.
type inbox struct {
	mu    sync.Mutex
	heard lru.BasicLRU[uint64, *teller]
}

// teller is how far one client is.
type teller struct {
	mu   sync.Mutex
	last uint64
	new  bool
}

func newInbox() *inbox { return &inbox{heard: lru.NewBasicLRU[uint64, *teller](maxTellers)} }

func (b *inbox) teller(client uint64) *teller {
	b.mu.Lock()
	defer b.mu.Unlock()
	t, known := b.heard.Get(client)
	if !known {
		t = &teller{new: true}
		b.heard.Add(client, t)
	}
	return t
}

// take hands on those of the events that were not handed on before, and returns the number of the last that was. A client
// that nothing is known of may begin anywhere: it told another process what came before.
func (b *inbox) take(client, first uint64, events []event.Event, hand func([]event.Event) error) (last uint64, err error) {
	t := b.teller(client)
	t.mu.Lock()
	defer t.mu.Unlock()
	if first == 0 || len(events) == 0 {
		return t.last, nil
	}
	if t.new || first > t.last+1 { // what is between was dropped by the client for want of room
		t.new, t.last = false, first-1
	}
	known := min(t.last-(first-1), uint64(len(events)))
	if events = events[known:]; len(events) == 0 {
		return t.last, nil
	}
	if err := hand(events); err != nil {
		return t.last, err
	}
	t.last += uint64(len(events))
	return t.last, nil
}
