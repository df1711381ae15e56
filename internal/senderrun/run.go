// Package senderrun leads a bundle sender's machine through a random life, for tests of what stands around it: the
// journal, the store, the replay.
//
// In: a source of choices. Out: one event after the other, such as a real shell could bring: blocks that mine, drop, reorg or
// ignore the key's transactions, answers to what the machine asked for in any order, manual calls, changes of mode. It
// promises that each effect that wants an answer is answered once. It checks nothing about the machine: package bundlesender's
// own tests do.
package senderrun

import (
	"encoding/binary"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"

	"baler/bundlesender"
	"baler/gas"
)

// Run is one life of a machine. Its fields may be read.
type Run struct {
	Config  bundlesender.Config
	Machine *bundlesender.Machine

	choose  func(n int) int
	waiting []bundlesender.Effect // to be answered
	signed  map[bundlesender.AttemptID]bool
	nonce   uint64 // of the account, at the head
	head    uint64
	forks   uint64
	calls   bundlesender.CallID
	ops     uint64
	mined   []minedAttempt // on the canonical chain, oldest first
}

type minedAttempt struct {
	id    bundlesender.AttemptID
	nonce uint64
	block uint64
	hash  common.Hash
}

// New begins a life. choose(n) returns a number from 0 to n-1.
func New(cfg bundlesender.Config, choose func(n int) int) *Run {
	return &Run{Config: cfg, Machine: bundlesender.New(cfg), choose: choose, signed: make(map[bundlesender.AttemptID]bool)}
}

// Step gives the machine an event and takes note of what it wants answered.
func (r *Run) Step(e bundlesender.Event) []bundlesender.Effect {
	effects := r.Machine.Step(e)
	r.Wants(effects)
	return effects
}

// Wants takes note of effects, where somebody else gives the machine its events.
func (r *Run) Wants(effects []bundlesender.Effect) {
	for _, effect := range effects {
		switch effect.(type) {
		case bundlesender.Propose, bundlesender.Submit, bundlesender.Cancel, bundlesender.Observe, bundlesender.Backoff:
			r.waiting = append(r.waiting, effect)
		default: // wants no answer
		}
	}
}

// Restarted goes on with a machine restored after a crash: what was in flight gets no answer any more.
func (r *Run) Restarted(m *bundlesender.Machine) {
	r.Machine, r.waiting = m, nil
	clear(r.signed)
}

// Next returns the next event.
func (r *Run) Next() bundlesender.Event {
	switch n := r.choose(10); {
	case n < 6 && len(r.waiting) > 0:
		return r.answer()
	case n == 6:
		return bundlesender.IntervalElapsed{}
	case n == 7 && r.choose(4) == 0:
		r.calls++
		return bundlesender.SendNow{Call: r.calls}
	case n == 8 && r.choose(8) == 0:
		return bundlesender.ModeSet{Auto: r.choose(4) > 0}
	case n == 8 && r.choose(8) == 0:
		return bundlesender.PauseSet{Paused: r.choose(3) == 0}
	case n == 8 && r.choose(8) == 0:
		return bundlesender.CancelNow{}
	case n == 9 && r.choose(16) == 0:
		return bundlesender.ForeignPending{Nonce: r.nonce, Hash: hashOf("foreign", r.head), Fees: r.fees()}
	default:
		return r.nextHead()
	}
}

// nextHead makes a block, or replaces the last ones.
func (r *Run) nextHead() bundlesender.Head {
	r.head++
	var o bundlesender.Observation
	if len(r.mined) > 0 && r.choose(12) == 0 {
		r.forks++
		last := r.mined[len(r.mined)-1]
		r.mined = r.mined[:len(r.mined)-1]
		r.nonce = last.nonce
		if slices.ContainsFunc(r.Machine.Settled(), func(a bundlesender.Attempt) bool { return a.ID == last.id }) {
			o.Reorged = append(o.Reorged, last.id)
		}
	}
	h := bundlesender.Head{Number: r.head, Hash: hashOf("block", r.head, r.forks)}
	for _, a := range r.Machine.Watch() {
		switch {
		case a.Nonce == r.nonce && r.choose(4) == 0:
			r.nonce++
			r.mined = append(r.mined, minedAttempt{a.ID, a.Nonce, h.Number, h.Hash})
			o.Mined = append(o.Mined, bundlesender.Mined{Attempt: a.ID, Block: h.Number, Hash: h.Hash})
		case r.choose(16) == 0:
			o.Dropped = append(o.Dropped, a.ID)
		}
	}
	o.Nonce = r.nonce
	if len(r.Machine.Watch()) > 0 || len(o.Reorged) > 0 {
		h.Observation = &o
	}
	return h
}

