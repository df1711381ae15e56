package bundlesender

import (
	"maps"
	"slices"

	"github.com/ethereum/go-ethereum/common"
)

// Config are the numbers of the machine. Blocks are numbers of blocks, percentages whole percent.
type Config struct {
	// MaxBlocksToWaitForMine: a transaction not mined this many blocks after it was submitted is replaced.
	MaxBlocksToWaitForMine uint64
	// ReplacementFeePercentIncrease: each replacement pays at least this much more, in both fees.
	ReplacementFeePercentIncrease uint64
	// MaxReplacementUnderpricedBlocks: underpriced and priced out for more than this many blocks, the nonce is cancelled.
	MaxReplacementUnderpricedBlocks uint64
	// MaxCancellationFeeIncreases: after so many, cancelling is given up.
	MaxCancellationFeeIncreases uint64
	// ReorgDepth: a finished attempt is remembered for this many blocks.
	ReorgDepth uint64
	// Manual starts the machine in manual mode.
	Manual bool
}

// DefaultConfig returns the seed's numbers.
func DefaultConfig() Config {
	return Config{
		MaxBlocksToWaitForMine:          2,
		ReplacementFeePercentIncrease:   10,
		MaxReplacementUnderpricedBlocks: 20,
		MaxCancellationFeeIncreases:     15,
		ReorgDepth:                      64,
	}
}

// Machine is one bundle sender: the state and the transaction record of one key. It is not safe for concurrent use.
type Machine struct {
	cfg         Config
	auto        bool
	paused      bool // by an operator: no bundle is proposed
	cancelAsked bool // by an operator, and not begun yet

	state      State
	stateSince uint64     // block
	lastRow    *row       // of the table
	told       func(*row) // of each row that applies; nil but in tests

	head struct {
		known  bool
		number uint64
		hash   common.Hash
	}

	feeIncreases     uint64
	cancelIncreases  uint64
	underpriced      bool
	underpricedSince uint64
	until            uint64
	cancelEnded      common.Hash // head at which cancelling last ended: at most one cancelling is begun and ended per head

	// due: work of the state (a proposal, a cancellation) is wanted as soon as nothing is in flight and no backoff runs.
	due bool
	// nonceDoubtful: the nonce must be read again before anything else is begun.
	nonceDoubtful bool
	backoff       struct {
		running bool
		seq     Seq
		row     int // failures in a row without a wait between them
	}
	work    work
	asked   []CallID // manual calls that the next proposal serves
	serving []CallID // manual calls that the work in flight serves

	nonce      uint64
	nonceKnown bool
	wentBack   struct { // a lower nonce is believed when a second block says so
		seen bool
		hash common.Hash
	}
	nextAttempt AttemptID
	nextSeq     Seq
	attempts    []Attempt // oldest first; the Operations of an attempt are never changed
	held        map[common.Hash]struct{}

	out []Effect
}

// workKind is what is in flight: one thing at most.
type workKind uint8

const (
	idle workKind = iota
	proposing
	submitting
	cancelling
	observing
)

// work is what is in flight.
type work struct {
	kind    workKind
	seq     Seq       // proposing, observing
	attempt AttemptID // submitting, cancelling
	nonce   uint64
	propose Propose // proposing: what was asked for
	stale   bool    // proposing: the answer is of no use any more
}

// New returns a machine in Building that knows nothing of the chain yet.
func New(cfg Config) *Machine {
	return &Machine{cfg: cfg, auto: !cfg.Manual, nextAttempt: 1, nextSeq: 1, held: make(map[common.Hash]struct{})}
}

// Step takes one event and returns what is to be done, in order. It never blocks and never fails: an event that has no
// meaning where the machine stands (a stale id, a second answer) changes nothing.
func (m *Machine) Step(e Event) []Effect {
	m.out = nil
	if m.state == Stopped {
		m.stepStopped(e)
	} else {
		m.step(e)
		m.begin()
	}
	out := m.out
	m.out = nil
	return out
}

func (m *Machine) step(e Event) {
	switch e := e.(type) {
	case Head:
		m.onHead(e)
	case Observed:
		m.onObserved(e)
	case IntervalElapsed:
		m.trigger()
	case SendNow:
		m.onSendNow(e)
	case ModeSet:
		m.onModeSet(e)
	case PauseSet:
		m.onPauseSet(e)
	case CancelNow:
		m.onCancelNow()
	case Retry:
		m.onRetry(e)
	case BundleReady:
		m.onBundleReady(e)
	case NothingToSend:
		m.onNothingToSend(e)
	case Signed:
		m.onSigned(e)
	case Submitted:
		m.onSubmitted(e)
	case CancelSubmitted:
		m.onCancelSubmitted(e)
	case SoftCancelled:
		m.onCancelNotMade(e.Attempt, WasSoftCancelled)
	case NothingToCancel:
		m.onCancelNotMade(e.Attempt, HadNothingToCancel)
	case ForeignPending:
		m.onForeignPending(e)
	case LeaseLost:
		m.fire(LostLease)
	}
}

// stepStopped only notes the answers to what was in flight when the lease was lost.
func (m *Machine) stepStopped(e Event) {
	switch e := e.(type) {
	case SendNow:
		m.emit(ManualDone{Call: e.Call, Err: ErrStopped})
	case BundleReady:
		m.onBundleReady(e)
	case NothingToSend:
		m.onNothingToSend(e)
	case Signed:
		m.onSigned(e)
	case Submitted:
		m.onSubmitted(e)
	case CancelSubmitted:
		m.onCancelSubmitted(e)
	case ModeSet:
		m.auto = e.Auto
	case PauseSet:
		m.paused = e.Paused
	case Head, Observed, IntervalElapsed, CancelNow, Retry, SoftCancelled, NothingToCancel, ForeignPending, LeaseLost:
		// Nothing is begun or concluded any more: the next holder of the key does.
	}
}

