package bundlesender

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"

	"baler/gas"
)

// Effect is something for the shell to do. The set is closed. The effects of one Step are run in their order; those that
// are answered by an event (Propose, Submit, Cancel, Observe, Backoff) take their time elsewhere and are answered exactly once.
//
//sumtype:decl
type Effect interface{ isEffect() }

// Propose asks the proposer for a bundle. Answered by BundleReady or NothingToSend, always, also when it was aborted.
type Propose struct {
	Seq   Seq
	Nonce uint64
	// Floor is the least either fee of the bundle may be, in wei per gas; zero: none.
	Floor gas.Fees
	// Exclude are operations that wait in a transaction of a later nonce (after a reorg): they must not be proposed.
	Exclude []common.Hash
}

// Abort says that the answer to this proposal no longer matters: the shell may cut it short. It must still answer, with
// what it claimed.
type Abort struct{ Seq Seq }

// Submit asks to sign the bundle of proposal Seq as this attempt, to make it durable in the journal, and only then to relay it.
// Answered by Signed (when durable), then Submitted.
type Submit struct {
	Seq     Seq
	Attempt Attempt
}

// Cancel asks to free the nonce at the least cost. Where that needs a transaction: to itself, empty, this nonce, both fees
// ≥ Floor; signed, journaled and relayed like Submit. Answered by (Signed, then) CancelSubmitted, or SoftCancelled, or NothingToCancel.
type Cancel struct {
	Attempt AttemptID
	Nonce   uint64
	Floor   gas.Fees // wei per gas
	// Waiting are the transactions that may be waiting at this nonce, newest last (for a soft cancellation by hash).
	Waiting []common.Hash
}

// Observe asks for an Observation at the current head. Answered by Observed.
type Observe struct{ Seq Seq }

// Release gives operations back to the pool: this sender no longer has them in any transaction that may be mined.
// Attempt is the attempt they were in, zero if they never got into one. What another transaction has mined meanwhile is
// among them: the pool, which settles operations by the chain, has nothing to do for it.
type Release struct {
	Attempt    AttemptID
	Operations []common.Hash
}

// Settle: the attempt is mined. The shell decodes the receipt, tells the pool, and accounts for the gas. The machine holds these
// operations no longer, unless it has Reverted: then it mined none of them, and they are given back by Release as soon as this
// sender has them in no other transaction that may be mined.
type Settle struct {
	Attempt    AttemptID
	Kind       Kind
	Hash       common.Hash // of the transaction
	Block      uint64
	BlockHash  common.Hash
	Operations []common.Hash
	Reverted   bool
}

// Revive: the block that held the attempt was reorged out. Its operations are in flight again and held by this sender (the pool
// takes them back as claimed); the shell relays the same signed bytes again.
type Revive struct {
	Attempt    AttemptID
	Hash       common.Hash
	Operations []common.Hash
}

// Forget: these attempts are finished and deeper than any reorg that is followed; the journal may drop them.
type Forget struct{ Attempts []AttemptID }

// Backoff asks for a wait that grows with Attempt (1 for the first in a row), answered by Retry with the same Seq.
type Backoff struct {
	Seq     Seq
	Attempt int
}

// Alert is something a person should know.
type Alert struct {
	Kind    AlertKind
	Attempt AttemptID // 0 if none in particular is concerned
	Nonce   uint64    // the account's
}

// AlertKind is what an alert is about.
type AlertKind uint8

// The alerts.
const (
	AlertInsufficientFunds   AlertKind = iota // the key cannot pay: fund it
	AlertNonceTaken                           // the nonce was used by a transaction that is not ours
	AlertForeignPending                       // a transaction of this key waits that is not ours
	AlertReorgedOut                           // a mined transaction of ours is no longer in the chain
	AlertCancellationGaveUp                   // max_cancellation_fee_increases used up, the nonce is still blocked
	AlertBrokenProposal                       // the proposer's bundle broke its contract (fees under the floor, no or excluded operations)
	AlertNonceWentBack                        // the account's nonce is lower than it was: a reorg took a transaction not ours
	AlertTransactionRejected                  // the node or relay refuses our transaction for a reason that is not the fee
	AlertCancellationTooDear                  // a cancellation is over its budget, the nonce is still blocked
)

// Moved says that the machine changed its state, and by which cause of the table.
type Moved struct {
	From, To State
	Cause    Cause
}

// ManualDone answers SendNow: the transaction hash of the submitted bundle, or why there is none.
type ManualDone struct {
	Call CallID
	Hash common.Hash
	Err  error
}

// Why a manual call is answered without a bundle.
var (
	ErrStopped    = errors.New("bundle sender is stopped: it no longer holds its key")
	ErrPaused     = errors.New("bundle sender is paused by an operator")
	ErrNodeFailed = errors.New("cannot read the account's nonce from the node")
)

// NothingError answers a manual call that found nothing to send.
type NothingError struct{ Reason NothingReason }

// Error implements error.
func (e *NothingError) Error() string { return fmt.Sprintf("nothing to send: %s", e.Reason) }

// RefusedError answers a manual call whose bundle was not taken.
type RefusedError struct{ Outcome Outcome }

// Error implements error.
func (e *RefusedError) Error() string { return fmt.Sprintf("bundle was not submitted: %s", e.Outcome) }

func (Propose) isEffect()    {}
func (Abort) isEffect()      {}
func (Submit) isEffect()     {}
func (Cancel) isEffect()     {}
func (Observe) isEffect()    {}
func (Release) isEffect()    {}
func (Settle) isEffect()     {}
func (Revive) isEffect()     {}
func (Forget) isEffect()     {}
func (Backoff) isEffect()    {}
func (Alert) isEffect()      {}
func (Moved) isEffect()      {}
func (ManualDone) isEffect() {}
