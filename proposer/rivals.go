package proposer

import (
	"math"
	"slices"

	"baler/pool"

	"github.com/ethereum/go-ethereum/common"
)

// Rivals learns how often others mine operations out of our bundles, and makes bundles as large as costs least.
//
// One operation taken makes a whole bundle revert. So the more often operations are taken, the smaller the bundles that
// hold them must be, and the less they may stand beside operations that nobody takes. How often is counted apart for
// accounts whose operations were taken before (their wallets send to others too), and for operations that were in a bundle
// which others were taken from and are still here (whoever takes operations had the choice, and left them).
//
// Nothing is believed before it was seen: without a rival, bundles are not limited. What was seen fades with what is
// seen after it. Rivals is pure, and not safe for concurrent use.
type Rivals struct {
	seen     map[trait]*tally
	marked   map[common.Address]int // accounts whose operations were taken -> operations not taken that clear them
	survived map[common.Hash]bool   // operations that a rival left
}

// trait is what the rate is counted by.
type trait struct{ marked, survived bool }

// tally counts operations, the newest with weight 1.
type tally struct{ taken, all float64 }

// Fate is what became of an operation of a bundle.
type Fate struct {
	Operation common.Hash
	Account   common.Address
	Taken     bool // it is mined in a transaction that is not ours
}

const (
	// memory is how many operations it takes to forget all but 1/e of what was seen before them.
	memory = 200
	// revertShare is what an operation adds to the cost of a reverted bundle, in units of what a bundle costs beside its
	// operations: measured, 16,000 gas, the floor of its calldata (EIP-7623), of 42,000.
	revertShare = 0.4
	// brings is what we get for an operation that we mine, in the same unit: it pays at least for its share of a bundle of its
	// own (PRE_VERIFICATION_OVERHEAD_GAS of ERC-7562) and the calldata, and a priority fee on all its gas.
	brings = 2
	// slack is how much worse than the best, in the same unit, a size may be to be taken for being larger: it mines sooner.
	slack = 0.05
	// apart is the ratio of two rates from which operations do not go into one bundle, unless both are below negligible.
	apart, negligible = 2, 0.01
	// clearing is how many operations of a marked account must not be taken to clear it.
	clearing = 3
	// maxMarked bounds the accounts that are marked.
	maxMarked = 10_000
)

// NewRivals returns a record that knows of no rival.
func NewRivals() *Rivals {
	return &Rivals{
		seen: make(map[trait]*tally), marked: make(map[common.Address]int), survived: make(map[common.Hash]bool),
	}
}

// Settled takes what became of the operations of one bundle that is mined, reverted, or known to be hit.
func (r *Rivals) Settled(fates []Fate) {
	raced := slices.ContainsFunc(fates, func(f Fate) bool { return f.Taken })
	if !raced && len(r.seen) == 0 {
		return // nothing to learn from: there never was a rival
	}
	traits := make([]trait, len(fates))
	for i, f := range fates {
		traits[i] = r.traitOf(f.Operation, f.Account)
	}
	for i, f := range fates {
		r.count(traits[i], f.Taken)
		switch {
		case f.Taken:
			if len(r.marked) < maxMarked {
				r.marked[f.Account] = clearing
			}
		case raced:
			r.survived[f.Operation] = true
		}
		if left, ok := r.marked[f.Account]; ok && !f.Taken {
			if left == 1 {
				delete(r.marked, f.Account)
			} else {
				r.marked[f.Account] = left - 1
			}
		}
	}
}

func (r *Rivals) count(of trait, taken bool) {
	t := r.seen[of]
	if t == nil {
		t = new(tally)
		r.seen[of] = t
	}
	t.taken -= t.taken / memory
	t.all += 1 - t.all/memory
	if taken {
		t.taken++
	}
}

func (r *Rivals) traitOf(operation common.Hash, account common.Address) trait {
	_, marked := r.marked[account]
	return trait{marked: marked, survived: r.survived[operation]}
}

