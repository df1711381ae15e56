package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"

	"baler/bundlesender"
	"baler/journal"
	"baler/pool"
)

// contents is what a store holds, by what it is called.
type contents map[string]any

// readAll reads everything a store holds. What cannot be read is an error, and is not among the contents.
func readAll(s *Store) (contents, error) {
	all := make(contents)
	var errs []error
	for op, err := range s.Operations() {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all["operation "+op.Hash.Hex()] = op
	}
	for m, err := range s.History() {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all["mined "+m.Hash.Hex()] = m
	}
	list, err := s.Reputation()
	errs = append(errs, err)
	for _, r := range list {
		all["reputation "+r.Address.Hex()] = r
	}
	keys, err := s.Journals()
	errs = append(errs, err)
	for _, key := range keys {
		j, err := s.Journal(key)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for entry, err := range j.Entries() {
			if err != nil {
				errs = append(errs, err)
				continue
			}
			record, err := journal.Encode(entry.Body)
			errs = append(errs, err)
			all[fmt.Sprint("entry ", entry.Number)] = record
		}
		signed, err := j.signed()
		errs = append(errs, err)
		for _, a := range signed {
			all[fmt.Sprint("signed ", a.attempt.ID)] = a.tx.Hash()
		}
	}
	return all, errors.Join(errs...)
}

// fullStore writes a store with something of everything, and returns its directory and contents.
func fullStore(t *testing.T) (string, contents) {
	t.Helper()
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{PartBytes: 30_000})
	stop := start(t, s)
	for i := range byte(40) {
		op := someOperation(i)
		if err := s.Enqueue(t.Context(), PutOperation(op)); err != nil {
			t.Fatal(err)
		}
		mined := MinedOperation{Hash: common.Hash{100, i}, Block: uint64(i), BlockHash: common.Hash{i / 4}, Operation: op.Op}
		if err := s.Enqueue(t.Context(), PutMined(mined)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Enqueue(t.Context(), SetReputation([]pool.Reputation{{Address: common.Address{1}, OpsSeen: 7}})); err != nil {
		t.Fatal(err)
	}
	j := mustJournal(t, s)
	life := newSender(j, mustResume(t, j).Machine, rand.New(rand.NewPCG(3, 4)).IntN)
	for range 100 {
		life.step(t)
	}
	stop()
	s = mustOpen(t, dir, Options{})
	defer mustClose(t, s)
	all, err := readAll(s)
	if err != nil {
		t.Fatal(err)
	}
	return dir, all
}

// TestDamageIsAnErrorAndNothingElse: whatever happens to the file, what is read from it is what was written, or an error;
// never a panic, never another value.
func TestDamageIsAnErrorAndNothingElse(t *testing.T) {
	dir, want := fullStore(t)
	sound, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	const damages = 120
	random := rand.New(rand.NewPCG(5, 6))
	found, refused := 0, 0
	for i := range damages {
		damaged := append([]byte(nil), sound...)
		var what string
		switch at := random.IntN(len(damaged)); i % 4 {
		case 0:
			what, damaged = fmt.Sprintf("cut off at %d", at), damaged[:at]
		case 1:
			what = fmt.Sprintf("a page of zeros at %d", at/4096*4096)
			clear(damaged[at/4096*4096:][:4096])
		case 2:
			what = fmt.Sprintf("noise at %d", at)
			for i := at; i < min(at+16, len(damaged)); i++ {
				damaged[i] = byte(random.Uint32())
			}
		default:
			what = fmt.Sprintf("a flipped bit at %d", at)
			damaged[at] ^= 1 << random.IntN(8)
		}
		opened, err := readDamaged(t, what, damaged, want)
		if err != nil {
			found++
		}
		if !opened {
			refused++
		}
	}
	if found < damages/4 {
		t.Errorf("only %d of the damages were noticed: does the test damage anything?", found)
	}
	t.Logf("%d of %d damages noticed, %d of them when it was opened; the others hit unused pages", found, damages, refused)
}

func readDamaged(t *testing.T, what string, file []byte, want contents) (opened bool, err error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName), file, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, testMeta, Options{})
	if err != nil {
		return false, err
	}
	have, err := readAll(s)
	for name, value := range have {
		if !reflect.DeepEqual(want[name], value) {
			diff := cmp.Diff(want[name], value)
			t.Errorf("%s: %s is another now (-written +read):\n%s", what, name, diff)
		}
	}
	if err == nil && len(file) > 0 && len(have) > 0 && len(have) < len(want) {
		missing := slices.DeleteFunc(slices.Collect(maps.Keys(want)), func(name string) bool { _, ok := have[name]; return ok })
		t.Errorf("%s: of %d records are missing, and nothing was said: %v", what, len(want), missing)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	j, journalErr := s.Journal(testKey)
	if journalErr == nil {
		_, journalErr = j.Resume(t.Context(), bundlesender.DefaultConfig())
	}
	commitErr := s.Commit(t.Context(), PutOperation(someOperation(200)), Unmine(common.Hash{3}))
	cancel()
	return true, errors.Join(err, journalErr, commitErr, <-ended, s.Close())
}
