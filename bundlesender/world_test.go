package bundlesender

import (
	"fmt"
	"math/big"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"baler/gas"
)

// world is everything around a machine, simple on purpose: a chain, a node's transaction pool with its replacement rule, a rival
// that mines some of our operations, a pool of operations with claims, and the shell with its answers in flight. It checks what the
// machine promises after every step.
type world struct {
	t      fataler
	choose chooser
	cfg    Config
	m      *Machine
	log    []string

	chain   []block // the account's view: what each block holds of this key
	number  uint64
	fork    byte
	price   uint64                 // max fee under which no block includes a transaction
	waiting map[uint64]common.Hash // the node's pool: nonce → transaction
	txs     map[common.Hash]*tx    // every transaction that ever reached a node: it may be mined while its nonce is open

	ops     map[common.Hash]opState
	handed  map[common.Hash]bool // claimed for the proposal in flight
	raced   map[common.Hash]bool // mined while the proposal that has them was made
	nextOp  int
	settled map[AttemptID]bool
	minedBy map[common.Hash]common.Hash // operation → the transaction of the chain that mined it

	work     Effect // in flight: Propose, Submit, Cancel or Observe
	wait     *Backoff
	signed   bool
	calls    map[CallID]bool // unanswered
	nextCall CallID
	faulty   bool // faults may happen
	doubt    bool // a reorg happened: two nonces may be live, and released operations may come back

	mayGiveUp bool                 // the event is one at which the operations of reverted bundles may be given back
	givenUp   map[common.Hash]bool // and not held since

	lastFloor   gas.Fees
	cancelEnded common.Hash // head
	begun       int         // proposals, submissions, cancellations and observations since the world last moved
	mined       int
	counted     counts
}

// counts say how lively a world was.
type counts struct{ hit, replaced, cancelled, reverted int }

type fataler interface {
	Fatalf(format string, args ...any)
}

// chooser draws from [0, n): rapid's or a seeded generator's.
type chooser func(n int, label string) int

type opState uint8

const (
	opFree opState = iota
	opClaimed
	opSettled
)

type tx struct {
	id    AttemptID // 0: foreign
	nonce uint64
	fees  gas.Fees
	ops   []common.Hash
}

type block struct {
	hash  common.Hash
	rival map[common.Hash]common.Hash // operations that a rival mined, and in which transactions
	txs   []common.Hash               // the key's, after them
	nonce uint64                      // the account's, after the block
}

func newWorld(t fataler, choose chooser, cfg Config) *world {
	w := &world{
		t: t, choose: choose, cfg: cfg, m: New(cfg), number: 100, price: 50, faulty: true,
		waiting: map[uint64]common.Hash{}, txs: map[common.Hash]*tx{}, ops: map[common.Hash]opState{},
		handed: map[common.Hash]bool{}, settled: map[AttemptID]bool{}, calls: map[CallID]bool{},
		minedBy: map[common.Hash]common.Hash{}, givenUp: map[common.Hash]bool{},
	}
	w.chain = []block{{hash: w.blockHash()}}
	return w
}

func (w *world) one(in int, label string) bool { return w.choose(in, label) == 0 }
func (w *world) fault(in int, label string) bool {
	return w.faulty && w.one(in, label)
}
func (w *world) nonce() uint64 { return w.chain[len(w.chain)-1].nonce }

func (w *world) blockHash() common.Hash {
	return common.Hash{0: w.fork, 30: byte(w.number >> 8), 31: byte(w.number)}
}

func (w *world) fail(format string, args ...any) {
	history := w.log[max(0, len(w.log)-60):]
	text := ""
	for _, l := range history {
		text += l + "\n"
	}
	w.t.Fatalf("%s\n%s", text, fmt.Sprintf(format, args...))
}

// step gives the machine an event, runs its effects and checks everything.
func (w *world) step(e Event) {
	w.log = append(w.log, w.tell(e))
	nothing, _ := e.(NothingToSend)
	pause, _ := e.(PauseSet)
	w.mayGiveUp = w.m.paused || pause.Paused || nothing.Reason == SignerCannotPay
	nonce := w.m.nonce
	effects := w.m.Step(e)
	if w.m.nonce != nonce {
		w.moved() // the chain went on: what follows is not a repetition
	}
	for _, effect := range effects {
		w.log = append(w.log, "    "+describe(effect))
		w.run(effect)
	}
	w.check()
}

