package remote

import (
	"context"
	"fmt"
	"sync"
	"time"

	pb "baler/remote/remotev1"
	"baler/rpc"

	"connectrpc.com/connect"
)

// watchBuffer is how many notices wait at an edge for one subscriber, beside those that wait in the pool's process.
const watchBuffer = 1024

// Watch implements the service: notices as they come, and a pulse between them. A subscriber that is too slow loses its stream.
func (h *edgeHandler) Watch(ctx context.Context, r *pb.WatchRequest, stream *connect.ServerStream[pb.WatchResponse]) error {
	topic := rpc.Topic(r.GetTopic())
	switch topic {
	case rpc.TopicOperations, rpc.TopicBundles, rpc.TopicSenders:
	default:
		return notUnderstood(fmt.Errorf("topic: have %q", topic))
	}
	t := termOf(ctx)
	notices, stop, err := t.edge.Watch(ctx, topic)
	if err != nil {
		m := new(pb.WatchResponse)
		if m.Failure, err = failure(ctx, err); err != nil {
			return err
		}
		return stream.Send(m)
	}
	defer stop()
	if err := stream.Send(new(pb.WatchResponse)); err != nil { // from here nothing is missed
		return err
	}
	pulse := time.NewTicker(h.server.cfg.Pulse)
	defer pulse.Stop()
	for {
		m := new(pb.WatchResponse)
		select {
		case <-ctx.Done():
			return nil
		case <-t.over.Done():
			return notLeading()
		case <-pulse.C:
		case notice, open := <-notices:
			if !open {
				return nil
			}
			if m.Notice, err = notice.MarshalJSON(); err != nil {
				return err
			}
		}
		if err := stream.Send(m); err != nil {
			return err
		}
	}
}

// Watch implements [rpc.Watcher]. However the way to the pool ends, the channel is closed then: what happens until there is a way again
// would be missed. So it is when it is full.
func (p edgePort) Watch(ctx context.Context, topic rpc.Topic) (<-chan rpc.Notice, func(), error) {
	var stream *connect.ServerStreamForClient[pb.WatchResponse]
	var cut context.CancelCauseFunc // of the stream, which outlives the call that opens it
	turn := p.turn.Load()
	_, err := call(ctx, p.Client, p.method("Watch"), &pb.WatchRequest{Topic: string(topic)},
		func(e *endpoint, ctx context.Context, r *pb.WatchRequest) (*pb.WatchResponse, error) {
			turn = p.turn.Load()
			running, end := context.WithCancelCause(context.WithoutCancel(ctx))
			stay := context.AfterFunc(ctx, func() { end(ctx.Err()) }) // of this attempt: the next one's stream is not its business
			opened, err := e.edge.Watch(running, r)
			if err != nil {
				stay()
				end(err)
				return nil, err
			}
			if opened.Receive() && stay() {
				stream, cut = opened, end
				return opened.Msg(), nil
			}
			if err = opened.Err(); err == nil {
				err = connect.NewError(connect.CodeUnavailable, errSilent)
			}
			stay()
			end(err)
			_ = opened.Close() // it has ended
			return nil, err
		})
	if err != nil {
		if cut != nil { // the pool's process says why it does not tell
			cut(err)
			_ = stream.Close()
		}
		return nil, nil, err
	}
	notices, ended := make(chan rpc.Notice, watchBuffer), make(chan struct{})
	go func() { // it lives until it is stopped, or its stream ends
		defer close(ended)
		defer close(notices)
		defer stream.Close() //nolint:errcheck // it has ended
		defer cut(nil)
		defer context.AfterFunc(turn.over, func() { cut(errSilent) })()
		silent := time.AfterFunc(p.cfg.Stale, func() { cut(errSilent) })
		defer silent.Stop()
		for stream.Receive() {
			silent.Reset(p.cfg.Stale)
			if len(stream.Msg().GetNotice()) == 0 {
				continue
			}
			select {
			case notices <- rpc.EncodedNotice(stream.Msg().GetNotice()):
			default:
				return
			}
		}
	}()
	return notices, sync.OnceFunc(func() {
		cut(nil)
		<-ended
	}), nil
}
