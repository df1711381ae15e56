package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"baler/chain"
	"baler/dashboard"
	"baler/entrypoint"
	"baler/evm"
	"baler/node"
	"baler/rpc"
	"baler/signer"
	"baler/telemetry"

	"golang.org/x/sync/errgroup"
	"golang.org/x/term"
)

// bundler is a running bundler: the pipeline and its JSON-RPC server.
type bundler struct {
	url          string
	operatorsURL string // empty: there is none
	pipeline     *node.Node
	server       *rpc.Server
	ctx          context.Context //nolint:containedctx // of the group: what joins it later ends with it
	group        *errgroup.Group
	stop         context.CancelFunc
}

// errNoAnswer says that the node did not tell what a bundler has to know before it serves. It is no setting's fault: a node that is
// away comes back.
var errNoAnswer = errors.New("the node has no answer")

// noAnswer is the error of a node that was asked for what a start needs. A URL that is none or nobody's who serves it, and nodes of
// different chains, are wrong settings.
func noAnswer(flag string, err error) error {
	if errors.Is(err, chain.ErrURL) || errors.Is(err, chain.ErrOtherChain) || chain.Misdirected(err) {
		return badSetting("%s: %w", flag, err)
	}
	return fmt.Errorf("%s: %w: %w", flag, errNoAnswer, err)
}

// startBundler wires a bundler to a node and returns when it serves. client and heads stay the caller's.
func startBundler(ctx context.Context, s bundlerSettings, client, heads *chain.Client, entryPoints []entrypoint.EntryPoint,
	keys []signer.Signer, funds node.Funding, keep kept, out console, log *slog.Logger,
) (*bundler, error) {
	chainID, err := client.ChainID(ctx)
	if err != nil {
		return nil, noAnswer("--node_http", err)
	}
	if keep.keys == nil {
		if keys, err = s.Senders.choose(keys); err != nil {
			return nil, err
		}
	}
	config, err := s.nodeConfig(chainID, entryPoints, keys, log)
	if err != nil {
		return nil, err
	}
	//nolint:contextcheck // an event carries no context: its log line outlives what caused it
	lines, metrics := telemetry.Log(log), telemetry.NewMetrics(time.Now)
	sink, page := telemetry.Join(lines, metrics.Sink()), dashboard.New(log)
	if s.Admin.AdminAddr != "" {
		sink = telemetry.Join(sink, page.Hear)
	}
	traces, err := s.Traces.start(ctx)
	if err != nil {
		return nil, err
	}
	if traces != nil {
		sink = telemetry.Join(sink, traces.Sink())
	}
	sink = keep.role.observe(sink)
	client.OnRequest(nodeAsked(sink))
	if config.Rules, err = evm.DetectChainConfig(ctx, client, chainID); err != nil {
		return nil, noAnswer("--node_http", err)
	}
	if err := s.Aggregator.serve(&config, entryPoints, client); err != nil {
		return nil, err
	}
	config.Store, config.Keys, config.MaxKeys, config.Checks, config.Boundary = keep.store, keep.keys, keep.most, keep.checks, out.boundary
	config.Funding, config.Lease, config.LeaseTTL = funds, keep.lease, keep.ttl
	keep.role.in(&config, page.Hear)
	by, err := s.Relay.senders(chainID, client, log)
	if err != nil {
		return nil, err
	}
	//nolint:contextcheck // what the store is handed without waiting outlives what caused it
	pipeline, err := node.New(by.in(config), client, heads, by.usual, sink, log)
	if errors.Is(err, node.ErrConfig) {
		err = settingsError{err}
	}
	if err != nil {
		return nil, err
	}
	operators, operatorsListener, err := s.Admin.server(ctx, log)
	if err != nil {
		return nil, err
	}
	metrics.Watch(pipeline)
	b := &bundler{pipeline: pipeline}
	var listener net.Listener
	if !keep.role.mute {
		served, err := s.RPC.config(pipeline, log)
		if err == nil {
			listener, err = s.RPC.listen(ctx)
		}
		if err != nil {
			return nil, errors.Join(err, closeIfAny(operatorsListener))
		}
		served.OnCall = callServed(sink)
		keep.role.answer(pipeline, &served)
		b.server = rpc.NewServer(keep.role.backend(pipeline), served)
	}
	ctx, stop := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	b.ctx, b.group, b.stop = ctx, group, stop
	group.Go(owned(ctx, "pipeline", pipeline.Run))
	if b.server != nil {
		b.url = "http://" + listener.Addr().String()
		group.Go(owned(ctx, "rpc", func(ctx context.Context) error { return b.server.Serve(ctx, listener) }))
	}
	if traces != nil {
		group.Go(owned(ctx, "traces", endTraces(traces)))
	}
	if operators != nil {
		calls := s.Admin.calls(pipeline, keep.role, s.RPC, log)
		s.Admin.mount(operators, pipeline, calls, metrics)
		if !keep.role.edge { // it would have nothing to show
			page.Show(pipeline.Page(), pipeline.Page())
			page.Mount(operators)
			group.Go(owned(ctx, "page", func(ctx context.Context) error {
				page.Run(ctx)
				return nil
			}))
		}
		group.Go(owned(ctx, "operators", func(ctx context.Context) error {
			defer func() { _ = calls.Close() }() // it returns nil
			return operators.Serve(ctx, operatorsListener)
		}))
		b.operatorsURL = s.Admin.url(operatorsListener)
	}
	select {
	case <-pipeline.Started():
		return b, nil
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), b.wait())
	}
}

