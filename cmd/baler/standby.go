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
// it waits; then it goes on with everything that was accepted.
func (s leaseSettings) standBy(ctx context.Context, client redis.UniversalClient, meta store.Meta, log *slog.Logger, keep kept,
	at rpcSettings, life func(kept) error,
) error {
	leases := lease.New(client, meta.ChainID, lease.Options{TTL: s.PoolTTL, Keep: s.RedisKeep, Replicas: s.RedisWaitReplicas})
	for {
		held, err := s.holdPool(ctx, leases, at, log)
		if ctx.Err() != nil && held == nil {
			return nil
		}
		if err != nil {
			return err
		}
		began := time.Now()
		keep.lease = held
		keep.store, err = store.OpenTable(ctx, held, meta, store.Options{})
		if err == nil {
			log.Info("this process serves the pool", "token", held.Token(), "read", time.Since(began).Round(time.Millisecond))
			err = errors.Join(life(keep), keep.store.Close())
		}
		releasing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		err = errors.Join(err, held.Release(releasing))
		cancel()
		if ctx.Err() != nil || !errors.Is(err, lease.ErrLost) && !errors.Is(err, node.ErrLeaseLost) {
			return err
		}
		log.Warn("another process may serve the pool now", "err", err)
	}
}

// holdPool waits until the pool is this process's. Meanwhile it says to whoever asks that it lives, and is not ready. An error is the
// context's, or says why it cannot listen.
func (s leaseSettings) holdPool(ctx context.Context, leases *lease.Leases, at rpcSettings, log *slog.Logger) (*lease.Lease, error) {
	held, err := leases.Acquire(ctx, poolName)
	if err == nil {
		return held, nil
	}
	listener, listening := (&net.ListenConfig{}).Listen(ctx, "tcp", at.RPCAddr)
	if listening != nil {
		return nil, badSetting("--rpc_addr: %w", listening)
	}
	var why atomic.Value
	serving, stop := context.WithCancel(ctx)
	var group errgroup.Group
	group.Go(func() error { return standbyProbes(at, &why, log).Serve(serving, listener) })
	defer func() {
		stop()
		_ = group.Wait() // it ends with its context
	}()
	for said := ""; err != nil; held, err = leases.Acquire(ctx, poolName) {
		text := err.Error()
		if other, taken := errors.AsType[*lease.HeldError](err); taken {
			text = "the pool is served by " + other.By
		}
		if why.Store(text); text != said {
			log.Info("this process stands by", "why", text, "probes", "http://"+listener.Addr().String())
			said = text
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(standbyPause):
		}
	}
	return held, nil
}

// poolName is what the lease of the chain's pool is called.
const poolName = "pool"

// standbyProbes is the server of a process that stands by.
func standbyProbes(at rpcSettings, why *atomic.Value, log *slog.Logger) *edge.Server {
	server := edge.NewServer(edge.Config{Hosts: edge.Hosts{Names: at.RPCVhosts}, Logger: log})
	waiting := edge.Probe(func(context.Context) (any, bool) {
		text, _ := why.Load().(string)
		return map[string]string{"status": "stands by: " + text}, false
	})
	server.Handle("/livez", edge.Open, edge.Probe(func(context.Context) (any, bool) { return map[string]bool{"ok": true}, true }))
	server.Handle("/readyz", edge.Open, waiting)
	server.Handle("/health", edge.Open, waiting)
	return server
}
