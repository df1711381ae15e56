package erc7562_test

import (
	"math/big"
	"testing"
	"unsafe"

	"baler/erc7562"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/core/vm/runtime"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

// account is where runtime.Execute puts the code.
var account = common.BytesToAddress([]byte("contract"))

// trace runs code as an account's validation and returns what the tracer recorded.
func trace(t testing.TB, code []byte, gas uint64) *erc7562.Tracer {
	t.Helper()
	tracer := new(erc7562.Tracer)
	db, err := state.New(types.EmptyRootHash, state.NewDatabaseForTesting())
	if err != nil {
		t.Fatal(err)
	}
	tracer.Reset(db.GetCode, account)
	config := &runtime.Config{ChainConfig: params.MergedTestChainConfig, GasLimit: gas, State: db}
	config.EVMConfig.Tracer = &tracing.Hooks{
		OnEnter: func(_ int, typ byte, from, to common.Address, input []byte, _ uint64, value *big.Int) {
			tracer.Enter(erc7562.Sender, typ, from, to, input, value)
		},
		OnExit: func(_ int, _ []byte, _ uint64, err error, _ bool) { tracer.Exit(err) },
		OnOpcode: func(_ uint64, op byte, _, _ uint64, scope tracing.OpContext, _ []byte, _ int, _ error) {
			tracer.Opcode(op, scope)
		},
	}
	_, _, err = runtime.Execute(code, nil, config)
	t.Logf("execution ended with %v", err)
	if tracer.Open() {
		t.Error("a frame is open after the end")
	}
	return tracer
}

func code(parts ...any) []byte {
	var all []byte
	for _, part := range parts {
		switch p := part.(type) {
		case vm.OpCode:
			all = append(all, byte(p))
		case int:
			all = append(all, byte(p))
		case common.Address:
			all = append(append(all, byte(vm.PUSH20)), p[:]...)
		}
	}
	return all
}

func TestTracerSeesWhatFollowsGas(t *testing.T) {
	push := []any{vm.PUSH0, vm.PUSH0, vm.PUSH0, vm.PUSH0, vm.PUSH0, vm.PUSH1, 4}
	after := func(n int, then ...any) []byte { return code(append(append(push[:n:n], push[5:]...), then...)...) }
	cases := []struct {
		name string
		code []byte
		seen bool
	}{
		{"CALL", after(5, vm.GAS, vm.CALL), false},
		{"CALLCODE", after(5, vm.GAS, vm.CALLCODE), false},
		{"DELEGATECALL", after(4, vm.GAS, vm.DELEGATECALL), false},
		{"STATICCALL", after(4, vm.GAS, vm.STATICCALL), false},
		{"POP", code(vm.GAS, vm.POP), true},
		{"another GAS", after(5, vm.GAS, vm.GAS, vm.CALL), true},
		{"DUP1 before CALL", after(5, vm.GAS, vm.DUP1, vm.POP, vm.CALL), true},
		{"RETURN", code(vm.PUSH0, vm.GAS, vm.RETURN), true},
		{"REVERT", code(vm.PUSH0, vm.GAS, vm.REVERT), true},
		{"the end of the code", code(vm.GAS), true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tracer := trace(t, c.code, 100_000)
			if have := tracer.Frames[0].Opcodes.Has(vm.GAS); have != c.seen {
				t.Errorf("GAS noted: have %t, want %t", have, c.seen)
			}
		})
	}
}

