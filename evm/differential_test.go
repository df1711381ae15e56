package evm_test

import (
	"bytes"
	"context"
	"errors"
	"math/big"
	"testing"

	"baler/devchain"
	"baler/entrypoint"
	"baler/evm"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/core/vm/program"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

// txArgs is a transaction object of eth_call.
type txArgs struct {
	From common.Address `json:"from"`
	To   common.Address `json:"to"`
	Gas  hexutil.Uint64 `json:"gas"`
	Data hexutil.Bytes  `json:"input"`
}

type nodeOverride struct {
	Code      hexutil.Bytes               `json:"code,omitempty"`
	Balance   *hexutil.Big                `json:"balance,omitempty"`
	StateDiff map[common.Hash]common.Hash `json:"stateDiff,omitempty"`
}

// nodeAnswer is what the node says of a call: by eth_call its data, by debug_traceCall its gas.
type nodeAnswer struct {
	data     []byte
	reverted bool
	gasUsed  uint64
}

// probe is an address whose code the tests choose.
func probe() common.Address { return address(0xcc) }

func askNode(ctx context.Context, tb fataler, node *rpc.Client, block common.Hash, args txArgs, code []byte) nodeAnswer {
	overrides := map[common.Address]nodeOverride{}
	if code != nil {
		overrides[probe()] = nodeOverride{
			Code: code, Balance: (*hexutil.Big)(big.NewInt(1000)), StateDiff: map[common.Hash]common.Hash{slotKey(1): slotKey(2)},
		}
	}
	at := map[string]any{"blockHash": block}
	var answer nodeAnswer
	var ret hexutil.Bytes
	err := node.CallContext(ctx, &ret, "eth_call", args, at, overrides)
	answer.data = ret
	var withData rpc.DataError
	switch {
	case errors.As(err, &withData) && withData.ErrorData() != nil:
		answer.reverted, answer.data = true, hexutil.MustDecode(withData.ErrorData().(string))
	case err != nil:
		answer.reverted = true
	}
	var frame struct {
		GasUsed hexutil.Uint64 `json:"gasUsed"`
		Error   string         `json:"error"`
	}
	if err := node.CallContext(ctx, &frame, "debug_traceCall", args, at,
		map[string]any{"tracer": "callTracer", "stateOverrides": overrides}); err != nil {
		tb.Fatalf("debug_traceCall: %v", err)
	}
	answer.gasUsed = uint64(frame.GasUsed)
	if answer.reverted != (frame.Error != "") {
		tb.Fatalf("the node contradicts itself: eth_call %v, trace %q", err, frame.Error)
	}
	return answer
}

func runLocally(ctx context.Context, tb fataler, view *evm.View, args txArgs, code []byte) nodeAnswer {
	block := evm.AtHeader(evm.ChainConfigFor(1337), view.Header())
	opts := evm.RunOptions{Block: &block}
	if code != nil {
		opts.Overrides = evm.Overrides{probe(): {
			Code: code, Balance: uint256.NewInt(1000), StateDiff: map[common.Hash]common.Hash{slotKey(1): slotKey(2)},
		}}
	}
	var answer nodeAnswer
	err := view.Execute(ctx, opts, func(r *evm.Run) error {
		outcome, err := r.Apply(evm.Message{From: args.From, To: args.To, Data: args.Data, Gas: uint64(args.Gas)}, nil)
		if err != nil {
			return err
		}
		answer = nodeAnswer{data: outcome.Return, reverted: outcome.Err != nil, gasUsed: outcome.GasUsed}
		return nil
	})
	if err != nil {
		tb.Fatalf("local run: %v", err)
	}
	return answer
}

// fataler is the part of testing.T and rapid.T that both have.
type fataler interface {
	rapid.TB
}

func compare(tb fataler, name string, local, node nodeAnswer) {
	if local.reverted != node.reverted || !bytes.Equal(local.data, node.data) {
		tb.Errorf("%s: have %x (reverted %t), the node says %x (reverted %t)", name, local.data, local.reverted, node.data, node.reverted)
	}
	if local.gasUsed != node.gasUsed {
		tb.Errorf("%s: have gas used %d, the node says %d", name, local.gasUsed, node.gasUsed)
	}
}

func selector(signature string) []byte { return crypto.Keccak256([]byte(signature))[:4] }

func words(values ...any) []byte {
	var out []byte
	for _, v := range values {
		switch v := v.(type) {
		case int:
			out = append(out, common.BigToHash(big.NewInt(int64(v))).Bytes()...)
		case common.Address:
			out = append(out, common.LeftPadBytes(v[:], 32)...)
		}
	}
	return out
}

// The same calls, here and at the node, on the same block: same return data, same outcome, same gas.
func TestLocalRunsEqualTheNodes(t *testing.T) {
	chain, err := devchain.Start(t.Context(), devchain.Config{Mining: devchain.Manual})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := chain.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := chain.Mine(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	node, err := rpc.DialContext(t.Context(), chain.HTTPURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Close)
	head := chain.Head()
	view := newSource(node, evm.Options{}).View(head)
	c := chain.Contracts()
	from := address(0xfe)
	ctx := t.Context()
	check := func(tb fataler, name string, to common.Address, data, code []byte, gas uint64) {
		args := txArgs{From: from, To: to, Gas: hexutil.Uint64(gas), Data: data}
		compare(tb, name, runLocally(ctx, tb, view, args, code), askNode(ctx, tb, node, head.Hash(), args, code))
	}

	t.Run("contracts", func(t *testing.T) {
		for _, v := range userop.Versions() {
			ep := c.EntryPoints[v]
			op := &userop.UserOperation{Version: v, Sender: address(9), CallData: []byte{1, 2, 3}, VerificationGasLimit: 100_000, Signature: []byte{1}}
			name := v.String()
			check(t, name+" getUserOpHash", ep, entrypoint.EncodeGetUserOpHash(op), nil, 1_000_000)
			check(t, name+" getDepositInfo", ep, entrypoint.EncodeGetDepositInfo(c.Paymasters[v]), nil, 1_000_000)
			check(t, name+" handleOps of nobody", ep, entrypoint.EncodeHandleOps(v, []*userop.UserOperation{op}, from), nil, 5_000_000)
			check(t, name+" empty handleOps", ep, entrypoint.EncodeHandleOps(v, nil, from), nil, 5_000_000)
			check(t, name+" getAddress", c.AccountFactories[v], append(selector("getAddress(address,uint256)"), words(from, 1)...), nil, 1_000_000)
			check(t, name+" createAccount", c.AccountFactories[v], append(selector("createAccount(address,uint256)"), words(from, 1)...), nil, 3_000_000)
		}
		check(t, "count", c.Counter, selector("count()"), nil, 200_000)
		check(t, "fail", c.Counter, append(append(selector("fail(string)"), words(32, 3)...), common.RightPadBytes([]byte("bad"), 32)...), nil, 200_000)
		check(t, "burn", c.Counter, append(selector("burn(uint256)"), words(500_000)...), nil, 2_000_000)
		check(t, "burn out of gas", c.Counter, append(selector("burn(uint256)"), words(500_000)...), nil, 100_000)
		check(t, "no code", address(0x55), []byte{1, 2, 3}, nil, 100_000)
		check(t, "block hash", probe(), nil, returning(program.New().Push(head.Number.Uint64()-3).Op(vm.BLOCKHASH)), 100_000)
	})
	t.Run("precompiled", func(t *testing.T) {
		for _, n := range []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 0x100} {
			addr := common.BigToAddress(new(big.Int).SetUint64(n))
			for _, size := range []int{0, 32, 128, 160, 213} {
				check(t, addr.Hex(), addr, bytes.Repeat([]byte{1}, size), nil, 1_000_000)
			}
		}
	})
	t.Run("random code", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			code := randomCode(t, c)
			check(t, hexutil.Encode(code), probe(), nil, code, rapid.Uint64Range(30_000, 400_000).Draw(t, "gas"))
		})
	})
}

