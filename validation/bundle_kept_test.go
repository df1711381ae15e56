package validation_test

import (
	"fmt"
	"slices"
	"testing"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/rejection"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/vm"
)

// inBundle validates operations one by one, as the proposer does, and then as a bundle.
func (w *ruleWorld) inBundle(t *testing.T, v userop.Version, ops ...*userop.UserOperation) *validation.BundleResult {
	t.Helper()
	for i, op := range ops {
		if _, err := w.v.Validate(t.Context(), w.head(), entrypoint.Canonical(v), op, validation.Options{}); err != nil {
			t.Fatalf("operation %d alone: %v", i, err)
		}
	}
	result, err := w.v.ValidateBundle(t.Context(), w.head(), w.bundle(v, ops...))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// unless runs steps only as long as a slot of the entity's own holds nothing, which tells it whether it is alone.
func unless(slot common.Hash, steps ...step) step {
	s := at(0, slot)
	s.Op, s.Data = do(stepUnless, common.Address{}, 0).Op, encodeSteps(steps...)
	return s
}

// A staked paymaster that is in a bundle after an operation of its own knows it from its own storage, which it may use.
func (w *ruleWorld) sponsoredTwice(v userop.Version, alone ...step) []*userop.UserOperation {
	first, second := w.bareOperation(v, ruleAccount), w.bareOperation(v, stakedRuleAccount)
	withPaymaster(first, stakedRulePaymaster, []step{at(vm.SSTORE, common.Hash{31: 9})})
	withPaymaster(second, stakedRulePaymaster, append([]step{at(vm.SLOAD, common.Hash{31: 1})}, alone...))
	return []*userop.UserOperation{first, second}
}

// EREP-055: an operation whose paymaster returns a context of another size in the bundle is left out. If the bundle would
// have been mined, the paymaster is not to blame for a failure; if another operation makes it revert, it is.
func TestContextsChangedInABundle(t *testing.T) {
	w := newRuleWorld(t, userop.Versions()...)
	for _, v := range userop.Versions() {
		for _, test := range []struct {
			name     string
			alone    step
			reverted bool // by another operation
			failed   []int
		}{
			{"EREP-055/a context of the same size is allowed", do(stepContext, common.Address{}, 64), false, nil},
			{"EREP-055/a context that grows only alone breaks", unless(common.Hash{31: 9}, do(stepContext, common.Address{}, 64)), false, []int{1}},
			{"EREP-055/the paymaster is banned when another operation reverts", unless(common.Hash{31: 9}, do(stepContext, common.Address{}, 64)), true, []int{1, 2}},
		} {
			t.Run(fmt.Sprintf("%s/v%s", test.name, v), func(t *testing.T) {
				ops := w.sponsoredTwice(v, test.alone)
				if test.reverted {
					// Its nonce is used up by the one before it, though alone it was the next.
					again := *ops[0]
					again.CallGasLimit++
					ops = append(ops, &again)
				}
				result := w.inBundle(t, v, ops...)
				var failed []int
				for _, f := range result.Failed {
					failed = append(failed, f.Index)
					if f.Index == 1 && (f.Entity != erc7562.Paymaster || f.Rejection.Data.Rule != "EREP-055" ||
						f.Rejection.Kind != rejection.OpcodeViolation || f.Passed == test.reverted) {
						t.Errorf("have %+v %v, want the paymaster by EREP-055, passed %t", f, f.Rejection, !test.reverted)
					}
				}
				slices.Sort(failed)
				if !slices.Equal(failed, test.failed) || len(result.Ops) != len(ops)-len(failed) {
					t.Errorf("have %v failed and %d left of %d, want %v", failed, len(result.Ops), len(ops), test.failed)
				}
			})
		}
	}
}

// EREP-070: a staked entity that uses over a tenth less gas in the bundle is found out; one that only pays less because its
// slots and accounts are warm is not.
func TestGasReducedInABundle(t *testing.T) {
	w := newRuleWorld(t, userop.Versions()...)
	hashes := func(n uint64) step { return do(stepManyHashes, common.Address{}, n) }
	warm := []step{at(vm.SLOAD, common.Hash{31: 1}), at(vm.SSTORE, common.Hash{31: 2}), run(ruleTarget, at(vm.SLOAD, common.Hash{31: 3}))}
	for _, v := range userop.Versions() {
		onWarm := []*userop.UserOperation{w.bareOperation(v, ruleAccount), w.bareOperation(v, stakedRuleAccount)}
		for _, op := range onWarm {
			withPaymaster(op, stakedRulePaymaster, warm)
		}
		for name, test := range map[string]struct {
			ops     []*userop.UserOperation
			reduced []common.Address
		}{
			"EREP-070/a staked paymaster that does less in a bundle breaks": {w.sponsoredTwice(v, unless(common.Hash{31: 9}, hashes(100))), []common.Address{stakedRulePaymaster}},
			"EREP-070/a little less is allowed":                             {w.sponsoredTwice(v, hashes(2_000), unless(common.Hash{31: 9}, hashes(50))), nil},
			"EREP-070/the same on warm slots and accounts is allowed":       {onWarm, nil},
		} {
			t.Run(fmt.Sprintf("%s/v%s", name, v), func(t *testing.T) {
				result := w.inBundle(t, v, test.ops...)
				if !slices.Equal(result.Reduced, test.reduced) || len(result.Failed) != 0 {
					t.Errorf("have %v reduced and %+v failed, want %v and none", result.Reduced, result.Failed, test.reduced)
				}
			})
		}
	}
}

// The devchain's own paymasters and accounts, which are honest, are never found to do less in a bundle than alone: what
// is compared is the same wherever in a bundle an operation stands.
func TestHonestEntitiesDoTheSameInABundle(t *testing.T) {
	eachVersion(t, func(t *testing.T, f *fixture, v userop.Version) {
		var ops []*userop.UserOperation
		for i := range uint64(6) {
			a := f.deployed(v, 70+i)
			ops = append(ops, f.sign(f.sponsored(f.op(a), 0, 0)))
		}
		fresh := f.account(v, 99)
		f.fund(fresh.address)
		ops = append(ops, f.sign(creating(fresh, f.op(fresh))))
		var before []validation.EntityGas
		for _, op := range ops {
			res, err := f.validate(op)
			if err != nil {
				t.Fatal(err)
			}
			before = append(before, res.OwnGas)
		}
		result, err := f.v.ValidateBundle(t.Context(), f.head(), f.bundle(v, ops...))
		if err != nil {
			t.Fatal(err)
		}
		if len(result.Reduced) != 0 || len(result.Failed) != 0 {
			t.Errorf("have %v reduced and %v failed, want none", result.Reduced, result.Failed)
		}
		for _, own := range before[:6] {
			if own != before[0] || own.Account == 0 || own.Paymaster == 0 {
				t.Errorf("have %+v and %+v, want the same of all", own, before[0])
			}
		}
		if before[6].Factory == 0 {
			t.Errorf("have %+v, want some gas of the factory", before[6])
		}
	})
}
