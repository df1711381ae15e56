package bundlesender

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
)

// TestExploreAll visits every state that is reachable within bounds (three nonces, three attempts, small counters), with every event in
// each. Numbers that only grow are taken relative to the head, so that the states are finitely many. In each state it checks what must
// hold there, and that fair sequences lead back to Building; at the end, that every row of the table was used.
func TestExploreAll(t *testing.T) {
	x := &explorer{t: t, seen: map[essence]bool{}, rows: map[*row]bool{}}
	cfg := Config{MaxBlocksToWaitForMine: 1, ReplacementFeePercentIncrease: 10, MaxCancellationFeeIncreases: 1, ReorgDepth: 3}
	x.visit(&path{m: New(cfg)})
	for len(x.queue) > 0 {
		p := x.queue[0]
		x.queue = x.queue[1:]
		for _, e := range x.events(p.m) {
			x.follow(p, e)
		}
	}
	t.Logf("%d states, %d steps", len(x.seen), x.steps)
	for i := range table {
		if !x.rows[&table[i]] {
			t.Errorf("row %d of the table is never used: %v on %s", i, table[i].in, table[i].on)
		}
	}
}

type explorer struct {
	t     *testing.T
	seen  map[essence]bool
	rows  map[*row]bool
	queue []*path
	steps int
}

// path is a machine and how it came about.
type path struct {
	m     *Machine
	from  *path
	event Event
	depth int
}

func (p *path) String() string {
	if p.from == nil {
		return ""
	}
	return fmt.Sprintf("%s\n%T %+v", p.from, p.event, p.event)
}

func (x *explorer) follow(p *path, e Event) {
	next := &path{m: p.m.Clone(), from: p, event: e, depth: p.depth + 1}
	before := p.m.work
	effects := next.m.Step(e)
	x.steps++
	if next.m.lastRow != nil {
		x.rows[next.m.lastRow] = true
	}
	begun := 0
	for _, effect := range effects {
		switch effect := effect.(type) {
		case Propose, Submit, Cancel, Observe:
			begun++
		case Moved:
			if effect.From == Building && effect.To == Cancelling && effect.Cause != CancelAsked && p.m.cancelEnded == next.m.head.hash {
				x.t.Fatalf("cancelling begins again at the block where it ended:%s", next)
			}
		case Abort, Release, Settle, Revive, Forget, Backoff, Alert, ManualDone:
		}
	}
	answered := before.kind != idle && !sameWork(before, next.m.work)
	if begun > 1 || begun == 1 && before.kind != idle && !answered {
		x.t.Fatalf("%d pieces of work begun by one event, before it %+v:%s", begun, before, next)
	}
	x.visit(next)
}

func sameWork(a, b work) bool { return a.kind == b.kind && a.seq == b.seq && a.attempt == b.attempt }

func (x *explorer) visit(p *path) {
	if p.m.nonce > 2 || len(p.m.attempts) > 3 || p.m.paused && len(p.m.attempts) > 1 {
		return
	}
	if reason := unsound(p.m); reason != "" {
		x.t.Fatalf("%s:%s", reason, p)
	}
	key := essenceOf(p.m)
	if x.seen[key] {
		return
	}
	x.seen[key] = true
	x.queue = append(x.queue, p)
	if p.m.state == Stopped {
		return
	}
	for _, fair := range []fairness{allIsMined, allIsRefused} {
		if m := p.m.Clone(); !fair.leadsBack(m) {
			x.t.Fatalf("no way back to Building by %s, stuck as %+v:%s", fair.name, m.Status(), p)
		}
	}
}

// unsound says what is wrong with a state, if anything.
func unsound(m *Machine) string {
	begins := m.due && (m.state == Building && !m.paused || m.state == Cancelling) || m.nonceDoubtful
	switch {
	case m.state != Stopped && m.work.kind == idle && !m.backoff.running && begins:
		return "work is wanted, and not begun"
	case m.state == Building && m.work.kind == idle && len(m.asked) > 0:
		return "a manual call waits, and nothing is begun"
	case len(m.serving) > 0 && m.work.kind != proposing && m.work.kind != submitting && m.work.kind != observing:
		return "a manual call is in service, and nothing is in flight"
	case !slices.IsSortedFunc(m.attempts, func(a, b Attempt) int { return int(a.ID) - int(b.ID) }):
		return "attempts are not in order"
	case m.state == Pending && m.hitWaits():
		return "a bundle that would revert is waited for"
	}
	for i := range m.attempts {
		a := &m.attempts[i]
		if a.Hit && (a.Kind != KindBundle || a.Status == StatusMined || a.Status == StatusRefused) {
			return fmt.Sprintf("attempt %d is a %s, %s, and hit", a.ID, a.Kind, a.Status)
		}
		if a.Status == StatusSending && !m.inFlight(a.ID) {
			return fmt.Sprintf("attempt %d is sending, and not in flight", a.ID)
		}
	}
	for op := range m.held {
		if !m.isIn(op, m.mayBeMined) {
			return "an operation is held that is in no transaction that may be mined"
		}
	}
	return ""
}

