package main

import (
	"context"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// proxy stands between the bundler and its node, and can fall silent.
type proxy struct {
	address string // host:port
	target  string

	lag time.Duration // of everything that comes from the node

	mu     sync.Mutex
	silent bool
	open   map[net.Conn]struct{}
	group  sync.WaitGroup
}

// startProxy forwards connections to the server of a URL. What the server answers arrives later by the lag.
func startProxy(t *testing.T, target string, lag time.Duration) *proxy {
	t.Helper()
	parsed, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{address: listener.Addr().String(), target: parsed.Host, lag: lag, open: make(map[net.Conn]struct{})}
	p.group.Go(func() { p.accept(context.WithoutCancel(t.Context()), listener) })
	t.Cleanup(func() {
		_ = listener.Close()
		p.hangUp()
		p.group.Wait()
	})
	return p
}

// through returns the URL by way of the proxy.
func (p *proxy) through(target string) string { return strings.Replace(target, p.target, p.address, 1) }

func (p *proxy) accept(ctx context.Context, listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return // closed
		}
		if !p.keep(conn) {
			continue // silent: the connection stays open and nobody answers
		}
		up, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.target)
		if err != nil {
			_ = conn.Close()
			continue
		}
		p.keep(up)
		p.group.Go(func() { p.pipe(&late{conn, p.lag}, up) })
		p.group.Go(func() { p.pipe(up, conn) })
	}
}

// keep remembers a connection, and says whether it is to be served.
func (p *proxy) keep(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open[conn] = struct{}{}
	return !p.silent
}

func (p *proxy) pipe(to io.WriteCloser, from net.Conn) {
	_, _ = io.Copy(struct{ io.Writer }{to}, from)
	_ = to.Close()
	_ = from.Close()
}

// late is the far end of a long line.
type late struct {
	net.Conn

	lag time.Duration
}

// Write implements io.Writer.
func (l *late) Write(b []byte) (int, error) {
	if l.lag > 0 {
		<-time.After(l.lag)
	}
	return l.Conn.Write(b)
}

// hangUp closes every connection.
func (p *proxy) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.open {
		_ = conn.Close()
	}
	clear(p.open)
}

// fallSilent breaks what is open, and answers nothing any more.
func (p *proxy) fallSilent() {
	p.mu.Lock()
	p.silent = true
	p.mu.Unlock()
	p.hangUp()
}

// comeBack serves again; those who waited for an answer get none.
func (p *proxy) comeBack() {
	p.mu.Lock()
	p.silent = false
	p.mu.Unlock()
	p.hangUp()
}
