package validation_test

import (
	"errors"
	"fmt"
	"testing"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/rejection"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"
)

// outcome is what a validation came to, in a form that two of them can be compared in.
type outcome struct {
	Kind     rejection.Kind
	Message  string
	Verdicts []*erc7562.Verdict

	AssociatedIn, Created, Accessed []common.Address
	ContextSize                     int
	Environment                     bool
}

func (w *ruleWorld) outcome(t *testing.T, v *validation.Validator, op *userop.UserOperation) outcome {
	t.Helper()
	res, err := v.Validate(t.Context(), w.head(), entrypoint.Canonical(op.Version), op, validation.Options{})
	if refused, ok := errors.AsType[*validation.Refusal](err); ok {
		return outcome{Kind: refused.Kind, Message: refused.Message, Verdicts: refused.Verdicts}
	}
	if err != nil {
		t.Fatal(err)
	}
	return outcome{
		AssociatedIn: res.AssociatedStorageIn, Created: res.Created, Accessed: res.Accessed, ContextSize: res.ContextSize,
		Environment: res.Environment,
	}
}

// check compares an outcome with what the rules say.
func (o outcome) check(t *testing.T, want expected, s scenario, a actors) {
	t.Helper()
	if want.rule == "" {
		if o.Kind != 0 {
			t.Errorf("have %d %q, want it to be allowed", o.Kind, o.Message)
		}
		return
	}
	kind := rejection.OpcodeViolation
	if want.needs != erc7562.NoEntity {
		kind = rejection.StakeTooLow
	}
	if o.Kind != kind || len(o.Verdicts) == 0 {
		t.Errorf("have %d %q, want %d for %s", o.Kind, o.Message, kind, want.rule)
		return
	}
	first := o.Verdicts[0]
	if first.Rule != want.rule || first.Needs != want.needs || first.Entity != s.entity || first.Address != a.self {
		t.Errorf("have %s of the %v %s, %v needs stake (%s), want %s of the %v %s, %v",
			first.Rule, first.Entity, first.Address, first.Needs, first.Detail, want.rule, s.entity, a.self, want.needs)
	}
}

// Every behaviour of the corpus, done by every entity, staked and not, at every EntryPoint, in the local EVM, and by the node's
// debug_traceCall with the same result.
func TestRules(t *testing.T) {
	w := newRuleWorld(t, userop.Versions()...)
	for _, v := range userop.Versions() {
		t.Run("v"+v.String(), func(t *testing.T) {
			t.Parallel() // what follows only reads
			for _, b := range corpus() {
				t.Run(fmt.Sprintf("%s/%s", b.rule, b.name), func(t *testing.T) {
					for _, s := range scenarios {
						t.Run(s.name, func(t *testing.T) {
							w.checkBehaviour(t, v, b, s)
						})
					}
				})
			}
		})
	}
}

// checkBehaviour does what a behaviour says in a scenario, in the local EVM and at the node.
func (w *ruleWorld) checkBehaviour(t *testing.T, v userop.Version, b behaviour, s scenario) {
	t.Helper()
	a := w.actors(v, s)
	op := w.operation(v, s, a, b.steps(a))
	here := w.outcome(t, w.v, op)
	here.check(t, b.want(s), s, a)
	there := w.outcome(t, w.traced, op)
	if b.name == "BALANCE" && there.Environment { // geth's tracer does not say whose
		here.Accessed, here.Environment, there.Accessed = nil, true, nil
	}
	if diff := cmp.Diff(here, there); diff != "" {
		t.Errorf("local EVM and tracing differ (-local +traced):\n%s", diff)
	}
}
