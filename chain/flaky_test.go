package chain

import (
	"context"
	"errors"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// flakyTree is a node that fails for some requests now and then.
type flakyTree struct {
	*blockTree

	calls int
}

func (t *flakyTree) HeaderByHash(ctx context.Context, hash common.Hash) (*types.Header, error) {
	if t.calls++; t.calls%12 < 4 {
		return nil, errors.New("too many requests")
	}
	return t.blockTree.HeaderByHash(ctx, hash)
}

// A walk back over missed blocks needs many answers. If each failure began it anew, the chain would grow faster than the
// walk succeeds, and no head would be seen any more.
func TestAFlakyNodeIsFollowed(t *testing.T) {
	tree := &flakyTree{blockTree: newBlockTree()}
	follower := &Follower{source: tree}
	view := &viewer{}
	head := tree.all[0]
	advance := func() bool {
		updates, err := follower.Advance(t.Context(), head)
		for i, update := range updates {
			if update.Gap && len(view.chain) > 0 {
				t.Fatalf("update %d has a gap", i)
			}
			view.apply(t, update)
		}
		return err == nil
	}
	advance()
	for range 10 {
		head = tree.child(head)
	}
	tries := 0
	for ; !advance(); tries++ {
		head = tree.child(head) // each failure costs a block
		if tries > 30 {
			t.Fatal("the head is never reached")
		}
	}
	if have := view.chain[len(view.chain)-1]; have != head {
		t.Errorf("have head %d, want %d", have.Number, head.Number)
	}
	if tries == 0 {
		t.Error("the node never failed: the test shows nothing")
	}
	if len(follower.walked) > 0 {
		t.Errorf("have %d headers kept from a walk that has ended", len(follower.walked))
	}
}
