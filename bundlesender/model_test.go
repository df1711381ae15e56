package bundlesender

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"pgregory.net/rapid"
)

// act does one thing that may happen.
func (w *world) act() {
	if w.m.paused && w.one(10, "resume") {
		w.operate()
	}
	switch n := w.choose(100, "act"); {
	case n < 50:
		w.answer()
	case n < 70:
		w.mine()
		w.head()
	case n < 72:
		w.mine() // a head that is not seen
	case n < 75:
		w.head() // the same head again
	case n < 78:
		w.moved()
		w.step(IntervalElapsed{})
	case n < 83:
		if w.wait != nil {
			seq := w.wait.Seq
			w.wait = nil
			w.moved()
			w.step(Retry{Seq: seq})
		}
	case n < 86:
		w.nextCall++
		w.calls[w.nextCall] = true
		w.moved()
		w.step(SendNow{Call: w.nextCall})
	case n < 87:
		w.step(ModeSet{Auto: w.one(2, "auto")})
	case n < 88:
		w.operate()
	case n < 90:
		w.price = 10 + uint64(w.choose(200, "price"))
	case n < 92:
		w.waiting = map[uint64]common.Hash{} // the node forgets its pool
	case n < 94:
		w.crash()
	case n < 96:
		w.stale()
	case n < 98:
		w.foreign()
	default:
		w.reorg()
		w.head()
	}
}

// operate is what an operator does by hand. Resuming begins work like a trigger.
func (w *world) operate() {
	switch {
	case w.m.paused:
		w.moved()
		w.step(PauseSet{})
	case w.one(2, "cancel"):
		w.step(CancelNow{})
	default:
		w.step(PauseSet{Paused: true})
	}
}

// stale sends answers that nobody waits for.
func (w *world) stale() {
	if w.m.nonceDoubtful {
		return // any event begins the observation that is owed
	}
	before := w.m.Clone()
	seq, id := w.m.nextSeq+5, w.m.nextAttempt+5
	for _, e := range []Event{
		BundleReady{Seq: seq, Operations: []common.Hash{op("zz")}},
		NothingToSend{Seq: seq},
		Retry{Seq: seq},
		Observed{Seq: seq},
		Signed{Attempt: id},
		Submitted{Attempt: id},
		CancelSubmitted{Attempt: id},
		SoftCancelled{Attempt: id},
		NothingToCancel{Attempt: id},
	} {
		if effects := w.m.Step(e); len(effects) > 0 {
			w.fail("stale %T had the effects %v", e, effects)
		}
	}
	if have, want := fingerprint(w.m), fingerprint(before); have != want {
		w.fail("stale events changed the machine:\nhave %s\nwant %s", have, want)
	}
}

// foreign puts a transaction of another program with our key into the node's pool.
func (w *world) foreign() {
	nonce := w.nonce()
	if _, occupied := w.waiting[nonce]; occupied || !w.faulty {
		return
	}
	hash := common.Hash{0: 8, 30: byte(w.number >> 8), 31: byte(w.number)}
	fees := makeFees(1+uint64(w.choose(150, "foreign fee")), 1+uint64(w.choose(20, "foreign tip")))
	w.txs[hash] = &tx{nonce: nonce, fees: fees}
	w.waiting[nonce] = hash
	if w.one(2, "foreign is seen") {
		w.step(ForeignPending{Nonce: nonce, Hash: hash, Fees: fees})
	}
}

// fair lets everything go well from here: the machine must find its way back and mine what waits.
func (w *world) fair() {
	w.log = append(w.log, "fair from here")
	w.faulty = false
	w.price = 5
	w.step(ModeSet{Auto: true})
	w.moved() // resuming begins work like a trigger
	w.step(PauseSet{})
	start := w.mined
	for range 400 {
		for w.work != nil {
			w.answer()
		}
		if w.wait != nil {
			seq := w.wait.Seq
			w.wait = nil
			w.moved()
			w.step(Retry{Seq: seq})
			continue
		}
		if w.mined >= start+3 && len(w.calls) == 0 {
			return
		}
		w.mine()
		w.head()
		w.price = max(w.price, 5)
	}
	w.fail("no way back: %d mined, %d calls unanswered, state %s", w.mined-start, len(w.calls), w.m.State())
}

func fingerprint(m *Machine) string {
	r := m.Record()
	slices.SortFunc(r.Held, common.Hash.Cmp)
	return fmt.Sprintf("%+v %+v due %v doubtful %v work %+v backoff %+v asked %v serving %v", r, m.Status(), m.due, m.nonceDoubtful, m.work, m.backoff, m.asked, m.serving)
}

// TestRandomWorlds checks the machine's promises over random lives; rapid shrinks one that breaks them.
func TestRandomWorlds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		choose := func(n int, label string) int { return rapid.IntRange(0, n-1).Draw(rt, label) }
		w := newWorld(rt, choose, worldConfig(choose))
		for range rapid.IntRange(30, 150).Draw(rt, "steps") {
			w.act()
		}
		w.fair()
	})
}

// TestLongWorlds is the same over long lives: more than 10^5 steps altogether.
func TestLongWorlds(t *testing.T) {
	var total counts
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 4337))
		choose := func(n int, _ string) int { return r.IntN(n) }
		w := newWorld(t, choose, worldConfig(choose))
		for range 2000 {
			w.act()
		}
		w.fair()
		if w.mined < 5 {
			t.Errorf("seed %d: have %d transactions mined, want a livelier world", seed, w.mined)
		}
		total.hit += w.counted.hit
		total.replaced += w.counted.replaced
		total.cancelled += w.counted.cancelled
		total.reverted += w.counted.reverted
	}
	t.Logf("%+v", total)
	if total.hit < 500 || total.replaced < 100 || total.cancelled < 100 || total.reverted < 100 {
		t.Errorf("have %+v, want a livelier rival", total)
	}
}

func worldConfig(choose chooser) Config {
	return Config{
		MaxBlocksToWaitForMine:          uint64(1 + choose(3, "wait")),
		ReplacementFeePercentIncrease:   uint64(10 + choose(3, "percent")),
		MaxReplacementUnderpricedBlocks: uint64(choose(4, "underpriced blocks")),
		MaxCancellationFeeIncreases:     uint64(choose(4, "cancels")),
		ReorgDepth:                      64,
		Manual:                          choose(4, "manual") == 0,
	}
}
