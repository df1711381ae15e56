package proposer

import (
	"testing"

	"baler/pool"

	"pgregory.net/rapid"
)

func TestABundleIsFilledUpToWhatItsTransactionTakes(t *testing.T) {
	s := newScene(t)
	for n := range uint64(60) {
		s.add(t, operation(n, fees(1000, 200-n)))
	}
	req := request()
	req.GasCap = 4_000_000 // 19 operations by their limits, 25 by what they take
	first := s.propose(t, req).Bundle
	if first == nil {
		t.Fatal("no bundle")
	}
	var last *Bundle
	for range 10 {
		last = s.propose(t, req).Bundle
		if last.GasLimit > req.GasCap {
			t.Fatalf("have gas limit %d, want at most %d", last.GasLimit, req.GasCap)
		}
	}
	if have, want := last.GasLimit, req.GasCap*9/10; have < want {
		t.Errorf("have gas limit %d with %d operations, want at least %d", have, len(last.Ops), want)
	}
	if len(last.Ops) <= len(first.Ops) {
		t.Errorf("have %d operations, the first bundle had %d", len(last.Ops), len(first.Ops))
	}
}

func TestOperationsThatUseMoreThanTheLastOnesAreCutBackAtOnce(t *testing.T) {
	s := newScene(t)
	s.proposer.tight = 300 // the last ones used hardly anything of their limits
	for n := range uint64(80) {
		s.add(t, operation(n, fees(1000, 200-n)))
	}
	req := request()
	req.GasCap = 4_000_000
	b := s.propose(t, req).Bundle
	if b == nil || b.GasLimit > req.GasCap || b.GasLimit < req.GasCap*9/10 {
		t.Fatalf("have bundle %+v, want one of nearly %d gas", b, req.GasCap)
	}
	if runs := len(s.validator.bundles); runs > 3 {
		t.Errorf("have %d validations of the whole bundle, want 3 at most", runs)
	}
	if next := s.propose(t, req).Bundle; next.GasLimit > req.GasCap || len(s.validator.bundles) > 5 {
		t.Errorf("the next bundle was validated %d times", len(s.validator.bundles)-3)
	}
}

func TestABundleThatRunsOutOfGasIsMadeSmaller(t *testing.T) {
	s := newScene(t)
	s.validator.most = 10
	for n := range uint64(40) {
		s.add(t, operation(n, fees(1000, 200-n)))
	}
	req := request()
	req.GasCap = 16_777_216
	b := s.propose(t, req).Bundle
	if b == nil || len(b.Ops) > 10 {
		t.Fatalf("have bundle %+v, want at most 10 operations", b)
	}
}

// An operation that fits no transaction, and pays best.
func TestAnOperationThatFitsNoTransactionKeepsNobodyOut(t *testing.T) {
	for _, units := range []uint64{16_700_000, 16_500_000, 20_000_000} {
		s := newScene(t)
		huge, small := operation(1, fees(1000, 900), callGas(units)), operation(2)
		s.add(t, huge, small)
		req := request()
		req.GasCap = 16_777_216
		wantBundle(t, s.propose(t, req), []*pool.Operation{small}, map[*pool.Operation]SkipReason{huge: GasLimitReached})
	}
}

func TestABundleTakesItsShareUnlessTheBestOperationNeedsMore(t *testing.T) {
	s := newScene(t)
	huge, a, b := operation(1, fees(1000, 900), callGas(3_000_000)), operation(2, fees(1000, 500)), operation(3, fees(1000, 400))
	s.add(t, a, b)
	req := request()
	req.GasCap, req.GasShare = 4_000_000, 300_000
	wantBundle(t, s.propose(t, req), []*pool.Operation{a}, map[*pool.Operation]SkipReason{b: GasLimitReached})
	s.add(t, huge)
	p := s.propose(t, req)
	if p.Bundle == nil || p.Bundle.Ops[0] != huge || p.Bundle.GasLimit > req.GasCap {
		t.Fatalf("have bundle %+v, want one with the operation that pays best", p.Bundle)
	}
}

func TestTightnessFollowsBundles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var known tightness
		gasCap := rapid.Uint64Range(1, 1<<40).Draw(t, "cap")
		if have := known.room(gasCap); have != gasCap {
			t.Fatalf("nothing is known: have room %d, want %d", have, gasCap)
		}
		for range rapid.IntRange(1, 20).Draw(t, "bundles") {
			sum := rapid.Uint64Range(1, 1<<40).Draw(t, "sum")
			limit := rapid.Uint64Range(1, 2*sum).Draw(t, "limit")
			before := known
			known.learn(limit, sum)
			seen := max(tightness(limit*1000/sum), loosest)
			if known < min(before, seen) || known > max(before, seen) || seen > before && known != seen {
				t.Fatalf("from %d, with %d: have %d", before, seen, known)
			}
			if room := known.room(gasCap); room < gasCap || room > 4*gasCap {
				t.Fatalf("have room %d at a cap of %d", room, gasCap)
			}
		}
	})
}