// essence is what matters of a machine for its future, with growing numbers made relative and counters capped.
type essence struct {
	state                                           State
	auto, headKnown, nonceKnown                     bool
	paused, cancelAsked                             bool
	nonce, feeIncreases, cancelIncreases            uint64
	underpriced                                     bool
	since, until                                    uint64
	due, doubtful, backsOff                         bool
	failures                                        int
	work                                            workKind
	stale                                           bool
	workNonce, asked, serving                       int
	wentBack                                        bool
	newest                                          bool // what decides at the current nonce
	newestKind                                      Kind
	newestStatus                                    AttemptStatus
	waits, free, hitWaits, cancelEnded              bool
	someLater, someMined, someOvertaken, someAreHit bool // attempts that may come back or up
}

func essenceOf(m *Machine) essence {
	e := essence{
		state: m.state, auto: m.auto, paused: m.paused, cancelAsked: m.cancelAsked, headKnown: m.head.known, nonceKnown: m.nonceKnown,
		nonce: min(m.nonce, 1), feeIncreases: min(m.feeIncreases, 1), cancelIncreases: min(m.cancelIncreases, 2),
		underpriced: m.underpriced, due: m.due, doubtful: m.nonceDoubtful,
		backsOff: m.backoff.running, failures: min(m.backoff.row, 1),
		work: m.work.kind, stale: m.work.stale, workNonce: cmp.Compare(m.work.nonce, m.nonce),
		asked: len(m.asked), serving: len(m.serving), wentBack: m.wentBack.seen,
		waits: m.waitsAtNonce(), free: m.floor().IsZero(), hitWaits: m.hitWaits(), cancelEnded: m.cancelEnded == m.head.hash,
	}
	if m.underpriced {
		e.since = min(since(m.head.number, m.underpricedSince), 1)
	}
	if m.state == Pending || m.state == CancelPending {
		e.until = since(m.until, m.head.number)
	}
	if a := m.newestAt(); a != nil {
		e.newest, e.newestKind, e.newestStatus = true, a.Kind, a.Status
	}
	for i := range m.attempts {
		a := &m.attempts[i]
		e.someLater = e.someLater || a.Nonce > m.nonce && m.live(a)
		e.someMined = e.someMined || a.Status == StatusMined
		e.someOvertaken = e.someOvertaken || m.overtaken(a)
		e.someAreHit = e.someAreHit || a.Hit
	}
	return e
}

// events are all that may happen to the machine where it stands.
func (x *explorer) events(m *Machine) []Event {
	out := []Event{LeaseLost{}, nextHead(m, nil)}
	if !m.paused {
		out = append(out, IntervalElapsed{}, ModeSet{Auto: !m.auto})
	}
	// What an operator does would double the states: it is tried where it is not much like elsewhere. Random worlds do the rest.
	if m.paused || m.auto && len(m.attempts) < 2 && m.backoff.row == 0 {
		out = append(out, PauseSet{Paused: !m.paused}, CancelNow{})
	}
	if len(m.asked)+len(m.serving) == 0 {
		out = append(out, SendNow{Call: 1})
	}
	if m.backoff.running {
		out = append(out, Retry{Seq: m.backoff.seq})
	}
	if !m.paused && m.nonceKnown && len(m.attempts) < 3 && !slices.ContainsFunc(m.attempts, func(a Attempt) bool { return a.Kind == KindForeign }) {
		out = append(out, ForeignPending{Nonce: m.nonce, Hash: common.Hash{1: byte(m.nextAttempt)}, Fees: makeFees(200, 20)})
	}
	for _, o := range observations(m) {
		out = append(out, nextHead(m, &o))
		if m.work.kind == observing {
			out = append(out, Observed{Seq: m.work.seq, Number: m.head.number, Hash: m.head.hash, Observation: o})
		}
	}
	return append(out, answersTo(m)...)
}

func nextHead(m *Machine, o *Observation) Head {
	n := m.head.number + 1
	return Head{Number: n, Hash: common.Hash{30: byte(n >> 8), 31: byte(n)}, Observation: o}
}

