package main

import (
	"context"
	"io"
	"log/slog"
	"strings"

	"baler/entrypoint"
	"baler/node"
	"baler/remote"
	"baler/signer"

	"github.com/alecthomas/kong"
)

// configCommand looks at settings without running anything.
type configCommand struct {
	Print configPrintCommand `cmd:"" help:"Print the settings of 'baler node', 'pool', 'rpc' or 'builder' as they are in effect, each with where it comes from; secrets are hidden."`
	Check configCheckCommand `cmd:"" help:"Check the settings of 'baler node', 'pool', 'rpc' or 'builder': the node, the keys and all else that starting it would, without starting it."`
}

// configPrintCommand prints the settings of a command that runs; of 'baler node' if none is named.
type configPrintCommand struct {
	Node    printNode    `cmd:"" default:"withargs" help:"Those of 'baler node'; the word may be left out."`
	Pool    printPool    `cmd:"" help:"Those of 'baler pool'."`
	RPC     printRPC     `cmd:"" name:"rpc" help:"Those of 'baler rpc'."`
	Builder printBuilder `cmd:"" help:"Those of 'baler builder'."`
}

// What is printed takes the settings of the command itself.
type (
	printNode    struct{ nodeCommand }
	printPool    struct{ poolCommand }
	printRPC     struct{ rpcCommand }
	printBuilder struct{ builderCommand }
)

// Run prints the settings.
func (*printNode) Run(parsed *kong.Context, out console) error { return printInEffect(parsed, out) }

// Run prints the settings.
func (*printPool) Run(parsed *kong.Context, out console) error { return printInEffect(parsed, out) }

// Run prints the settings.
func (*printRPC) Run(parsed *kong.Context, out console) error { return printInEffect(parsed, out) }

// Run prints the settings.
func (*printBuilder) Run(parsed *kong.Context, out console) error { return printInEffect(parsed, out) }

func printInEffect(parsed *kong.Context, out console) error {
	var page strings.Builder
	page.WriteString("# The settings in effect. Flags come before the environment, that before the file, that before the defaults.\n")
	printSettings(&page, settingsOf(parsed))
	_, err := io.WriteString(out.out, page.String())
	return err
}

// configCheckCommand checks the settings of a command that runs; of 'baler node' if none is named.
type configCheckCommand struct {
	Node    checkNode    `cmd:"" default:"withargs" help:"Those of 'baler node'; the word may be left out."`
	Pool    checkPool    `cmd:"" help:"Those of 'baler pool'."`
	RPC     checkRPC     `cmd:"" name:"rpc" help:"Those of 'baler rpc'."`
	Builder checkBuilder `cmd:"" help:"Those of 'baler builder'."`
}

// checkSettings say how far a check goes.
type checkSettings struct {
	Offline bool `help:"Ask neither the node nor whoever keeps the keys."`
}

// What is checked takes the settings of the command itself.
type (
	checkNode struct {
		checkSettings `group:"Check"`
		nodeCommand
	}
	checkPool struct {
		checkSettings `group:"Check"`
		poolCommand
	}
	checkRPC struct {
		checkSettings `group:"Check"`
		rpcCommand
	}
	checkBuilder struct {
		checkSettings `group:"Check"`
		builderCommand
	}
)

// Run makes the checks of a start.
func (c *checkNode) Run(ctx context.Context, out console) error {
	s := start{settings: c.bundlerSettings, at: c.nodeSettings, eps: c.entryPointSettings, leases: c.Leases, keys: c.keys, serves: true}
	return s.check(ctx, c.Offline, out, c.keeps, func() error { return c.Funding.check(ctx, c.Offline, c.Keys, c.Leases.leased()) })
}

// Run makes the checks of a start.
func (c *checkPool) Run(ctx context.Context, out console) error {
	settings, leases, err := c.whole()
	if err != nil {
		return err
	}
	s := start{settings: settings, at: c.nodeSettings, eps: c.entryPointSettings, leases: leases}
	return s.check(ctx, c.Offline, out, func() error {
		_, err := c.server(slog.New(slog.DiscardHandler))
		return err
	})
}

