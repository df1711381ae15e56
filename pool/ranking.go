package pool

import (
	"container/heap"
	"iter"
	"math"
	"slices"
)

// ranking orders entries by effective priority fee at any base fee, best or worst first; among equals the oldest is the
// best. See the package comment for the structure. The zero value is empty.
//
// An entry is capped, limited by its maximum fee, if the base fee is above its turn, maxFee - tip: then its effective
// fee is maxFee - base, below its tip.
type ranking struct {
	buckets []*bucket // ascending by turn, none is empty
	last    []item    // the last by turn of each, for searches
	count   int
}

// bucketSize bounds what an insertion moves: 128 items are 3 kB.
const bucketSize = 128

// bucket is neighbours by turn, in the two orders in which a base fee may have them.
type bucket struct {
	turns sortedItems // by turn
	tips  sortedItems // by tip, best first: their order while none is capped
	fees  sortedItems // by maximum fee, best first: their order while all are
}

func (r *ranking) len() int { return r.count }

// turn is the highest base fee at which an operation still pays its whole priority fee.
func (e *entry) turn() uint64 { return e.maxFee - min(e.tip, e.maxFee) }

// best makes the highest fee the smallest key, and is its own inverse.
func best(fee uint64) uint64 { return math.MaxUint64 - fee }

func (e *entry) byTurn() item { return item{e.turn(), e.arrival, e} }
func (e *entry) byTip() item  { return item{best(e.tip), e.arrival, e} }
func (e *entry) byFee() item  { return item{best(e.maxFee), e.arrival, e} }

// bucketOf returns where an entry with this turn is, or belongs.
func (r *ranking) bucketOf(turn item) int {
	at, _ := slices.BinarySearchFunc(r.last, turn, item.compare)
	return min(at, len(r.buckets)-1)
}

func (r *ranking) insert(e *entry) {
	r.count++
	if len(r.buckets) == 0 {
		r.buckets, r.last = append(r.buckets, new(bucket)), append(r.last, item{})
	}
	at := r.bucketOf(e.byTurn())
	b := r.buckets[at]
	b.turns.insert(e.byTurn())
	b.tips.insert(e.byTip())
	b.fees.insert(e.byFee())
	r.last[at] = b.turns[len(b.turns)-1]
	if len(b.turns) > bucketSize {
		upper := b.split()
		r.buckets = slices.Insert(r.buckets, at+1, upper)
		r.last = slices.Insert(r.last, at+1, r.last[at])
		r.last[at] = b.turns[len(b.turns)-1]
	}
}

func (r *ranking) remove(e *entry) {
	at := r.bucketOf(e.byTurn())
	if at < 0 || !r.buckets[at].turns.remove(e.byTurn()) {
		return
	}
	r.count--
	b := r.buckets[at]
	b.tips.remove(e.byTip())
	b.fees.remove(e.byFee())
	if len(b.turns) == 0 {
		r.buckets, r.last = slices.Delete(r.buckets, at, at+1), slices.Delete(r.last, at, at+1)
		return
	}
	r.last[at] = b.turns[len(b.turns)-1]
}

// split moves the upper half by turn to a bucket of its own.
func (b *bucket) split() *bucket {
	half := b.turns[len(b.turns)/2]
	moves := func(x item) bool { return x.entry.byTurn().compare(half) >= 0 }
	return &bucket{b.turns.split(moves), b.tips.split(moves), b.fees.split(moves)}
}

// from returns the entries by turn, from a place on.
func (r *ranking) from(place item) iter.Seq[item] {
	return func(yield func(item) bool) {
		for at := max(r.bucketOf(place), 0); at < len(r.buckets); at++ {
			for _, x := range r.buckets[at].turns {
				if x.compare(place) >= 0 && !yield(x) {
					return
				}
			}
		}
	}
}

// worth is an effective priority fee that may be negative: what an operation pays above the base fee.
type worth struct {
	negative bool
	amount   uint64 // wei per gas; for a negative worth, what is missing to the base fee
}

