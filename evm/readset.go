package evm

import (
	"context"
	"maps"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// ReadSet is everything a run read from the chain, with the values it saw. Overridden values are not in it.
//
// A run is a function of its read set, its overrides, its call and its block: the same values give the same result.
type ReadSet struct {
	Accounts map[common.Address]AccountRead
	Slots    map[Slot]common.Hash
}

// AccountRead is what a run saw of one account. Code and emptiness matter to every run that touches an account; balance
// and nonce only to one that asks for them.
type AccountRead struct {
	Balance     uint256.Int // wei; zero unless BalanceUsed
	Nonce       uint64      // zero unless NonceUsed
	CodeHash    common.Hash // of no bytes if there is no code
	Empty       bool        // no balance, no nonce, no code (EIP-161)
	BalanceUsed bool        // code or a transfer depended on the balance
	NonceUsed   bool        // a creation or an authorization depended on the nonce
}

// Slot returns the value read from a slot and whether it was read.
func (r *ReadSet) Slot(addr common.Address, key common.Hash) (common.Hash, bool) {
	value, ok := r.Slots[Slot{addr, key}]
	return value, ok
}

// Len returns the number of accounts and slots read.
func (r *ReadSet) Len() int { return len(r.Accounts) + len(r.Slots) }

// keysToCompare adds what must be read to compare a read set with the view's state.
func (v *View) keysToCompare(r *ReadSet, into *keys) {
	for addr, a := range r.Accounts {
		if v.cannotHaveChanged(addr, &a) {
			continue
		}
		into.accounts = append(into.accounts, addr)
		if a.NonceUsed {
			into.nonces = append(into.nonces, addr)
		}
	}
	for slot := range r.Slots {
		into.slots = append(into.slots, slot)
	}
}

// cannotHaveChanged reports whether nothing of an account that a run depended on can be different, so that it need not be
// read: it was only called, and its code has been there for longer than [Options.Settlement].
func (v *View) cannotHaveChanged(addr common.Address, was *AccountRead) bool {
	if was.BalanceUsed || was.NonceUsed || was.CodeHash == types.EmptyCodeHash {
		return false
	}
	hash, _, settled := v.source.settledCode(addr, v.header)
	return settled && hash == was.CodeHash
}

// PrefetchReads makes known, in one round trip for all of them together, what is to be known to compare the read sets
// with the view's state: see [View.Compare]. The questions are asked in the same round trip.
func (v *View) PrefetchReads(ctx context.Context, sets []*ReadSet, questions ...*Question) error {
	var want keys
	for _, set := range sets {
		v.keysToCompare(set, &want)
	}
	return v.load(ctx, want, questions)
}

// Comparison is what is known of a read set at another block.
type Comparison uint8

// Comparisons.
const (
	Changed Comparison = iota // a value differs
	Same                      // all values are the same
	Unknown                   // not all values have been read
)

// Compare compares a read set with the view's state, as far as that has been read. It asks the node for nothing.
// tolerate, if not nil, is asked about each slot that differs whether the difference is without consequence.
func (v *View) Compare(reads *ReadSet, tolerate func(slot Slot, was, is common.Hash) bool) Comparison {
	v.mu.Lock()
	defer v.mu.Unlock()
	verdict := Same
	for addr, was := range reads.Accounts {
		is, known := v.accounts.known(addr)
		if !known {
			if !v.cannotHaveChanged(addr, &was) {
				verdict = Unknown
			}
			continue
		}
		if is.codeHash != was.CodeHash || is.empty != was.Empty || was.BalanceUsed && is.balance != was.Balance {
			return Changed
		}
		if !was.NonceUsed {
			continue
		}
		switch nonce, known := v.lockedNonce(addr); {
		case !known:
			verdict = Unknown
		case nonce != was.Nonce:
			return Changed
		}
	}
	for slot, was := range reads.Slots {
		switch is, known := v.slots.known(slot); {
		case !known:
			verdict = Unknown
		case is != was && (tolerate == nil || !tolerate(slot, was, is)):
			return Changed
		}
	}
	return verdict
}

// Including returns the read set with accounts and slots in it that were looked at beside the run, as the view has them.
// The read set given is not changed.
func (v *View) Including(ctx context.Context, reads *ReadSet, accounts []common.Address, slots []Slot) (*ReadSet, error) {
	all := &ReadSet{Accounts: reads.Accounts, Slots: maps.Clone(reads.Slots)}
	if all.Slots == nil {
		all.Slots = make(map[Slot]common.Hash, len(slots))
	}
	for _, slot := range slots {
		value, err := v.Storage(ctx, slot.Account, slot.Key)
		if err != nil {
			return nil, err
		}
		all.Slots[slot] = value
	}
	for _, addr := range accounts {
		if _, ok := all.Accounts[addr]; ok {
			continue
		}
		a, err := v.account(ctx, addr)
		if err != nil {
			return nil, err
		}
		if len(all.Accounts) == len(reads.Accounts) {
			all.Accounts = maps.Clone(reads.Accounts)
		}
		if all.Accounts == nil {
			all.Accounts = make(map[common.Address]AccountRead)
		}
		all.Accounts[addr] = AccountRead{CodeHash: a.codeHash, Empty: a.empty}
	}
	return all, nil
}
