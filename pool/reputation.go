package pool

import (
	"fmt"
	"slices"

	"baler/erc7562"

	"github.com/ethereum/go-ethereum/common"
)

// Status is what an address' reputation allows it (ERC-7562, "Reputation Calculation").
type Status uint8

// The states of reputation.
const (
	OK Status = iota
	Throttled
	Banned
)

// String returns the status as debug_bundler_dumpReputation spells it.
func (s Status) String() string {
	switch s {
	case OK:
		return "ok"
	case Throttled:
		return "throttled"
	case Banned:
		return "banned"
	default:
		return fmt.Sprintf("status %d", uint8(s))
	}
}

// Reputation is the record of an address.
type Reputation struct {
	Address     common.Address
	OpsSeen     uint64
	OpsIncluded uint64
	Status      Status
}

type listing uint8

const (
	allowed listing = iota + 1
	blocked
)

type standing struct{ seen, included uint64 }

// entity is an address in a role of an operation.
type entity struct {
	role    erc7562.Entity
	address common.Address
	staked  bool
}

// entities returns the operation's factory, paymaster and aggregator, those it has.
func (op *Operation) entities() []entity {
	list := make([]entity, 0, 3)
	if f := op.Op.Factory; f != nil && !op.Op.IsEIP7702() {
		list = append(list, entity{erc7562.Factory, *f, op.Staked.Factory})
	}
	if pm := op.Op.Paymaster; pm != nil {
		list = append(list, entity{erc7562.Paymaster, *pm, op.Staked.Paymaster})
	}
	if op.Aggregator != (common.Address{}) {
		list = append(list, entity{erc7562.Aggregator, op.Aggregator, op.Staked.Aggregator})
	}
	return list
}

// all returns the operation's sender and its other entities.
func (op *Operation) all() []entity {
	return append(op.entities(), entity{erc7562.Sender, op.Op.Sender, op.Staked.Sender})
}

// counted reports whether the entity has a reputation: staked ones and unstaked paymasters do. Unstaked factories are
// counted too, so that the limit of UREP-020 can grow with what they got included. An unstaked sender is limited by
// SAME_SENDER_MEMPOOL_COUNT alone.
func (x entity) counted() bool { return x.staked || x.role != erc7562.Sender }

// status computes an address' standing from its counters.
func (p *Pool) status(address common.Address) Status {
	switch p.listed[address] {
	case allowed:
		return OK
	case blocked:
		return Banned
	}
	s := p.standings[address]
	if s == nil {
		return OK
	}
	maxSeen := s.seen
	if d := p.config.MinInclusionRateDenominator; d > 1 {
		maxSeen /= d
	}
	switch {
	case maxSeen > s.included+p.config.BanSlack:
		return Banned
	case maxSeen > s.included+p.config.ThrottlingSlack:
		return Throttled
	default:
		return OK
	}
}

// update changes an address' counters by way of change and keeps the index of throttled addresses.
func (p *Pool) update(address common.Address, change func(*standing)) {
	s := p.standings[address]
	if s == nil {
		s = new(standing)
		p.standings[address] = s
	}
	change(s)
	p.changed[address] = struct{}{}
	if p.status(address) == Throttled {
		p.throttled[address] = struct{}{}
		return
	}
	delete(p.throttled, address)
}

func seen(s *standing)     { s.seen++ }
func unseen(s *standing)   { s.seen -= min(s.seen, 1) }
func included(s *standing) { s.included++ }
func excluded(s *standing) { s.included -= min(s.included, 1) }

// allowedUnstaked is how many operations may name the unstaked entity (UREP-020).
func (p *Pool) allowedUnstaked(address common.Address) uint64 {
	limit := p.config.SameUnstakedEntityCount
	s := p.standings[address]
	if s == nil || s.seen == 0 {
		return limit
	}
	most := min(s.included, p.config.MaxOpsAllowedUnstakedEntity)
	// The rate is at most 1: included counts only what was seen, but both decay and can be set by hand.
	return limit + min(s.included, s.seen)*most/s.seen
}