func TestTracerSeesHowCodeIsLookedAt(t *testing.T) {
	other := common.Address{0: 0x12, 19: 0x34}
	cases := []struct {
		name string
		code []byte
		want erc7562.CodeUse
	}{
		{"EXTCODESIZE ISZERO", code(other, vm.EXTCODESIZE, vm.ISZERO), erc7562.CodeUse{Looked: true}},
		{"EXTCODESIZE POP", code(other, vm.EXTCODESIZE, vm.POP), erc7562.CodeUse{Looked: true, Observed: true}},
		{"EXTCODESIZE RETURN", code(vm.PUSH0, other, vm.EXTCODESIZE, vm.RETURN), erc7562.CodeUse{Looked: true, Observed: true}},
		{"EXTCODEHASH ISZERO", code(other, vm.EXTCODEHASH, vm.ISZERO), erc7562.CodeUse{Looked: true, Observed: true}},
		{"EXTCODECOPY", code(vm.PUSH0, vm.PUSH0, vm.PUSH0, other, vm.EXTCODECOPY), erc7562.CodeUse{Looked: true, Observed: true}},
		{"CALL", code(vm.PUSH0, vm.PUSH0, vm.PUSH0, vm.PUSH0, vm.PUSH0, other, vm.GAS, vm.CALL), erc7562.CodeUse{Called: true}},
		{
			"both ways of EXTCODESIZE", code(other, vm.EXTCODESIZE, vm.POP, other, vm.EXTCODESIZE, vm.ISZERO),
			erc7562.CodeUse{Looked: true, Observed: true},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.want.Address = other
			if have := trace(t, c.code, 100_000).Codes; len(have) != 1 || have[0] != c.want {
				t.Errorf("have %+v, want %+v", have, c.want)
			}
		})
	}
}

// Instructions that fail for want of stack items are no reason to fail for the tracer.
func TestTracerOnEmptyStack(t *testing.T) {
	for op := range 256 {
		trace(t, []byte{byte(op)}, 100_000)
		trace(t, []byte{byte(vm.PUSH0), byte(op)}, 100_000)
	}
}

// hostile is code that makes a tracer work as hard as gas allows, each a loop without end.
func hostile() map[string][]byte {
	loop := func(body ...any) []byte {
		return code(append(append([]any{vm.PUSH0, vm.JUMPDEST}, body...), vm.PUSH1, 1, vm.ADD, vm.PUSH1, 1, vm.JUMP)...)
	}
	self := []any{vm.PUSH0, vm.PUSH0, vm.PUSH0, vm.PUSH0, vm.PUSH0, vm.ADDRESS, vm.GAS}
	return map[string][]byte{
		"new slots":            loop(vm.DUP1, vm.SLOAD, vm.POP),
		"two slots":            loop(vm.PUSH1, 1, vm.SLOAD, vm.POP, vm.PUSH1, 2, vm.SLOAD, vm.POP),
		"transient slots":      loop(vm.DUP1, vm.DUP1, vm.TSTORE),
		"new addresses":        loop(vm.DUP1, vm.EXTCODESIZE, vm.POP),
		"calls":                loop(vm.PUSH0, vm.PUSH0, vm.PUSH0, vm.PUSH0, vm.PUSH0, vm.PUSH1, 4, vm.GAS, vm.CALL, vm.POP),
		"calls of itself":      code(append(self, vm.CALL)...),
		"hashes":               loop(vm.ADDRESS, vm.PUSH0, vm.MSTORE, vm.DUP1, vm.PUSH1, 32, vm.MSTORE, vm.PUSH1, 64, vm.PUSH0, vm.KECCAK256, vm.POP),
		"long hashes":          loop(vm.ADDRESS, vm.PUSH0, vm.MSTORE, vm.DUP1, vm.PUSH1, 32, vm.MSTORE, vm.PUSH2, 4, 0, vm.PUSH0, vm.KECCAK256, vm.POP),
		"a hash of all memory": code(vm.ADDRESS, vm.PUSH0, vm.MSTORE, vm.PUSH3, 1, 0, 0, vm.PUSH0, vm.KECCAK256),
		"a hash of no memory":  code(vm.PUSH32, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, vm.DUP1, vm.KECCAK256),
		"creations":            loop(vm.PUSH0, vm.PUSH0, vm.PUSH0, vm.CREATE, vm.POP),
		"blocked opcodes":      loop(vm.TIMESTAMP, vm.POP, vm.NUMBER, vm.POP, vm.SELFBALANCE, vm.POP),
	}
}

// What is recorded is bounded by gas: at most two bytes for each, and no more verdicts than are worth reading.
func TestHostileCode(t *testing.T) {
	const gas = 3_000_000
	subject := subjectOf(account)
	for name, code := range hostile() {
		t.Run(name, func(t *testing.T) {
			r := &trace(t, code, gas).Record
			size := len(r.Frames)*int(unsafe.Sizeof(erc7562.Frame{})) + len(r.Accesses)*int(unsafe.Sizeof(erc7562.Access{})) +
				len(r.Codes)*int(unsafe.Sizeof(erc7562.CodeUse{})) + len(r.Hashes)*int(unsafe.Sizeof(erc7562.Hash{}))
			t.Logf("%d frames, %d accesses, %d code uses, %d hashes: %d bytes", len(r.Frames), len(r.Accesses), len(r.Codes), len(r.Hashes), size)
			if size > 2*gas {
				t.Errorf("have %d bytes recorded, want at most %d", size, 2*gas)
			}
			if verdicts := erc7562.Judge(r, subject).Verdicts; len(verdicts) > 32 {
				t.Errorf("have %d verdicts, want at most 32", len(verdicts))
			}
		})
	}
}

