package main

import (
	"context"
	"log/slog"
	"net"
	"time"

	"baler/edge"
	"baler/node"
	"baler/rpc"
)

// rpcSettings are the public JSON-RPC server's.
type rpcSettings struct {
	RPCAddr          string        `help:"Address of the JSON-RPC server, HTTP and WebSocket." name:"rpc-addr" default:"127.0.0.1:3000"`
	RPCDebug         bool          `help:"Serve the debug_bundler methods here, on a loopback address only. Elsewhere: --admin_debug." name:"rpc-debug"`
	RPCSubscriptions bool          `help:"Serve baler_subscribe over WebSocket. Subscribers see operations before they are mined." name:"rpc-subscriptions"`
	RPCCors          []string      `help:"Origins whose pages may call the server." name:"rpc-cors" placeholder:"ORIGIN"`
	RPCVhosts        []string      `help:"Names accepted in the Host header. Default: localhost on loopback, all elsewhere." name:"rpc-vhosts" placeholder:"NAME"`
	RPCTimeout       time.Duration `help:"Time for one call." name:"rpc-timeout" default:"30s"`

	RPCRatePerIP      float64  `help:"Requests per second of one address (an IPv6 /64 is one), and as many calls; loopback addresses are not limited; 0: no limit." name:"rpc-rate-per-ip" default:"100" reload:""`
	RPCBurstPerIP     int      `help:"How many of them at once." name:"rpc-burst-per-ip" default:"200" reload:""`
	RPCRatePerSender  float64  `help:"Operations of one account per second that are sent or estimated, whoever sends them; 0: no limit." name:"rpc-rate-per-sender" default:"50" reload:""`
	RPCBurstPerSender int      `help:"How many of them at once." name:"rpc-burst-per-sender" default:"100" reload:""`
	RPCTrustedProxies []string `help:"Addresses and networks of proxies whose X-Forwarded-For is believed." name:"rpc-trusted-proxies" placeholder:"NETWORK"`

	RPCMaxBodyBytes        int64 `help:"Most bytes of a request or a WebSocket message." name:"rpc-max-body-bytes" default:"5242880"`
	RPCMaxBatch            int   `help:"Most calls of a batch." name:"rpc-max-batch" default:"100"`
	RPCMaxDepth            int   `help:"Most levels of a request's JSON." name:"rpc-max-depth" default:"64"`
	RPCMaxConnections      int   `help:"Most connections, HTTP and WebSocket; further ones wait." name:"rpc-max-connections" default:"1024"`
	RPCMaxConnectionsPerIP int   `help:"Most of them of one address that is not a loopback one; further ones are closed." name:"rpc-max-connections-per-ip" default:"128"`
}

func (s rpcSettings) config(n *node.Node, log *slog.Logger) (rpc.Config, error) {
	config := rpc.Config{
		Baler: n, Live: n.Live, Ready: n.Ready, Health: n.Health, CORSOrigins: s.RPCCors, VirtualHosts: s.RPCVhosts, CallTimeout: s.RPCTimeout,
		Rates: s.rates(), Logger: log, MaxBodyBytes: s.RPCMaxBodyBytes, MaxBatchItems: s.RPCMaxBatch, MaxDepth: s.RPCMaxDepth,
		MaxConnections: s.RPCMaxConnections, MaxConnectionsPerIP: s.RPCMaxConnectionsPerIP,
	}
	var err error
	if config.Proxies, err = edge.ParseProxies(s.RPCTrustedProxies); err != nil {
		return config, badSetting("--rpc_trusted_proxies: %w", err)
	}
	if s.RPCDebug {
		config.Debug = n
	}
	if s.RPCSubscriptions {
		config.Watch = n
	}
	return config, s.check()
}

// check looks at what can be wrong without a port.
func (s rpcSettings) check() error {
	for flag, value := range map[string]int64{
		"rpc_max_body_bytes": s.RPCMaxBodyBytes, "rpc_max_batch": int64(s.RPCMaxBatch), "rpc_max_depth": int64(s.RPCMaxDepth),
		"rpc_max_connections": int64(s.RPCMaxConnections), "rpc_max_connections_per_ip": int64(s.RPCMaxConnectionsPerIP),
		"rpc_timeout": int64(s.RPCTimeout),
	} {
		if value <= 0 {
			return badSetting("--%s: have %d, want more than 0", flag, value)
		}
	}
	if s.RPCRatePerIP < 0 || s.RPCRatePerSender < 0 || s.RPCBurstPerIP < 1 || s.RPCBurstPerSender < 1 {
		return badSetting("--rpc_rate_per_ip, --rpc_rate_per_sender: want rates of 0 or more, and bursts of at least 1")
	}
	if s.RPCDebug && !loopback(s.RPCAddr) {
		return badSetting("--rpc_debug: %s can be reached from elsewhere; serve the debug methods to operators, with --admin_debug", s.RPCAddr)
	}
	return nil
}

// listen opens the port.
func (s rpcSettings) listen(ctx context.Context) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.RPCAddr)
	if err != nil {
		return nil, badSetting("--rpc_addr: %w", err)
	}
	return listener, nil
}

func (s rpcSettings) rates() rpc.Rates {
	return rpc.Rates{
		PerIP:     edge.Rate{PerSecond: s.RPCRatePerIP, Burst: s.RPCBurstPerIP},
		PerSender: edge.Rate{PerSecond: s.RPCRatePerSender, Burst: s.RPCBurstPerSender},
	}
}

// loopback reports whether only this machine reaches an address. What is no address is told when it is listened on.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return true
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
