package bundlesender

import "slices"

// fire applies the first row of the table for the state and the cause whose condition holds. No row: nothing happens.
func (m *Machine) fire(c Cause) {
	r := m.rowFor(c)
	if r == nil {
		return
	}
	from := m.state
	m.state, m.lastRow = r.to, r
	if m.told != nil {
		m.told(r)
	}
	if from != r.to {
		m.stateSince = m.head.number
		m.emit(Moved{From: from, To: r.to, Cause: c})
		if r.to == Building && (from == Cancelling || from == CancelPending) {
			m.cancelEnded = m.head.hash
		}
	}
	if r.do.run != nil {
		r.do.run(m)
	}
	m.carryOn(r.pace)
}

func (m *Machine) rowFor(c Cause) *row {
	for i := range table {
		r := &table[i]
		if r.on == c && slices.Contains(r.in, m.state) && (r.when.holds == nil || r.when.holds(m)) {
			return r
		}
	}
	return nil
}

func (m *Machine) carryOn(p pace) {
	m.backoff.running = false
	switch p {
	case waits:
		m.due = false
		m.backoff.row = 0
	case atOnce:
		m.due = true
	case atOnceInAuto:
		m.due = m.auto
	case atOnceOrBacksOff:
		if m.backoff.row > 0 {
			m.backOff()
			return
		}
		m.backoff.row = 1
		m.due = true
	case backsOff:
		m.backOff()
	case answers:
		m.due = false
	}
}

// backOff asks for a wait; until it has passed only a manual call begins something.
func (m *Machine) backOff() {
	m.due = false
	m.backoff.row++
	m.backoff.running = true
	m.backoff.seq = m.seq()
	m.emit(Backoff{Seq: m.backoff.seq, Attempt: m.backoff.row})
}

// trigger begins a proposal where the machine only waits for a trigger: not while something is in flight, nor during a backoff. The
// wait for it ends a row of failures.
func (m *Machine) trigger() {
	if m.state != Building || !m.auto || m.backoff.running || m.work.kind != idle && m.work.kind != observing {
		return
	}
	m.backoff.row = 0
	m.fire(Triggered)
}

func (m *Machine) onSendNow(e SendNow) {
	if m.paused {
		m.emit(ManualDone{Call: e.Call, Err: ErrPaused})
		return
	}
	m.asked = append(m.asked, e.Call)
	if m.state == Building && m.work.kind == idle {
		m.backoff.row = 0
		m.fire(Triggered)
	}
}

// onModeSet makes a proposal useless that was begun by itself, when only calls may begin one from now on (ERC-7769,
// debug_bundler_setBundlingMode). What replaces a transaction that waits goes on.
func (m *Machine) onModeSet(e ModeSet) {
	if m.auto = e.Auto; m.auto || m.state != Building || len(m.serving) > 0 || !m.floor().IsZero() {
		return
	}
	m.due = false
	m.outdate()
}

// onPauseSet makes a proposal in flight useless and answers the manual calls: a paused sender sends no bundle. A submission in
// flight has left already.
func (m *Machine) onPauseSet(e PauseSet) {
	if m.paused = e.Paused; !m.paused {
		m.trigger()
		return
	}
	m.outdate()
	m.giveUpReverted()
	if m.work.kind != submitting {
		m.answerServing(ManualDone{Err: ErrPaused})
	}
	served := m.serving
	m.serving, m.asked = m.asked, nil
	m.answerServing(ManualDone{Err: ErrPaused})
	m.serving = served
}

// onCancelNow remembers the wish until nothing is in flight: what is in flight may be the transaction to cancel.
func (m *Machine) onCancelNow() {
	if m.state != Building && m.state != Pending {
		return
	}
	m.cancelAsked = true
	if m.waitsAtNonce() {
		m.outdate()
	}
}

func (m *Machine) onRetry(e Retry) {
	if !m.backoff.running || e.Seq != m.backoff.seq {
		return
	}
	m.backoff.running = false
	if m.state == Building {
		// In manual mode only what was begun is carried on.
		m.due = m.auto || m.feeIncreases > 0 || m.waitsAtNonce()
	}
}

// reset clears the counters and lets no fee paid so far bind the next bundle.
func (m *Machine) reset() {
	m.clearCounters()
	m.abandonAttempts()
}

func (m *Machine) clearCounters() {
	m.feeIncreases, m.cancelIncreases = 0, 0
	m.underpriced, m.underpricedSince = false, 0
	m.until = 0
	m.backoff.row = 0
}

func (m *Machine) abandonAttempts() {
	for i := range m.attempts {
		if m.attempts[i].Nonce == m.nonce {
			m.attempts[i].Abandoned = true
		}
	}
}

func (m *Machine) startWaiting() {
	m.underpriced, m.underpricedSince = false, 0
	m.until = m.head.number + m.cfg.MaxBlocksToWaitForMine
}

func (m *Machine) increaseRefusedFees() {
	m.feeIncreases++
	if !m.underpriced {
		m.underpriced, m.underpricedSince = true, m.head.number
	}
}

func (m *Machine) stop() {
	if m.work.kind == proposing && !m.work.stale {
		m.work.stale = true
		m.emit(Abort{Seq: m.work.seq})
	}
	m.nonceDoubtful = false
	m.answerServing(ManualDone{Err: ErrStopped})
	m.serving, m.asked = m.asked, nil
	m.answerServing(ManualDone{Err: ErrStopped})
}

func (m *Machine) alert(k AlertKind, a AttemptID) {
	m.emit(Alert{Kind: k, Attempt: a, Nonce: m.nonce})
}

// answerServing answers the manual calls that the work in flight served.
func (m *Machine) answerServing(with ManualDone) {
	for _, call := range m.serving {
		with.Call = call
		m.emit(with)
	}
	m.serving = nil
}

// askAgain makes the manual calls in service wait for the next proposal, if there will be one.
func (m *Machine) askAgain() {
	if m.paused {
		m.answerServing(ManualDone{Err: ErrPaused})
	}
	m.asked = append(m.serving, m.asked...)
	m.serving = nil
}

// since is to − from in blocks, 0 if a reorg put to before from.
func since(to, from uint64) uint64 { return to - min(to, from) }
