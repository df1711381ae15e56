package edge

import (
	"net"
	"net/netip"
	"sync"
)

// LimitConnections accepts at most total connections at a time; further ones wait in the operating system's queue. One
// address that is not a loopback one gets at most perIP of them (0: no limit): what it opens beyond that is closed
// at once, so that it cannot keep others out.
func LimitConnections(l net.Listener, total, perIP int) net.Listener {
	return &limitedListener{
		Listener: l, slots: make(chan struct{}, total), done: make(chan struct{}), perIP: perIP, open: make(map[netip.Addr]int),
	}
}

type limitedListener struct {
	net.Listener
	slots chan struct{}
	done  chan struct{} // closed by Close: an Accept waiting for a slot ends
	once  sync.Once
	perIP int

	mu   sync.Mutex
	open map[netip.Addr]int
}

// Accept implements [net.Listener].
func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			<-l.slots
			return nil, err
		}
		ip := AddrOf(conn.RemoteAddr().String())
		if !l.enter(ip) {
			_ = conn.Close()
			continue
		}
		return &limitedConn{Conn: conn, leave: func() {
			l.leave(ip)
			<-l.slots
		}}, nil
	}
}

// Close implements [net.Listener].
func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

func (l *limitedListener) enter(ip netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.perIP > 0 && !ip.IsLoopback() && l.open[ip] >= l.perIP {
		return false
	}
	l.open[ip]++
	return true
}

func (l *limitedListener) leave(ip netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[ip]--; l.open[ip] == 0 {
		delete(l.open, ip)
	}
}

// limitedConn gives its place back when it is closed, once.
type limitedConn struct {
	net.Conn
	leave func()
	once  sync.Once
}

// Close implements [net.Conn].
func (c *limitedConn) Close() error {
	defer c.once.Do(c.leave)
	return c.Conn.Close()
}

// AddrOf is the IP address in "address:port"; of an IPv6 address its /64 network, which is what one subscriber gets. The
// zero address stands for what cannot be read.
func AddrOf(hostport string) netip.Addr {
	parsed, err := netip.ParseAddrPort(hostport)
	if err != nil {
		return netip.Addr{}
	}
	addr := parsed.Addr().Unmap().WithZone("")
	if addr.Is6() && !addr.IsLoopback() {
		if network, err := addr.Prefix(64); err == nil {
			return network.Addr()
		}
	}
	return addr
}
