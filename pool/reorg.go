package pool

import (
	"slices"

	"baler/erc7562"

	"github.com/ethereum/go-ethereum/common"
)

// history is what was mined in the last blocks: what a reorg brings back.
type history struct {
	records []record // ascending by block
	next    map[laneKey]mark
	marks   []mark // as they were set, to forget them in that order
}

// record is one included operation.
type record struct {
	block    uint64
	key      laneKey
	sequence uint64     // its nonce's
	left     []departed // what left the pool because of it, by nonce
}

// departed is an operation that left, with its place in the order of arrival.
type departed struct {
	Removed
	arrival uint64
	builder string // whose it was: it had claimed it, or has it in a transaction
}

// mark is the chain's next sequence of a lane, as of a block.
type mark struct {
	key      laneKey
	sequence uint64
	block    uint64
}

func newHistory() history { return history{next: make(map[laneKey]mark)} }

// sequence returns the chain's next sequence of a lane, if something was mined there lately.
func (h *history) sequence(k laneKey) (uint64, bool) {
	m, ok := h.next[k]
	return m.sequence, ok
}

func (h *history) set(m mark) {
	h.next[m.key] = m
	h.marks = append(h.marks, m)
}

func (h *history) add(r record) {
	at := len(h.records)
	for at > 0 && h.records[at-1].block > r.block {
		at--
	}
	h.records = slices.Insert(h.records, at, r)
	if next, ok := h.sequence(r.key); !ok || next <= r.sequence {
		h.set(mark{r.key, r.sequence + 1, r.block})
	}
}

// cut takes the records of the blocks after parent out, the latest first.
func (h *history) cut(parent uint64) []record {
	at := len(h.records)
	for at > 0 && h.records[at-1].block > parent {
		at--
	}
	orphaned := slices.Clone(h.records[at:])
	clear(h.records[at:])
	h.records = h.records[:at]
	slices.Reverse(orphaned)
	for _, r := range orphaned {
		h.set(mark{r.key, r.sequence, parent})
	}
	return orphaned
}

// prune forgets what is depth blocks or more below the head.
func (h *history) prune(head, depth uint64) {
	old := func(block uint64) bool { return block+depth <= head }
	n := 0
	for n < len(h.records) && old(h.records[n].block) {
		n++
	}
	h.records = slices.Delete(h.records, 0, n)
	n = 0
	for ; n < len(h.marks) && old(h.marks[n].block); n++ {
		if m := h.marks[n]; h.next[m.key] == m {
			delete(h.next, m.key)
		}
	}
	h.marks = slices.Delete(h.marks, 0, n)
}

// Reorg tells the pool that the blocks after parent are no longer part of the chain. What left the pool because of
// them returns, oldest block first, whatever the limits on counts and deposits: it was admitted once. What a builder
// held when it was mined is its again until the block number claimUntil, because its transaction is in flight again.
//
// It returns what came back, and what left: operations behind a nonce that came back unless they follow it directly,
// and the worst paying if the pool is too full now.
func (p *Pool) Reorg(parent, claimUntil uint64) (revived []*Operation, removed []Removed) {
	for _, r := range p.history.cut(parent) {
		for _, x := range slices.Backward(r.left) {
			removed = append(removed, p.revive(x, claimUntil)...)
			if p.ops[x.Operation.Hash] != nil {
				revived = append(revived, x.Operation)
			}
		}
	}
	removed = append(removed, p.shrink()...)
	slices.Reverse(revived)
	return revived, removed
}

// revive puts an operation that was mined, or made impossible by one that was, back into its lane.
func (p *Pool) revive(x departed, claimUntil uint64) (removed []Removed) {
	op := x.Operation
	if x.Reason == Mined {
		p.count(op, excluded)
	}
	if p.ops[op.Hash] != nil {
		return nil
	}
	for _, y := range op.all() {
		if p.status(y.address) == Banned {
			return nil
		}
	}
	if p.checkDelegate(op, nil) != nil {
		return nil
	}
	seq := op.Op.NonceSequence()
	if l := p.lanes[newLaneKey(op.EntryPoint.Address, op.Op.Sender, &op.Op.Nonce)]; l != nil {
		if l.at(seq) != nil || seq > l.last().seq+1 {
			return nil
		}
		if seq+1 < l.first().seq {
			removed = p.cut(l.first(), PredecessorRemoved, erc7562.NoEntity)
		}
	}
	if x.Reason != Mined {
		p.charge(op)
	}
	e := p.newEntry(op)
	e.arrival = x.arrival
	p.attach(e)
	if x.builder != "" {
		p.Carry(x.builder, []common.Hash{op.Hash}, claimUntil)
	}
	return removed
}

// shrink evicts the worst paying operations that no builder holds until the pool is within its bytes.
func (p *Pool) shrink() []Removed {
	var removed []Removed
	for p.bytes > p.config.MaxBytes {
		w := p.tails.walkBack(p.baseFee())
		for w.peek() != nil && w.peek().lane.account.claim.tokens != 0 {
			w.next()
		}
		if w.peek() == nil {
			return removed
		}
		removed = append(removed, p.cut(w.peek(), Evicted, erc7562.NoEntity)...)
	}
	return removed
}
