package proposer

import (
	"context"
	"errors"

	"baler/entrypoint"
	"baler/gas"

	"github.com/ethereum/go-ethereum/common"
)

// serves reports whether operations with the aggregator can be bundled; the zero address is none.
func (c *chooser) serves(aggregator common.Address) bool {
	if aggregator == (common.Address{}) {
		return true
	}
	if c.config.Aggregators == nil {
		return false
	}
	_, served := c.config.Aggregators.Gas(aggregator)
	return served
}

// draft puts the chosen operations in the order in which they are executed and has each group signed by its aggregator. It
// returns nil if operations had to be left out for that: the rest is to be drafted again.
func (p *Proposer) draft(ctx context.Context, req Request, ep entrypoint.EntryPoint, c *chooser, fees gas.Fees) (*Draft, error) {
	a := c.arrangement()
	d := &Draft{EntryPoint: ep, Beneficiary: req.Beneficiary, Fees: fees}
	if len(a.groups) > 1 || a.groups[0].aggregator != (common.Address{}) {
		if short := a.shortages(p.config.Aggregators, p.config.PreVerification); len(short) != 0 {
			c.wait(short)
			return nil, nil
		}
		groups, failed, err := a.sign(ctx, p.config.Aggregators, req.Head.Hash())
		if err != nil {
			return nil, err
		}
		if len(failed) != 0 {
			return nil, c.fail(failed)
		}
		d.Groups = groups
	}
	d.Ops, d.Authorizations = c.userOps(), c.authorizations()
	return d, nil
}

// arrangement groups the chosen operations by aggregator, and brings them into the order of execution.
func (c *chooser) arrangement() arrangement {
	places := make([]place, len(c.ops))
	for i, op := range c.ops {
		places[i] = placeOf(op)
	}
	a := arrange(places)
	if len(a.groups) == 1 {
		return a
	}
	ordered := make([]chosen, len(c.ops))
	for i, at := range a.order() {
		ordered[i] = c.ops[at]
		places[i] = placeOf(ordered[i])
	}
	c.ops = ordered
	return arrange(places)
}

func placeOf(op chosen) place {
	p := place{
		Operation: op.Operation, aggregator: op.validation.Aggregator, bundled: op.validation.Bundled,
		verificationGas: op.validation.VerificationGasUsed, signatureGas: op.validation.SignatureGas,
	}
	if p.bundled == nil {
		p.bundled = op.Op
	}
	return p
}

// wait leaves out operations that offer too little for the groups they would be in.
func (c *chooser) wait(short []shortage) {
	reasons := make(map[common.Hash]Skip, len(short))
	for _, s := range short {
		reasons[c.ops[s.at].Hash] = numbers(GroupTooSmall, s.have, s.want)
	}
	c.leave(reasons)
}

// leave skips operations of the bundle, each for its reason.
func (c *chooser) leave(reasons map[common.Hash]Skip) {
	for _, op := range c.ops {
		if reason, ok := reasons[op.Hash]; ok {
			c.skip(op.Operation, reason)
		}
	}
	c.keep(func(op chosen) bool { _, out := reasons[op.Hash]; return !out })
}

// refuseSum takes out the operations whose signatures made an aggregator refuse a group. Where none of them is wrong, the
// aggregator's operations are left out together.
func (c *chooser) refuseSum(ctx context.Context, block common.Hash, aggregator common.Address) error {
	failed, err := c.arrangement().culprits(ctx, c.config.Aggregators, block, aggregator)
	if err == nil {
		return c.fail(failed)
	}
	if !errors.Is(err, errNoCulprit) {
		return err
	}
	reasons := make(map[common.Hash]Skip)
	for _, op := range c.ops {
		if op.validation.Aggregator == aggregator {
			reasons[op.Hash] = Skip{Reason: SumRefused, About: aggregator}
		}
	}
	if len(reasons) == 0 {
		return err // of an aggregator that no operation has
	}
	c.leave(reasons)
	return nil
}
