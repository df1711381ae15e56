package node

import (
	"context"
	"sync"

	"baler/event"
	"baler/rpc"
)

var _ rpc.Watcher = (*Node)(nil)

// streamBuffer is how many notices wait for one subscriber before it loses its subscription.
const streamBuffer = 1024

// streams hands notices to subscribers. It waits for none of them.
type streams struct {
	mu     sync.Mutex
	buffer int
	open   map[*stream]struct{}
}

// stream is one subscriber.
type stream struct {
	topic   rpc.Topic
	notices chan rpc.Notice
}

func newStreams(buffer int) *streams {
	return &streams{buffer: buffer, open: make(map[*stream]struct{})}
}

// watch opens a stream. Its channel is closed when it is stopped, or full.
func (s *streams) watch(topic rpc.Topic) (notices <-chan rpc.Notice, stop func()) {
	opened := &stream{topic: topic, notices: make(chan rpc.Notice, s.buffer)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[opened] = struct{}{}
	return opened.notices, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.end(opened)
	}
}

// end closes a stream once. The caller has the lock.
func (s *streams) end(which *stream) {
	if _, open := s.open[which]; open {
		delete(s.open, which)
		close(which.notices)
	}
}

// wanted reports whether there are subscribers: without any nothing needs to be put into words.
func (s *streams) wanted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open) > 0
}

// publish offers notices to those who want them; who has no room left is let go.
func (s *streams) publish(notices []rpc.Notice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range notices {
		topic := topicOf(n)
		for each := range s.open {
			if each.topic != topic {
				continue
			}
			select {
			case each.notices <- n:
			default:
				s.end(each)
			}
		}
	}
}

func topicOf(n rpc.Notice) rpc.Topic {
	switch n.(type) {
	case rpc.OperationNotice:
		return rpc.TopicOperations
	case rpc.BundleNotice:
		return rpc.TopicBundles
	case rpc.SenderNotice:
		return rpc.TopicSenders
	default:
		return ""
	}
}

// Watch implements [rpc.Watcher].
func (n *Node) Watch(_ context.Context, topic rpc.Topic) (notices <-chan rpc.Notice, stop func(), err error) {
	notices, stop = n.streams.watch(topic)
	return notices, stop, nil
}

// ears are sinks that remember and publish events, in one order, before they hand them on: those of this process, and those that
// other processes tell.
type ears struct{ own, told event.Sink }

func heard(t *timeline, s *streams, own, told event.Sink) ears {
	t.wanted = s.wanted
	var order sync.Mutex
	before := func(next event.Sink) event.Sink {
		return func(e event.Event) {
			order.Lock()
			if notices := t.record(e); len(notices) > 0 {
				s.publish(notices)
			}
			order.Unlock()
			if next != nil {
				next(e)
			}
		}
	}
	return ears{own: before(own), told: before(told)}
}
