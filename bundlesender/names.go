package bundlesender

import "fmt"

// State is where the machine stands. The first four are those of the seed's diagram.
type State uint8

// The states.
const (
	Building      State = iota // waits for a trigger, or for the bundle it asked for, or for the answer to its submission
	Pending                    // waits for a bundle to be mined
	Cancelling                 // frees the nonce
	CancelPending              // waits for the cancellation to be mined
	Stopped                    // the lease is lost: signs nothing more
	numStates     = iota
)

// Cause is what moved the machine, or kept it: the second column of the table.
type Cause uint8

// The causes.
const (
	Triggered          Cause = iota // new block or interval (auto), manual call; in Cancelling a new block
	HadNoOperations                 // the pool has no operations for this sender
	LeftNoneSimulated               // none left after simulation
	PricedOut                       // none left after the fee filter
	CannotPay                       // the key's balance pays for no bundle
	WasUnprofitable                 // every bundle would cost more than it brings
	ProposalFailed                  // the proposal could not be made
	BundleWasReady                  // a bundle worth sending
	WasSubmitted                    // accepted, or already known
	OutcomeUnknown                  // it may have been taken
	FeesRefused                     // replacement underpriced, underpriced
	WasRejected                     // refused for an unnamed reason
	NonceWasTooLow                  // the node says that the nonce is used up
	LackedFunds                     // the key cannot pay
	ConditionFailed                 // a condition of a conditional transaction does not hold
	WasNotSent                      // signing or journaling failed
	WasMined                        // a transaction of ours used the nonce
	NonceTaken                      // a transaction not ours used the nonce
	WasDropped                      // the newest attempt is said to be gone
	WasHit                          // the bundle that waits would revert: an operation of it is mined elsewhere
	TimedOut                        // the block until which to wait is reached
	ReorgedOut                      // a block that held a transaction of ours is no longer canonical
	NonceWentBack                   // the account's nonce is lower than it was, and not by a transaction of ours
	CancelWasSubmitted              // the cancellation was accepted, or already known
	CancelUnknown                   // the cancellation may have been taken
	CancelRefused                   // the cancellation was not taken
	CancelOverBudget                // the cancellation costs more than may be spent
	WasSoftCancelled                // the relay withdrew our transactions
	HadNothingToCancel              // nothing waits at the nonce
	CancelAsked                     // an operator wants the nonce freed
	LostLease                       // the key is no longer ours
	numCauses          = iota
)

// String returns the state's name.
func (s State) String() string { return name(stateNames[:], int(s), "state") }

// String says the cause in words.
func (c Cause) String() string { return name(causeNames[:], int(c), "cause") }

// String says the outcome in words.
func (o Outcome) String() string { return name(outcomeNames[:], int(o), "outcome") }

// String says the reason in words.
func (r NothingReason) String() string { return name(reasonNames[:], int(r), "reason") }

// String returns the kind's name.
func (k Kind) String() string { return name(kindNames[:], int(k), "kind") }

// String returns the status's name.
func (s AttemptStatus) String() string { return name(statusNames[:], int(s), "status") }

// String says the alert in words.
func (a AlertKind) String() string { return name(alertNames[:], int(a), "alert") }

func name(names []string, i int, what string) string {
	if i >= len(names) {
		return fmt.Sprintf("%s(%d)", what, i)
	}
	return names[i]
}

var stateNames = [...]string{
	Building: "Building", Pending: "Pending", Cancelling: "Cancelling", CancelPending: "CancelPending", Stopped: "Stopped",
}

var causeNames = [...]string{
	Triggered:          "triggered",
	HadNoOperations:    "no operations",
	LeftNoneSimulated:  "none left after simulation",
	PricedOut:          "none left after the fee filter",
	CannotPay:          "signer cannot pay",
	WasUnprofitable:    "would lose",
	ProposalFailed:     "proposal failed",
	BundleWasReady:     "bundle ready",
	WasSubmitted:       "submitted",
	OutcomeUnknown:     "outcome unknown",
	FeesRefused:        "underpriced",
	WasRejected:        "rejected",
	NonceWasTooLow:     "nonce too low",
	LackedFunds:        "insufficient funds",
	ConditionFailed:    "condition not met",
	WasNotSent:         "not sent",
	WasMined:           "mined",
	NonceTaken:         "nonce used by another transaction",
	WasDropped:         "dropped",
	WasHit:             "hit: operations mined elsewhere",
	TimedOut:           "timed out",
	ReorgedOut:         "reorged out",
	NonceWentBack:      "nonce went back",
	CancelWasSubmitted: "hard cancellation submitted",
	CancelUnknown:      "cancellation outcome unknown",
	CancelRefused:      "cancellation refused",
	CancelOverBudget:   "cancellation over budget",
	WasSoftCancelled:   "soft cancellation done",
	HadNothingToCancel: "nothing to cancel",
	CancelAsked:        "cancel asked by an operator",
	LostLease:          "lease lost",
}

var outcomeNames = [...]string{
	Accepted: "accepted", AlreadyKnown: "already known", ReplacementUnderpriced: "replacement underpriced",
	Underpriced: "underpriced", Rejected: "rejected", NonceTooLow: "nonce too low", InsufficientFunds: "insufficient funds",
	ConditionNotMet: "condition not met", Unknown: "unknown", NotSent: "not sent",
	OverBudget: "over budget",
}

var reasonNames = [...]string{
	NoOperations: "no operations", NoneLeftAfterFeeFilter: "none left after fee filter",
	NoneLeftAfterSimulation: "none left after simulation", ProposerError: "proposer error",
	SignerCannotPay: "signer cannot pay", WouldLose: "would lose",
}

var kindNames = [...]string{KindBundle: "bundle", KindCancellation: "cancellation", KindForeign: "foreign"}

var statusNames = [...]string{
	StatusSending: "sending", StatusSent: "sent", StatusUnknown: "unknown", StatusDropped: "dropped",
	StatusRefused: "refused", StatusMined: "mined",
}

var alertNames = [...]string{
	AlertInsufficientFunds: "insufficient funds", AlertNonceTaken: "nonce used by another transaction",
	AlertForeignPending: "foreign transaction pending", AlertReorgedOut: "mined transaction reorged out",
	AlertCancellationGaveUp: "cancellation gave up", AlertBrokenProposal: "broken proposal",
	AlertNonceWentBack: "nonce went back", AlertTransactionRejected: "transaction rejected",
	AlertCancellationTooDear: "cancellation too dear",
}
