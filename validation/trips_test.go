package validation_test

import (
	"context"
	"sync"
	"testing"

	"baler/entrypoint"
	"baler/evm"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
)

// Admission takes at most three sequential round trips for an operation of which nothing is known, on a node that has
// never been asked anything; at most one at a new head for an account and contracts that are known. All requests count,
// whatever they are for.
func TestRoundTripsOfAdmission(t *testing.T) {
	for name, lacks := range map[string][]string{
		"plain node": nil,
		"a node without access lists and simulations": {"eth_createAccessList", "eth_simulateV1"},
	} {
		t.Run(name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, f *fixture, v userop.Version) {
				ep := entrypoint.Canonical(v)
				fresh := f.account(v, 1)
				f.fund(fresh.address)
				plain, sponsored := f.deployed(v, 2), f.deployed(v, 3)
				subjects := map[string]func() *userop.UserOperation{
					"plain":     func() *userop.UserOperation { return f.sign(f.op(plain)) },
					"creating":  func() *userop.UserOperation { return f.sign(creating(fresh, f.op(fresh))) },
					"sponsored": func() *userop.UserOperation { return f.sign(f.sponsored(f.op(sponsored), 0, 0)) },
				}
				if v != userop.V06 {
					key := f.chain.Keys()[3+int(v)]
					subjects["delegated"] = func() *userop.UserOperation { return f.signHash(f.delegated(v, key), key) }
				}
				for kind, subject := range subjects {
					node := &tripNode{Node: newPlainNode(f.node, lacks...)}
					validator := validation.New(evm.NewSource(node, f.chain.ChainConfig(), evm.Options{}), validation.Config{SampleEvery: -1})
					admit := func(most int, when string, op *userop.UserOperation) {
						t.Helper()
						f.mine()
						node.trips, node.requests = 0, 0
						if _, err := validator.Validate(t.Context(), f.head(), ep, op, validation.Options{}); err != nil {
							t.Errorf("%s, %s: %v", kind, when, err)
						}
						if node.trips > most {
							t.Errorf("%s, %s: have %d round trips (%d requests), want at most %d", kind, when, node.trips, node.requests, most)
						}
						t.Logf("%s, %s: %d round trips, %d requests", kind, when, node.trips, node.requests)
					}
					op := subject()
					admit(3, "first seen", op)
					admit(1, "the same, at a new head", op)
					other := *op
					other.VerificationGasLimit++
					if other.Paymaster != nil {
						f.responsored(&other)
					}
					if kind == "delegated" {
						f.signHash(&other, f.chain.Keys()[3+int(v)])
					} else {
						f.sign(&other)
					}
					admit(1, "another of a known account", &other)
				}
			})
		})
	}
}

// Once accounts of a kind have been seen, a new one of that kind is one round trip too: where an account keeps its owner is
// where the others do.
func TestAnAccountOfAKnownKindTakesOneRoundTrip(t *testing.T) {
	eachVersion(t, func(t *testing.T, f *fixture, v userop.Version) {
		node := &tripNode{Node: f.node}
		validator := validation.New(evm.NewSource(node, f.chain.ChainConfig(), evm.Options{}), validation.Config{SampleEvery: -1})
		for i := range uint64(4) {
			op := f.sign(f.op(f.deployed(v, 10+i)))
			f.mine()
			node.trips, node.requests = 0, 0
			if _, err := validator.Validate(t.Context(), f.head(), entrypoint.Canonical(v), op, validation.Options{}); err != nil {
				t.Fatal(err)
			}
			if i > 0 && (node.trips > 1 || node.requests > 3) { // accounts, slots, and its code
				t.Errorf("account %d: have %d round trips and %d requests, want one of at most 3", i, node.trips, node.requests)
			}
		}
	})
}

