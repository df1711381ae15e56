package validation_test

import (
	"context"
	"fmt"
	"testing"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/gas"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/google/go-cmp/cmp"
)

// trustingAggregators serve every aggregator and find every signature right.
type trustingAggregators struct{}

func (trustingAggregators) Gas(common.Address) (gas.Aggregation, bool) {
	return gas.Aggregation{}, true
}

func (trustingAggregators) Accept(_ context.Context, _ common.Hash, _ common.Address, op *userop.UserOperation) (*userop.UserOperation, []byte, error) {
	return op, nil, nil
}

// What the rules ask of an aggregator, and of an account that has one, in the local EVM and by tracing.
func TestRulesOfAggregators(t *testing.T) {
	w := newRuleWorld(t, userop.Versions()...)
	cfg := ruleConfig()
	cfg.Aggregators = trustingAggregators{}
	here := validation.New(w.v.Source(), cfg)
	cfg.Tracing = validation.TracingAlways
	there := validation.New(w.traced.Source(), cfg)
	named := func(aggregator common.Address) step { return do(stepAggregator, aggregator, 0) }
	slot := common.BytesToHash(ruleAccount[:])
	for _, c := range []struct {
		name       string
		aggregator common.Address
		steps      []step
		want       expected
		entity     erc7562.Entity
		address    common.Address
	}{
		{"EREP-040/staked aggregator is allowed", stakedRuleAggregator, nil, allowed, 0, common.Address{}},
		{"EREP-040/aggregator without stake breaks", ruleAggregator, nil, expected{"EREP-040", erc7562.Aggregator}, erc7562.Aggregator, ruleAggregator},
		{"AUTH-020/delegated aggregator breaks", delegatedAggregator, nil, expected{rule: "AUTH-020"}, erc7562.Aggregator, delegatedAggregator},
		{
			"STO-021/the account's slot in its aggregator breaks", stakedRuleAggregator,
			[]step{run(stakedRuleAggregator, at(vm.SLOAD, slot))},
			expected{rule: "STO-021"},
			erc7562.Sender, ruleAccount,
		},
		{
			"STO-021/the same in another's aggregator is allowed", stakedRuleAggregator,
			[]step{run(ruleAggregator, at(vm.SLOAD, slot))},
			allowed, 0,
			common.Address{},
		},
		{
			"OP-011/an account with an aggregator is held to the rules", stakedRuleAggregator,
			[]step{do(int(vm.TIMESTAMP), common.Address{}, 0)},
			expected{rule: "OP-011"},
			erc7562.Sender, ruleAccount,
		},
	} {
		for _, v := range userop.Versions() {
			t.Run(fmt.Sprintf("%s/v%s", c.name, v), func(t *testing.T) {
				op := w.bareOperation(v, ruleAccount)
				op.Signature = encodeSteps(append([]step{named(c.aggregator)}, c.steps...)...)
				have := w.outcome(t, here, op)
				have.check(t, c.want, scenario{entity: c.entity}, actors{self: c.address})
				if diff := cmp.Diff(have, w.outcome(t, there, op)); diff != "" {
					t.Errorf("local EVM and tracing differ (-local +traced):\n%s", diff)
				}
				if c.want == allowed {
					res, err := here.Validate(t.Context(), w.head(), entrypoint.Canonical(v), op, validation.Options{})
					if err != nil || res.Aggregator != c.aggregator {
						t.Fatalf("have %+v, %v, want aggregator %s", res, err, c.aggregator)
					}
					traced, err := there.Validate(t.Context(), w.head(), entrypoint.Canonical(v), op, validation.Options{})
					if err != nil {
						t.Fatal(err)
					}
					if have, want := res.VerificationGasUsed, traced.VerificationGasUsed; have < 20_000 || have+1_500 < want || want+1_500 < have {
						t.Errorf("verification gas: have %d locally, %d by tracing", have, want)
					}
				}
			})
		}
	}
}
