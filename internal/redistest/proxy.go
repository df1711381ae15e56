package redistest

import (
	"context"
	"net"
	"sync"
	"testing"
)

// Proxy is a way to a server that can be cut. While it is, connections stay open and can be made, and nothing gets through; what was
// sent meanwhile arrives once it is whole again, as over a network whose packets are sent again.
type Proxy struct {
	Addr string

	to    string
	mu    sync.Mutex
	whole *sync.Cond
	cut   bool
	ended bool
	conns map[net.Conn]struct{}
	group sync.WaitGroup
}

// NewProxy starts a proxy in front of an address. It ends with the test.
func NewProxy(tb testing.TB, to string) *Proxy {
	tb.Helper()
	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{Addr: listener.Addr().String(), to: to, conns: make(map[net.Conn]struct{})}
	p.whole = sync.NewCond(&p.mu)
	ctx := context.WithoutCancel(tb.Context())
	p.group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.group.Go(func() { p.serve(ctx, conn) })
		}
	})
	tb.Cleanup(func() {
		_ = listener.Close()
		p.mu.Lock()
		p.ended = true
		for conn := range p.conns {
			_ = conn.Close()
		}
		p.mu.Unlock()
		p.whole.Broadcast()
		p.group.Wait()
	})
	return p
}

// Cut cuts the way.
func (p *Proxy) Cut() { p.set(true) }

// Heal makes it whole again.
func (p *Proxy) Heal() { p.set(false) }

func (p *Proxy) set(cut bool) {
	p.mu.Lock()
	p.cut = cut
	p.mu.Unlock()
	p.whole.Broadcast()
}

// pass waits until the way is whole. It returns false at the end.
func (p *Proxy) pass() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.cut && !p.ended {
		p.whole.Wait()
	}
	return !p.ended
}

func (p *Proxy) keep(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		_ = conn.Close()
		return false
	}
	p.conns[conn] = struct{}{}
	return true
}

func (p *Proxy) drop(conn net.Conn) {
	_ = conn.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
}

func (p *Proxy) serve(ctx context.Context, conn net.Conn) {
	if !p.keep(conn) {
		return
	}
	defer p.drop(conn)
	if !p.pass() {
		return
	}
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.to)
	if err != nil || !p.keep(server) {
		return
	}
	defer p.drop(server)
	var both sync.WaitGroup
	both.Go(func() { p.pipe(server, conn) })
	p.pipe(conn, server)
	both.Wait()
}

func (p *Proxy) pipe(to, from net.Conn) {
	defer to.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if !p.pass() {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