// judge changes the reputation of a leaving operation's entities for the way it failed, and returns the address that
// this bans, if any.
func (p *Pool) judge(e *entry, reason Reason, culprit erc7562.Entity) (banned common.Address) {
	if reason != ValidationFailed && reason != BundleFailed {
		return common.Address{}
	}
	p.absolve(e, culprit)
	if reason == ValidationFailed {
		return common.Address{}
	}
	return p.condemn(e.Operation, culprit)
}

// condemn bans the entity that made a bundle fail (GREP-040), and returns its address if it is banned now.
func (p *Pool) condemn(op *Operation, culprit erc7562.Entity) (banned common.Address) {
	guilty, ok := op.guilty(culprit)
	if !ok {
		return common.Address{}
	}
	p.update(guilty, func(s *standing) { *s = standing{seen: p.config.BanOpsSeenPenalty} })
	if p.status(guilty) != Banned {
		return common.Address{} // it is on the list of those that are always allowed
	}
	return guilty
}

// Blame is for an operation that made a bundle revert on chain and has left the pool since: the entity that failed is
// banned as if the operation were removed for it now. It returns the operations that leave with it.
func (p *Pool) Blame(op *Operation, culprit erc7562.Entity) []Removed {
	if banned := p.condemn(op, culprit); banned != (common.Address{}) {
		return p.purge(banned)
	}
	return nil
}

// Throttle is for a staked entity that used less gas when it was validated in a bundle (ERC-7562, EREP-070): if it is OK it is
// throttled now, as if so many of its operations had been seen and not included.
func (p *Pool) Throttle(address common.Address) {
	if p.status(address) != OK || p.listed[address] == allowed {
		return
	}
	p.update(address, func(s *standing) {
		s.seen = (s.included + p.config.ThrottlingSlack + 1) * max(p.config.MinInclusionRateDenominator, 1)
	})
}

// absolve takes back what the entities that did not fail were charged with when the operation came in: the paymaster
// for failures of factory or account (EREP-015), the aggregator for those of anyone else (EREP-016). A staked account
// answers for its paymaster and its aggregator: their failures are its own (EREP-030).
func (p *Pool) absolve(e *entry, culprit erc7562.Entity) {
	if e.Staked.Sender && (culprit == erc7562.Paymaster || culprit == erc7562.Aggregator) {
		culprit = erc7562.Sender
	}
	for _, x := range e.entities() {
		switch {
		case x.role == erc7562.Paymaster && (culprit == erc7562.Sender || culprit == erc7562.Factory),
			x.role == erc7562.Aggregator && culprit != erc7562.Aggregator && culprit != erc7562.NoEntity:
			p.update(x.address, unseen)
		}
	}
}

// guilty returns the address to ban for a bundle that failed (ERC-4337, "Bundling"): the failing factory, paymaster or
// aggregator, but the sender instead if it is staked (EREP-030); for a failing sender its staked factory (EREP-020).
// An unstaked sender alone is nobody to ban.
func (op *Operation) guilty(culprit erc7562.Entity) (common.Address, bool) {
	if culprit == erc7562.NoEntity {
		return common.Address{}, false
	}
	if op.Staked.Sender {
		return op.Op.Sender, true
	}
	for _, x := range op.entities() {
		if x.role == culprit || culprit == erc7562.Sender && x.role == erc7562.Factory && x.staked {
			return x.address, true
		}
	}
	return common.Address{}, false
}

// purge removes all operations that name the address in any role (GREP-010), oldest first.
func (p *Pool) purge(address common.Address) []Removed {
	var removed []Removed
	for _, e := range p.naming(address) {
		if p.ops[e.Hash] == e {
			removed = append(removed, p.cut(e, EntityBanned, erc7562.NoEntity)...)
		}
	}
	return removed
}

