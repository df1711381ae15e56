package remote

import (
	"fmt"
	"math/big"
	"time"

	"baler/event"
	"baler/profit"
	pb "baler/remote/remotev1"

	"github.com/holiman/uint256"
)

// encodeEvent writes an event. Nil: it is about one process alone, and nobody is told.
func encodeEvent(e event.Event) *pb.Event {
	switch e := e.(type) {
	case event.HeadSeen:
		return &pb.Event{Kind: &pb.Event_HeadSeen{HeadSeen: &pb.HeadSeen{
			Number: e.Number, Hash: encodeHash(e.Hash), Removed: encodeCount(e.Removed),
		}}}
	case event.OperationReceived:
		return &pb.Event{Kind: &pb.Event_OperationReceived{OperationReceived: &pb.OperationReceived{
			Hash: encodeHash(e.Hash), EntryPoint: encodeAddress(e.EntryPoint), Sender: encodeAddress(e.Sender), Nonce: encodeNumber(e.Nonce),
		}}}
	case event.OperationAdded:
		return &pb.Event{Kind: &pb.Event_OperationAdded{OperationAdded: &pb.OperationAdded{
			Hash: encodeHash(e.Hash), EntryPoint: encodeAddress(e.EntryPoint), Sender: encodeAddress(e.Sender), Nonce: encodeNumber(e.Nonce),
			Replaced: encodeOptionalHash(e.Replaced),
		}}}
	case event.OperationRejected:
		return &pb.Event{Kind: &pb.Event_OperationRejected{OperationRejected: &pb.OperationRejected{
			Hash: encodeHash(e.Hash), EntryPoint: encodeAddress(e.EntryPoint), Sender: encodeAddress(e.Sender),
			Code: encodeCode(e.Code), Message: valid(e.Message), Rule: valid(e.Rule),
		}}}
	case event.OperationValidated:
		return &pb.Event{Kind: &pb.Event_OperationValidated{OperationValidated: &pb.OperationValidated{
			Hash: encodeHash(e.Hash), Stage: valid(e.Stage), Result: valid(e.Result), Took: int64(e.Took),
		}}}
	case event.OperationSkipped:
		return &pb.Event{Kind: &pb.Event_OperationSkipped{OperationSkipped: &pb.OperationSkipped{
			Hash: encodeHash(e.Hash), Signer: encodeAddress(e.Signer), Reason: valid(e.Reason), Cause: valid(e.Cause),
			Have: encodeNumber(e.Have), Want: encodeNumber(e.Want), About: encodeAddress(e.About), Other: encodeHash(e.Other),
		}}}
	case event.OperationRemoved:
		return &pb.Event{Kind: &pb.Event_OperationRemoved{OperationRemoved: &pb.OperationRemoved{
			Hash: encodeHash(e.Hash), Reason: valid(e.Reason), Cause: valid(e.Cause), Code: encodeCode(e.Code), Rule: valid(e.Rule),
		}}}
	case event.OperationMined:
		return &pb.Event{Kind: &pb.Event_OperationMined{OperationMined: &pb.OperationMined{
			Hash: encodeHash(e.Hash), Tx: encodeHash(e.Tx), Block: e.Block, Success: e.Success,
			GasUsed: encodeNumber(e.GasUsed), GasCost: encodeNumber(e.GasCost),
		}}}
	case event.OperationRevived:
		return &pb.Event{Kind: &pb.Event_OperationRevived{OperationRevived: &pb.OperationRevived{Hash: encodeHash(e.Hash)}}}
	case event.NodeAsked, event.CallServed, event.PoolAsked:
		return nil
	default:
		return encodeSenderEvent(e)
	}
}

