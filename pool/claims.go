package pool

import (
	"maps"
	"slices"

	"github.com/ethereum/go-ethereum/common"
)

// claim is a builder's hold on a sender. All operations of a sender, at every EntryPoint, belong to one builder at a
// time: a second bundle with another operation of it could invalidate the first.
//
// A builder claims operations by hash; it holds the sender as long as it holds one of them. If a claimed operation is
// replaced in the pool, the claim stays with its place under the old hash: the builder may have the old operation in
// flight, and nobody else may take the new one until the builder releases what it knows of.
type claim struct {
	builder string
	until   uint64 // last block number it holds for
	tokens  int    // hashes held
}

// flight is an operation in a builder's transaction while another builder holds its sender: after a reorg, if operations of one
// sender were in two builders' transactions one after the other. It is nobody else's until the builder gives it up.
type flight struct {
	builder string
	until   uint64 // last block number
}

// flies reports whether an operation is in the transaction of another builder.
func (p *Pool) flies(hash common.Hash, builder string) bool {
	f, ok := p.flights[hash]
	return ok && f.builder != builder
}

// carrier returns the builder that has claimed an operation or has it in a transaction, "" if none: who holds its sender for the sake of
// another operation does not have this one.
func (p *Pool) carrier(e *entry) string {
	if f, ok := p.flights[e.Hash]; ok {
		return f.builder
	}
	if len(e.tokens) > 0 {
		return e.lane.account.claim.builder
	}
	return ""
}

// land forgets that an operation is in a builder's transaction.
func (p *Pool) land(hash common.Hash, builder string) {
	if f, ok := p.flights[hash]; ok && f.builder == builder {
		delete(p.flights, hash)
	}
}

func (c *claim) free(builder string) bool { return c.tokens == 0 || c.builder == builder }

// Claim hands operations to a builder until the head passes a block number. It returns the hashes it could not hand
// over: unknown ones, and those whose sender another builder holds, or that are in its transaction. Claiming again prolongs the
// claim.
func (p *Pool) Claim(builder string, hashes []common.Hash, until uint64) (refused []common.Hash) {
	for _, h := range hashes {
		e := p.tokens[h]
		if e == nil {
			e = p.ops[h]
		}
		if e == nil || !e.lane.account.claim.free(builder) || p.flies(h, builder) {
			refused = append(refused, h)
			continue
		}
		p.claim(e, h, builder, until)
	}
	return refused
}

// Carry says that operations are in a builder's transactions: they are its until the head passes a block number, as with Claim.
// Where another builder holds the sender, the operation is nobody else's at least. It returns the hashes of which neither can be:
// unknown ones, and those that another builder has claimed or in its transaction.
func (p *Pool) Carry(builder string, hashes []common.Hash, until uint64) (refused []common.Hash) {
	for _, h := range p.Claim(builder, hashes, until) {
		if p.ops[h] == nil || p.tokens[h] != nil || p.flies(h, builder) {
			refused = append(refused, h)
			continue
		}
		p.flights[h] = flight{builder, until}
	}
	return refused
}

// ExtendClaim prolongs a builder's claims until a block number. Hashes it does not hold are returned.
func (p *Pool) ExtendClaim(builder string, hashes []common.Hash, until uint64) (missing []common.Hash) {
	for _, h := range hashes {
		if f, ok := p.flights[h]; ok && f.builder == builder {
			p.flights[h] = flight{builder, max(f.until, until)}
			continue
		}
		e := p.tokens[h]
		if e == nil || e.lane.account.claim.builder != builder {
			missing = append(missing, h)
			continue
		}
		c := &e.lane.account.claim
		c.until = max(c.until, until)
	}
	return missing
}

// Prolong keeps all that a builder has, whatever that is, until a block number.
func (p *Pool) Prolong(builder string, until uint64) {
	for h, f := range p.flights {
		if f.builder == builder {
			p.flights[h] = flight{builder, max(f.until, until)}
		}
	}
	for _, a := range p.held {
		if a.claim.builder == builder {
			a.claim.until = max(a.claim.until, until)
		}
	}
}

// Release takes operations back from a builder. Those it does not hold are passed over.
func (p *Pool) Release(builder string, hashes []common.Hash) {
	for _, h := range hashes {
		p.land(h, builder)
		e := p.tokens[h]
		if e == nil || e.lane.account.claim.builder != builder {
			continue
		}
		p.drop(e, h)
	}
}

// ReleaseAll takes everything back from a builder, which is known to be gone.
func (p *Pool) ReleaseAll(builder string) {
	for h := range p.flights {
		p.land(h, builder)
	}
	for _, a := range p.held {
		if a.claim.builder == builder {
			p.releaseSender(a)
		}
	}
}

// Holder returns the builder that holds the operation's sender, or "".
func (p *Pool) Holder(hash common.Hash) string {
	e := p.ops[hash]
	if e == nil {
		return ""
	}
	return e.lane.account.claim.builder
}

func (p *Pool) claim(e *entry, hash common.Hash, builder string, until uint64) {
	delete(p.flights, hash) // it is the builder's, or it may have it
	a := e.lane.account
	a.claim.builder = builder
	a.claim.until = max(a.claim.until, until)
	p.held[a.address] = a
	if p.tokens[hash] != nil {
		return
	}
	p.tokens[hash] = e
	e.tokens = append(e.tokens, hash)
	a.claim.tokens++
}

// drop gives one claimed hash up.
func (p *Pool) drop(e *entry, hash common.Hash) {
	delete(p.tokens, hash)
	e.tokens = slices.DeleteFunc(e.tokens, func(t common.Hash) bool { return t == hash })
	a := e.lane.account
	if a.claim.tokens--; a.claim.tokens == 0 {
		a.claim = claim{}
		delete(p.held, a.address)
	}
}

// unclaim gives up every hash an operation is claimed under.
func (p *Pool) unclaim(e *entry) {
	for len(e.tokens) != 0 {
		p.drop(e, e.tokens[len(e.tokens)-1])
	}
}

func (p *Pool) releaseSender(a *account) {
	for _, l := range a.lanes {
		for _, e := range l.entries {
			p.unclaim(e)
		}
	}
}

// expireClaims frees the senders whose claim ended before the head.
func (p *Pool) expireClaims() {
	maps.DeleteFunc(p.flights, func(h common.Hash, f flight) bool { return f.until < p.head.Number || p.ops[h] == nil })
	for _, a := range p.held {
		if a.claim.until < p.head.Number {
			p.releaseSender(a)
		}
	}
}

// Held lists the hashes a builder has claimed.
func (p *Pool) Held(builder string) []common.Hash {
	var hashes []common.Hash
	for _, a := range p.held {
		if a.claim.builder != builder {
			continue
		}
		for _, l := range a.lanes {
			for _, e := range l.entries {
				hashes = append(hashes, e.tokens...)
			}
		}
	}
	slices.SortFunc(hashes, common.Hash.Cmp)
	return hashes
}