// randomCode is code that does what can differ between two machines: reads and writes state warm and cold, calls known
// contracts and precompiled ones with little or much gas, creates, looks at its context, and returns some of it.
func randomCode(t *rapid.T, c devchain.Contracts) []byte {
	p := program.New()
	targets := []common.Address{c.Counter, c.EntryPoints[userop.V07], c.Multicall3, probe(), address(0x77), {19: 1}, {19: 2}, {19: 4}}
	for range rapid.IntRange(1, 12).Draw(t, "steps") {
		switch rapid.SampledFrom([]string{"sload", "sstore", "tstore", "call", "balance", "context", "create", "log", "keccak"}).Draw(t, "step") {
		case "sload":
			p.Push(rapid.Byte().Draw(t, "slot")%4).Op(vm.SLOAD, vm.POP)
		case "sstore":
			p.Push(rapid.Byte().Draw(t, "value") % 3).Push(rapid.Byte().Draw(t, "slot") % 4).Op(vm.SSTORE)
		case "tstore":
			p.Push(rapid.Byte().Draw(t, "value")).Push(1).Op(vm.TSTORE).Push(1).Op(vm.TLOAD, vm.POP)
		case "call":
			gas := uint256.NewInt(rapid.Uint64Range(0, 60_000).Draw(t, "call gas"))
			value := rapid.IntRange(0, 1).Draw(t, "call value")
			p.Call(gas, rapid.SampledFrom(targets).Draw(t, "target"), value, 0, 4, 0, 32).Op(vm.POP)
			p.Op(vm.RETURNDATASIZE).Push(32).Op(vm.MSTORE)
		case "balance":
			addr := rapid.SampledFrom(targets).Draw(t, "account")
			op := rapid.SampledFrom([]vm.OpCode{vm.BALANCE, vm.EXTCODESIZE, vm.EXTCODEHASH}).Draw(t, "op")
			p.Push(addr).Op(op).Push(64).Op(vm.MSTORE)
		case "context":
			op := rapid.SampledFrom([]vm.OpCode{vm.NUMBER, vm.TIMESTAMP, vm.COINBASE, vm.PREVRANDAO, vm.GASLIMIT, vm.CHAINID, vm.SELFBALANCE, vm.GAS, vm.ORIGIN, vm.CALLER, vm.BLOBBASEFEE}).Draw(t, "op")
			p.Op(op).Push(96).Op(vm.MSTORE)
		case "create":
			// Deploys what memory begins with, mostly one byte STOP or nothing.
			p.Push(rapid.Byte().Draw(t, "salt")).Push(rapid.Byte().Draw(t, "size") % 33).Push(0).Push(0).Op(vm.CREATE2).Push(128).Op(vm.MSTORE)
		case "log":
			p.Push(7).Push(rapid.Byte().Draw(t, "size")).Push(0).Op(vm.LOG1)
		case "keccak":
			p.Push(rapid.Byte().Draw(t, "size")).Push(0).Op(vm.KECCAK256).Push(0).Op(vm.MSTORE)
		}
	}
	end := rapid.SampledFrom([]vm.OpCode{vm.RETURN, vm.RETURN, vm.REVERT, vm.INVALID}).Draw(t, "end")
	return p.Push(160).Push(0).Op(end).Bytes()
}
