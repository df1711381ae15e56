package erc7562

import "github.com/ethereum/go-ethereum/core/vm"

// environmentOpcodes are those of OP-011 that access the environment.
func environmentOpcodes() Opcodes {
	return OpcodesOf(
		vm.ORIGIN, vm.GASPRICE, vm.BLOCKHASH, vm.COINBASE, vm.TIMESTAMP, vm.NUMBER, vm.PREVRANDAO, vm.GASLIMIT,
		vm.BASEFEE, vm.BLOBHASH, vm.BLOBBASEFEE,
	)
}

// op011: opcodes that access the environment, INVALID and SELFDESTRUCT are blocked. CREATE, which the rule names too,
// is op032's.
func op011(j *judgement) {
	blocked := environmentOpcodes()
	blocked.Add(vm.INVALID)
	blocked.Add(vm.SELFDESTRUCT)
	for i, f := range j.frames {
		if !f.Opcodes.meet(&blocked) {
			continue
		}
		used := f.Opcodes.and(&blocked)
		for op := range used.all {
			j.opcode("OP-011", i, op, NoEntity)
		}
	}
}

// op012: GAS is allowed only if a *CALL follows at once.
func op012(j *judgement) {
	for i, f := range j.frames {
		if f.Opcodes.Has(vm.GAS) {
			j.opcode("OP-012", i, vm.GAS, NoEntity)
		}
	}
}

// op013: unassigned opcodes are blocked. INVALID is assigned, and OP-011's.
func op013(j *judgement) {
	for i, f := range j.frames {
		unassigned := f.Opcodes.without(j.s.Assigned)
		for op := range unassigned.all {
			if op != vm.INVALID {
				j.opcode("OP-013", i, op, NoEntity)
			}
		}
	}
}

// op020: no frame may run out of gas.
func op020(j *judgement) {
	for i, f := range j.frames {
		if f.OutOfGas {
			j.breaks("OP-020", i, Verdict{}, "ran out of gas")
		}
	}
}

// op080: BALANCE and SELFBALANCE are allowed only from a staked entity.
func op080(j *judgement) {
	for i, f := range j.frames {
		if j.s.party(f.Entity).Staked {
			continue
		}
		for _, op := range [...]vm.OpCode{vm.BALANCE, vm.SELFBALANCE} {
			if f.Opcodes.Has(op) {
				j.opcode("OP-080", i, op, f.Entity)
			}
		}
	}
}