// rate estimates how likely an operation is taken: what was seen, and until enough was seen what is supposed. An account that
// was raced is supposed to be raced every other time, and a survivor as often as others.
func (r *Rivals) rate(of trait) float64 {
	supposed, weight := 0.0, 10.0
	switch {
	case of.survived:
		supposed, weight = r.rate(trait{marked: of.marked}), 20
	case of.marked:
		supposed, weight = 0.5, 4
	}
	t := r.seen[of]
	if t == nil {
		t = new(tally)
	}
	return (t.taken + weight*supposed) / (t.all + weight)
}

// Cut returns those of the operations that may go into one bundle with the first of them, in their order, and how many
// of these at most; 0: not limited.
func (r *Rivals) Cut(ops []*pool.Operation) (together []*pool.Operation, limit int) {
	if len(ops) == 0 || len(r.seen) == 0 {
		return ops, 0
	}
	first := r.traitOf(ops[0].Hash, ops[0].Op.Sender)
	rate := r.rate(first)
	for _, op := range ops {
		other := r.rate(r.traitOf(op.Hash, op.Op.Sender))
		if max(rate, other) < negligible || max(rate, other) <= apart*min(rate, other) {
			together = append(together, op)
		}
	}
	return together, r.size(first)
}

// Raced reports whether the operation is taken often enough to be kept from rivals' eyes, where that can be done.
func (r *Rivals) Raced(op *pool.Operation) bool {
	return r.rate(r.traitOf(op.Hash, op.Op.Sender)) >= negligible
}

// size returns how many operations of such a trait a bundle may have; 0: not limited.
func (r *Rivals) size(of trait) int {
	left := of
	left.survived = true
	// What survives a bundle that was hit survives as such again.
	best := cheapest(r.rate(left), func(n, p, s float64) price {
		over := p + s // how likely it is taken or mined by this bundle
		return price{cost: (1/n + (1-s)*revertShare) / over, mined: s / over}
	})
	if !of.survived {
		next := best
		best = cheapest(r.rate(of), func(n, p, s float64) price {
			survive := 1 - p - s // not taken, in a bundle that was hit
			return price{cost: 1/n + (1-s)*revertShare + survive*next.cost, mined: s + survive*next.mined}
		})
	}
	if best.size == largest {
		return 0
	}
	return best.size
}

// largest is the size from which a bundle is not limited.
const largest = 256

// price is what an operation costs until it is mined by us or taken, in units of what a bundle costs beside its
// operations, and how likely it is mined by us, if bundles have a size.
type price struct {
	size        int
	cost, mined float64
}

// cheapest returns the largest size with hardly more than the least loss per operation. rate is how likely an operation
// is taken; at gets a size, the rate, and how likely such a bundle is mined.
func cheapest(rate float64, at func(n, p, s float64) price) price {
	prices := make([]price, 0, largest)
	least := math.Inf(1)
	for n := 1; n <= largest; n++ {
		x := at(float64(n), rate, math.Pow(1-rate, float64(n)))
		x.size = n
		prices = append(prices, x)
		least = min(least, x.loss())
	}
	for _, x := range slices.Backward(prices) {
		if x.loss() <= least+slack {
			return x
		}
	}
	return prices[0]
}

// loss is what an operation costs less what it brings.
func (x price) loss() float64 { return x.cost - brings*x.mined }

// Forget drops what is known of operations that left the pool.
func (r *Rivals) Forget(gone func(common.Hash) bool) {
	for hash := range r.survived {
		if gone(hash) {
			delete(r.survived, hash)
		}
	}
}

// Rates lists the estimated rates at which operations are taken, for display: of operations in general, and of those of
// accounts that were raced before.
func (r *Rivals) Rates() (general, raced float64) {
	return r.rate(trait{}), r.rate(trait{marked: true})
}