// tell writes an event for the history of a failure.
func (w *world) tell(e Event) string {
	switch e := e.(type) {
	case Head:
		if e.Observation != nil {
			return fmt.Sprintf("Head %d.%d %+v, price %d", w.number, w.fork, *e.Observation, w.price)
		}
		return fmt.Sprintf("Head %d.%d", w.number, w.fork)
	case BundleReady:
		return fmt.Sprintf("BundleReady #%d %s %s claimed %s", e.Seq, feeText(e.Fees), names(e.Operations), names(e.Claimed))
	case Observed:
		return fmt.Sprintf("Observed #%d failed %v %d.%d %+v", e.Seq, e.Failed, w.number, w.fork, e.Observation)
	default:
		return fmt.Sprintf("%T %v", e, e)
	}
}

func (w *world) run(e Effect) {
	switch e := e.(type) {
	case Propose:
		w.begin(e)
		w.lastFloor = e.Floor
	case Submit:
		w.begin(e)
		w.checkSubmit(e)
	case Cancel:
		w.begin(e)
		w.checkCancel(e)
	case Observe:
		w.begin(e)
	case Abort:
		if p, ok := w.work.(Propose); !ok || p.Seq != e.Seq {
			w.fail("Abort of a proposal that is not in flight")
		}
	case Backoff:
		w.wait = &e
	case Release:
		w.release(e)
	case Settle:
		w.settle(e)
	case Revive:
		w.revive(e)
	case ManualDone:
		if !w.calls[e.Call] {
			w.fail("call %d answered twice", e.Call)
		}
		delete(w.calls, e.Call)
	case Moved:
		w.checkMoved(e)
	case Forget, Alert:
	}
}

func (w *world) checkMoved(e Moved) {
	switch {
	case e.Cause == WasHit:
		w.counted.hit++
	case e.From == Building && e.To == Cancelling:
		if w.cancelEnded == w.m.head.hash && e.Cause != CancelAsked { // a person may, by hand
			w.fail("cancelling begins again at the block where it ended")
		}
		if w.m.hitWaits() {
			w.counted.cancelled++
		}
	case e.To == Building && (e.From == Cancelling || e.From == CancelPending):
		w.cancelEnded = w.m.head.hash
	}
}

func (w *world) begin(e Effect) {
	if w.work != nil {
		w.fail("%s while %s is in flight", describe(e), describe(w.work))
	}
	w.work, w.signed = e, false
	w.begun++
	if w.begun > 6 {
		w.fail("%d pieces of work begun without a wait", w.begun)
	}
}

func (w *world) release(e Release) {
	for _, op := range e.Operations {
		if w.m.isIn(op, func(a *Attempt) bool { return a.Reverted }) && !w.mayGiveUp && !w.givenUp[op] {
			w.fail("operation %s released, but it is in a bundle that reverted, and a reorg may bring it back", names([]common.Hash{op}))
		}
		if w.ops[op] != opClaimed {
			w.fail("operation %s released, but it is not claimed", names([]common.Hash{op}))
		}
		if tx := w.mayMine(op); tx != nil && !w.doubt {
			w.fail("operation %s released, but it is in transaction %d of nonce %d", names([]common.Hash{op}), tx.id, tx.nonce)
		}
		w.ops[op], w.givenUp[op] = opFree, true
		delete(w.handed, op)
	}
}

// mayMine returns a transaction with the operation that may be mined after the block that the machine knows of.
func (w *world) mayMine(op common.Hash) *tx {
	for _, tx := range w.txs {
		if tx.nonce >= w.m.nonce && slices.Contains(tx.ops, op) {
			return tx
		}
	}
	return nil
}

func (w *world) settle(e Settle) {
	if w.settled[e.Attempt] {
		w.fail("attempt %d settled twice", e.Attempt)
	}
	w.settled[e.Attempt] = true
	w.mined++
	if e.Reverted {
		w.counted.reverted++
		return
	}
	for _, op := range e.Operations {
		if w.ops[op] != opClaimed && !w.doubt {
			w.fail("operation %s settled, but it is not claimed", names([]common.Hash{op}))
		}
		if w.ops[op] == opSettled {
			w.fail("operation %s settled twice", names([]common.Hash{op}))
		}
		w.ops[op] = opSettled
		delete(w.handed, op)
	}
}

