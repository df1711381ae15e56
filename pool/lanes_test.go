package pool

import (
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// Lanes are visited in turn, a few at a time, each once in a round, while others come and go.
func TestLanesAreVisitedInTurn(t *testing.T) {
	p := newPool(t)
	for i := range uint64(10) {
		add(t, p, operation(i, nonce(i%2, 3), ahead(0)), operation(i, nonce(i%2, 4), ahead(1)))
	}
	for range 2 {
		seen := make(map[common.Address]int)
		var from Cursor
		for rounds := 0; ; rounds++ {
			var list []Lane
			list, from = p.Lanes(from, 3)
			for _, l := range list {
				seen[l.Sender]++
				if !l.First.Eq(uint256.NewInt(3)) || l.EntryPoint != ep07 {
					t.Errorf("have %+v, want its first operation to be 3", l)
				}
			}
			if from == (Cursor{}) {
				break
			}
			if rounds > 10 {
				t.Fatal("the round does not end")
			}
		}
		for i := range uint64(10) {
			if seen[sender(i)] != 1 {
				t.Errorf("sender %d was visited %d times", i, seen[sender(i)])
			}
		}
	}
	first := operation(1, nonce(1, 3))
	next := uint256.Int{4, 1}
	if have := p.Below(ep07.Address, sender(1), next); !slices.Equal(have, []common.Hash{first.Hash}) {
		t.Errorf("below 4: have %v, want %v", have, first.Hash)
	}
	if have := p.Below(ep07.Address, sender(99), next); have != nil {
		t.Errorf("of nobody: have %v", have)
	}
}
