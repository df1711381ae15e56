package pool

import (
	"math"
	"slices"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/gas"

	"github.com/ethereum/go-ethereum/common"
)

const never = math.MaxUint64

// entryOverhead is what an operation takes in memory beside its byte fields, bytes: the operation, its entry, and its
// places in maps and orders. TestMemoryPerOperation measures it.
const entryOverhead = 1536

// market is the operations of one EntryPoint that may be bundled now: the first of each lane.
type market struct {
	entryPoint entrypoint.EntryPoint
	heads      ranking
}

func (p *Pool) newEntry(op *Operation) *entry {
	p.arrival++
	e := &entry{
		Operation: op,
		seq:       op.Op.NonceSequence(),
		arrival:   p.arrival,
		size:      sizeOf(op),
		expires:   [2]uint64{never, never},
		maxFee:    saturate(&op.Op.MaxFeePerGas),
	}
	e.tip = min(saturate(&op.Op.MaxPriorityFeePerGas), e.maxFee)
	if op.ValidUntil != 0 {
		e.expires[op.clock()] = op.ValidUntil
	}
	if limit := p.config.MaxSecondsInPool; limit != 0 && op.AddedTime <= never-limit {
		e.expires[bySeconds] = min(e.expires[bySeconds], op.AddedTime+limit)
	}
	return e
}

// sizeOf is the memory an operation is counted with, bytes.
func sizeOf(op *Operation) uint64 {
	u := op.Op
	n := len(u.FactoryData) + len(u.CallData) + len(u.PaymasterData) + len(u.PaymasterSignature) + len(u.Signature)
	return entryOverhead + uint64(n+len(op.AssociatedStorageIn)*common.AddressLength)
}

// clock returns the clock of the operation's time range.
func (op *Operation) clock() int {
	if op.ValidityInBlocks {
		return byBlocks
	}
	return bySeconds
}

// baseFee is the head's next base fee, wei per gas.
func (p *Pool) baseFee() uint64 { return saturate(&p.head.BaseFee) }

// now returns what a clock showed at the head. The next block shows more on either.
func (p *Pool) now(clock int) uint64 {
	if clock == byBlocks {
		return p.head.Number
	}
	return p.head.Timestamp
}

// ready reports whether the next block is behind the start of the operation's time range. Versions differ on whether
// the start itself is inside; behind it, all agree.
func (p *Pool) ready(op *Operation) bool { return op.ValidAfter <= p.now(op.clock()) }

// fees returns the operation's own fees.
func (op *Operation) fees() gas.Fees {
	return gas.Fees{MaxFee: op.Op.MaxFeePerGas, MaxPriority: op.Op.MaxPriorityFeePerGas}
}

func (e *entry) byStart() item { return item{e.ValidAfter, e.arrival, e} }

// place enters a lane's ends into the orders; unplace takes them out. A lane is changed only between the two.
func (p *Pool) place(l *lane) {
	p.tails.insert(l.last())
	first := l.first()
	if !p.ready(first.Operation) {
		first.waits = true
		p.waiting[first.clock()].Set(first.byStart())
		return
	}
	m := p.markets[l.entryPoint]
	if m == nil {
		m = &market{entryPoint: first.EntryPoint}
		p.markets[l.entryPoint] = m
	}
	m.heads.insert(first)
}

func (p *Pool) unplace(l *lane) {
	p.tails.remove(l.last())
	first := l.first()
	if first.waits {
		first.waits = false
		p.waiting[first.clock()].Delete(first.byStart())
		return
	}
	m := p.markets[l.entryPoint]
	m.heads.remove(first)
	if m.heads.len() == 0 {
		delete(p.markets, l.entryPoint)
	}
}

// attach enters an operation at its place in its lane, which must be before the first, in the place of one just taken
// out, or behind the last.
func (p *Pool) attach(e *entry) {
	k := newLaneKey(e.EntryPoint.Address, e.Op.Sender, &e.Op.Nonce)
	l := p.lanes[k]
	if l == nil {
		l = &lane{laneKey: k, account: p.account(k.sender)}
		l.account.lanes = append(l.account.lanes, l)
		p.lanes[k] = l
	} else {
		p.unplace(l)
	}
	e.lane = l
	at := len(l.entries)
	if at != 0 && e.seq < l.first().seq {
		at = 0
	}
	l.entries = slices.Insert(l.entries, at, e)
	p.link(e)
	p.place(l)
}

