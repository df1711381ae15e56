package bundlesender

import (
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"baler/gas"
)

// propose asks for a bundle at the current nonce.
func (m *Machine) propose() {
	m.due = false
	p := Propose{Seq: m.seq(), Nonce: m.nonce, Floor: m.floor(), Exclude: m.laterOperations()}
	m.work = work{kind: proposing, seq: p.Seq, nonce: p.Nonce, propose: p}
	m.serving = append(m.serving, m.asked...)
	m.asked = nil
	m.emit(p)
}

// floor returns the least fees of the next bundle: what binds × (1 + replacement_fee_percent_increase), rounded up; zero: none.
func (m *Machine) floor() gas.Fees {
	var last gas.Fees
	for i := range m.attempts {
		if a := &m.attempts[i]; a.Nonce == m.nonce && !a.Abandoned {
			last = gas.Max(last, a.Fees)
		}
	}
	return m.bump(last)
}

// cancelFloor returns the least fees of the next cancellation. Abandoned or not, a waiting transaction must be outbid to be
// replaced. What was refused counts only if nothing of ours explains the refusal: the least cost is to outbid what waits.
func (m *Machine) cancelFloor() gas.Fees {
	var waiting, refused gas.Fees
	for i := range m.attempts {
		a := &m.attempts[i]
		switch {
		case a.Nonce != m.nonce:
		case a.Kind == KindCancellation, m.live(a):
			waiting = gas.Max(waiting, a.Fees)
		case a.Status == StatusRefused:
			refused = gas.Max(refused, a.Fees)
		}
	}
	if waiting.IsZero() {
		waiting = refused
	}
	return m.bump(waiting)
}

func (m *Machine) bump(f gas.Fees) gas.Fees {
	if f.IsZero() {
		return f
	}
	return f.Bump(m.cfg.ReplacementFeePercentIncrease)
}

// laterOperations are those in transactions of a later nonce than the current, each once: there are some only after a reorg.
func (m *Machine) laterOperations() []common.Hash {
	var ops []common.Hash
	for i := range m.attempts {
		a := &m.attempts[i]
		if a.Nonce <= m.nonce || !m.live(a) {
			continue
		}
		for _, op := range a.Operations {
			if !slices.Contains(ops, op) {
				ops = append(ops, op)
			}
		}
	}
	return ops
}

// takeProposal ends the proposal in flight if the answer is for it; fit says whether the answer is still of use.
func (m *Machine) takeProposal(seq Seq, claimed, operations []common.Hash) (asked Propose, ours, fit bool) {
	if m.work.kind != proposing || m.work.seq != seq {
		return Propose{}, false, false
	}
	asked, fit = m.work.propose, !m.work.stale
	m.work = work{}
	if !fit {
		m.releaseClaims(claimed, operations, nil)
		m.askAgain()
	}
	return asked, true, fit
}

func (m *Machine) onBundleReady(e BundleReady) {
	asked, ours, fit := m.takeProposal(e.Seq, e.Claimed, e.Operations)
	if !ours || !fit {
		return
	}
	if !sound(asked, e) {
		m.releaseClaims(e.Claimed, e.Operations, nil)
		m.alert(AlertBrokenProposal, 0)
		m.fire(ProposalFailed)
		m.answerServing(ManualDone{Err: &NothingError{Reason: ProposerError}})
		return
	}
	m.releaseClaims(e.Claimed, nil, e.Operations)
	for _, op := range e.Operations {
		m.held[op] = struct{}{}
	}
	m.addAttempt(Attempt{
		Kind: KindBundle, Nonce: m.nonce, Fees: e.Fees, GasLimit: e.GasLimit, Block: m.head.number,
		Operations: slices.Clone(e.Operations), Status: StatusSending,
	})
	m.work = work{kind: submitting, seq: e.Seq, attempt: m.lastAttempt().ID, nonce: m.nonce}
	m.fire(BundleWasReady)
}

// submit is the action of the row: the attempt was added by onBundleReady.
func (m *Machine) submit() {
	m.emit(Submit{Seq: m.work.seq, Attempt: *m.lastAttempt()})
}

// sound says whether the bundle keeps the proposer's contract: fees not below the floor, operations, none twice, none excluded.
func sound(asked Propose, e BundleReady) bool {
	if len(e.Operations) == 0 || !e.Fees.Covers(asked.Floor) {
		return false
	}
	seen := make(map[common.Hash]struct{}, len(asked.Exclude)+len(e.Operations))
	for _, op := range slices.Concat(asked.Exclude, e.Operations) {
		seen[op] = struct{}{}
	}
	return len(seen) == len(asked.Exclude)+len(e.Operations)
}

func (m *Machine) onNothingToSend(e NothingToSend) {
	_, ours, fit := m.takeProposal(e.Seq, e.Claimed, nil)
	if !ours || !fit {
		return
	}
	m.releaseClaims(e.Claimed, nil, nil)
	switch e.Reason {
	case NoOperations:
		m.fire(HadNoOperations)
	case NoneLeftAfterFeeFilter:
		m.fire(PricedOut)
	case NoneLeftAfterSimulation:
		m.fire(LeftNoneSimulated)
	case ProposerError:
		m.fire(ProposalFailed)
	case SignerCannotPay:
		m.giveUpReverted()
		m.fire(CannotPay)
	case WouldLose:
		m.fire(WasUnprofitable)
	}
	m.answerServing(ManualDone{Err: &NothingError{Reason: e.Reason}})
}

