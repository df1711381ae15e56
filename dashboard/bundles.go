package dashboard

import (
	"cmp"
	"math/big"
	"slices"

	"baler/event"
	"baler/txsender"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// bundlesShown is how many transactions the page shows.
const bundlesShown = 400

// The ends of a transaction of ours, and what it is before.
const (
	bundleSent      = "sent"      // it waits
	bundleUnclear   = "unclear"   // nobody understood the node's answer: it may wait
	bundleRefused   = "refused"   // the node did not take it
	bundleReplaced  = "replaced"  // a later transaction of its nonce was taken by the node, or mined
	bundleMined     = "mined"     // it did what it should
	bundleReverted  = "reverted"  // mined, and it only cost its gas
	bundleCancelled = "cancelled" // a cancellation of its nonce was mined
)

// Bundle is one transaction of ours on the page.
type Bundle struct {
	Hash       common.Hash    `json:"hash"`
	Signer     common.Address `json:"signer"`
	EntryPoint common.Address `json:"entryPoint"`
	Cancels    bool           `json:"cancels"` // it is a cancellation
	Nonce      *uint64        `json:"nonce"`   // nil: not known any more
	Status     string         `json:"status"`
	Answer     string         `json:"answer,omitempty"` // class of the node's answer
	Text       string         `json:"text,omitempty"`   // the node's own words, or why it reverted
	Sent       uint64         `json:"sent"`             // block; 0: not known any more
	Ended      uint64         `json:"ended"`            // block; 0: not yet
	Time       int64          `json:"time"`             // of the last thing that happened to it, unix milliseconds
	Operations int            `json:"operations"`
	Hashes     []common.Hash  `json:"hashes,omitempty"` // of the operations, the first of them
	GasLimit   uint64         `json:"gasLimit"`
	GasUsed    uint64         `json:"gasUsed"`
	Fees       *Fees          `json:"fees,omitempty"`
	Expected   *Wei           `json:"expected,omitempty"` // profit
	Cost       *Wei           `json:"cost,omitempty"`
	Earned     *Wei           `json:"earned,omitempty"`
	Profit     string         `json:"profit,omitempty"` // wei, may be negative
	Order      int64          `json:"order"`            // of their first appearance
}

// ledger remembers the last transactions of ours, from the events. It is not safe for concurrent use.
type ledger struct {
	keep    int
	head    uint64
	next    int64
	bundles map[common.Hash]*Bundle
	order   []*Bundle // oldest first
	dirty   map[common.Hash]struct{}
	gone    []common.Hash
}

func newLedger(keep int) *ledger {
	return &ledger{keep: keep, bundles: make(map[common.Hash]*Bundle), dirty: make(map[common.Hash]struct{})}
}

// begin takes over what an earlier process knew: its last mined transactions, oldest first. They stand before those heard of.
func (l *ledger) begin(mined []Earning) {
	var before []*Bundle
	for i, e := range mined {
		if l.bundles[e.Transaction] != nil {
			continue // heard of already
		}
		cost, earned := Wei(e.Cost), Wei(e.Earned)
		b := &Bundle{
			Hash: e.Transaction, Signer: e.Signer, EntryPoint: e.EntryPoint, Status: bundleMined, Ended: e.Block, Cancels: e.Cancels,
			Time: int64(e.Time) * 1000, Operations: e.Operations, GasLimit: e.GasLimit, GasUsed: e.GasUsed, Cost: &cost, Earned: &earned, //nolint:gosec // a block's time
			Profit: difference(&e.Earned, &e.Cost), Order: int64(i - len(mined)),
		}
		if e.Reverted {
			b.Status = bundleReverted
		}
		before = append(before, b)
		l.bundles[b.Hash] = b
		l.touch(b)
	}
	l.order = append(before, l.order...)
	l.trim()
}

// hear takes an event in.
func (l *ledger) hear(e event.Event, nowMS int64) {
	switch e := e.(type) {
	case event.HeadSeen:
		l.head = e.Number
	case event.BundleSent:
		l.onSent(e, nowMS)
	case event.BundleMined:
		l.onMined(e, nowMS)
	case event.BundleUnmined:
		l.onUnmined(e, nowMS)
	case event.BundleReverted:
		if b := l.bundles[e.Tx]; b != nil {
			b.Text = e.Cause
			l.touch(b)
		}
	default: // about no transaction of ours
	}
	l.trim()
}

func (l *ledger) onSent(e event.BundleSent, nowMS int64) {
	b := l.bundles[e.Tx]
	if b == nil {
		b = &Bundle{Hash: e.Tx, Signer: e.Signer, Sent: l.head}
		l.add(b)
	}
	fees, nonce := FeesOf(e.Fees), e.Nonce
	b.EntryPoint, b.Cancels, b.Nonce, b.Operations = e.EntryPoint, e.Operations == 0, &nonce, e.Operations
	b.Hashes = e.Hashes[:min(len(e.Hashes), 16)]
	b.GasLimit, b.Fees, b.Answer, b.Text, b.Time = e.GasLimit, &fees, e.Answer, e.Text, nowMS
	if !e.ExpectedProfit.IsZero() {
		expected := Wei(e.ExpectedProfit)
		b.Expected = &expected
	}
	if b.Status != bundleMined && b.Status != bundleReverted { // the block may be quicker than the answer
		b.Status = statusOf(e.Answer)
	}
	if b.Status == bundleSent {
		l.endOthers(b, bundleReplaced, nowMS)
	}
	l.touch(b)
}

func (l *ledger) onMined(e event.BundleMined, nowMS int64) {
	b := l.bundles[e.Tx]
	if b == nil {
		b = &Bundle{Hash: e.Tx, Signer: e.Signer, Cancels: e.Operations == 0, Operations: e.Operations}
		l.add(b)
	}
	cost, earned := Wei(e.Cost), Wei(e.Earned)
	b.Status, b.Ended, b.Time, b.GasUsed, b.Cost, b.Earned = bundleMined, e.Block, nowMS, e.GasUsed, &cost, &earned
	b.Profit = difference(&e.Earned, &e.Cost)
	if !e.Success {
		b.Status = bundleReverted
	}
	end := bundleReplaced
	if b.Cancels {
		end = bundleCancelled
	}
	l.endOthers(b, end, nowMS)
	l.touch(b)
}

// onUnmined takes back what a block said of a transaction: it waits again. What a cancellation had ended is only replaced by it
// while the cancellation waits.
func (l *ledger) onUnmined(e event.BundleUnmined, nowMS int64) {
	b := l.bundles[e.Tx]
	if b == nil {
		return
	}
	b.Status, b.Ended, b.Time, b.GasUsed, b.Cost, b.Earned, b.Profit, b.Text = bundleSent, 0, nowMS, 0, nil, nil, "", ""
	if e.Nonce != nil { // the books of an earlier process do not have it
		b.Nonce = e.Nonce
	}
	l.touch(b)
	for _, other := range l.order {
		if other.Status == bundleCancelled && other.Signer == b.Signer && b.Nonce != nil && *other.Nonce == *b.Nonce {
			other.Status = bundleReplaced
			l.touch(other)
		}
	}
}

// endOthers ends the other transactions of the same nonce that waited.
func (l *ledger) endOthers(by *Bundle, end string, nowMS int64) {
	if by.Nonce == nil {
		return
	}
	for _, b := range l.order {
		waits := b.Status == bundleSent || b.Status == bundleUnclear || b.Status == bundleReplaced && end == bundleCancelled && !b.Cancels
		if b != by && waits && b.Signer == by.Signer && b.Nonce != nil && *b.Nonce == *by.Nonce {
			b.Status, b.Ended, b.Time = end, max(l.head, by.Ended), nowMS
			l.touch(b)
		}
	}
}

func (l *ledger) add(b *Bundle) {
	l.next++
	b.Order = l.next
	l.bundles[b.Hash] = b
	l.order = append(l.order, b)
	l.touch(b)
}

func (l *ledger) touch(b *Bundle) { l.dirty[b.Hash] = struct{}{} }

// trim forgets the oldest beyond what is kept.
func (l *ledger) trim() {
	for len(l.order) > l.keep {
		oldest := l.order[0]
		l.order = slices.Delete(l.order, 0, 1)
		delete(l.bundles, oldest.Hash)
		delete(l.dirty, oldest.Hash)
		l.gone = append(l.gone, oldest.Hash)
	}
}

// changes returns the transactions that changed since the last call, in order, and those that are forgotten.
func (l *ledger) changes() (changed []Bundle, gone []common.Hash) {
	for hash := range l.dirty {
		changed = append(changed, *l.bundles[hash])
	}
	slices.SortFunc(changed, func(a, b Bundle) int { return cmp.Compare(a.Order, b.Order) })
	gone = l.gone
	l.gone = nil
	clear(l.dirty)
	return changed, gone
}

func difference(a, b *uint256.Int) string { return new(big.Int).Sub(a.ToBig(), b.ToBig()).String() }

// statusOf is what a transaction is after the node has answered.
func statusOf(answer string) string {
	switch class := txsender.Class(answer); {
	case class.Taken():
		return bundleSent
	case class == txsender.Unknown:
		return bundleUnclear
	default:
		return bundleRefused
	}
}
