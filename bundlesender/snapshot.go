package bundlesender

import (
	"slices"

	"github.com/ethereum/go-ethereum/common"
)

// Snapshot is the whole machine as a value: the machine made from it takes exactly the steps that the first one would
// take. It is what a replay of a journal begins with, where the journal's beginning has been dropped.
//
// A restart does not continue from a Snapshot but from its Record ([Restore]): what was in flight at the snapshot died
// with its process.
type Snapshot struct {
	Record        // Held in order
	StateSince    uint64
	LastCause     *Cause // nil: no row of the table has applied yet
	HeadKnown     bool
	HeadNumber    uint64
	HeadHash      common.Hash
	Due           bool
	NonceDoubtful bool
	BackingOff    bool
	BackoffSeq    Seq
	BackoffRow    int
	Work          Work
	Asked         []CallID
	Serving       []CallID
	CancelAsked   bool
	WentBack      bool
	WentBackHash  common.Hash
}

// Work is what a machine has in flight.
type Work struct {
	InFlight string // as in [Status]
	Seq      Seq
	Attempt  AttemptID
	Nonce    uint64
	Propose  Propose
	Stale    bool
}

// Snapshot returns the machine as a value.
func (m *Machine) Snapshot() Snapshot {
	s := Snapshot{
		Record: m.Record(), StateSince: m.stateSince,
		HeadKnown: m.head.known, HeadNumber: m.head.number, HeadHash: m.head.hash,
		Due: m.due, NonceDoubtful: m.nonceDoubtful,
		BackingOff: m.backoff.running, BackoffSeq: m.backoff.seq, BackoffRow: m.backoff.row,
		Work: Work{
			InFlight: workNames[m.work.kind], Seq: m.work.seq, Attempt: m.work.attempt, Nonce: m.work.nonce,
			Propose: m.work.propose, Stale: m.work.stale,
		},
		Asked: slices.Clone(m.asked), Serving: slices.Clone(m.serving), CancelAsked: m.cancelAsked,
		WentBack: m.wentBack.seen, WentBackHash: m.wentBack.hash,
	}
	if m.lastRow != nil {
		s.LastCause = &m.lastRow.on
	}
	slices.SortFunc(s.Held, common.Hash.Cmp)
	return s
}

// Resume returns the machine of which the snapshot was taken.
func Resume(cfg Config, s Snapshot) *Machine {
	m := New(cfg)
	m.auto, m.state, m.stateSince = s.Auto, s.State, s.StateSince
	if s.LastCause != nil {
		if i := slices.IndexFunc(table, func(r row) bool { return r.on == *s.LastCause }); i >= 0 {
			m.lastRow = &table[i] // only its cause is ever asked for
		}
	}
	m.head.known, m.head.number, m.head.hash = s.HeadKnown, s.HeadNumber, s.HeadHash
	m.feeIncreases, m.cancelIncreases = s.FeeIncreases, s.CancelIncreases
	m.underpriced, m.underpricedSince, m.until = s.Underpriced, s.UnderpricedSince, s.Until
	m.cancelEnded, m.paused, m.cancelAsked = s.CancelEnded, s.Paused, s.CancelAsked
	m.due, m.nonceDoubtful = s.Due, s.NonceDoubtful
	m.backoff.running, m.backoff.seq, m.backoff.row = s.BackingOff, s.BackoffSeq, s.BackoffRow
	m.work = work{
		kind: workKind(max(0, slices.Index(workNames[:], s.Work.InFlight))), seq: s.Work.Seq, attempt: s.Work.Attempt,
		nonce: s.Work.Nonce, propose: s.Work.Propose, stale: s.Work.Stale,
	}
	m.asked, m.serving = slices.Clone(s.Asked), slices.Clone(s.Serving)
	m.nonce, m.nonceKnown = s.Nonce, s.NonceKnown
	m.wentBack.seen, m.wentBack.hash = s.WentBack, s.WentBackHash
	m.nextAttempt, m.nextSeq = s.NextAttempt, s.NextSeq
	m.attempts = slices.Clone(s.Attempts)
	for _, op := range s.Held {
		m.held[op] = struct{}{}
	}
	return m
}
