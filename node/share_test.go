package node

import (
	"testing"

	"pgregory.net/rapid"
)

func TestBundlesOfAnEvenShareFillABlock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.Uint64Range(21_000, 1<<24).Draw(t, "most")
		block := rapid.Uint64Range(21_000, 200_000_000).Draw(t, "block")
		share := evenShare(block, most)
		if share > most || share == 0 {
			t.Fatalf("have %d, want at most %d", share, most)
		}
		if block <= most {
			return
		}
		n := block / share
		if n*most < block || block-n*share >= n+share/2 {
			t.Fatalf("%d of %d in a block of %d", n, share, block)
		}
	})
	if have := evenShare(60_000_000, 1<<24); have != 15_000_000 {
		t.Errorf("have %d, want 15,000,000", have)
	}
}
