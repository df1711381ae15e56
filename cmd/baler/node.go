package main

import (
	"context"
	"errors"

	"baler/signer"
)

// keysGroup is the group of the settings of keys.
const keysGroup = "Keys"

// nodeCommand runs the bundler against a node.
type nodeCommand struct {
	nodeSettings `group:"Node"`

	Keys          keySettings     `embed:"" group:"Keys"` // keysGroup
	Leases        leaseSettings   `embed:"" group:"Leases"`
	Funding       fundingSettings `embed:"" group:"Funding"`
	storeSettings `group:"Store"`
	entryPointSettings
	bundlerSettings
}

// Run runs until the context ends.
func (c *nodeCommand) Run(ctx context.Context, out console) error {
	signals, stopSignals := hangups(out)
	defer stopSignals()
	keepHeapSmall(out.environ)
	var keep kept
	keys, err := c.keys(ctx)
	if err != nil {
		return err
	}
	funds, err := c.Funding.open(ctx, c.Keys, c.Leases.leased())
	if err != nil {
		return err
	}
	keep.most = c.Senders.NumSigners
	redis, err := c.Leases.open()
	if err != nil {
		return err
	}
	if redis != nil {
		defer func() { _ = redis.Close() }()
	}
	if err := c.keeps(); err != nil {
		return err
	}
	log := c.Log.logger(out)
	at, err := reach(ctx, c.nodeSettings, c.entryPointSettings, c.RPC.probes, log)
	if err != nil {
		return stopped(err)
	}
	defer at.close()
	if redis != nil {
		keep.keys, keep.ttl = c.Leases.holder(ctx, redis, at.meta, log), c.Leases.LeaseTTL
		keep.checks = append(keep.checks, c.Leases.check(redis))
	}
	life := func(keep kept) error {
		b, err := startBundler(ctx, c.bundlerSettings, at.client, at.heads, at.entryPoints, keys, funds, keep, out, log)
		if err != nil {
			return err
		}
		b.watchReload(signals, out, c.reload, keys, log)
		log.Info("baler is running", "rpc", b.url, "operators", b.operatorsURL, "node", at.client.Origin(), "senders", len(keys), "entry_points", len(at.entryPoints))
		return b.wait()
	}
	if c.Store == storeRedis {
		return c.Leases.standBy(ctx, redis, at.meta, log, keep, c.RPC.probes, life)
	}
	if keep.store, err = c.open(at.meta); err != nil {
		return err
	}
	return errors.Join(life(keep), keep.store.Close())
}

// stopped is the error of a start that came to nothing: none, if it was told to stop before its node was there.
func stopped(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// keeps refuses a store that the settings do not say enough of.
func (c *nodeCommand) keeps() error {
	if c.Store == storeRedis && !c.Leases.leased() {
		return badSetting("--store: redis needs --redis_url")
	}
	return nil
}

// keys opens the keys that may get a bundle sender. Of leased keys that is any, so many at a time as the settings say.
func (c *nodeCommand) keys(ctx context.Context) ([]signer.Signer, error) {
	keys, err := c.Keys.open(ctx, c.Leases.leased())
	if err != nil {
		return nil, err
	}
	chosen, err := c.Senders.choose(keys)
	if err != nil || c.Leases.leased() {
		return keys, err
	}
	return chosen, nil
}
