package erc7562

import (
	"errors"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/holiman/uint256"
)

// Tracer makes a [Record] of what the EVM does. Its user follows the EntryPoint's calls, and passes on to it, from
// go-ethereum's tracing hooks, everything from the call of an entity to the end of that call: Enter and Exit for each
// frame, Opcode for each instruction. It is reused after Reset, and then allocates nothing that it has allocated before.
type Tracer struct {
	Record
	entities []common.Address
	code     func(common.Address) []byte
	open     []int32 // the frames that have not ended, innermost last
	last     vm.OpCode
	lastCode int // index in Codes of what the last opcode looked at
	hasher   crypto.KeccakState
	sum      common.Hash
}

// Reset forgets the record and begins another one. entities are those whose associated storage counts; code returns
// an account's code at the moment, its delegation if it is delegated (EIP-7702).
func (t *Tracer) Reset(code func(common.Address) []byte, entities ...common.Address) {
	t.Frames, t.Accesses, t.Codes, t.Hashes = t.Frames[:0], t.Accesses[:0], t.Codes[:0], t.Hashes[:0]
	t.entities = append(t.entities[:0], entities...)
	t.code = code
	t.open = t.open[:0]
	t.last = 0
	if t.hasher == nil {
		t.hasher = crypto.NewKeccakState()
	}
}

// Open reports whether an entity's frame has not ended.
func (t *Tracer) Open() bool { return len(t.open) > 0 }

// Enter begins a frame. The entity counts for the outermost one; frames within it are the same entity's.
func (t *Tracer) Enter(entity Entity, typ byte, from, to common.Address, input []byte, value *big.Int) {
	op := vm.OpCode(typ)
	f := Frame{Entity: entity, Parent: -1, Type: op, From: from, To: to, Storage: to, Input: len(input)}
	if n := len(t.open); n > 0 {
		f.Parent = t.open[n-1]
		f.Entity = t.Frames[f.Parent].Entity
	}
	if op == vm.DELEGATECALL || op == vm.CALLCODE {
		f.Storage = from
	}
	f.HasValue = value != nil && value.Sign() != 0 && op != vm.DELEGATECALL
	if op != vm.CREATE && op != vm.CREATE2 {
		copy(f.Selector[:], input)
		if len(input) > 4 {
			copy(f.Argument[:], input[4:])
		}
	}
	t.open = append(t.open, int32(len(t.Frames)))
	t.Frames = append(t.Frames, f)
	t.last = 0
}

// Exit ends the innermost frame.
func (t *Tracer) Exit(err error) {
	n := len(t.open)
	if n == 0 {
		return
	}
	if errors.Is(err, vm.ErrOutOfGas) || errors.Is(err, vm.ErrCodeStoreOutOfGas) {
		t.Frames[t.open[n-1]].OutOfGas = true
	}
	t.open = t.open[:n-1]
	t.last = 0
}

// Opcode notes an instruction that is about to be executed in the innermost frame. It may be one that fails for too
// short a stack or too little gas.
func (t *Tracer) Opcode(op byte, scope tracing.OpContext) {
	n := len(t.open)
	if n == 0 {
		return
	}
	index, code := t.open[n-1], vm.OpCode(op)
	frame := &t.Frames[index]
	if t.last != 0 {
		t.follow(frame, code)
	}
	switch code {
	case vm.GAS:
		t.last = code
		return
	case vm.SLOAD, vm.SSTORE, vm.TLOAD, vm.TSTORE:
		if stack := scope.StackData(); len(stack) > 0 {
			t.access(Access{
				Frame: index, Slot: stack[len(stack)-1].Bytes32(),
				Write:     code == vm.SSTORE || code == vm.TSTORE,
				Transient: code == vm.TLOAD || code == vm.TSTORE,
			})
		}
	case vm.EXTCODESIZE, vm.EXTCODEHASH, vm.EXTCODECOPY:
		if stack := scope.StackData(); len(stack) > 0 {
			t.lastCode = t.use(index, stack[len(stack)-1].Bytes20())
			t.Codes[t.lastCode].Looked = true
			t.last = code
		}
	case vm.CALL, vm.CALLCODE, vm.DELEGATECALL, vm.STATICCALL:
		if stack := scope.StackData(); len(stack) > 1 {
			t.Codes[t.use(index, stack[len(stack)-2].Bytes20())].Called = true
		}
	case vm.KECCAK256:
		if stack := scope.StackData(); len(stack) > 1 {
			t.hash(&stack[len(stack)-1], &stack[len(stack)-2], scope.MemoryData())
		}
	default: // nothing to note but itself
	}
	frame.Opcodes.Add(code)
}

