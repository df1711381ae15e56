package proposer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/gas"
	"baler/pool"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
)

// Aggregators serve operations whose accounts leave the check of their signature to an aggregator contract (ERC-7766).
// A wrong signature is a *rejection.Rejection; any other error is the node's trouble.
type Aggregators interface {
	// Gas is what an aggregator's check costs a bundle; false: it is not served.
	Gas(aggregator common.Address) (gas.Aggregation, bool)
	// Aggregate returns the signature of a group; the operations carry their own.
	Aggregate(ctx context.Context, block common.Hash, aggregator common.Address, ops []*userop.UserOperation) ([]byte, error)
	// Culprits returns the indexes of the operations that make their group fail, and why each does. bundled are the
	// operations as they stand in the bundle.
	Culprits(ctx context.Context, block common.Hash, aggregator common.Address, ops, bundled []*userop.UserOperation) ([]int, []*rejection.Rejection, error)
}

// errNoCulprit says that an aggregator refuses a group none of whose signatures is wrong.
var errNoCulprit = errors.New("the aggregator refuses the group, but no signature in it is wrong")

// place is an operation of a bundle that is being put together.
type place struct {
	*pool.Operation

	// aggregator is the one its account named last.
	aggregator common.Address
	// bundled is the operation as it stands in the bundle: with the signature its aggregator gave it, or as it was sent.
	bundled *userop.UserOperation
	// verificationGas is what its validation used, signatureGas what the check of its signature added to its aggregator's
	// work (zero: not measured).
	verificationGas, signatureGas uint64
}

// arrangement is a bundle's operations grouped by aggregator, in the order in which handleAggregatedOps validates and
// executes them.
type arrangement struct {
	places []place // in the order given
	groups []arranged
}

// arranged is one group of an arrangement.
type arranged struct {
	aggregator common.Address // zero: each account checks its own
	at         []int          // indexes of places
}

// arrange groups operations by aggregator (ERC-7766, "Bundling changes"). Groups stand in the order in which their first
// operation came. Operations of one sender keep their order, because their nonces count up: where that asks for it, an
// aggregator has a second group.
func arrange(places []place) arrangement {
	a := arrangement{places: places}
	last := make(map[common.Address]int) // sender -> the group of its operation before
	for i, p := range places {
		from := last[p.Op.Sender]
		at := slices.IndexFunc(a.groups[from:], func(g arranged) bool { return g.aggregator == p.aggregator })
		if at < 0 {
			a.groups = append(a.groups, arranged{aggregator: p.aggregator})
			at = len(a.groups) - 1 - from
		}
		a.groups[from+at].at = append(a.groups[from+at].at, i)
		last[p.Op.Sender] = from + at
	}
	return a
}

// order returns the indexes of the places in the order of execution.
func (a arrangement) order() []int {
	order := make([]int, 0, len(a.places))
	for _, g := range a.groups {
		order = append(order, g.at...)
	}
	return order
}

// own returns the operations of a group as they were sent.
func (a arrangement) own(g arranged) []*userop.UserOperation {
	ops := make([]*userop.UserOperation, len(g.at))
	for i, at := range g.at {
		ops[i] = a.places[at].Op
	}
	return ops
}

// bundled returns the operations of a group as they stand in the bundle.
func (a arrangement) bundled(g arranged) []*userop.UserOperation {
	ops := make([]*userop.UserOperation, len(g.at))
	for i, at := range g.at {
		ops[i] = a.places[at].bundled
	}
	return ops
}

// shortage is an operation that does not offer enough preVerificationGas for the group it would be in.
type shortage struct {
	at   int    // index of its place
	have uint64 // the preVerificationGas it offers
	want uint64 // what it would have to offer beside those of its group that offer enough
}

// shortages returns the operations that must wait for more company: the cost of a group is shared by those that are in
// it, and a group that is too small for what its operations offer would be at the bundler's expense. It counts with the
// group's real size.
func (a arrangement) shortages(aggregators Aggregators, p gas.PreVerification) []shortage {
	var list []shortage
	for _, g := range a.groups {
		cost, ok := aggregators.Gas(g.aggregator)
		if !ok {
			continue // no aggregator, or one whose operations sign refuses
		}
		members := make([]gas.Aggregated, len(g.at))
		for i, at := range g.at {
			x := a.places[at]
			members[i] = gas.Aggregated{Op: x.bundled, VerificationGasUsed: x.verificationGas, SignatureGas: x.signatureGas}
		}
		covered := p.Covered(members, cost)
		for i, at := range g.at {
			if _, ok := slices.BinarySearch(covered, i); ok {
				continue
			}
			list = append(list, shortage{
				at:   at,
				have: members[i].Op.PreVerificationGas,
				want: p.RequiredAggregated(members[i], cost, uint64(len(covered))+1),
			})
		}
	}
	return list
}

