package remote

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"baler/event"
	"baler/node"
	pb "baler/remote/remotev1"

	"connectrpc.com/grpchealth"
	"github.com/google/go-cmp/cmp"
)

func TestTheClientFindsTheProcessThatServesThePoolAndFollowsIt(t *testing.T) {
	one, two := newFakePool("one"), newFakePool("two")
	first, second := serve(t, quick(), "", nil), serve(t, quick(), "", two)
	c := connected(t, ClientConfig{}, first.url(), second.url())
	for _, step := range []struct {
		want string
		move func()
	}{
		{"two", func() {}},
		{"one", func() { second.Rest(); first.Lead(one, fakeEdge{pool: one}) }},
		{"two", func() { first.Rest(); second.Lead(two, fakeEdge{pool: two}) }},
		{"one", func() { first.Lead(one, fakeEdge{pool: one}); second.stop() }},
	} {
		step.move()
		if have, err := whoServes(t.Context(), c); err != nil || have != step.want {
			t.Fatalf("have an answer of %q, %v, want one of %q", have, err, step.want)
		}
		eventually(t, "the way to the pool is well", func() bool { return c.Health() == nil })
	}
}

func TestWithoutALeaderACallFailsAsUnreachable(t *testing.T) {
	closed := serve(t, quick(), "", nil)
	closed.stop()
	resting := serve(t, quick(), "", nil)
	c := connected(t, ClientConfig{BuilderTime: 100 * time.Millisecond}, closed.url(), resting.url())
	if _, err := whoServes(t.Context(), c); !errors.Is(err, node.ErrUnreachable) {
		t.Errorf("have %v, want that nobody was reached", err)
	}
	if c.Health() == nil {
		t.Error("the way to the pool counts as well")
	}
}

func TestOneCallIsAdmittedOnceAndOnlyOneThatMayBeRepeatedIsTriedAgain(t *testing.T) {
	// The first process takes calls and never answers: it is cut off, and nobody knows what it did.
	stuck, works := newFakePool("stuck"), newFakePool("works")
	stuck.block = make(chan struct{})
	first, second := serve(t, quick(), "", stuck), serve(t, quick(), "", works)
	proxy := newProxy(t, first.addr)
	c := connected(t, ClientConfig{KeepAlive: time.Hour}, "http://"+proxy.addr(), second.url())

	sent := make(chan error, 1)
	go func() {
		_, err := c.Edge().SendBundleNow(t.Context())
		sent <- err
	}()
	<-stuck.held
	named := make(chan string, 1)
	go func() {
		name, err := whoServes(t.Context(), c)
		if err != nil {
			t.Error(err)
		}
		named <- name
	}()
	<-stuck.held
	proxy.cut()
	err := <-sent
	if e, ok := errors.AsType[*Error](err); !ok || !e.Sent || !errors.Is(err, node.ErrUnreachable) {
		t.Errorf("have %v, want that the bundle may have been sent", err)
	}
	if len(works.held) > 1 {
		t.Error("the order to send a bundle was repeated")
	}
	if have := <-named; have != "works" {
		t.Errorf("have an answer of %q, want one of the second process", have)
	}
	close(stuck.block)
}

func TestAStreamOnWhichNothingComesIsCutAndMadeAgain(t *testing.T) {
	p := newFakePool("one")
	s := serve(t, quick(), "", p)
	proxy := newProxy(t, s.addr)
	// The pings of HTTP/2 would notice too: here they do not, so that the watchdog has to.
	c := connected(t, ClientConfig{Stale: time.Second, KeepAlive: time.Hour}, "http://"+proxy.addr())
	eventually(t, "the client has heard of the pool", func() bool { return c.Health() == nil })
	broke := make(chan error, 1)
	attends := make(chan struct{})
	go func() {
		broke <- c.Builder().Attend(t.Context(), "builder", func(node.Order) error { close(attends); return nil })
	}()
	p.orders <- node.Order{ID: 1, Kind: node.OrderResume}
	<-attends

	proxy.stall()
	if err := <-broke; !errors.Is(err, node.ErrUnreachable) {
		t.Errorf("have %v, want that the stream broke", err)
	}
	eventually(t, "health says that nothing is heard", func() bool { return c.Health() != nil })
	proxy.resume()
	eventually(t, "the client has heard of the pool again", func() bool { return c.Health() == nil })
	if have, err := whoServes(t.Context(), c); err != nil || have != "one" {
		t.Errorf("have %q, %v", have, err)
	}
}

