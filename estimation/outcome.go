package estimation

import (
	"bytes"
	"errors"
	"strings"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/rejection"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/holiman/uint256"
)

// frame is a call that the EntryPoint made to an entity.
type frame struct {
	entered  bool
	used     uint64      // gas
	failures int         // calls that failed in it, itself included
	word     uint256.Int // the validation data it returned
	output   []byte      // revert data
	err      error       // the EVM's
}

// goesLike reports whether the call did the same as another, as far as gas is concerned: out of gas somewhere inside
// shows as one failure more, even where the contract carries on without.
func (f *frame) goesLike(other *frame) bool {
	return f.entered == other.entered && f.failures == other.failures && f.word == other.word
}

// outcome is what a run of handleOps did.
type outcome struct {
	used          uint64 // gas, by handleOps, until its end or the end of validation
	err           error  // of handleOps as a whole
	output        []byte // what it reverted with
	senderCode    int    // bytes, only after a failure
	paymasterCode int

	validated   bool // validation has passed
	creation    frame
	account     frame
	paymaster   frame
	contextSize int            // bytes the paymaster wants back in postOp
	aggregator  common.Address // that is not served; zero: none
	servedBy    common.Address // aggregator that is served; zero: none

	call    frame
	postOp  frame
	success bool // the EntryPoint says so
}

// validatesLike reports whether validation passed and went like the other's.
func (o *outcome) validatesLike(other *outcome) bool {
	return o.validated && o.creation.goesLike(&other.creation) && o.account.goesLike(&other.account) &&
		o.paymaster.goesLike(&other.paymaster)
}

// succeeded reports whether handleOps went through and the operation with it.
func (o *outcome) succeeded() bool { return o.err == nil && o.validated && o.success }

// executesLike reports whether the whole operation succeeded and went like the other.
func (o *outcome) executesLike(other *outcome) bool {
	return o.succeeded() && o.validatesLike(other) && o.call.goesLike(&other.call) && o.postOp.goesLike(&other.postOp)
}

// refusal returns why validation does not pass, or nil.
func (o *outcome) refusal(op *userop.UserOperation) error {
	if o.aggregator != (common.Address{}) {
		r := rejection.New(rejection.UnsupportedSigAggr, "unsupported signature aggregator %s", o.aggregator)
		r.Data.Aggregator = &o.aggregator
		return r
	}
	if o.validated {
		return nil
	}
	called, last := o.lastCalled()
	if len(o.output) > 0 {
		own := !last.failed() || !bytes.Equal(last.output, o.output)
		return validation.RefusalOf(op, o.output, called, own)
	}
	reason := o.unexplained(op)
	r := rejection.New(rejection.EntryPointRejected, "%s", reason)
	if called == erc7562.Paymaster || strings.HasPrefix(reason, "AA3") {
		r.Kind, r.Data.Paymaster = rejection.PaymasterRejected, op.Paymaster
	}
	return r
}

// lastCalled returns the entity that the EntryPoint called last for validation.
func (o *outcome) lastCalled() (erc7562.Entity, *frame) {
	switch {
	case o.paymaster.entered:
		return erc7562.Paymaster, &o.paymaster
	case o.account.entered || !o.creation.entered:
		return erc7562.Sender, &o.account
	default:
		return erc7562.Factory, &o.creation
	}
}

// failed reports whether the call was made and failed.
func (f *frame) failed() bool { return f.entered && f.err != nil }

// unexplained finds a reason where the EntryPoint reverts without any, because what it was to call is no contract.
func (o *outcome) unexplained(op *userop.UserOperation) string {
	switch {
	case o.senderCode == 0 && op.Factory == nil:
		return "AA20 account not deployed"
	case o.account.entered && op.Paymaster != nil && o.paymasterCode == 0:
		return "AA30 paymaster not deployed"
	case errors.Is(o.err, vm.ErrExecutionReverted):
		return "validation reverted without a reason"
	default:
		return "validation failed: " + o.err.Error()
	}
}

// failure returns why an operation that is valid does not succeed, or nil.
func (o *outcome) failure() error {
	switch {
	case o.call.failed():
		return reverted("execution reverted", &o.call)
	case o.postOp.failed():
		return reverted("paymaster's postOp reverted", &o.postOp)
	case o.err != nil:
		r := rejection.New(rejection.ExecutionReverted, "%s", entrypoint.RevertReason(o.output))
		r.Data.RevertData = hexutil.Encode(o.output)
		return r
	case !o.success:
		return rejection.New(rejection.ExecutionReverted, "the operation does not succeed, and no call says why")
	default:
		return nil
	}
}

// reverted returns the rejection for a call that failed.
func reverted(what string, f *frame) error {
	if !errors.Is(f.err, vm.ErrExecutionReverted) {
		return rejection.New(rejection.ExecutionReverted, "%s: %s", what, f.err)
	}
	r := rejection.New(rejection.ExecutionReverted, "%s", what)
	if len(f.output) > 0 {
		r = rejection.New(rejection.ExecutionReverted, "%s: %s", what, entrypoint.RevertReason(f.output))
	}
	r.Data.RevertData = hexutil.Encode(f.output)
	return r
}
