package evm_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"testing"

	"baler/evm"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/core/vm/program"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

// callees are codes of all kinds of contracts that may be called; caller is who calls them.
func callees(caller common.Address) [][]byte {
	word := func(p *program.Program) *program.Program { return p.Push(0).Op(vm.MSTORE).Push(32).Push(0) }
	told := program.New() // everything that a frame is told, stored
	for i, op := range []vm.OpCode{vm.CALLER, vm.CALLVALUE, vm.ORIGIN, vm.GASPRICE, vm.ADDRESS, vm.SELFBALANCE, vm.CALLDATASIZE, vm.COINBASE} {
		told.Op(op).Push(i).Op(vm.SSTORE)
	}
	return [][]byte{
		told.Bytes(),
		returning(program.New().Op(vm.GAS)),
		word(program.New().Push(7)).Op(vm.REVERT).Bytes(),
		program.New().Push(1).Push(1).Op(vm.SSTORE).Push(0).Push(0).Op(vm.REVERT).Bytes(),
		program.New().Op(vm.JUMPDEST).Push(0).Op(vm.JUMP).Bytes(), // until the gas ends
		{byte(vm.INVALID)},
		program.New().Push(5).Push(1).Op(vm.TSTORE).Push(1).Op(vm.TLOAD, vm.PUSH1).Append([]byte{2}).Op(vm.SSTORE).Bytes(),
		// Pays back to who called, and calls others: what is called within is the quiet one's.
		program.New().Call(nil, caller, 1, 0, 0, 0, 0).Call(nil, address(3), 0, 0, 0, 0, 32).Push(3).Op(vm.SSTORE).Bytes(),
		program.New().Push(0).Push(0).Push(0).Op(vm.CREATE, vm.PUSH1).Append([]byte{4}).Op(vm.SSTORE).Bytes(),
		program.New().Push(0xff).Op(vm.SELFDESTRUCT).Bytes(),
		program.New().Push(9).Push(0).Push(0).Op(vm.LOG1).Bytes(),
	}
}

// seen is what hooks are told of the frames of a contract, and of those that it calls.
func seen(list *[]string, contract common.Address) *tracing.Hooks {
	var stack []common.Address
	note := func(format string, args ...any) {
		if !slices.ContainsFunc(stack, func(addr common.Address) bool { return addr != contract }) {
			*list = append(*list, fmt.Sprintf(format, args...))
		}
	}
	return &tracing.Hooks{
		OnEnter: func(at int, typ byte, from, to common.Address, input []byte, gas uint64, value *big.Int) {
			note("%d %v %s %s %x %d %s", at, vm.OpCode(typ), from, to, input, gas, value)
			stack = append(stack, to)
		},
		OnExit: func(at int, output []byte, gasUsed uint64, err error, reverted bool) {
			stack = stack[:len(stack)-1]
			note("%d %s %d %v %v", at, hex.EncodeToString(output), gasUsed, err, reverted)
		},
	}
}

// callsOf is a program that calls quiet contracts, and itself unless self is zero, and stores what comes of each call.
func callsOf(t *rapid.T, what string, most int, quiet []common.Address, self common.Address, slots int) *program.Program {
	p := program.New()
	for i := range rapid.IntRange(1, most).Draw(t, what) {
		to := rapid.SampledFrom(quiet).Draw(t, "to")
		itself := self != (common.Address{}) && rapid.IntRange(0, 3).Draw(t, "itself") == 0
		if itself {
			to = self
		}
		value := rapid.SampledFrom([]int{0, 0, 1, 5, 1 << 30}).Draw(t, "value")
		limit := rapid.SampledFrom([]uint64{0, 2_300, 30_000, 300_000}).Draw(t, "gas")
		if !itself && rapid.IntRange(0, 4).Draw(t, "static") == 0 {
			p.StaticCall(uint256.NewInt(limit), to, 0, 33, 0, 32)
		} else {
			p.Call(uint256.NewInt(limit), to, value, 0, 33, 0, 32)
		}
		p.Push(3*i + slots).Op(vm.SSTORE) // whether it succeeded
		p.Op(vm.RETURNDATASIZE).Push(3*i + slots + 1).Op(vm.SSTORE)
		p.Push(0).Op(vm.MLOAD).Push(3*i + slots + 2).Op(vm.SSTORE)
	}
	return p
}

