package evm

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// ReadSet is everything a run read from the chain, with the values it saw. Overridden values are not in it.
//
// A run is a function of its read set, its overrides, its call and its block: the same values give the same result.
type ReadSet struct {
	Accounts map[common.Address]AccountRead
	Slots    map[Slot]common.Hash
}

// AccountRead is what a run saw of one account.
type AccountRead struct {
	Balance  uint256.Int // wei
	Nonce    uint64
	CodeHash common.Hash // of no bytes if there is no code
}

// Slot returns the value read from a slot and whether it was read.
func (r *ReadSet) Slot(addr common.Address, key common.Hash) (common.Hash, bool) {
	value, ok := r.Slots[Slot{addr, key}]
	return value, ok
}

// Len returns the number of accounts and slots read.
func (r *ReadSet) Len() int { return len(r.Accounts) + len(r.Slots) }
