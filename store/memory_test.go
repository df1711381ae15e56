package store

import (
	"encoding/binary"
	"path/filepath"
	"strings"
	"testing"

	"baler/internal/redistest"
	"baler/profit"

	"github.com/ethereum/go-ethereum/common"
)

// A pool in Redis takes the memory of what waits and of as much of the past as is remembered, however many operations go through it:
// used_memory, as Redis tells it, stays.
func TestRedisForgetsWhatThePoolForgets(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "no")
	options := Options{History: 200, Earnings: 50, MomentBytes: 64 << 10}
	s, err := openPlace(redisPrefix+server.Addr+"/"+filepath.Base(t.Name()), testMeta, options)
	if err != nil {
		t.Fatal(err)
	}
	defer start(t, s)()
	client := server.Client(t)
	const rounds, operations, story = 6, 1000, 2000
	var used [rounds]int64
	for round := range rounds {
		for i := range operations {
			n := uint64(round*operations + i)
			op := someOperation(byte(n))
			m := MinedOperation{EntryPoint: common.Address{1}, Block: n / 10, Operation: op.Op, Story: []byte(`"` + strings.Repeat("x", story) + `"`)}
			binary.BigEndian.PutUint64(m.Hash[:], n+1)
			binary.BigEndian.PutUint64(m.BlockHash[:], m.Block+1)
			writes := []Write{PutOperation(op), PutMined(m), DeleteOperations(op.Hash)}
			if n%10 == 0 {
				e := profit.Entry{Block: m.Block, Transaction: m.BlockHash, BlockHash: m.BlockHash}
				writes = append(writes, PutEarning(&e), PutMoment(common.Address{2}, momentAt(m.Block, 10)))
			}
			if err := s.Enqueue(t.Context(), writes...); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Commit(t.Context(), PutReputation(nil)); err != nil { // all before it is there too
			t.Fatal(err)
		}
		keys, err := client.Keys(t.Context(), "*:table").Result()
		if err != nil || len(keys) != 1 {
			t.Fatalf("have tables %v, %v, want one", keys, err)
		}
		if used[round], err = client.MemoryUsage(t.Context(), keys[0], 0).Result(); err != nil {
			t.Fatal(err)
		}
		t.Logf("after %d operations: %d bytes, %d for each of the %d that are remembered", (round+1)*operations, used[round], used[round]/int64(options.History), options.History)
	}
	if used[0] < int64(options.History)*story {
		t.Errorf("have %d bytes, want those of %d stories at least", used[0], options.History)
	}
	for round, bytes := range used[1:] {
		if bytes > used[0]*5/4 {
			t.Errorf("have %d bytes after %d operations, %d after the first %d: it grows", bytes, (round+2)*operations, used[0], operations)
		}
	}
}
