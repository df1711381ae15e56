package main

import (
	"context"
	"errors"
)

// nodeCommand runs the bundler against a node.
type nodeCommand struct {
	nodeSettings `group:"Node"`

	Keys          keySettings     `embed:"" group:"Keys"`
	Funding       fundingSettings `embed:"" group:"Funding"`
	storeSettings `group:"Store"`
	entryPointSettings
	bundlerSettings
}

// Run runs until the context ends.
func (c *nodeCommand) Run(ctx context.Context, out console) error {
	keys, err := c.Keys.open(ctx, false)
	if err != nil {
		return err
	}
	if keys, err = c.Senders.choose(keys); err != nil {
		return err
	}
	funds, err := c.Funding.open(ctx, c.Keys)
	if err != nil {
		return err
	}
	log := c.Log.logger(out)
	client, heads, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	if heads != nil {
		defer heads.Close()
	}
	entryPoints, err := c.deployed(ctx, client)
	if err != nil {
		return err
	}
	kept, err := c.open(ctx, client)
	if err != nil {
		return err
	}
	b, err := startBundler(ctx, c.bundlerSettings, client, heads, entryPoints, keys, funds, kept, out, log)
	if err != nil {
		return errors.Join(err, kept.Close())
	}
	log.Info("baler is running", "rpc", b.url, "operators", b.operatorsURL, "node", client.Origin(), "senders", len(keys), "entry_points", len(entryPoints))
	return errors.Join(b.wait(), kept.Close())
}
