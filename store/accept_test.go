package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"pgregory.net/rapid"

	"baler/pool"
)

// accept makes an operation durable through the log.
func accept(t tester, s *Store, writes ...Write) {
	t.Helper()
	receipt, err := s.Accept(writes...)
	if err == nil {
		err = receipt.Wait(context.Background())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// kept returns the operations of a store by their hashes.
func kept(t tester, s *Store) map[common.Hash]*pool.Operation {
	t.Helper()
	have := make(map[common.Hash]*pool.Operation)
	for op, err := range s.Operations() {
		if err != nil {
			t.Fatal(err)
		}
		have[op.Hash] = op
	}
	return have
}

func TestAnAcceptedOperationIsDurableBeforeAnyTransaction(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{})
	want := someOperation(1)
	known := []pool.Reputation{{Address: common.Address{1}, OpsSeen: 2, OpsIncluded: 1}}
	accept(t, s, PutOperation(want), PutReputation(known)) // no committer runs
	if len(kept(t, s)) != 0 {
		t.Fatal("it is in the file already: the test shows nothing")
	}
	mustClose(t, s) // as a kill would
	for range 2 {   // from the log, then from the file
		s = mustOpen(t, dir, Options{})
		if have := kept(t, s)[want.Hash]; !reflect.DeepEqual(have, want) {
			t.Fatalf("have %+v, want %+v", have, want)
		}
		if have, err := s.Reputation(); err != nil || !slices.Equal(have, known) {
			t.Fatalf("have %v (%v), want %v", have, err, known)
		}
		mustClose(t, s)
	}
}

// Operations that were taken out again do not come back out of the log.
func TestTheLogIsReadOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{})
	stop := start(t, s)
	op := someOperation(1)
	accept(t, s, PutOperation(op))
	if err := s.Commit(t.Context(), DeleteOperations(op.Hash)); err != nil {
		t.Fatal(err)
	}
	stop() // closes it
	s = mustOpen(t, dir, Options{})
	defer mustClose(t, s)
	if have := kept(t, s); len(have) != 0 {
		t.Errorf("an operation that was taken out is back: %v", have)
	}
}

// Whatever is accepted, taken out, committed and killed in between: what a store has is what was acknowledged, last come last served.
func TestAcceptedOperationsAgainstAModel(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lives := 0
	rapid.Check(t, func(r *rapid.T) {
		lives++
		path := fmt.Sprint(dir, "/", lives)
		s := mustOpenFast(t, path, Options{})
		defer func() { mustClose(r, s) }()
		sure, perhaps := make(map[common.Hash]bool), make(map[common.Hash]bool) // perhaps: taken out, which no transaction has made durable
		commit := func() {
			for batch := s.take(false); len(batch) > 0; batch = s.take(false) {
				if err := s.commit(batch); err != nil {
					r.Fatal(err)
				}
			}
			clear(perhaps)
		}
		for range rapid.IntRange(1, 40).Draw(r, "steps") {
			op := someOperation(rapid.ByteRange(0, 5).Draw(r, "operation"))
			switch rapid.IntRange(0, 5).Draw(r, "step") {
			case 0, 1:
				accept(r, s, PutOperation(op))
				sure[op.Hash] = true
				delete(perhaps, op.Hash)
			case 2:
				if err := s.Enqueue(t.Context(), DeleteOperations(op.Hash)); err != nil {
					r.Fatal(err)
				}
				if sure[op.Hash] {
					perhaps[op.Hash] = true
				}
				delete(sure, op.Hash)
			case 3:
				if err := s.EnqueueLater(t.Context(), DeleteOperations(op.Hash), PutMined(MinedOperation{Hash: op.Hash})); err != nil {
					r.Fatal(err)
				}
				if sure[op.Hash] {
					perhaps[op.Hash] = true
				}
				delete(sure, op.Hash)
			case 4:
				commit()
			case 5:
				mustClose(r, s) // nobody has committed what waits
				s = mustOpenFast(t, path, Options{})
				have := kept(r, s)
				for hash := range perhaps {
					if have[hash] != nil {
						sure[hash] = true
					}
				}
				clear(perhaps)
				if !maps.EqualFunc(have, sure, func(*pool.Operation, bool) bool { return true }) {
					r.Fatalf("after a kill: have %d operations, want %d", len(have), len(sure))
				}
			}
		}
		commit()
		if have := kept(r, s); !maps.EqualFunc(have, sure, func(*pool.Operation, bool) bool { return true }) {
			r.Fatalf("in the end: have %d operations, want %d", len(have), len(sure))
		}
	})
}

func TestManyAreAcceptedAtOnce(t *testing.T) { bothEngines(t, testManyAreAcceptedAtOnce) }

func testManyAreAcceptedAtOnce(t *testing.T, place string) {
	s := mustOpen(t, place, Options{})
	stop := start(t, s)
	var group sync.WaitGroup
	for n := range 200 {
		group.Go(func() { accept(t, s, PutOperation(someOperation(byte(n)))) })
	}
	group.Wait()
	if s.log != nil && s.log.file.end >= 200*logPage {
		t.Error("each was written alone: those who wait do not share")
	}
	stop()
	s = mustOpen(t, place, Options{})
	defer mustClose(t, s)
	if have := len(kept(t, s)); have != 200 {
		t.Errorf("have %d operations, want 200", have)
	}
}

