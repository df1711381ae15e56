package pool

import (
	"slices"

	"baler/erc7562"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// Inclusion is an operation found in a block: a UserOperationEvent.
type Inclusion struct {
	EntryPoint common.Address
	Sender     common.Address
	Nonce      uint256.Int
	Hash       common.Hash
	Block      uint64
}

// Head tells the pool of the latest block. It returns the operations that left: expired ones, those that waited too
// long, and those of throttled entities after THROTTLED_ENTITY_LIVE_BLOCKS. Operations whose time range begins become
// candidates, claims that ended are given up, and mined operations deeper than ReorgDepth are forgotten.
//
// Call Mined and Reorg for the block before Head. A head may be lower than the one before.
func (p *Pool) Head(h Head) []Removed {
	back := h.Number < p.head.Number || h.Timestamp < p.head.Timestamp
	p.head = h
	if back {
		p.sleep()
	}
	var removed []Removed
	for clock := range p.expiry {
		removed = append(removed, p.expire(clock)...)
	}
	removed = append(removed, p.endThrottled()...)
	for clock := range p.waiting {
		p.wake(clock)
	}
	p.expireClaims()
	p.history.prune(h.Number, p.config.ReorgDepth)
	for k, d := range p.paymasters {
		if d.count == 0 {
			delete(p.paymasters, k)
		}
	}
	return removed
}

// expire removes what ended on a clock.
func (p *Pool) expire(clock int) []Removed {
	var removed []Removed
	for {
		first, ok := p.expiry[clock].Min()
		if !ok || first.key > p.now(clock) {
			return removed
		}
		e, reason := first.entry, TooOld
		if e.ValidUntil == first.key && e.clock() == clock {
			reason = Expired
		}
		removed = append(removed, p.cut(e, reason, erc7562.NoEntity)...)
	}
}

// sleep takes what is no longer valid from the candidates, after a reorg to a lower or earlier head.
func (p *Pool) sleep() {
	for _, l := range p.lanes {
		if first := l.first(); !first.waits && !p.ready(first.Operation) {
			p.unplace(l)
			p.place(l)
		}
	}
}

// wake makes candidates of what became valid on a clock.
func (p *Pool) wake(clock int) {
	for {
		first, ok := p.waiting[clock].Min()
		if !ok || first.key > p.now(clock) {
			return
		}
		l := first.entry.lane
		p.unplace(l)
		p.place(l)
	}
}

// endThrottled removes the operations of throttled entities that lived their blocks (GREP-020).
func (p *Pool) endThrottled() []Removed {
	if len(p.throttled) == 0 {
		return nil
	}
	addresses := make([]common.Address, 0, len(p.throttled))
	for a := range p.throttled {
		addresses = append(addresses, a)
	}
	slices.SortFunc(addresses, common.Address.Cmp)
	var removed []Removed
	for _, a := range addresses {
		for _, e := range p.naming(a) {
			if p.ops[e.Hash] == e && e.AddedBlock+p.config.ThrottledEntityLiveBlocks < p.head.Number {
				removed = append(removed, p.cut(e, ThrottledTooLong, erc7562.NoEntity)...)
			}
		}
	}
	return removed
}

// Mined tells the pool that an operation was included, its own or a stranger's. All pending operations of that lane
// up to the nonce leave; they are kept for ReorgDepth blocks. An included operation that was pending counts for its
// entities (opsIncluded).
func (p *Pool) Mined(in Inclusion) []Removed {
	k := newLaneKey(in.EntryPoint, in.Sender, &in.Nonce)
	r := record{block: in.Block, key: k, sequence: in.Nonce[0]}
	if l := p.lanes[k]; l != nil {
		r.left = p.advance(l, r.sequence, in.Hash)
	}
	p.history.add(r)
	return removals(r.left)
}

// SetNonce tells the pool the chain's next nonce of a sender and key, as read at a block. Pending operations below it
// leave: whatever logs were missed, the chain's nonce is the truth.
func (p *Pool) SetNonce(entryPoint, sender common.Address, next uint256.Int, block uint64) []Removed {
	k := newLaneKey(entryPoint, sender, &next)
	l := p.lanes[k]
	if l == nil || next[0] <= l.first().seq {
		return nil
	}
	r := record{block: block, key: k, sequence: next[0] - 1}
	r.left = p.advance(l, r.sequence, common.Hash{})
	p.history.add(r)
	return removals(r.left)
}

// advance removes a lane's operations up to a sequence.
func (p *Pool) advance(l *lane, sequence uint64, mined common.Hash) []departed {
	n := 0
	for n < len(l.entries) && l.entries[n].seq <= sequence {
		n++
	}
	if n == 0 {
		return nil
	}
	builders := make([]string, n)
	for i, e := range l.entries[:n] {
		builders[i] = p.carrier(e)
		delete(p.flights, e.Hash)
	}
	left := make([]departed, n)
	for i, e := range p.take(l, 0, n) {
		reason := NonceUsed
		if e.Hash == mined {
			reason = Mined
		}
		p.settle(e.Operation, reason, erc7562.NoEntity)
		left[i] = departed{Removed{e.Operation, reason}, e.arrival, builders[i]}
	}
	return left
}

func removals(left []departed) []Removed {
	var list []Removed
	for _, d := range left {
		list = append(list, d.Removed)
	}
	return list
}
