package bundlesender

import (
	"github.com/ethereum/go-ethereum/common"

	"baler/gas"
)

// Event is something that happened: a head, an answer to an effect, a call, the end of a wait. The set is closed.
//
//sumtype:decl
type Event interface{ isEvent() }

// Seq numbers the effects that are answered by an event of the same Seq: proposals, observations, backoffs.
type Seq uint64

// AttemptID numbers the attempts of one key. Ids grow and are never used twice, across restarts too (Record.NextAttempt).
type AttemptID uint64

// CallID names one manual call (debug_bundler_sendBundleNow), chosen by the shell.
type CallID uint64

// Head is a new head of the chain, with everything that was observed at it, so that the step is atomic and can be replayed.
//
// Observation is nil when the shell did not look (an idle sender makes no node calls) or could not: then nothing
// is concluded about our transactions, in particular none is called lost.
type Head struct {
	Number      uint64
	Hash        common.Hash
	Observation *Observation
	// Keep: no attempt is forgotten, however old. The shell has not accounted for all that was mined yet, or does not know which blocks
	// have left the chain.
	Keep bool `json:",omitempty"`
}

// Observation is what the chain says about this key at one block, read pinned to that block's hash.
//
// The shell promises that for every attempt of Machine.Watch it looked for the receipt at that block before it
// made the observation.
type Observation struct {
	// Nonce is the account's nonce at the block: the nonce of the next transaction to be mined.
	Nonce uint64
	// Mined are the attempts newly seen mined on the canonical chain.
	Mined []Mined
	// Dropped are the attempts that the relay or the node says are gone from where they waited. They may be mined still.
	Dropped []AttemptID
	// Reorged are attempts reported mined before whose block is no longer canonical.
	Reorged []AttemptID
	// Hit are the bundles of Machine.Watch, and of Reorged, that would revert if they were mined now: at least one of their
	// operations is mined at or before this block by another transaction, a rival's or our own. The list is complete: an
	// attempt that is not in it is not hit (any more, if a reorg took the other transaction).
	Hit []AttemptID
}

// Mined says in which block an attempt was mined.
type Mined struct {
	Attempt AttemptID
	Block   uint64
	Hash    common.Hash // of the block
	// Reverted: the receipt says that it failed. It mined none of its operations.
	Reverted bool
}

// Observed answers the effect Observe. With Failed set the shell could not read; the rest is empty and the machine backs off.
type Observed struct {
	Seq         Seq
	Failed      bool
	Number      uint64
	Hash        common.Hash
	Observation Observation
}

// IntervalElapsed: bundle_max_send_interval_millis passed without an attempt (the shell restarts that timer at each Propose).
type IntervalElapsed struct{}

// SendNow is a manual call: build and submit a bundle now. It is answered by exactly one ManualDone with the same Call.
type SendNow struct{ Call CallID }

// ModeSet switches between automatic bundling (triggered by heads and by the interval) and manual (triggered by SendNow only).
type ModeSet struct{ Auto bool }

// PauseSet: an operator pauses the sender, or lets it go on. A paused sender proposes no bundle; what it has out it watches, settles
// and, where the table says so, goes on cancelling, but does not replace.
type PauseSet struct{ Paused bool }

// CancelNow: an operator wants the nonce freed of what waits there. It waits for what is in flight, and means nothing when no
// transaction is left then, or it is being cancelled already.
type CancelNow struct{}

// Retry: the wait asked for by Backoff has passed.
type Retry struct{ Seq Seq }

// BundleReady answers Propose: a bundle worth sending, with fees not below the floor that Propose named.
//
// Claimed are all operations that the pool handed to this sender for the proposal, whether they made it into the bundle or
// not; those the machine does not hold on to are given back with Release. It may be left empty when nothing beside Operations was claimed.
type BundleReady struct {
	Seq        Seq
	Fees       gas.Fees
	GasLimit   uint64 // gas
	Operations []common.Hash
	Claimed    []common.Hash
}