// follow looks at what comes after GAS (OP-012) and after EXTCODE* (OP-051).
func (t *Tracer) follow(f *Frame, next vm.OpCode) {
	switch {
	case t.last == vm.GAS:
		if !isCall(next) {
			f.Opcodes.Add(vm.GAS)
		}
	case t.last != vm.EXTCODESIZE || next != vm.ISZERO:
		t.Codes[t.lastCode].Observed = true
	}
	t.last = 0
}

func isCall(op vm.OpCode) bool {
	return op == vm.CALL || op == vm.CALLCODE || op == vm.DELEGATECALL || op == vm.STATICCALL
}

// lookBack is how many entries are compared with a new one, so that a loop over a few slots is recorded once.
const lookBack = 16

func (t *Tracer) access(a Access) {
	for i := len(t.Accesses) - 1; i >= max(0, len(t.Accesses)-lookBack); i-- {
		if t.Accesses[i] == a {
			return
		}
	}
	t.Accesses = append(t.Accesses, a)
}

// use returns the index of the entry for a frame's use of an address' code.
func (t *Tracer) use(frame int32, addr common.Address) int {
	for i := len(t.Codes) - 1; i >= max(0, len(t.Codes)-lookBack); i-- {
		if t.Codes[i].Frame == frame && t.Codes[i].Address == addr {
			return i
		}
	}
	code := t.code(addr)
	_, delegated := types.ParseDelegation(code)
	t.Codes = append(t.Codes, CodeUse{Frame: frame, Address: addr, Size: len(code), Delegated: delegated})
	return len(t.Codes) - 1
}

// maxPreimage bounds what is hashed a second time, in bytes. Keys of mappings are two words long.
const maxPreimage = 1024

// hash notes what KECCAK256 is about to hash, if it can be the key of associated storage.
func (t *Tracer) hash(offset, size *uint256.Int, memory []byte) {
	if !size.IsUint64() || size.Uint64() < 64 || size.Uint64() > maxPreimage || !offset.IsUint64() {
		return
	}
	begin, length := offset.Uint64(), size.Uint64()
	if begin >= uint64(len(memory)) { // memory that is not there yet is zero, and so is no entity's address
		return
	}
	if end := begin + length; end <= uint64(len(memory)) {
		t.preimage(memory[begin:end])
		return
	}
	t.preimage(common.RightPadBytes(memory[begin:], int(length)))
}

// preimage notes the hash of a preimage that begins with an entity's address, as in the definition of associated
// storage: keccak(A||x). A is a word, as Solidity writes the key of a mapping. x is a word or more: accounts in use
// keep linked lists under A and a longer key, and such a slot is A's alone for the same reason.
func (t *Tracer) preimage(data []byte) {
	if len(data) < 64 || len(data) > maxPreimage || [12]byte(data[:12]) != [12]byte{} {
		return
	}
	for _, entity := range t.entities {
		if common.Address(data[12:32]) != entity {
			continue
		}
		t.hasher.Reset()
		_, _ = t.hasher.Write(data)    // which never fails
		_, _ = t.hasher.Read(t.sum[:]) // nor does this
		h := Hash{Of: entity, Value: t.sum}
		for i := len(t.Hashes) - 1; i >= max(0, len(t.Hashes)-lookBack); i-- {
			if t.Hashes[i] == h {
				return
			}
		}
		t.Hashes = append(t.Hashes, h)
		return
	}
}
