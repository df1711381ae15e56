package proposer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/gas"
	"baler/pool"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// ErrValidator says that the validator's answer makes no sense.
var ErrValidator = errors.New("validator answers nonsense")

// maxTroubles is how many validations in a row may fail for the node's sake before a proposal gives up.
const maxTroubles = 3

// Propose returns the best bundle for the request, or why there is none. An error is the node's or the pool's trouble
// and says nothing about operations.
//
// With several EntryPoints it takes the one whose operations promise most, except that one passed over MaxPassedOver
// times goes first; if nothing comes of it, the next.
//
// The bundle's operations are claimed for the builder. What the builder held before stays its own; any other
// candidate is given back. Removed operations are still in the pool, claimed: the caller removes them.
func (p *Proposer) Propose(ctx context.Context, req Request) (*Proposal, error) {
	fees := gas.BundleFees(req.BaseFee, req.Priority, req.Floor, p.config.BaseFeeOverheadPercent, p.config.PriorityFeeOverheadPercent)
	required := gas.RequiredFees(p.config.PriorityFeeMode, fees, req.BaseFee, !req.Floor.IsZero())
	out := &Proposal{Fees: fees, Reason: NoOperations}
	if ceiling := p.config.MaxFeePerGas; !ceiling.IsZero() && fees.MaxFee.Gt(&ceiling) {
		out.Reason = FeesOverBudget
		return out, nil
	}

	list, err := p.entryPoints(ctx, req, required)
	if err != nil {
		return nil, err
	}
	var troubles error
	for _, ep := range list {
		b, err := p.build(ctx, req, ep.EntryPoint, fees, required)
		if err != nil {
			troubles = errors.Join(troubles, fmt.Errorf("propose for EntryPoint %s: %w", ep.Version, err))
			if ctx.Err() != nil {
				break
			}
			continue
		}
		out.Considered = append(out.Considered, b.considered...)
		out.Skipped = append(out.Skipped, b.skipped...)
		out.Removed = append(out.Removed, b.removed...)
		p.starved.count(b.considered, b.skipped, b.bundle != nil)
		p.passed[ep.Address] = 0
		if b.bundle != nil {
			out.Bundle, out.Reason = b.bundle, Proposed
			p.passOver(list, ep.Address)
			return out, nil
		}
		out.Reason = max(out.Reason, b.reason)
	}
	if troubles != nil && len(out.Removed) == 0 {
		return nil, troubles
	}
	return out, nil
}

// entryPoints looks, without claiming, at what each EntryPoint has for the builder, and orders them.
func (p *Proposer) entryPoints(ctx context.Context, req Request, required gas.Fees) ([]candidateEntryPoint, error) {
	all, err := p.pool.EntryPoints(ctx)
	if err != nil {
		return nil, fmt.Errorf("list EntryPoints: %w", err)
	}
	list := make([]candidateEntryPoint, 0, len(all))
	for _, ep := range all {
		e := candidateEntryPoint{EntryPoint: ep, passed: p.passed[ep.Address]}
		if len(all) > 1 {
			ops, err := p.pool.Candidates(ctx, p.query(req, ep, 0))
			if err != nil {
				return nil, fmt.Errorf("look at candidates: %w", err)
			}
			e.value, e.paying = worth(&p.config, ops, required, req.BaseFee)
		}
		list = append(list, e)
	}
	inTurn(list, p.config.MaxPassedOver)
	return list, nil
}

// passOver counts a turn against the EntryPoints that had something to bundle and were not served.
func (p *Proposer) passOver(list []candidateEntryPoint, served common.Address) {
	passed := make(map[common.Address]int, len(list))
	for _, e := range list {
		if e.Address != served && e.paying > 0 {
			passed[e.Address] = p.passed[e.Address] + 1
		}
	}
	p.passed = passed
}

func (p *Proposer) query(req Request, ep entrypoint.EntryPoint, until uint64) pool.Query {
	return pool.Query{
		Builder:    req.Builder,
		EntryPoint: ep.Address,
		BaseFee:    req.BaseFee,
		MaxOps:     p.config.MaxCandidates,
		UntilBlock: until,
		Shard:      p.config.Shard,
	}
}

// built is what came of one EntryPoint.
type built struct {
	bundle     *Bundle
	reason     Reason
	skipped    []Skip
	removed    []Removal
	considered []*pool.Operation
}

