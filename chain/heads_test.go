package chain

import (
	"context"
	"errors"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"pgregory.net/rapid"
)

// blockTree is a node that knows every block ever made, on whatever branch.
type blockTree struct {
	blocks map[common.Hash]*types.Header
	all    []*types.Header
	broken bool // the node answers with an error
	asked  int
}

func newBlockTree() *blockTree {
	tree := &blockTree{blocks: map[common.Hash]*types.Header{}}
	tree.grow(&types.Header{Number: big.NewInt(1000)})
	return tree
}

func (t *blockTree) grow(block *types.Header) *types.Header {
	t.blocks[block.Hash()] = block
	t.all = append(t.all, block)
	return block
}

func (t *blockTree) child(parent *types.Header) *types.Header {
	salt := []byte{byte(len(t.all)), byte(len(t.all) >> 8)}
	return t.grow(&types.Header{ParentHash: parent.Hash(), Number: new(big.Int).Add(parent.Number, big.NewInt(1)), Extra: salt})
}

func (t *blockTree) Latest(context.Context) (*types.Header, error) { return t.all[len(t.all)-1], nil }

func (t *blockTree) HeaderByHash(_ context.Context, hash common.Hash) (*types.Header, error) {
	t.asked++
	if t.broken {
		return nil, errors.New("node is down")
	}
	return t.blocks[hash], nil
}

// viewer applies updates as a consumer would, and fails where they do not fit together.
type viewer struct{ chain []*types.Header }

func (v *viewer) apply(t rapid.TB, update Update) {
	if update.Gap {
		v.chain = []*types.Header{update.Head}
		return
	}
	for _, removed := range update.Removed {
		tip := v.chain[len(v.chain)-1]
		if tip.Hash() != removed.Hash() {
			t.Fatalf("removed block %d is not the tip %d", removed.Number, tip.Number)
		}
		v.chain = v.chain[:len(v.chain)-1]
	}
	if len(v.chain) > 0 && v.chain[len(v.chain)-1].Hash() != update.Head.ParentHash {
		t.Fatalf("block %d does not follow block %d", update.Head.Number, v.chain[len(v.chain)-1].Number)
	}
	v.chain = append(v.chain, update.Head)
}

// Whatever the tree of blocks and the order in which its heads are seen, the updates are a chain of single steps
// that ends at the head, and none is skipped.
func TestUpdatesLeadFromHeadToHeadStepByStep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tree := newBlockTree()
		follower := &Follower{source: tree}
		view := &viewer{}
		for range rapid.IntRange(1, 60).Draw(t, "heads") {
			base := tree.all[max(0, len(tree.all)-1-rapid.IntRange(0, 6).Draw(t, "back"))]
			head := base
			for range rapid.IntRange(0, 5).Draw(t, "new blocks") {
				head = tree.child(head)
			}
			tree.broken = rapid.IntRange(0, 9).Draw(t, "luck") == 0
			updates, err := follower.Advance(t.Context(), head)
			if err != nil {
				tree.broken = false
				if updates, err = follower.Advance(t.Context(), head); err != nil {
					t.Fatalf("second try: %v", err)
				}
			}
			for i, update := range updates {
				view.apply(t, update)
				if update.Last != (i == len(updates)-1) {
					t.Fatalf("update %d of %d: Last is %v", i+1, len(updates), update.Last)
				}
			}
			if tip := view.chain[len(view.chain)-1]; tip.Hash() != head.Hash() {
				t.Fatalf("the view ends at block %d, want %d", tip.Number, head.Number)
			}
		}
	})
}

func TestAKnownHeadIsNoUpdate(t *testing.T) {
	tree := newBlockTree()
	follower := &Follower{source: tree}
	head := tree.child(tree.all[0])
	for i, want := range []int{1, 0, 0} {
		updates, err := follower.Advance(t.Context(), head)
		if err != nil || len(updates) != want {
			t.Fatalf("look %d: have %d updates (%v), want %d", i+1, len(updates), err, want)
		}
	}
}

// A subscription's queue may hold heads from before the last look at the node: they are no reorg.
func TestAPassedHeadIsKnownAsOne(t *testing.T) {
	tree := newBlockTree()
	follower := &Follower{source: tree}
	old := tree.child(tree.all[0])
	tip := tree.child(tree.child(old))
	for _, head := range []*types.Header{tree.all[0], tip} {
		if _, err := follower.Advance(t.Context(), head); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		head *types.Header
		want bool
	}{"passed": {old, true}, "the last": {tip, false}, "another branch": {tree.child(old), false}, "next": {tree.child(tip), false}} {
		if have := follower.passed(test.head); have != test.want {
			t.Errorf("%s: have %v, want %v", name, have, test.want)
		}
	}
}

func TestALongOutageIsAGapAndIsNotWalked(t *testing.T) {
	tree := newBlockTree()
	follower := &Follower{source: tree}
	if _, err := follower.Advance(t.Context(), tree.all[0]); err != nil {
		t.Fatal(err)
	}
	head := tree.all[0]
	for range 10 * ReorgDepth {
		head = tree.child(head)
	}
	updates, err := follower.Advance(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}
	if len(updates) != 1 || !updates[0].Gap || updates[0].Head != head {
		t.Fatalf("have %d updates (%+v), want one gap at block %d", len(updates), updates, head.Number)
	}
	if tree.asked > ReorgDepth+1 {
		t.Errorf("asked for %d headers, want at most %d", tree.asked, ReorgDepth+1)
	}
}

func TestAReorgOfReorgDepthIsFollowedBlockByBlock(t *testing.T) {
	tree := newBlockTree()
	follower := &Follower{source: tree}
	view := &viewer{}
	advance := func(head *types.Header) {
		updates, err := follower.Advance(t.Context(), head)
		if err != nil {
			t.Fatal(err)
		}
		for _, update := range updates {
			if update.Gap && len(view.chain) > 0 {
				t.Fatal("a gap")
			}
			view.apply(t, update)
		}
	}
	root := tree.all[0]
	left, right := root, root
	advance(root)
	for range ReorgDepth {
		left = tree.child(left)
		advance(left)
	}
	for range ReorgDepth {
		right = tree.child(right)
	}
	advance(right)
	if tip := view.chain[len(view.chain)-1]; tip.Hash() != right.Hash() {
		t.Fatalf("the view ends at %d", tip.Number)
	}
}
