package pool

import "math"

// ranking orders entries by effective priority fee at a base fee, best or worst first; among equals the oldest is the
// best. See the package comment for the structure.
//
// An entry is capped, limited by its maximum fee, if the base fee is above its turn, maxFee - tip: then its effective
// fee is maxFee - base, below its tip.
type ranking struct {
	base   uint64 // wei per gas
	tipped sorted // not capped, by tip, best first
	capped sorted // by maximum fee, best first
	turns  sorted // all, by turn
}

func newRanking(base uint64) ranking { return ranking{base: base} }

func (r *ranking) len() int { return r.turns.len() }

// turn is the highest base fee at which an operation still pays its whole priority fee.
func (e *entry) turn() uint64 { return e.maxFee - min(e.tip, e.maxFee) }

// best makes the highest fee the smallest key.
func best(fee uint64) uint64 { return math.MaxUint64 - fee }

func (r *ranking) insert(e *entry) {
	r.turns.insert(e.turn(), e)
	if e.turn() < r.base {
		r.capped.insert(best(e.maxFee), e)
		return
	}
	r.tipped.insert(best(e.tip), e)
}

func (r *ranking) remove(e *entry) {
	r.turns.remove(e.turn(), e)
	if e.turn() < r.base {
		r.capped.remove(best(e.maxFee), e)
		return
	}
	r.tipped.remove(best(e.tip), e)
}

// rebase reorders for another base fee. It costs what changes sides: those whose turn lies between the two.
func (r *ranking) rebase(base uint64) {
	if base == r.base {
		return
	}
	low, high := min(base, r.base), max(base, r.base)
	from, to, fee := &r.tipped, &r.capped, func(e *entry) (old, now uint64) { return best(e.tip), best(e.maxFee) }
	if base < r.base {
		from, to, fee = to, from, func(e *entry) (old, now uint64) { return best(e.maxFee), best(e.tip) }
	}
	r.base = base
	first := r.turns.from(low)
	moved := first.before(r.turns.from(high))
	leave, come := make([]item, moved), make([]item, moved)
	for i := range moved {
		e := first.entry()
		old, now := fee(e)
		leave[i], come[i] = item{old, e.arrival, e}, item{now, e.arrival, e}
		first.next()
	}
	// One pass over both sides is cheaper than many single moves.
	if moved > 64 && moved > r.len()/32 {
		spare := make([]item, moved)
		from.cut(leave, spare)
		to.merge(come, spare)
		return
	}
	for i, x := range come {
		from.remove(leave[i].key, x.entry)
		to.insert(x.key, x.entry)
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

// walk is a merge of the two sides, best first or worst first. The ranking must not change meanwhile.
type walk struct {
	base           uint64
	worst          bool
	tipped, capped cursor
}

func (r *ranking) walk() walk {
	return walk{base: r.base, tipped: r.tipped.begin(), capped: r.capped.begin()}
}

func (r *ranking) walkBack() walk {
	return walk{base: r.base, worst: true, tipped: r.tipped.end(), capped: r.capped.end()}
}

// side returns the side whose entry is next, or nil.
func (w *walk) side() *cursor {
	switch {
	case !w.tipped.valid() && !w.capped.valid():
		return nil
	case !w.capped.valid():
		return &w.tipped
	case !w.tipped.valid():
		return &w.capped
	case better(w.tipped.entry(), w.capped.entry(), w.base) != w.worst:
		return &w.tipped
	default:
		return &w.capped
	}
}

// peek returns the next entry, or nil.
func (w *walk) peek() *entry {
	if s := w.side(); s != nil {
		return s.entry()
	}
	return nil
}

// next steps over the entry that peek returned.
func (w *walk) next() {
	s := w.side()
	switch {
	case s == nil:
	case w.worst:
		s.prev()
	default:
		s.next()
	}
}
