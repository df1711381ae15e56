package evm

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/holiman/uint256"
)

// trackedState is a run's state as the machine sees it. It notes which balances and nonces a run really depends on, for
// most accounts are only called, and which slots it touches.
type trackedState struct {
	vm.StateDB
	run    *Run
	reader *reader
}

func (r *Run) tracked(inner vm.StateDB) *trackedState {
	return &trackedState{StateDB: inner, run: r, reader: r.reader}
}

// GetBalance implements vm.StateDB.
func (s *trackedState) GetBalance(addr common.Address) *uint256.Int {
	balance := s.StateDB.GetBalance(addr)
	s.reader.balanceAsked(addr)
	return balance
}

// GetNonce implements vm.StateDB.
func (s *trackedState) GetNonce(addr common.Address) uint64 {
	nonce := s.StateDB.GetNonce(addr)
	s.reader.nonceAsked(addr)
	return nonce
}

// Empty implements vm.StateDB. An account that has spent all it had is empty or not by its nonce.
func (s *trackedState) Empty(addr common.Address) bool {
	empty := s.StateDB.Empty(addr)
	if read, ok := s.reader.reads.Accounts[addr]; ok && !read.Empty && read.CodeHash == types.EmptyCodeHash &&
		s.StateDB.GetBalance(addr).IsZero() {
		s.reader.balanceAsked(addr)
		s.reader.nonceAsked(addr)
	}
	return empty
}

// GetState implements vm.StateDB: SLOAD.
func (s *trackedState) GetState(addr common.Address, key common.Hash) common.Hash {
	if s.run.accesses != nil {
		s.run.accesses(Access{Slot: Slot{addr, key}})
	}
	return s.StateDB.GetState(addr, key)
}

// SetState implements vm.StateDB: SSTORE.
func (s *trackedState) SetState(addr common.Address, key, value common.Hash) common.Hash {
	if s.run.accesses != nil {
		s.run.accesses(Access{Slot: Slot{addr, key}, Write: true})
	}
	return s.StateDB.SetState(addr, key, value)
}

// GetTransientState implements vm.StateDB: TLOAD.
func (s *trackedState) GetTransientState(addr common.Address, key common.Hash) common.Hash {
	if s.run.accesses != nil {
		s.run.accesses(Access{Slot: Slot{addr, key}, Transient: true})
	}
	return s.StateDB.GetTransientState(addr, key)
}

// SetTransientState implements vm.StateDB: TSTORE.
func (s *trackedState) SetTransientState(addr common.Address, key, value common.Hash) {
	if s.run.accesses != nil {
		s.run.accesses(Access{Slot: Slot{addr, key}, Write: true, Transient: true})
	}
	s.StateDB.SetTransientState(addr, key, value)
}

// Access is one use of a slot by code, also if it is undone later.
type Access struct {
	Slot
	Write     bool
	Transient bool // of transient storage (EIP-1153)
}

// OnAccess has fn told of every SLOAD, SSTORE, TLOAD and TSTORE of the calls that follow, before it happens; nil ends it.
func (r *Run) OnAccess(fn func(Access)) { r.accesses = fn }