// build makes the bundle of one EntryPoint.
func (p *Proposer) build(ctx context.Context, req Request, ep entrypoint.EntryPoint, fees, required gas.Fees) (b built, err error) {
	held, err := p.pool.Held(ctx, req.Builder)
	if err != nil {
		return built{}, fmt.Errorf("list claims: %w", err)
	}
	candidates, err := p.pool.Candidates(ctx, p.query(req, ep, req.ClaimUntil))
	if err != nil {
		return built{}, fmt.Errorf("claim candidates: %w", err)
	}
	defer func() {
		// Whatever happened, also if the context is over, no claim may be left behind.
		if e := p.release(context.WithoutCancel(ctx), req.Builder, candidates, held, b); e != nil && err == nil {
			err = e
		}
	}()
	if len(candidates) == 0 {
		return built{reason: NoOperations}, nil
	}
	c := newChooser(&p.config, req.Head, required, fees, req.Balance)
	if req.MaxOps > 0 {
		c.maxOps = min(c.maxOps, req.MaxOps)
	}
	paying := c.filter(candidates, req)
	if len(paying) == 0 {
		return built{reason: NoneLeftAfterFeeFilter, skipped: c.skipped, considered: candidates}, nil
	}
	paying = p.starved.first(paying)
	c.bound(req, paying[0], p.tight)
	c.setApart(paying, req.Apart)
	if req.Cut != nil {
		paying = c.cut(paying, req.Cut)
	}
	if err := p.choose(ctx, req, ep, c, paying); err != nil {
		return built{}, err
	}
	b, err = p.settle(ctx, req, ep, c, fees)
	if err != nil {
		return built{}, err
	}
	b.skipped, b.removed, b.considered = c.skipped, c.removed, candidates
	return b, nil
}

// release gives back the candidates that are neither in the bundle nor to be removed, nor were held before.
func (p *Proposer) release(ctx context.Context, builder string, candidates []*pool.Operation, held []common.Hash, b built) error {
	stays := make(map[common.Hash]bool, len(candidates))
	for _, h := range held {
		stays[h] = true
	}
	for _, r := range b.removed {
		stays[r.Hash] = true
	}
	if b.bundle != nil {
		for _, op := range b.bundle.Ops {
			stays[op.Hash] = true
		}
	}
	var back []common.Hash
	for _, op := range candidates {
		if !stays[op.Hash] {
			back = append(back, op.Hash)
		}
	}
	if len(back) == 0 {
		return nil
	}
	if err := p.pool.Release(ctx, builder, back); err != nil {
		return fmt.Errorf("release candidates: %w", err)
	}
	return nil
}

// choose validates the paying candidates one by one, as far as there is room, and takes those that pass.
func (p *Proposer) choose(ctx context.Context, req Request, ep entrypoint.EntryPoint, c *chooser, paying []*pool.Operation) error {
	upcoming := make([]*userop.UserOperation, min(len(paying), c.maxOps))
	for i := range upcoming {
		upcoming[i] = paying[i].Op
	}
	if err := p.validator.Prepare(ctx, req.Head, ep, upcoming); err != nil {
		return fmt.Errorf("read what validation needs: %w", err)
	}
	c.deposits = make(map[common.Address]uint256.Int)
	if list := paymasters(paying); len(list) != 0 {
		deposits, err := p.validator.Deposits(ctx, req.Head, ep, list)
		if err != nil {
			return fmt.Errorf("read paymaster deposits: %w", err)
		}
		for _, pm := range list {
			c.deposits[pm] = deposits[pm]
		}
	}
	troubles := 0
	for _, op := range paying {
		if !c.fits(op) {
			continue
		}
		v, err := p.validator.Validate(ctx, req.Head, ep, op.Op, c.ahead[laneOf(op)])
		if err == nil {
			troubles = 0
			c.accept(op, v)
			continue
		}
		if r, culprit, ok := refusal(err); ok {
			troubles = 0
			c.refuse(op, r, culprit)
			continue
		}
		if troubles++; ctx.Err() != nil || troubles == maxTroubles || troubles == len(paying) {
			return fmt.Errorf("validate %v: %w", op.Hash, err)
		}
		c.skip(op, Skip{Reason: NodeTrouble})
	}
	return nil
}

// refusal finds the refusal in an error of the validator, if it is one.
func refusal(err error) (*rejection.Rejection, erc7562.Entity, bool) {
	if refused, ok := errors.AsType[*Refusal](err); ok {
		return refused.Rejection, refused.Culprit, true
	}
	if r, ok := errors.AsType[*rejection.Rejection](err); ok {
		return r, erc7562.NoEntity, true
	}
	return nil, erc7562.NoEntity, false
}