// NothingToSend answers Propose: there is no bundle, and why. Claimed as in BundleReady.
type NothingToSend struct {
	Seq     Seq
	Reason  NothingReason
	Claimed []common.Hash
}

// NothingReason says why a proposal came back without a bundle.
type NothingReason uint8

// The reasons a proposal has no bundle.
const (
	NoOperations            NothingReason = iota // the pool has none for this sender
	NoneLeftAfterFeeFilter                       // some, but none pays the fees of this bundle
	NoneLeftAfterSimulation                      // some paid, but none was left after simulation and bundle validation
	ProposerError                                // the proposal could not be made (node trouble, cancelled): says nothing about operations
	SignerCannotPay                              // the key's balance pays for no bundle: says nothing about operations
	WouldLose                                    // some pay the fees, but every bundle would cost more than it brings
)

// Signed: the attempt is signed and durable in the journal, and is about to be relayed. From here on Watch names it,
// so that a head which mines it before the relay's answer comes is understood at once. Fees are those signed
// (a cancellation's fees are chosen by the shell).
type Signed struct {
	Attempt AttemptID
	Hash    common.Hash
	Fees    gas.Fees
}

// Submitted answers Submit. Hash is zero only if the transaction was never signed (NotSent).
type Submitted struct {
	Attempt AttemptID
	Hash    common.Hash
	Outcome Outcome
}

// CancelSubmitted answers Cancel where the kind of transaction sender needs a transaction to cancel ("hard").
type CancelSubmitted struct {
	Attempt AttemptID
	Hash    common.Hash
	Fees    gas.Fees
	Outcome Outcome
}

// SoftCancelled answers Cancel: the relay has withdrawn our transactions, no transaction was needed ("soft").
type SoftCancelled struct{ Attempt AttemptID }

// NothingToCancel answers Cancel: no transaction of the key waits at this nonce, as far as node and relay know.
type NothingToCancel struct{ Attempt AttemptID }

// Outcome is the class of an answer to a submission; the table of node answers (package txsender) maps texts and codes to it.
type Outcome uint8

// The classes of answers to a submission.
const (
	Accepted               Outcome = iota // taken
	AlreadyKnown                          // already has exactly this transaction: as good as accepted
	ReplacementUnderpriced                // another transaction of this nonce waits, and ours does not pay enough more
	Underpriced                           // fees under the node's minimum
	Rejected                              // refused for another reason that is not one of these
	NonceTooLow                           // the nonce is used up
	InsufficientFunds                     // the key cannot pay gas limit × max fee
	ConditionNotMet                       // a condition of a conditional transaction does not hold (any more)
	Unknown                               // timeout, connection lost after sending: it may have been taken
	NotSent                               // it never left: signing or journaling failed. Nothing can be mined
	OverBudget                            // a cancellation that costs more than the shell may spend: it never left. Of a bundle it is NotSent
)

// ForeignPending: a transaction of this key waits that we did not make (another program used the key, or a lost journal).
// Fees are zero if unknown. It is tracked like an attempt, and replaced or cancelled.
type ForeignPending struct {
	Nonce uint64
	Hash  common.Hash
	Fees  gas.Fees
}

// LeaseLost: the key is no longer ours. The machine stops and signs nothing more.
type LeaseLost struct{}

func (Head) isEvent()            {}
func (Observed) isEvent()        {}
func (IntervalElapsed) isEvent() {}
func (SendNow) isEvent()         {}
func (ModeSet) isEvent()         {}
func (PauseSet) isEvent()        {}
func (CancelNow) isEvent()       {}
func (Retry) isEvent()           {}
func (BundleReady) isEvent()     {}
func (NothingToSend) isEvent()   {}
func (Signed) isEvent()          {}
func (Submitted) isEvent()       {}
func (CancelSubmitted) isEvent() {}
func (SoftCancelled) isEvent()   {}
func (NothingToCancel) isEvent() {}
func (ForeignPending) isEvent()  {}
func (LeaseLost) isEvent()       {}