func TestAClientThatHearsNothingGoesOnByItself(t *testing.T) {
	one, two := newFakePool("one"), newFakePool("two")
	first, second := serve(t, quick(), "", one), serve(t, quick(), "", nil)
	proxy := newProxy(t, first.addr)
	c := connected(t, ClientConfig{Stale: 400 * time.Millisecond, KeepAlive: time.Hour}, "http://"+proxy.addr(), second.url())
	eventually(t, "the client hears of the first", func() bool { s := c.heard.Load(); return s != nil && s.server == first.id })
	proxy.stall() // the first process hangs, and the second takes over
	second.Lead(two, fakeEdge{pool: two})
	eventually(t, "the client hears of the second", func() bool { return c.heard.Load().server == second.id && c.Health() == nil })
	if have, err := whoServes(t.Context(), c); err != nil || have != "two" {
		t.Errorf("have %q, %v, want an answer of the second", have, err)
	}
}

func TestWhileTheLeaderIsSilentTheOthersAreAsked(t *testing.T) {
	one, two := newFakePool("one"), newFakePool("two")
	first, second := serve(t, quick(), "", one), serve(t, quick(), "", nil)
	proxy := newProxy(t, first.addr)
	// Neither the watchdog nor a ping ends what waits for the first process.
	c := connected(t, ClientConfig{Stale: time.Hour, Suspect: 300 * time.Millisecond, KeepAlive: time.Hour}, "http://"+proxy.addr(), second.url())
	eventually(t, "the client hears of the first", func() bool { s := c.heard.Load(); return s != nil && s.server == first.id })
	ended := make(chan error, 1)
	attends := make(chan struct{})
	go func() {
		ended <- c.Builder().Attend(t.Context(), "builder", func(node.Order) error { close(attends); return nil })
	}()
	one.orders <- node.Order{ID: 1, Kind: node.OrderResume}
	<-attends
	proxy.stall()
	second.Lead(two, fakeEdge{pool: two})
	if err := <-ended; !errors.Is(err, node.ErrUnreachable) {
		t.Errorf("have %v, want that the stream ends", err)
	}
	eventually(t, "the client hears of the second", func() bool { return c.heard.Load().server == second.id })
	if have, err := whoServes(t.Context(), c); err != nil || have != "two" {
		t.Errorf("have %q, %v, want an answer of the second", have, err)
	}
}

func TestAConnectionThatIsStalledIsClosedByPings(t *testing.T) {
	p := newFakePool("one")
	cfg := quick()
	cfg.KeepAlive, cfg.KeepAliveTimeout = 500*time.Millisecond, time.Second
	s := serve(t, cfg, "", p)
	proxy := newProxy(t, s.addr)
	c := connected(t, ClientConfig{KeepAlive: 500 * time.Millisecond, KeepAliveTimeout: time.Second}, "http://"+proxy.addr())
	p.block = make(chan struct{})
	sent := make(chan error, 1)
	go func() {
		_, err := c.Edge().SendBundleNow(t.Context()) // it has two minutes, and is not repeated
		sent <- err
	}()
	<-p.held
	proxy.stall()
	err := <-sent
	if e, ok := errors.AsType[*Error](err); !ok || e.Cause != Lost {
		t.Errorf("have %v, want that the connection was lost", err)
	}
	close(p.block)
}

