package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"baler/lease"
	"baler/node"
	"baler/store"

	"github.com/redis/go-redis/v9"
)

// standbyPause is the time between two tries to serve the pool.
const standbyPause = 200 * time.Millisecond

// standBy lives the bundler's life whenever this process holds the pool of the chain, until the context ends. While another one does,
// it waits; then it goes on with everything that was accepted.
func (s leaseSettings) standBy(ctx context.Context, client redis.UniversalClient, meta store.Meta, log *slog.Logger, keep kept,
	life func(kept) error,
) error {
	leases := lease.New(client, meta.ChainID, lease.Options{TTL: s.PoolTTL, Keep: s.RedisKeep})
	for {
		held, err := s.holdPool(ctx, leases, log)
		if err != nil {
			return nil //nolint:nilerr // the context has ended, which is what was asked for
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

// holdPool waits until the pool is this process's. An error is the context's.
func (s leaseSettings) holdPool(ctx context.Context, leases *lease.Leases, log *slog.Logger) (*lease.Lease, error) {
	for said := ""; ; {
		held, err := leases.Acquire(ctx, "pool")
		if err == nil {
			return held, nil
		}
		why := err.Error()
		other, taken := errors.AsType[*lease.HeldError](err)
		if taken {
			why = "served by " + other.By
		}
		if why != said {
			log.Info("this process stands by", "why", why)
			said = why
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(standbyPause):
		}
	}
}