// A tracer that is used again allocates nothing for what it has had room for, and forgets what it has seen.
func TestTracerIsUsedAgain(t *testing.T) {
	tracer := new(erc7562.Tracer)
	scope := &fakeScope{stack: make([]uint256.Int, 8), memory: make([]byte, 128)}
	copy(scope.memory[12:], account[:])
	validate := func() {
		tracer.Reset(func(common.Address) []byte { return nil }, account)
		tracer.Enter(erc7562.Sender, byte(vm.CALL), common.Address{}, account, nil, nil)
		for op := range 256 {
			scope.stack[7].SetUint64(uint64(op))
			tracer.Opcode(byte(op), scope)
		}
		scope.stack[7].Clear()
		scope.stack[6].SetUint64(64)
		tracer.Opcode(byte(vm.KECCAK256), scope)
		tracer.Exit(nil)
	}
	validate()
	first := [4]int{len(tracer.Frames), len(tracer.Accesses), len(tracer.Codes), len(tracer.Hashes)}
	if allocs := testing.AllocsPerRun(100, validate); allocs > 0 {
		t.Errorf("have %v allocations, want none", allocs)
	}
	if have := [4]int{len(tracer.Frames), len(tracer.Accesses), len(tracer.Codes), len(tracer.Hashes)}; have != first || first[3] != 1 {
		t.Errorf("have a record of %v, want %v as the first time, with one hash", have, first)
	}
}

// fakeScope is the context of an instruction.
type fakeScope struct {
	tracing.OpContext

	stack  []uint256.Int
	memory []byte
}

func (s *fakeScope) StackData() []uint256.Int { return s.stack }
func (s *fakeScope) MemoryData() []byte       { return s.memory }

// Whatever code an account has, the record of its validation can be judged, and is no longer than its gas pays for: what
// is noted costs the contract at least 30 gas (KECCAK256) or, of a slot or an account, 100.
func FuzzTracer(f *testing.F) {
	f.Add(code(vm.TIMESTAMP, vm.GAS, vm.SLOAD, vm.GAS, vm.SSTORE), uint32(100_000))
	f.Add(code(vm.JUMPDEST, vm.GAS, vm.SLOAD, vm.GAS, vm.TLOAD, vm.PUSH0, vm.JUMP), uint32(1_000_000))
	f.Add(code(vm.JUMPDEST, vm.PUSH1, 64, vm.GAS, vm.KECCAK256, vm.PUSH0, vm.JUMP), uint32(1_000_000))
	f.Add(code(vm.PUSH0, vm.PUSH0, vm.PUSH0, vm.PUSH0, vm.PUSH0, vm.ADDRESS, vm.GAS, vm.CALL), uint32(3_000_000))
	f.Add(code(vm.PUSH1, 1, vm.PUSH0, vm.PUSH0, vm.CREATE2, vm.EXTCODESIZE, vm.ISZERO, vm.BALANCE, 0xfe), uint32(500_000))
	f.Add(code(vm.SLOAD), uint32(0))
	f.Fuzz(func(t *testing.T, code []byte, gas uint32) {
		gas %= 5_000_000
		tracer := trace(t, code, uint64(gas))
		noted := len(tracer.Frames) + len(tracer.Accesses) + len(tracer.Codes) + len(tracer.Hashes)
		if most := int(gas)/30 + 2; noted > most {
			t.Errorf("have %d entries for %d gas, want at most %d", noted, gas, most)
		}
		for _, v := range erc7562.Judge(&tracer.Record, subjectOf(account)).Verdicts {
			if v.Rule == "" || v.Detail == "" || v.Entity == erc7562.NoEntity {
				t.Errorf("have an incomplete verdict %+v", v)
			}
		}
	})
}
