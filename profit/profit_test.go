package profit_test

import (
	"math/big"
	"slices"
	"testing"

	"baler/profit"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

func entry(n byte, signer byte, day uint64, kind profit.Kind, earned, cost uint64) profit.Entry {
	return profit.Entry{
		Transaction: common.Hash{n}, Block: uint64(n), BlockHash: common.Hash{0xb0, n}, Time: day*86_400 + 5, Signer: common.Address{signer},
		Kind: kind, Operations: 2, GasLimit: 300, GasUsed: 200, ChargedGas: 210,
		Earned: *uint256.NewInt(earned), Cost: *uint256.NewInt(cost), L1Fee: *uint256.NewInt(1),
	}
}

func TestCancelledAndRevertedAttemptsAreCharged(t *testing.T) {
	b := profit.NewBooks(10)
	b.Add(entry(1, 1, 7, profit.Bundle, 100, 60))
	b.Add(entry(2, 1, 7, profit.Reverted, 0, 30))
	b.Add(entry(3, 1, 8, profit.Cancellation, 0, 5))
	b.Add(entry(4, 2, 8, profit.Bundle, 50, 80))
	r := b.Report(profit.Query{Bundles: 3})
	if have := r.Total.Profit(); have.Cmp(big.NewInt(150-175)) != 0 {
		t.Errorf("total: have %v, want -25", have)
	}
	want := profit.Sum{
		Bundles: 1, Reverted: 1, Cancellations: 1, Operations: 2, GasLimit: 300, GasUsed: 200, ChargedGas: 210,
		Earned: *uint256.NewInt(100), Cost: *uint256.NewInt(95), L1Fee: *uint256.NewInt(3), Wasted: *uint256.NewInt(35),
	}
	if diff := cmp.Diff(want, r.Signers[0].Sum); diff != "" {
		t.Errorf("first signer (-want +have):\n%s", diff)
	}
	if len(r.Days) != 2 || r.Days[0].Day != 8 || r.Days[0].Profit().Cmp(big.NewInt(-35)) != 0 || r.Days[1].Profit().Cmp(big.NewInt(10)) != 0 {
		t.Errorf("days: have %+v, want -35 on day 8 and 10 on day 7", r.Days)
	}
	if len(r.Entries) != 3 || r.Entries[0].Transaction != (common.Hash{4}) {
		t.Errorf("entries: have %v, want the newest three", r.Entries)
	}
	one := b.Report(profit.Query{Since: 8, Signer: common.Address{1}})
	if one.Total.Profit().Cmp(big.NewInt(-5)) != 0 || len(one.Signers) != 1 || len(one.Entries) != 0 {
		t.Errorf("day 8 of the first signer: have %+v, want -5", one)
	}
}

func TestTheSizeOfBundlesIsThatOfTheNewest(t *testing.T) {
	b := profit.NewBooks(10)
	if have := b.BundleSize(0); have != 0 {
		t.Errorf("without bundles: have %d, want 0", have)
	}
	for n, operations := range []int{90, 4, 7, 1} {
		e := entry(byte(n), 1, 7, profit.Bundle, 1, 1)
		if e.Operations = operations; n == 3 {
			e.Kind = profit.Reverted
		}
		b.Add(e)
	}
	if have := b.BundleSize(1); have != 5 {
		t.Errorf("have %d, want the mean of 4 and 7", have)
	}
}

func TestATransactionCountsInItsLastBlock(t *testing.T) {
	b := profit.NewBooks(10)
	b.Add(entry(1, 1, 7, profit.Bundle, 100, 60))
	moved := entry(1, 1, 8, profit.Reverted, 0, 40)
	moved.BlockHash = common.Hash{0xcc}
	if changed := b.Add(moved); len(changed) != 2 || !changed[0].IsZero() || changed[1].Day != 8 {
		t.Errorf("have changed %+v, want day 7 emptied and day 8", changed)
	}
	if !b.Has(common.Hash{1}, common.Hash{0xcc}) || b.Has(common.Hash{1}, common.Hash{0xb0, 1}) {
		t.Error("the transaction is not in its new block")
	}
	if r := b.Report(profit.Query{}); r.Total.Profit().Cmp(big.NewInt(-40)) != 0 || r.Total.Bundles != 0 {
		t.Errorf("have %+v, want the revert alone", r.Total)
	}
}

// A store may have what was entered in a block and, before it was struck there, in another.
func TestATransactionThatWasKeptTwiceCountsOnce(t *testing.T) {
	before, again := profit.NewBooks(10), profit.NewBooks(10)
	old := entry(1, 1, 7, profit.Bundle, 100, 60)
	moved := old
	moved.Block, moved.BlockHash = 9, common.Hash{9}
	accounts := before.Add(moved)
	again.Load([]profit.Entry{old, moved}, accounts)
	if !again.Has(moved.Transaction, moved.BlockHash) {
		t.Error("the transaction is not in its last block")
	}
	again.Remove(moved.Transaction)
	again.Add(moved)
	if r := again.Report(profit.Query{Bundles: 10}); r.Total.Profit().Cmp(big.NewInt(40)) != 0 || len(r.Entries) != 1 {
		t.Errorf("have %v wei of %d transactions, want 40 of one", r.Total.Profit(), len(r.Entries))
	}
}

// TestSumsAreThoseOfTheEntriesLeft compares with entries that are simply listed, over additions, reorgs and restarts.
func TestSumsAreThoseOfTheEntriesLeft(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := profit.NewBooks(100)
		left := make(map[common.Hash]profit.Entry)
		kept := make(map[[2]any]profit.Account)
		var order []common.Hash
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			n := rapid.Byte().Draw(t, "transaction") % 20
			var changed []profit.Account
			switch {
			case rapid.Bool().Draw(t, "reorg"):
				_, account, ok := b.Remove(common.Hash{n})
				if _, want := left[common.Hash{n}]; ok != want {
					t.Fatalf("transaction %d: have removed %v, want %v", n, ok, want)
				}
				if ok {
					changed = append(changed, account)
				}
				delete(left, common.Hash{n})
			default:
				kind := rapid.SampledFrom([]profit.Kind{profit.Bundle, profit.Reverted, profit.Cancellation}).Draw(t, "kind")
				e := entry(n, rapid.Byte().Draw(t, "signer")%3, uint64(rapid.IntRange(5, 8).Draw(t, "day")), kind, rapid.Uint64().Draw(t, "earned"), rapid.Uint64().Draw(t, "cost"))
				changed = b.Add(e)
				left[e.Transaction] = e
				order = append(order, e.Transaction)
			}
			for _, a := range changed {
				kept[[2]any{a.Day, a.Signer}] = a
			}
		}
		var list []profit.Entry
		want := new(big.Int)
		seen := make(map[common.Hash]bool)
		for _, tx := range slices.Backward(order) {
			e, ok := left[tx]
			if !ok || seen[tx] {
				continue
			}
			seen[tx] = true
			list = append([]profit.Entry{e}, list...)
			want.Add(want, e.Profit())
		}
		report := b.Report(profit.Query{Bundles: 100})
		if have := report.Total.Profit(); have.Cmp(want) != 0 {
			t.Fatalf("have profit %v, want %v", have, want)
		}
		var accounts []profit.Account
		for _, a := range kept {
			if !a.IsZero() {
				accounts = append(accounts, a)
			}
		}
		again := profit.NewBooks(100)
		again.Load(list, accounts)
		if diff := cmp.Diff(report, again.Report(profit.Query{Bundles: 100}), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("after a restart (-before +after):\n%s", diff)
		}
	})
}

func TestDaysAreDates(t *testing.T) {
	day, err := profit.ParseDay("2026-11-25")
	if err != nil || day.String() != "2026-11-25" || day != profit.DayOf(1_795_600_000) {
		t.Errorf("have %v (%v), want 2026-11-25, %v", day, err, profit.DayOf(1_795_600_000))
	}
	for _, text := range []string{"", "25.11.2026", "1960-01-01", "2026-13-01"} {
		if _, err := profit.ParseDay(text); err == nil {
			t.Errorf("%q: have no error", text)
		}
	}
}
