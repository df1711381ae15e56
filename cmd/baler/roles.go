package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"baler/chain"
	"baler/entrypoint"
	"baler/node"
	"baler/remote"
	"baler/signer"
	"baler/store"

	"github.com/redis/go-redis/v9"
)

// poolCommand serves the pool to the other processes of a bundler.
type poolCommand struct {
	nodeSettings `group:"Node"`

	Listen string         `help:"Address at which other processes reach the pool." default:"127.0.0.1:3010" group:"Other processes"`
	Remote remoteSettings `embed:"" group:"Other processes"`

	RedisURL []string      `help:"Redis that has the pool with --store=redis, and the journals of the keys: what builders that are not there have in flight is read from them. Spelt as for 'baler node'." name:"redis-url" placeholder:"URL" secret:"" group:"Store"`
	PoolTTL  time.Duration `help:"With --store=redis: how long the pool stays with a process that died or cannot reach Redis." name:"pool-lease-ttl" default:"3s" group:"Store"`

	redisSettings `group:"Store"`

	storeSettings `group:"Store"`
	entryPointSettings
	Chain      chainSettings      `embed:"" group:"Chain"`
	Prices     priceSettings      `embed:"" group:"Bundles and fees"`
	Mempool    poolSettings       `embed:"" group:"Mempool"`
	Validation validatorSettings  `embed:"" group:"Validation"`
	Aggregator aggregatorSettings `embed:"" group:"Signature aggregators"`
	Admin      adminSettings      `embed:"" group:"Operators"`
	Log        logSettings        `embed:"" group:"Logs"`
	Traces     traceSettings      `embed:"" group:"Traces"`
}

// rpcCommand serves JSON-RPC, and validates; the pool is in another process.
type rpcCommand struct {
	nodeSettings `group:"Node"`
	poolURLs     `group:"Other processes"`
	entryPointSettings
	Chain      chainSettings      `embed:"" group:"Chain"`
	Validation validatorSettings  `embed:"" group:"Validation"`
	Aggregator aggregatorSettings `embed:"" group:"Signature aggregators"`
	RPC        rpcSettings        `embed:"" group:"JSON-RPC"`
	Admin      adminSettings      `embed:"" group:"Operators"`
	Log        logSettings        `embed:"" group:"Logs"`
	Traces     traceSettings      `embed:"" group:"Traces"`
}

// builderCommand has bundle senders; the pool is in another process.
type builderCommand struct {
	nodeSettings `group:"Node"`
	poolURLs     `group:"Other processes"`

	Keys    keySettings      `embed:"" group:"Keys"` // keysGroup
	Leases  keyLeaseSettings `embed:"" group:"Leases"`
	Funding fundingSettings  `embed:"" group:"Funding"`
	DataDir string           `help:"Directory of the keys' journals, where keys are not leased." default:"baler-data" placeholder:"DIR" group:"Store"`

	entryPointSettings
	Chain      chainSettings      `embed:"" group:"Chain"`
	Senders    senderSettings     `embed:"" group:"Bundle senders"`
	Relay      relaySettings      `embed:"" group:"Transaction senders"`
	Proposals  proposerSettings   `embed:"" group:"Bundles and fees"`
	Validation validatorSettings  `embed:"" group:"Validation"`
	Aggregator aggregatorSettings `embed:"" group:"Signature aggregators"`
	Admin      adminSettings      `embed:"" group:"Operators"`
	Log        logSettings        `embed:"" group:"Logs"`
	Traces     traceSettings      `embed:"" group:"Traces"`
}

// usualDataDir is the default of --data_dir.
const usualDataDir = "baler-data"

// stalePool is how long nothing may come from the pool until another process is looked for that serves it. The pool's lease of a
// process that stands still is over about then.
const stalePool = 3 * time.Second

// reached is the chain as a process reaches it.
type reached struct {
	client, heads *chain.Client
	entryPoints   []entrypoint.EntryPoint
	meta          store.Meta
}

// nodePause is the time between two looks for a node that is away when the process begins.
const nodePause = time.Second

// reach reaches the chain. A node that is away is waited for: that it cannot be reached now is not a setting's fault. The error is the
// context's, or a setting's.
func reach(ctx context.Context, at nodeSettings, eps entryPointSettings, probes probesAt, log *slog.Logger) (r reached, err error) {
	trying := func() (err error) {
		r, err = reachOnce(ctx, at, eps, log)
		return err
	}
	waits := waiting{status: "waits for the node: ", pause: nodePause, told: func(why, probes string) {
		log.Warn("this process waits for its node", "why", why, "probes", probes)
	}}
	return r, waits.until(ctx, trying, func(err error) bool { return ctx.Err() == nil && errors.Is(err, errNoAnswer) }, probes, log)
}