// encodeSenderEvent writes what is about bundles, keys and bundle senders.
func encodeSenderEvent(e event.Event) *pb.Event {
	switch e := e.(type) {
	case event.BundleProposed:
		return &pb.Event{Kind: &pb.Event_BundleProposed{BundleProposed: &pb.BundleProposed{
			Signer: encodeAddress(e.Signer), EntryPoint: encodeAddress(e.EntryPoint), Hashes: encodeHashes(e.Hashes), GasLimit: e.GasLimit,
			Fees: encodeFees(e.Fees), ExpectedProfit: encodeNumber(e.ExpectedProfit),
		}}}
	case event.OperationsReleased:
		return &pb.Event{Kind: &pb.Event_OperationsReleased{OperationsReleased: &pb.OperationsReleased{
			Signer: encodeAddress(e.Signer), Hashes: encodeHashes(e.Hashes),
		}}}
	case event.SenderMoved:
		return &pb.Event{Kind: &pb.Event_SenderMoved{SenderMoved: &pb.SenderMoved{
			Signer: encodeAddress(e.Signer), From: valid(e.From), To: valid(e.To), Cause: valid(e.Cause), Block: e.Block,
		}}}
	case event.BundleSent:
		return &pb.Event{Kind: &pb.Event_BundleSent{BundleSent: &pb.BundleSent{
			Signer: encodeAddress(e.Signer), EntryPoint: encodeAddress(e.EntryPoint), Tx: encodeHash(e.Tx), Nonce: e.Nonce,
			Operations: encodeCount(e.Operations), Hashes: encodeHashes(e.Hashes), GasLimit: e.GasLimit, Fees: encodeFees(e.Fees),
			ExpectedProfit: encodeNumber(e.ExpectedProfit), Answer: valid(e.Answer), Text: valid(e.Text), Route: valid(e.Route),
		}}}
	case event.BundleMined:
		return &pb.Event{Kind: &pb.Event_BundleMined{BundleMined: &pb.BundleMined{
			Signer: encodeAddress(e.Signer), Tx: encodeHash(e.Tx), Block: e.Block, Operations: encodeCount(e.Operations), Success: e.Success,
			GasUsed: e.GasUsed, Cost: encodeNumber(e.Cost), Earned: encodeNumber(e.Earned), Entry: encodeEntry(&e.Entry),
		}}}
	case event.BundleUnmined:
		return &pb.Event{Kind: &pb.Event_BundleUnmined{BundleUnmined: &pb.BundleUnmined{
			Signer: encodeAddress(e.Signer), Tx: encodeHash(e.Tx), Block: e.Block, Nonce: e.Nonce,
		}}}
	case event.BundleReverted:
		return &pb.Event{Kind: &pb.Event_BundleReverted{BundleReverted: &pb.BundleReverted{
			Signer: encodeAddress(e.Signer), Tx: encodeHash(e.Tx), Block: e.Block, Operations: encodeCount(e.Operations),
			Hashes: encodeHashes(e.Hashes), Cause: valid(e.Cause), Culprits: encodeHashes(e.Culprits),
		}}}
	case event.KeyUsed:
		return &pb.Event{Kind: &pb.Event_KeyUsed{KeyUsed: &pb.KeyUsed{
			Signer: encodeAddress(e.Signer), Kind: valid(e.Kind), Took: int64(e.Took), Attempts: encodeCount(e.Attempts), Failed: valid(e.Failed),
		}}}
	case event.LeaseMoved:
		return &pb.Event{Kind: &pb.Event_LeaseMoved{LeaseMoved: &pb.LeaseMoved{
			Signer: encodeAddress(e.Signer), Held: e.Held, Fence: e.Fence, Cause: valid(e.Cause),
		}}}
	case event.BalanceSeen:
		return &pb.Event{Kind: &pb.Event_BalanceSeen{BalanceSeen: &pb.BalanceSeen{
			Signer: encodeAddress(e.Signer), Balance: encodeNumber(e.Balance), Block: e.Block,
		}}}
	case event.FundsMoved:
		return &pb.Event{Kind: &pb.Event_FundsMoved{FundsMoved: &pb.FundsMoved{
			From: encodeAddress(e.From), Tx: encodeHash(e.Tx), Block: e.Block, Accounts: encodeCount(e.Accounts),
			Amount: encodeNumber(e.Amount), Cost: encodeNumber(e.Cost), Success: e.Success,
		}}}
	case event.Alert:
		return &pb.Event{Kind: &pb.Event_Alert{Alert: &pb.Alert{Signer: encodeAddress(e.Signer), Kind: valid(e.Kind), Text: valid(e.Text)}}}
	default:
		return nil
	}
}

