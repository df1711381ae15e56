package store

import (
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/holiman/uint256"
	"go.etcd.io/bbolt"

	"baler/profit"
)

// books returns what the store keeps of the books.
func books(t *testing.T, s *Store) (entries []profit.Entry, accounts []profit.Account) {
	t.Helper()
	for e, err := range s.Earnings() {
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, *e)
	}
	for a, err := range s.Accounts() {
		if err != nil {
			t.Fatal(err)
		}
		accounts = append(accounts, *a)
	}
	return entries, accounts
}

func earning(n byte) profit.Entry {
	return profit.Entry{
		Transaction: common.Hash{n}, Block: uint64(n), BlockHash: common.Hash{0xb0, n}, Time: uint64(n) * 40_000, Signer: common.Address{n % 2},
		EntryPoint: common.Address{1}, Kind: profit.Bundle, Operations: 3, GasLimit: 5, GasUsed: 4, ChargedGas: 6,
		Cost: *uint256.NewInt(7), L1Fee: *uint256.NewInt(2), Earned: *uint256.NewInt(9), Expected: big.NewInt(-3),
	}
}

func TestTheBooksAreBackAfterARestart(t *testing.T) {
	dir := t.TempDir()
	s := mustOpenFast(t, dir, Options{Earnings: 4})
	stop := start(t, s)
	live := profit.NewBooks(4)
	for n := byte(1); n <= 7; n++ {
		e := earning(n)
		if err := s.Enqueue(t.Context(), PutEarning(&e, live.Add(e)...)); err != nil {
			t.Fatal(err)
		}
	}
	e, changed, _ := live.Remove(common.Hash{7})
	if err := s.Commit(t.Context(), DeleteEarning(&e, changed)); err != nil {
		t.Fatal(err)
	}
	stop()

	again := mustOpenFast(t, dir, Options{Earnings: 4})
	defer start(t, again)()
	if again.earnings != 3 {
		t.Errorf("have %d entries counted, want 3", again.earnings)
	}
	entries, accounts := books(t, again)
	back := profit.NewBooks(4)
	back.Load(entries, accounts)
	q := profit.Query{Bundles: 10}
	equal := cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })
	if diff := cmp.Diff(live.Report(q), back.Report(q), equal, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("books (-before +after):\n%s", diff)
	}
}

func TestAStoreFromBeforeTheBooksGetsThem(t *testing.T) {
	dir := t.TempDir()
	s := mustOpenFast(t, dir, Options{})
	if err := boltDB(s).Update(func(tx *bbolt.Tx) error {
		for _, name := range laterBuckets() {
			if err := tx.DeleteBucket(name); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	s = mustOpenFast(t, dir, Options{})
	defer start(t, s)()
	e := earning(1)
	if err := s.Commit(t.Context(), PutEarning(&e)); err != nil {
		t.Fatal(err)
	}
	if entries, _ := books(t, s); len(entries) != 1 {
		t.Errorf("have %d entries, want the one", len(entries))
	}
}
