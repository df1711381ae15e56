package edge

import (
	"net"
	"slices"
	"strings"
)

// Hosts are the names accepted in the Host header. It is the protection against DNS rebinding: a page can make its own
// name resolve to a loopback address, but not make the browser send another Host.
type Hosts struct {
	// Names are accepted besides IP addresses ("*": all). Nil: "localhost" only.
	Names []string
}

// Allow reports whether requests for this host (with or without a port) are answered. An IP address always is: it cannot
// be rebound.
func (h Hosts) Allow(hostport string) bool {
	host := hostport
	if name, _, err := net.SplitHostPort(hostport); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if host == "" || net.ParseIP(host) != nil {
		return true
	}
	if h.Names == nil {
		return strings.EqualFold(host, "localhost")
	}
	return slices.ContainsFunc(h.Names, func(allowed string) bool {
		return allowed == "*" || strings.EqualFold(allowed, host)
	})
}

// Origins are the origins whose pages a browser lets talk to a server ("*": all).
type Origins []string

// Allow reports whether the origin is one of them.
func (o Origins) Allow(origin string) bool {
	return slices.ContainsFunc(o, func(allowed string) bool {
		return allowed == "*" || strings.EqualFold(allowed, origin)
	})
}

// OnLoopback reports whether an address is reachable from this machine only.
func OnLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