// Run makes the checks of a start.
func (c *checkRPC) Run(ctx context.Context, out console) error {
	settings, err := c.whole()
	if err != nil {
		return err
	}
	s := start{settings: settings, at: c.nodeSettings, eps: c.entryPointSettings, serves: true}
	return s.check(ctx, c.Offline, out, c.poolURLs.check)
}

// Run makes the checks of a start.
func (c *checkBuilder) Run(ctx context.Context, out console) error {
	settings, err := c.whole()
	if err != nil {
		return err
	}
	s := start{settings: settings, at: c.nodeSettings, eps: c.entryPointSettings, leases: c.leases(), keys: c.keys}
	return s.check(ctx, c.Offline, out, c.poolURLs.check, func() error { return c.Funding.check(ctx, c.Offline, c.Keys, c.leases().leased()) })
}

// check makes the client of the pool, and asks nobody.
func (s poolURLs) check() error {
	_, err := s.client(remote.ClientConfig{Logger: slog.New(slog.DiscardHandler)})
	return err
}

// check opens the funding key, unless that would ask KMS and nobody is to be asked.
func (s fundingSettings) check(ctx context.Context, offline bool, keys keySettings, leased bool) error {
	if offline && s.FundingKMSKeyID != "" {
		_, _, err := s.levels()
		return err
	}
	_, err := s.open(ctx, keys, leased)
	return err
}

// start is what a process would begin with.
type start struct {
	settings bundlerSettings
	at       nodeSettings
	eps      entryPointSettings
	leases   leaseSettings
	keys     func(context.Context) ([]signer.Signer, error) // nil: it has none
	serves   bool                                           // JSON-RPC, to the public
}

// check makes the checks of a start, and says what it has found. more are those that the command has of its own.
func (s start) check(ctx context.Context, offline bool, out console, more ...func() error) error {
	log := s.settings.Log.logger(out)
	var keys []signer.Signer
	var err error
	if !offline && s.keys != nil {
		if keys, err = s.keys(ctx); err != nil {
			return err
		}
	}
	for _, check := range append(more, s.settings.Traces.check, func() error { return s.redis(ctx, offline) }) {
		if err := check(); err != nil {
			return err
		}
	}
	chainID, entryPoints := uint64(1), []entrypoint.EntryPoint{}
	if offline {
		_, err = s.eps.versions()
	} else {
		chainID, entryPoints, err = s.node(ctx, log)
	}
	if err != nil {
		return err
	}
	settings := s.settings
	settings.Senders.NumSigners = min(settings.Senders.NumSigners, len(keys)) // how many keys there are is not known offline
	if _, err := settings.nodeConfig(chainID, entryPoints, keys, log); err != nil {
		return err
	}
	if s.serves {
		if _, err := settings.RPC.config(nil, log); err != nil {
			return err
		}
	}
	if err := settings.Admin.check(); err != nil {
		return err
	}
	printf(out.out, "The settings are sound.\n")
	if offline {
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

// redis looks for the Redis of the settings.
func (s start) redis(ctx context.Context, offline bool) error {
	if !s.leases.leased() {
		return nil
	}
	client, err := s.leases.open()
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	if offline {
		return nil
	}
	if err := s.leases.check(client).Run(ctx); err != nil {
		return badSetting("--redis_url: %w", err)
	}
	return nil
}

// node asks the node what a start would.
func (s start) node(ctx context.Context, log *slog.Logger) (chainID uint64, entryPoints []entrypoint.EntryPoint, err error) {
	r, err := reachOnce(ctx, s.at, s.eps, log)
	if err != nil {
		return 0, nil, err
	}
	defer r.close()
	if _, err := s.settings.Relay.senders(r.meta.ChainID, r.client, log); err != nil {
		return 0, nil, err
	}
	err = s.settings.Aggregator.serve(&node.Config{ChainID: r.meta.ChainID}, r.entryPoints, r.client)
	return r.meta.ChainID, r.entryPoints, err
}
