package store

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"go.etcd.io/bbolt"

	"baler/journal"
)

var testMeta = Meta{ChainID: 1337, Fingerprint: common.Hash{1}}

// start runs the committer of a store until the returned function is called, which closes the store.
func start(tb testing.TB, s *Store) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			tb.Errorf("the committer: %v", err)
		}
		if err := s.Close(); err != nil {
			tb.Errorf("close: %v", err)
		}
	}
	tb.Cleanup(stop)
	return stop
}

func mustOpen(tb testing.TB, dir string, options Options) *Store {
	tb.Helper()
	s, err := openPlace(dir, testMeta, options)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// mustOpenFast opens a store whose commits don't wait for the disk, for tests of what is in it.
func mustOpenFast(tb testing.TB, dir string, options Options) *Store {
	tb.Helper()
	s := mustOpen(tb, dir, options)
	unsynced(s)
	return s
}

// boltDB is the file of a store that has one.
func boltDB(s *Store) *bbolt.DB { return s.db.(*boltEngine).db }

func mustClose(t tester, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAStoreIsOfOneChain(t *testing.T) {
	dir := t.TempDir()
	if err := mustOpen(t, dir, Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		meta Meta
		says string
	}{
		"chain id":    {Meta{ChainID: 1, Fingerprint: testMeta.Fingerprint}, "store is of another chain: have chain id 1337 in the file, want 1"},
		"fingerprint": {Meta{ChainID: 1337, Fingerprint: common.Hash{2}}, "store is of another chain: have fingerprint " + testMeta.Fingerprint.Hex() + " in the file, want " + common.Hash{2}.Hex()},
	} {
		_, err := Open(dir, c.meta, Options{})
		mismatch, ok := errors.AsType[*MismatchError](err)
		if !ok || mismatch.Error() != c.says {
			t.Errorf("another %s: have %v, want %s", name, err, c.says)
		}
	}
	if err := mustOpen(t, dir, Options{}).Close(); err != nil {
		t.Errorf("the same chain: %v", err)
	}
}

func TestAStoreOfAnotherFormatIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{})
	record, err := seal(recordMeta, storedMeta{Format + 1, testMeta})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.db.Update(func(tx transaction) error { return tx.Bucket(bucketMeta).Put(keyMeta, record) }); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir, testMeta, Options{})
	_, readErr := OpenReadOnly(dir)
	for _, err := range []error{err, readErr} {
		if mismatch, ok := errors.AsType[*MismatchError](err); !ok || mismatch.What != "format" {
			t.Errorf("have %v, want a mismatch of the format", err)
		}
	}
}

func TestAStoreIsUsedByOneProcess(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{})
	if _, err := Open(dir, testMeta, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("a second writer: have %v, want ErrLocked", err)
	}
	if _, err := OpenReadOnly(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("a reader: have %v, want ErrLocked", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	readers := make([]*Store, 2)
	for i, path := range []string{dir, filepath.Join(dir, FileName)} {
		var err error
		if readers[i], err = OpenReadOnly(path); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range readers {
		if r.Meta() != testMeta {
			t.Errorf("have %+v, want %+v", r.Meta(), testMeta)
		}
		if err := r.Commit(t.Context(), DeleteOperations()); !errors.Is(err, ErrReadOnly) {
			t.Errorf("a reader writes: have %v, want ErrReadOnly", err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFileThatIsNoStoreIsRefused(t *testing.T) {
	write := func(text string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, make := range map[string]func(*testing.T, string){
		"a text":       write("This is a letter."),
		"a long text":  write(string(make([]byte, 100_000))),
		"one byte":     write("x"),
		"another bolt": func(t *testing.T, path string) { otherBolt(t, path) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), FileName)
			make(t, path)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := OpenReadOnly(path); !errors.Is(err, ErrNotStore) && !errors.Is(err, ErrDamaged) {
				t.Errorf("to read: have %v, want ErrNotStore", err)
			}
			if _, err := Open(filepath.Dir(path), testMeta, Options{}); !errors.Is(err, ErrNotStore) && !errors.Is(err, ErrDamaged) {
				t.Errorf("to write: have %v, want ErrNotStore", err)
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
	if _, err := OpenReadOnly(filepath.Join(t.TempDir(), "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: have %v, want that it does not exist", err)
	}
}

func otherBolt(t *testing.T, path string) {
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte("recipes"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTheDataDirectoryIsMadeAndPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := mustOpen(t, dir, Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, FileName): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if have := info.Mode().Perm(); have != want {
			t.Errorf("%s: have mode %o, want %o: signed transactions are in there", path, have, want)
		}
	}
}

func TestAStoreThatKeepsNothing(t *testing.T) {
	var s *Store
	ctx, cancel := context.WithCancel(t.Context())
	if err := s.Commit(ctx, DeleteOperations()); err != nil {
		t.Error(err)
	}
	if err := s.Enqueue(ctx, DeleteOperations()); err != nil {
		t.Error(err)
	}
	for op, err := range s.Operations() {
		t.Errorf("have an operation: %v, %v", op, err)
	}
	for mined, err := range s.History() {
		t.Errorf("have a mined operation: %v, %v", mined, err)
	}
	if m, err := s.Mined(common.Hash{}); m != nil || err != nil {
		t.Errorf("mined: have %v, %v", m, err)
	}
	if r, err := s.Reputation(); r != nil || err != nil {
		t.Errorf("reputation: have %v, %v", r, err)
	}
	if keys, err := s.Journals(); keys != nil || err != nil {
		t.Errorf("journals: have %v, %v", keys, err)
	}
	j, err := s.Journal(common.Address{1})
	if err != nil {
		t.Fatal(err)
	}
	checkSilentJournal(t, j)
	cancel()
	if err := errors.Join(s.Run(ctx), s.Close()); err != nil {
		t.Error(err)
	}
	if s.Stats() != (Stats{}) || s.Meta() != (Meta{}) {
		t.Error("it counts or belongs to something")
	}
}

func TestRecordsOfOneKindAreNotReadAsAnother(t *testing.T) {
	if _, err := unseal[storedMeta](recordMeta, journal.Seal(recordMined, []byte("{}"))); !errors.Is(err, ErrDamaged) {
		t.Errorf("have %v, want ErrDamaged", err)
	}
	if _, err := unseal[storedMeta](recordMeta, journal.Seal(recordMeta, []byte("no JSON"))); !errors.Is(err, ErrDamaged) {
		t.Errorf("have %v, want ErrDamaged", err)
	}
}
