package store

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"

	"baler/proposer"
)

func momentAt(block uint64, candidates int) *proposer.Moment {
	return &proposer.Moment{Block: block, EntryPoint: common.Address{1}, BaseFee: block, Candidates: make([]proposer.Candidate, candidates)}
}

func blocksOf(t *testing.T, s *Store) (blocks []uint64) {
	t.Helper()
	for m, err := range s.Moments() {
		if err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, m.Block)
	}
	return blocks
}

func TestTheNewestMomentsAreKeptAsFarAsTheyFit(t *testing.T) {
	dir := t.TempDir()
	options := Options{MomentBytes: 1 << 10}
	s := mustOpenFast(t, dir, options)
	stop := start(t, s)
	for block := uint64(1); block <= 40; block++ {
		if err := s.Enqueue(t.Context(), PutMoment(common.Address{2}, momentAt(block, 3))); err != nil {
			t.Fatal(err)
		}
	}
	// A sender that proposes once more at a block had less to choose from: the first time counts.
	if err := s.Commit(t.Context(), PutMoment(common.Address{2}, momentAt(40, 1))); err != nil {
		t.Fatal(err)
	}
	stop()
	again := mustOpenFast(t, dir, options)
	defer start(t, again)()
	blocks := blocksOf(t, again)
	if len(blocks) < 3 || len(blocks) > 20 || blocks[len(blocks)-1] != 40 || again.momentBytes > options.MomentBytes || again.momentBytes < options.MomentBytes/2 {
		t.Errorf("have blocks %v in %d bytes, want the newest in at most %d", blocks, again.momentBytes, options.MomentBytes)
	}
	for m, err := range again.Moments() {
		if err != nil || len(m.Candidates) != 3 {
			t.Errorf("block %d: have %d candidates (%v), want the 3 it had first", m.Block, len(m.Candidates), err)
		}
	}
}
