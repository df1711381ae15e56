package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"syscall"
	"time"

	"baler/edge"
	"baler/node"
	"baler/rpc"
	"baler/telemetry"
)

// adminSettings are the operators' listener: metrics, probes and the calls of operators, on a port of their own.
type adminSettings struct {
	AdminAddr     string   `help:"Address of the operators' server. Empty: there is none; in dev it is on 127.0.0.1:3001, or on a free port if that is taken." name:"admin-addr" placeholder:"ADDRESS"`
	AdminToken    string   `help:"Token that proves that a caller is an operator. Better given as BALER_ADMIN_TOKEN. In dev a random one, printed at the start." name:"admin-token" placeholder:"TOKEN" secret:""`
	AdminVhosts   []string `help:"Names accepted in the Host header of the operators' server, besides IP addresses. Default: localhost." name:"admin-vhosts" placeholder:"NAME"`
	AdminTLSCert  string   `help:"Certificate of the operators' server, PEM." name:"admin-tls-cert" placeholder:"FILE"`
	AdminTLSKey   string   `help:"Its private key, PEM, in a file that only its owner may read (mode 0600)." name:"admin-tls-key" placeholder:"FILE"`
	AdminClientCA string   `help:"Whoever has a certificate of these authorities is an operator, PEM." name:"admin-client-ca" placeholder:"FILE"`
	AdminDebug    bool     `help:"Serve the debug_bundler methods to operators." name:"admin-debug"`
	AdminPprof    bool     `help:"Serve Go's profiles to operators, below /debug/pprof/." name:"admin-pprof"`

	MaxHeadAge time.Duration `help:"Age of the newest block from which the probes and the page say that the chain, or the way to it, stands still." default:"90s"`

	fallback string `kong:"-"` // address that is used if AdminAddr is taken; empty: none
}

// minTokenLength is the least length of a token that nobody guesses.
const minTokenLength = 16

// server makes the operators' server and its listener; nil if none is asked for.
func (s adminSettings) server(ctx context.Context, log *slog.Logger) (*edge.Server, net.Listener, error) {
	if err := s.check(); err != nil || s.AdminAddr == "" {
		return nil, nil, err
	}
	secured, err := s.tls()
	if err != nil {
		return nil, nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.AdminAddr)
	if errors.Is(err, syscall.EADDRINUSE) && s.fallback != "" {
		listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", s.fallback)
	}
	if err != nil {
		return nil, nil, badSetting("--admin_addr: %w", err)
	}
	if !edge.OnLoopback(listener.Addr()) && s.AdminToken == "" && s.AdminClientCA == "" {
		_ = listener.Close()
		return nil, nil, badSetting("--admin_addr: %s can be reached from elsewhere, so --admin_token or --admin_client_ca is needed", s.AdminAddr)
	}
	return edge.NewServer(edge.Config{
		Token: s.AdminToken, TLS: secured, Hosts: edge.Hosts{Names: s.AdminVhosts}, Logger: log,
	}), listener, nil
}

// check looks at the settings without taking the port.
func (s adminSettings) check() error {
	if s.AdminAddr == "" && (s.AdminToken != "" || s.AdminTLSCert != "" || s.AdminClientCA != "" || len(s.AdminVhosts) > 0 || s.AdminDebug || s.AdminPprof) {
		return badSetting("--admin_addr is missing: other settings of the operators' server are given")
	}
	if s.AdminToken != "" && len(s.AdminToken) < minTokenLength {
		return badSetting("--admin_token: want at least %d characters", minTokenLength)
	}
	_, err := s.tls()
	return err
}

// tls reads the certificates; nil: the server speaks plain HTTP.
func (s adminSettings) tls() (*tls.Config, error) {
	if s.AdminTLSCert == "" && s.AdminTLSKey == "" {
		if s.AdminClientCA != "" {
			return nil, badSetting("--admin_client_ca needs --admin_tls_cert and --admin_tls_key")
		}
		return nil, nil
	}
	certificate, err := tls.LoadX509KeyPair(s.AdminTLSCert, s.AdminTLSKey)
	if err != nil {
		return nil, badSetting("--admin_tls_cert, --admin_tls_key: %w", err)
	}
	if err := privateKeyFile("--admin_tls_key", s.AdminTLSKey); err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}}
	if s.AdminClientCA != "" {
		text, err := os.ReadFile(s.AdminClientCA)
		if err != nil {
			return nil, badSetting("--admin_client_ca: %w", err)
		}
		config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.VerifyClientCertIfGiven
		if !config.ClientCAs.AppendCertsFromPEM(text) {
			return nil, badSetting("--admin_client_ca: no certificate in %s", s.AdminClientCA)
		}
	}
	return config, nil
}

// mount says what the operators' server serves. Each part says who may use it; see [edge.Access].
func (s adminSettings) mount(server *edge.Server, n *node.Node, calls *rpc.Server, metrics *telemetry.Metrics) {
	server.Handle("GET /metrics", edge.Read, metrics.Handler())
	server.Handle("/livez", edge.Open, edge.Probe(n.Live))
	server.Handle("/readyz", edge.Open, edge.Probe(n.Ready))
	server.Handle("/health", edge.Read, edge.Probe(n.Health))
	server.Handle("POST /rpc", edge.Act, calls.Handler())
	if s.AdminPprof {
		server.Handle("/debug/pprof/", edge.Act, http.HandlerFunc(pprof.Index))
		server.Handle("/debug/pprof/profile", edge.Act, http.HandlerFunc(pprof.Profile))
		server.Handle("/debug/pprof/trace", edge.Act, http.HandlerFunc(pprof.Trace))
		server.Handle("/debug/pprof/symbol", edge.Act, http.HandlerFunc(pprof.Symbol))
	}
}

// calls is the JSON-RPC server behind /rpc.
func (s adminSettings) calls(n *node.Node, r role, timeouts rpcSettings, log *slog.Logger) *rpc.Server {
	config := rpc.Config{Admin: n, Baler: n, CallTimeout: timeouts.RPCTimeout, Logger: log}
	if s.AdminDebug {
		config.Debug = n
	}
	r.answer(n, &config)
	return rpc.NewServer(r.backend(n), config)
}

// url is where the operators' server is.
func (s adminSettings) url(listener net.Listener) string {
	if s.AdminTLSCert != "" {
		return "https://" + listener.Addr().String()
	}
	return "http://" + listener.Addr().String()
}
