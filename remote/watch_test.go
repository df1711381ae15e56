package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"baler/node"
	pb "baler/remote/remotev1"
	"baler/rpc"

	"connectrpc.com/connect"
	"github.com/ethereum/go-ethereum/common"
)

// watched is a channel that one watch of a fake pool reads.
type watched struct {
	topic   rpc.Topic
	notices chan rpc.Notice
	stopped chan struct{}
}

// Watch implements [rpc.Watcher].
func (f fakeEdge) Watch(_ context.Context, topic rpc.Topic) (<-chan rpc.Notice, func(), error) {
	if f.pool.fail != nil {
		return nil, nil, f.pool.fail
	}
	w := watched{topic: topic, notices: make(chan rpc.Notice), stopped: make(chan struct{})}
	f.pool.watches <- w
	return w.notices, func() { close(w.stopped) }, nil
}

// heard is the next notice as JSON; empty: there are no more.
func heard(t *testing.T, notices <-chan rpc.Notice) string {
	t.Helper()
	select {
	case n, open := <-notices:
		if !open {
			return ""
		}
		text, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	case <-time.After(time.Minute):
		t.Fatal("nothing was heard")
		return ""
	}
}

func alert(n int) rpc.Notice {
	return rpc.SenderNotice{At: int64(n), Signer: common.Address{7}, Alert: "odd", Text: fmt.Sprint("number ", n)}
}

// An edge hears what happens in the pool's process, in order and as a subscriber there would; and that it hears no more, however that
// comes. Then it may watch again, wherever the pool is.
func TestAnEdgeHearsWhatHappensWhereThePoolIs(t *testing.T) {
	one, two := newFakePool("one"), newFakePool("two")
	first, second := serve(t, quick(), "", one), serve(t, quick(), "", nil)
	c := connected(t, ClientConfig{}, first.url(), second.url())
	watch := func(p *fakePool) (<-chan rpc.Notice, func(), watched) {
		t.Helper()
		notices, stop, err := c.Edge().Watch(t.Context(), rpc.TopicSenders)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		w := <-p.watches
		if w.topic != rpc.TopicSenders {
			t.Errorf("have topic %q, want %q", w.topic, rpc.TopicSenders)
		}
		return notices, stop, w
	}
	notices, stop, there := watch(one)
	for n := range 3 {
		there.notices <- alert(n)
		want, err := json.Marshal(alert(n))
		if have := heard(t, notices); err != nil || have != string(want) {
			t.Errorf("have %s, want %s", have, want)
		}
	}
	stop()
	stop() // once more does no harm
	<-there.stopped
	if have := heard(t, notices); have != "" {
		t.Errorf("have %s after the end", have)
	}

	notices, _, there = watch(one)
	close(there.notices) // it has not kept up there
	if have := heard(t, notices); have != "" {
		t.Errorf("have %s, want the end", have)
	}
	notices, _, there = watch(one)
	for n := range watchBuffer + 1 { // it does not keep up here
		there.notices <- alert(n)
	}
	<-there.stopped
	last := ""
	for text := heard(t, notices); text != ""; text = heard(t, notices) {
		last = text
	}
	if want, err := json.Marshal(alert(watchBuffer - 1)); err != nil || last != string(want) {
		t.Errorf("have %s as the last one, want %s", last, want)
	}

	notices, _, there = watch(one)
	first.Rest()
	if have := heard(t, notices); have != "" {
		t.Errorf("have %s, want the end", have)
	}
	<-there.stopped
	second.Lead(two, fakeEdge{pool: two})
	notices, _, there = watch(two)
	there.notices <- alert(9)
	if have := heard(t, notices); have == "" {
		t.Error("the new process of the pool is not heard")
	}
	second.stop() // as it dies
	if have := heard(t, notices); have != "" {
		t.Errorf("have %s, want the end", have)
	}
}

// A watch that cannot begin says why.
func TestAWatchThatCannotBegin(t *testing.T) {
	p := newFakePool("one")
	s := serve(t, quick(), "", p)
	c := connected(t, ClientConfig{EdgeTime: 2 * time.Second}, s.url())
	e, _ := c.leading()
	stream, err := e.edge.Watch(t.Context(), &pb.WatchRequest{Topic: "everything"})
	if err == nil {
		stream.Receive()
		err = errors.Join(stream.Err(), stream.Close())
	}
	if connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("an unknown topic: have %v, want that it is refused", err)
	}
	p.fail = errors.New("out of order")
	if _, _, err := c.Edge().Watch(t.Context(), rpc.TopicBundles); err == nil {
		t.Error("a pool that fails: have no error")
	}
	s.stop()
	if _, _, err := c.Edge().Watch(t.Context(), rpc.TopicBundles); !errors.Is(err, node.ErrUnreachable) {
		t.Errorf("nobody there: have %v, want %v", err, node.ErrUnreachable)
	}
}
