package pool

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"
)

func TestListsThatAreReplacedDecideFromThenOn(t *testing.T) {
	t.Parallel()
	a, b := common.Address{1}, common.Address{2}
	config := DefaultConfig()
	config.Block = []common.Address{a}
	p := New(config)
	p.SetReputation([]Reputation{{Address: b, OpsSeen: 1000}, {Address: common.Address{3}, OpsSeen: 300}})
	for _, step := range []struct {
		allow, block []common.Address
		a, b         Status
	}{
		{nil, []common.Address{a}, Banned, Banned},
		{[]common.Address{b}, []common.Address{a}, Banned, OK},
		{[]common.Address{a, b}, nil, OK, OK},
		{nil, nil, OK, Banned},
	} {
		p.SetLists(step.allow, step.block)
		if have := p.ReputationOf(a).Status; have != step.a {
			t.Errorf("allow %v, block %v: have %s for the first, want %s", step.allow, step.block, have, step.a)
		}
		if have := p.ReputationOf(b).Status; have != step.b {
			t.Errorf("allow %v, block %v: have %s for the second, want %s", step.allow, step.block, have, step.b)
		}
	}
}

func TestAnEntityThatIsBlockedLosesItsOperations(t *testing.T) {
	t.Parallel()
	p := newPool(t)
	one, other := operation(1, madeBy(7)), operation(2)
	add(t, p, one, other)
	removed := p.SetLists(nil, []common.Address{*fac(7)})
	if len(removed) != 1 || removed[0].Operation.Hash != one.Hash || removed[0].Reason != EntityBanned {
		t.Errorf("have removed %v, want the operation of the blocked factory", removed)
	}
	if p.Len() != 1 || p.Get(other.Hash) == nil {
		t.Error("the other operation should stay")
	}
	p.SetLists(nil, nil)
	add(t, p, one)
}
