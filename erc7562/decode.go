package erc7562

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/vm"
)

// Call is one frame of what geth's erc7562Tracer answers to debug_traceCall, with those it made.
type Call struct {
	Type    vm.OpCode
	From    common.Address
	To      common.Address // zero for a creation that failed
	Gas     uint64
	GasUsed uint64
	Input   []byte
	Output  []byte // return or revert data; of a creation, the code
	Value   *big.Int
	Err     error // nil, vm.ErrExecutionReverted, vm.ErrOutOfGas, or an error with the node's text
	Calls   []*Call
	Keccak  [][]byte // of the outermost frame: everything that was hashed

	opcodes         Opcodes
	reads, writes   []common.Hash
	transientReads  []common.Hash
	transientWrites []common.Hash
	sizes           []codeSize
	observed        []common.Address
}

type codeSize struct {
	address common.Address
	size    int
	opcode  vm.OpCode // that used the address first
}

// Slots returns the slots of persistent storage that the frame itself read or wrote.
func (c *Call) Slots() []common.Hash { return append(slices.Clone(c.reads), c.writes...) }

// ErrTrace says that a tracer's answer is not that of geth's erc7562Tracer.
var ErrTrace = errors.New("not an erc7562Tracer result")

// maxTraceDepth is more than the EVM's limit on calls within calls.
const maxTraceDepth = 1_030

// wireCall is geth's callFrameWithOpcodes.
type wireCall struct {
	Type          string          `json:"type"`
	From          common.Address  `json:"from"`
	To            *common.Address `json:"to"`
	Gas           hexutil.Uint64  `json:"gas"`
	GasUsed       hexutil.Uint64  `json:"gasUsed"`
	Input         hexutil.Bytes   `json:"input"`
	Output        hexutil.Bytes   `json:"output"`
	Error         string          `json:"error"`
	Value         *hexutil.Big    `json:"value"`
	AccessedSlots *struct {
		Reads           map[common.Hash]json.RawMessage `json:"reads"`
		Writes          map[common.Hash]json.RawMessage `json:"writes"`
		TransientReads  map[common.Hash]json.RawMessage `json:"transientReads"`
		TransientWrites map[common.Hash]json.RawMessage `json:"transientWrites"`
	} `json:"accessedSlots"`
	ExtCodeAccessInfo []common.Address           `json:"extCodeAccessInfo"`
	UsedOpcodes       map[string]json.RawMessage `json:"usedOpcodes"`
	ContractSize      map[common.Address]*struct {
		ContractSize int  `json:"contractSize"`
		Opcode       byte `json:"opcode"`
	} `json:"contractSize"`
	OutOfGas bool            `json:"outOfGas"`
	Keccak   []hexutil.Bytes `json:"keccak"`
	Calls    []*wireCall     `json:"calls"`
}

// DecodeTrace decodes the result of a debug_traceCall with the tracer "erc7562Tracer" and its default configuration.
// Errors wrap [ErrTrace]: an answer without the members that the rules need must not pass for a validation that did
// nothing.
func DecodeTrace(data []byte) (*Call, error) {
	var wire *wireCall
	if err := json.Unmarshal(data, &wire); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTrace, err)
	}
	call, err := wire.decode(0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTrace, err)
	}
	return call, nil
}

