package proposer

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

// relay refuses bundles that hold a poisoned operation, and all bundles while it is down.
type relay struct {
	poison map[common.Hash]bool
	down   bool
}

func (r relay) takes(ops []common.Hash) bool {
	return !r.down && !slices.ContainsFunc(ops, func(h common.Hash) bool { return r.poison[h] })
}

// round is one block: the builder bundles what is pending, in order, within the limits, and tells what happened.
func round(s *Suspects, r relay, pending []common.Hash, block uint64) (left, culprits []common.Hash) {
	deferred := s.Deferred(block)
	var bundle []common.Hash
	for _, op := range pending {
		if slices.Contains(s.Apart(block), op) {
			bundle = []common.Hash{op}
			break
		}
	}
	for _, op := range pending {
		if len(bundle) == 1 && slices.Contains(s.Apart(block), bundle[0]) {
			break
		}
		if limit := s.Limit("b"); limit != 0 && len(bundle) == limit {
			break
		}
		if !slices.Contains(deferred, op) {
			bundle = append(bundle, op)
		}
	}
	if len(bundle) == 0 {
		return pending, nil
	}
	if !r.takes(bundle) {
		s.Refused("b", bundle, block)
		return pending, nil
	}
	culprits = s.Accepted(bundle, block)
	s.Mined("b")
	left = slices.DeleteFunc(slices.Clone(pending), func(h common.Hash) bool {
		return slices.Contains(bundle, h) || slices.Contains(culprits, h)
	})
	return left, culprits
}

func hashes(from, to int) (list []common.Hash) {
	for i := from; i < to; i++ {
		list = append(list, common.Hash(uint256.NewInt(uint64(i)+1).Bytes32()))
	}
	return list
}

// Whatever is poisoned, and whenever the relay is down: every healthy operation is sent, and no healthy one is blamed.
func TestSplittingFindsThePoisonAndSpareTheHealthy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pending := hashes(0, rapid.IntRange(1, 100).Draw(t, "operations"))
		r := relay{poison: map[common.Hash]bool{}}
		for range rapid.IntRange(0, 4).Draw(t, "poisoned") {
			r.poison[rapid.SampledFrom(pending).Draw(t, "poison")] = true
		}
		fresh := len(pending)
		s := NewSuspects(DefaultSuspectsConfig())
		var found []common.Hash
		// Outages come by chance, not by malice: a relay that is down exactly when one operation is sent and up whenever
		// others are cannot be told from one that refuses that operation.
		chance := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		outage := 0
		for block := range uint64(3000) {
			if outage--; outage < 0 && block < 1500 && chance.IntN(100) == 0 {
				outage = 1 + chance.IntN(10)
			}
			r.down = outage > 0
			var culprits []common.Hash
			pending, culprits = round(s, r, pending, block)
			for _, c := range culprits {
				if !r.poison[c] {
					t.Fatalf("block %d: healthy operation %v is called a culprit", block, c)
				}
			}
			found = append(found, culprits...)
			if block%2 == 0 && block < 2500 { // others keep coming, or nothing would be accepted
				pending = append(pending, hashes(fresh, fresh+1)...)
				fresh++
			}
		}
		for _, op := range pending {
			if !r.poison[op] {
				t.Fatalf("healthy operation %v was never sent", op)
			}
		}
		if len(found) != len(r.poison) {
			t.Fatalf("found %d of %d poisoned operations", len(found), len(r.poison))
		}
	})
}

func TestWhileEverythingIsRefusedNoOperationIsToBlame(t *testing.T) {
	s := NewSuspects(DefaultSuspectsConfig())
	pending := hashes(0, 40)
	for block := range uint64(500) {
		var culprits []common.Hash
		if pending, culprits = round(s, relay{down: true}, pending, block); len(culprits) != 0 {
			t.Fatalf("block %d: culprits %v", block, culprits)
		}
	}
	if len(pending) != 40 {
		t.Fatalf("%d operations are left, want all 40", len(pending))
	}
	for _, strike := range s.Strikes() {
		if strike.Strikes != 0 {
			t.Errorf("operation %v has %d strikes", strike.Hash, strike.Strikes)
		}
	}
	blocks := 0
	for block := uint64(500); len(pending) > 0; block++ {
		pending, _ = round(s, relay{}, pending, block)
		if blocks++; blocks > 20 {
			t.Fatalf("%d operations are left 20 blocks after the relay came back", len(pending))
		}
	}
}

func TestOnePoisonedOperationDelaysTheOthersByLogarithmicallyManyBlocks(t *testing.T) {
	s := NewSuspects(DefaultSuspectsConfig())
	pending := hashes(0, 100)
	r := relay{poison: map[common.Hash]bool{pending[0]: true}} // the best paying one: in the first half each time
	refused := 0
	for block := uint64(0); len(pending) == 100; block++ {
		if pending, _ = round(s, r, pending, block); len(pending) == 100 {
			refused++
		}
	}
	if refused > 7 {
		t.Errorf("%d refused bundles before the first accepted one, want at most log2(100), 7", refused)
	}
}

// Once it is known, a poisoned operation is tried alone: it does not make a whole bundle wait each time.
func TestAKnownSuspectIsTriedAlone(t *testing.T) {
	s := NewSuspects(DefaultSuspectsConfig())
	pending := hashes(0, 100)
	poison := pending[0]
	r := relay{poison: map[common.Hash]bool{poison: true}}
	refused := 0
	for block := uint64(0); ; block++ {
		before := len(pending)
		var culprits []common.Hash
		pending, culprits = round(s, r, pending, block)
		if len(culprits) > 0 {
			if !slices.Equal(culprits, []common.Hash{poison}) {
				t.Fatalf("have culprits %v, want the poisoned operation alone", culprits)
			}
			break
		}
		if len(pending) == before {
			refused++
		}
		pending = append(pending, hashes(1000+int(block), 1001+int(block))...)
		if block == 1000 {
			t.Fatal("the poisoned operation is not found")
		}
	}
	// log2(100) to find it, as many to find it again, then one for each strike.
	if want := 2*7 + DefaultSuspectsConfig().MaxStrikes; refused > want {
		t.Errorf("have %d refused bundles, want at most %d", refused, want)
	}
}

func TestShrunkBundlesGrowAgainWhenTheyAreMined(t *testing.T) {
	s := NewSuspects(SuspectsConfig{NoLimit: 32})
	for _, want := range []int{16, 8, 4, 2, 1, 1} {
		if s.Shrink("b", max(1, 2*want)); s.Limit("b") != want {
			t.Errorf("have limit %d, want %d", s.Limit("b"), want)
		}
	}
	for _, want := range []int{2, 4, 8, 16, 0, 0} {
		if s.Mined("b"); s.Limit("b") != want {
			t.Errorf("have limit %d, want %d", s.Limit("b"), want)
		}
	}
}

func TestForgottenSuspectsAreGone(t *testing.T) {
	s := NewSuspects(DefaultSuspectsConfig())
	ops := hashes(0, 2)
	s.Refused("b", ops[:1], 7)
	s.Refused("b", ops[1:], 7)
	s.Forget(func(h common.Hash) bool { return h == ops[0] })
	if have := s.Deferred(8); !slices.Equal(have, ops[1:]) {
		t.Errorf("deferred: have %v, want %v", have, ops[1:])
	}
}
