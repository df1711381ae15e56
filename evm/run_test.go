package evm_test

import (
	"context"
	"errors"
	"math/big"
	"testing"

	"baler/evm"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/core/vm/program"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
)

// returning is code that returns the word that the instructions leave on the stack.
func returning(p *program.Program) []byte {
	return p.Push(0).Op(vm.MSTORE).Push(32).Push(0).Op(vm.RETURN).Bytes()
}

// sload is code that returns the value of a slot.
func sload(key byte) []byte { return returning(program.New().Push(key).Op(vm.SLOAD)) }

func execute(t *testing.T, view *evm.View, opts evm.RunOptions, to common.Address) []byte {
	t.Helper()
	var ret []byte
	err := view.Execute(t.Context(), opts, func(r *evm.Run) error {
		var err error
		ret, _, err = r.Call(address(0xff), to, nil, nil, 1_000_000, nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return ret
}

// A chain of slots, each holding the number of the next one, is read level by level; values on one level together.
func TestExecuteReadsInRounds(t *testing.T) {
	// slot 1 → slot 0xab → sum of slots 0x10..0x19
	p := program.New().Push(1).Op(vm.SLOAD).Op(vm.SLOAD)
	for key := byte(0x10); key < 0x1a; key++ {
		p.Push(key).Op(vm.SLOAD).Op(vm.ADD)
	}
	alloc := types.GenesisAlloc{address(1): {
		Code: returning(p),
		Storage: map[common.Hash]common.Hash{
			slotKey(1): slotKey(0xab), slotKey(0xab): slotKey(5), slotKey(0x10): slotKey(2), slotKey(0x19): slotKey(3),
		},
	}}
	node := newFakeNode(alloc)
	view := mustView(t, node, evm.Options{})
	if ret := execute(t, view, evm.RunOptions{}, address(1)); new(big.Int).SetBytes(ret).Int64() != 10 {
		t.Errorf("have %x, want 10", ret)
	}
	// The account, then slots 1, 0 (what a zero slot 1 points to) and 0x10.., then 0xab.
	if node.batches != 3 {
		t.Errorf("have %d batches, want 3", node.batches)
	}
	before := node.batches
	execute(t, view, evm.RunOptions{}, address(1))
	if node.batches != before {
		t.Errorf("have %d more batches for what is known, want none", node.batches-before)
	}

	// Without speculation every value is a round trip of its own: the result is the same.
	slow := newFakeNode(alloc)
	run, err := mustView(t, slow, evm.Options{}).NewRun(t.Context(), evm.RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ret, gasUsed, err := run.Call(address(0xff), address(1), nil, nil, 1_000_000, nil)
	if err != nil || new(big.Int).SetBytes(ret).Int64() != 10 || gasUsed < 12*params.ColdSloadCostEIP2929 {
		t.Errorf("have %x, gas %d, %v, want 10 and twelve cold reads", ret, gasUsed, err)
	}
	if slow.batches != 14 {
		t.Errorf("have %d batches, want 14", slow.batches)
	}
}

// The chain of reads is deeper than the speculative rounds: the rest is read one by one, with the right result.
func TestExecuteEndsSpeculating(t *testing.T) {
	const depth = 30
	p := program.New().Push(1)
	storage := make(map[common.Hash]common.Hash)
	for i := byte(1); i <= depth; i++ {
		p.Op(vm.SLOAD)
		storage[slotKey(i)] = slotKey(i + 1)
	}
	node := newFakeNode(types.GenesisAlloc{address(1): {Code: returning(p), Storage: storage}})
	view := mustView(t, node, evm.Options{MaxRounds: 4})
	if ret := execute(t, view, evm.RunOptions{}, address(1)); new(big.Int).SetBytes(ret).Int64() != depth+1 {
		t.Errorf("have %x, want %d", ret, depth+1)
	}
}

func TestReadSetHoldsWhatWasRead(t *testing.T) {
	alloc := types.GenesisAlloc{address(1): {Code: sload(1), Balance: big.NewInt(4), Storage: map[common.Hash]common.Hash{slotKey(1): slotKey(9)}}}
	view := mustView(t, newFakeNode(alloc), evm.Options{})
	// What is prefetched but not read is not in it.
	if err := view.Prefetch(t.Context(), []common.Address{address(5)}, map[common.Address][]common.Hash{address(1): {slotKey(2)}}); err != nil {
		t.Fatal(err)
	}
	var reads *evm.ReadSet
	err := view.Execute(t.Context(), evm.RunOptions{}, func(r *evm.Run) error {
		_, _, err := r.Call(address(0xff), address(1), nil, nil, 100_000, nil)
		reads = r.ReadSet()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &evm.ReadSet{
		Accounts: map[common.Address]evm.AccountRead{
			address(1):    {CodeHash: crypto.Keccak256Hash(sload(1))},
			address(0xff): {CodeHash: types.EmptyCodeHash, Empty: true}, // the caller, when no value was moved
		},
		Slots: map[evm.Slot]common.Hash{{Account: address(1), Key: slotKey(1)}: slotKey(9)},
	}
	if diff := cmp.Diff(want, reads); diff != "" {
		t.Errorf("read set (-want +have):\n%s", diff)
	}
}

func TestOverrides(t *testing.T) {
	alloc := types.GenesisAlloc{address(1): {Code: sload(1), Storage: map[common.Hash]common.Hash{slotKey(1): slotKey(9), slotKey(2): slotKey(8)}}}
	slot2 := sload(2)
	balance := returning(program.New().Op(vm.SELFBALANCE))
	nine := uint64(9)
	cases := []struct {
		name     string
		override evm.Override
		want     int64
	}{
		{"nothing", evm.Override{}, 9},
		{"slot", evm.Override{StateDiff: map[common.Hash]common.Hash{slotKey(1): slotKey(7)}}, 7},
		{"another slot", evm.Override{StateDiff: map[common.Hash]common.Hash{slotKey(3): slotKey(7)}}, 9},
		{"whole storage", evm.Override{State: map[common.Hash]common.Hash{slotKey(2): slotKey(7)}}, 0},
		{"code", evm.Override{Code: slot2}, 8},
		{"code and balance", evm.Override{Code: balance, Balance: uint256.NewInt(5)}, 5},
		{"all but storage", evm.Override{Code: slot2, Balance: uint256.NewInt(5), Nonce: &nine}, 8},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			view := mustView(t, newFakeNode(alloc), evm.Options{})
			ret := execute(t, view, evm.RunOptions{Overrides: evm.Overrides{address(1): c.override}}, address(1))
			if have := new(big.Int).SetBytes(ret).Int64(); have != c.want {
				t.Errorf("have %d, want %d", have, c.want)
			}
		})
	}
	t.Run("state and stateDiff", func(t *testing.T) {
		both := evm.Override{State: map[common.Hash]common.Hash{}, StateDiff: map[common.Hash]common.Hash{}}
		if _, err := mustView(t, newFakeNode(alloc), evm.Options{}).NewRun(t.Context(), evm.RunOptions{Overrides: evm.Overrides{address(1): both}}); err == nil {
			t.Error("have no error, want one")
		}
	})
	t.Run("no code", func(t *testing.T) {
		view := mustView(t, newFakeNode(alloc), evm.Options{})
		if ret := execute(t, view, evm.RunOptions{Overrides: evm.Overrides{address(1): {Code: []byte{}}}}, address(1)); len(ret) != 0 {
			t.Errorf("have %x, want nothing", ret)
		}
	})
}

// The block that code sees is the one after the header, its hash the header's.
func TestBlockContext(t *testing.T) {
	head := header(100)
	code := map[string]struct {
		code []byte
		want []byte
	}{
		"number":       {returning(program.New().Op(vm.NUMBER)), big.NewInt(101).Bytes()},
		"timestamp":    {returning(program.New().Op(vm.TIMESTAMP)), new(big.Int).SetUint64(head.Time + 1).Bytes()},
		"base fee":     {returning(program.New().Op(vm.BASEFEE)), head.BaseFee.Bytes()}, // half full: unchanged
		"chain id":     {returning(program.New().Op(vm.CHAINID)), big.NewInt(1337).Bytes()},
		"head's hash":  {returning(program.New().Push(100).Op(vm.BLOCKHASH)), head.Hash().Bytes()},
		"parent":       {returning(program.New().Push(99).Op(vm.BLOCKHASH)), head.ParentHash.Bytes()},
		"grandparent":  {returning(program.New().Push(98).Op(vm.BLOCKHASH)), common.Hash{31: 0x98}.Bytes()},
		"origin":       {returning(program.New().Op(vm.ORIGIN)), address(0xee).Bytes()},
		"gas price":    {returning(program.New().Op(vm.GASPRICE)), big.NewInt(3).Bytes()},
		"gas limit":    {returning(program.New().Op(vm.GASLIMIT)), new(big.Int).SetUint64(head.GasLimit).Bytes()},
		"future block": {returning(program.New().Push(101).Op(vm.BLOCKHASH)), nil},
	}
	history := types.Account{Code: []byte{0}, Storage: map[common.Hash]common.Hash{slotKey(98): {31: 0x98}}}
	for name, c := range code {
		t.Run(name, func(t *testing.T) {
			node := newFakeNode(types.GenesisAlloc{address(1): {Code: c.code}, params.HistoryStorageAddress: history})
			view := newSource(node, evm.Options{}).View(head)
			ret := execute(t, view, evm.RunOptions{Origin: address(0xee), GasPrice: uint256.NewInt(3)}, address(1))
			if want := common.BytesToHash(c.want); common.BytesToHash(ret) != want {
				t.Errorf("have %x, want %s", ret, want)
			}
		})
	}
	t.Run("a hash nobody has is an error", func(t *testing.T) {
		node := newFakeNode(types.GenesisAlloc{address(1): {Code: code["grandparent"].code}})
		err := mustView(t, node, evm.Options{}).Execute(t.Context(), evm.RunOptions{}, func(r *evm.Run) error {
			_, _, err := r.Call(address(0xff), address(1), nil, nil, 100_000, nil)
			return err
		})
		if !evm.IsStateError(err) {
			t.Errorf("have %v, want a state error", err)
		}
	})
}

// A read that fails in the middle of a run fails the run, also where the code would have swallowed the failure.
func TestAFailedReadFailsTheRun(t *testing.T) {
	// Call a contract with 1/64 of the gas kept, ignore its success, return 1.
	caller := returning(program.New().Call(nil, address(2), 0, 0, 0, 0, 0).Op(vm.POP).Push(1))
	alloc := types.GenesisAlloc{address(1): {Code: caller}, address(2): {Code: sload(1)}}
	node := newFakeNode(alloc)
	view := mustView(t, node, evm.Options{})
	if err := view.Prefetch(t.Context(), []common.Address{address(1), address(2), address(0xff)}, nil); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("connection reset")
	node.err = broken
	run, err := view.NewRun(t.Context(), evm.RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ret, _, err := run.Call(address(0xff), address(1), nil, nil, 1_000_000, nil)
	if !errors.Is(err, broken) || !evm.IsStateError(err) || ret != nil {
		t.Errorf("have %x, %v, want the node's error", ret, err)
	}
	if _, _, err := run.Call(address(0xff), address(1), nil, nil, 1_000_000, nil); !errors.Is(err, broken) {
		t.Errorf("a second call: have %v, want the run to stay failed", err)
	}
	if err := run.Err(); !errors.Is(err, broken) {
		t.Errorf("Err: have %v, want the node's", err)
	}
	node.err = nil
	if ret := execute(t, view, evm.RunOptions{}, address(1)); new(big.Int).SetBytes(ret).Int64() != 1 {
		t.Errorf("afterwards: have %x, want 1", ret)
	}
}

func TestEndlessCodeEndsWithItsContext(t *testing.T) {
	loop := []byte{byte(vm.JUMPDEST), byte(vm.PUSH0), byte(vm.JUMP)}
	view := mustView(t, newFakeNode(types.GenesisAlloc{address(1): {Code: loop}}), evm.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	steps := 0
	hooks := &tracing.Hooks{OnOpcode: func(uint64, byte, uint64, uint64, tracing.OpContext, []byte, int, error) {
		if steps++; steps == 1000 {
			cancel()
		}
	}}
	run, err := view.NewRun(ctx, evm.RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := run.Call(address(0xff), address(1), nil, nil, 1<<62, hooks); !errors.Is(err, context.Canceled) {
		t.Errorf("have %v, want context.Canceled", err)
	}
}

// Code that reads without end is stopped by a bound, not by memory.
func TestReadsAreBounded(t *testing.T) {
	loop := program.New().Op(vm.GAS).Op(vm.JUMPDEST).Op(vm.DUP1).Op(vm.SLOAD).Op(vm.POP).Push(1).Op(vm.ADD).Push(1).Op(vm.JUMP).Bytes()
	view := mustView(t, newFakeNode(types.GenesisAlloc{address(1): {Code: loop}}), evm.Options{MaxReads: 50})
	err := view.Execute(t.Context(), evm.RunOptions{}, func(r *evm.Run) error {
		_, _, err := r.Call(address(0xff), address(1), nil, nil, 10_000_000, nil)
		return err
	})
	if !errors.Is(err, evm.ErrTooManyReads) || !evm.IsStateError(err) {
		t.Errorf("have %v, want ErrTooManyReads", err)
	}
}

func TestHooksCanStopACall(t *testing.T) {
	view := mustView(t, newFakeNode(types.GenesisAlloc{address(1): {Code: stopCode()}}), evm.Options{})
	run, err := view.NewRun(t.Context(), evm.RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	logs := 0
	hooks := &tracing.Hooks{OnLog: func(*types.Log) {
		logs++
		run.Stop()
	}}
	if _, _, err := run.Call(address(0xff), address(1), nil, nil, 1_000_000, hooks); err != nil {
		t.Fatal(err)
	}
	if have := run.State().GetState(address(1), slotKey(1)); logs != 1 || !run.Stopped() || have != slotKey(5) {
		t.Errorf("have %d logs, slot %s, stopped %t, want one log and the slot as it was then", logs, have, run.Stopped())
	}
}

// stopCode stores 5, logs, jumps, stores 6.
func stopCode() []byte {
	return []byte{
		byte(vm.PUSH1), 5, byte(vm.PUSH1), 1, byte(vm.SSTORE),
		byte(vm.PUSH0), byte(vm.PUSH0), byte(vm.LOG0),
		byte(vm.PUSH1), 11, byte(vm.JUMP), byte(vm.JUMPDEST),
		byte(vm.PUSH1), 6, byte(vm.PUSH1), 1, byte(vm.SSTORE),
	}
}

func TestSnapshots(t *testing.T) {
	store := program.New().Push(5).Push(1).Op(vm.SSTORE).Bytes()
	view := mustView(t, newFakeNode(types.GenesisAlloc{address(1): {Code: store}}), evm.Options{})
	run, err := view.NewRun(t.Context(), evm.RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	before := run.Snapshot()
	call := func() uint64 {
		_, gasUsed, err := run.Call(address(0xff), address(1), nil, nil, 1_000_000, nil)
		if err != nil {
			t.Fatal(err)
		}
		return gasUsed
	}
	first := call()
	run.RevertTo(before)
	if have := run.State().GetState(address(1), slotKey(1)); have != (common.Hash{}) {
		t.Errorf("slot: have %s, want zero again", have)
	}
	if again := call(); again != first {
		t.Errorf("gas: have %d the second time, want %d: the slot is cold again", again, first)
	}
}

func TestAuthorizations(t *testing.T) {
	key, err := crypto.ToECDSA(crypto.Keccak256([]byte("authority")))
	if err != nil {
		t.Fatal(err)
	}
	authority := crypto.PubkeyToAddress(key.PublicKey)
	sign := func(chainID, nonce uint64, to common.Address) types.SetCodeAuthorization {
		auth, err := types.SignSetCode(key, types.SetCodeAuthorization{ChainID: *uint256.NewInt(chainID), Nonce: nonce, Address: to})
		if err != nil {
			t.Fatal(err)
		}
		return auth
	}
	one := returning(program.New().Push(1))
	two := returning(program.New().Push(2))
	cases := []struct {
		name      string
		auths     []types.SetCodeAuthorization
		authority types.Account
		want      int64 // what a call of the authority returns, 0: nothing
		nonce     uint64
	}{
		{"our chain", []types.SetCodeAuthorization{sign(1337, 4, address(1))}, types.Account{Nonce: 4}, 1, 5},
		{"every chain", []types.SetCodeAuthorization{sign(0, 4, address(1))}, types.Account{Nonce: 4}, 1, 5},
		{"another chain", []types.SetCodeAuthorization{sign(1, 4, address(1))}, types.Account{Nonce: 4}, 0, 4},
		{"stale nonce", []types.SetCodeAuthorization{sign(0, 3, address(1))}, types.Account{Nonce: 4}, 0, 4},
		{"two in a row", []types.SetCodeAuthorization{sign(0, 4, address(1)), sign(0, 5, address(2))}, types.Account{Nonce: 4}, 2, 6},
		{"delegated before", []types.SetCodeAuthorization{sign(0, 4, address(2))}, types.Account{Nonce: 4, Code: types.AddressToDelegation(address(1))}, 2, 5},
		{"undelegation", []types.SetCodeAuthorization{sign(0, 4, common.Address{})}, types.Account{Nonce: 4, Code: types.AddressToDelegation(address(1))}, 0, 5},
		{"a contract", []types.SetCodeAuthorization{sign(0, 4, address(1))}, types.Account{Nonce: 4, Code: two}, 2, 4},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			node := newFakeNode(types.GenesisAlloc{address(1): {Code: one}, address(2): {Code: two}, authority: c.authority})
			view := mustView(t, node, evm.Options{})
			ret := execute(t, view, evm.RunOptions{Authorizations: c.auths}, authority)
			if have := new(big.Int).SetBytes(ret).Int64(); have != c.want {
				t.Errorf("have %d, want %d", have, c.want)
			}
			err := view.Execute(t.Context(), evm.RunOptions{Authorizations: c.auths}, func(r *evm.Run) error {
				if have := r.State().GetNonce(authority); have != c.nonce {
					t.Errorf("nonce: have %d, want %d", have, c.nonce)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestChainConfigs(t *testing.T) {
	for id, want := range map[uint64]*params.ChainConfig{
		1: params.MainnetChainConfig, 11155111: params.SepoliaChainConfig, 560048: params.HoodiChainConfig,
	} {
		if have := evm.ChainConfigFor(id); have != want {
			t.Errorf("chain %d: have %v, want go-ethereum's", id, have)
		}
	}
	for _, id := range []uint64{1337, 31337, 10} {
		cfg := evm.ChainConfigFor(id)
		rules := cfg.Rules(big.NewInt(0), true, 0)
		if cfg.ChainID.Uint64() != id || !rules.IsOsaka || rules.IsAmsterdam {
			t.Errorf("chain %d: have %+v, want mainnet's forks up to Osaka", id, rules)
		}
		if err := cfg.CheckConfigForkOrder(); err != nil {
			t.Errorf("chain %d: %v", id, err)
		}
	}
}
