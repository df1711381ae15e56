package bundlesender

import (
	"slices"

	"github.com/ethereum/go-ethereum/common"
)

func (m *Machine) addAttempt(a Attempt) {
	a.ID = m.nextAttempt
	m.nextAttempt++
	m.attempts = append(m.attempts, a)
}

func (m *Machine) lastAttempt() *Attempt { return &m.attempts[len(m.attempts)-1] }

func (m *Machine) attempt(id AttemptID) *Attempt {
	i, ok := slices.BinarySearchFunc(m.attempts, id, func(a Attempt, id AttemptID) int {
		switch {
		case a.ID < id:
			return -1
		case a.ID > id:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return &m.attempts[i]
}

// live says whether the attempt may still be mined, as far as we know: not refused, its nonce not used.
func (m *Machine) live(a *Attempt) bool {
	return a.Nonce >= m.nonce && a.Status != StatusRefused && a.Status != StatusMined
}

// mayBeMined says whether the attempt is live, or reverted: if a reorg takes its block back, it may be mined again and do something then.
func (m *Machine) mayBeMined(a *Attempt) bool { return m.live(a) || a.Reverted }

// overtaken says whether the nonce of an attempt that may have been taken was used, and by no transaction that we know.
func (m *Machine) overtaken(a *Attempt) bool {
	return a.Finished != 0 && a.Status != StatusRefused && a.Status != StatusMined && !m.minedAt(a.Nonce)
}

// waitsAtNonce says whether a transaction is believed to wait for the nonce that is next.
func (m *Machine) waitsAtNonce() bool {
	for i := range m.attempts {
		if a := &m.attempts[i]; a.Nonce == m.nonce && a.waits() {
			return true
		}
	}
	return false
}

// gapWaits says whether a transaction of ours waits behind this nonce and nothing waits at it, as after a reorg that took another
// program's: it cannot be mined, nor its operations be bundled anew, before something uses this nonce.
func (m *Machine) gapWaits() bool {
	behind := false
	for i := range m.attempts {
		a := &m.attempts[i]
		if a.Nonce == m.nonce && a.waits() {
			return false
		}
		behind = behind || a.Nonce > m.nonce && a.waits()
	}
	return behind
}

// waits says whether the transaction is believed to wait for its block.
func (a *Attempt) waits() bool { return a.Status == StatusSent || a.Status == StatusUnknown }

// hitWaits says whether the transaction of ours that waits for the nonce that is next is a bundle that would revert. The newest
// decides: it has replaced the others.
func (m *Machine) hitWaits() bool {
	for i := len(m.attempts) - 1; i >= 0; i-- {
		if a := &m.attempts[i]; a.Nonce == m.nonce && a.waits() && a.Kind != KindForeign {
			return a.Hit
		}
	}
	return false
}

// newestAt returns the newest transaction that was taken at the current nonce, or nil.
func (m *Machine) newestAt() *Attempt {
	for i := len(m.attempts) - 1; i >= 0; i-- {
		if a := &m.attempts[i]; a.Nonce == m.nonce && m.live(a) {
			return a
		}
	}
	return nil
}

// releaseClaims gives back what the pool handed over for a proposal and is not kept for the bundle, nor held already. What a transaction
// of ours has mined, and the pool offers all the same, is kept: a reorg has brought it back there, and is about to make the transaction
// live here; or the pool is about to take in that it is mined.
func (m *Machine) releaseClaims(claimed, operations, keep []common.Hash) {
	if len(claimed)+len(operations) == 0 {
		return
	}
	seen := make(map[common.Hash]struct{}, len(keep)+len(claimed))
	for _, op := range keep {
		seen[op] = struct{}{}
	}
	var back []common.Hash
	for _, ops := range [][]common.Hash{claimed, operations} {
		for _, op := range ops {
			if _, ok := seen[op]; !ok && !m.Holds(op) {
				back = append(back, op)
			}
			seen[op] = struct{}{}
		}
	}
	m.release(0, m.withoutMined(back))
}

// releaseOf gives back the operations of an attempt that cannot be mined any more, unless another one has them that can.
func (m *Machine) releaseOf(a *Attempt) { m.releaseUnless(a, m.mayBeMined) }

// giveUpReverted gives back what is in nothing but bundles that reverted. A sender that is paused, or cannot pay for a bundle, would keep
// it from all others until no reorg can bring these transactions back.
func (m *Machine) giveUpReverted() {
	for i := range m.attempts {
		if m.attempts[i].Reverted {
			m.releaseUnless(&m.attempts[i], m.live)
		}
	}
}

// releaseUnless gives back the operations of an attempt that are in no attempt that keeps them.
func (m *Machine) releaseUnless(a *Attempt, keeps func(*Attempt) bool) {
	var back []common.Hash
	for _, op := range a.Operations {
		if m.Holds(op) && !m.isIn(op, keeps) {
			back = append(back, op)
		}
	}
	m.release(a.ID, back)
}

// release is the one place where operations are given back.
func (m *Machine) release(id AttemptID, ops []common.Hash) {
	if len(ops) == 0 {
		return
	}
	for _, op := range ops {
		delete(m.held, op)
	}
	m.emit(Release{Attempt: id, Operations: ops})
}

// withoutMined returns the operations without those that our transactions have mined, as far as we have seen.
func (m *Machine) withoutMined(ops []common.Hash) []common.Hash {
	if len(ops) == 0 {
		return nil
	}
	mined := make(map[common.Hash]struct{})
	for _, op := range m.Mined() {
		mined[op] = struct{}{}
	}
	return slices.DeleteFunc(ops, func(op common.Hash) bool { _, ok := mined[op]; return ok })
}

// isIn says whether an operation is in an attempt of a kind.
func (m *Machine) isIn(op common.Hash, is func(*Attempt) bool) bool {
	for i := range m.attempts {
		if a := &m.attempts[i]; is(a) && slices.Contains(a.Operations, op) {
			return true
		}
	}
	return false
}

// tidy gives back the operations of an attempt that is refused or whose nonce is finished, and forgets what no longer says
// anything: refused attempts of no consequence, so that a key that is refused for days does not grow its record.
func (m *Machine) tidy(id AttemptID) {
	a := m.attempt(id)
	if a.Status == StatusMined || m.live(a) {
		return
	}
	m.releaseOf(a)
	if a.Status != StatusRefused {
		return
	}
	newest := *a
	m.forget(func(b *Attempt) bool {
		if b.Status != StatusRefused || b.Nonce != newest.Nonce {
			return false
		}
		if b.ID == newest.ID {
			return b.Kind == KindBundle && b.Abandoned
		}
		return b.Kind == newest.Kind && newest.Fees.Covers(b.Fees)
	})
}

// forget drops attempts from the record.
func (m *Machine) forget(which func(*Attempt) bool) {
	var ids []AttemptID
	var reverted []Attempt
	kept := 0
	for i := range m.attempts {
		if which(&m.attempts[i]) {
			ids = append(ids, m.attempts[i].ID)
			if m.attempts[i].Reverted {
				reverted = append(reverted, m.attempts[i])
			}
			continue
		}
		if kept != i {
			m.attempts[kept] = m.attempts[i]
		}
		kept++
	}
	clear(m.attempts[kept:])
	m.attempts = m.attempts[:kept]
	if len(ids) > 0 {
		m.emit(Forget{Attempts: ids})
	}
	for i := range reverted {
		m.releaseOf(&reverted[i])
	}
}

// forgetOld drops attempts that no reorg we follow can bring back.
func (m *Machine) forgetOld() {
	m.forget(func(a *Attempt) bool {
		return a.Finished != 0 && since(m.head.number, a.Finished) > m.cfg.ReorgDepth && !m.inFlight(a.ID)
	})
}

func (m *Machine) inFlight(id AttemptID) bool {
	return m.Submitting() && m.work.attempt == id
}

// bindWaiting lets the fees of what waits at the nonce bind again, abandoned or not: a node has just said that it is still
// there, and that it must be outbid.
func (m *Machine) bindWaiting(nonce uint64) {
	for i := range m.attempts {
		if a := &m.attempts[i]; a.Nonce == nonce && m.live(a) {
			a.Abandoned = false
		}
	}
}

func (m *Machine) onForeignPending(e ForeignPending) {
	known := slices.ContainsFunc(m.attempts, func(a Attempt) bool { return a.Hash == e.Hash && a.Nonce == e.Nonce })
	if known || !m.nonceKnown || e.Nonce < m.nonce {
		return
	}
	m.addAttempt(Attempt{
		Kind: KindForeign, Nonce: e.Nonce, Hash: e.Hash, Fees: e.Fees, Block: m.head.number, Status: StatusSent,
	})
	m.emit(Alert{Kind: AlertForeignPending, Attempt: m.lastAttempt().ID, Nonce: e.Nonce})
	if m.work.kind == proposing && m.work.nonce == e.Nonce && !m.work.stale {
		// The floor it was asked for is too low now.
		m.outdate()
		m.due = m.state == Building
	}
}
