package erc7562

import "github.com/ethereum/go-ethereum/core/vm"

// op031: without a staked factory, CREATE2 is allowed exactly once, in the deployment frame, and must deploy the sender.
func op031(j *judgement) {
	deployed := false
	for i, f := range j.frames {
		if !f.Opcodes.Has(vm.CREATE2) || erep060(j.s, f) {
			continue
		}
		allowed := f.Entity == Factory
		for _, child := range j.created(i) {
			allowed = allowed && child.To == j.s.Sender.Address && !deployed
			deployed = true
		}
		if !allowed {
			j.opcode("OP-031", i, vm.CREATE2, j.stakedFactoryHelps(f))
		}
	}
}

// op032: CREATE is blocked (OP-011), but the sender itself may use it if there is a factory. More is allowed with a
// staked factory: EREP-060 and EREP-061.
func op032(j *judgement) {
	for i, f := range j.frames {
		if !f.Opcodes.Has(vm.CREATE) || erep060(j.s, f) || erep061(j.s, f) {
			continue
		}
		if j.s.Factory.present() && f.Storage == j.s.Sender.Address {
			continue
		}
		needs := NoEntity
		if f.Entity == Factory {
			needs = Factory
		}
		j.opcode("OP-011", i, vm.CREATE, needs)
	}
}

// created returns the frames of the contracts that a frame created by CREATE2.
func (j *judgement) created(parent int) []*Frame {
	var children []*Frame
	creator := &j.r.Frames[parent]
	for i := parent + 1; i < len(j.r.Frames); i++ {
		f := &j.r.Frames[i]
		if f.Type == vm.CREATE2 && f.Parent == int32(parent) && f.From == creator.Storage {
			children = append(children, f)
		}
	}
	return children
}

// stakedFactoryHelps returns Factory if a stake of it would allow the frame to use CREATE2 (EREP-060).
func (j *judgement) stakedFactoryHelps(f *Frame) Entity {
	s := *j.s
	s.Factory.Staked = s.Factory.present()
	if erep060(&s, f) {
		return Factory
	}
	return NoEntity
}

// erep060: if the factory is staked, it and the sender may use CREATE2 and CREATE.
func erep060(s *Subject, f *Frame) bool {
	return s.Factory.present() && s.Factory.Staked &&
		(f.Storage == s.Factory.Address || f.Storage == s.Sender.Address)
}

// erep061: a staked factory may use a utility contract that calls CREATE.
func erep061(s *Subject, f *Frame) bool {
	return s.Factory.Staked && f.Entity == Factory
}
