package pool

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A ranking over many entries, through many base fees, is always the entries sorted by what they pay.
func TestRankingIsTheSortedList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wide := rapid.SampledFrom([]uint64{5, 1000, 1 << 63}).Draw(t, "range of fees")
		var r ranking
		var all []*entry
		arrival := uint64(0)
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			for range rapid.IntRange(0, 400).Draw(t, "insertions") {
				arrival++
				e := &entry{arrival: arrival, maxFee: rapid.Uint64Range(0, wide).Draw(t, "max fee")}
				e.tip = min(e.maxFee, rapid.Uint64Range(0, wide).Draw(t, "tip"))
				all = append(all, e)
				r.insert(e)
			}
			kept := all[:0]
			for _, e := range all {
				if rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
					r.remove(e)
					continue
				}
				kept = append(kept, e)
			}
			all = kept
			base := rapid.Uint64Range(0, wide).Draw(t, "base fee")
			checkRanking(t, &r, base)
			want := slices.Clone(all)
			slices.SortFunc(want, func(a, b *entry) int {
				if better(a, b, base) {
					return -1
				}
				return 1
			})
			var have []*entry
			for w := r.walk(base); w.peek() != nil; w.next() {
				have = append(have, w.peek())
			}
			if !slices.Equal(have, want) {
				t.Fatalf("the walk over %d entries differs from the sorted list", len(want))
			}
		}
	})
}

func TestWorth(t *testing.T) {
	e := &entry{maxFee: 100, tip: 30}
	for _, tt := range []struct {
		base uint64
		want worth
	}{
		{0, worth{amount: 30}},
		{70, worth{amount: 30}},
		{71, worth{amount: 29}},
		{100, worth{}},
		{101, worth{negative: true, amount: 1}},
	} {
		if have := e.worthAt(tt.base); have != tt.want {
			t.Errorf("base fee %d: have %+v, want %+v", tt.base, have, tt.want)
		}
	}
	order := []worth{{true, 9}, {true, 1}, {false, 0}, {false, 7}}
	for i, a := range order {
		for j, b := range order {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if have := a.compare(b); have != want {
				t.Errorf("compare(%+v, %+v): have %d, want %d", a, b, have, want)
			}
		}
	}
}
