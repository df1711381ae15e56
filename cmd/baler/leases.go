package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"baler/chain"
	"baler/funding"
	"baler/lease"
	"baler/node"
	"baler/store"

	"github.com/ethereum/go-ethereum/common"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

// redisSettings are about everything that is kept in Redis.
type redisSettings struct {
	RedisKeep time.Duration `help:"How long what nobody uses stays in Redis." default:"720h"`

	RedisWaitReplicas int `help:"How many replicas of Redis must have a lease, a journal's change or an operation before it counts; 0: the server that is asked alone. With Sentinels or a cluster, what no replica has is forgotten when one takes over." default:"0"`
}

// keyLeaseSettings say where keys are leased that several processes may use.
type keyLeaseSettings struct {
	RedisURL    []string      `help:"Redis that leases the keys and has their journals: redis://, rediss:// or unix://; several, or redis-cluster://, are a cluster; redis-sentinel://HOST:PORT/DB?master_name=NAME once for each sentinel. Without it the keys are this process's alone." name:"redis-url" placeholder:"URL" secret:""`
	LeaseTTL    time.Duration `help:"How long a key stays with a process that died or cannot reach Redis." default:"60s"`
	LeaseMargin time.Duration `help:"How long before that a process stops using the key." default:"10s"`
	redisSettings
}

// leaseSettings say so, and for how long the pool is a process's.
type leaseSettings struct {
	keyLeaseSettings

	PoolTTL time.Duration `help:"With --store=redis: how long the pool stays with a process that died or cannot reach Redis." name:"pool-lease-ttl" default:"3s"`
}

// leased says whether keys are leased.
func (s leaseSettings) leased() bool { return len(s.RedisURL) > 0 }

// open connects to Redis; nil if keys are not leased.
func (s leaseSettings) open() (redis.UniversalClient, error) {
	if !s.leased() {
		return nil, nil
	}
	if s.LeaseMargin <= 0 || s.LeaseMargin >= s.LeaseTTL/2 {
		return nil, badSetting("--lease_margin: have %s, want more than 0 and less than half of --lease_ttl, %s", s.LeaseMargin, s.LeaseTTL)
	}
	if s.PoolTTL < time.Second {
		return nil, badSetting("--pool_lease_ttl: have %s, want at least 1s", s.PoolTTL)
	}
	if s.RedisKeep < 10*s.LeaseTTL {
		return nil, badSetting("--redis_keep: have %s, want at least ten times --lease_ttl", s.RedisKeep)
	}
	if s.RedisWaitReplicas < 0 {
		return nil, badSetting("--redis_wait_replicas: have %d, want 0 or more", s.RedisWaitReplicas)
	}
	client, err := lease.Dial(s.RedisURL)
	if err != nil {
		return nil, badSetting("--redis_url: %w", err)
	}
	return client, nil
}

// holder returns what holds the keys of the chain.
func (s leaseSettings) holder(ctx context.Context, client redis.UniversalClient, meta store.Meta, log *slog.Logger) node.KeyHolder {
	for _, trouble := range lease.Doubts(ctx, client, s.RedisWaitReplicas) {
		log.Warn("redis may forget what is in it", "why", trouble)
	}
	leases := lease.New(client, meta.ChainID, lease.Options{TTL: s.LeaseTTL, Margin: s.LeaseMargin, Keep: s.RedisKeep, Replicas: s.RedisWaitReplicas})
	log.Info("keys are leased", "holder", leases.Holder(), "ttl", s.LeaseTTL)
	return &node.LeasedKeys{Leases: leases, Meta: meta}
}

// kept is what a bundler keeps, and where it has its keys from.
type kept struct {
	store *store.Store
	lease node.Lease     // of the pool, with what is in the store; nil: it is this process's alone
	keys  node.KeyHolder // nil: they are this process's alone
	most  int            // keys held at once; 0: all
	ttl   time.Duration  // of the keys' leases, where the pool is; 0: there are none

	checks []node.Check // of what it is kept in

	role role
}

// metaOf reads what a store of the node's chain is called.
func metaOf(ctx context.Context, client *chain.Client) (store.Meta, error) {
	chainID, err := client.ChainID(ctx)
	if err != nil {
		return store.Meta{}, noAnswer("--node_http", err)
	}
	genesis, err := client.Genesis(ctx)
	if err != nil {
		return store.Meta{}, noAnswer("--node_http", err)
	}
	return store.Meta{ChainID: chainID, Fingerprint: genesis}, nil
}

// executeLeased is execute for keys that are leased: a key that another process holds is not used.
func (t *treasury) executeLeased(ctx context.Context, jobs []job, meta store.Meta) (err error) {
	client, err := t.Leases.open()
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	holder := t.Leases.holder(ctx, client, meta, t.config.Log)
	committing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	held := make(map[common.Address]*node.HeldKey)
	var committers errgroup.Group
	defer func() {
		stop()
		err = errors.Join(err, committers.Wait())
		for _, key := range held {
			err = errors.Join(err, key.Store.Close(), key.Release(context.WithoutCancel(ctx)))
		}
	}()
	for _, j := range jobs {
		key, err := holder.Hold(ctx, j.key)
		switch {
		case errors.Is(err, lease.ErrYoung):
			return fmt.Errorf("%s: %w (try again after that)", j.key.Address(), err)
		case err != nil:
			return fmt.Errorf("%s: %w (drain it first)", j.key.Address(), err)
		}
		held[j.key.Address()] = key
		committers.Go(func() error { return key.Store.Run(committing) })
	}
	return t.pay(ctx, jobs, func(config *funding.Config) (err error) {
		key := held[config.Key.Address()]
		config.Valid = key.Lease.Valid
		config.Journal, err = key.Store.Journal(config.Key.Address())
		return err
	})
}

// check is a check of Redis for the probes. Without Redis no lease can be renewed, and keys stop being used one by one; operations
// are taken until then.
func (s leaseSettings) check(client redis.UniversalClient) node.Check {
	return node.Check{Name: "redis", Run: func(ctx context.Context) error {
		if client.Ping(ctx).Err() != nil { // its text may hold an address with a password
			return errors.New("redis does not answer: leases cannot be renewed")
		}
		return nil
	}}
}