func decodeEvent(m *pb.Event) (event.Event, error) {
	var d decoder
	e := d.operationEvent(m)
	if e == nil && d.err == nil {
		e = d.senderEvent(m)
	}
	if e == nil {
		d.fail("event", "have kind %T, which is not known", m.GetKind())
	}
	if d.err != nil {
		return nil, d.err
	}
	return e, nil
}

// operationEvent reads what is about heads and operations; nil: it is about something else.
func (d *decoder) operationEvent(m *pb.Event) event.Event {
	switch k := m.GetKind().(type) {
	case *pb.Event_HeadSeen:
		e := k.HeadSeen
		return event.HeadSeen{Number: e.GetNumber(), Hash: d.hash("hash", e.GetHash()), Removed: d.small("removed", e.GetRemoved())}
	case *pb.Event_OperationReceived:
		e := k.OperationReceived
		return event.OperationReceived{
			Hash: d.hash("hash", e.GetHash()), EntryPoint: d.address("entry_point", e.GetEntryPoint()),
			Sender: d.address("sender", e.GetSender()), Nonce: d.number("nonce", e.GetNonce()),
		}
	case *pb.Event_OperationAdded:
		e := k.OperationAdded
		return event.OperationAdded{
			Hash: d.hash("hash", e.GetHash()), EntryPoint: d.address("entry_point", e.GetEntryPoint()),
			Sender: d.address("sender", e.GetSender()), Nonce: d.number("nonce", e.GetNonce()), Replaced: d.optionalHash("replaced", e.GetReplaced()),
		}
	case *pb.Event_OperationRejected:
		e := k.OperationRejected
		return event.OperationRejected{
			Hash: d.hash("hash", e.GetHash()), EntryPoint: d.address("entry_point", e.GetEntryPoint()), Sender: d.address("sender", e.GetSender()),
			Code: int(e.GetCode()), Message: e.GetMessage(), Rule: e.GetRule(),
		}
	case *pb.Event_OperationValidated:
		e := k.OperationValidated
		return event.OperationValidated{
			Hash: d.hash("hash", e.GetHash()), Stage: e.GetStage(), Result: e.GetResult(), Took: d.duration("took", e.GetTook()),
		}
	case *pb.Event_OperationSkipped:
		e := k.OperationSkipped
		return event.OperationSkipped{
			Hash: d.hash("hash", e.GetHash()), Signer: d.address("signer", e.GetSigner()), Reason: e.GetReason(), Cause: e.GetCause(),
			Have: d.number("have", e.GetHave()), Want: d.number("want", e.GetWant()),
			About: d.address("about", e.GetAbout()), Other: d.hash("other", e.GetOther()),
		}
	case *pb.Event_OperationRemoved:
		e := k.OperationRemoved
		return event.OperationRemoved{
			Hash: d.hash("hash", e.GetHash()), Reason: e.GetReason(), Cause: e.GetCause(), Code: int(e.GetCode()), Rule: e.GetRule(),
		}
	case *pb.Event_OperationMined:
		e := k.OperationMined
		return event.OperationMined{
			Hash: d.hash("hash", e.GetHash()), Tx: d.hash("tx", e.GetTx()), Block: e.GetBlock(), Success: e.GetSuccess(),
			GasUsed: d.number("gas_used", e.GetGasUsed()), GasCost: d.number("gas_cost", e.GetGasCost()),
		}
	case *pb.Event_OperationRevived:
		return event.OperationRevived{Hash: d.hash("hash", k.OperationRevived.GetHash())}
	default:
		return nil
	}
}

