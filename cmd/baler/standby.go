package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"baler/edge"
	"baler/lease"
	"baler/node"
	"baler/store"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

// standbyPause is the time between two tries to serve the pool.
const standbyPause = 200 * time.Millisecond

// standBy lives the bundler's life whenever this process holds the pool of the chain, until the context ends. While another one does,
// it waits; then it goes on with everything that was accepted. A node that fails just then does not end the process: it waits again.
func (s leaseSettings) standBy(ctx context.Context, client redis.UniversalClient, meta store.Meta, log *slog.Logger, keep kept,
	probes probesAt, life func(kept) error,
) error {
	leases := lease.New(client, meta.ChainID, lease.Options{TTL: s.PoolTTL, Keep: s.RedisKeep, Replicas: s.RedisWaitReplicas})
	for {
		held, err := s.holdPool(ctx, leases, probes, log)
		if ctx.Err() != nil && held == nil {
			return nil
		}
		if err != nil {
			return err
		}
		began := time.Now()
		keep.lease = held
		keep.store, err = store.OpenTable(ctx, held, meta, store.Options{})
		unread := err != nil && !unusable(err)
		if err == nil {
			log.Info("this process serves the pool", "token", held.Token(), "read", time.Since(began).Round(time.Millisecond))
			err = errors.Join(life(keep), keep.store.Close())
		}
		releasing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		err = errors.Join(err, held.Release(releasing))
		cancel()
		switch {
		case ctx.Err() != nil:
			return err
		case unread:
			log.Warn("the pool could not be read; it is tried again", "err", err)
			standByFor(ctx, standbyPause)
		case errors.Is(err, errNoAnswer): // it had answers when the process began
			log.Warn("the pool is left to whoever has a node, and tried again", "err", err)
			standByFor(ctx, standbyPause)
		case errors.Is(err, lease.ErrLost) || errors.Is(err, node.ErrLeaseLost):
			log.Warn("another process may serve the pool now", "err", err)
		default:
			return err
		}
	}
}

// unusable reports whether a store is of no use to this process, however often it is read.
func unusable(err error) bool {
	_, other := errors.AsType[*store.MismatchError](err)
	return other || errors.Is(err, store.ErrNotStore) || errors.Is(err, store.ErrDamaged) || errors.Is(err, lease.ErrGone)
}

// standByFor lets some time pass, or the context end.
func standByFor(ctx context.Context, pause time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(pause):
	}
}

// holdPool waits until the pool is this process's. An error is the context's, or says why it cannot listen.
func (s leaseSettings) holdPool(ctx context.Context, leases *lease.Leases, probes probesAt, log *slog.Logger) (held *lease.Lease, err error) {
	trying := func() error {
		held, err = leases.Acquire(ctx, poolName)
		if other, taken := errors.AsType[*lease.HeldError](err); taken {
			return errors.New("the pool is served by " + other.By)
		}
		return err
	}
	waits := waiting{status: "stands by: ", pause: standbyPause, told: func(why, probes string) {
		log.Info("this process stands by", "why", why, "probes", probes)
	}}
	return held, waits.until(ctx, trying, func(error) bool { return true }, probes, log)
}

// waiting is what a process says of itself while it cannot begin yet.
type waiting struct {
	status string // before the reason, in its probes
	pause  time.Duration
	told   func(why, probes string) // once for each reason
}

// until tries again and again, as long as it fails in a way that is waited for. Meanwhile the process says to whoever asks that it lives,
// and is not ready. An error is the context's, or that of a try, or says why it cannot listen.
func (w waiting) until(ctx context.Context, try func() error, worth func(error) bool, probes probesAt, log *slog.Logger) error {
	err := try()
	if err == nil || !worth(err) {
		return err
	}
	server, listener, listening := probes(ctx, log)
	if listening != nil {
		return listening
	}
	var why atomic.Value
	serving, stop := context.WithCancel(ctx)
	var group errgroup.Group
	at := ""
	if server != nil {
		at = "http://" + listener.Addr().String()
		w.mount(server, &why)
		group.Go(func() error { return server.Serve(serving, listener) })
	}
	defer func() {
		stop()
		_ = group.Wait() // it ends with its context
	}()
	for said := ""; err != nil && worth(err); err = try() {
		text := err.Error()
		if why.Store(text); text != said {
			w.told(text, at)
			said = text
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(w.pause):
		}
	}
	return err
}

// poolName is what the lease of the chain's pool is called.
const poolName = "pool"

// probesAt makes the server of a process that stands by, and its listener; nil: it has none.
type probesAt func(ctx context.Context, log *slog.Logger) (*edge.Server, net.Listener, error)

// probes are on the port on which JSON-RPC is served later.
func (s rpcSettings) probes(ctx context.Context, log *slog.Logger) (*edge.Server, net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.RPCAddr)
	if err != nil {
		return nil, nil, badSetting("--rpc_addr: %w", err)
	}
	return edge.NewServer(edge.Config{Hosts: edge.Hosts{Names: s.RPCVhosts}, Logger: log}), listener, nil
}

// mount says to whoever asks that the process lives, and what it waits for.
func (w waiting) mount(server *edge.Server, why *atomic.Value) {
	waits := edge.Probe(func(context.Context) (any, bool) {
		text, _ := why.Load().(string)
		return map[string]string{"status": w.status + text}, false
	})
	server.Handle("/livez", edge.Open, edge.Probe(func(context.Context) (any, bool) { return map[string]bool{"ok": true}, true }))
	server.Handle("/readyz", edge.Open, waits)
	server.Handle("/health", edge.Open, waits)
}