func (m *Machine) emit(e Effect) { m.out = append(m.out, e) }

// begin starts the next piece of work, if there is one and nothing is in flight.
func (m *Machine) begin() {
	if m.work.kind != idle || m.state == Stopped {
		return
	}
	if m.cancelAsked {
		m.cancelAsked = false
		m.fire(CancelAsked)
	}
	builds := m.state == Building && !m.paused
	called := builds && len(m.asked) > 0
	if m.backoff.running && !called {
		return
	}
	wanted := called || m.due && (builds || m.state == Cancelling)
	switch {
	case m.nonceDoubtful, wanted && !m.nonceKnown:
		m.work = work{kind: observing, seq: m.seq()}
		m.emit(Observe{Seq: m.work.seq})
	case !wanted:
	case m.state == Building:
		m.propose()
	default:
		m.cancel()
	}
}

func (m *Machine) seq() Seq {
	s := m.nextSeq
	m.nextSeq++
	return s
}

// Clone returns an independent copy.
func (m *Machine) Clone() *Machine {
	c := *m
	c.attempts = slices.Clone(m.attempts)
	c.held = maps.Clone(m.held)
	c.asked = slices.Clone(m.asked)
	c.serving = slices.Clone(m.serving)
	c.out = nil
	return &c
}

// State returns where the machine stands.
func (m *Machine) State() State { return m.state }

// Status is the machine for display.
type Status struct {
	State            State
	Since            uint64 // block
	Cause            string // of the last row of the table that applied
	Auto             bool
	Paused           bool
	Head             uint64
	Nonce            uint64
	NonceKnown       bool
	FeeIncreases     uint64
	CancelIncreases  uint64
	Underpriced      bool
	UnderpricedSince uint64 // block, with Underpriced
	Until            uint64 // block, in Pending and CancelPending
	InFlight         string // "", "proposal", "submission", "cancellation", "observation"
	BackingOff       bool
	Attempts         []Attempt // those that may be mined at the current nonce, oldest first
	Held             int       // operations
}

// Status returns the machine for display.
func (m *Machine) Status() Status {
	cause := "started"
	if m.lastRow != nil {
		cause = m.lastRow.on.String()
	}
	waiting := m.selectAttempts(func(a *Attempt) bool { return a.Nonce == m.nonce && m.live(a) })
	return Status{
		State: m.state, Since: m.stateSince, Cause: cause, Auto: m.auto, Paused: m.paused, Head: m.head.number,
		Nonce: m.nonce, NonceKnown: m.nonceKnown, FeeIncreases: m.feeIncreases, CancelIncreases: m.cancelIncreases,
		Underpriced: m.underpriced, UnderpricedSince: m.underpricedSince, Until: m.until,
		InFlight: workNames[m.work.kind], BackingOff: m.backoff.running, Attempts: waiting, Held: len(m.held),
	}
}

var workNames = [...]string{
	idle: "", proposing: "proposal", submitting: "submission", cancelling: "cancellation", observing: "observation",
}

// Watch returns the transactions whose receipts an Observation must look for, and whose bundles it must judge (Hit): those that may be mined and have a hash, and
// those whose nonce was used by a transaction that we do not know, for as long as a reorg is followed. Empty: the sender is idle and a
// head needs no Observation. No event may be stepped between Watch and the Observation made for it.
func (m *Machine) Watch() []Attempt {
	return m.selectAttempts(func(a *Attempt) bool {
		return a.Hash != (common.Hash{}) && (m.live(a) || m.overtaken(a))
	})
}

// Settled returns the attempts that are mined and still remembered: if the block of one leaves the chain, an Observation
// must name it in Reorged.
func (m *Machine) Settled() []Attempt {
	return m.selectAttempts(func(a *Attempt) bool { return a.Status == StatusMined })
}

// Held returns the operations in transactions that may be mined, after a reorg that takes back what reverted too, in no order.
func (m *Machine) Held() []common.Hash {
	return slices.AppendSeq(make([]common.Hash, 0, len(m.held)), maps.Keys(m.held))
}

// Mined returns the operations that the settled attempts have mined.
func (m *Machine) Mined() (operations []common.Hash) {
	for i := range m.attempts {
		if a := &m.attempts[i]; a.Status == StatusMined && !a.Reverted {
			operations = append(operations, a.Operations...)
		}
	}
	return operations
}

func (m *Machine) selectAttempts(is func(*Attempt) bool) []Attempt {
	var out []Attempt
	for i := range m.attempts {
		if is(&m.attempts[i]) {
			out = append(out, m.attempts[i])
		}
	}
	return out
}

// Submitting says whether a transaction is being signed or sent: until the answer its hash may not be known.
func (m *Machine) Submitting() bool { return m.work.kind == submitting || m.work.kind == cancelling }

// Keeps says whether this sender still has all operations of an attempt. A reorg may bring the nonce of a transaction back that was
// replaced, and whose operations were given back when the nonce was used.
func (m *Machine) Keeps(id AttemptID) bool {
	a := m.attempt(id)
	return a != nil && !slices.ContainsFunc(a.Operations, func(op common.Hash) bool { return !m.Holds(op) })
}

// Holds says whether the operation is one of [Machine.Held].
func (m *Machine) Holds(op common.Hash) bool {
	_, ok := m.held[op]
	return ok
}