func reachOnce(ctx context.Context, at nodeSettings, eps entryPointSettings, log *slog.Logger) (r reached, err error) {
	if r.client, r.heads, err = at.dial(ctx, log); err != nil {
		return r, err
	}
	if r.entryPoints, err = eps.deployed(ctx, r.client); err == nil {
		r.meta, err = metaOf(ctx, r.client)
	}
	if err != nil {
		r.close()
	}
	return r, err
}

func (r reached) close() {
	r.client.Close()
	if r.heads != nil {
		r.heads.Close()
	}
}

// whole are the settings as those of a whole bundler, and those of its leases.
func (c *poolCommand) whole() (bundlerSettings, leaseSettings, error) {
	leases := leaseSettings{
		keyLeaseSettings: keyLeaseSettings{RedisURL: c.RedisURL, LeaseTTL: time.Minute, LeaseMargin: 10 * time.Second, redisSettings: c.redisSettings},
		PoolTTL:          c.PoolTTL,
	}
	s, err := defaults()
	if err == nil && c.Store == storeRedis && !leases.leased() {
		err = badSetting("--store: redis needs --redis_url")
	}
	s.Chain, s.Proposals.priceSettings, s.Mempool, s.Validation, s.Aggregator = c.Chain, c.Prices, c.Mempool, c.Validation, c.Aggregator
	s.Admin, s.Log, s.Traces = c.Admin, c.Log, c.Traces
	return s, leases, err
}

// server makes the server for other processes, which does not listen yet.
func (c *poolCommand) server(log *slog.Logger) (*remote.Server, error) {
	security, err := c.Remote.security()
	if err != nil {
		return nil, err
	}
	served, err := remote.NewServer(remote.ServerConfig{Security: security, Logger: log})
	if err != nil {
		return nil, badSetting("--remote_token, --remote_tls_cert, --remote_tls_key, --remote_tls_ca: %w", err)
	}
	return served, nil
}

// Run runs until the context ends.
func (c *poolCommand) Run(ctx context.Context, out console) error {
	signals, stopSignals := hangups(out)
	defer stopSignals()
	s, leases, err := c.whole()
	if err != nil {
		return err
	}
	shared, err := leases.open()
	if err != nil {
		return err
	}
	if shared != nil {
		defer func() { _ = shared.Close() }()
	}
	log := s.Log.logger(out)
	served, err := c.server(log)
	if err != nil {
		return err
	}
	at, err := reach(ctx, c.nodeSettings, c.entryPointSettings, c.Admin.server, log)
	if err != nil {
		return stopped(err)
	}
	defer at.close()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return badSetting("--listen: %w", err)
	}
	keep := kept{role: role{mute: true, pool: served}}
	if shared != nil {
		keep.role.inFlight, keep.ttl = leases.holder(ctx, shared, at.meta, log).InFlight, leases.LeaseTTL
		keep.checks = append(keep.checks, leases.check(shared))
	}
	serving, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- served.Serve(serving, listener); stop() }()
	life := func(keep kept) error {
		b, err := startBundler(serving, s, at.client, at.heads, at.entryPoints, nil, node.Funding{}, keep, out, log)
		if err != nil {
			return err
		}
		b.watchReload(signals, out, c.reload, nil, log)
		served.Lead(b.pipeline.BuilderPool(), b.pipeline.EdgePool())
		defer served.Rest()
		log.Info("baler is running", "role", "pool", "listen", listener.Addr().String(), "operators", b.operatorsURL, "node", at.client.Origin())
		return b.wait()
	}
	err = c.live(serving, leases, shared, at.meta, keep, log, life)
	stop()
	return errors.Join(err, <-ended)
}

// live lives the pool's life: once, with a store of its own, or whenever the pool in Redis is this process's.
func (c *poolCommand) live(ctx context.Context, leases leaseSettings, shared redis.UniversalClient, meta store.Meta, keep kept, log *slog.Logger, life func(kept) error) (err error) {
	if c.Store == storeRedis {
		return leases.standBy(ctx, shared, meta, log, keep, c.Admin.server, life)
	}
	if keep.store, err = c.open(meta); err != nil {
		return err
	}
	return errors.Join(life(keep), keep.store.Close())
}

// whole are the settings as those of a whole bundler.
func (c *rpcCommand) whole() (bundlerSettings, error) {
	if c.Validation.PvgExpectedBundleSize == "" {
		return bundlerSettings{}, badSetting("--pvg_expected_bundle_size is empty")
	}
	s, err := defaults()
	s.Chain, s.Validation, s.Aggregator, s.RPC, s.Admin, s.Log, s.Traces = c.Chain, c.Validation, c.Aggregator, c.RPC, c.Admin, c.Log, c.Traces
	return s, err
}

