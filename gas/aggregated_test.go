package gas_test

import (
	"math"
	"slices"
	"testing"

	"baler/entrypoint"
	"baler/gas"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func aggregation() gas.Aggregation {
	return gas.Aggregation{GroupGas: 90_000, OperationGas: 60_000, SignatureBytes: 64}
}

// member is an operation that offers that much beyond its own costs in a group of a.
func member(p gas.PreVerification, a gas.Aggregation, rest uint64) gas.Aggregated {
	op := gas.Aggregated{Op: &userop.UserOperation{Version: userop.V07, CallGasLimit: 100_000}, VerificationGasUsed: 50_000}
	// preVerificationGas is part of the calldata it pays for: the fixed point is near.
	for range 5 {
		op.Op.PreVerificationGas = p.RequiredAggregated(op, a, 1) - a.Share(1) + rest
	}
	return op
}

func TestAGroupIsCoveredByWhoCanBearItsShares(t *testing.T) {
	var p gas.PreVerification
	a := gas.Aggregation{GroupGas: 100_000, OperationGas: 50_000}
	shared := a.Shared()
	for name, c := range map[string]struct {
		rests []uint64
		want  []int
	}{
		"nobody":                                  {nil, nil},
		"one that bears all":                      {[]uint64{shared}, []int{0}},
		"one that does not":                       {[]uint64{shared - 1}, nil},
		"two halves":                              {[]uint64{shared / 2, shared/2 + 1}, []int{0, 1}},
		"two that are one short":                  {[]uint64{shared/2 - 1, shared}, []int{1}},
		"one relied on another that falls out":    {[]uint64{shared / 2, shared / 4}, nil},
		"a free rider":                            {[]uint64{0, shared, shared}, []int{1, 2}},
		"four quarters, and one who pays nothing": {[]uint64{shared/4 + 1, shared/4 + 1, 0, shared/4 + 1, shared/4 + 1}, []int{0, 1, 3, 4}},
	} {
		var group []gas.Aggregated
		for _, rest := range c.rests {
			group = append(group, member(p, a, rest))
		}
		if diff := cmp.Diff(c.want, p.Covered(group, a)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	below := member(p, a, 0)
	below.Op.PreVerificationGas /= 2
	if have := p.Covered([]gas.Aggregated{below, member(p, a, shared)}, a); !slices.Equal(have, []int{1}) {
		t.Errorf("an operation below its own costs: have %v, want [1]", have)
	}
}

// TestCoveredIsTheLargestPart compares with the answer found by trying all parts.
func TestCoveredIsTheLargestPart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := gas.PreVerification{BundleSize: rapid.Uint64Range(0, 4).Draw(t, "bundle")}
		a := gas.Aggregation{GroupGas: rapid.Uint64Range(0, 40_000).Draw(t, "group"), OperationGas: 1000, SignatureBytes: 64}
		var group []gas.Aggregated
		for range rapid.IntRange(0, 7).Draw(t, "n") {
			op := member(p, a, rapid.Uint64Range(0, 50_000).Draw(t, "rest"))
			op.SignatureGas = rapid.Uint64Range(0, 3000).Draw(t, "signature")
			group = append(group, op)
		}
		covered := p.Covered(group, a)
		holds := func(part []int) bool {
			for _, i := range part {
				if group[i].Op.PreVerificationGas < p.RequiredAggregated(group[i], a, uint64(len(part))) {
					return false
				}
			}
			return true
		}
		if !holds(covered) || !slices.IsSorted(covered) {
			t.Fatalf("part %v does not cover itself", covered)
		}
		for mask := range 1 << len(group) {
			var part []int
			for i := range group {
				if mask>>i&1 == 1 {
					part = append(part, i)
				}
			}
			if len(part) > len(covered) && holds(part) {
				t.Fatalf("part %v is larger than %v", part, covered)
			}
		}
	})
}