// observations are what the chain may say: nothing new, one of ours mined or reverted or reorged out or gone or hit, another's, one less.
func observations(m *Machine) []Observation {
	out := []Observation{{Nonce: m.nonce}, {Nonce: m.nonce + 1}}
	if m.nonce > 0 {
		out = append(out, Observation{Nonce: m.nonce - 1})
	}
	for _, a := range m.Watch() {
		out = append(out, Observation{Nonce: max(m.nonce, a.Nonce+1), Mined: []Mined{{Attempt: a.ID, Block: m.head.number}}})
		if a.Kind == KindBundle {
			out = append(out,
				Observation{Nonce: max(m.nonce, a.Nonce+1), Mined: []Mined{{Attempt: a.ID, Block: m.head.number, Reverted: true}}},
				Observation{Nonce: m.nonce, Hit: []AttemptID{a.ID}})
		}
		if a.Nonce == m.nonce {
			out = append(out, Observation{Nonce: m.nonce, Dropped: []AttemptID{a.ID}})
		}
	}
	for _, a := range m.Settled() {
		out = append(out,
			Observation{Nonce: a.Nonce, Reorged: []AttemptID{a.ID}},
			Observation{Nonce: a.Nonce, Reorged: []AttemptID{a.ID}, Hit: []AttemptID{a.ID}},
			Observation{Nonce: a.Nonce + 1, Reorged: []AttemptID{a.ID}},
			Observation{Nonce: a.Nonce + 1, Reorged: []AttemptID{a.ID}, Mined: []Mined{{Attempt: a.ID, Block: m.head.number}}})
	}
	return out
}

func answersTo(m *Machine) []Event {
	var out []Event
	hash := common.Hash{0: 1, 31: byte(m.work.attempt)}
	switch m.work.kind {
	case proposing:
		for r := range reasonNames {
			out = append(out, NothingToSend{Seq: m.work.seq, Reason: NothingReason(r)})
		}
		fees := makeFees(100, 10)
		if floor := m.work.propose.Floor; !floor.IsZero() {
			out = append(out, BundleReady{Seq: m.work.seq, Fees: makeFees(1, 1), Operations: []common.Hash{op("a")}})
			fees = floor
		}
		free := op(fmt.Sprintf("n%d", m.nonce)) // one per nonce: an operation is mined once
		out = append(out, BundleReady{Seq: m.work.seq, Fees: fees, Operations: []common.Hash{free}})
	case submitting:
		out = append(out, Signed{Attempt: m.work.attempt, Hash: hash})
		for o := range outcomeNames {
			out = append(out, Submitted{Attempt: m.work.attempt, Hash: hash, Outcome: Outcome(o)})
		}
	case cancelling:
		out = append(out, Signed{Attempt: m.work.attempt, Hash: hash, Fees: makeFees(300, 30)}, SoftCancelled{m.work.attempt}, NothingToCancel{m.work.attempt})
		for o := range outcomeNames {
			out = append(out, CancelSubmitted{Attempt: m.work.attempt, Hash: hash, Fees: makeFees(300, 30), Outcome: Outcome(o)})
		}
	case observing:
		out = append(out, Observed{Seq: m.work.seq, Failed: true})
	case idle:
	}
	return out
}

// fairness is a world in which everything ends: what waits is mined, or all is refused and nothing more is wanted.
type fairness struct {
	name    string
	outcome Outcome
	mines   bool
}

var (
	allIsMined   = fairness{"everything accepted and mined", Accepted, true}
	allIsRefused = fairness{"everything refused and nothing mined", Rejected, false}
)

func (f fairness) leadsBack(m *Machine) bool {
	for range 100 {
		settled := m.state == Building && m.work.kind == idle && !m.backoff.running && !m.nonceDoubtful
		if settled && (!f.mines || !m.waitsAtNonce()) {
			return true
		}
		m.Step(f.next(m))
	}
	return false
}

func (f fairness) next(m *Machine) Event {
	hash := common.Hash{0: 1, 31: byte(m.work.attempt)}
	switch m.work.kind {
	case proposing:
		return NothingToSend{Seq: m.work.seq, Reason: NoOperations}
	case submitting:
		return Submitted{Attempt: m.work.attempt, Hash: hash, Outcome: f.outcome}
	case cancelling:
		return CancelSubmitted{Attempt: m.work.attempt, Hash: hash, Fees: makeFees(300, 30), Outcome: f.outcome}
	case observing:
		return Observed{Seq: m.work.seq, Number: m.head.number, Hash: m.head.hash, Observation: Observation{Nonce: m.nonce}}
	case idle:
	}
	if m.backoff.running {
		return Retry{Seq: m.backoff.seq}
	}
	// What is hit stays hit.
	hit := m.selectAttempts(func(a *Attempt) bool { return a.Hit })
	o := Observation{Nonce: m.nonce}
	for _, a := range hit {
		o.Hit = append(o.Hit, a.ID)
	}
	if a := m.newestAt(); f.mines && a != nil {
		o = Observation{Nonce: m.nonce + 1, Mined: []Mined{{Attempt: a.ID, Block: m.head.number + 1}}}
	}
	return nextHead(m, &o)
}
