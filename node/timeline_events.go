package node

import (
	"strings"

	"baler/event"
	"baler/rpc"
	"baler/txsender"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// The events of a timeline, as the API spells them.
const (
	eventReceived = "received" // it came in
	eventRejected = "rejected" // refused at the door
	eventAdded    = "added"    // it waits in the pool
	eventReplaced = "replaced" // the operation that Other names took its place
	eventSkipped  = "skipped"  // left out of a bundle
	eventBundled  = "bundled"  // chosen for a bundle
	eventSent     = "sent"     // its bundle was submitted
	eventRefused  = "refused"  // its bundle was refused by the node
	eventReleased = "released" // its bundle was given up; it waits for another
	eventReverted = "reverted" // its bundle was mined and reverted
	eventMined    = "mined"    // it is in a block
	eventRevived  = "revived"  // its block left the chain; it waits again
	eventRemoved  = "removed"  // it left the pool without being mined
	eventOmitted  = "omitted"  // so many entries are not remembered
)

// moment is when an event was heard.
type moment struct {
	ms    int64
	block uint64
}

func (m moment) entry(name string) rpc.TimelineEntry {
	return rpc.TimelineEntry{At: m.ms, Block: m.block, Event: name}
}

// entryOf translates an event into the entry it adds to the stories of the operations it is about.
func (m moment) entryOf(e event.Event) (rpc.TimelineEntry, []common.Hash) {
	switch e := e.(type) {
	case event.OperationReceived:
		return m.entry(eventReceived), one(e.Hash)
	case event.OperationRejected:
		x := m.entry(eventRejected)
		x.Reason, x.Code, x.Rule = e.Message, e.Code, e.Rule
		return x, one(e.Hash)
	case event.OperationAdded:
		x := m.entry(eventAdded)
		x.Other = e.Replaced
		return x, one(e.Hash)
	case event.OperationSkipped:
		return m.skipped(e), one(e.Hash)
	case event.OperationRemoved:
		x := m.entry(eventRemoved)
		x.Reason, x.Cause, x.Code, x.Rule = e.Reason, e.Cause, e.Code, e.Rule
		return x, one(e.Hash)
	case event.OperationMined:
		x := m.entry(eventMined)
		x.Block, x.Transaction, x.Success, x.GasUsed, x.GasCost = e.Block, &e.Tx, &e.Success, &e.GasUsed, &e.GasCost
		return x, one(e.Hash)
	case event.OperationRevived:
		return m.entry(eventRevived), one(e.Hash)
	case event.BundleProposed:
		x := m.entry(eventBundled)
		x.Signer, x.Fees = &e.Signer, &e.Fees
		return x, e.Hashes
	case event.BundleSent:
		return m.sent(e)
	case event.OperationsReleased:
		x := m.entry(eventReleased)
		x.Signer = &e.Signer
		return x, e.Hashes
	case event.BundleReverted:
		x := m.entry(eventReverted)
		x.Block, x.Signer, x.Transaction, x.Reason = e.Block, &e.Signer, &e.Tx, revertCause(e.Cause)
		return x, e.Hashes
	case event.HeadSeen, event.SenderMoved, event.BundleMined, event.Alert, event.OperationValidated, event.KeyUsed, event.LeaseMoved,
		event.BalanceSeen, event.NodeAsked, event.CallServed, event.PoolAsked:
		return rpc.TimelineEntry{}, nil // about no single operation
	default:
		return rpc.TimelineEntry{}, nil
	}
}

func (m moment) skipped(e event.OperationSkipped) rpc.TimelineEntry {
	x := m.entry(eventSkipped)
	x.Reason, x.Cause, x.Signer = e.Reason, e.Cause, &e.Signer
	if !e.Have.IsZero() || !e.Want.IsZero() {
		x.Have, x.Want = &e.Have, &e.Want
	}
	if e.About != (common.Address{}) {
		x.About = &e.About
	}
	if e.Other != (common.Hash{}) {
		x.Other = &e.Other
	}
	return x
}

// sent is a bundle on its way, unless the node has refused it. An answer that says nothing counts as on its way: the
// transaction may be mined.
func (m moment) sent(e event.BundleSent) (rpc.TimelineEntry, []common.Hash) {
	name := eventSent
	if refusedBundle(e) {
		name = eventRefused
	}
	x := m.entry(name)
	// The node's own words (e.Text) may tell of its operator's affairs: a timeline is for users.
	x.Signer, x.Transaction, x.Nonce, x.Fees, x.Cause = &e.Signer, &e.Tx, &e.Nonce, &e.Fees, e.Answer
	return x, e.Hashes
}

// noticeOf translates an event into the notice of the bundles' or the senders' topic; nil: it is about neither.
func (m moment) noticeOf(e event.Event) rpc.Notice {
	switch e := e.(type) {
	case event.BundleProposed:
		return rpc.BundleNotice{
			At: m.ms, Block: m.block, Event: "proposed", Signer: e.Signer, EntryPoint: &e.EntryPoint, Operations: e.Hashes,
			GasLimit: &e.GasLimit, Fees: &e.Fees, Expected: &e.ExpectedProfit,
		}
	case event.BundleSent:
		return m.sentNotice(e)
	case event.BundleMined:
		return rpc.BundleNotice{
			At: m.ms, Block: e.Block, Event: "mined", Signer: e.Signer, Transaction: &e.Tx, Cancels: e.Operations == 0,
			GasUsed: &e.GasUsed, Cost: &e.Cost, Earned: &e.Earned,
		}
	case event.BundleReverted:
		return rpc.BundleNotice{
			At: m.ms, Block: e.Block, Event: "reverted", Signer: e.Signer, Transaction: &e.Tx, Operations: e.Hashes, Reason: e.Cause,
		}
	case event.SenderMoved:
		return rpc.SenderNotice{At: m.ms, Block: e.Block, Signer: e.Signer, From: e.From, To: e.To, Cause: e.Cause}
	case event.Alert:
		return rpc.SenderNotice{At: m.ms, Block: m.block, Signer: e.Signer, Alert: e.Kind, Text: e.Text}
	case event.HeadSeen, event.OperationReceived, event.OperationAdded, event.OperationRejected, event.OperationSkipped,
		event.OperationRemoved, event.OperationMined, event.OperationRevived, event.OperationsReleased, event.OperationValidated,
		event.KeyUsed, event.LeaseMoved, event.BalanceSeen, event.NodeAsked, event.CallServed, event.PoolAsked:
		return nil // told as an operation's entry, or not at all
	default:
		return nil
	}
}

func (m moment) sentNotice(e event.BundleSent) rpc.Notice {
	n := rpc.BundleNotice{
		At: m.ms, Block: m.block, Event: "sent", Signer: e.Signer, Transaction: &e.Tx, Nonce: &e.Nonce, Operations: e.Hashes,
		Cancels: e.Operations == 0, GasLimit: &e.GasLimit, Fees: &e.Fees, Answer: e.Answer, Reason: e.Text,
	}
	if refusedBundle(e) {
		n.Event = "refused"
	}
	if e.Operations > 0 {
		n.EntryPoint, n.Expected = &e.EntryPoint, new(uint256.Int).Set(&e.ExpectedProfit)
	}
	return n
}

// revertCause is a cause as users may read it: one that was not found may hold the text of an internal error.
func revertCause(cause string) string {
	if word, _, found := strings.Cut(cause, ": "); found && word == "unknown" {
		return word
	}
	return cause
}

// refusedBundle reports whether the node did not take the transaction.
func refusedBundle(e event.BundleSent) bool {
	class := txsender.Class(e.Answer)
	return !class.Taken() && class != txsender.Unknown
}

func one(hash common.Hash) []common.Hash { return []common.Hash{hash} }
