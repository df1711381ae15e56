package validation_test

import (
	"errors"
	"strings"
	"testing"

	"baler/evm"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// sampling is a validator whose node is asked for some bundles, on a chain with operations of two accounts.
type sampling struct {
	*fixture
	node   *refusingNode
	v      *validation.Validator
	bundle validation.Bundle
	found  []validation.Disagreement
}

func newSampling(t *testing.T, cfg validation.Config) *sampling {
	t.Helper()
	f := newFixture(t, validation.Config{})
	s := &sampling{fixture: f, node: &refusingNode{Node: f.node}}
	s.bundle = f.bundle(userop.V07, f.sign(f.op(f.deployed(userop.V07, 1))), f.sign(f.op(f.deployed(userop.V07, 2))))
	cfg.NodeCheck = validation.NodeCheckSampled
	cfg.OnDisagreement = func(d validation.Disagreement) { s.found = append(s.found, d) }
	s.v = validation.New(evm.NewSource(s.node, f.chain.ChainConfig(), evm.Options{}), cfg)
	return s
}

// compared has the local EVM compared with the node's, as by the first operation that is taken.
func (s *sampling) compared() {
	s.t.Helper()
	if d, err := s.v.SelfCheck(s.t.Context(), s.head(), s.bundle.EntryPoint, s.bundle.Ops[0]); d != nil || err != nil {
		s.t.Fatal(d, err)
	}
}

// bundles validates a bundle some times, and returns how often the node was asked.
func (s *sampling) bundles(times int, b validation.Bundle) int {
	s.t.Helper()
	before := s.node.calls
	for range times {
		result, err := s.v.ValidateBundle(s.t.Context(), s.head(), b)
		if err != nil || len(result.Ops) != len(b.Ops) {
			s.t.Fatal(err, result)
		}
	}
	return s.node.calls - before
}

// A node that agrees is asked for every bundle until the local EVM has been compared with it, then for the first 4 of a kind, then
// for one in 16; and as at the beginning when a bundle was seen to fail.
func TestTheNodeIsAskedForSampledBundlesAsSeldomAsPromised(t *testing.T) {
	s := newSampling(t, validation.Config{})
	if asked := s.bundles(6, s.bundle); asked != 6 {
		t.Errorf("nothing was compared yet: have %d of 6 bundles asked for", asked)
	}
	s.compared() // the six were agreed upon too
	if asked := s.bundles(15, s.bundle); asked != 0 {
		t.Errorf("have %d bundles asked for of the 15 after an agreement", asked)
	}
	if asked := s.bundles(1, s.bundle); asked != 1 {
		t.Errorf("have %d of the 16th asked for", asked)
	}
	if asked := s.bundles(32, s.bundle); asked != 2 {
		t.Errorf("have %d of 32 asked for", asked)
	}
	other := s.fixture.bundle(userop.V08, s.sign(s.op(s.deployed(userop.V08, 3))))
	if asked := s.bundles(20, other); asked != 5 {
		t.Errorf("another EntryPoint: have %d of the first 20 asked for, want 4 and the 20th", asked)
	}
	key := s.chain.Keys()[5]
	op := s.signHash(s.delegated(userop.V07, key), key)
	delegating := s.fixture.bundle(userop.V07, op)
	delegating.Authorizations = []types.SetCodeAuthorization{*op.Authorization}
	if asked := s.bundles(5, delegating); asked != 4 {
		t.Errorf("the first with a tuple: have %d of 5 asked for", asked)
	}
	s.v.DoubtBundles()
	if asked := s.bundles(10, s.bundle); asked != 4 {
		t.Errorf("in doubt: have %d of 10 asked for", asked)
	}
	if stats := s.v.BundleStats(); stats.Asked != uint64(s.node.calls) || stats.Asked+stats.Spared != 6+15+1+32+20+5+10 {
		t.Errorf("have counted %+v, want each bundle once, and %d asked for", stats, s.node.calls)
	}
	if len(s.found) > 0 {
		t.Errorf("have disagreements: %v", s.found)
	}
}

// What the node does not answer is not agreed upon: the next bundle is asked for too.
func TestABundleThatTheNodeDidNotAnswerIsNoSample(t *testing.T) {
	s := newSampling(t, validation.Config{})
	s.compared()
	if asked := s.bundles(4+15, s.bundle); asked != 4 {
		t.Fatalf("have %d asked for", asked)
	}
	s.node.answers = []error{errors.New("rate limited")}
	if _, err := s.v.ValidateBundle(t.Context(), s.head(), s.bundle); err == nil {
		t.Error("have a bundle that the node was to be asked for, and did not answer")
	}
	if asked := s.bundles(16, s.bundle); asked != 1 {
		t.Errorf("have %d of the next 16 asked for, want the first", asked)
	}
}

// From the first disagreement on, about a bundle or about an operation, the node is asked for every bundle.
func TestADisagreementBringsEveryCheckBack(t *testing.T) {
	for name, disagree := range map[string]func(*sampling){
		"about a bundle": func(s *sampling) {
			s.bundles(15, s.bundle)
			s.node.answers = []error{revertError{[]byte{1, 2, 3, 4}}}
			if _, err := s.v.ValidateBundle(s.t.Context(), s.head(), s.bundle); !errors.Is(err, validation.ErrNodeDisagrees) {
				s.t.Errorf("have %v, want ErrNodeDisagrees", err)
			}
		},
		"about one of its operations": func(s *sampling) {
			s.bundles(15, s.bundle)
			s.node.answers = []error{revertError{failedOp(1, "AA23 reverted")}}
			result, err := s.v.ValidateBundle(s.t.Context(), s.head(), s.bundle)
			if err != nil || len(result.Failed) != 1 || len(result.Ops) != 1 {
				s.t.Errorf("have %+v, %v, want the second operation to fail", result, err)
			}
		},
		"about an operation": func(s *sampling) {
			lies := newPlainNode(s.fixture.node)
			lies.spoil = map[string]func(string) string{"eth_simulateV1": func(answer string) string {
				return strings.Replace(answer, `"status":"0x1"`, `"status":"0x0"`, 1)
			}}
			s.node.Node = lies
			if d, err := s.v.SelfCheck(s.t.Context(), s.head(), s.bundle.EntryPoint, s.bundle.Ops[0]); d == nil {
				s.t.Errorf("have no disagreement, %v", err)
			}
			lies.spoil = nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSampling(t, validation.Config{})
			s.compared()
			s.bundles(4, s.bundle)
			disagree(s)
			if len(s.found) != 1 {
				t.Errorf("have told %v, want one disagreement", s.found)
			}
			s.v.DoubtBundles() // does not make it forget
			if asked := s.bundles(20, s.bundle); asked != 20 {
				t.Errorf("have %d of 20 bundles asked for", asked)
			}
		})
	}
}