func closeIfAny(listener net.Listener) error {
	if listener == nil {
		return nil
	}
	return listener.Close()
}

// wait returns when the bundler has stopped. That its context ended is no error.
func (b *bundler) wait() error {
	err := b.group.Wait()
	b.stop()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// nodeSettings say where the chain's nodes are.
type nodeSettings struct {
	NodeHTTP              []string      `help:"URLs of the node's JSON-RPC over HTTP. Of several, requests go to one that has the newest block and answers soon, and to another if it does not." name:"node-http" placeholder:"URL" secret:""`
	NodeWS                []string      `help:"URLs of the node's WebSocket, for new heads; without it heads are polled." name:"node-ws" placeholder:"URL" secret:""`
	NodeRequestsPerSecond float64       `help:"Most requests to each of the endpoints in a second, each of a batch counted; 0: no limit." default:"0"`
	NodeConcurrent        int           `help:"Most requests to each of several endpoints at once." default:"64"`
	NodePatience          time.Duration `help:"How long a new block is kept back for those of several endpoints that do not have it yet." default:"1s"`
}

// dial connects. One endpoint without a limit is asked directly; heads is its WebSocket, nil if there is none.
func (s nodeSettings) dial(ctx context.Context, log *slog.Logger) (client, heads *chain.Client, err error) {
	switch {
	case len(s.NodeHTTP) == 0 || s.NodeHTTP[0] == "":
		return nil, nil, badSetting("--node_http is missing: the URL of the node, such as http://127.0.0.1:8545")
	case s.NodeRequestsPerSecond < 0 || s.NodeConcurrent < 1:
		return nil, nil, badSetting("--node_requests_per_second and --node_concurrent: have %g and %d, want 0 or more, and 1 or more", s.NodeRequestsPerSecond, s.NodeConcurrent)
	case len(s.NodeHTTP) == 1 && len(s.NodeWS) <= 1 && s.NodeRequestsPerSecond == 0:
		return dialNode(ctx, s.NodeHTTP[0], strings.Join(s.NodeWS, ""))
	}
	for _, url := range s.NodeWS { // one that is away for a while is no error; one that is none is
		if err := chain.CheckURL(url); err != nil {
			return nil, nil, badSetting("--node_ws: %w", err)
		}
	}
	client, err = chain.DialSeveral(ctx, s.NodeHTTP, s.NodeWS, chain.EndpointOptions{
		RequestsPerSecond: s.NodeRequestsPerSecond, Concurrent: s.NodeConcurrent, Patience: s.NodePatience, Log: log,
	})
	if err != nil {
		return nil, nil, noAnswer("--node_http", err)
	}
	return client, nil, nil
}

// dialNode connects to the node's HTTP endpoint, and to its WebSocket endpoint if there is one.
func dialNode(ctx context.Context, httpURL, wsURL string) (client, heads *chain.Client, err error) {
	if client, err = chain.Dial(ctx, httpURL, 0); err != nil {
		return nil, nil, noAnswer("--node_http", err)
	}
	if wsURL == "" {
		return client, nil, nil
	}
	if heads, err = chain.Dial(ctx, wsURL, 0); err != nil {
		client.Close()
		return nil, nil, noAnswer("--node_ws", err)
	}
	return client, heads, nil
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

func printf(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
