package proposer

import (
	"testing"

	"baler/entrypoint"
	"baler/gas"
	"baler/pool"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
)

// by gives an operation an aggregator and a signature of one byte; beyond is what it offers beside its own costs.
func by(aggregator common.Address, signature byte, beyond uint64) change {
	return func(op *pool.Operation) {
		op.Aggregator = aggregator
		op.Op.Signature = []byte{signature}
		op.Op.PreVerificationGas = 0
		bundled := *op.Op
		bundled.Signature = nil
		op.Op.PreVerificationGas = gas.PreVerification{}.RequiredAggregated(gas.Aggregated{Op: &bundled}, gas.Aggregation{OperationGas: 1000}, 1) -
			gas.Aggregation{}.Shared() + beyond + 1000
	}
}

// aggregated is a scene in which two aggregators are served, whose groups share 30,000 gas beside their calldata.
func aggregated(t *testing.T, ops ...*pool.Operation) (*scene, *fakeAggregators) {
	t.Helper()
	f := &fakeAggregators{cost: gas.Aggregation{GroupGas: 30_000, OperationGas: 1000}}
	s := newScene(t, func(c *Config) { c.Aggregators = f })
	s.validator.validations = make(map[common.Address]Validation)
	for _, op := range ops {
		bundled := *op.Op
		bundled.Signature = nil
		if op.Aggregator != (common.Address{}) {
			s.validator.validations[op.Op.Sender] = Validation{Aggregator: op.Aggregator, Bundled: &bundled}
		}
	}
	s.add(t, ops...)
	return s, f
}

// ample is more than any share of a group.
const ample = 100_000

func TestOneBundleHoldsSeveralAggregatorsAndNone(t *testing.T) {
	first, plain := operation(1, by(firstAggregator, 1, ample), fees(1000, 90)), operation(2, fees(1000, 80))
	other, again := operation(3, by(secondAggregator, 3, ample), fees(1000, 70)), operation(4, by(firstAggregator, 4, ample), fees(1000, 60))
	s, f := aggregated(t, first, plain, other, again)
	p := s.propose(t, request())
	wantBundle(t, p, []*pool.Operation{first, again, plain, other}, nil)
	groups, _, err := entrypoint.DecodeHandleAggregatedOps(userop.V07, p.Bundle.CallData)
	if err != nil || len(groups) != 3 {
		t.Fatalf("have %d groups (%v), want 3", len(groups), err)
	}
	if g := groups[0]; g.Aggregator != firstAggregator || string(g.Signature) != "\x01\x04" || len(g.Ops[0].Signature) != 0 {
		t.Errorf("have first group %+v, want both signatures in one, and none in the operations", g)
	}
	if f.block != request().Head.Hash() {
		t.Errorf("signed on block %v, want the head", f.block)
	}
}

func TestWithoutAggregatorsTheBundleIsHandleOps(t *testing.T) {
	op := operation(1)
	s, _ := aggregated(t, op)
	p := s.propose(t, request())
	if _, _, err := entrypoint.DecodeHandleOps(userop.V07, p.Bundle.CallData); err != nil {
		t.Error(err)
	}
}

func TestAnAggregatorThatIsNotServedIsNotBundled(t *testing.T) {
	op := operation(1, by(common.Address{7}, 1, ample))
	s, _ := aggregated(t, op)
	wantBundle(t, s.propose(t, request()), nil, map[*pool.Operation]SkipReason{op: NeedsAggregator})
}

// The group shares 30,000 gas and some calldata: one operation that offers half of it waits for another.
func TestOperationsWaitUntilTheirGroupIsLargeEnough(t *testing.T) {
	half := gas.Aggregation{GroupGas: 30_000}.Share(2)
	one, two := operation(1, by(firstAggregator, 1, half)), operation(2, by(firstAggregator, 2, half))
	s, _ := aggregated(t, one)
	p := s.propose(t, request())
	wantBundle(t, p, nil, map[*pool.Operation]SkipReason{one: GroupTooSmall})
	wantReason(t, p, NoneLeftAfterSimulation)
	if skip := p.Skipped[0]; !skip.Have.Lt(&skip.Want) || skip.Have.Uint64() != one.Op.PreVerificationGas {
		t.Errorf("have %v, want more asked for than its %d", skip, one.Op.PreVerificationGas)
	}
	s, _ = aggregated(t, one, two)
	wantBundle(t, s.propose(t, request()), []*pool.Operation{one, two}, nil)
}

func TestAWrongSignatureTakesOnlyItsOperationOut(t *testing.T) {
	good, bad := operation(1, by(firstAggregator, 1, ample), fees(1000, 90)), operation(2, by(firstAggregator, wrong, ample), fees(1000, 80))
	plain := operation(3, fees(1000, 70))
	s, _ := aggregated(t, good, bad, plain)
	s.validator.badSum = map[common.Address]func(Draft) bool{firstAggregator: func(d Draft) bool { return len(d.Ops) == 3 }}
	p := s.propose(t, request())
	wantBundle(t, p, []*pool.Operation{good, plain}, nil)
	if len(p.Removed) != 1 || p.Removed[0].Hash != bad.Hash || p.Removed[0].Reason != pool.BundleFailed {
		t.Errorf("have removed %+v, want the one with the wrong signature", p.Removed)
	}
}

func TestWhereNoSignatureIsWrongTheAggregatorsOperationsWait(t *testing.T) {
	one, two := operation(1, by(firstAggregator, 1, ample), fees(1000, 90)), operation(2, by(secondAggregator, 2, ample), fees(1000, 80))
	s, _ := aggregated(t, one, two)
	s.validator.badSum = map[common.Address]func(Draft) bool{firstAggregator: func(Draft) bool { return true }}
	wantBundle(t, s.propose(t, request()), []*pool.Operation{two}, map[*pool.Operation]SkipReason{one: SumRefused})
}