// worthAt returns what the entry pays above the base fee.
func (e *entry) worthAt(base uint64) worth {
	if e.maxFee < base {
		return worth{negative: true, amount: base - e.maxFee}
	}
	return worth{amount: min(e.maxFee-base, e.tip)}
}

// compare orders by worth: negative if w is less than o.
func (w worth) compare(o worth) int {
	switch {
	case w == o:
		return 0
	case w.negative != o.negative:
		if w.negative {
			return -1
		}
		return 1
	case (w.amount < o.amount) != w.negative:
		return -1
	default:
		return 1
	}
}

// better reports whether a is to be taken before b at the base fee: it pays more, or as much and is older.
func better(a, b *entry, base uint64) bool {
	if c := a.worthAt(base).compare(b.worthAt(base)); c != 0 {
		return c > 0
	}
	return a.arrival < b.arrival
}

// walk is a merge of all buckets at a base fee, best first or worst first. The ranking must not change meanwhile.
type walk struct {
	base      uint64
	worst     bool
	stretches []stretch // a heap, the one whose entry is next on top
}

// stretch is what is left of the entries of a bucket, best first, that all pay by the same fee.
type stretch struct {
	items  sortedItems
	capped bool
	worth  worth // of the one that is next
	next   *item
}

func (r *ranking) walk(base uint64) *walk { return r.begin(&walk{base: base}) }

func (r *ranking) walkBack(base uint64) *walk { return r.begin(&walk{base: base, worst: true}) }

func (r *ranking) begin(w *walk) *walk {
	w.stretches = make([]stretch, 0, len(r.buckets)+1)
	for i, b := range r.buckets {
		switch {
		case b.turns[0].key >= w.base:
			w.add(b.tips, false)
		case r.last[i].key < w.base:
			w.add(b.fees, true)
		default:
			isCapped := func(x item) bool { return x.entry.turn() < w.base }
			tips, fees := slices.Clone(b.tips), slices.Clone(b.fees)
			w.add(slices.DeleteFunc(tips, isCapped), false)
			w.add(fees.split(isCapped), true)
		}
	}
	heap.Init(w)
	return w
}

func (w *walk) add(items sortedItems, capped bool) {
	w.stretches = append(w.stretches, stretch{items: items, capped: capped})
	w.look(&w.stretches[len(w.stretches)-1])
}

// look finds out what the next entry of a stretch is worth.
func (w *walk) look(r *stretch) {
	r.next = &r.items[0]
	if w.worst {
		r.next = &r.items[len(r.items)-1]
	}
	fee := best(r.next.key)
	switch {
	case !r.capped:
		r.worth = worth{amount: fee}
	case fee < w.base:
		r.worth = worth{negative: true, amount: w.base - fee}
	default:
		r.worth = worth{amount: fee - w.base}
	}
}

// peek returns the next entry, or nil.
func (w *walk) peek() *entry {
	if len(w.stretches) == 0 {
		return nil
	}
	return w.stretches[0].next.entry
}

// next steps over the entry that peek returned.
func (w *walk) next() {
	if len(w.stretches) == 0 {
		return
	}
	r := &w.stretches[0]
	if len(r.items) == 1 {
		heap.Pop(w)
		return
	}
	if w.worst {
		r.items = r.items[:len(r.items)-1]
	} else {
		r.items = r.items[1:]
	}
	w.look(r)
	heap.Fix(w, 0)
}

// Len, Less, Swap, Push and Pop make a heap of the stretches.
func (w *walk) Len() int { return len(w.stretches) }

func (w *walk) Less(i, j int) bool {
	a, b := &w.stretches[i], &w.stretches[j]
	if c := a.worth.compare(b.worth); c != 0 {
		return (c > 0) != w.worst
	}
	return (a.next.arrival < b.next.arrival) != w.worst
}

func (w *walk) Swap(i, j int) { w.stretches[i], w.stretches[j] = w.stretches[j], w.stretches[i] }

func (w *walk) Push(any) { panic("a walk has all its stretches from the beginning") }

func (w *walk) Pop() any {
	w.stretches = w.stretches[:len(w.stretches)-1]
	return nil
}
