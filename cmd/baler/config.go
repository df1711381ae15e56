package main

import (
	"context"
	"errors"
	"io"
	"strings"

	"baler/entrypoint"
	"baler/node"
	"baler/signer"

	"github.com/alecthomas/kong"
)

// configCommand looks at settings without running anything.
type configCommand struct {
	Print configPrintCommand `cmd:"" help:"Print the settings of 'baler node' as they are in effect, each with where it comes from; secrets are hidden."`
	Check configCheckCommand `cmd:"" help:"Check the settings of 'baler node': the node, the keys and all else that starting it would, without starting it."`
}

// configPrintCommand takes the settings of `baler node`.
type configPrintCommand struct{ nodeCommand }

// Run prints the settings.
func (c *configPrintCommand) Run(parsed *kong.Context, out console) error {
	var page strings.Builder
	page.WriteString("# The settings in effect. Flags come before the environment, that before the file, that before the defaults.\n")
	printSettings(&page, settingsOf(parsed))
	_, err := io.WriteString(out.out, page.String())
	return err
}

// configCheckCommand takes the settings of `baler node`.
type configCheckCommand struct {
	Offline bool `help:"Ask neither the node nor whoever keeps the keys." group:"Check"`

	nodeCommand
}

// checkFunding opens the funding key, unless that would ask KMS and nobody is to be asked.
func (c *configCheckCommand) checkFunding(ctx context.Context) error {
	if c.Offline && c.Funding.FundingKMSKeyID != "" {
		_, _, err := c.Funding.levels()
		return err
	}
	_, err := c.Funding.open(ctx, c.Keys, c.Leases.leased())
	return err
}

// Run makes the checks of a start.
func (c *configCheckCommand) Run(ctx context.Context, out console) error {
	log := c.Log.logger(out)
	var keys []signer.Signer
	var err error
	if !c.Offline {
		if keys, err = c.keys(ctx); err != nil {
			return err
		}
	}
	if err := errors.Join(c.keeps(), c.Traces.check(), c.checkFunding(ctx)); err != nil {
		return err
	}
	redis, err := c.Leases.open()
	if err != nil {
		return err
	}
	if redis != nil {
		defer func() { _ = redis.Close() }()
		if !c.Offline {
			if err := c.Leases.check(redis).Run(ctx); err != nil {
				return badSetting("--redis_url: %w", err)
			}
		}
	}
	chainID, entryPoints := uint64(1), []entrypoint.EntryPoint{}
	if !c.Offline {
		client, heads, err := c.dial(ctx, log)
		if err != nil {
			return err
		}
		defer client.Close()
		if heads != nil {
			defer heads.Close()
		}
		if chainID, err = client.ChainID(ctx); err != nil {
			return noAnswer("--node_http", err)
		}
		if entryPoints, err = c.deployed(ctx, client); err != nil {
			return err
		}
		if _, err := c.Relay.senders(chainID, client, log); err != nil {
			return err
		}
		if err := c.Aggregator.serve(&node.Config{ChainID: chainID}, entryPoints, client); err != nil {
			return err
		}
	} else if _, err := c.versions(); err != nil {
		return err
	}
	settings := c.bundlerSettings
	settings.Senders.NumSigners = min(settings.Senders.NumSigners, len(keys)) // how many keys there are is not known offline
	if _, err := settings.nodeConfig(chainID, entryPoints, keys, log); err != nil {
		return err
	}
	if _, err := c.RPC.config(nil, log); err != nil {
		return err
	}
	if err := c.Admin.check(); err != nil {
		return err
	}
	printf(out.out, "The settings are sound.\n")
	if c.Offline {
		printf(out.out, "Not looked at: the node, the keys, whether the ports are free.\n")
		return nil
	}
	printf(out.out, "  chain id     %d\n", chainID)
	for _, ep := range entryPoints {
		printf(out.out, "  EntryPoint   %s  v%s\n", ep.Address.Hex(), ep.Version)
	}
	for _, key := range keys {
		printf(out.out, "  key          %s\n", key.Address().Hex())
	}
	return nil
}
