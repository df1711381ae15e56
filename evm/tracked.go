package evm

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
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

// AddressInAccessList implements vm.StateDB: code is about to call the account, or to look at it.
func (s *trackedState) AddressInAccessList(addr common.Address) bool {
	s.run.wake()
	return s.StateDB.AddressInAccessList(addr)
}

// SlotInAccessList implements vm.StateDB: code is about to use the slot.
func (s *trackedState) SlotInAccessList(addr common.Address, key common.Hash) (account, slot bool) {
	s.run.wake()
	return s.StateDB.SlotInAccessList(addr, key)
}

// AddLog implements vm.StateDB.
func (s *trackedState) AddLog(log *types.Log) {
	s.run.wake()
	s.StateDB.AddLog(log)
}

// RevertToSnapshot implements vm.StateDB: a frame has failed.
func (s *trackedState) RevertToSnapshot(snapshot int) {
	s.run.wake()
	s.StateDB.RevertToSnapshot(snapshot)
}

// GetState implements vm.StateDB: SLOAD.
func (s *trackedState) GetState(addr common.Address, key common.Hash) common.Hash {
	if s.run.accesses != nil {
		s.run.accesses(Access{Slot: Slot{addr, key}})
	}
	return s.StateDB.GetState(addr, key)
}

// AddAddressToAccessList implements vm.StateDB: the account is used for the first time.
func (s *trackedState) AddAddressToAccessList(addr common.Address) {
	s.run.stateGas += params.ColdAccountAccessCostEIP2929 - params.WarmStorageReadCostEIP2929
	s.StateDB.AddAddressToAccessList(addr)
}

// AddSlotToAccessList implements vm.StateDB: the slot is used for the first time.
func (s *trackedState) AddSlotToAccessList(addr common.Address, key common.Hash) {
	s.run.stateGas += params.ColdSloadCostEIP2929 - params.WarmStorageReadCostEIP2929
	s.StateDB.AddSlotToAccessList(addr, key)
}

// slotGas is what it costs to write a slot that has been used before (EIP-2200).
func (s *trackedState) slotGas(addr common.Address, key, value common.Hash) uint64 {
	switch current, original := s.GetStateAndCommittedState(addr, key); {
	case current == value || current != original:
		return params.WarmStorageReadCostEIP2929
	case original == (common.Hash{}):
		return params.SstoreSetGasEIP2200
	default:
		return params.SstoreResetGasEIP2200 - params.ColdSloadCostEIP2929
	}
}

// SetState implements vm.StateDB: SSTORE.
func (s *trackedState) SetState(addr common.Address, key, value common.Hash) common.Hash {
	s.run.stateGas += s.slotGas(addr, key, value)
	if s.run.accesses != nil {
		s.run.accesses(Access{Slot: Slot{addr, key}, Write: true})
	}
	return s.StateDB.SetState(addr, key, value)
}

// GetTransientState implements vm.StateDB: TLOAD.
func (s *trackedState) GetTransientState(addr common.Address, key common.Hash) common.Hash {
	s.run.wake()
	if s.run.accesses != nil {
		s.run.accesses(Access{Slot: Slot{addr, key}, Transient: true})
	}
	return s.StateDB.GetTransientState(addr, key)
}

// SetTransientState implements vm.StateDB: TSTORE.
func (s *trackedState) SetTransientState(addr common.Address, key, value common.Hash) {
	s.run.wake()
	if s.run.accesses != nil {
		s.run.accesses(Access{Slot: Slot{addr, key}, Write: true, Transient: true})
	}
	s.StateDB.SetTransientState(addr, key, value)
}

// StateGas returns how much of the gas that the run's calls have used depends on what was used and written before in the same
// transaction: what is paid for an account or slot that is used for the first time (EIP-2929), and for writing slots
// (EIP-2200). The rest of a call's gas is the same wherever in a transaction it stands, as long as it does the same.
func (r *Run) StateGas() uint64 { return r.stateGas }

// Access is one use of a slot by code, also if it is undone later.
type Access struct {
	Slot
	Write     bool
	Transient bool // of transient storage (EIP-1153)
}

// OnAccess has fn told of every SLOAD, SSTORE, TLOAD and TSTORE of the calls that follow, before it happens; nil ends it.
func (r *Run) OnAccess(fn func(Access)) { r.accesses = fn }
