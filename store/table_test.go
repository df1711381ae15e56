package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"baler/bundlesender"
	"baler/gas"
	"baler/lease"

	"github.com/ethereum/go-ethereum/common"
	"pgregory.net/rapid"
)

// memoryTable is a table of a test.
type memoryTable struct {
	pairs  map[string][]byte
	before func() error // each commit
}

func (m *memoryTable) Load(_ context.Context, visit func(string, []byte)) error {
	for key, value := range m.pairs {
		visit(key, value)
	}
	return nil
}

func (m *memoryTable) Commit(changes []lease.Change) error {
	if m.before != nil {
		if err := m.before(); err != nil {
			return err
		}
	}
	for _, c := range changes {
		if c.Drop {
			delete(m.pairs, c.Key)
		} else {
			m.pairs[c.Key] = c.Value
		}
	}
	return nil
}

func newMemoryTable() *memoryTable { return &memoryTable{pairs: make(map[string][]byte)} }

func mustOpenTable(t *testing.T, table Table) *Store {
	t.Helper()
	s, err := OpenTable(t.Context(), table, testMeta, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Both engines do the same, whatever is done with them, and a table that is loaded again is as it was left.
func TestTheEnginesDoTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "store")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		file, err := openBolt(dir+"/db", false)
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, file)
		file.db.NoSync = true
		table := newMemoryTable()
		engines := [2]engine{file, loaded(t, table)}
		for range rapid.IntRange(1, 12).Draw(t, "transactions") {
			steps := drawSteps(t)
			fails := rapid.IntRange(0, 4).Draw(t, "fails") == 0
			var said [2]string
			for i, e := range engines {
				var out bytes.Buffer
				err := e.Update(func(tx transaction) error {
					for _, step := range steps {
						step(&out, tx)
					}
					if fails {
						return errDisk
					}
					return nil
				})
				fmt.Fprintln(&out, err)
				if err := e.View(func(tx transaction) error { dump(&out, tx); return nil }); err != nil {
					t.Fatal(err)
				}
				said[i] = out.String()
			}
			if said[0] != said[1] {
				t.Fatalf("the file says\n%s\nthe table says\n%s", said[0], said[1])
			}
			if rapid.Bool().Draw(t, "load again") {
				engines[1] = loaded(t, table)
			}
		}
	})
}

