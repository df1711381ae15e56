package rpc

import (
	"cmp"
	"log/slog"
	"time"

	"baler/edge"
)

// Config is what the server is told beside its backend. The zero value of every field is a sensible default.
type Config struct {
	// Debug serves the debug namespace; nil: its methods do not exist. Never set it on a public port.
	Debug DebugBackend

	// Admin serves the admin namespace; nil: its methods do not exist. For the operators' listener only.
	Admin AdminBackend

	// Baler serves the baler namespace, and the methods of other bundlers that clients call; nil: they do not exist.
	Baler BalerBackend

	// Watch serves baler_subscribe; nil: it does not exist. Whoever can subscribe sees every operation before it is
	// mined: on a public port that invites front-running.
	Watch Watcher

	// Live, Ready and Health answer GET /livez (the process works), /readyz (it can take operations) and /health (all is
	// well). Nil: always {"status":"ok"}.
	Live, Ready, Health edge.Probe

	// OnCall is told of every call that was answered; code is 0 or that of the error. It must not block.
	OnCall func(method string, code int, took time.Duration)

	// CORSOrigins are the origins whose pages a browser lets talk to the server ("*": all). Empty: none; a WebSocket
	// whose Origin is not listed is refused.
	CORSOrigins edge.Origins

	// VirtualHosts are the names accepted in the Host header, besides IP addresses ("*": all). Nil: "localhost" while
	// the listener is on a loopback address, else all. It keeps pages that rebind their DNS name to a loopback
	// address from talking to a server that trusts its machine.
	VirtualHosts []string

	// Rates are how often somebody may ask. The zero value limits nothing.
	Rates Rates

	// Proxies are believed when they say for whom they ask.
	Proxies edge.Proxies

	MaxDepth            int   // of a request's JSON; default 64
	MaxBodyBytes        int64 // of a request or a WebSocket message; default 5 MiB
	MaxBatchItems       int   // default 100
	MaxBatchBytes       int   // of a batch's answer; default 25 MiB
	MaxConnections      int   // HTTP and WebSocket together; further ones wait to be accepted; default 1024
	MaxConnectionsPerIP int   // of one address that is not a loopback one; default 128
	MaxCalls            int   // at work at once; default 128
	MaxWaitingCalls     int   // waiting for their turn; more are refused with -32005; default 1024
	MaxHeaderBytes      int   // default 64 KiB

	MaxSubscriptions              int // of all connections; default 256
	MaxSubscriptionsPerConnection int // default 8

	CallTimeout       time.Duration // of one call, waiting included; default 30 s
	ReadHeaderTimeout time.Duration // default 5 s
	ReadTimeout       time.Duration // of a whole request; default 30 s
	IdleTimeout       time.Duration // of a kept connection; default 120 s
	ShutdownTimeout   time.Duration // for requests in flight when the server closes; default 5 s

	// Logger gets the causes of internal errors. Default: slog.Default.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.MaxBodyBytes = cmp.Or(c.MaxBodyBytes, 5<<20)
	c.MaxBatchItems = cmp.Or(c.MaxBatchItems, 100)
	c.MaxDepth = cmp.Or(c.MaxDepth, 64)
	c.MaxBatchBytes = cmp.Or(c.MaxBatchBytes, 25<<20)
	c.MaxConnections = cmp.Or(c.MaxConnections, 1024)
	c.MaxConnectionsPerIP = cmp.Or(c.MaxConnectionsPerIP, 128)
	c.MaxCalls = cmp.Or(c.MaxCalls, 128)
	c.MaxWaitingCalls = cmp.Or(c.MaxWaitingCalls, 1024)
	c.MaxHeaderBytes = cmp.Or(c.MaxHeaderBytes, 64<<10)
	c.MaxSubscriptions = cmp.Or(c.MaxSubscriptions, 256)
	c.MaxSubscriptionsPerConnection = cmp.Or(c.MaxSubscriptionsPerConnection, 8)
	c.CallTimeout = cmp.Or(c.CallTimeout, 30*time.Second)
	c.ReadHeaderTimeout = cmp.Or(c.ReadHeaderTimeout, 5*time.Second)
	c.ReadTimeout = cmp.Or(c.ReadTimeout, 30*time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 120*time.Second)
	c.ShutdownTimeout = cmp.Or(c.ShutdownTimeout, 5*time.Second)
	if c.OnCall == nil {
		c.OnCall = func(string, int, time.Duration) {}
	}
	c.Logger = cmp.Or(c.Logger, slog.Default())
	return c
}