// settle validates the whole bundle until it passes and is within its gas limit, and weighs its profit.
func (p *Proposer) settle(ctx context.Context, req Request, ep entrypoint.EntryPoint, c *chooser, fees gas.Fees) (built, error) {
	for len(c.ops) != 0 {
		draft, err := p.draft(ctx, req, ep, c, fees)
		if err != nil {
			return built{}, err
		}
		if draft == nil {
			continue // less is left
		}
		res, err := p.validator.ValidateBundle(ctx, req.Head, *draft)
		if err != nil {
			return built{}, fmt.Errorf("validate bundle: %w", err)
		}
		if bad := res.BadSignatures; bad != (common.Address{}) {
			if err := c.refuseSum(ctx, req.Head.Hash(), bad); err != nil {
				return built{}, err
			}
			continue
		}
		if len(res.Failed) != 0 {
			if err := c.fail(res.Failed); err != nil {
				return built{}, err
			}
			continue
		}
		if res.OutOfGas {
			p.tight.learn(c.limit(), c.sum())
			c.cutBack(c.limit() / outOfGasKeeps * (outOfGasKeeps + 1))
			continue
		}
		bundle, err := p.assemble(req, draft, c, fees, res)
		if over, ok := errors.AsType[*tooLarge](err); ok {
			c.cutBack(over.have)
			continue
		}
		if err != nil {
			return built{}, err
		}
		least := p.config.MinProfit
		if least == nil {
			least = new(big.Int)
		}
		if bundle.ExpectedProfit().Cmp(least) < 0 {
			if c.leaveBurdens(res.Charged, bundle.Fees.EffectivePrice(req.BaseFee)) {
				continue
			}
			c.discard(lossMaking(bundle, least))
			return built{reason: Unprofitable}, nil
		}
		return built{bundle: bundle}, nil
	}
	return built{reason: emptyReason(c)}, nil
}

// outOfGasKeeps is how many operations stay for each that is left out of a bundle that ran out of gas: by how much is not known.
const outOfGasKeeps = 7

// assemble turns the chosen operations and what their run measured into a bundle.
func (p *Proposer) assemble(req Request, d *Draft, c *chooser, fees gas.Fees, res *BundleValidation) (*Bundle, error) {
	ops := d.Ops
	b := &Bundle{
		EntryPoint:      d.EntryPoint,
		Ops:             c.operations(),
		CallData:        d.callData(),
		Fees:            fees,
		Authorizations:  c.authorizations(),
		Conditions:      c.conditions(),
		ExpectedGasUsed: res.GasUsed + res.DataGas,
		ExpectedRevenue: res.Revenue,
	}
	limit, err := gas.Bundle{
		Ops:            ops,
		Tokens:         gas.DataTokens(b.CallData),
		Authorizations: uint64(len(b.Authorizations)),
		Measured:       res.ExecutionGas,
		MeasuredCalls:  res.CallGas,
		MarginPercent:  p.config.GasMarginPercent,
		DataGas:        res.DataGas,
		Cap:            math.MaxUint64,
	}.GasLimit()
	if err != nil {
		return nil, fmt.Errorf("bundle of %d operations: %w", len(ops), err)
	}
	p.tight.learn(limit, c.sum())
	if most := c.limit(); limit > most {
		return nil, &tooLarge{limit, most}
	}
	b.GasLimit = limit
	b.ExpectedCost = gas.Cost(b.ExpectedGasUsed, fees.EffectivePrice(req.BaseFee))
	if _, over := b.ExpectedCost.AddOverflow(&b.ExpectedCost, &res.DataFee); over {
		b.ExpectedCost.SetAllOne()
	}
	return b, nil
}

// lossMaking says what the bundle would have earned and had to.
func lossMaking(b *Bundle, least *big.Int) Skip {
	s := Skip{Reason: LossMaking, Have: b.ExpectedRevenue}
	want, overflow := uint256.FromBig(new(big.Int).Add(b.ExpectedCost.ToBig(), least))
	if overflow {
		want = new(uint256.Int).SetAllOne()
	}
	s.Want = *want
	return s
}

// emptyReason says why no operation is left of those that pay.
func emptyReason(c *chooser) Reason {
	stage := func(r SkipReason) func(Skip) bool { return func(s Skip) bool { return s.Reason == r } }
	simulated := slices.ContainsFunc(c.skipped, func(s Skip) bool { return s.Reason.afterSimulation() })
	switch {
	case len(c.removed) != 0 || simulated:
		return NoneLeftAfterSimulation
	case slices.ContainsFunc(c.skipped, stage(BalanceReached)):
		return SignerBalanceLow
	case slices.ContainsFunc(c.skipped, stage(BudgetReached)):
		return FeesOverBudget
	default:
		return NothingFits
	}
}
