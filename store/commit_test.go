package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"

	"go.etcd.io/bbolt"
)

// put is a write of a test: a value in a bucket of its own.
func put(key, value string) Write {
	return Write{bytes: len(key) + len(value), apply: func(_ *Store, tx transaction) error {
		bucket, err := tx.CreateBucketIfNotExists([]byte("test"))
		if err != nil {
			return err
		}
		return bucket.Put([]byte(key), []byte(value))
	}}
}

var errDisk = errors.New("no space left on device")

func failing() Write {
	return Write{apply: func(*Store, transaction) error { return errDisk }}
}

func get(tb testing.TB, s *Store, key string) string {
	tb.Helper()
	var value string
	if err := s.db.View(func(tx transaction) error {
		if bucket := tx.Bucket([]byte("test")); bucket != nil {
			value = string(bucket.Get([]byte(key)))
		}
		return nil
	}); err != nil {
		tb.Fatal(err)
	}
	return value
}

func TestWritersShareTransactions(t *testing.T) { bothEngines(t, testWritersShareTransactions) }

func testWritersShareTransactions(t *testing.T, place string) {
	s := mustOpen(t, place, Options{})
	const writers = 300
	var group sync.WaitGroup
	errs := make([]error, writers)
	for i := range writers {
		group.Go(func() {
			errs[i] = s.Commit(context.Background(), put(fmt.Sprint("a", i), "1"), put(fmt.Sprint("b", i), "1"))
		})
	}
	for queued := 0; queued < writers; { // before the committer starts, so that how many wait is no chance
		s.mu.Lock()
		queued = len(s.queue)
		s.mu.Unlock()
	}
	start(t, s)
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if have, want := s.Stats(), (Stats{Calls: writers, Transactions: 1}); have != want {
		t.Errorf("have %+v, want %+v", have, want)
	}
	for i := range writers {
		if get(t, s, fmt.Sprint("a", i)) == "" || get(t, s, fmt.Sprint("b", i)) == "" {
			t.Fatalf("writes of caller %d are missing after they were acknowledged", i)
		}
	}
}

// A caller that must not wait under its lock hands over in order first, and waits afterwards.
func TestWhatIsBegunIsInOrderBeforeItIsWaitedFor(t *testing.T) {
	bothEngines(t, testWhatIsBegunIsInOrderBeforeItIsWaitedFor)
}

func testWhatIsBegunIsInOrderBeforeItIsWaitedFor(t *testing.T, place string) {
	s := mustOpen(t, place, Options{})
	wait := s.begin(put("a", "first"), put("b", "first"))
	if err := s.Enqueue(t.Context(), put("a", "second")); err != nil {
		t.Fatal(err)
	}
	start(t, s)
	if err := wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context()); err != nil { // nothing to write, nothing to wait for
		t.Fatal(err)
	}
	if a, b := get(t, s, "a"), get(t, s, "b"); a != "second" || b != "first" {
		t.Errorf("have %q and %q", a, b)
	}
	if have, want := s.Stats(), (Stats{Calls: 2, Transactions: 1}); have != want {
		t.Errorf("have %+v, want %+v", have, want)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := s.begin(Write{err: errDisk})(ended); !errors.Is(err, errDisk) {
		t.Errorf("have %v, want the error of the write that could not be made", err)
	}
}

func TestATransactionIsBounded(t *testing.T) { bothEngines(t, testATransactionIsBounded) }

func testATransactionIsBounded(t *testing.T, place string) {
	s := mustOpen(t, place, Options{})
	big := Write{bytes: maxTransactionBytes/2 + 1, apply: put("big", "x").apply}
	for range 3 {
		if err := s.Enqueue(t.Context(), big); err != nil {
			t.Fatal(err)
		}
	}
	for range maxTransactionCalls + 1 {
		if err := s.Enqueue(t.Context(), put("small", "x")); err != nil {
			t.Fatal(err)
		}
	}
	start(t, s)() // it commits what is there before it ends
	// One big call each, the third with as many small ones as may be, and the rest.
	if have, want := s.Stats(), (Stats{Calls: maxTransactionCalls + 4, Transactions: 4}); have != want {
		t.Errorf("have %+v, want %+v", have, want)
	}
}