// sign returns what the bundle carries: each group with its aggregated signature. Operations whose signatures do not add
// up, or whose aggregator is not served, come back as failures, and there is no bundle then.
func (a arrangement) sign(ctx context.Context, aggregators Aggregators, block common.Hash) ([]entrypoint.OpsPerAggregator, []Failure, error) {
	groups := make([]entrypoint.OpsPerAggregator, 0, len(a.groups))
	var failed []Failure
	for _, g := range a.groups {
		signed := entrypoint.OpsPerAggregator{Ops: a.bundled(g), Aggregator: g.aggregator}
		groups = append(groups, signed)
		if g.aggregator == (common.Address{}) {
			continue
		}
		if _, ok := aggregators.Gas(g.aggregator); !ok {
			failed = append(failed, a.unserved(g)...)
			continue
		}
		signature, err := aggregators.Aggregate(ctx, block, g.aggregator, a.own(g))
		if _, refused := errors.AsType[*rejection.Rejection](err); refused {
			culprits, err := a.culpritsOf(ctx, aggregators, block, g)
			if err != nil {
				return nil, nil, err
			}
			failed = append(failed, culprits...)
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("aggregate signatures: %w", err)
		}
		groups[len(groups)-1].Signature = signature
	}
	if len(failed) != 0 {
		return nil, failed, nil
	}
	return groups, nil, nil
}

// unserved refuses a group whose aggregator is not served (any more).
func (a arrangement) unserved(g arranged) []Failure {
	failed := make([]Failure, len(g.at))
	for i, at := range g.at {
		r := rejection.New(rejection.UnsupportedSigAggr, "signature aggregator %s is not supported", g.aggregator)
		r.Data.Aggregator = &g.aggregator
		failed[i] = Failure{Index: at, Rejection: r, Culprit: erc7562.Sender}
	}
	return failed
}

// culprits returns the operations that made the aggregator refuse its signatures when the whole bundle was run: the
// EntryPoint's SignatureValidationFailed names the aggregator only. An error that wraps errNoCulprit says that no operation
// is to blame; the aggregator's operations then have to be left out together.
func (a arrangement) culprits(ctx context.Context, aggregators Aggregators, block common.Hash, aggregator common.Address) ([]Failure, error) {
	var failed []Failure
	for _, g := range a.groups {
		if g.aggregator != aggregator {
			continue
		}
		found, err := a.culpritsOf(ctx, aggregators, block, g)
		if err != nil && !errors.Is(err, errNoCulprit) {
			return nil, err
		}
		failed = append(failed, found...)
	}
	if len(failed) == 0 {
		return nil, fmt.Errorf("%w: %s", errNoCulprit, aggregator)
	}
	return failed, nil
}

func (a arrangement) culpritsOf(ctx context.Context, aggregators Aggregators, block common.Hash, g arranged) ([]Failure, error) {
	indexes, reasons, err := aggregators.Culprits(ctx, block, g.aggregator, a.own(g), a.bundled(g))
	if err != nil {
		return nil, fmt.Errorf("find wrong signatures: %w", err)
	}
	if len(indexes) == 0 {
		return nil, fmt.Errorf("%w: %s", errNoCulprit, g.aggregator)
	}
	failed := make([]Failure, len(indexes))
	for i, index := range indexes {
		// The account named the aggregator and its signature is wrong: the fault is the account's, not the aggregator's.
		failed[i] = Failure{Index: g.at[index], Rejection: reasons[i], Culprit: erc7562.Sender}
	}
	return failed, nil
}

// callData is the bundle's: that of handleOps if all accounts check their own signatures, which is cheaper, else that of
// handleAggregatedOps.
func (d *Draft) callData() []byte {
	if d.Groups == nil {
		return entrypoint.EncodeHandleOps(d.EntryPoint.Version, d.Ops, d.Beneficiary)
	}
	return entrypoint.EncodeHandleAggregatedOps(d.EntryPoint.Version, d.Groups, d.Beneficiary)
}
