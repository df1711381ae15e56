package proposer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"baler/pool"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// race is a bundler with one sender against a rival, in a model: accounts send one operation after the other, and a bundle
// that holds an operation which the rival takes reverts.
type race struct {
	takes  func(chance *rand.Rand, op *pool.Operation, before int) bool
	policy policy
}

// policy says what goes into the next bundle, and learns what became of it.
type policy interface {
	Cut([]*pool.Operation) ([]*pool.Operation, int)
	Settled([]Fate)
}

// outcome counts in thousands of gas: a bundle costs 42 beside its operations, a reverted one 17 for each of them.
type outcome struct {
	mined, taken, bundles, reverted int
	lost, overhead                  float64
}

func (o outcome) perMined() float64 { return (o.lost + o.overhead) / float64(max(o.mined, 1)) }

func (o outcome) String() string {
	return fmt.Sprintf("%d mined, %d taken, %d of %d bundles reverted, %.1fk gas of overhead per operation mined, of it %.1fk lost",
		o.mined, o.taken, o.reverted, o.bundles, o.perMined(), o.lost/float64(max(o.mined, 1)))
}

// run lets accounts send so many operations each.
func (r race) run(seed uint64, accounts, each int) (o outcome) {
	const mostOps = 35 // by the gas of a bundle
	chance := rand.New(rand.NewPCG(seed, 1))
	var pending []*pool.Operation
	shown := make(map[common.Hash]int)
	next := func(account common.Address, n int) *pool.Operation {
		op := &pool.Operation{Op: &userop.UserOperation{Sender: account, Nonce: *uint256.NewInt(uint64(n))}}
		op.Hash = common.BytesToHash(append(account[:], byte(n)))
		return op
	}
	for i := range accounts {
		pending = append(pending, next(common.BigToAddress(uint256.NewInt(uint64(i)+1).ToBig()), 0))
	}
	for len(pending) > 0 && o.bundles < 100*accounts*each {
		together, limit := r.policy.Cut(pending)
		bundle := together[:min(len(together), mostOps)]
		if limit > 0 {
			bundle = bundle[:min(len(bundle), limit)]
		}
		fates := make([]Fate, len(bundle))
		hit := false
		for i, op := range bundle {
			fates[i] = Fate{Operation: op.Hash, Account: op.Op.Sender, Taken: r.takes(chance, op, shown[op.Hash])}
			shown[op.Hash]++
			hit = hit || fates[i].Taken
		}
		r.policy.Settled(fates)
		o.bundles++
		if o.overhead += 42; hit {
			o.overhead -= 42
			o.lost += 42 + 17*float64(len(bundle))
			o.reverted++
		}
		var left, fresh []*pool.Operation
		for _, op := range pending {
			at := slices.IndexFunc(fates, func(f Fate) bool { return f.Operation == op.Hash })
			if at < 0 || hit && !fates[at].Taken {
				left = append(left, op)
				continue
			}
			if o.mined++; fates[at].Taken {
				o.mined--
				o.taken++
			}
			if n := int(op.Op.Nonce.Uint64()) + 1; n < each {
				fresh = append(fresh, next(op.Op.Sender, n))
			}
		}
		pending = append(left, fresh...)
	}
	return o
}

// never limits nothing.
type never struct{}

func (never) Cut(ops []*pool.Operation) ([]*pool.Operation, int) { return ops, 0 }
func (never) Settled([]Fate)                                     {}

// halving halves bundles that were hit and doubles them when they are mined.
type halving struct{ limit int }

func (h *halving) Cut(ops []*pool.Operation) ([]*pool.Operation, int) { return ops, h.limit }

func (h *halving) Settled(fates []Fate) {
	switch raced := slices.ContainsFunc(fates, func(f Fate) bool { return f.Taken }); {
	case raced:
		h.limit = max(1, len(fates)/2)
	case 2*h.limit >= 128:
		h.limit = 0
	default:
		h.limit *= 2
	}
}

func percent(chance *rand.Rand, n int) bool { return chance.IntN(100) < n }