// calledByItself has one program run when a contract is called with 33 bytes, as by itself here, and another one otherwise.
func calledByItself(within, otherwise []byte) []byte {
	const head = 9
	begin := program.New().Op(vm.CALLDATASIZE).Push(33).Op(vm.EQ, vm.ISZERO, vm.PUSH2).Append(binary.BigEndian.AppendUint16(nil, uint16(head+len(within)))).Op(vm.JUMPI)
	return slices.Concat(begin.Bytes(), within, []byte{byte(vm.JUMPDEST)}, otherwise)
}

// A transaction does the same whether the contracts that its first one calls are quiet or not, and hooks are told the same of the
// first one's calls, to itself too.
func TestQuietContractsDoWhatTheyDo(t *testing.T) {
	caller, nobody := address(0xca), address(0xee)
	codes := callees(caller)
	alloc := types.GenesisAlloc{address(0xff): {Balance: big.NewInt(1e18)}}
	quiet := []common.Address{nobody}
	for i, code := range codes {
		addr := address(byte(i + 1))
		alloc[addr] = types.Account{Code: code, Balance: big.NewInt(int64(i))}
		quiet = append(quiet, addr)
	}
	delegated := address(0x70)
	alloc[delegated] = types.Account{Code: types.AddressToDelegation(address(1)), Balance: new(big.Int)}
	quiet = append(quiet, delegated)
	rapid.Check(t, func(t *rapid.T) {
		within := callsOf(t, "calls within", 2, quiet, common.Address{}, 80).Op(rapid.SampledFrom([]vm.OpCode{vm.STOP, vm.STOP, vm.INVALID}).Draw(t, "ends")).Bytes()
		code := calledByItself(within, callsOf(t, "calls", 6, quiet, caller, 100).Bytes())
		alloc[caller] = types.Account{Code: code, Balance: big.NewInt(100)}
		view := evm.NewSource(newFakeNode(alloc), newSource(nil, evm.Options{}).Config(), evm.Options{}).View(header(100))
		run := func(quiet []common.Address, swift common.Address) (any, []string) {
			var told []string
			var result struct {
				Outcome evm.Outcome
				Err     string
				Reads   evm.ReadSet
				Access  []evm.Access
				Gas     uint64
				State   map[string]common.Hash
			}
			err := view.Execute(t.Context(), evm.RunOptions{Origin: address(0xff)}, func(r *evm.Run) error {
				told, result.Access, result.State = nil, nil, make(map[string]common.Hash)
				r.Quiet(quiet, swift)
				r.OnAccess(func(a evm.Access) { result.Access = append(result.Access, a) })
				outcome, err := r.Apply(evm.Message{
					From: address(0xff), To: caller, Value: uint256.NewInt(3), Data: []byte{1, 2}, Gas: 2_000_000,
					MaxFee: uint256.NewInt(2e9), MaxPriority: uint256.NewInt(1),
				}, seen(&told, caller))
				if err != nil {
					return err
				}
				reads := r.ReadSet()
				result.Reads = evm.ReadSet{Accounts: maps.Clone(reads.Accounts), Slots: maps.Clone(reads.Slots)} // before the state is looked at below
				result.Outcome, result.Gas = *outcome, r.StateGas()
				result.Err, result.Outcome.Err = fmt.Sprint(outcome.Err), nil
				for _, addr := range []common.Address{caller, address(1), address(2), address(7), address(8), address(9), delegated, nobody} {
					result.State["balance of "+addr.Hex()] = common.BigToHash(r.State().GetBalance(addr).ToBig())
					for key := range byte(120) {
						if value := r.State().GetState(addr, slotKey(key)); value != (common.Hash{}) {
							result.State[fmt.Sprint(key, " of ", addr.Hex())] = value
						}
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return result, told
		}
		want, wantTold := run(nil, common.Address{})
		for _, swift := range []common.Address{{}, caller} {
			have, haveTold := run(quiet, swift)
			if diff := cmp.Diff(wantTold, haveTold); diff != "" {
				t.Fatalf("hooks, swift %s (-with hooks throughout +quiet):\n%s", swift, diff)
			}
			if diff := cmp.Diff(want, have); diff != "" {
				t.Fatalf("swift %s (-with hooks throughout +quiet):\n%s", swift, diff)
			}
		}
	})
}