func loaded(t *rapid.T, table *memoryTable) *tableEngine {
	e, err := loadTable(context.Background(), table)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// drawSteps draws what a transaction does.
func drawSteps(t *rapid.T) []func(*bytes.Buffer, transaction) {
	names := []string{"a", "ab", "b\x00", "b\xff"}
	name := func(what string) []byte { return []byte(rapid.SampledFrom(names).Draw(t, what)) }
	key := func() []byte {
		return []byte(rapid.SampledFrom([]string{"\x00", "\x01", "a", "a\x00", "\xff", "\xff\xff"}).Draw(t, "key"))
	}
	steps := make([]func(*bytes.Buffer, transaction), rapid.IntRange(1, 8).Draw(t, "steps"))
	for i := range steps {
		outer, inner := name("bucket"), name("inner bucket")
		nested := rapid.Bool().Draw(t, "nested")
		if nested { // no bucket of the store has both pairs and buckets
			outer = []byte("nest")
		}
		k, v := key(), []byte{byte(rapid.IntRange(0, 9).Draw(t, "value"))}
		what := rapid.IntRange(0, 5).Draw(t, "step")
		steps[i] = func(out *bytes.Buffer, tx transaction) {
			b, err := tx.CreateBucketIfNotExists(outer)
			if err == nil && nested {
				b, err = b.CreateBucketIfNotExists(inner)
			}
			switch {
			case err != nil:
			case what == 0:
				err = b.Delete(k)
			case what == 1:
				var n uint64
				n, err = b.NextSequence()
				fmt.Fprintln(out, "sequence", n)
			case what == 2:
				fmt.Fprintln(out, "get", b.Get(k))
			case what == 3:
				walk(out, b, k)
			case what == 4 && !nested:
				err = tx.ClearBucket(outer)
			default:
				err = b.Put(k, v)
			}
			fmt.Fprintln(out, err)
		}
	}
	return steps
}

// walk says where a cursor goes.
func walk(out *bytes.Buffer, b bucket, from []byte) {
	say := func(what string, key, value []byte) {
		fmt.Fprintln(out, what, key, value)
	}
	c := b.Cursor()
	key, value := c.Seek(from)
	say("seek", key, value)
	for key, value := c.First(); key != nil; key, value = c.Next() {
		say("next", key, value)
	}
	for key, value := c.Last(); key != nil; key, value = c.Prev() {
		say("prev", key, value)
	}
}

// dump prints all pairs. Empty buckets are none in a table.
func dump(out *bytes.Buffer, tx transaction) {
	for _, name := range []string{"a", "ab", "b\x00", "b\xff", "nest"} {
		b := tx.Bucket([]byte(name))
		if b == nil {
			continue
		}
		print := func(where string, b bucket) {
			c := b.Cursor()
			for key, value := c.First(); key != nil; key, value = c.Next() {
				if value != nil { // else it is a bucket
					fmt.Fprintf(out, "%s %q = %v\n", where, key, value)
				}
			}
		}
		print(name, b)
		_ = b.ForEachBucket(func(inner []byte) error {
			print(name+" "+string(inner), b.Bucket(inner))
			return nil
		})
	}
}

func TestReadersSeeWhatWasCommittedOnly(t *testing.T) {
	table := newMemoryTable()
	s := mustOpenTable(t, table)
	stop := start(t, s)
	defer stop()
	if err := s.Commit(t.Context(), put("a", "1")); err != nil {
		t.Fatal(err)
	}
	during := ""
	table.before = func() error { during = get(t, s, "a"); return nil }
	if err := s.Commit(t.Context(), put("a", "2")); err != nil {
		t.Fatal(err)
	}
	if during != "1" || get(t, s, "a") != "2" {
		t.Errorf("have %q during the commit and %q after it, want 1 and 2", during, get(t, s, "a"))
	}
}

func TestAStoreWhoseLeaseIsLostTakesNothingMore(t *testing.T) {
	table := newMemoryTable()
	s := mustOpenTable(t, table)
	table.before = func() error { return lease.ErrLost }
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	for range 2 {
		if err := s.Commit(t.Context(), put("a", "1")); !errors.Is(err, lease.ErrLost) {
			t.Errorf("have %v, want ErrLost", err)
		}
	}
	if err := <-ended; !errors.Is(err, lease.ErrLost) {
		t.Errorf("the committer ends with %v, want ErrLost", err)
	}
	if have := get(t, s, "a"); have != "" {
		t.Errorf("have %q, want nothing of what was refused", have)
	}
}

func TestATableOfSomethingElseIsRefused(t *testing.T) {
	table := newMemoryTable()
	mustClose(t, mustOpenTable(t, table))
	_, err := OpenTable(t.Context(), table, Meta{ChainID: 2}, Options{})
	if mismatch, ok := errors.AsType[*MismatchError](err); !ok || mismatch.What != "chain" {
		t.Errorf("have %v, want a mismatch of the chain", err)
	}
	if _, err := OpenTable(t.Context(), &memoryTable{pairs: map[string][]byte{"x": nil}}, testMeta, Options{}); !errors.Is(err, ErrNotStore) && !errors.Is(err, ErrDamaged) {
		t.Errorf("have %v, want ErrNotStore or ErrDamaged", err)
	}
	table.pairs["\x04meta"] = []byte("x")
	if _, err := OpenTable(t.Context(), table, testMeta, Options{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("have %v, want ErrDamaged", err)
	}
}

// Whoever does not hold a key can see what its holder has in flight, and changes nothing by that.
func TestWhatAKeyHasInFlightCanBeLookedAt(t *testing.T) {
	table := newMemoryTable()
	s := mustOpenTable(t, table)
	stop := start(t, s)
	defer stop()
	j := mustJournal(t, s)
	mustResume(t, j)
	want := common.Hash{9}
	if err := j.Signed(t.Context(), bundlesender.Attempt{ID: 1, Operations: []common.Hash{want}}, someTransaction(1, 0, gas.Fees{}), ""); err != nil {
		t.Fatal(err)
	}
	if tx, err := j.Transaction(1); err != nil || tx.Hash() != someTransaction(1, 0, gas.Fees{}).Hash() {
		t.Errorf("have transaction %v, %v, want the one that was signed", tx, err)
	}
	if tx, err := j.Transaction(2); tx != nil || !errors.Is(err, ErrDamaged) {
		t.Errorf("have transaction %v, %v, want ErrDamaged: nothing was signed for attempt 2", tx, err)
	}
	pairs := make(map[string]string)
	for key, value := range table.pairs {
		pairs[key] = string(value)
	}
	seen, err := Look(pairs)
	if err != nil {
		t.Fatal(err)
	}
	live, mined, err := mustJournal(t, seen).InFlight()
	if err != nil || !slices.Equal(live, []common.Hash{want}) || len(mined) > 0 {
		t.Errorf("have %v, mined %v, %v, want %s in flight", live, mined, err, want)
	}
	if err := seen.Commit(t.Context(), put("a", "1")); !errors.Is(err, ErrReadOnly) {
		t.Errorf("have %v, want ErrReadOnly", err)
	}
	if none, err := Look(nil); none != nil || err != nil {
		t.Errorf("of a key that was never held: have %v, %v, want nothing", none, err)
	}
}