// Where the local EVM is not believed, or can't know what a contract does, the node has the last word on every bundle.
func TestWhatTheLocalRunCannotDecideIsAskedOfTheNode(t *testing.T) {
	nobody := common.Address{0x99}
	for name, cfg := range map[string]func(*sampling) validation.Config{
		"traced": func(*sampling) validation.Config { return validation.Config{Tracing: validation.TracingAlways} },
		"a precompile": func(s *sampling) validation.Config {
			return validation.Config{Precompiles: []common.Address{s.bundle.Ops[1].Sender}}
		},
		"not at all": func(*sampling) validation.Config { return validation.Config{Precompiles: []common.Address{nobody}} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSampling(t, validation.Config{})
			config := cfg(s)
			config.NodeCheck = validation.NodeCheckSampled
			s.v = validation.New(evm.NewSource(s.node, s.chain.ChainConfig(), evm.Options{}), config)
			s.compared()
			s.bundles(4, s.bundle)
			want := 10
			if name == "not at all" {
				want = 0
			}
			if asked := s.bundles(10, s.bundle); asked != want {
				t.Errorf("have %d of 10 bundles asked for, want %d", asked, want)
			}
		})
	}
}

// A bundle that the node is not asked for is one that has run here to its end: what fails here is left out, whoever is asked.
func TestWhatFailsHereIsInNoBundleThatTheNodeIsNotAskedFor(t *testing.T) {
	s := newSampling(t, validation.Config{})
	s.compared()
	s.bundles(4, s.bundle)
	asked := s.node.calls
	wrong := *s.bundle.Ops[1]
	wrong.Signature = make([]byte, len(wrong.Signature))
	b := s.fixture.bundle(userop.V07, s.bundle.Ops[0], &wrong)
	result, err := s.v.ValidateBundle(t.Context(), s.head(), b)
	if err != nil || len(result.Failed) != 1 || result.Failed[0].Index != 1 || len(result.Ops) != 1 || result.Ops[0].Index != 0 {
		t.Errorf("have %+v, %v, want the second operation to fail", result, err)
	}
	result, err = s.v.ValidateBundle(t.Context(), s.head(), s.fixture.bundle(userop.V07, &wrong))
	if err != nil || len(result.Failed) != 1 || len(result.Ops) != 0 {
		t.Errorf("have %+v, %v, want nothing left", result, err)
	}
	if s.node.calls != asked {
		t.Errorf("have %d bundles asked for, want none", s.node.calls-asked)
	}
	if stats := s.v.BundleStats(); stats.Spared != 1 {
		t.Errorf("have %d bundles that passed without the node, want one", stats.Spared)
	}
	unpaid := s.bundle
	unpaid.From, unpaid.Beneficiary = s.bundler(), s.chain.Contracts().Counter // takes no money
	if _, err := s.v.ValidateBundle(t.Context(), s.head(), unpaid); !errors.Is(err, validation.ErrBundleReverts) {
		t.Errorf("have %v, want ErrBundleReverts", err)
	}
}
