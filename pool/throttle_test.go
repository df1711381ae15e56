package pool

import (
	"testing"

	"baler/rejection"

	"github.com/holiman/uint256"
)

// EREP-070: an entity that behaves otherwise in a bundle is throttled until enough of its operations are included.
func TestThrottle(t *testing.T) {
	st := staked(Staked{Paymaster: true})
	t.Run("EREP-070/an entity that was OK is throttled, not banned", func(t *testing.T) {
		p := newPool(t)
		p.SetDeposit(ep07.Address, *pm(1), *uint256.NewInt(1e9))
		p.SetReputation([]Reputation{{Address: *pm(1), OpsSeen: 900, OpsIncluded: 880}})
		p.Throttle(*pm(1))
		if have := p.ReputationOf(*pm(1)).Status; have != Throttled {
			t.Errorf("have %v, want %v", have, Throttled)
		}
		for i := range uint64(4) {
			add(t, p, operation(i, paidBy(1, 1), st))
		}
		refused(t, p, operation(9, paidBy(1, 1), st), rejection.Throttled, "throttled")
		check(t, p)
	})
	t.Run("EREP-070/one that is banned stays so, one that is always allowed too", func(t *testing.T) {
		p := newPool(t)
		p.SetReputation([]Reputation{{Address: *pm(1), OpsSeen: 10_000}})
		p.Throttle(*pm(1))
		if have := p.ReputationOf(*pm(1)); have.Status != Banned || have.OpsSeen != 10_000 {
			t.Errorf("have %+v, want it banned as before", have)
		}
		p.listed[*pm(2)] = allowed
		p.Throttle(*pm(2))
		if have := p.ReputationOf(*pm(2)); have.Status != OK || have.OpsSeen != 0 {
			t.Errorf("have %+v, want it allowed and not counted", have)
		}
		check(t, p)
	})
}
