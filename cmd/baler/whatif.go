package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"baler/gas"
	"baler/proposer"
	"baler/store"
)

// whatifCommand replays what bundles were chosen from under other fee policies.
type whatifCommand struct {
	FromHistory                      string   `help:"Data directory of a bundler that is stopped, or the store in it." placeholder:"DIR" required:""`
	PriorityFeeModeKind              string   `help:"priority_fee_increase_percent or base_fee_percent." default:"priority_fee_increase_percent" placeholder:"KIND"`
	PriorityFeeModeValue             []uint64 `help:"The N of the priority fee mode; several are replayed one after the other." default:"0,10,25,50" placeholder:"N"`
	BundleBaseFeeOverheadPercent     uint64   `help:"Added to the next base fee for the bundle's max fee, in percent." default:"27"`
	BundlePriorityFeeOverheadPercent uint64   `help:"Added to the oracle's priority fee, in percent." default:"0"`
	MaxBundleSize                    int      `help:"Most operations of a bundle." default:"128"`
	MaxBundleGas                     uint64   `help:"Most gas that the operations of a bundle may use together, by their limits." default:"25000000"`
}

// Run prints a row for what was, and one for each policy.
func (c *whatifCommand) Run(ctx context.Context, out console) error {
	s, err := store.OpenReadOnly(c.FromHistory)
	if errors.Is(err, store.ErrLocked) {
		err = fmt.Errorf("%w: stop the bundler first", err)
	}
	if err != nil {
		return badSetting("--from-history: %w", err)
	}
	return errors.Join(c.replay(ctx, s, out), s.Close())
}

func (c *whatifCommand) replay(ctx context.Context, s *store.Store, out console) error {
	table := tabwriter.NewWriter(out.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "policy\tmoments\tbundles\toperations\tnever\tblocks waited\tmargin, wei\t")
	row := func(name string, policy *gas.Policy) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		w := proposer.WhatIf{Policy: policy, MaxBundleSize: c.MaxBundleSize, MaxBundleGas: c.MaxBundleGas}
		r, err := w.Replay(s.Moments())
		if err != nil {
			return err
		}
		mean := 0.0
		if r.Operations > 0 {
			mean = float64(r.Blocks) / float64(r.Operations)
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%.1f\t%v\t\n", name, r.Moments, r.Bundles, r.Operations, r.Never, mean, r.Margin)
		return nil
	}
	if err := row("as it was", nil); err != nil {
		return err
	}
	for _, value := range c.PriorityFeeModeValue {
		mode, err := gas.ParsePriorityFeeMode(c.PriorityFeeModeKind, value)
		if err != nil {
			return badSetting("--priority_fee_mode_kind: %w", err)
		}
		policy := gas.Policy{
			Mode: mode, BaseFeeOverheadPercent: c.BundleBaseFeeOverheadPercent, PriorityFeeOverheadPercent: c.BundlePriorityFeeOverheadPercent,
		}
		if err := row(mode.String(), &policy); err != nil {
			return err
		}
	}
	return table.Flush()
}