// With a node that has nothing but eth_ methods, of these not all, operations and bundles are validated.
func TestAPlainNodeIsEnough(t *testing.T) {
	f := newFixture(t, validation.Config{})
	node := newPlainNode(f.node, "eth_simulateV1", "eth_createAccessList", "eth_config")
	v := validation.New(evm.NewSource(node, f.chain.ChainConfig(), evm.Options{}), validation.Config{SampleEvery: 1})
	for _, version := range userop.Versions() {
		ep := entrypoint.Canonical(version)
		a, b := f.deployed(version, 1), f.deployed(version, 2)
		good, bad := f.sign(f.op(a)), f.signWith(f.op(b), f.chain.Keys()[7])
		if err := v.Prepare(t.Context(), f.head(), ep, []*userop.UserOperation{good, bad}); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Validate(t.Context(), f.head(), ep, good, validation.Options{}); err != nil {
			t.Errorf("%v: %v", version, err)
		}
		if _, err := v.Validate(t.Context(), f.head(), ep, bad, validation.Options{}); err == nil {
			t.Errorf("%v: have a wrong signature accepted", version)
		}
		result, err := v.ValidateBundle(t.Context(), f.head(), f.bundle(version, good, bad))
		if err != nil {
			t.Fatal(err)
		}
		if len(result.Failed) != 1 || result.Failed[0].Index != 1 || len(result.Ops) != 1 {
			t.Errorf("%v: have %+v, want the second to fail", version, result)
		}
	}
}

// Where the state of some of many operations has changed, they are run again without asking the node one by one.
func TestAChangedPoolIsRevalidatedInAFewRoundTrips(t *testing.T) {
	f := newFixture(t, validation.Config{})
	ep := entrypoint.Canonical(userop.V07)
	node := &tripNode{Node: f.node}
	source := evm.NewSource(node, f.chain.ChainConfig(), evm.Options{Settlement: 2})
	v := validation.New(source, validation.Config{SampleEvery: -1})
	ops := f.pending(ep, 40)
	validate := func() (refused int) {
		t.Helper()
		for _, op := range ops {
			if _, err := v.Validate(t.Context(), f.head(), ep, op, validation.Options{}); err != nil {
				refused++
			}
		}
		return refused
	}
	// Twice, the second time with code that is settled: it is not read again to compare, but it is to run.
	for range 3 {
		validate()
		v.Forget()
		f.mine()
		f.mine()
	}
	if refused := validate(); refused != 0 {
		t.Fatalf("have %d refused, want none", refused)
	}
	f.sendBundle(f.bundle(userop.V07, ops[:10]...))
	node.trips = 0
	if err := v.Prepare(t.Context(), f.head(), ep, ops); err != nil {
		t.Fatal(err)
	}
	// What is mined has a used nonce and an account that is there; the factory's nonce, which creations look at, is another
	// for all.
	before := v.MemoStats()
	if refused := validate(); refused != 10 {
		t.Errorf("have %d refused, want the 10 that are mined", refused)
	}
	// One for what was read before, one for the code of the accounts that are new, one for what running takes.
	if after := v.MemoStats(); node.trips > 3 || after.Stale-before.Stale != 40 {
		t.Errorf("have %d round trips and %d run again, want at most 3, and all 40", node.trips, after.Stale-before.Stale)
	}
}