// tastes of rivals.
func tastes() map[string]func(*rand.Rand, *pool.Operation, int) bool {
	list := make(map[string]func(*rand.Rand, *pool.Operation, int) bool)
	for _, n := range []int{1, 5, 20} {
		list[fmt.Sprintf("%d%% of the operations", n)] = func(chance *rand.Rand, _ *pool.Operation, before int) bool {
			return before == 0 && percent(chance, n)
		}
		list[fmt.Sprintf("%d%% of every bundle", n)] = func(chance *rand.Rand, _ *pool.Operation, _ int) bool {
			return percent(chance, n)
		}
		list[fmt.Sprintf("%d%% of the accounts", n)] = func(_ *rand.Rand, op *pool.Operation, _ int) bool {
			return op.Op.Sender.Big().Uint64()%100 < uint64(n)
		}
	}
	return list
}

// Whatever a rival takes, by chance or by account, seldom or often: what bundles cost beside their operations, the
// reverted ones included, is hardly more than with the better of the simple policies, and with neither always so.
func TestBundlesAreAsLargeAsCostsLeast(t *testing.T) {
	const accounts, each, seeds = 100, 40, 2
	for name, takes := range tastes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			total := func(p func() policy) (sum outcome) {
				for seed := range uint64(seeds) {
					sum.add(race{takes: takes, policy: p()}.run(seed, accounts, each))
				}
				if sum.mined+sum.taken != accounts*each*seeds {
					t.Fatalf("%d operations mined or taken, want %d", sum.mined+sum.taken, accounts*each*seeds)
				}
				return sum
			}
			have := total(func() policy { return NewRivals() })
			halved, unlimited := total(func() policy { return new(halving) }), total(func() policy { return never{} })
			t.Logf("sizes by rates:  %v", have)
			t.Logf("halved, doubled: %v", halved)
			t.Logf("never limited:   %v", unlimited)
			if best := min(halved.perMined(), unlimited.perMined()); have.perMined() > 1.1*best {
				t.Errorf("have %.1fk gas of overhead per operation mined, want at most 1.1 times %.1fk", have.perMined(), best)
			}
			if have.lost > 1.05*min(halved.lost, unlimited.lost) {
				t.Errorf("have %.0fk gas lost, want hardly more than %.0fk", have.lost, min(halved.lost, unlimited.lost))
			}
		})
	}
}

func (o *outcome) add(x outcome) {
	o.mined += x.mined
	o.taken += x.taken
	o.bundles += x.bundles
	o.reverted += x.reverted
	o.lost += x.lost
	o.overhead += x.overhead
}

// bundleOf makes operations of accounts, numbered from one.
func bundleOf(from, to int) (ops []*pool.Operation) {
	for i := from; i < to; i++ {
		ops = append(ops, &pool.Operation{
			Op:   &userop.UserOperation{Sender: common.BigToAddress(uint256.NewInt(uint64(i) + 1).ToBig())},
			Hash: common.Hash(uint256.NewInt(uint64(i) + 1).Bytes32()),
		})
	}
	return ops
}

// fatesOf says that of the operations the first so many were taken.
func fatesOf(ops []*pool.Operation, taken int) []Fate {
	fates := make([]Fate, len(ops))
	for i, op := range ops {
		fates[i] = Fate{Operation: op.Hash, Account: op.Op.Sender, Taken: i < taken}
	}
	return fates
}

func TestWithoutARivalBundlesAreNotLimited(t *testing.T) {
	r := NewRivals()
	ops := bundleOf(0, 100)
	for range 10 {
		r.Settled(fatesOf(ops, 0))
	}
	if together, limit := r.Cut(ops); limit != 0 || !slices.Equal(together, ops) {
		t.Errorf("have %d operations, at most %d, want all 100 without a limit", len(together), limit)
	}
	if general, raced := r.Rates(); general != 0 || raced != 0.5 {
		t.Errorf("have rates %v and %v, want nothing seen: 0 and what is supposed, 0.5", general, raced)
	}
}

