package main

import (
	"context"
	"strings"

	"baler/entrypoint"
	"baler/event"
	"baler/node"
	"baler/remote"
	"baler/rpc"
	"baler/signer"
	"baler/telemetry"
	"baler/userop"

	"github.com/alecthomas/kong"
	"github.com/ethereum/go-ethereum/common"
)

// role is the part of the bundler that a process has. The zero value: all of it.
type role struct {
	mute   bool           // no JSON-RPC is served to the public
	pool   *remote.Server // serves the pool to other processes; nil: it does not
	client *remote.Client // reaches the pool of another process; nil: it is here
	edge   bool           // with client: this is the JSON-RPC edge; else it has bundle senders

	inFlight node.InFlight // with pool
}

// in makes the pipeline's configuration that of the role. told hears what other processes tell.
func (r role) in(config *node.Config, told event.Sink) {
	switch {
	case r.pool != nil:
		config.Serves, config.InFlight, config.Told = true, r.inFlight, told
	case r.client != nil && r.edge:
		config.RemoteEdge = r.client.Edge()
	case r.client != nil:
		config.RemotePool = r.client.Builder()
	}
}

// observe has the calls between processes counted, and other processes told of the pool's head. It returns the sink for all else.
func (r role) observe(sink event.Sink) event.Sink {
	if r.client != nil {
		r.client.Observe(sink)
	}
	if r.pool != nil {
		r.pool.Observe(sink)
		return telemetry.Join(sink, r.pool.Hear)
	}
	return sink
}

// front is the JSON-RPC backend of an edge: it validates and estimates itself, and the pool's process answers the rest.
type front struct {
	node.EdgePool
	node *node.Node
}

var (
	_ rpc.Backend      = front{}
	_ rpc.BalerBackend = front{}
	_ rpc.DebugBackend = front{}
	_ rpc.Watcher      = front{}
)

// ChainID implements [rpc.Backend].
func (f front) ChainID() uint64 { return f.node.ChainID() }

// EntryPoints implements [rpc.Backend].
func (f front) EntryPoints() []entrypoint.EntryPoint { return f.node.EntryPoints() }

// SendUserOperation implements [rpc.Backend].
func (f front) SendUserOperation(ctx context.Context, ep entrypoint.EntryPoint, op *userop.UserOperation) (common.Hash, error) {
	return f.node.SendUserOperation(ctx, ep, op)
}

// EstimateUserOperationGas implements [rpc.Backend].
func (f front) EstimateUserOperationGas(ctx context.Context, ep entrypoint.EntryPoint, op *userop.UserOperation, given userop.Given,
	overrides rpc.StateOverrides,
) (*rpc.GasEstimate, error) {
	return f.node.EstimateUserOperationGas(ctx, ep, op, given, overrides)
}

// backend is what the JSON-RPC server asks.
func (r role) backend(n *node.Node) rpc.Backend {
	if r.edge {
		return front{r.client.Edge(), n}
	}
	return n
}

// answer makes a server's configuration that of the role: who answers is this process, or the pool's.
func (r role) answer(n *node.Node, config *rpc.Config) {
	switch {
	case r.edge:
		f := front{r.client.Edge(), n}
		config.Baler, config.Admin = f, nil
		if config.Watch != nil {
			config.Watch = f
		}
		if config.Debug != nil {
			config.Debug = f
		}
	case r.client != nil: // what it knows of operations is what it was offered
		config.Baler, config.Debug = nil, nil
	}
}

// remoteSettings are how processes of one bundler prove to each other who they are.
type remoteSettings struct {
	RemoteToken     string `help:"Token that all processes of the bundler share. Better given as BALER_REMOTE_TOKEN." placeholder:"TOKEN" secret:""`
	RemoteTokenFile string `help:"File with the token, that only its owner may read (mode 0600)." placeholder:"FILE"`
	RemoteTLSCert   string `help:"Certificate of this process for the others, PEM." name:"remote-tls-cert" placeholder:"FILE"`
	RemoteTLSKey    string `help:"Its private key, PEM, in a file that only its owner may read (mode 0600)." name:"remote-tls-key" placeholder:"FILE"`
	RemoteTLSCA     string `help:"Authorities whose certificates are believed, PEM. The pool then wants a certificate of each caller." name:"remote-tls-ca" placeholder:"FILE"`
}

func (s remoteSettings) security() (remote.Security, error) {
	security := remote.Security{Token: s.RemoteToken, Cert: s.RemoteTLSCert, Key: s.RemoteTLSKey, CA: s.RemoteTLSCA}
	if err := privateKeyFile("--remote_tls_key", s.RemoteTLSKey); err != nil {
		return security, err
	}
	if s.RemoteTokenFile == "" {
		return security, nil
	}
	if s.RemoteToken != "" {
		return security, badSetting("--remote_token and --remote_token_file: have both, want one")
	}
	text, err := signer.ReadSecretFile(s.RemoteTokenFile)
	if err != nil {
		return security, badSetting("--remote_token_file: %w", err)
	}
	security.Token = strings.TrimSpace(string(text))
	return security, nil
}

// privateKeyFile refuses a file with a private key that others than its owner can read; no file is none of its business.
func privateKeyFile(flag, path string) error {
	if path == "" {
		return nil
	}
	if err := signer.CheckPrivateFile(path); err != nil {
		return badSetting("%s: %w", flag, err)
	}
	return nil
}

// poolURLs say where the pool is.
type poolURLs struct {
	Pool           []string `help:"URLs of the processes that may serve the pool: http://HOST:PORT, or https:// with certificates. Of several, the one that serves it is asked." placeholder:"URL"`
	remoteSettings `embed:""`
}

// client makes the client of the pool. Its goroutines run with Run.
func (s poolURLs) client(config remote.ClientConfig) (*remote.Client, error) {
	if len(s.Pool) == 0 || s.Pool[0] == "" {
		return nil, badSetting("--pool is missing: the URL of the process that serves the pool, such as http://127.0.0.1:3010")
	}
	security, err := s.security()
	if err != nil {
		return nil, err
	}
	config.URLs, config.Security = s.Pool, security
	client, err := remote.NewClient(config)
	if err != nil {
		return nil, badSetting("--pool: %w", err)
	}
	return client, nil
}

// defaults are the settings of the whole bundler when none is given: those of parts that a process does not have.
func defaults() (bundlerSettings, error) {
	var s struct {
		bundlerSettings
	}
	err := kong.ApplyDefaults(&s)
	return s.bundlerSettings, err
}