// Run runs until the context ends.
func (c *rpcCommand) Run(ctx context.Context, out console) error {
	s, err := c.whole()
	if err != nil {
		return err
	}
	return c.run(ctx, s, c.nodeSettings, c.entryPointSettings, c.RPC.probes, out, func(_ *reached, client *remote.Client, _ *slog.Logger) (part, error) {
		return part{name: "rpc", read: c.reload, keep: kept{role: role{client: client, edge: true}}}, nil
	})
}

// part is what a process that uses the pool of another one has of its own.
type part struct {
	name  string
	keys  []signer.Signer
	funds node.Funding
	keep  kept
	read  reading
}

// run runs a process that uses the pool of another one, until the context ends.
func (s poolURLs) run(ctx context.Context, settings bundlerSettings, at nodeSettings, eps entryPointSettings, probes probesAt,
	out console,
	make func(*reached, *remote.Client, *slog.Logger) (part, error),
) error {
	signals, stopSignals := hangups(out)
	defer stopSignals()
	log := settings.Log.logger(out)
	client, err := s.client(remote.ClientConfig{Logger: log, Stale: stalePool, KeepAlive: time.Second, KeepAliveTimeout: stalePool - time.Second})
	if err != nil {
		return err
	}
	r, err := reach(ctx, at, eps, probes, log)
	if err != nil {
		return stopped(err)
	}
	defer r.close()
	p, err := make(&r, client, log)
	if err != nil {
		return err
	}
	asking, stop := context.WithCancel(ctx)
	ended := beside(func() error { return client.Run(asking) })
	err = func() error {
		b, err := startBundler(ctx, settings, r.client, r.heads, r.entryPoints, p.keys, p.funds, p.keep, out, log)
		if err != nil {
			return err
		}
		b.watchReload(signals, out, p.read, p.keys, log)
		log.Info("baler is running", "role", p.name, "rpc", b.url, "operators", b.operatorsURL, "node", r.client.Origin(), "senders", len(p.keys))
		return b.wait()
	}()
	stop()
	if failed := <-ended; !errors.Is(failed, context.Canceled) {
		err = errors.Join(err, failed)
	}
	return errors.Join(err, p.keep.store.Close())
}

// beside runs a function beside its caller, who reads what came of it.
func beside(run func() error) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- run() }()
	return ended
}

func (c *builderCommand) leases() leaseSettings {
	return leaseSettings{keyLeaseSettings: c.Leases, PoolTTL: time.Second}
}

// keys opens the keys, as 'baler node' does.
func (c *builderCommand) keys(ctx context.Context) ([]signer.Signer, error) {
	whole := nodeCommand{Keys: c.Keys, Leases: c.leases()}
	whole.Senders = c.Senders
	return whole.keys(ctx)
}

// whole are the settings as those of a whole bundler.
func (c *builderCommand) whole() (bundlerSettings, error) {
	if c.Admin.AdminDebug {
		return bundlerSettings{}, badSetting("--admin_debug has no effect: the debug methods are about the pool, in another process")
	}
	if c.leases().leased() && c.DataDir != usualDataDir {
		return bundlerSettings{}, badSetting("--data_dir has no effect: keys are leased, and their journals are in Redis")
	}
	s, err := defaults()
	s.Chain, s.Senders, s.Relay, s.Proposals, s.Validation, s.Aggregator = c.Chain, c.Senders, c.Relay, c.Proposals, c.Validation, c.Aggregator
	s.Admin, s.Log, s.Traces = c.Admin, c.Log, c.Traces
	return s, err
}

// Run runs until the context ends.
func (c *builderCommand) Run(ctx context.Context, out console) error {
	s, err := c.whole()
	if err != nil {
		return err
	}
	leases := c.leases()
	keys, err := c.keys(ctx)
	if err != nil {
		return err
	}
	funds, err := c.Funding.open(ctx, c.Keys, leases.leased())
	if err != nil {
		return err
	}
	shared, err := leases.open()
	if err != nil {
		return err
	}
	if shared != nil {
		defer func() { _ = shared.Close() }()
	}
	return c.run(ctx, s, c.nodeSettings, c.entryPointSettings, c.Admin.server, out, func(r *reached, client *remote.Client, log *slog.Logger) (part, error) {
		p := part{name: "builder", read: c.reload, keys: keys, funds: funds, keep: kept{role: role{mute: true, client: client}, most: s.Senders.NumSigners}}
		if shared != nil {
			p.keep.keys = leases.holder(ctx, shared, r.meta, log)
			p.keep.checks = append(p.keep.checks, leases.check(shared))
			return p, nil
		}
		var err error
		p.keep.store, err = storeSettings{Store: "embedded", DataDir: c.DataDir}.open(r.meta)
		return p, err
	})
}