func TestWhatIsDurableHasEverythingBeforeIt(t *testing.T) {
	bothEngines(t, testWhatIsDurableHasEverythingBeforeIt)
}

func testWhatIsDurableHasEverythingBeforeIt(t *testing.T, place string) {
	dir := place
	s := mustOpen(t, dir, Options{})
	stop := start(t, s)
	const calls = 500
	for i := range calls {
		if err := s.Enqueue(t.Context(), put("last", fmt.Sprint(i)), put(fmt.Sprint(i), "x")); err != nil {
			t.Fatal(err)
		}
		if i%100 != 50 {
			continue
		}
		if err := s.Commit(t.Context(), put("durable", fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		for before := range i + 1 {
			if get(t, s, fmt.Sprint(before)) == "" {
				t.Fatalf("after the commit of %d, %d is missing", i, before)
			}
		}
	}
	stop() // commits what is left
	s = mustOpen(t, dir, Options{})
	defer mustClose(t, s)
	if have, want := get(t, s, "last"), fmt.Sprint(calls-1); have != want {
		t.Errorf("after the end: have %s, want %s", have, want)
	}
}

func TestAfterTheEndNothingIsTaken(t *testing.T) { bothEngines(t, testAfterTheEndNothingIsTaken) }

func testAfterTheEndNothingIsTaken(t *testing.T, place string) {
	s := mustOpen(t, place, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Enqueue(t.Context(), put("before", "x")); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if get(t, s, "before") != "x" {
		t.Error("what was handed over before the end was not written")
	}
	if err := s.Commit(t.Context(), put("after", "x")); !errors.Is(err, ErrEnded) {
		t.Errorf("commit: have %v, want ErrEnded", err)
	}
	if err := s.Enqueue(t.Context(), put("after", "x")); !errors.Is(err, ErrEnded) {
		t.Errorf("enqueue: have %v, want ErrEnded", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCloseAnswersWhoeverWaits(t *testing.T) { bothEngines(t, testCloseAnswersWhoeverWaits) }

func testCloseAnswersWhoeverWaits(t *testing.T, place string) {
	s := mustOpen(t, place, Options{})
	done := make(chan error, 1)
	go func() { done <- s.Commit(context.Background(), put("a", "x")) }()
	for queued := 0; queued == 0; {
		s.mu.Lock()
		queued = len(s.queue)
		s.mu.Unlock()
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, ErrEnded) {
		t.Errorf("have %v, want ErrEnded", err)
	}
}

func TestAFailedTransactionIsTheLast(t *testing.T) { bothEngines(t, testAFailedTransactionIsTheLast) }

func testAFailedTransactionIsTheLast(t *testing.T, place string) {
	dir := place
	s := mustOpen(t, dir, Options{})
	var answers [3]error
	var group sync.WaitGroup
	for i, w := range []Write{put("a", "x"), failing(), put("b", "x")} {
		group.Go(func() { answers[i] = s.Commit(context.Background(), w) })
		for queued := 0; queued <= i; {
			s.mu.Lock()
			queued = len(s.queue)
			s.mu.Unlock()
		}
	}
	if err := s.Run(t.Context()); !errors.Is(err, errDisk) {
		t.Errorf("the committer: have %v, want the failure", err)
	}
	group.Wait()
	for i, err := range answers {
		if !errors.Is(err, errDisk) {
			t.Errorf("call %d: have %v, want the failure", i, err)
		}
	}
	if err := s.Commit(t.Context(), put("c", "x")); !errors.Is(err, errDisk) {
		t.Errorf("a call after it: have %v, want the failure", err)
	}
	if err := s.Run(t.Context()); !errors.Is(err, errDisk) {
		t.Errorf("a second committer: have %v, want the failure", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir, Options{})
	defer mustClose(t, s)
	for _, key := range []string{"a", "b", "c"} {
		if get(t, s, key) != "" {
			t.Errorf("%s was written, and refused to its caller", key)
		}
	}
}

func TestThereIsOneCommitter(t *testing.T) { bothEngines(t, testThereIsOneCommitter) }

func testThereIsOneCommitter(t *testing.T, place string) {
	s := mustOpen(t, place, Options{})
	start(t, s)
	if err := s.Commit(t.Context(), put("a", "x")); err != nil { // it runs now
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); !errors.Is(err, ErrRunning) {
		t.Errorf("have %v, want ErrRunning", err)
	}
}

func TestACallerMayStopWaiting(t *testing.T) { bothEngines(t, testACallerMayStopWaiting) }

func testACallerMayStopWaiting(t *testing.T, place string) {
	s := mustOpen(t, place, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Commit(ctx, put("a", "x")); !errors.Is(err, context.Canceled) {
		t.Errorf("have %v, want the context's error", err)
	}
	stop := start(t, s)
	if err := s.Commit(t.Context(), put("b", "x")); err != nil {
		t.Errorf("the next: %v", err)
	}
	stop()
}

func TestAWriteThatCannotBeMadeIsItsCallersError(t *testing.T) {
	bothEngines(t, testAWriteThatCannotBeMadeIsItsCallersError)
}

func testAWriteThatCannotBeMadeIsItsCallersError(t *testing.T, place string) {
	s := mustOpen(t, place, Options{})
	start(t, s)
	bad := Write{err: errDisk}
	if err := s.Commit(t.Context(), put("a", "x"), bad); !errors.Is(err, errDisk) {
		t.Errorf("have %v, want the write's error", err)
	}
	if err := s.Commit(t.Context(), put("b", "x")); err != nil {
		t.Errorf("another call: %v", err)
	}
	if get(t, s, "a") != "" {
		t.Error("half of a call was written")
	}
}

func TestAFullQueueMakesItsCallersWait(t *testing.T) {
	bothEngines(t, testAFullQueueMakesItsCallersWait)
}

func testAFullQueueMakesItsCallersWait(t *testing.T, place string) {
	s := mustOpen(t, place, Options{})
	for range maxQueuedCalls {
		if err := s.Enqueue(t.Context(), put("a", "x")); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Enqueue(ctx, put("a", "x")); !errors.Is(err, context.Canceled) {
		t.Errorf("have %v, want that the caller waits", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkCommit measures durable commits of about the size of a signed bundle, by how many callers commit at once.
func BenchmarkCommit(b *testing.B) {
	value := string(make([]byte, 4096))
	for _, writers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := mustOpen(b, b.TempDir(), Options{})
			stop := start(b, s)
			var group sync.WaitGroup
			b.ResetTimer()
			for w := range writers {
				group.Go(func() {
					for i := w; i < b.N; i += writers {
						if err := s.Commit(context.Background(), put(fmt.Sprint("key ", i%4096), value)); err != nil {
							b.Error(err)
						}
					}
				})
			}
			group.Wait()
			b.StopTimer()
			stats := s.Stats()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
			b.ReportMetric(float64(stats.Calls)/float64(stats.Transactions), "commits/fsync")
			stop()
		})
	}
}

// BenchmarkBoltBatch is the same with bbolt's own way of sharing transactions, for comparison.
func BenchmarkBoltBatch(b *testing.B) {
	value := make([]byte, 4096)
	for _, writers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := mustOpen(b, b.TempDir(), Options{})
			defer mustClose(b, s)
			var group sync.WaitGroup
			b.ResetTimer()
			for w := range writers {
				group.Go(func() {
					for i := w; i < b.N; i += writers {
						key := binary.BigEndian.AppendUint64(nil, uint64(i%4096))
						if err := boltDB(s).Batch(func(tx *bbolt.Tx) error { return tx.Bucket(bucketOperations).Put(key, value) }); err != nil {
							b.Error(err)
						}
					}
				})
			}
			group.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}
