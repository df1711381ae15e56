// Package profit is the books of a bundler: what each mined transaction cost and earned, and the sums of it.
//
// In: entries, one for each transaction of ours in a block, and the transactions that a reorg took back. Out: sums by
// bundle sender and day, and the newest entries. Transactions that earned nothing (reverted bundles, cancellations) are
// charged like the others.
//
// It promises that each transaction counts once, under the block it was added with last, and that the sums are those of
// the entries that were added and not taken back. It never looks at a chain, and knows no time but that of blocks. Books are
// not safe for concurrent use.
package profit

import (
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// Kind says what a transaction was.
type Kind string

// The kinds.
const (
	Bundle       Kind = "bundle"       // it did what it should
	Reverted     Kind = "reverted"     // a bundle that only cost its gas
	Cancellation Kind = "cancellation" // it freed a nonce
)

// Entry is one mined transaction of ours.
type Entry struct {
	Transaction common.Hash
	Block       uint64
	BlockHash   common.Hash
	Time        uint64 // of the block, unix seconds
	Signer      common.Address
	EntryPoint  common.Address // zero for a cancellation
	Kind        Kind
	Operations  int

	GasLimit uint64
	GasUsed  uint64
	// ChargedGas is the gas that the operations were charged for: the sum of their actualGasUsed.
	ChargedGas uint64
	Cost       uint256.Int // wei the signer paid, L1Fee and an OP stack chain's operator fee included
	L1Fee      uint256.Int // wei, the part of Cost for data on another chain
	Earned     uint256.Int // wei: the sum of the operations' actualGasCost
	// Expected is the profit in wei that was expected when the bundle was sent; nil: unknown, as after a restart.
	Expected *big.Int
}

// Profit returns what was earned less what was paid, in wei; it may be negative.
func (e *Entry) Profit() *big.Int { return minus(&e.Earned, &e.Cost) }

// Day counts days since 1970, UTC.
type Day uint64

const secondsPerDay = 86_400

// DayOf returns the day of a time in unix seconds.
func DayOf(unix uint64) Day { return Day(unix / secondsPerDay) }

// ParseDay reads a date, as 2026-11-25.
func ParseDay(text string) (Day, error) {
	date, err := time.Parse(time.DateOnly, text)
	if err != nil || date.Unix() < 0 {
		return 0, fmt.Errorf("have %q, want a date such as 2026-11-25", text)
	}
	return DayOf(uint64(date.Unix())), nil
}

// String returns the date.
func (d Day) String() string {
	return time.Unix(int64(d)*secondsPerDay, 0).UTC().Format(time.DateOnly) //nolint:gosec // days of block times
}

// Sum is what entries come to.
type Sum struct {
	Bundles       uint64 // mined, not reverted
	Reverted      uint64
	Cancellations uint64
	Operations    uint64 // of bundles that were not reverted

	// The gas of bundles that were not reverted, so that limits and charges can be compared with use.
	GasLimit, GasUsed, ChargedGas uint64

	Earned uint256.Int // wei
	Cost   uint256.Int // wei, of all transactions
	L1Fee  uint256.Int // wei, the part of Cost for data on another chain
	Wasted uint256.Int // wei, the part of Cost for reverted bundles and cancellations
}

// Profit returns what was earned less what was paid, in wei; it may be negative.
func (s *Sum) Profit() *big.Int { return minus(&s.Earned, &s.Cost) }

func minus(a, b *uint256.Int) *big.Int { return new(big.Int).Sub(a.ToBig(), b.ToBig()) }

// IsZero reports whether nothing is in the sum.
func (s *Sum) IsZero() bool { return *s == Sum{} }

// Add adds another sum.
func (s *Sum) Add(other *Sum) { s.combine(other, plus, (*uint256.Int).Add) }

func plus(a, b uint64) uint64 { return a + b }

// less takes off what is there, and never more than that: sums and entries are kept apart, and a damaged one must not
// make the others absurd.
func less(a, b uint64) uint64 { return a - min(a, b) }

func lessWei(z, a, b *uint256.Int) *uint256.Int {
	if a.Lt(b) {
		return z.Clear()
	}
	return z.Sub(a, b)
}

func (s *Sum) combine(other *Sum, count func(a, b uint64) uint64, wei func(z, a, b *uint256.Int) *uint256.Int) {
	for _, n := range []struct{ to, by *uint64 }{
		{&s.Bundles, &other.Bundles},
		{&s.Reverted, &other.Reverted},
		{&s.Cancellations, &other.Cancellations},
		{&s.Operations, &other.Operations},
		{&s.GasLimit, &other.GasLimit},
		{&s.GasUsed, &other.GasUsed},
		{&s.ChargedGas, &other.ChargedGas},
	} {
		*n.to = count(*n.to, *n.by)
	}
	for _, n := range []struct{ to, by *uint256.Int }{
		{&s.Earned, &other.Earned}, {&s.Cost, &other.Cost}, {&s.L1Fee, &other.L1Fee}, {&s.Wasted, &other.Wasted},
	} {
		wei(n.to, n.to, n.by)
	}
}

// sum returns the entry as a sum of one.
func (e *Entry) sum() Sum {
	s := Sum{Earned: e.Earned, Cost: e.Cost, L1Fee: e.L1Fee}
	switch e.Kind {
	case Bundle:
		s.Bundles, s.Operations = 1, uint64(max(e.Operations, 0))
		s.GasLimit, s.GasUsed, s.ChargedGas = e.GasLimit, e.GasUsed, e.ChargedGas
	case Reverted:
		s.Reverted, s.Wasted = 1, e.Cost
	case Cancellation:
		s.Cancellations, s.Wasted = 1, e.Cost
	}
	return s
}

// Account is the sum of one bundle sender and one day.
type Account struct {
	Day    Day
	Signer common.Address
	Sum
}

// Books are the sums of all days and the newest entries. The zero value is not usable; see [NewBooks].
type Books struct {
	capacity int
	entries  []Entry // in the order in which they were added
	accounts map[account]*Sum
}

type account struct {
	day    Day
	signer common.Address
}

// NewBooks returns empty books that remember so many entries. Sums remember all.
func NewBooks(capacity int) *Books {
	return &Books{capacity: max(capacity, 1), accounts: make(map[account]*Sum)}
}

// Load fills empty books with what was kept: entries, oldest first, and the accounts they and older ones are in. Of a transaction that
// stands there twice the last entry counts: before it was struck in one block it was entered in another.
func (b *Books) Load(entries []Entry, accounts []Account) {
	known := make(map[common.Hash]bool, len(entries))
	b.entries = b.entries[:0]
	for _, e := range slices.Backward(entries) {
		if len(b.entries) < b.capacity && !known[e.Transaction] {
			b.entries = append(b.entries, e)
		}
		known[e.Transaction] = true
	}
	slices.Reverse(b.entries)
	for _, a := range accounts {
		b.accounts[account{a.Day, a.Signer}] = new(a.Sum)
	}
}

// Has reports whether a transaction is among the entries remembered, and in that block.
func (b *Books) Has(transaction, block common.Hash) bool {
	at := b.find(transaction)
	return at >= 0 && b.entries[at].BlockHash == block
}

func (b *Books) find(transaction common.Hash) int {
	return slices.IndexFunc(b.entries, func(e Entry) bool { return e.Transaction == transaction })
}

// Add takes an entry in and returns the accounts that changed. A transaction that is known already is moved to the new
// entry's block.
func (b *Books) Add(e Entry) []Account {
	var changed []Account
	if _, before, ok := b.Remove(e.Transaction); ok {
		changed = append(changed, before)
	}
	b.entries = append(b.entries, e)
	if len(b.entries) > b.capacity {
		b.entries = slices.Delete(b.entries, 0, len(b.entries)-b.capacity)
	}
	key := account{DayOf(e.Time), e.Signer}
	sum := b.accounts[key]
	if sum == nil {
		sum = new(Sum)
		b.accounts[key] = sum
	}
	sum.Add(new(e.sum()))
	now := Account{key.day, key.signer, *sum}
	if len(changed) > 0 && changed[0].Day == now.Day && changed[0].Signer == now.Signer {
		changed = changed[:0]
	}
	return append(changed, now)
}

// Remove takes a transaction back whose block has left the chain. It returns its entry and the account that changed; false
// if the transaction is not among the entries remembered.
func (b *Books) Remove(transaction common.Hash) (Entry, Account, bool) {
	at := b.find(transaction)
	if at < 0 {
		return Entry{}, Account{}, false
	}
	e := b.entries[at]
	b.entries = slices.Delete(b.entries, at, at+1)
	key := account{DayOf(e.Time), e.Signer}
	sum := b.accounts[key]
	if sum == nil {
		sum = new(Sum)
	}
	sum.combine(new(e.sum()), less, lessWei)
	if sum.IsZero() {
		delete(b.accounts, key)
	}
	return e, Account{key.day, key.signer, *sum}, true
}

// BundleSize returns how many operations a bundle had on average, rounded down, of those that were mined in a block with the
// number or later and did not revert; 0: there are none.
func (b *Books) BundleSize(block uint64) uint64 {
	var bundles, operations uint64
	for _, e := range slices.Backward(b.entries) {
		if e.Block < block {
			break
		}
		if e.Kind == Bundle {
			bundles++
			operations += uint64(max(e.Operations, 0))
		}
	}
	if bundles == 0 {
		return 0
	}
	return operations / bundles
}

// Query says what of the books is asked for.
type Query struct {
	Since   Day            // the first day of the sums; 0: all
	Signer  common.Address // zero: all
	Bundles int            // how many of the newest entries, at most
}

// Report is an extract of the books.
type Report struct {
	Total   Sum
	Signers []SignerSum // by address
	Days    []DaySum    // newest first
	Entries []Entry     // newest first
}

// SignerSum is the sum of one bundle sender.
type SignerSum struct {
	Signer common.Address
	Sum
}

// DaySum is the sum of one day.
type DaySum struct {
	Day Day
	Sum
}

// Report returns what is asked for.
func (b *Books) Report(q Query) *Report {
	r := new(Report)
	signers, days := make(map[common.Address]*Sum), make(map[Day]*Sum)
	for key, sum := range b.accounts {
		if key.day < q.Since || q.Signer != (common.Address{}) && key.signer != q.Signer {
			continue
		}
		r.Total.Add(sum)
		addTo(signers, key.signer, sum)
		addTo(days, key.day, sum)
	}
	for signer, sum := range signers {
		r.Signers = append(r.Signers, SignerSum{signer, *sum})
	}
	slices.SortFunc(r.Signers, func(x, y SignerSum) int { return x.Signer.Cmp(y.Signer) })
	for day, sum := range days {
		r.Days = append(r.Days, DaySum{day, *sum})
	}
	slices.SortFunc(r.Days, func(x, y DaySum) int { return int(y.Day) - int(x.Day) }) //nolint:gosec // days of block times
	for _, e := range slices.Backward(b.entries) {
		if len(r.Entries) >= q.Bundles {
			break
		}
		if q.Signer == (common.Address{}) || e.Signer == q.Signer {
			r.Entries = append(r.Entries, e)
		}
	}
	return r
}

func addTo[K comparable](sums map[K]*Sum, key K, sum *Sum) {
	if sums[key] == nil {
		sums[key] = new(Sum)
	}
	sums[key].Add(sum)
}
