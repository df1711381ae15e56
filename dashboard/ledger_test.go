package dashboard

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"baler/event"
	"baler/gas"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

func TestALedgerTellsWhatBecameOfEachTransaction(t *testing.T) {
	key, other := common.Address{1}, common.Address{2}
	sent := func(signer common.Address, tx byte, nonce uint64, ops int, answer string) event.Event {
		return event.BundleSent{Signer: signer, Tx: common.Hash{tx}, Nonce: nonce, Operations: ops, Answer: answer}
	}
	mined := func(tx byte, block uint64, ops int, success bool) event.Event {
		return event.BundleMined{Signer: key, Tx: common.Hash{tx}, Block: block, Operations: ops, Success: success, Cost: *uint256.NewInt(7), Earned: *uint256.NewInt(9)}
	}
	for _, c := range []struct {
		name   string
		events []event.Event
		want   string
	}{
		{"sent", []event.Event{sent(key, 1, 0, 3, "accepted")}, "1:sent"},
		{"not understood", []event.Event{sent(key, 1, 0, 3, "unknown")}, "1:unclear"},
		{"refused", []event.Event{sent(key, 1, 0, 3, "underpriced")}, "1:refused"},
		{"replaced", []event.Event{sent(key, 1, 0, 3, "accepted"), sent(key, 2, 0, 3, "accepted")}, "1:replaced 2:sent"},
		{"a refused replacement replaces nothing", []event.Event{sent(key, 1, 0, 3, "accepted"), sent(key, 2, 0, 3, "replacement-underpriced")}, "1:sent 2:refused"},
		{"another nonce replaces nothing", []event.Event{sent(key, 1, 0, 3, "accepted"), sent(key, 2, 1, 3, "accepted")}, "1:sent 2:sent"},
		{"another key replaces nothing", []event.Event{sent(key, 1, 0, 3, "accepted"), sent(other, 2, 0, 3, "accepted")}, "1:sent 2:sent"},
		{"the replaced one is mined", []event.Event{sent(key, 1, 0, 3, "accepted"), sent(key, 2, 0, 3, "accepted"), mined(1, 5, 3, true)}, "1:mined(2) 2:replaced"},
		{"reverted", []event.Event{sent(key, 1, 0, 3, "accepted"), mined(1, 5, 3, false)}, "1:reverted(2)"},
		{"cancelled", []event.Event{sent(key, 1, 0, 3, "accepted"), sent(key, 2, 0, 0, "accepted"), mined(2, 5, 0, true)}, "1:cancelled 2:mined(2)"},
		{"its block left the chain", []event.Event{sent(key, 1, 0, 3, "accepted"), mined(1, 5, 3, true), event.BundleUnmined{Signer: key, Tx: common.Hash{1}, Block: 5}}, "1:sent"},
		{"it is mined again", []event.Event{sent(key, 1, 0, 3, "accepted"), mined(1, 5, 3, true), event.BundleUnmined{Signer: key, Tx: common.Hash{1}, Block: 5}, mined(1, 6, 3, true)}, "1:mined(2)"},
		{"the cancellation's block left the chain", []event.Event{
			sent(key, 1, 0, 3, "accepted"), sent(key, 2, 0, 0, "accepted"), mined(2, 5, 0, true), event.BundleUnmined{Signer: key, Tx: common.Hash{2}, Block: 5},
		}, "1:replaced 2:sent"},
		{"a block that nobody has heard of left the chain", []event.Event{event.BundleUnmined{Signer: key, Tx: common.Hash{1}, Block: 5}}, ""},
		{"the block is quicker than the answer", []event.Event{mined(1, 5, 3, true), sent(key, 1, 0, 3, "already-known")}, "1:mined(2)"},
	} {
		l := newLedger(10)
		for _, e := range c.events {
			l.hear(e, 1)
		}
		changed, _ := l.changes()
		var have []string
		for _, b := range changed {
			text := fmt.Sprintf("%d:%s", b.Hash[0], b.Status)
			if b.Profit != "" {
				text += "(" + b.Profit + ")"
			}
			have = append(have, text)
		}
		slices.Sort(have)
		if strings.Join(have, " ") != c.want {
			t.Errorf("%s: have %s, want %s", c.name, strings.Join(have, " "), c.want)
		}
		if again, _ := l.changes(); len(again) > 0 {
			t.Errorf("%s: a change is told twice", c.name)
		}
	}
}