func TestOrdersArriveAndTheStreamSaysWhyItEnds(t *testing.T) {
	p := newFakePool("one")
	s := serve(t, quick(), "", p)
	c := connected(t, ClientConfig{}, s.url())
	orders := []node.Order{{ID: 1, Kind: node.OrderResume}, {ID: 2, Kind: node.OrderMode, Auto: true}, {ID: 3, Kind: node.OrderSendNow}}
	for _, o := range append(orders, node.Order{}) { // the last one ends the pool's side
		p.orders <- o
	}
	p.fail = node.ErrNotResumed
	var have []node.Order
	err := c.Builder().Attend(t.Context(), "builder", func(o node.Order) error { have = append(have, o); return nil })
	if !errors.Is(err, node.ErrNotResumed) {
		t.Errorf("have %v, want the pool's own reason", err)
	}
	if diff := cmp.Diff(orders, have); diff != "" {
		t.Errorf("(-given +taken):\n%s", diff)
	}

	ended := make(chan error, 1)
	go func() {
		ended <- c.Builder().Attend(t.Context(), "builder", func(node.Order) error { s.Rest(); return nil })
	}()
	p.orders <- node.Order{ID: 4, Kind: node.OrderMode}
	err = <-ended
	if e, ok := errors.AsType[*Error](err); !ok || e.Cause != NotLeading || !errors.Is(err, node.ErrUnreachable) {
		t.Errorf("have %v, want that the process does not lead any more", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Builder().Attend(ctx, "builder", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("have %v, want that the caller gave up", err)
	}
}

func numbered(from, to int) []event.Event {
	var events []event.Event
	for i := from; i < to; i++ {
		events = append(events, event.HeadSeen{Number: uint64(i)})
	}
	return events
}

func TestEventsAreHeardOnceInOrderThroughRestartsOfTheServer(t *testing.T) {
	p := newFakePool("one")
	s := serve(t, quick(), "", p)
	c := connected(t, ClientConfig{}, s.url())
	const each = 1500
	tell := func(from int) {
		for _, e := range numbered(from, from+each) {
			if err := c.Builder().Tell(t.Context(), []event.Event{e}); err != nil {
				t.Fatal(err)
			}
		}
	}
	tell(0)
	eventually(t, "the events are heard", func() bool { return len(p.heard()) == each })
	s.stop()
	tell(each) // nobody listens
	after := newFakePool("one again")
	serve(t, quick(), s.addr, after)
	eventually(t, "the events told meanwhile are heard", func() bool { return len(after.heard()) == each })
	if diff := cmp.Diff(numbered(0, 2*each), append(p.heard(), after.heard()...)); diff != "" {
		t.Errorf("(-told +heard):\n%s", diff)
	}
}

func TestEventsThatAreToldAgainAreHeardOnce(t *testing.T) {
	b := newInbox()
	var heard []event.Event
	hand := func(events []event.Event) error { heard = append(heard, events...); return nil }
	take := func(first, last int, want uint64) {
		t.Helper()
		have, err := b.take(7, uint64(first), numbered(first, last+1), hand)
		if err != nil || have != want {
			t.Errorf("have %d, %v, want %d", have, err, want)
		}
	}
	take(11, 15, 15) // another process heard the first ten
	take(11, 15, 15) // the answer was lost
	take(13, 18, 18) // it overlaps
	take(1, 5, 18)   // it is late
	take(30, 31, 31) // the client had no room for what is between
	if diff := cmp.Diff(append(numbered(11, 19), numbered(30, 32)...), heard); diff != "" {
		t.Errorf("(-want +heard):\n%s", diff)
	}
	if _, err := b.take(7, 32, numbered(32, 34), func([]event.Event) error { return errors.New("no") }); err == nil {
		t.Error("a failure of the pool is kept to oneself")
	}
	take(32, 33, 33)
	if have, err := b.take(8, 1, numbered(1, 3), hand); err != nil || have != 2 {
		t.Errorf("another client: have %d, %v, want 2", have, err)
	}
	if have, err := b.take(9, 0, numbered(0, 3), hand); err != nil || have != 0 {
		t.Errorf("a first number of zero: have %d, %v, want that nothing is taken", have, err)
	}
}

func TestWhatIsLeftToTellIsToldBeforeTheClientEnds(t *testing.T) {
	p := newFakePool("one")
	s := serve(t, quick(), "", p)
	c, err := NewClient(ClientConfig{URLs: []string{s.url()}, FlushTime: time.Minute, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Edge().Tell(t.Context(), numbered(0, 2000)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(numbered(0, 2000), p.heard()); diff != "" {
		t.Errorf("(-told +heard):\n%s", diff)
	}
}

func TestWhenNobodyListensTheOldestEventsGo(t *testing.T) {
	c, err := NewClient(ClientConfig{URLs: []string{"http://127.0.0.1:1"}, MaxUntold: 10, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	c.outbox.put(numbered(1, 26))
	batch := c.outbox.batch()
	if batch.GetFirst() != 16 || len(batch.GetEvents()) != 10 || batch.GetEvents()[0].GetHeadSeen().GetNumber() != 16 {
		t.Errorf("have %d events from %d on, want 10 from 16 on", len(batch.GetEvents()), batch.GetFirst())
	}
	c.outbox.told(20)
	if batch = c.outbox.batch(); batch.GetFirst() != 21 || len(batch.GetEvents()) != 5 {
		t.Errorf("have %d events from %d on, want 5 from 21 on", len(batch.GetEvents()), batch.GetFirst())
	}
	c.outbox.told(3)
	c.outbox.told(1000)
	if batch = c.outbox.batch(); batch != nil {
		t.Errorf("have %d events, want none", len(batch.GetEvents()))
	}
}

func TestHealthSaysWhetherTheProcessServesThePool(t *testing.T) {
	s := serve(t, ServerConfig{Security: Security{Token: "a token of sixteen"}, Logger: quiet()}, "", nil)
	p := newFakePool("one")
	e, err := newEndpoint(&ClientConfig{DialTime: time.Minute, MaxBytes: 1 << 20}, s.url(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.transport.CloseIdleConnections()
	health := grpchealth.NewClient(&http.Client{Transport: e.transport}, s.url())
	check := func(service string, want grpchealth.Status) {
		t.Helper()
		answer, err := health.Check(t.Context(), &grpchealth.CheckRequest{Service: service})
		if err != nil || answer.Status != want {
			t.Errorf("%q: have %v, %v, want %v", service, answer, err, want)
		}
	}
	check("", grpchealth.StatusNotServing)
	s.Lead(p, fakeEdge{pool: p})
	check("", grpchealth.StatusServing)
	check(pb.BuilderServiceName, grpchealth.StatusServing)
	s.Rest()
	check(pb.EdgeServiceName, grpchealth.StatusNotServing)
	if _, err := health.Check(t.Context(), &grpchealth.CheckRequest{Service: "baler.Nothing"}); err == nil {
		t.Error("a service that does not exist has a health")
	}
}

func TestACallUnderWayEndsBeforeTheServerDoes(t *testing.T) {
	p := newFakePool("one")
	p.block = make(chan struct{})
	s := serve(t, ServerConfig{ShutdownTime: time.Minute, Logger: quiet()}, "", p)
	c := connected(t, ClientConfig{}, s.url())
	answered := make(chan error, 1)
	go func() {
		_, err := c.Edge().SendBundleNow(t.Context())
		answered <- err
	}()
	<-p.held
	stopped := make(chan struct{})
	go func() { s.stop(); close(stopped) }()
	eventually(t, "the server refuses", func() bool { return s.term.Load() == nil })
	close(p.block)
	if err := <-answered; err != nil {
		t.Errorf("have %v, want an answer", err)
	}
	<-stopped
}

// proxy stands between client and server, and can stop forwarding.
type proxy struct {
	t        *testing.T
	to       string
	listener net.Listener

	mu      sync.Mutex
	flows   chan struct{} // closed: bytes pass
	conns   []net.Conn
	streams sync.WaitGroup
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, to: to, listener: l, flows: make(chan struct{})}
	close(p.flows)
	p.streams.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.resume()
		p.cut()
		p.streams.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		far, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, near, far)
		p.mu.Unlock()
		p.streams.Go(func() { p.pass(near, far) })
		p.streams.Go(func() { p.pass(far, near) })
	}
}

// pass forwards bytes while they may flow.
func (p *proxy) pass(from, to net.Conn) {
	defer func() {
		_ = from.Close()
		_ = to.Close()
	}()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		flows := p.flows
		p.mu.Unlock()
		<-flows
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// stall stops forwarding without closing anything.
func (p *proxy) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flows = make(chan struct{})
}

func (p *proxy) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.flows:
	default:
		close(p.flows)
	}
}

// cut closes every connection, and lets no new one in.
func (p *proxy) cut() {
	_ = p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
}
