package load

import (
	"context"
	"fmt"
	"time"

	"baler/userop"

	"github.com/holiman/uint256"
)

// sampleFees is how many times today's fees an operation to be sent by hand offers: it may be sent much later, and in a
// bundle that has to be replaced.
const sampleFees = 3

// Sample makes an account's first operations, one of each of cfg.Accounts new accounts, ready to be sent by hand: they are not
// sent. A paymaster pays for them, so that nothing has to happen on the chain before. Of the configuration the URLs and
// the first target count, which must have a paymaster.
func Sample(ctx context.Context, cfg Config) ([]*userop.UserOperation, error) {
	cfg.Targets, cfg.Ops, cfg.SponsoredPercent = cfg.Targets[:min(len(cfg.Targets), 1)], cfg.Accounts, 100
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	r, err := begin(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer r.end()
	accounts, err := r.prepare(ctx)
	if err != nil {
		return nil, fmt.Errorf("prepare accounts: %w", err)
	}
	target := &cfg.Targets[0]
	var ops []*userop.UserOperation
	for _, a := range accounts {
		op, err := r.build(ctx, a, target, true)
		if err != nil {
			return nil, err
		}
		op.CallData = encodeExecute(r.to, 0) // the account has no money
		for _, fee := range []*uint256.Int{&op.MaxFeePerGas, &op.MaxPriorityFeePerGas} {
			fee.Mul(fee, uint256.NewInt(sampleFees))
		}
		if err := r.limitGas(ctx, target, op, time.Now().Add(r.cfg.RequestTimeout)); err != nil {
			return nil, fmt.Errorf("gas limits: %w", err)
		}
		if err := r.sign(ctx, a, target, op); err != nil {
			return nil, err
		}
		ops = append(ops, op)
	}
	return ops, nil
}
