package node

import (
	"context"
	"encoding/binary"
	"testing"

	"baler/rpc"
	"baler/store"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// runStore opens a store of its own and runs its committer, until the test's end.
func runStore(t *testing.T) *store.Store {
	t.Helper()
	kept, err := store.Open(t.TempDir(), store.Meta{ChainID: 1337}, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- kept.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := kept.Close(); err != nil {
			t.Error(err)
		}
	})
	return kept
}

// Of the operations that were mined long ago the memory has where, and the store the rest: nobody who asks notices, not even a reorg.
func TestOperationsThatAreOutOfMemoryAreReadFromTheStore(t *testing.T) {
	t.Parallel()
	kept := runStore(t)
	n := &Node{config: Config{Store: kept}}
	with, without := newHistory(100_000, n.readsMined()), newHistory(100_000, (&Node{}).readsMined())

	const mined = wholeMined + 100
	hash := func(i uint64) (h common.Hash) { binary.BigEndian.PutUint64(h[:], i+1); return h }
	var writes []store.Write
	for i := range uint64(mined) {
		m := minedOperation{inclusion: rpc.Inclusion{BlockNumber: i / 10, BlockHash: common.Hash{byte(i / 10)}}}
		if i%2 == 0 { // the others are of somebody else
			m.op = &userop.UserOperation{Version: userop.V07, Nonce: *uint256.NewInt(i)}
			writes = append(writes, store.PutMined(store.MinedOperation{Hash: hash(i), Block: i / 10, BlockHash: m.inclusion.BlockHash, Operation: m.op}))
		}
		with.add(hash(i), m)
		without.add(hash(i), m)
	}
	if err := kept.Commit(t.Context(), writes...); err != nil {
		t.Fatal(err)
	}
	inMemory := func(h *history) (whole int) {
		for _, m := range h.mined {
			if m.op != nil {
				whole++
			}
		}
		return whole
	}
	if have := inMemory(with); have != wholeMined/2 {
		t.Errorf("with a store %d operations are in memory, want %d", have, wholeMined/2)
	}
	if have := inMemory(without); have != mined/2 {
		t.Errorf("without a store %d operations are in memory, want all %d", have, mined/2)
	}
	check := func(h *history, i uint64, m minedOperation) {
		t.Helper()
		op, err := h.operation(hash(i), m)
		if err != nil || (op != nil) != (i%2 == 0) || op != nil && op.Nonce.Uint64() != i {
			t.Errorf("operation %d: have %+v, %v", i, op, err)
		}
	}
	for _, h := range []*history{with, without} {
		for _, i := range []uint64{0, 1, 42, mined - 2, mined - 1} {
			m, known := h.get(hash(i))
			if !known || m.inclusion.BlockNumber != i/10 {
				t.Errorf("operation %d: have %v, %+v, want it known", i, known, m)
			}
			check(h, i, m)
		}
		h.add(hash(42), minedOperation{inclusion: rpc.Inclusion{BlockNumber: 4, BlockHash: common.Hash{4}}}) // seen again, without the operation
		ours := h.unmine([]block{{4, common.Hash{4}}})
		if len(ours) != 5 {
			t.Errorf("a reorg takes out %d of ours, want 5", len(ours))
		}
		for i := uint64(40); i < 50; i += 2 {
			check(h, i, ours[hash(i)])
		}
	}
}