// The log does not grow with what is accepted: what is in the file is not needed there any more.
func TestTheLogStaysSmall(t *testing.T) {
	t.Parallel()
	s := mustOpenFast(t, t.TempDir(), Options{})
	start(t, s)
	for n := range 5 * maxUnwritten {
		accept(t, s, PutOperation(someOperation(byte(n))))
		if n%maxUnwritten == 0 {
			if err := s.Commit(t.Context(), put("a", "x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if most := int64(2 * maxUnwritten * 2 * logPage); s.log.file.end > most {
		t.Errorf("the log has %d bytes, want at most %d", s.log.file.end, most)
	}
}

// writtenLog is a data directory whose log alone has three operations.
func writtenLog(t *testing.T) (dir string, ends []int64, ops []*pool.Operation) {
	t.Helper()
	dir = t.TempDir()
	s := mustOpen(t, dir, Options{})
	for n := range byte(3) {
		ops = append(ops, someOperation(n))
		accept(t, s, PutOperation(ops[n]))
		ends = append(ends, s.log.file.end)
	}
	mustClose(t, s)
	return dir, ends, ops
}

// spoil changes one byte of the log.
func spoil(t *testing.T, dir string, at int64) {
	t.Helper()
	path := filepath.Join(dir, LogName)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[at] ^= 0xff
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A loss of power in the middle of a write leaves it unfinished. Nobody was told of it.
func TestAnUnfinishedWriteEndsTheLog(t *testing.T) {
	t.Parallel()
	dir, ends, ops := writtenLog(t)
	spoil(t, dir, ends[2]-logPage+logHead) // in the last batch
	s := mustOpen(t, dir, Options{})
	defer mustClose(t, s)
	if have := kept(t, s); len(have) != 2 || have[ops[0].Hash] == nil || have[ops[1].Hash] == nil {
		t.Errorf("have %d operations, want the first two", len(have))
	}
}

func TestADamagedLogIsNamed(t *testing.T) {
	t.Parallel()
	for _, at := range []int64{0, 5, logHead + 100} {
		for _, batch := range []int{0, 1} {
			dir, ends, _ := writtenLog(t)
			if batch > 0 {
				at += ends[batch-1]
			}
			spoil(t, dir, at)
			if s, err := Open(dir, testMeta, Options{}); !errors.Is(err, ErrDamaged) {
				t.Errorf("byte %d of the log: have %v, want ErrDamaged", at, err)
				if err == nil {
					mustClose(t, s)
				}
			}
		}
	}
}

// What lies in the log's place and is another store's, or nothing at all, is no damage and nothing to read.
func TestALogOfAnotherStoreIsNotRead(t *testing.T) {
	t.Parallel()
	dir, _, _ := writtenLog(t)
	if err := os.Remove(filepath.Join(dir, FileName)); err != nil {
		t.Fatal(err)
	}
	other := testMeta
	other.ChainID++
	s, err := Open(dir, other, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, s)
	if have := kept(t, s); len(have) != 0 {
		t.Errorf("have %d operations of another chain", len(have))
	}
	accept(t, s, PutOperation(someOperation(9)))
}

func TestALogThatFailsEndsTheStore(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, t.TempDir(), Options{})
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	if err := s.log.file.close(); err != nil {
		t.Fatal(err)
	}
	receipt, err := s.Accept(PutOperation(someOperation(1)))
	if err != nil {
		t.Fatal(err)
	}
	if err := receipt.Wait(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the caller: have %v, want the failure", err)
	}
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("the committer: have %v, want the failure", err)
	}
	if _, err := s.Accept(PutOperation(someOperation(2))); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the next: have %v, want the failure", err)
	}
	if err := s.Commit(t.Context(), put("a", "x")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a commit: have %v, want the failure", err)
	}
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWhoWaitsForTheLogMayStop(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, t.TempDir(), Options{})
	defer mustClose(t, s)
	s.log.lead <- struct{}{} // somebody writes, and does not come to an end
	receipt, err := s.Accept(PutOperation(someOperation(1)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := receipt.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("have %v, want the context's error", err)
	}
	<-s.log.lead
	accept(t, s, PutOperation(someOperation(2))) // the next writes for both
	if err := receipt.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

// BenchmarkAccept measures what an accepted operation waits for, beside a commit of the same write.
func BenchmarkAccept(b *testing.B) {
	op := someOperation(1)
	for name, keep := range map[string]func(*Store) error{
		"log": func(s *Store) error {
			receipt, err := s.Accept(PutOperation(op))
			if err == nil {
				err = receipt.Wait(context.Background())
			}
			return err
		},
		"transaction": func(s *Store) error { return s.Commit(context.Background(), PutOperation(op)) },
	} {
		b.Run(name, func(b *testing.B) {
			s := mustOpen(b, b.TempDir(), Options{})
			stop := start(b, s)
			for b.Loop() {
				if err := keep(s); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			stop()
		})
	}
}