func (w *wireCall) decode(depth int) (*Call, error) {
	switch {
	case w == nil:
		return nil, errors.New("have null, want a frame")
	case depth > maxTraceDepth:
		return nil, fmt.Errorf("have frames nested deeper than %d", maxTraceDepth)
	case w.AccessedSlots == nil || w.UsedOpcodes == nil || w.ContractSize == nil:
		return nil, errors.New("have a frame without accessedSlots, usedOpcodes or contractSize")
	}
	c := &Call{
		Type: vm.StringToOp(w.Type), From: w.From, Gas: uint64(w.Gas), GasUsed: uint64(w.GasUsed),
		Input: w.Input, Output: w.Output, Value: (*big.Int)(w.Value), Err: w.failure(), observed: w.ExtCodeAccessInfo,
		reads: sorted(w.AccessedSlots.Reads), writes: sorted(w.AccessedSlots.Writes),
		transientReads: sorted(w.AccessedSlots.TransientReads), transientWrites: sorted(w.AccessedSlots.TransientWrites),
	}
	if c.Type == vm.STOP {
		return nil, fmt.Errorf("have frame type %q, want a call or creation", w.Type)
	}
	if w.To != nil {
		c.To = *w.To
	}
	for text := range w.UsedOpcodes {
		op, err := strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 8)
		if err != nil {
			return nil, fmt.Errorf("have opcode %q, want 0x0 to 0xff", text)
		}
		c.opcodes.Add(vm.OpCode(op))
	}
	for addr, size := range w.ContractSize {
		if size == nil {
			return nil, fmt.Errorf("have no size for %s", addr)
		}
		c.sizes = append(c.sizes, codeSize{addr, size.ContractSize, vm.OpCode(size.Opcode)})
	}
	slices.SortFunc(c.sizes, func(a, b codeSize) int { return a.address.Cmp(b.address) })
	for _, preimage := range w.Keccak {
		c.Keccak = append(c.Keccak, preimage)
	}
	for _, inner := range w.Calls {
		child, err := inner.decode(depth + 1)
		if err != nil {
			return nil, err
		}
		c.Calls = append(c.Calls, child)
	}
	return c, nil
}

// failure turns the tracer's words back into the EVM's error.
func (w *wireCall) failure() error {
	switch {
	case w.OutOfGas:
		return vm.ErrOutOfGas
	case w.Error == "":
		return nil
	case w.Error == vm.ErrExecutionReverted.Error():
		return vm.ErrExecutionReverted
	case strings.HasPrefix(w.Error, vm.ErrOutOfGas.Error()): // the outermost frame has no outOfGas of its own
		return vm.ErrOutOfGas
	default:
		return errors.New(w.Error)
	}
}

func sorted[V any](slots map[common.Hash]V) []common.Hash {
	return slices.SortedFunc(maps.Keys(slots), func(a, b common.Hash) int { return bytes.Compare(a[:], b[:]) })
}

// Observe adds what a decoded frame itself did to the innermost open frame, after Enter for it. delegated reports
// whether an address of 23 bytes of code is one with an EIP-7702 delegation.
//
// geth's tracer is blind in places where the opcodes themselves are seen: GAS or EXTCODE* directly before RETURN or
// REVERT, an EXTCODESIZE and ISZERO of an address that the frame called before, and where a failed creation ran.
func (t *Tracer) Observe(c *Call, delegated func(common.Address) bool) {
	n := len(t.open)
	if n == 0 {
		return
	}
	index := t.open[n-1]
	t.Frames[index].Opcodes = c.opcodes
	for _, slots := range []struct {
		keys             []common.Hash
		write, transient bool
	}{{c.reads, false, false}, {c.writes, true, false}, {c.transientReads, false, true}, {c.transientWrites, true, true}} {
		for _, slot := range slots.keys {
			t.Accesses = append(t.Accesses, Access{Frame: index, Write: slots.write, Transient: slots.transient, Slot: slot})
		}
	}
	for _, used := range c.sizes {
		t.Codes = append(t.Codes, CodeUse{
			Frame: index, Address: used.address, Size: used.size,
			Called: isCall(used.opcode), Looked: !isCall(used.opcode),
			Observed:  slices.Contains(c.observed, used.address),
			Delegated: used.size == delegationSize && delegated(used.address),
		})
		if last := &t.Codes[len(t.Codes)-1]; last.Observed {
			last.Looked = true
		}
	}
}

// delegationSize is the length of an EIP-7702 delegation: 0xef0100 and an address.
const delegationSize = 23

// Delegations returns the addresses that the call and those within it used while 23 bytes of code stood there: those
// to ask about before Observe.
func (c *Call) Delegations() []common.Address {
	var found []common.Address
	for _, used := range c.sizes {
		if used.size == delegationSize {
			found = append(found, used.address)
		}
	}
	for _, inner := range c.Calls {
		found = append(found, inner.Delegations()...)
	}
	return found
}

// Hashed notes what was hashed, in whichever frame.
func (t *Tracer) Hashed(preimages [][]byte) {
	for _, data := range preimages {
		t.preimage(data)
	}
}