func TestOperationsOfRacedAccountsAreKeptApart(t *testing.T) {
	r := NewRivals()
	ops := bundleOf(0, 50)
	for range 5 { // the first five accounts are raced each time
		r.Settled(fatesOf(ops, 5))
	}
	for range 10 {
		r.Settled(fatesOf(ops[5:], 0))
	}
	isRaced := func(op *pool.Operation) bool { return slices.Contains(ops[:5], op) }
	mixed := append(slices.Clone(ops[5:30]), ops...)
	if together, _ := r.Cut(mixed); len(together) == 0 || slices.ContainsFunc(together, isRaced) {
		t.Errorf("operations of raced accounts are in a bundle with others")
	}
	together, _ := r.Cut(ops)
	if want := ops[:5]; !slices.Equal(together, want) {
		t.Errorf("have %d operations with the first, which is of a raced account, want the %d of such accounts", len(together), len(want))
	}
}

func TestARivalThatLeftIsForgotten(t *testing.T) {
	r := NewRivals()
	ops := bundleOf(0, 20)
	r.Settled(fatesOf(ops, 6))
	_, limit := r.Cut(bundleOf(100, 200))
	if limit == 0 || limit > 5 {
		t.Fatalf("have limit %d after 6 of 20 operations were taken, want 1 to 5", limit)
	}
	bundles := 0
	for next := 1000; limit != 0; next += limit {
		if bundles++; bundles > 200 {
			t.Fatalf("have limit %d after 200 bundles that nobody took from", limit)
		}
		fresh := bundleOf(next, next+limit)
		r.Settled(fatesOf(fresh, 0))
		var before int
		if before, limit = limit, limitOf(r); limit != 0 && limit < before {
			t.Fatalf("the limit falls from %d to %d without a rival", before, limit)
		}
	}
	t.Logf("no limit after %d bundles that nobody took from", bundles)
}

func limitOf(r *Rivals) int {
	_, limit := r.Cut(bundleOf(0x10000, 0x10100))
	return limit
}

func TestRivalsForgetOperationsThatAreGone(t *testing.T) {
	r := NewRivals()
	ops := bundleOf(0, 4)
	r.Settled(fatesOf(ops, 1))
	if len(r.survived) != 3 {
		t.Fatalf("have %d survivors, want 3", len(r.survived))
	}
	r.Forget(func(h common.Hash) bool { return h != ops[3].Hash })
	if len(r.survived) != 1 || !r.survived[ops[3].Hash] {
		t.Errorf("have survivors %v, want the one that is still there", r.survived)
	}
}

// Operations count as raced from the first that is taken until the rival is long gone, those of its accounts first.
func TestOperationsAreRacedUntilTheRivalIsForgotten(t *testing.T) {
	r := NewRivals()
	operation := func(account, n byte) *pool.Operation {
		return &pool.Operation{Op: &userop.UserOperation{Sender: common.Address{account}}, Hash: common.Hash{account, n}}
	}
	mined := func(ops int) {
		for n := range ops {
			r.Settled([]Fate{{Operation: common.Hash{9, byte(n), byte(n >> 8)}, Account: common.Address{9, byte(n)}}})
		}
	}
	mined(50)
	if r.Raced(operation(1, 0)) || r.Raced(operation(2, 0)) {
		t.Error("have a raced operation before a rival was seen")
	}
	r.Settled([]Fate{
		{Operation: common.Hash{1, 0}, Account: common.Address{1}, Taken: true},
		{Operation: common.Hash{2, 0}, Account: common.Address{2}},
	})
	if !r.Raced(operation(1, 1)) || !r.Raced(operation(3, 0)) {
		t.Error("have an operation that is not raced after one of two was taken")
	}
	mined(2000)
	if r.Raced(operation(3, 0)) {
		t.Error("have a raced operation after 2000 that nobody took")
	}
	if !r.Raced(operation(1, 1)) {
		t.Error("the account that was raced is not raced any more, though none of its operations was left since")
	}
}