// However many operations wait, one round trip per head tells that all of them are still valid.
func TestAPoolIsRevalidatedInOneRoundTrip(t *testing.T) {
	f := newFixture(t, validation.Config{})
	ep := entrypoint.Canonical(userop.V07)
	node := &tripNode{Node: f.node}
	v := validation.New(evm.NewSource(node, f.chain.ChainConfig(), evm.Options{}), validation.Config{SampleEvery: -1})
	ops := f.pending(ep, 100)
	for _, op := range ops {
		if _, err := v.Validate(t.Context(), f.head(), ep, op, validation.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	f.mine()
	node.trips, node.requests = 0, 0
	if err := v.Prepare(t.Context(), f.head(), ep, ops); err != nil {
		t.Fatal(err)
	}
	if node.trips != 1 || node.requests > 10 {
		t.Errorf("prepare: have %d round trips with %d requests, want one with at most 10", node.trips, node.requests)
	}
	before := v.MemoStats().Hits
	for _, op := range ops {
		if _, err := v.Validate(t.Context(), f.head(), ep, op, validation.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	if hits := v.MemoStats().Hits - before; hits != uint64(len(ops)) || node.trips != 1 {
		t.Errorf("have %d hits and %d round trips, want %d and 1", hits, node.trips, len(ops))
	}
	// Unprepared, a known operation at a new head takes one round trip too.
	f.mine()
	node.trips = 0
	if _, err := v.Validate(t.Context(), f.head(), ep, ops[0], validation.Options{}); err != nil || node.trips != 1 {
		t.Errorf("alone: have %v in %d round trips, want 1", err, node.trips)
	}
}

// One validator serves many: clients that send, and senders that look at the pool again when a block comes.
func TestValidationsAtTheSameTimeDoNotMix(t *testing.T) {
	f := newFixture(t, validation.Config{})
	ep := entrypoint.Canonical(userop.V07)
	ops := f.pending(ep, 12)
	want := make([]*validation.Result, len(ops))
	for i, op := range ops {
		alone := validation.New(evm.NewSource(f.node, f.chain.ChainConfig(), evm.Options{}), validation.Config{})
		var err error
		if want[i], err = alone.Validate(t.Context(), f.head(), ep, op, validation.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	v := validation.New(evm.NewSource(f.node, f.chain.ChainConfig(), evm.Options{}), validation.Config{})
	for range 2 { // the second time from the memo, at another block
		head := f.head()
		var group sync.WaitGroup
		group.Go(func() {
			if err := v.Prepare(t.Context(), head, ep, ops); err != nil {
				t.Error(err)
			}
		})
		for i := range 2 * len(ops) {
			op, want := ops[i/2], want[i/2]
			group.Go(func() {
				have, err := v.Validate(t.Context(), head, ep, op, validation.Options{})
				switch {
				case err != nil:
					t.Errorf("operation %d: %v", i/2, err)
				case have.VerificationGasUsed != want.VerificationGasUsed || have.Prefund != want.Prefund:
					t.Errorf("operation %d: have %+v, alone %+v", i/2, have, want)
				}
			})
		}
		group.Wait()
		f.mine()
	}
	if hits := v.MemoStats().Hits; hits < uint64(2*len(ops)) {
		t.Errorf("have %d answers from the memo, want at least %d", hits, 2*len(ops))
	}
}

// tripNode counts round trips and requests.
type tripNode struct {
	evm.Node
	mu              sync.Mutex
	trips, requests int
}

func (n *tripNode) CallContext(ctx context.Context, result any, method string, args ...any) error {
	n.mu.Lock()
	n.trips++
	n.requests++
	n.mu.Unlock()
	return n.Node.CallContext(ctx, result, method, args...)
}

func (n *tripNode) BatchCallContext(ctx context.Context, batch []rpc.BatchElem) error {
	n.mu.Lock()
	n.trips++
	n.requests += len(batch)
	n.mu.Unlock()
	return n.Node.BatchCallContext(ctx, batch)
}

// pending returns signed operations of as many accounts that are not deployed: each creates its own.
func (f *fixture) pending(ep entrypoint.EntryPoint, n int) []*userop.UserOperation {
	f.t.Helper()
	ops := make([]*userop.UserOperation, n)
	paymaster := f.chain.Contracts().Paymasters[ep.Version]
	for i := range ops {
		a := f.account(ep.Version, uint64(10_000+i))
		op := creating(a, f.op(a))
		op.MaxFeePerGas = *uint256.NewInt(3e9)
		ops[i] = f.sign(f.sponsored(op, 0, 0))
		if *op.Paymaster != paymaster {
			f.t.Fatalf("have paymaster %s, want %s", op.Paymaster, paymaster)
		}
	}
	return ops
}

// The second bundle and all later ones of a pool take one round trip for what they depend on, and the node's own check: what
// the calls reach is read with the pool, since the last bundle's did.
func TestABundleTakesNoRoundTripOfItsOwnButTheNodesCheck(t *testing.T) {
	eachVersion(t, func(t *testing.T, f *fixture, version userop.Version) {
		ep := entrypoint.Canonical(version)
		node := &tripNode{Node: f.node}
		v := validation.New(evm.NewSource(node, f.chain.ChainConfig(), evm.Options{}), validation.Config{SampleEvery: -1})
		var ops []*userop.UserOperation
		for i := range uint64(4) {
			ops = append(ops, f.sign(f.op(f.deployed(version, 20+i))))
		}
		for _, op := range ops {
			if _, err := v.Validate(t.Context(), f.head(), ep, op, validation.Options{}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 3 {
			f.mine()
			node.trips, node.requests = 0, 0
			if err := v.Prepare(t.Context(), f.head(), ep, ops); err != nil {
				t.Fatal(err)
			}
			result, err := v.ValidateBundle(t.Context(), f.head(), f.bundle(version, ops...))
			if err != nil || len(result.Failed) > 0 {
				t.Fatalf("have %+v, %v, want a bundle that passes", result, err)
			}
			if i > 0 && node.trips > 2 {
				t.Errorf("bundle %d: have %d round trips, want 2", i, node.trips)
			}
		}
	})
}