// naming returns the operations that name the address, oldest first.
func (p *Pool) naming(address common.Address) []*entry {
	a := p.accounts[address]
	if a == nil {
		return nil
	}
	var list []*entry
	for e := range a.refs {
		list = append(list, e)
	}
	for _, l := range a.lanes {
		list = append(list, l.entries...)
	}
	slices.SortFunc(list, byArrival)
	return slices.Compact(list)
}

// Decay ages all counters by a number of hours: value * 23 / 24 each hour. Records that are zero are forgotten: until
// then one whose count was taken back is told as what it is.
func (p *Pool) Decay(hours uint64) {
	addresses := make([]common.Address, 0, len(p.standings))
	for a := range p.standings {
		addresses = append(addresses, a)
	}
	for _, a := range addresses {
		p.update(a, func(s *standing) {
			for range hours {
				if s.seen == 0 && s.included == 0 {
					return
				}
				s.seen = decayed(s.seen)
				s.included = decayed(s.included)
			}
		})
		if *p.standings[a] == (standing{}) {
			delete(p.standings, a)
		}
	}
}

// decayed is value * 23 // 24, without overflow.
func decayed(v uint64) uint64 { return v/24*23 + v%24*23/24 }

// SetReputation sets the counters of addresses; their Status is computed. It returns the operations that left because
// an address is banned now.
func (p *Pool) SetReputation(list []Reputation) []Removed {
	var removed []Removed
	for _, r := range list {
		p.update(r.Address, func(s *standing) { *s = standing{seen: r.OpsSeen, included: r.OpsIncluded} })
		if p.status(r.Address) == Banned {
			removed = append(removed, p.purge(r.Address)...)
		}
	}
	return removed
}

// DumpReputation returns all records, by address.
func (p *Pool) DumpReputation() []Reputation {
	list := make([]Reputation, 0, len(p.standings))
	for a := range p.standings {
		list = append(list, p.ReputationOf(a))
	}
	slices.SortFunc(list, func(a, b Reputation) int { return a.Address.Cmp(b.Address) })
	return list
}

// ReputationOf returns the record of an address; one never seen is OK.
func (p *Pool) ReputationOf(address common.Address) Reputation {
	r := Reputation{Address: address, Status: p.status(address)}
	if s := p.standings[address]; s != nil {
		r.OpsSeen, r.OpsIncluded = s.seen, s.included
	}
	return r
}

// ChangedReputation returns the records that changed since it was asked last, by address; one that was forgotten is
// all zero.
func (p *Pool) ChangedReputation() []Reputation {
	list := make([]Reputation, 0, len(p.changed))
	for a := range p.changed {
		list = append(list, p.ReputationOf(a))
	}
	clear(p.changed)
	slices.SortFunc(list, func(a, b Reputation) int { return a.Address.Cmp(b.Address) })
	return list
}

// ClearReputation forgets all records.
func (p *Pool) ClearReputation() {
	for a := range p.standings {
		p.changed[a] = struct{}{}
	}
	clear(p.standings)
	clear(p.throttled)
}

// count changes the counters of all the operation's entities that have a reputation.
func (p *Pool) count(op *Operation, change func(*standing)) {
	for _, x := range op.all() {
		if x.counted() {
			p.update(x.address, change)
		}
	}
}

// settle counts a leaving operation: an included one for its entities; any other no longer against its unstaked
// factory, unless that failed. An unstaked factory serves everybody and cannot choose whom: were it charged for the
// operations of others that never get mined, anybody could have it banned.
func (p *Pool) settle(op *Operation, reason Reason, culprit erc7562.Entity) {
	switch {
	case reason == Mined:
		p.count(op, included)
	case culprit != erc7562.Factory:
		p.discharge(op, unseen)
	}
}

// charge is the inverse of settle for an operation that was not mined.
func (p *Pool) charge(op *Operation) { p.discharge(op, seen) }

func (p *Pool) discharge(op *Operation, change func(*standing)) {
	for _, x := range op.entities() {
		if x.role == erc7562.Factory && !x.staked {
			p.update(x.address, change)
		}
	}
}
