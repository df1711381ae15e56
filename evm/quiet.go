package evm

import (
	"errors"
	"maps"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

// go-ethereum runs code three times as fast without hooks as with any, because with them it takes another interpreter, whatever they
// look at. Where hooks are about the calls of one contract, those it calls can do without: they run on a machine of their own, on
// the same state.

// Quiet has the code of contracts run without hooks, with what it calls, in the calls and transactions that follow: hooks see
// that they are called and how the call ends, and nothing within. It is for hooks on frames; with hooks on opcodes it is of no effect.
//
// All code that runs with the hooks must be of contracts that call these by CALL or STATICCALL alone, and must not be called by STATICCALL
// itself. A contract that is quiet must not be a precompiled one.
//
// swift is such a caller, or zero. Its code, which must use a slot, make a call, log, or fail before it returns, runs as fast, and hooks see its
// calls all the same.
func (r *Run) Quiet(contracts []common.Address, swift common.Address) {
	r.quiet, r.swift = contracts, swift
}

// quietMachine runs the calls of quiet contracts. The machine with the hooks takes these for precompiled contracts: it does all
// that there is to a call (value, gas, undoing) but their code.
type quietMachine struct {
	run      *Run
	loud     *vm.EVM // the machine with the hooks
	machine  *vm.EVM
	frame    frame // entered last
	entering bool  // the frame's value has been moved
	ret      []byte
	err      error
}

// frame is a call as hooks are told of it.
type frame struct {
	typ      vm.OpCode
	from, to common.Address
	gas      uint64
	value    *big.Int
}

// quieten returns a machine for quiet contracts, and makes the machine with the hooks use it; nil: there are none.
func (r *Run) quieten(loud *vm.EVM, hooks *tracing.Hooks, db vm.StateDB) *vm.EVM {
	if len(r.quiet) == 0 || hooks == nil || hooks.HasOpcodeHook() || wantsStateHooks(hooks) || r.rules.IsAmsterdam {
		return nil // Amsterdam: gas has two dimensions, of which frames tell one (EIP-8037)
	}
	q := &quietMachine{run: r, loud: loud}
	block, own := r.block, r.view.source.contracts.of(r.rules)
	block.CanTransfer = func(db vm.StateDB, addr common.Address, amount *uint256.Int) bool {
		return q.entering || canTransfer(db, addr, amount)
	}
	block.Transfer = func(db vm.StateDB, from, to common.Address, amount *uint256.Int, rules *params.Rules) {
		if q.entering {
			q.entering = false
			return
		}
		core.Transfer(db, from, to, amount, rules)
	}
	q.machine = vm.NewEVM(block, db, r.view.source.cfg, vm.Config{NoBaseFee: true})
	q.machine.SetJumpDestCache(r.view.source.jumpDests)
	q.machine.SetPrecompiles(own)
	contracts := make(vm.PrecompiledContracts, len(own)+len(r.quiet))
	for _, addr := range r.quiet {
		contracts[addr] = q
	}
	maps.Copy(contracts, own)
	loud.SetPrecompiles(contracts)
	told := *hooks
	told.OnEnter = func(depth int, typ byte, from, to common.Address, input []byte, gas uint64, value *big.Int) {
		q.frame = frame{vm.OpCode(typ), from, to, gas, value}
		if hooks.OnEnter != nil {
			hooks.OnEnter(depth, typ, from, to, input, gas, value)
		}
	}
	loud.Config.Tracer = &told
	loud.Context.Transfer = func(db vm.StateDB, from, to common.Address, amount *uint256.Int, rules *params.Rules) {
		core.Transfer(db, from, to, amount, rules)
		if to == r.swift && db.GetCodeSize(to) > 0 {
			r.asleep, loud.Config.Tracer = &told, nil
		}
	}
	return q.machine
}

// wake gives the machine its hooks back. It has none at the one moment when go-ethereum chooses, for a frame of the swift contract, the
// interpreter: after the value was moved and before the code begins. They are back when the code uses the state, which it does before each
// call (is the account in the access list?), and when the frame is undone.
func (r *Run) wake() {
	if r.asleep != nil {
		r.machine.Config.Tracer, r.asleep = r.asleep, nil
	}
}

// errLoud is a quiet contract that is called in a way that its machine does not know.
var errLoud = errors.New("evm: a quiet contract's code runs in another contract's name")

// RequiredGas implements vm.PrecompiledContract: it makes the call, and says what it used.
func (q *quietMachine) RequiredGas(input []byte) uint64 {
	f, budget := q.frame, vm.NewGasBudget(q.frame.gas, 0)
	var left vm.GasBudget
	q.machine.TxContext = q.loud.TxContext
	switch f.typ {
	case vm.CALL:
		value := new(uint256.Int)
		if f.value != nil {
			value.SetFromBig(f.value)
		}
		q.entering = true
		q.ret, left, q.err = q.machine.Call(f.from, f.to, input, budget, value)
		q.entering = false
	case vm.STATICCALL:
		q.ret, left, q.err = q.machine.StaticCall(f.from, f.to, input, budget)
	default:
		q.ret, q.err = nil, q.run.reader.fail(errLoud)
		return f.gas
	}
	return left.Used(budget)
}

// Run implements vm.PrecompiledContract: it returns what the call returned.
func (q *quietMachine) Run([]byte) ([]byte, error) {
	ret, err := q.ret, q.err
	q.ret, q.err = nil, nil
	return ret, err
}

// Name implements vm.PrecompiledContract.
func (q *quietMachine) Name() string { return "QUIET" }