func TestALedgerBeginsWithTheBooksAndForgetsTheOldest(t *testing.T) {
	l := newLedger(3)
	l.hear(event.BundleSent{Tx: common.Hash{9}, Operations: 1, Answer: "accepted"}, 1)
	l.begin([]Earning{{Transaction: common.Hash{1}}, {Transaction: common.Hash{2}, Reverted: true}, {Transaction: common.Hash{9}}})
	changed, gone := l.changes()
	var order []string
	for _, b := range changed {
		order = append(order, fmt.Sprint(b.Hash[0], b.Status))
	}
	if have, want := strings.Join(order, " "), "1mined 2reverted 9sent"; have != want || len(gone) > 0 {
		t.Errorf("have %s, gone %v, want %s", have, gone, want)
	}
	// What an earlier process sent is known by its nonce again once it is un-mined: another transaction may take its place.
	key, nonce := common.Address{1}, uint64(7)
	old := newLedger(3)
	old.begin([]Earning{{Transaction: common.Hash{1}, Signer: key}})
	old.hear(event.BundleUnmined{Signer: key, Tx: common.Hash{1}, Nonce: &nonce}, 1)
	old.hear(event.BundleSent{Signer: key, Tx: common.Hash{2}, Nonce: nonce, Operations: 1, Answer: "accepted"}, 1)
	if b := old.bundles[common.Hash{1}]; b.Status != bundleReplaced {
		t.Errorf("have it %s, want it replaced", b.Status)
	}
	l.hear(event.BundleSent{Tx: common.Hash{10}, Operations: 1, Answer: "accepted"}, 1)
	if _, gone := l.changes(); !slices.Equal(gone, []common.Hash{{1}}) {
		t.Errorf("have %v gone, want the oldest", gone)
	}
}

// TestEveryOperationIsInTheSummaryOnce: whatever is in the pool, bars, ages and EntryPoints each count every operation.
func TestEveryOperationIsInTheSummaryOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fee := rapid.Uint64Max(1 << 40)
		m := Mempool{BaseFee: *uint256.NewInt(fee.Draw(t, "base fee"))}
		if rapid.Bool().Draw(t, "required is known") {
			m.Required = &gas.Fees{MaxFee: *uint256.NewInt(fee.Draw(t, "max")), MaxPriority: *uint256.NewInt(fee.Draw(t, "priority"))}
		}
		now := rapid.Uint64Range(1000, 100_000).Draw(t, "now")
		for i := range rapid.IntRange(0, 60).Draw(t, "operations") {
			m.Operations = append(m.Operations, Waiting{
				Hash: common.Hash{byte(i)}, EntryPoint: common.Address{byte(i % 3)}, AddedTime: rapid.Uint64Max(110_000).Draw(t, "added"),
				Fees: gas.Fees{MaxFee: *uint256.NewInt(fee.Draw(t, "max fee")), MaxPriority: *uint256.NewInt(fee.Draw(t, "max priority"))},
			})
		}
		s := summarise(m, now)
		bars, ages, points := 0, 0, 0
		for _, n := range s.Fees.Counts {
			bars += n
		}
		for _, a := range s.Ages {
			ages += a.Count
		}
		for _, e := range s.EntryPoints {
			points += e.Count
		}
		if n := len(m.Operations); bars != n || ages != n || points != n || s.Operations != n {
			t.Fatalf("have %d in bars, %d in ages, %d at EntryPoints, %d in all, want %d", bars, ages, points, s.Operations, n)
		}
		if len(s.Best) > 0 && len(m.Operations) > 1 {
			first, last := uint256.Int(s.Best[0].Effective), uint256.Int(s.Best[len(s.Best)-1].Effective)
			if first.Lt(&last) {
				t.Fatalf("the best pays %s, the last %s", first.Dec(), last.Dec())
			}
		}
	})
}
