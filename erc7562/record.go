package erc7562

import (
	"math/bits"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/vm"
)

// Record is what an operation's validation did, as far as the rules ask: the frames of its entities (deployment,
// account, paymaster) with everything they call, in the order of the calls, each before those it makes. The
// EntryPoint's own frame and its SenderCreator's are not in it.
type Record struct {
	Frames   []Frame
	Accesses []Access
	Codes    []CodeUse
	Hashes   []Hash // of what KECCAK256 hashed, those that may make a storage slot an entity's
}

// Frame is one call, or one creation.
type Frame struct {
	Entity   Entity // whose validation it belongs to
	Parent   int32  // index of the frame that called it, -1 if the EntryPoint or its SenderCreator did
	Type     vm.OpCode
	From     common.Address // the caller, in whose storage it ran
	To       common.Address // whose code runs; the contract created. Zero for a failed creation in geth's trace
	Storage  common.Address // whose storage the code uses: To, or the caller's for DELEGATECALL and CALLCODE
	HasValue bool
	Selector [4]byte
	Argument common.Hash // the first word after the selector
	Input    int         // bytes of calldata or creation code
	Opcodes  Opcodes     // executed by this frame itself. GAS is in it only if no *CALL followed at once (OP-012)
	OutOfGas bool
}

// Access is a frame's use of a slot of its Storage. A slot that is read and written has two.
type Access struct {
	Frame     int32 // index in Record.Frames
	Write     bool
	Transient bool
	Slot      common.Hash
}

// CodeUse is what a frame did with the code of an address ("Using an address").
type CodeUse struct {
	Frame     int32 // index in Record.Frames
	Address   common.Address
	Size      int  // of the code at that time, in bytes
	Delegated bool // the code is an EIP-7702 delegation
	Called    bool // by a *CALL opcode
	Looked    bool // by an EXTCODE* opcode
	Observed  bool // by an EXTCODE* opcode other than an EXTCODESIZE that ISZERO follows (OP-051)
}

// Hash is the result of a KECCAK256 over an entity's address, left-padded to a word, and at least one more word.
type Hash struct {
	Of    common.Address
	Value common.Hash
}

// Opcodes is a set of opcodes.
type Opcodes [4]uint64

// Add puts an opcode into the set.
func (o *Opcodes) Add(op vm.OpCode) { o[op>>6] |= 1 << (op & 63) }

// Has reports whether an opcode is in the set.
func (o *Opcodes) Has(op vm.OpCode) bool { return o[op>>6]&(1<<(op&63)) != 0 }

// all yields the opcodes of the set, lowest first.
func (o *Opcodes) all(yield func(vm.OpCode) bool) {
	for i, word := range o {
		for ; word != 0; word &= word - 1 {
			if !yield(vm.OpCode(i<<6 + bits.TrailingZeros64(word))) {
				return
			}
		}
	}
}

// meet reports whether the sets have an opcode in common.
func (o *Opcodes) meet(other *Opcodes) bool {
	return o[0]&other[0]|o[1]&other[1]|o[2]&other[2]|o[3]&other[3] != 0
}

// and returns what is in both sets.
func (o *Opcodes) and(other *Opcodes) Opcodes {
	return Opcodes{o[0] & other[0], o[1] & other[1], o[2] & other[2], o[3] & other[3]}
}

// without returns what is not in the other set.
func (o *Opcodes) without(other *Opcodes) Opcodes {
	return Opcodes{o[0] &^ other[0], o[1] &^ other[1], o[2] &^ other[2], o[3] &^ other[3]}
}

// OpcodesOf returns the set of the opcodes.
func OpcodesOf(ops ...vm.OpCode) Opcodes {
	var set Opcodes
	for _, op := range ops {
		set.Add(op)
	}
	return set
}

// Environment reports whether validation executed an opcode that tells it of its block or transaction (OP-011): its
// result is then not a function of the state it read.
func (r *Record) Environment() bool {
	environment := environmentOpcodes()
	for i := range r.Frames {
		if r.Frames[i].Opcodes.meet(&environment) {
			return true
		}
	}
	return false
}

// Balances reports whether validation asked for the balance of some account by BALANCE. Which one is not in the record.
func (r *Record) Balances() bool {
	for i := range r.Frames {
		if r.Frames[i].Opcodes.Has(vm.BALANCE) {
			return true
		}
	}
	return false
}