// TestTheGroupsCalldataIsCovered: what a group adds to the calldata of its operations is no more than what they share.
func TestTheGroupsCalldataIsCovered(t *testing.T) {
	for _, v := range userop.Versions() {
		for n := range 40 {
			group := entrypoint.OpsPerAggregator{Aggregator: common.HexToAddress("0xffffffffffffffffffffffffffffffffffffffff"), Signature: slices.Repeat([]byte{255}, 64)}
			var own uint64
			for range n {
				op := &userop.UserOperation{Version: v, CallData: slices.Repeat([]byte{1}, 700)}
				group.Ops = append(group.Ops, op)
				own += gas.CalldataTokens(op)
			}
			with := gas.DataTokens(entrypoint.EncodeHandleAggregatedOps(v, []entrypoint.OpsPerAggregator{group}, common.Address{}))
			without := gas.DataTokens(entrypoint.EncodeHandleAggregatedOps(v, nil, common.Address{}))
			// Each operation's offset counts with one non-zero byte in CalldataTokens, and may have two more here.
			offsets := uint64(n) * 2 * 3
			have := gas.DataGas(with - without - min(own+offsets, with-without))
			if a := (gas.Aggregation{SignatureBytes: 64}); have > a.Shared() {
				t.Errorf("v%v, %d operations: the group's calldata costs %d, its operations share %d", v, n, have, a.Shared())
			}
		}
	}
}

func TestAggregatedRequirement(t *testing.T) {
	var p gas.PreVerification
	a := aggregation()
	op := member(p, a, 0)
	alone := p.RequiredAggregated(op, a, 1)
	if have := p.RequiredAggregated(op, a, 0); have != alone {
		t.Errorf("without an expected size: have %d, want %d, that of a group of one", have, alone)
	}
	if want := p.Required(op.Op, op.VerificationGasUsed+a.OperationGas) + a.OperationGas + a.Shared(); alone != want {
		t.Errorf("alone: have %d, want %d", alone, want)
	}
	for n := uint64(2); n < 100; n++ {
		have := p.RequiredAggregated(op, a, n)
		if have >= p.RequiredAggregated(op, a, n-1) {
			t.Errorf("in a group of %d: have %d, want less than in a smaller one", n, have)
		}
		if sum := n * a.Share(n); sum < a.Shared() || sum >= a.Shared()+n {
			t.Errorf("shares of %d: have %d together, want %d", n, sum, a.Shared())
		}
	}
	measured := op
	measured.SignatureGas = a.OperationGas + 5000
	if have, want := p.RequiredAggregated(measured, a, 1), alone+5000; have != want {
		t.Errorf("with a measured check: have %d, want %d", have, want)
	}
	a.ExpectedOperations = 10
	if have, want := p.RequiredAggregated(op, a, 0), alone-a.Shared()+a.Share(10); have != want {
		t.Errorf("at the expected size: have %d, want %d", have, want)
	}
	if have := p.RequiredAggregated(op, gas.Aggregation{GroupGas: math.MaxUint64, SignatureBytes: math.MaxUint64}, 1); have != math.MaxUint64 {
		t.Errorf("absurd costs: have %d, want the greatest number", have)
	}
}

// TestAnAggregatedEstimateIsAccepted: what EstimateAggregated says is enough for the operation once it is complete.
func TestAnAggregatedEstimateIsAccepted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := gas.PreVerification{BundleSize: rapid.Uint64Range(0, 20).Draw(t, "bundle")}
		a := aggregation()
		a.ExpectedOperations = rapid.Uint64Range(0, 20).Draw(t, "expected")
		op := &userop.UserOperation{
			Version: rapid.SampledFrom(userop.Versions()).Draw(t, "version"), CallGasLimit: 50_000,
			CallData:  anyBytes(300).Draw(t, "callData"),
			Signature: make([]byte, 64),
		}
		used := rapid.Uint64Range(0, 200_000).Draw(t, "used")
		signed := *op
		signed.PreVerificationGas = p.EstimateAggregated(op, used, a)
		signed.VerificationGasLimit = 2 * used
		signed.MaxFeePerGas[0] = rapid.Uint64().Draw(t, "fee")
		signed.Signature = nil
		want := p.RequiredAggregated(gas.Aggregated{Op: &signed, VerificationGasUsed: used}, a, 0)
		if signed.PreVerificationGas < want {
			t.Fatalf("estimated %d, required %d", signed.PreVerificationGas, want)
		}
	})
}
