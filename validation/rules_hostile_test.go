package validation_test

import (
	"errors"
	"testing"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/google/go-cmp/cmp"
)

// hostile is a program for an account's validation that makes it work as hard as its gas allows.
type hostile struct {
	name  string
	steps []step
	rule  erc7562.Rule // "": the EntryPoint refuses it, or it is allowed
	reads int          // slots at least read
}

func hostilePrograms() []hostile {
	none := common.Address{}
	return []hostile{
		{"10,000 slots", []step{run(ruleTarget, do(stepManyLoads, none, 10_000))}, "", 2_000},
		{"2,000 slots", []step{run(ruleTarget, do(stepManyLoads, none, 2_000))}, "STO-021", 2_000},
		{"5,000 transient slots", []step{run(ruleTarget, do(stepManyTStores, none, 5_000))}, "STO-021", 0},
		{"5,000 hashes of the sender", []step{do(stepManyHashes, ruleAccount, 5_000)}, "", 0},
		{"5,000 hashes and 500 slots", []step{do(stepManyHashes, ruleAccount, 5_000), run(ruleTarget, do(stepManyLoads, none, 500))}, "STO-021", 500},
		{"calls 60 deep", []step{do(stepDig, none, 60, encodeSteps(do(int(vm.TIMESTAMP), none, 0))...)}, "OP-011", 0},
		{"a megabyte of return data", []step{do(stepTryCall, bare["return bomb"].address, 3_000_000)}, "", 0},
		{"a megabyte of revert data", []step{do(stepTryCall, bare["revert bomb"].address, 3_000_000)}, "", 0},
		{"a revert with a megabyte", []step{do(int(vm.CALL), bare["revert bomb"].address, 0)}, "", 0},
		{"a loop without end", []step{do(stepTryCall, bare["loop"].address, 2_000_000)}, "OP-020", 0},
		{"a loop that eats all gas", []step{do(int(vm.CALL), bare["loop"].address, 0)}, "", 0},
		{"calls of itself to the last gas", []step{do(stepTryCall, bare["recursion"].address, 2_000_000)}, "OP-020", 0},
	}
}

// Contracts that make validation work as hard as their gas allows: there is an answer, the same by tracing, and it holds
// no more verdicts and reads than are bounded.
func TestHostileContracts(t *testing.T) {
	w := newRuleWorld(t, userop.V07)
	for _, c := range hostilePrograms() {
		t.Run(c.name, func(t *testing.T) {
			a := w.actors(userop.V07, scenarios[0])
			op := w.operation(userop.V07, scenarios[0], a, c.steps)
			here := w.outcome(t, w.v, op)
			if (len(here.Verdicts) > 0) != (c.rule != "") || c.rule != "" && here.Verdicts[0].Rule != c.rule {
				t.Errorf("have %d %q, want rule %q", here.Kind, here.Message, c.rule)
			}
			if len(here.Verdicts) > 32 || len(here.Message) > 4_096 {
				t.Errorf("have %d verdicts and a message of %d bytes, want at most 32 and 4,096", len(here.Verdicts), len(here.Message))
			}
			if diff := cmp.Diff(here, w.outcome(t, w.traced, op)); diff != "" {
				t.Errorf("local EVM and tracing differ (-local +traced):\n%s", diff)
			}
			if c.reads == 0 {
				return
			}
			stats := w.v.Source().View(w.head()).Stats()
			if stats.RoundTrips > 40 {
				t.Errorf("have %d round trips for all so far, want at most 40", stats.RoundTrips)
			}
		})
	}
}

// BenchmarkHostile is what the work of such programs costs in the local EVM: time, and memory that is allocated meanwhile.
// Their verification gas limit is 6,000,000, twelve times what ERC-7562 allows.
func BenchmarkHostile(b *testing.B) {
	w := newRuleWorld(b, userop.V07)
	for _, c := range hostilePrograms() {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			op := w.operation(userop.V07, scenarios[0], w.actors(userop.V07, scenarios[0]), c.steps)
			head := w.head()
			for b.Loop() {
				w.v.Forget() // and so no refusal or result is remembered
				_, err := w.v.Validate(b.Context(), head, entrypoint.Canonical(userop.V07), op, validation.Options{})
				if _, refused := errors.AsType[*validation.Refusal](err); err != nil && !refused {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRules is the admission of an operation that was not seen before, on state that is known: in the local EVM with
// the rules and without, and with the rules by the node's debug_traceCall over loopback.
func BenchmarkRules(b *testing.B) {
	f := newFixture(b, validation.Config{})
	source := f.all()
	for salt, version := range []userop.Version{userop.V06, userop.V07} {
		f.t = b
		a := f.deployed(version, uint64(salt))
		ops := make([]*userop.UserOperation, 2_000)
		for i := range ops {
			op := f.op(a)
			op.CallGasLimit += uint64(i)
			ops[i] = f.sign(op)
		}
		head := f.head()
		for _, mode := range []struct {
			name string
			cfg  validation.Config
		}{{"rules", validation.Config{}}, {"unsafe", validation.Config{Unsafe: true}}, {"traced", validation.Config{Tracing: validation.TracingAlways}}} {
			b.Run(mode.name+"/"+version.String(), func(b *testing.B) {
				b.ReportAllocs()
				v := validation.New(source, mode.cfg)
				for i := 0; b.Loop(); i++ {
					if i == len(ops) { // one that has forgotten them all
						b.StopTimer()
						v, i = validation.New(source, mode.cfg), 0
						b.StartTimer()
					}
					if _, err := v.Validate(b.Context(), head, entrypoint.Canonical(version), ops[i], validation.Options{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