// senderEvent reads what is about bundles, keys and bundle senders; nil: it is about something else.
func (d *decoder) senderEvent(m *pb.Event) event.Event {
	switch k := m.GetKind().(type) {
	case *pb.Event_BundleProposed:
		e := k.BundleProposed
		return event.BundleProposed{
			Signer: d.address("signer", e.GetSigner()), EntryPoint: d.address("entry_point", e.GetEntryPoint()),
			Hashes: d.hashes("hashes", e.GetHashes()), GasLimit: e.GetGasLimit(), Fees: d.fees("fees", e.GetFees()),
			ExpectedProfit: d.number("expected_profit", e.GetExpectedProfit()),
		}
	case *pb.Event_OperationsReleased:
		e := k.OperationsReleased
		return event.OperationsReleased{Signer: d.address("signer", e.GetSigner()), Hashes: d.hashes("hashes", e.GetHashes())}
	case *pb.Event_SenderMoved:
		e := k.SenderMoved
		return event.SenderMoved{
			Signer: d.address("signer", e.GetSigner()), From: e.GetFrom(), To: e.GetTo(), Cause: e.GetCause(), Block: e.GetBlock(),
		}
	case *pb.Event_BundleSent:
		e := k.BundleSent
		return event.BundleSent{
			Signer: d.address("signer", e.GetSigner()), EntryPoint: d.address("entry_point", e.GetEntryPoint()), Tx: d.hash("tx", e.GetTx()),
			Nonce: e.GetNonce(), Operations: d.small("operations", e.GetOperations()), Hashes: d.hashes("hashes", e.GetHashes()),
			GasLimit: e.GetGasLimit(), Fees: d.fees("fees", e.GetFees()), ExpectedProfit: d.number("expected_profit", e.GetExpectedProfit()),
			Answer: e.GetAnswer(), Text: e.GetText(), Route: e.GetRoute(),
		}
	case *pb.Event_BundleMined:
		e := k.BundleMined
		return event.BundleMined{
			Signer: d.address("signer", e.GetSigner()), Tx: d.hash("tx", e.GetTx()), Block: e.GetBlock(),
			Operations: d.small("operations", e.GetOperations()), Success: e.GetSuccess(), GasUsed: e.GetGasUsed(),
			Cost: d.number("cost", e.GetCost()), Earned: d.number("earned", e.GetEarned()), Entry: d.entry(e.GetEntry()),
		}
	case *pb.Event_BundleUnmined:
		e := k.BundleUnmined
		return event.BundleUnmined{Signer: d.address("signer", e.GetSigner()), Tx: d.hash("tx", e.GetTx()), Block: e.GetBlock(), Nonce: e.Nonce}
	case *pb.Event_BundleReverted:
		e := k.BundleReverted
		return event.BundleReverted{
			Signer: d.address("signer", e.GetSigner()), Tx: d.hash("tx", e.GetTx()), Block: e.GetBlock(),
			Operations: d.small("operations", e.GetOperations()), Hashes: d.hashes("hashes", e.GetHashes()), Cause: e.GetCause(),
			Culprits: d.hashes("culprits", e.GetCulprits()),
		}
	case *pb.Event_KeyUsed:
		e := k.KeyUsed
		return event.KeyUsed{
			Signer: d.address("signer", e.GetSigner()), Kind: e.GetKind(), Took: d.duration("took", e.GetTook()),
			Attempts: d.small("attempts", e.GetAttempts()), Failed: e.GetFailed(),
		}
	case *pb.Event_LeaseMoved:
		e := k.LeaseMoved
		return event.LeaseMoved{Signer: d.address("signer", e.GetSigner()), Held: e.GetHeld(), Fence: e.GetFence(), Cause: e.GetCause()}
	case *pb.Event_BalanceSeen:
		e := k.BalanceSeen
		return event.BalanceSeen{Signer: d.address("signer", e.GetSigner()), Balance: d.number("balance", e.GetBalance()), Block: e.GetBlock()}
	case *pb.Event_FundsMoved:
		e := k.FundsMoved
		return event.FundsMoved{
			From: d.address("from", e.GetFrom()), Tx: d.hash("tx", e.GetTx()), Block: e.GetBlock(), Accounts: d.small("accounts", e.GetAccounts()),
			Amount: d.number("amount", e.GetAmount()), Cost: d.number("cost", e.GetCost()), Success: e.GetSuccess(),
		}
	case *pb.Event_Alert:
		e := k.Alert
		return event.Alert{Signer: d.address("signer", e.GetSigner()), Kind: e.GetKind(), Text: e.GetText()}
	default:
		return nil
	}
}