func (w *world) revive(e Revive) {
	if !w.settled[e.Attempt] {
		w.fail("attempt %d revived, but it is not settled", e.Attempt)
	}
	delete(w.settled, e.Attempt)
	for _, op := range e.Operations {
		w.ops[op] = opClaimed
	}
	if t := w.txs[e.Hash]; t != nil && t.nonce >= w.nonce() {
		w.waiting[t.nonce] = e.Hash
	}
}

// atLeast says whether x ≥ y × (1 + percent), in exact arithmetic.
func atLeast(x, y *big.Int, percent uint64) bool {
	left := new(big.Int).Mul(x, big.NewInt(100))
	right := new(big.Int).Mul(y, new(big.Int).SetUint64(100+percent))
	return left.Cmp(right) >= 0
}

func (w *world) checkSubmit(s Submit) {
	a := s.Attempt
	if a.Nonce != w.m.nonce {
		w.fail("submitted at nonce %d, have nonce %d", a.Nonce, w.m.nonce)
	}
	for _, b := range w.m.attempts {
		if b.ID == a.ID || b.Abandoned || b.Nonce != a.Nonce {
			continue
		}
		if !atLeast(a.Fees.MaxFee.ToBig(), b.Fees.MaxFee.ToBig(), w.cfg.ReplacementFeePercentIncrease) ||
			!atLeast(a.Fees.MaxPriority.ToBig(), b.Fees.MaxPriority.ToBig(), w.cfg.ReplacementFeePercentIncrease) {
			w.fail("fees %s after %s of attempt %d", feeText(a.Fees), feeText(b.Fees), b.ID)
		}
	}
	for _, op := range a.Operations {
		if _, mined := w.minedBy[op]; mined && !w.raced[op] {
			w.fail("attempt %d has operation %s, which was mined before it was proposed", a.ID, names([]common.Hash{op}))
		}
	}
	for _, b := range w.m.attempts {
		if b.Nonce != a.Nonce && w.m.live(&b) && slices.ContainsFunc(a.Operations, func(op common.Hash) bool { return slices.Contains(b.Operations, op) }) {
			w.fail("attempt %d of nonce %d shares operations with attempt %d of nonce %d", a.ID, a.Nonce, b.ID, b.Nonce)
		}
	}
	if w.doubt {
		return
	}
	for _, t := range w.txs {
		if t.id != 0 && t.nonce >= w.m.nonce && t.nonce != a.Nonce {
			w.fail("submitted at nonce %d while a transaction of nonce %d is live", a.Nonce, t.nonce)
		}
	}
}

// check compares the machine with the world.
func (w *world) check() {
	held := w.m.Record().Held
	for _, op := range held {
		if w.ops[op] != opClaimed {
			w.fail("machine holds %s, the pool says it is not claimed", names([]common.Hash{op}))
		}
		delete(w.givenUp, op)
		if !w.m.isIn(op, w.m.mayBeMined) {
			w.fail("machine holds %s, which is in no transaction that may be mined, now or after a reorg", names([]common.Hash{op}))
		}
	}
	for op, state := range w.ops {
		if state == opClaimed && !w.m.Holds(op) && !w.handed[op] {
			w.fail("operation %s is claimed, and nobody holds it", names([]common.Hash{op}))
		}
	}
	watched := map[common.Hash]bool{}
	for _, a := range w.m.Watch() {
		watched[a.Hash] = true
	}
	for hash, t := range w.txs {
		if t.id != 0 && t.nonce >= w.m.nonce && w.m.nonceKnown && !watched[hash] && w.m.state != Stopped && !w.m.minedAt(t.nonce) {
			w.fail("transaction %d of nonce %d may be mined and is not tracked", t.id, t.nonce)
		}
	}
	if w.m.state == Pending && w.m.hitWaits() && !w.m.nonceDoubtful {
		w.fail("what would revert is waited for")
	}
	if w.m.state == Pending && !w.m.waitsAtNonce() && len(w.m.attempts) == 0 {
		w.fail("Pending, and nothing waits")
	}
	if len(w.m.attempts) > 200 {
		w.fail("%d attempts in the record", len(w.m.attempts))
	}
}
