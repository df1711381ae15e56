package validation

import (
	"bytes"
	"math/big"
	"runtime"
	"slices"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/evm"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/holiman/uint256"
)

// part is what a call made by the EntryPoint is for.
type part uint8

const (
	partNone       part = iota
	partSignatures      // validateSignatures of an aggregator
	partFactory         // through the SenderCreator: a factory, or an EIP-7702 account's initialisation
	partAccount         // validateUserOp
	partPaymaster       // validatePaymasterUserOp
	partExecution       // the EntryPoint calls itself: innerHandleOp
	partPostOp          // a postOp outside innerHandleOp (v0.6, after a failure)
	partCompensate      // the beneficiary is paid
)

// entity returns who answers for a part.
func (p part) entity(op *userop.UserOperation) erc7562.Entity {
	switch p {
	case partFactory:
		if op.IsEIP7702() {
			return erc7562.Sender
		}
		return erc7562.Factory
	case partPaymaster, partPostOp:
		return erc7562.Paymaster
	case partNone, partAccount, partExecution:
		return erc7562.Sender
	case partSignatures:
		return erc7562.Aggregator
	default:
		return erc7562.NoEntity
	}
}

// opTrace is what one operation's part of handleOps did.
type opTrace struct {
	factoryGas, accountGas, paymasterGas uint64
	own                                  EntityGas
	accountOutput, paymasterOutput       []byte // nil: not called, or it failed
}

// lastCall is the call the EntryPoint made last.
type lastCall struct {
	part   part
	index  int    // of the operation it was made for
	open   bool   // it has not returned
	failed bool   // it has reverted or run out of gas
	output []byte // its return or revert data

	stateGas uint64 // of the run when it began
}

// mark is the gas left in the EntryPoint's frame when it asked with the GAS opcode, and which calls had been made.
type mark struct {
	gas   uint64
	after part // the last call before it
}

// handleOpsTrace follows a call of handleOps through go-ethereum's tracing hooks.
type handleOpsTrace struct {
	entryPoint    common.Address
	senderCreator common.Address
	beneficiary   common.Address
	ops           []*userop.UserOperation
	aggregators   []common.Address // of handleAggregatedOps
	stop          func()           // non-nil: called when validation has ended
	perOp         []opTrace
	last          lastCall
	validating    int  // index of the operation that is validated, or is next
	executing     int  // index of the operation that is executed, or is next
	reached       bool // BeforeExecution was emitted
	marks         []mark
	created       []common.Address
	stateGas      func() uint64   // the run's; nil: not known
	record        *erc7562.Tracer // nil: nothing is recorded for the rules
	traced        bool            // replayed from a node's trace: there are no marks

	signatureGas   uint64 // used by the aggregators' checks
	frameGas       uint64 // used by the handleOps frame
	innerCalls     uint64 // gas used by the operations' own calls, in innerHandleOp
	compensation   uint256.Int
	validateOp     [4]byte
	validatePaymOp [4]byte
}

func newTrace(ep entrypoint.EntryPoint, ops []*userop.UserOperation, beneficiary common.Address) *handleOpsTrace {
	t := &handleOpsTrace{
		entryPoint: ep.Address, senderCreator: entrypoint.SenderCreator(ep.Version), beneficiary: beneficiary,
		ops: ops, perOp: make([]opTrace, len(ops)),
	}
	// The selectors of validateUserOp and validatePaymasterUserOp are what any such call begins with.
	var zero uint256.Int
	probe := &userop.UserOperation{Version: ep.Version}
	t.validateOp = [4]byte(entrypoint.EncodeValidateUserOp(probe, common.Hash{}, &zero))
	t.validatePaymOp = [4]byte(entrypoint.EncodeValidatePaymasterUserOp(probe, common.Hash{}, &zero))
	return t
}

// hooks returns the tracing hooks that feed the trace. With gas marks they see every opcode, which is slower.
func (t *handleOpsTrace) hooks() *tracing.Hooks {
	h := &tracing.Hooks{OnEnter: t.onEnter, OnExit: t.onExit}
	if t.stop != nil {
		h.OnOpcode = t.onOpcode
	}
	return h
}

func (t *handleOpsTrace) onEnter(depth int, typ byte, from, to common.Address, input []byte, _ uint64, value *big.Int) {
	if op := vm.OpCode(typ); op == vm.CREATE || op == vm.CREATE2 {
		t.created = append(t.created, to)
	}
	if depth == 1 {
		t.called(to, input, value)
	}
	if t.record != nil && (t.record.Open() || t.entityAt(depth)) {
		t.record.Enter(t.last.part.entity(t.ops[t.last.index]), typ, from, to, input, value)
	}
}

// called notes a call that the EntryPoint makes.
func (t *handleOpsTrace) called(to common.Address, input []byte, value *big.Int) {
	p, index := t.classify(to, input)
	if p == partNone {
		return
	}
	if len(t.ops) > 1 {
		runtime.Gosched() // a whole bundle is not urgent: a client may wait for something shorter
	}
	if p == partExecution && len(t.aggregators) > 0 && t.stop != nil {
		t.endAggregated()
		return
	}
	t.last = lastCall{part: p, index: index, open: true}
	if t.stateGas != nil {
		t.last.stateGas = t.stateGas()
	}
	if p == partCompensate && value != nil {
		t.compensation.SetFromBig(value)
	}
}

