package erc7562

import (
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// storage applies the rules STO-010 to STO-033: each of them allows something, and what none allows is forbidden.
// Transient storage is storage (OP-070). The EntryPoint's own storage is used only by calls that OP-054 judges.
func storage(j *judgement) {
	for i := range j.r.Accesses {
		a := &j.r.Accesses[i]
		f := &j.r.Frames[a.Frame]
		if sto010(j.s, f) || f.Storage == j.s.EntryPoint {
			continue
		}
		if j.sto021(f, a) || j.sto022(f, a) || j.sto032(f, a) {
			j.associated = append(j.associated, f.Storage)
			continue
		}
		if !sto031(j.s, f) && !sto033(j.s, f, a) {
			j.forbidden(int(a.Frame), a)
		}
	}
}

// sto010: access to the account's storage is always allowed.
func sto010(s *Subject, f *Frame) bool { return f.Storage == s.Sender.Address }

// sto021: storage associated with the account, in a contract that is no entity, is allowed if the account exists.
func (j *judgement) sto021(f *Frame, a *Access) bool {
	return j.s.SenderExists && !j.s.isEntity(f.Storage) && j.associatedWith(j.s.Sender.Address, a.Slot)
}

// sto022: the same is allowed if the factory that creates the account is staked.
func (j *judgement) sto022(f *Frame, a *Access) bool {
	return j.s.Factory.present() && j.s.Factory.Staked && !j.s.isEntity(f.Storage) &&
		j.associatedWith(j.s.Sender.Address, a.Slot)
}

// sto031: a staked paymaster or factory may access its own storage.
func sto031(s *Subject, f *Frame) bool {
	return s.trusted(f.Entity) && f.Storage == s.party(f.Entity).Address
}

// sto032: a staked paymaster or factory may access storage associated with it, in a contract that is no entity.
func (j *judgement) sto032(f *Frame, a *Access) bool {
	return j.s.trusted(f.Entity) && !j.s.isEntity(f.Storage) && j.associatedWith(j.s.party(f.Entity).Address, a.Slot)
}

// sto033: a staked paymaster or factory may read any storage of a contract that is no entity.
func sto033(s *Subject, f *Frame, a *Access) bool {
	return s.trusted(f.Entity) && !a.Write && !s.isEntity(f.Storage)
}

// trusted reports whether the entity is a staked paymaster or factory. The account's stake allows it no storage.
func (s *Subject) trusted(e Entity) bool {
	return (e == Paymaster || e == Factory) && s.party(e).Staked
}

// isEntity reports whether a contract is an entity of the operation beside the account.
func (s *Subject) isEntity(contract common.Address) bool {
	return s.Factory.is(contract) || s.Paymaster.is(contract) || s.Aggregator.is(contract)
}

// forbidden names the rule that comes closest to allowing the access, and the entity whose stake would do it.
func (j *judgement) forbidden(frame int, a *Access) {
	f := &j.r.Frames[frame]
	rule, needs := j.closest(f, a)
	verb := "read"
	if a.Write {
		verb = "wrote"
	}
	kind := "storage"
	if a.Transient {
		kind = "transient storage"
	}
	j.breaks(rule, frame, Verdict{Contract: f.Storage, Slot: new(a.Slot), Needs: needs}, "%s %s of %s at slot %s", verb, kind, f.Storage, a.Slot)
	found := &j.found[len(j.found)-1]
	found.transient, found.read = a.Transient, !a.Write
}

func (j *judgement) closest(f *Frame, a *Access) (Rule, Entity) {
	s := *j.s
	s.Factory.Staked, s.Paymaster.Staked = s.Factory.present(), s.Paymaster.present()
	staked := judgement{r: j.r, s: &s}
	switch {
	case staked.sto022(f, a):
		return "STO-022", Factory
	case sto031(&s, f):
		return "STO-031", f.Entity
	case staked.sto032(f, a):
		return "STO-032", f.Entity
	case sto033(&s, f, a):
		return "STO-033", f.Entity
	case f.Entity == Sender:
		return "STO-021", NoEntity
	default:
		return "STO-033", NoEntity
	}
}

// maxOffset is the largest n of the slots keccak(A||x)+n that are associated with A.
const maxOffset = 128

// associatedWith reports whether a slot is associated with the address: it is the address, or it lies at most 128 behind
// a hash over the address and at least a word more that validation computed.
func (j *judgement) associatedWith(addr common.Address, slot common.Hash) bool {
	if slot == common.BytesToHash(addr[:]) {
		return true
	}
	i, found := slices.BinarySearchFunc(j.r.Hashes, Hash{Of: addr, Value: slot}, compareHashes)
	if found {
		return true
	}
	if i == 0 || j.r.Hashes[i-1].Of != addr {
		return false
	}
	var distance, base uint256.Int
	distance.SetBytes32(slot[:])
	distance.Sub(&distance, base.SetBytes32(j.r.Hashes[i-1].Value[:]))
	return distance.LtUint64(maxOffset + 1)
}