// encodeCode writes a JSON-RPC error code.
func encodeCode(code int) int32 { return int32(code) } //nolint:gosec // 5 digits

func (d *decoder) duration(field string, nanoseconds int64) time.Duration {
	if nanoseconds < 0 {
		d.fail(field, "have %d ns, want none below zero", nanoseconds)
	}
	return time.Duration(nanoseconds)
}

// encodeEntry writes an entry of the books; nil: the event had none.
func encodeEntry(e *profit.Entry) *pb.Entry {
	if e.Kind == "" {
		return nil
	}
	m := &pb.Entry{
		Transaction: encodeHash(e.Transaction), Block: e.Block, BlockHash: encodeHash(e.BlockHash), Time: e.Time, Signer: encodeAddress(e.Signer),
		EntryPoint: encodeAddress(e.EntryPoint), Operations: encodeCount(e.Operations), GasLimit: e.GasLimit, GasUsed: e.GasUsed,
		ChargedGas: e.ChargedGas, Cost: encodeNumber(e.Cost), L1Fee: encodeNumber(e.L1Fee), Earned: encodeNumber(e.Earned),
	}
	switch e.Kind {
	case profit.Bundle:
		m.Kind = pb.EntryKind_ENTRY_KIND_BUNDLE
	case profit.Reverted:
		m.Kind = pb.EntryKind_ENTRY_KIND_REVERTED
	case profit.Cancellation:
		m.Kind = pb.EntryKind_ENTRY_KIND_CANCELLATION
	}
	if e.Expected != nil {
		m.Expected = &pb.Signed{Negative: e.Expected.Sign() < 0, Magnitude: e.Expected.Bytes()}
	}
	return m
}

func (d *decoder) entry(m *pb.Entry) profit.Entry {
	if m == nil {
		return profit.Entry{}
	}
	e := profit.Entry{
		Transaction: d.hash("entry.transaction", m.GetTransaction()), Block: m.GetBlock(), BlockHash: d.hash("entry.block_hash", m.GetBlockHash()),
		Time: m.GetTime(), Signer: d.address("entry.signer", m.GetSigner()), EntryPoint: d.address("entry.entry_point", m.GetEntryPoint()),
		Operations: d.small("entry.operations", m.GetOperations()), GasLimit: m.GetGasLimit(), GasUsed: m.GetGasUsed(),
		ChargedGas: m.GetChargedGas(), Cost: d.number("entry.cost", m.GetCost()), L1Fee: d.number("entry.l1_fee", m.GetL1Fee()),
		Earned: d.number("entry.earned", m.GetEarned()),
	}
	switch m.GetKind() {
	case pb.EntryKind_ENTRY_KIND_BUNDLE:
		e.Kind = profit.Bundle
	case pb.EntryKind_ENTRY_KIND_REVERTED:
		e.Kind = profit.Reverted
	case pb.EntryKind_ENTRY_KIND_CANCELLATION:
		e.Kind = profit.Cancellation
	default:
		d.fail("entry.kind", "have %d, which is not known", m.GetKind())
	}
	if s := m.GetExpected(); s != nil {
		magnitude := d.number("entry.expected", s.GetMagnitude())
		e.Expected = signed(&magnitude, s.GetNegative())
		if s.GetNegative() && magnitude.IsZero() {
			d.fail("entry.expected", "have a negative zero")
		}
	}
	return e
}

func signed(magnitude *uint256.Int, negative bool) *big.Int {
	n := magnitude.ToBig()
	if negative {
		n.Neg(n)
	}
	return n
}

func encodeEvents(events []event.Event) []*pb.Event {
	list := make([]*pb.Event, 0, len(events))
	for _, e := range events {
		if m := encodeEvent(e); m != nil {
			list = append(list, m)
		}
	}
	return list
}

func decodeEvents(list []*pb.Event) ([]event.Event, error) {
	events := make([]event.Event, len(list))
	for i, m := range list {
		e, err := decodeEvent(m)
		if err != nil {
			return nil, fmt.Errorf("event %d: %w", i, err)
		}
		events[i] = e
	}
	return events, nil
}