func (m *Machine) onSigned(e Signed) {
	if m.work.kind != submitting && m.work.kind != cancelling || m.work.attempt != e.Attempt {
		return
	}
	a := m.attempt(e.Attempt)
	a.Hash = e.Hash
	if a.Kind == KindCancellation {
		a.Fees = e.Fees
	}
}

func (m *Machine) onSubmitted(e Submitted) {
	if m.work.kind != submitting || m.work.attempt != e.Attempt {
		return
	}
	m.work = work{}
	a := m.attempt(e.Attempt)
	if e.Hash != (common.Hash{}) {
		a.Hash = e.Hash
	}
	cause := m.noteOutcome(a, e.Outcome)
	if e.Outcome == ReplacementUnderpriced {
		m.bindWaiting(a.Nonce)
	}
	taken := (a.Status == StatusMined || m.live(a)) && !tooLow(a, e.Outcome)
	// An answer that comes late, after the nonce or the state has moved on, only says what is known of the attempt.
	late := m.state != Building || a.Nonce != m.nonce
	hash := a.Hash
	m.tidy(e.Attempt)
	if !late {
		m.fire(cause)
	}
	switch {
	case taken:
		m.answerServing(ManualDone{Hash: hash})
	case m.state == Stopped:
	case late, m.due:
		m.askAgain()
	default:
		m.answerServing(ManualDone{Err: &RefusedError{Outcome: e.Outcome}})
	}
	m.replaceHit() // a block that came before the answer may have hit it
}

// tooLow: the node says that the nonce is used, and the chain has not yet said by whom. It may be this very attempt, relayed
// twice by a layer below, so it is tracked as unknown.
func tooLow(a *Attempt, o Outcome) bool { return o == NonceTooLow && a.Status == StatusUnknown }

// noteOutcome writes the answer into the attempt, unless the chain has already spoken, and returns the cause it stands for.
func (m *Machine) noteOutcome(a *Attempt, o Outcome) Cause {
	status, binds, cause := outcomeMeans(o)
	if a.Status == StatusSending {
		a.Status = status
		a.Abandoned = a.Abandoned || !binds
	}
	return cause
}

// outcomeMeans is the machine's reading of an answer: what the attempt is now, whether its fees bind the next, and the cause.
func outcomeMeans(o Outcome) (status AttemptStatus, binds bool, cause Cause) {
	switch o {
	case Accepted, AlreadyKnown:
		return StatusSent, true, WasSubmitted
	case ReplacementUnderpriced, Underpriced:
		return StatusRefused, true, FeesRefused
	case Rejected:
		return StatusRefused, true, WasRejected
	case NonceTooLow:
		return StatusUnknown, false, NonceWasTooLow
	case InsufficientFunds:
		return StatusRefused, false, LackedFunds
	case ConditionNotMet:
		return StatusRefused, false, ConditionFailed
	case NotSent, OverBudget:
		return StatusRefused, false, WasNotSent
	case Unknown:
		return StatusUnknown, true, OutcomeUnknown
	}
	// An outcome that is not in the list says nothing: it may have been taken.
	return StatusUnknown, true, OutcomeUnknown
}

// cancel asks for a cancellation at the current nonce.
func (m *Machine) cancel() {
	m.due = false
	c := Cancel{Nonce: m.nonce, Floor: m.cancelFloor()}
	for i := range m.attempts {
		if a := &m.attempts[i]; a.Nonce == m.nonce && m.live(a) && a.Hash != (common.Hash{}) {
			c.Waiting = append(c.Waiting, a.Hash)
		}
	}
	m.addAttempt(Attempt{Kind: KindCancellation, Nonce: m.nonce, Block: m.head.number, Status: StatusSending})
	c.Attempt = m.lastAttempt().ID
	m.work = work{kind: cancelling, attempt: c.Attempt, nonce: m.nonce}
	m.emit(c)
}

func (m *Machine) onCancelSubmitted(e CancelSubmitted) {
	if m.work.kind != cancelling || m.work.attempt != e.Attempt {
		return
	}
	if e.Outcome == OverBudget {
		m.onCancelNotMade(e.Attempt, CancelOverBudget)
		return
	}
	m.work = work{}
	a := m.attempt(e.Attempt)
	a.Fees = e.Fees
	if e.Hash != (common.Hash{}) {
		a.Hash = e.Hash
	}
	late := m.state != Cancelling || a.Nonce != m.nonce
	var cause Cause
	switch m.noteOutcome(a, e.Outcome) {
	case WasSubmitted:
		cause = CancelWasSubmitted
	case OutcomeUnknown:
		cause = CancelUnknown
	case NonceWasTooLow:
		cause, m.nonceDoubtful = CancelRefused, m.nonceDoubtful || !late
	case LackedFunds:
		m.alert(AlertInsufficientFunds, e.Attempt)
		cause = CancelRefused
	default:
		cause = CancelRefused
	}
	m.tidy(e.Attempt)
	if !late {
		m.fire(cause)
	}
}

// onCancelNotMade: no transaction was sent to cancel.
func (m *Machine) onCancelNotMade(id AttemptID, cause Cause) {
	if m.work.kind != cancelling || m.work.attempt != id {
		return
	}
	late := m.state != Cancelling || m.work.nonce != m.nonce
	m.work = work{}
	m.forget(func(a *Attempt) bool { return a.ID == id })
	if late {
		return
	}
	if cause == WasSoftCancelled {
		for i := range m.attempts {
			if a := &m.attempts[i]; a.Nonce == m.nonce && m.live(a) {
				a.Status = StatusDropped
			}
		}
	}
	m.fire(cause)
}