// answer ends one of the effects in flight.
func (r *Run) answer() bundlesender.Event {
	i := r.choose(len(r.waiting))
	effect := r.waiting[i]
	done := func() { r.waiting = slices.Delete(r.waiting, i, i+1) }
	switch e := effect.(type) {
	case bundlesender.Observe:
		done()
		return bundlesender.Observed{
			Seq: e.Seq, Failed: r.choose(10) == 0, Number: r.head, Hash: hashOf("block", r.head, r.forks),
			Observation: bundlesender.Observation{Nonce: r.nonce},
		}
	case bundlesender.Backoff:
		done()
		return bundlesender.Retry{Seq: e.Seq}
	case bundlesender.Propose:
		done()
		return r.proposed(e)
	case bundlesender.Submit:
		hash := hashOf("tx", uint64(e.Attempt.ID))
		if !r.signed[e.Attempt.ID] && r.choose(10) > 0 {
			r.signed[e.Attempt.ID] = true
			return bundlesender.Signed{Attempt: e.Attempt.ID, Hash: hash, Fees: e.Attempt.Fees}
		}
		done()
		if !r.signed[e.Attempt.ID] {
			return bundlesender.Submitted{Attempt: e.Attempt.ID, Outcome: bundlesender.NotSent}
		}
		return bundlesender.Submitted{Attempt: e.Attempt.ID, Hash: hash, Outcome: r.outcome()}
	case bundlesender.Cancel:
		return r.cancelled(e, done)
	default:
		done()
		return bundlesender.IntervalElapsed{}
	}
}

func (r *Run) proposed(e bundlesender.Propose) bundlesender.Event {
	if r.choose(3) == 0 {
		return bundlesender.NothingToSend{Seq: e.Seq, Reason: bundlesender.NothingReason(r.choose(int(bundlesender.ProposerError) + 1))}
	}
	ready := bundlesender.BundleReady{Seq: e.Seq, Fees: gas.Max(e.Floor, r.fees()), GasLimit: 100_000}
	for range 1 + r.choose(3) {
		r.ops++
		ready.Operations = append(ready.Operations, hashOf("op", r.ops))
	}
	ready.Claimed = append(slices.Clone(ready.Operations), hashOf("left out", r.ops))
	return ready
}

func (r *Run) cancelled(e bundlesender.Cancel, done func()) bundlesender.Event {
	hash := hashOf("tx", uint64(e.Attempt))
	fees := gas.Max(e.Floor, r.fees())
	switch n := r.choose(12); {
	case n == 0 && !r.signed[e.Attempt]:
		done()
		return bundlesender.SoftCancelled{Attempt: e.Attempt}
	case n == 1 && !r.signed[e.Attempt]:
		done()
		return bundlesender.NothingToCancel{Attempt: e.Attempt}
	case !r.signed[e.Attempt]:
		r.signed[e.Attempt] = true
		return bundlesender.Signed{Attempt: e.Attempt, Hash: hash, Fees: fees}
	default:
		done()
		return bundlesender.CancelSubmitted{Attempt: e.Attempt, Hash: hash, Fees: fees, Outcome: r.outcome()}
	}
}

// outcome is an answer of the node: half of the time it takes what it gets.
func (r *Run) outcome() bundlesender.Outcome {
	if r.choose(2) == 0 {
		return bundlesender.Accepted
	}
	return bundlesender.Outcome(r.choose(int(bundlesender.Unknown) + 1))
}

func (r *Run) fees() gas.Fees {
	tip := uint64(1+r.choose(5)) * 1e8
	return gas.Fees{MaxFee: *uint256.NewInt(1e9 + tip), MaxPriority: *uint256.NewInt(tip)}
}

// hashOf makes a hash that says what it is of.
func hashOf(what string, numbers ...uint64) common.Hash {
	var h common.Hash
	copy(h[:12], what)
	for i, n := range numbers {
		binary.BigEndian.PutUint64(h[16+8*(i%2):], n)
	}
	return h
}
