package validation

import (
	"context"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/evm"
	"baler/gas"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
)

// Aggregators serve operations whose accounts leave the check of their signature to an aggregator contract (ERC-7766).
type Aggregators interface {
	// Gas is what an aggregator's check costs a bundle; false: it is not served.
	Gas(aggregator common.Address) (gas.Aggregation, bool)
	// Accept checks an operation's own signature with its aggregator (validateUserOpSignature) and returns the operation as it
	// goes into a bundle, and the signature of a group of it alone. A wrong signature is a *rejection.Rejection.
	Accept(ctx context.Context, block common.Hash, aggregator common.Address, op *userop.UserOperation) (*userop.UserOperation, []byte, error)
}

// alone is an operation in a bundle of its own.
type alone struct {
	op         *userop.UserOperation // as it stands in the bundle
	aggregator common.Address        // zero: the account checks its signature itself
	signature  []byte                // of the group
	cost       gas.Aggregation
}

// calldata is the bundle's.
func (a alone) calldata(ep entrypoint.EntryPoint, beneficiary common.Address) []byte {
	ops := []*userop.UserOperation{a.op}
	if a.aggregator == (common.Address{}) {
		return entrypoint.EncodeHandleOps(ep.Version, ops, beneficiary)
	}
	group := entrypoint.OpsPerAggregator{Ops: ops, Aggregator: a.aggregator, Signature: a.signature}
	return entrypoint.EncodeHandleAggregatedOps(ep.Version, []entrypoint.OpsPerAggregator{group}, beneficiary)
}

// trace returns a trace that follows the bundle.
func (a alone) trace(ep entrypoint.EntryPoint, beneficiary common.Address) *handleOpsTrace {
	t := newTrace(ep, []*userop.UserOperation{a.op}, beneficiary)
	if a.aggregator != (common.Address{}) {
		t.aggregators = []common.Address{a.aggregator}
	}
	return t
}

// run simulates an operation: first with its own signature, and if its account names an aggregator, once more as that
// aggregator wants it in a bundle (ERC-7766: "call validateUserOp a second time on the account"), in handleAggregatedOps, with
// the aggregator's own check of the signature. The error may be a refusal.
func (v *Validator) run(ctx context.Context, view *evm.View, ep entrypoint.EntryPoint, op *userop.UserOperation, opts Options) (*simulation, alone, error) {
	plain := alone{op: op}
	sim, err := v.simulate(ctx, view, ep, plain, opts)
	if err != nil {
		return nil, plain, err
	}
	account, _, dataErr := validationDataOf(ep.Version, op, sim.trace.perOp[0])
	if dataErr != nil || !account.HasAggregator() {
		return sim, plain, nil //nolint:nilerr // the caller judges malformed data
	}
	v.rules.release(sim.trace.record)
	group, err := v.aggregate(ctx, view, account.Aggregator, op)
	if err != nil {
		return nil, plain, err
	}
	sim, err = v.simulate(ctx, view, ep, group, opts)
	return sim, group, err
}

// aggregate has an operation's signature checked by its aggregator.
func (v *Validator) aggregate(ctx context.Context, view *evm.View, aggregator common.Address, op *userop.UserOperation) (alone, error) {
	if v.cfg.Aggregators == nil {
		return alone{}, refuseAggregator(op, aggregator)
	}
	cost, served := v.cfg.Aggregators.Gas(aggregator)
	if !served {
		return alone{}, refuseAggregator(op, aggregator)
	}
	bundled, signature, err := v.cfg.Aggregators.Accept(ctx, view.Hash(), aggregator, op)
	if err != nil {
		return alone{}, err
	}
	return alone{op: bundled, aggregator: aggregator, signature: signature, cost: cost}, nil
}

// describe notes in the result how the operation is aggregated.
func (a alone) describe(sim *simulation, res *Result) {
	if a.aggregator == (common.Address{}) {
		return
	}
	res.Aggregator, res.Bundled = a.aggregator, a.op
	// What the check of one signature took beyond what a group takes anyway, if that is more than is expected.
	if used := sim.trace.signatureGas; used > a.cost.GroupGas+a.cost.OperationGas {
		res.SignatureGas = used - a.cost.GroupGas
	}
}

// preVerificationGas is what the operation must offer at least beside what its data costs on the chain; used is what its
// validation used.
func (a alone) preVerificationGas(p gas.PreVerification, used, signatureGas uint64) uint64 {
	if a.aggregator == (common.Address{}) {
		return p.Required(a.op, used)
	}
	return p.RequiredAggregated(gas.Aggregated{Op: a.op, VerificationGasUsed: used, SignatureGas: signatureGas}, a.cost, 0)
}

// wrongForAggregator refuses an operation whose signature its aggregator contract refuses.
func wrongForAggregator(op *userop.UserOperation, aggregator common.Address, revert string) *Refusal {
	r := rejection.New(rejection.InvalidSignature, "signature aggregator %s refuses the signature: %s", aggregator, revert)
	r.Data.Aggregator = &aggregator
	return blame(r, op, erc7562.Sender)
}

// aggregatorsOf returns the aggregators of groups.
func aggregatorsOf(groups []entrypoint.OpsPerAggregator) []common.Address {
	var list []common.Address
	for _, g := range groups {
		if g.Aggregator != (common.Address{}) {
			list = append(list, g.Aggregator)
		}
	}
	return list
}