// executionMarks is how often the EntryPoint asks for gas between the last validation and the first execution.
const executionMarks = 2

// endAggregated ends a validation by handleAggregatedOps when the first execution begins: there BeforeExecution comes before
// the validations.
func (t *handleOpsTrace) endAggregated() {
	if t.reached {
		return
	}
	t.reached = true
	t.marks = t.marks[:len(t.marks)-min(executionMarks, len(t.marks))]
	t.stop()
}

// entityAt reports whether a frame that begins at the depth is the outermost of an entity's validation: the account and
// the paymaster are called by the EntryPoint, the factory by its SenderCreator.
func (t *handleOpsTrace) entityAt(depth int) bool {
	switch t.last.part {
	case partAccount, partPaymaster:
		return t.last.open && depth == 1
	case partFactory:
		return t.last.open && depth == 2
	case partNone, partSignatures, partExecution, partPostOp, partCompensate:
		return false
	default:
		return false
	}
}

// classify says what a call of the EntryPoint is for, from where it goes, what it calls and what came before.
func (t *handleOpsTrace) classify(to common.Address, input []byte) (part, int) {
	var sel [4]byte
	copy(sel[:], input)
	switch {
	case to == t.entryPoint:
		// The only call of the EntryPoint to itself is innerHandleOp, once per operation.
		t.executing++
		return partExecution, t.executing - 1
	case t.executing > 0 && len(input) == 0 && to == t.beneficiary:
		return partCompensate, t.executing - 1
	case t.executing > 0:
		return partPostOp, t.executing - 1
	case t.validating == 0 && sel != t.validateOp && slices.Contains(t.aggregators, to):
		return partSignatures, 0 // all groups' before the first operation's validation
	case to == t.senderCreator:
		return partFactory, t.current()
	case sel == t.validateOp:
		return partAccount, t.current()
	case sel == t.validatePaymOp && t.validating > 0:
		return partPaymaster, t.validating - 1
	default:
		return partNone, 0
	}
}

// current returns the index of the operation whose validation is under way before its account has been called.
func (t *handleOpsTrace) current() int { return min(t.validating, len(t.ops)-1) }

func (t *handleOpsTrace) onExit(depth int, output []byte, gasUsed uint64, err error, _ bool) {
	if t.record != nil {
		t.record.Exit(err)
	}
	switch {
	case depth == 0:
		t.frameGas = gasUsed
	case depth == 2 && t.last.part == partExecution && t.last.open:
		t.innerCalls += gasUsed
	case depth == 1 && t.last.open:
		t.last.open, t.last.failed = false, err != nil
		t.last.output = bytes.Clone(output)
		t.file(gasUsed)
	}
}

// file notes what the call that has just returned did.
func (t *handleOpsTrace) file(gasUsed uint64) {
	op := &t.perOp[t.last.index]
	var output []byte
	if !t.last.failed {
		output = t.last.output
	}
	var own uint64
	if t.stateGas != nil {
		own = gasUsed - min(gasUsed, t.stateGas()-t.last.stateGas)
	}
	switch t.last.part {
	case partSignatures:
		t.signatureGas += gasUsed
		t.marks = t.marks[:0] // this call's own; an operation's come later
	case partFactory:
		op.factoryGas += gasUsed
		op.own.Factory += own
	case partAccount:
		op.accountGas, op.accountOutput, op.own.Account = gasUsed, output, own
		t.validating++
	case partPaymaster:
		op.paymasterGas, op.paymasterOutput, op.own.Paymaster = gasUsed, output, own
	case partNone, partExecution, partPostOp, partCompensate:
	}
}

// onOpcode sees the EntryPoint's own GAS, and the LOG1 that ends validation; it passes on what entities do.
func (t *handleOpsTrace) onOpcode(_ uint64, op byte, gas, cost uint64, scope tracing.OpContext, _ []byte, depth int, _ error) {
	if depth != 1 {
		if t.record != nil {
			t.record.Opcode(op, scope)
		}
		return
	}
	if t.reached {
		return
	}
	switch vm.OpCode(op) {
	case vm.GAS:
		t.marks = append(t.marks, mark{gas: gas - cost, after: t.last.part})
	case vm.LOG1:
		stack := scope.StackData()
		if n := len(stack); len(t.aggregators) == 0 && n >= 3 && stack[n-3].Bytes32() == entrypoint.TopicBeforeExecution {
			t.reached = true
			t.stop()
		}
	}
}

// createdContracts returns the contracts that validation created and that are there in the end.
func (t *handleOpsTrace) createdContracts(run *evm.Run) []common.Address {
	var created []common.Address
	for _, addr := range t.created {
		if !slices.Contains(created, addr) && run.State().GetCodeSize(addr) > 0 {
			created = append(created, addr)
		}
	}
	return created
}
