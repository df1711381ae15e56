//go:build !nodev

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"baler/devchain"
	"baler/load"
)

// demoCommand runs the whole way of a user operation on an embedded chain.
type demoCommand struct {
	Ops       int           `help:"Operations to send, over all EntryPoints." default:"200" group:"Demo"`
	Accounts  int           `help:"Accounts that send them." default:"20" group:"Demo"`
	BlockTime time.Duration `help:"Time between blocks." default:"1s" group:"Demo"`
	JSON      bool          `help:"Print one JSON object instead of the table." name:"json" group:"Demo"`

	entryPointSettings
	bundlerSettings
}

// Help is shown with the flags.
func (*demoCommand) Help() string {
	return `Examples:
  baler demo
  baler demo --ops 500 --accounts 40 --num-signers 4
  baler demo --json | jq .totals`
}

// Run starts the stack, sends the load through the bundler's public JSON-RPC, and prints the report.
func (c *demoCommand) Run(ctx context.Context, out console) error {
	versions, err := c.versions()
	if err != nil {
		return err
	}
	if c.Accounts < len(versions) || c.Ops < c.Accounts {
		return badSetting("--ops %d --accounts %d: want at least one account for each of %d EntryPoints, and one operation for each account",
			c.Ops, c.Accounts, len(versions))
	}
	if c.Senders.NumSigners == 0 {
		c.Senders.NumSigners = 2
	}
	c.RPC.RPCAddr = "127.0.0.1:0"
	c.Admin.forDevelopment()
	c.Log.LogLevel = max(c.Log.LogLevel, slog.LevelWarn)
	stack, err := startStack(ctx, stackSettings{
		chain:       devchain.Config{Mining: devchain.Interval, BlockTime: c.BlockTime, FundedKeys: signerKeys + 1},
		entryPoints: c.entryPointSettings, bundler: c.bundlerSettings,
	}, out, c.Log.logger(out))
	if err != nil {
		return err
	}
	printf(out.err, `
Live page while it runs: %s
  What matters now says whether all is well. Bundle senders shows the machine, with each sender's disc in its state.
  Mempool shows what waits and what it pays, Bundles what was sent and earned. Put an operation's hash into One operation
  to read its story. It ends with the demo; "baler dev" stays until Ctrl-C.

`, stack.bundler.operatorsURL)
	report, err := load.Run(ctx, c.load(stack, out))
	if err = errors.Join(err, stack.close()); err != nil {
		return err
	}
	if err := printReport(report, c.JSON, out); err != nil {
		return err
	}
	if !report.OK(c.Ops) {
		return fmt.Errorf("%w: %d of %d included, %d failed", errNotAllIncluded, report.Totals.Included, c.Ops, report.Totals.Failed)
	}
	return nil
}

func (c *demoCommand) load(stack *stack, out console) load.Config {
	contracts := stack.chain.Contracts()
	config := load.Config{
		BundlerURL: stack.bundler.url, NodeURL: stack.chain.HTTPURL(), Ops: c.Ops, Accounts: c.Accounts,
		FundingKey: stack.chain.Keys()[signerKeys], Multicall3: contracts.Multicall3, SponsoredPercent: 25,
		Progress: progress(c.Ops, out, c.JSON),
	}
	for _, ep := range stack.entryPoints {
		config.Targets = append(config.Targets, load.Target{
			EntryPoint: ep, Factory: contracts.AccountFactories[ep.Version],
			Paymaster: contracts.Paymasters[ep.Version], PaymasterSigner: contracts.PaymasterSigner,
		})
	}
	return config
}
