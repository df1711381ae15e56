package main

import (
	"context"
	"errors"
)

// nodeCommand runs the bundler against a node.
type nodeCommand struct {
	NodeHTTP string `help:"URL of the node's JSON-RPC over HTTP." name:"node-http" placeholder:"URL" group:"Node"`
	NodeWS   string `help:"URL of the node's WebSocket, for new heads; without it heads are polled." name:"node-ws" placeholder:"URL" group:"Node"`

	Keys          keySettings `embed:"" group:"Keys"`
	storeSettings `group:"Store"`
	entryPointSettings
	bundlerSettings
}

// Run runs until the context ends.
func (c *nodeCommand) Run(ctx context.Context, out console) error {
	if c.NodeHTTP == "" {
		return badSetting("--node_http is missing: the URL of the node, such as http://127.0.0.1:8545")
	}
	keys, err := c.Keys.open(ctx, false)
	if err != nil {
		return err
	}
	if keys, err = c.Senders.choose(keys); err != nil {
		return err
	}
	log := c.Log.logger(out)
	client, heads, err := dialNode(ctx, c.NodeHTTP, c.NodeWS)
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
	b, err := startBundler(ctx, c.bundlerSettings, client, heads, entryPoints, keys, kept, out, log)
	if err != nil {
		return errors.Join(err, kept.Close())
	}
	log.Info("baler is running", "rpc", b.url, "operators", b.operatorsURL, "node", client.Origin(), "senders", len(keys), "entry_points", len(entryPoints))
	return errors.Join(b.wait(), kept.Close())
}
