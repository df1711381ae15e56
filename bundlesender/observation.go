package bundlesender

import (
	"slices"

	"github.com/ethereum/go-ethereum/common"
)

func (m *Machine) onHead(e Head) {
	fresh := !m.head.known || m.head.hash != e.Hash
	m.setHead(e.Number, e.Hash)
	if e.Observation != nil {
		m.observe(*e.Observation)
	}
	if !e.Keep {
		m.forgetOld()
	}
	if !fresh {
		return
	}
	if m.state == Cancelling && m.work.kind == idle {
		m.fire(Triggered)
		return
	}
	m.trigger()
}

func (m *Machine) setHead(number uint64, hash common.Hash) {
	m.head.known, m.head.number, m.head.hash = true, number, hash
}

func (m *Machine) onObserved(e Observed) {
	if m.work.kind != observing || m.work.seq != e.Seq {
		return
	}
	m.work = work{}
	if e.Failed {
		m.backOff()
		m.serving, m.asked = m.asked, nil
		m.answerServing(ManualDone{Err: ErrNodeFailed})
		return
	}
	if e.Number >= m.head.number {
		m.setHead(e.Number, e.Hash)
	}
	m.observe(e.Observation)
}

// observe takes what the chain says: what was reorged out, what is mined, whose nonce it is, what was dropped, what would revert, what
// waited too long.
func (m *Machine) observe(o Observation) {
	m.nonceDoubtful = false
	if !m.nonceKnown {
		m.nonce, m.nonceKnown = o.Nonce, true
	}
	revived := m.revive(o.Reorged)
	if revived {
		m.outdate()
		m.fire(ReorgedOut)
	}
	target := max(o.Nonce, m.noteMined(o.Mined))
	switch {
	case target > m.nonce:
		m.advance(m.conclusive(target, revived))
	case target < m.nonce:
		m.maybeGoBack(target)
	default:
		m.wentBack.seen = false
	}
	m.noteDropped(o.Dropped)
	m.noteHit(o.Hit)
	if (m.state == Pending || m.state == CancelPending) && m.head.number >= m.until {
		m.fire(TimedOut)
	}
}

// revive makes attempts live again whose block is no longer canonical, and says whether there was one.
func (m *Machine) revive(ids []AttemptID) bool {
	found := false
	for _, id := range ids {
		a := m.attempt(id)
		if a == nil || a.Status != StatusMined {
			continue
		}
		found = true
		operations := a.Operations
		if a.Reverted { // what was given up may be in another sender's transaction
			operations = slices.DeleteFunc(slices.Clone(operations), func(op common.Hash) bool { return !m.Holds(op) })
		}
		a.Status, a.MinedBlock, a.MinedHash, a.Reverted = StatusSent, 0, common.Hash{}, false
		m.nonce = min(m.nonce, a.Nonce)
		for _, op := range operations {
			m.held[op] = struct{}{}
		}
		m.emit(Revive{Attempt: id, Hash: a.Hash, Operations: operations})
		m.emit(Alert{Kind: AlertReorgedOut, Attempt: id, Nonce: a.Nonce})
	}
	for i := range m.attempts {
		if m.attempts[i].Nonce >= m.nonce {
			m.attempts[i].Finished = 0
		}
	}
	return found
}

// noteMined settles the attempts that were mined, and returns the nonce after the highest of them.
func (m *Machine) noteMined(mined []Mined) uint64 {
	var next uint64
	for _, in := range mined {
		a := m.attempt(in.Attempt)
		if a == nil || a.Status == StatusMined || m.minedAt(a.Nonce) {
			continue
		}
		a.Status, a.MinedBlock, a.MinedHash, a.Reverted = StatusMined, in.Block, in.Hash, in.Reverted
		next = max(next, a.Nonce+1)
		m.emit(Settle{
			Attempt: a.ID, Kind: a.Kind, Hash: a.Hash, Block: in.Block, BlockHash: in.Hash, Operations: a.Operations,
			Reverted: in.Reverted,
		})
		if in.Reverted { // a reorg may let it be mined once more, and then do something
			if m.paused {
				m.giveUpReverted()
			}
			continue
		}
		for _, op := range a.Operations {
			delete(m.held, op)
		}
	}
	return next
}

func (m *Machine) minedAt(nonce uint64) bool {
	for i := range m.attempts {
		if m.attempts[i].Nonce == nonce && m.attempts[i].Status == StatusMined {
			return true
		}
	}
	return false
}

// conclusive returns how far the nonce may be followed towards target: not past a nonce whose user may be a transaction of ours
// that was not looked for. The chain is asked again then.
func (m *Machine) conclusive(target uint64, revived bool) uint64 {
	stop := target
	if m.inFlight(m.work.attempt) && m.work.nonce >= m.nonce {
		// The hash of the transaction in flight may not have been known.
		stop = min(stop, m.work.nonce)
	}
	if revived {
		// The other attempts of a nonce that was finished until now were not looked for.
		stop = m.nonce
	}
	for ; stop < target && m.minedAt(stop); stop++ {
	}
	m.nonceDoubtful = stop < target
	return stop
}

// advance finishes the nonces before target.
func (m *Machine) advance(target uint64) {
	if target == m.nonce {
		return
	}
	m.wentBack.seen, m.cancelAsked = false, false
	var ours uint64
	first := m.nonce
	m.nonce = target
	for i := range m.attempts {
		a := &m.attempts[i]
		if a.Nonce < first || a.Nonce >= target {
			continue
		}
		a.Finished = max(m.head.number, 1)
		if a.Status == StatusMined {
			ours++
		} else {
			m.releaseOf(a)
		}
	}
	m.outdate()
	if ours == target-first {
		m.fire(WasMined)
	} else {
		m.fire(NonceTaken)
	}
}

// maybeGoBack follows the account's nonce down if a second block says the same: one answer may come from a node that lags.
func (m *Machine) maybeGoBack(target uint64) {
	if !m.wentBack.seen || m.wentBack.hash == m.head.hash {
		m.wentBack.seen, m.wentBack.hash = true, m.head.hash
		return
	}
	m.wentBack.seen = false
	m.nonce = target
	for i := range m.attempts {
		if m.attempts[i].Nonce >= target {
			m.attempts[i].Finished = 0
		}
	}
	m.outdate()
	m.fire(NonceWentBack)
}

// outdate makes the proposal in flight useless: it was made for another nonce.
func (m *Machine) outdate() {
	if m.work.kind == proposing && !m.work.stale {
		m.work.stale = true
		m.emit(Abort{Seq: m.work.seq})
	}
}

func (m *Machine) noteDropped(ids []AttemptID) {
	newest := m.newestAt()
	dropped := false
	for _, id := range ids {
		a := m.attempt(id)
		if a == nil || a.Status != StatusSent && a.Status != StatusUnknown {
			continue
		}
		a.Status = StatusDropped
		dropped = dropped || a == newest
	}
	if dropped {
		m.fire(WasDropped)
	}
}

// noteHit takes the complete list of bundles that would revert, and lets the one that waits be replaced.
func (m *Machine) noteHit(ids []AttemptID) {
	for i := range m.attempts {
		a := &m.attempts[i]
		may := a.Kind == KindBundle && a.Status != StatusMined && a.Status != StatusRefused
		a.Hit = may && slices.Contains(ids, a.ID)
	}
	m.replaceHit()
}

// replaceHit: a bundle that is known to revert is not waited for.
func (m *Machine) replaceHit() {
	if m.hitWaits() {
		m.fire(WasHit)
	}
}
