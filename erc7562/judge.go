package erc7562

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/vm"
)

// Party is an entity of an operation.
type Party struct {
	Address   common.Address // zero: the operation has none
	Staked    bool           // as SREP-010 asks, see [StakeLimits.Staked]
	Delegated bool           // its code is an EIP-7702 delegation
}

func (p Party) present() bool { return p.Address != (common.Address{}) }

func (p Party) is(addr common.Address) bool { return p.present() && p.Address == addr }

// Subject is what the rules need to know of the operation whose validation was recorded.
type Subject struct {
	EntryPoint common.Address
	Sender     Party
	Factory    Party // none for an EIP-7702 sender: nothing is deployed then
	Paymaster  Party
	Aggregator Party

	SenderExists bool // before the operation: it has code, or the operation's own tuple delegates it (STO-021)
	ContextSize  int  // bytes of the paymaster's context

	Assigned    *Opcodes         // the opcodes that the block's fork defines (OP-013)
	Precompiles []common.Address // the precompiled contracts of the chain (OP-062)
}

func (s *Subject) party(e Entity) Party {
	switch e {
	case Sender:
		return s.Sender
	case Factory:
		return s.Factory
	case Paymaster:
		return s.Paymaster
	case Aggregator:
		return s.Aggregator
	case NoEntity:
		return Party{}
	default:
		return Party{}
	}
}

// Judgement is what the rules say of a record.
type Judgement struct {
	// Verdicts are the broken rules in the order of the frames that broke them, at most 32. No verdict: all are kept.
	Verdicts []*Verdict
	// AssociatedIn lists the contracts, beside the sender and the entities, in which validation used storage
	// associated with the account or with a staked entity (STO-041), in order.
	AssociatedIn []common.Address
}

// maxVerdicts bounds what is reported of one operation. One broken rule is enough to refuse it.
const maxVerdicts = 32

// Judge applies every rule on what validation may do to a record. Its result depends on what is in the record, not on
// the order of accesses within a frame. It sorts the record's hashes.
func Judge(r *Record, s *Subject) Judgement {
	j := judgement{r: r, s: s}
	slices.SortFunc(r.Hashes, compareHashes)
	for _, rule := range []func(*judgement){
		auth020, erep040, erep050,
		op011, op012, op013, op020, op031, op032, op041, op054, op061, op062, op080, auth030, storage,
	} {
		rule(&j)
		j.order++
	}
	return Judgement{Verdicts: j.verdicts(), AssociatedIn: j.associatedIn()}
}

// judgement is a Judge at work.
type judgement struct {
	r          *Record
	s          *Subject
	order      int // of the rule that is being applied
	found      []finding
	associated []common.Address
}

// finding is a verdict with its place in the order of verdicts.
type finding struct {
	Verdict

	frame     int
	order     int
	about     common.Address
	transient bool // of a slot: of transient storage
	read      bool // of a slot: it was read, not written
}

// same reports whether two findings are about the same thing. Of a slot's read and write, which break different rules,
// the write is what counts: geth's tracer does not tell of reads after it.
func (f finding) same(g finding) bool {
	if f.frame != g.frame || f.about != g.about || f.order != g.order {
		return false
	}
	if f.Slot != nil && g.Slot != nil {
		return *f.Slot == *g.Slot && f.transient == g.transient
	}
	return f.Rule == g.Rule && f.Opcode == g.Opcode
}

// frames returns the index of each frame and the frame.
func (j *judgement) frames(yield func(int, *Frame) bool) {
	for i := range j.r.Frames {
		if !yield(i, &j.r.Frames[i]) {
			return
		}
	}
}

// breaks records a broken rule of the frame's entity.
func (j *judgement) breaks(rule Rule, frame int, v Verdict, format string, args ...any) {
	f := &j.r.Frames[frame]
	about := v.Contract
	v.Rule, v.Entity, v.Address = rule, f.Entity, j.s.party(f.Entity).Address
	if v.Contract == (common.Address{}) && f.To != v.Address {
		v.Contract = f.To
	}
	if v.Needs != NoEntity {
		v.NeedsAddress = j.s.party(v.Needs).Address
	}
	v.Detail = fmt.Sprintf("%s %s ", v.Entity, v.Address) + fmt.Sprintf(format, args...)
	if v.Contract != (common.Address{}) && about == (common.Address{}) {
		v.Detail += fmt.Sprintf(" in %s", v.Contract)
	}
	j.found = append(j.found, finding{Verdict: v, frame: frame, order: j.order, about: about})
}

// opcodes records an opcode that the frame's entity must not use.
func (j *judgement) opcode(rule Rule, frame int, op vm.OpCode, needs Entity) {
	j.breaks(rule, frame, Verdict{Opcode: byte(op), Needs: needs}, "used opcode %s", op)
}

// entity records a broken rule that no frame stands for.
func (j *judgement) entity(rule Rule, e Entity, needs Entity, format string, args ...any) {
	party := j.s.party(e)
	v := Verdict{Rule: rule, Entity: e, Address: party.Address, Needs: needs}
	if needs != NoEntity {
		v.NeedsAddress = j.s.party(needs).Address
	}
	v.Detail = fmt.Sprintf("%s %s ", e, party.Address) + fmt.Sprintf(format, args...)
	j.found = append(j.found, finding{Verdict: v, frame: -1, order: j.order})
}

// verdicts sorts what was found and leaves out what says the same twice.
func (j *judgement) verdicts() []*Verdict {
	if len(j.found) == 0 {
		return nil
	}
	slices.SortStableFunc(j.found, func(a, b finding) int {
		return cmp.Or(
			cmp.Compare(a.frame, b.frame), cmp.Compare(a.order, b.order), a.about.Cmp(b.about), compareSlots(a.Slot, b.Slot),
			cmp.Compare(btoi(a.transient), btoi(b.transient)), cmp.Compare(btoi(a.read), btoi(b.read)),
			cmp.Compare(a.Opcode, b.Opcode), cmp.Compare(a.Detail, b.Detail),
		)
	})
	kept := slices.CompactFunc(j.found, finding.same)
	list := make([]*Verdict, 0, min(len(kept), maxVerdicts))
	for i := range kept[:min(len(kept), maxVerdicts)] {
		list = append(list, &kept[i].Verdict)
	}
	return list
}

func (j *judgement) associatedIn() []common.Address {
	slices.SortFunc(j.associated, common.Address.Cmp)
	return slices.Compact(j.associated)
}

func compareSlots(a, b *common.Hash) int {
	if a == nil || b == nil {
		return cmp.Compare(btoi(a != nil), btoi(b != nil))
	}
	return a.Cmp(*b)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func compareHashes(a, b Hash) int {
	return cmp.Or(a.Of.Cmp(b.Of), bytes.Compare(a.Value[:], b.Value[:]))
}
