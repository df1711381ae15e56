package main

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"baler/entrypoint"
	"baler/load"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/schollz/progressbar/v3"
)

// errNotAllIncluded is the demo's failure.
var errNotAllIncluded = errors.New("not every operation was included")

// loadCommand is the demo's load on its own, for any bundler.
type loadCommand struct {
	URL              string  `help:"URL of the bundler." name:"url" placeholder:"URL"`
	Node             string  `help:"URL of the node." placeholder:"URL"`
	EntryPoint       string  `help:"EntryPoint: a version (0.6 to 0.9) or its canonical address." default:"0.8" placeholder:"ADDRESS"`
	Factory          string  `help:"A SimpleAccountFactory for the EntryPoint. Default: the embedded chain's." placeholder:"ADDRESS"`
	Paymaster        string  `help:"A VerifyingPaymaster for the EntryPoint that sponsors some of the operations." placeholder:"ADDRESS"`
	PaymasterKey     string  `help:"Private key of the paymaster's verifying signer." placeholder:"KEY"`
	FundingKey       string  `help:"Private key that pays for the accounts. Default: a funded key of the embedded chain." placeholder:"KEY"`
	Ops              int     `help:"Operations to send." default:"200"`
	Accounts         int     `help:"Accounts that send them." default:"20"`
	Seed             string  `help:"Makes the accounts' keys: the same seed finds the same accounts again." placeholder:"TEXT"`
	Rate             float64 `help:"Operations sent per second; 0: as fast as the accounts allow." default:"0"`
	SponsoredPercent int     `help:"Share of the operations that the paymaster pays for." default:"25"`
	JSON             bool    `help:"Print one JSON object instead of the table." name:"json"`
}

// Run sends the load and prints the report.
func (c *loadCommand) Run(ctx context.Context, out console) error {
	config, err := c.config(out)
	if err != nil {
		return err
	}
	report, err := load.Run(ctx, config)
	if errors.Is(err, load.ErrConfig) {
		return settingsError{err}
	}
	if err != nil {
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

func (c *loadCommand) config(out console) (load.Config, error) {
	config := load.Config{
		BundlerURL: c.URL, NodeURL: c.Node, Ops: c.Ops, Accounts: c.Accounts, OwnerSeed: c.Seed, Rate: c.Rate,
		SponsoredPercent: c.SponsoredPercent, Progress: progress(c.Ops, out, c.JSON),
	}
	switch {
	case c.URL == "":
		return config, badSetting("--url is missing: the URL of the bundler")
	case c.Node == "":
		return config, badSetting("--node is missing: the URL of the node")
	}
	target := load.Target{}
	var err error
	if target.EntryPoint, err = parseEntryPoint(c.EntryPoint); err != nil {
		return config, err
	}
	if target.Factory, err = optionalAddress("--factory", c.Factory); err != nil {
		return config, err
	}
	if c.Factory == "" {
		if target.Factory, err = developmentFactory(target.EntryPoint.Version); err != nil {
			return config, err
		}
	}
	if target.Paymaster, err = optionalAddress("--paymaster", c.Paymaster); err != nil {
		return config, err
	}
	if c.PaymasterKey != "" {
		if target.PaymasterSigner, err = privateKey("--paymaster_key", c.PaymasterKey); err != nil {
			return config, err
		}
	}
	if c.FundingKey == "" {
		config.FundingKey, err = developmentFundingKey()
	} else {
		config.FundingKey, err = privateKey("--funding_key", c.FundingKey)
	}
	if err != nil {
		return config, err
	}
	config.Targets = []load.Target{target}
	return config, nil
}

// parseEntryPoint reads a version, or the canonical address of one.
func parseEntryPoint(text string) (entrypoint.EntryPoint, error) {
	for _, version := range userop.Versions() {
		ep := entrypoint.Canonical(version)
		if text == version.String() || common.IsHexAddress(text) && common.HexToAddress(text) == ep.Address {
			return ep, nil
		}
	}
	return entrypoint.EntryPoint{}, badSetting("--entry_point: have %q, want 0.6, 0.7, 0.8, 0.9 or the canonical address of one of them", text)
}

// privateKey reads a key. The error does not hold it.
func privateKey(flag, text string) (*ecdsa.PrivateKey, error) {
	key, err := crypto.HexToECDSA(strings.TrimPrefix(text, "0x"))
	if err != nil {
		return nil, badSetting("%s: not a 32-byte secp256k1 private key in hex", flag)
	}
	return key, nil
}

// progress draws a bar of included operations while the load runs, on a terminal only.
func progress(ops int, out console, quiet bool) func(load.Progress) {
	if quiet || !isTerminal(out.err) {
		return nil
	}
	bar := progressbar.NewOptions(ops, progressbar.OptionSetWriter(out.err), progressbar.OptionShowCount(),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(40), progressbar.OptionSetDescription(string(load.Preparing)))
	return func(p load.Progress) {
		bar.Describe(fmt.Sprintf("%s: %d accepted", p.Stage, p.Accepted))
		_ = bar.Set(p.Included)
	}
}

func printReport(report *load.Report, asJSON bool, out console) error {
	if asJSON {
		encoder := json.NewEncoder(out.out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(report)
	}
	return report.WriteTable(out.out)
}
