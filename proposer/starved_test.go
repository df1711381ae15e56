package proposer

import (
	"testing"

	"baler/pool"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// An operation that looks at the sender of one that pays more is left out; every time it is mined, another such one comes. After
// so many times the operation goes first, and the one that pays more waits.
func TestADeferredOperationDoesNotStarve(t *testing.T) {
	const limit = 3
	for name, c := range map[string]struct {
		changes []change
		reason  SkipReason
		setUp   func(s *scene, poor *pool.Operation)
	}{
		"it looks at the sender of one that pays more": {nil, TouchesOther, func(s *scene, poor *pool.Operation) {
			s.validator.validations = map[common.Address]Validation{poor.Op.Sender: {Accessed: []common.Address{address('s', 1)}}}
		}},
		"its paymaster can pay for one": {[]change{paidBy(1)}, DepositShort, func(s *scene, poor *pool.Operation) {
			s.validator.deposits = map[common.Address]uint256.Int{address('p', 1): poor.Op.MaxCost()}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, func(c *Config) { c.MaxDeferred = limit })
			poor := operation(2, append([]change{fees(1000, 20)}, c.changes...)...)
			c.setUp(s, poor)
			s.add(t, poor)
			for n := range uint64(limit + 1) {
				rich := operation(1, append([]change{fees(1000, 90), nonce(0, n)}, c.changes...)...)
				rich.NonceAhead = 0
				s.add(t, rich)
				p := s.propose(t, request())
				if n < limit {
					wantBundle(t, p, []*pool.Operation{rich}, map[*pool.Operation]SkipReason{poor: c.reason})
					s.pool.Mined(pool.Inclusion{EntryPoint: ep07.Address, Sender: rich.Op.Sender, Nonce: rich.Op.Nonce, Hash: rich.Hash, Block: 101 + n})
					continue
				}
				wantBundle(t, p, []*pool.Operation{poor}, map[*pool.Operation]SkipReason{rich: c.reason})
			}
		})
	}
}

func TestAStarvedOperationKeepsItsPlaceInItsLane(t *testing.T) {
	s := newStarved(1)
	a, b, c, d := operation(1, nonce(0, 0)), operation(2), operation(1, nonce(0, 1)), operation(1, nonce(0, 2))
	ops := []*pool.Operation{b, a, c, d}
	s.count(ops, []Skip{{Hash: c.Hash, Reason: TouchesOther}}, true)
	have := s.first(ops)
	for i, want := range []*pool.Operation{a, c, b, d} {
		if have[i] != want {
			t.Fatalf("place %d: have %v of %v, want %v of %v", i, have[i].Op.Nonce.Dec(), have[i].Op.Sender, want.Op.Nonce.Dec(), want.Op.Sender)
		}
	}
	s.count(ops, nil, true)
	if have := s.first(ops); have[0] != b {
		t.Error("it was bundled, and goes first still")
	}
}

// One that is larger than any bundle does not keep the others out for ever.
func TestAnOperationThatFitsNoBundleEndsNoList(t *testing.T) {
	s := newScene(t, func(c *Config) { c.MaxBundleGas = 500_000 })
	huge, small := operation(1, callGas(600_000), fees(1000, 90)), operation(2, fees(1000, 80))
	s.add(t, huge, small)
	wantBundle(t, s.propose(t, request()), []*pool.Operation{small}, map[*pool.Operation]SkipReason{huge: GasLimitReached})
}
