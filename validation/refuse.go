package validation

import (
	"bytes"
	"fmt"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// RefusalOf turns what the EntryPoint reverted with during an operation's validation into a refusal. called is the
// entity that the EntryPoint called last; own says that the EntryPoint reverted by itself and did not pass on what the
// called contract reverted with: only then its text is believed. The message begins with the AA code, if there is one.
func RefusalOf(op *userop.UserOperation, data []byte, called erc7562.Entity, own bool) *Refusal {
	reason, inner := "", []byte(nil)
	switch revert := entrypoint.DecodeRevert(data).(type) {
	case entrypoint.FailedOp:
		reason = revert.String()
	case entrypoint.FailedOpWithRevert:
		reason, inner = revert.String(), revert.Inner
	case entrypoint.SignatureValidationFailed:
		if own {
			return refusal(rejection.New(rejection.UnsupportedSigAggr, "%s", revert), erc7562.Aggregator, revert.Aggregator)
		}
	default: // not the EntryPoint's words about an operation
	}
	if reason == "" {
		reason = fmt.Sprintf("EntryPoint reverted after the call of the %s: %s", called, entrypoint.RevertReason(data))
		inner = data
	}
	refused := refusalFor(op, reason, called, own)
	if len(inner) > 0 {
		refused.Data.RevertData = hexutil.Encode(inner)
	}
	return refused
}

func refusalFor(op *userop.UserOperation, reason string, called erc7562.Entity, own bool) *Refusal {
	kind, entity := kindOf(entrypoint.AACode(reason), called, own)
	return blame(rejection.New(kind, "%s", reason), op, entity)
}

// kindOf maps an AA code to the error of ERC-7769 and the entity it blames (ERC-4337, "Error codes": AA1 creation, AA2
// the account, AA3 the paymaster). Where the text is not to be believed the entity called decides alone.
func kindOf(code string, called erc7562.Entity, own bool) (rejection.Kind, erc7562.Entity) {
	if !own || code == "" {
		if called == erc7562.Paymaster {
			return rejection.PaymasterRejected, called
		}
		return rejection.EntryPointRejected, called
	}
	switch code {
	case "AA22":
		return rejection.OutOfTimeRange, erc7562.Sender
	case "AA24":
		return rejection.InvalidSignature, erc7562.Sender
	case "AA31":
		return rejection.PaymasterDepositLow, erc7562.Paymaster
	case "AA32":
		return rejection.OutOfTimeRange, erc7562.Paymaster
	}
	switch code[:3] {
	case "AA1":
		return rejection.EntryPointRejected, erc7562.Factory
	case "AA2":
		return rejection.EntryPointRejected, erc7562.Sender
	case "AA3":
		return rejection.PaymasterRejected, erc7562.Paymaster
	default:
		return rejection.EntryPointRejected, called
	}
}

// blame adds the blamed entity's address.
func blame(r *rejection.Rejection, op *userop.UserOperation, entity erc7562.Entity) *Refusal {
	switch {
	case entity == erc7562.Paymaster && op.Paymaster != nil:
		r.Data.Paymaster = op.Paymaster
		return refusal(r, entity, *op.Paymaster)
	case entity == erc7562.Factory && op.Factory != nil && !op.IsEIP7702():
		r.Data.Factory = op.Factory
		return refusal(r, entity, *op.Factory)
	default:
		return refusal(r, erc7562.Sender, op.Sender)
	}
}

// refuse turns a failed handleOps into a refusal of the operation that made it fail.
func (t *handleOpsTrace) refuse(data []byte) (int, *Refusal) {
	own := !t.last.failed || !bytes.Equal(t.last.output, data)
	index := t.culprit(data, own)
	called := erc7562.Sender
	if t.last.part != partNone && t.last.index == index {
		called = t.last.part.entity(t.ops[index])
	}
	if reason := t.malformedAnswer(); reason != "" && len(data) == 0 {
		return index, refusalFor(t.ops[index], reason, called, true)
	}
	return index, RefusalOf(t.ops[index], data, called, own)
}

// malformedAnswer explains the empty revert of the EntryPoints before v0.8 when an account or a paymaster returns
// something that does not decode, as an account without code does, and of all when the SenderCreator runs out of gas.
func (t *handleOpsTrace) malformedAnswer() string {
	switch {
	case t.last.failed && t.last.part == partFactory && len(t.last.output) == 0:
		return "AA13 initCode failed or OOG"
	case t.last.failed:
		return ""
	case t.last.part == partAccount && len(t.last.output) == 0:
		return "AA20 account not deployed, or it returned nothing"
	case t.last.part == partAccount:
		return "AA23 reverted: malformed validation data"
	case t.last.part == partPaymaster:
		return "AA33 reverted: malformed context or validation data"
	default:
		return ""
	}
}

// culprit returns the operation that made handleOps revert: the one for which the EntryPoint made its last call, unless
// the EntryPoint itself says that it is the next one, which fails before any call is made for it (AA10, AA94).
func (t *handleOpsTrace) culprit(data []byte, own bool) int {
	index := t.last.index
	var said uint64
	switch revert := entrypoint.DecodeRevert(data).(type) {
	case entrypoint.FailedOp:
		said = revert.OpIndex
	case entrypoint.FailedOpWithRevert:
		said = revert.OpIndex
	default:
		return index
	}
	if own && said == uint64(index)+1 && t.executing == 0 && index+1 < len(t.ops) {
		return index + 1
	}
	return index
}

// checkRange refuses an operation that is valid only outside of [number or time of its block, the same plus slack].
func checkRange(op *userop.UserOperation, d entrypoint.ValidationData, number, now, slack, blockSlack uint64) error {
	current, margin, unit := now, slack, "second"
	if d.Blocks {
		current, margin, unit = number, blockSlack, "block"
	}
	var r *rejection.Rejection
	switch {
	case !d.InRange(op.Version, number, now):
		r = rejection.New(rejection.OutOfTimeRange, "AA22 expired or not due: have %s %d, valid after %d until %d", unit, current, d.ValidAfter, d.ValidUntil)
	case d.ValidUntil != 0 && d.ValidUntil < current+margin:
		r = rejection.New(rejection.OutOfTimeRange, "expires too soon: have %s %d, valid until %d, want %d more", unit, current, d.ValidUntil, margin)
	default:
		return nil
	}
	withRange(r, d)
	return blame(r, op, erc7562.Sender)
}

func withRange(r *rejection.Rejection, d entrypoint.ValidationData) {
	r.Data.ValidAfter = hexutil.EncodeUint64(d.ValidAfter)
	if d.ValidUntil != 0 {
		r.Data.ValidUntil = hexutil.EncodeUint64(d.ValidUntil)
	}
}

// refuseAggregator refuses an account that wants its signature checked by a contract.
func refuseAggregator(op *userop.UserOperation, aggregator common.Address) *Refusal {
	r := rejection.New(rejection.UnsupportedSigAggr, "signature aggregator %s is not supported", aggregator)
	r.Data.Aggregator = &aggregator
	return blame(r, op, erc7562.Sender)
}
