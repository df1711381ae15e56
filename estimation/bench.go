package estimation

import (
	"context"
	"math/big"

	"baler/entrypoint"
	"baler/evm"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// bench runs one operation's handleOps over and over, with changing limits, each time from the same state.
type bench struct {
	ctx         context.Context
	view        *evm.View
	entryPoint  entrypoint.EntryPoint
	beneficiary common.Address
	options     evm.RunOptions
	serves      func(aggregator common.Address) bool
}

// validate runs the operation up to the end of its validation.
func (b *bench) validate(op *userop.UserOperation) (*outcome, error) { return b.run(op, true) }

// execute runs the whole operation.
func (b *bench) execute(op *userop.UserOperation) (*outcome, error) { return b.run(op, false) }

// spareGas is what handleOps gets beside twice what the operation's limits add up to: 63/64 of it is enough for every
// call's limit and the EntryPoint's own work.
const spareGas = 5_000_000

func (b *bench) run(op *userop.UserOperation, onlyValidate bool) (*outcome, error) {
	calldata := entrypoint.EncodeHandleOps(b.entryPoint.Version, []*userop.UserOperation{op}, b.beneficiary)
	limits, ok := op.MaxGas()
	if !ok {
		limits = 0 // the EntryPoint refuses such limits
	}
	var out *outcome
	err := b.view.Execute(b.ctx, b.options, func(run *evm.Run) error {
		out = &outcome{}
		if op.Paymaster == nil {
			b.fund(run, op)
		}
		r := newRecorder(b.entryPoint, op, out)
		r.serves = b.serves
		if onlyValidate {
			r.stop = run.Stop
		}
		ret, used, err := run.Call(b.beneficiary, b.entryPoint.Address, nil, calldata, 2*limits+spareGas, r.hooks())
		if evm.IsStateError(err) {
			return err
		}
		out.used, out.err = used, err
		if err != nil {
			out.output = ret
			out.senderCode = run.State().GetCodeSize(op.Sender)
			if op.Paymaster != nil {
				out.paymasterCode = run.State().GetCodeSize(*op.Paymaster)
			}
		}
		return run.Err()
	})
	return out, err
}

// fund gives the sender what it will have to pay in advance, and no more: after the payment it has its own balance.
func (b *bench) fund(run *evm.Run, op *userop.UserOperation) {
	word := run.State().GetState(b.entryPoint.Address, entrypoint.DepositSlot(b.entryPoint.Version, op.Sender))
	deposit := entrypoint.ParseDepositSlots(b.entryPoint.Version, word, common.Hash{}).Deposit
	missing := op.MaxCost()
	if _, enough := missing.SubOverflow(&missing, &deposit); enough {
		return
	}
	run.State().AddBalance(op.Sender, &missing, tracing.BalanceChangeUnspecified)
}

// recorder follows a handleOps call of one operation through go-ethereum's tracing hooks, and overlooks a wrong
// signature: the output of a validation function is changed before the EntryPoint sees it.
type recorder struct {
	entryPoint entrypoint.EntryPoint
	op         *userop.UserOperation
	out        *outcome
	serves     func(aggregator common.Address) bool
	stop       func() // non-nil: called when validation has ended

	validateAccount   [4]byte
	validatePaymaster [4]byte
	postOp            [4]byte

	inner  bool   // innerHandleOp has been called
	part   *frame // the entity's call under way, or nil
	depth  int    // of that call
	called bool   // the account's call has been made
}

func newRecorder(ep entrypoint.EntryPoint, op *userop.UserOperation, out *outcome) *recorder {
	var zero uint256.Int
	empty := &userop.UserOperation{Version: ep.Version}
	return &recorder{
		entryPoint: ep, op: op, out: out,
		validateAccount:   [4]byte(entrypoint.EncodeValidateUserOp(empty, common.Hash{}, &zero)),
		validatePaymaster: [4]byte(entrypoint.EncodeValidatePaymasterUserOp(empty, common.Hash{}, &zero)),
		postOp:            [4]byte(entrypoint.EncodePostOp(ep.Version, 0, nil, &zero, &zero)),
	}
}

func (r *recorder) hooks() *tracing.Hooks {
	return &tracing.Hooks{OnEnter: r.enter, OnExit: r.exit, OnLog: r.log}
}

func (r *recorder) enter(depth int, _ byte, from, to common.Address, input []byte, _ uint64, _ *big.Int) {
	if depth == 0 || r.part != nil || from != r.entryPoint.Address {
		return
	}
	if to == r.entryPoint.Address {
		r.inner = true
		return
	}
	if r.part = r.classify(to, input); r.part != nil {
		r.depth = depth
		*r.part = frame{entered: true}
	}
}

// classify says what a call of the EntryPoint is for.
func (r *recorder) classify(to common.Address, input []byte) *frame {
	var selector [4]byte
	copy(selector[:], input)
	isPaymaster := r.op.Paymaster != nil && to == *r.op.Paymaster
	switch {
	case !r.out.validated && to == r.op.Sender && selector == r.validateAccount:
		return &r.out.account
	case !r.out.validated && isPaymaster && selector == r.validatePaymaster:
		return &r.out.paymaster
	case !r.out.validated && !r.out.account.entered:
		return &r.out.creation
	case r.inner && !r.called && to == r.op.Sender && len(r.op.CallData) > 0:
		r.called = true
		return &r.out.call
	case r.inner && isPaymaster && selector == r.postOp:
		return &r.out.postOp
	default:
		return nil
	}
}

func (r *recorder) exit(depth int, output []byte, gasUsed uint64, err error, reverted bool) {
	if r.part == nil {
		return
	}
	if reverted {
		r.part.failures++
	}
	if depth != r.depth {
		return
	}
	part := r.part
	r.part = nil
	part.used, part.err = gasUsed, err
	if reverted {
		part.output = append([]byte(nil), output...)
		return
	}
	switch part {
	case &r.out.account:
		part.word = r.overlook(output, 0)
	case &r.out.paymaster:
		if context, _, err := entrypoint.DecodeValidatePaymasterUserOp(output); err == nil {
			r.out.contextSize = len(context)
		}
		part.word = r.overlook(output, 1)
	}
}

// wordSize is that of the ABI.
const wordSize = 32

// overlook reads the validation data in a word of a validation function's output. If it says that the signature is
// wrong, or when the operation is valid, the output is changed to "valid, always": an operation that is being
// estimated is not signed, or not for good. An aggregator that is served is overlooked in the same way: it checks
// signatures outside of the operation's own gas. Another one is left for the EntryPoint to see.
func (r *recorder) overlook(output []byte, index int) (word uint256.Int) {
	start := index * wordSize
	if len(output) < start+wordSize {
		return word // malformed: the EntryPoint refuses it
	}
	data := output[start : start+wordSize]
	word.SetBytes32(data)
	parsed := entrypoint.ParseValidationData(r.entryPoint.Version, word)
	if parsed.HasAggregator() && !r.serves(parsed.Aggregator) {
		r.out.aggregator = parsed.Aggregator
		return word
	}
	if parsed.HasAggregator() {
		r.out.servedBy = parsed.Aggregator
	}
	clear(data)
	return word
}

func (r *recorder) log(log *types.Log) {
	switch {
	case entrypoint.IsEvent(log, r.entryPoint.Address, entrypoint.TopicBeforeExecution):
		r.out.validated = true
		if r.stop != nil {
			r.stop()
		}
	case entrypoint.IsEvent(log, r.entryPoint.Address, entrypoint.TopicUserOperationEvent):
		event, err := entrypoint.ParseUserOperationEvent(log)
		r.out.success = err == nil && event.Success
	}
}