// swap puts an operation in the place of another with the same sender and nonce. Claims on the old one stay with its
// place: the builder that holds it holds the new one.
func (p *Pool) swap(old, e *entry) {
	l := old.lane
	p.unplace(l)
	tokens := old.tokens
	old.tokens = nil
	p.unlink(old)
	e.lane, e.tokens = l, tokens
	for _, t := range tokens {
		p.tokens[t] = e
	}
	l.entries[e.seq-l.first().seq] = e
	p.link(e)
	p.place(l)
}

// take removes the operations [from, to) of a lane, a prefix or a suffix of it, and returns them.
func (p *Pool) take(l *lane, from, to int) []*entry {
	p.unplace(l)
	taken := slices.Clone(l.entries[from:to])
	l.entries = slices.Delete(l.entries, from, to)
	for _, e := range taken {
		p.unlink(e)
	}
	if len(l.entries) != 0 {
		p.place(l)
		return taken
	}
	delete(p.lanes, l.laneKey)
	l.account.lanes = slices.DeleteFunc(l.account.lanes, func(x *lane) bool { return x == l })
	p.forget(l.account)
	return taken
}

// cut removes an operation and those behind it in its lane, which cannot be mined without it.
func (p *Pool) cut(e *entry, reason Reason, culprit erc7562.Entity) []Removed {
	l := e.lane
	taken := p.take(l, int(e.seq-l.first().seq), len(l.entries))
	removed := make([]Removed, len(taken))
	for i, t := range taken {
		if i != 0 {
			reason, culprit = PredecessorRemoved, erc7562.NoEntity
		}
		p.settle(t.Operation, reason, culprit)
		removed[i] = Removed{t.Operation, reason}
	}
	return removed
}

// link enters an operation into everything that does not depend on its place in the lane.
func (p *Pool) link(e *entry) {
	p.ops[e.Hash] = e
	p.bytes += e.size
	for clock, at := range e.expires {
		if at != never {
			p.expiry[clock].Set(item{at, e.arrival, e})
		}
	}
	a := e.lane.account
	a.sent++
	a.staked = e.Staked.Sender
	if e.Op.Authorization != nil {
		a.authorized++
		a.delegate = e.Op.Authorization.Address
	}
	for _, x := range e.entities() {
		a := p.account(x.address)
		a.staked = x.staked
		if a.refs == nil {
			a.refs = make(map[*entry]struct{})
		}
		a.refs[e] = struct{}{}
	}
	if pm := e.Op.Paymaster; pm != nil {
		k := paymasterKey{e.EntryPoint.Address, *pm}
		d := p.paymasters[k]
		if d == nil {
			d = new(paymaster)
			p.paymasters[k] = d
		}
		d.count++
		d.reserved.Add(&d.reserved, &e.Prefund)
	}
}

// unlink is the inverse of link, and gives the claims on the operation up.
func (p *Pool) unlink(e *entry) {
	delete(p.ops, e.Hash)
	p.bytes -= e.size
	for clock, at := range e.expires {
		if at != never {
			p.expiry[clock].Delete(item{at, e.arrival, e})
		}
	}
	p.unclaim(e)
	a := e.lane.account
	a.sent--
	if e.Op.Authorization != nil {
		a.authorized--
	}
	for _, x := range e.entities() {
		a := p.accounts[x.address]
		if a == nil {
			continue // it has two roles in this operation
		}
		delete(a.refs, e)
		p.forget(a)
	}
	if pm := e.Op.Paymaster; pm != nil {
		d := p.paymasters[paymasterKey{e.EntryPoint.Address, *pm}]
		d.count--
		d.reserved.Sub(&d.reserved, &e.Prefund)
	}
}

func (p *Pool) account(address common.Address) *account {
	a := p.accounts[address]
	if a == nil {
		a = &account{address: address}
		p.accounts[address] = a
	}
	return a
}

// forget drops the record of an address that no pending operation names any more.
func (p *Pool) forget(a *account) {
	if a.sent == 0 && len(a.lanes) == 0 && len(a.refs) == 0 {
		delete(p.accounts, a.address)
	}
}

// oldestFirst returns all operations in the order of arrival.
func (p *Pool) oldestFirst() []*entry {
	all := make([]*entry, 0, len(p.ops))
	for _, e := range p.ops {
		all = append(all, e)
	}
	slices.SortFunc(all, byArrival)
	return all
}

func byArrival(a, b *entry) int {
	if a.arrival < b.arrival {
		return -1
	}
	return 1
}
