package bundlesender

import (
	"maps"
	"slices"

	"github.com/ethereum/go-ethereum/common"
)

// Record returns what the machine must keep over a restart.
func (m *Machine) Record() Record {
	return Record{
		State: m.state, Auto: m.auto, Paused: m.paused, Nonce: m.nonce, NonceKnown: m.nonceKnown,
		NextAttempt: m.nextAttempt, NextSeq: m.nextSeq,
		FeeIncreases: m.feeIncreases, CancelIncreases: m.cancelIncreases,
		Underpriced: m.underpriced, UnderpricedSince: m.underpricedSince, Until: m.until, CancelEnded: m.cancelEnded,
		Attempts: slices.Clone(m.attempts), Held: m.Held(),
	}
}

// Recover returns the record of a key of which only the attempts are left (a journal without a snapshot, another holder's
// journal): nonce is the account's, as far as known.
func Recover(nonce uint64, auto bool, attempts []Attempt) Record {
	return Record{Auto: auto, Nonce: nonce, NonceKnown: true, Attempts: slices.Clone(attempts)}
}

// Restore returns the machine of a record: the same live transactions, nothing in flight, and a nonce to be read before
// anything is begun (the first Step asks for it).
//
// Attempts that the journal has and the record lacks may be appended to Record.Attempts before. One that was in flight is unknown now
// if it has a hash (it was signed, so it may have been relayed) and otherwise never left. A restored machine is never Stopped: who
// restores it holds the key.
func Restore(cfg Config, r Record) *Machine {
	m := New(cfg)
	m.auto, m.nonce, m.nonceKnown, m.nonceDoubtful = r.Auto, r.Nonce, r.NonceKnown, true
	m.nextAttempt, m.nextSeq = max(r.NextAttempt, 1), max(r.NextSeq, 1)
	m.state, m.feeIncreases, m.cancelIncreases = r.State, r.FeeIncreases, r.CancelIncreases
	m.underpriced, m.underpricedSince, m.until = r.Underpriced, r.UnderpricedSince, r.Until
	m.cancelEnded, m.paused = r.CancelEnded, r.Paused
	m.restoreAttempts(r)
	m.restoreState(r)
	return m
}

func (m *Machine) restoreAttempts(r Record) {
	for _, op := range r.Held {
		m.held[op] = struct{}{}
	}
	for _, a := range sortedAttempts(r.Attempts) {
		neverLeft := a.Status == StatusSending && a.Hash == common.Hash{}
		if a.Status == StatusSending {
			a.Status = StatusUnknown
		}
		for _, op := range a.Operations {
			if neverLeft {
				delete(m.held, op)
			} else if m.live(&a) && (a.ID >= r.NextAttempt || r.Held == nil) {
				m.held[op] = struct{}{}
			}
		}
		if !neverLeft {
			m.attempts = append(m.attempts, a)
		}
		m.nextAttempt = max(m.nextAttempt, a.ID+1)
	}
	// What never left may be shared with an older attempt that did.
	for i := range m.attempts {
		for _, op := range m.attempts[i].Operations {
			if m.mayBeMined(&m.attempts[i]) && slices.Contains(r.Held, op) {
				m.held[op] = struct{}{}
			}
		}
	}
}

// sortedAttempts puts them in the order of their ids, the later of two with the same id winning.
func sortedAttempts(attempts []Attempt) []Attempt {
	byID := make(map[AttemptID]Attempt, len(attempts))
	for _, a := range attempts {
		byID[a.ID] = a
	}
	out := make([]Attempt, 0, len(byID))
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		out = append(out, byID[id])
	}
	return out
}

// restoreState puts the machine where its transactions are: if one waits at the nonce, it waits for it.
func (m *Machine) restoreState(r Record) {
	newest := m.newestAt()
	waiting := newest != nil && (newest.Status == StatusSent || newest.Status == StatusUnknown) && !newest.Abandoned
	known := r.State == Building || r.State == Pending || r.State == Cancelling || r.State == CancelPending
	switch {
	case waiting && newest.Kind == KindCancellation:
		m.state = CancelPending
	case waiting && newest.Kind == KindBundle:
		m.state = Pending
	case known && r.State != Pending && r.State != CancelPending:
		return
	default:
		m.state = Building
		return
	}
	m.until = max(r.Until, newest.Block+m.cfg.MaxBlocksToWaitForMine)
}
