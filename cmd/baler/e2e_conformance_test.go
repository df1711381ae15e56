package main

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"baler/devchain"
	"baler/entrypoint"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	bytecode "github.com/ethereum/go-ethereum/core/vm/program"
	"github.com/holiman/uint256"
)

// Contracts that these tests put on the chain: an account that looks at the clock, a paymaster that reads its own storage
// without a stake, and one that agrees to everything.
var (
	clockWatcher = common.Address{0xc1, 19: 1}
	bookkeeper   = common.Address{0xc1, 19: 2}
	generous     = common.Address{0xc1, 19: 3}
)

func conformanceContracts() types.GenesisAlloc {
	answers := func(p *bytecode.Program, words ...byte) []byte {
		for i, word := range words {
			p.Push(word).Push(32 * i).Op(vm.MSTORE)
		}
		return p.Return(0, 32*len(words)).Bytes()
	}
	return types.GenesisAlloc{
		clockWatcher: {Balance: new(big.Int), Code: answers(bytecode.New().Op(vm.TIMESTAMP, vm.POP), 0)},
		bookkeeper:   {Balance: new(big.Int), Code: answers(bytecode.New().Push(0).Op(vm.SLOAD, vm.POP), 0x40, 0, 0)},
		generous:     {Balance: new(big.Int), Code: answers(bytecode.New(), 0x40, 0, 0)},
	}
}

// deposited gives an entity a deposit at the EntryPoint.
func (w *world) deposited(t *testing.T, ep entrypoint.EntryPoint, entity common.Address, wei *big.Int) {
	t.Helper()
	hash := w.pay(t, ep.Address, wei, pack(t, "v0.7/EntryPoint.json", "depositTo", entity))
	w.mine(t, 1)
	w.awaitTransaction(t, hash)
}

// paidBy lets a paymaster without data pay.
func paidBy(paymaster common.Address) change {
	return func(op *userop.UserOperation) {
		op.Paymaster, op.PaymasterVerificationGasLimit, op.PaymasterPostOpGasLimit = &paymaster, 60_000, 10_000
	}
}

// Each error of ERC-7769, as a client meets it, with the data that the ERC has it carry.
func TestEachErrorOfERC7769(t *testing.T) {
	t.Parallel()
	const v = userop.V07
	w := startWorld(t, devchain.Config{Mining: devchain.Manual, Alloc: conformanceContracts()}, "--bundling-mode=manual")
	ep := entrypoint.Canonical(v)
	accounts := w.deployedAccounts(t, v, 3)
	a := accounts[0]
	op := func(changes ...change) *userop.UserOperation { return a.op(t, w.count(t), changes...) }
	for _, entity := range []common.Address{clockWatcher, bookkeeper} {
		w.deposited(t, ep, entity, devchainEther(1))
	}
	watcher := op()
	watcher.Sender, watcher.Nonce, watcher.Signature = clockWatcher, uint256.Int{}, nil
	malformed, _ := asJSON(t, op()).(map[string]any)
	malformed["callGasLimit"] = "many"
	forged := op()
	forged.Signature = a.op(t, w.count(t), fees(51, 2)).Signature

	for _, test := range []struct {
		name string
		op   any
		code int
		data map[string]string // members that must be there, and what they hold
	}{
		{"malformed", malformed, -32602, nil},
		{"a nonce that is taken", op(nonce(0, a.nonce-1)), -32500, nil},
		{"a paymaster without code", op(paidBy(common.Address{0xee})), -32501, map[string]string{"paymaster": common.Address{0xee}.Hex()}},
		{"an account that looks at the clock", watcher, -32502, map[string]string{"sender": clockWatcher.Hex(), "rule": "OP-011"}},
		{"a paymaster's time that is over", op(a.sponsored(w.chain.Head().Time-1000, 0)), -32503, map[string]string{"validUntil": "0x", "validAfter": "0x"}},
		{"a paymaster that keeps books without a stake", op(paidBy(bookkeeper)), -32505, map[string]string{
			"paymaster": bookkeeper.Hex(), "minimumStake": "0x", "minimumUnstakeDelay": "0x",
		}},
		{"another operation's signature", forged, -32507, nil},
	} {
		t.Run(fmt.Sprintf("%d %s", test.code, test.name), func(t *testing.T) { w.wantRefusal(t, ep, test.op, test.code, test.data) })
	}
	t.Run("-32508 a paymaster that can pay for one", func(t *testing.T) {
		first := a.op(t, w.count(t), paidBy(generous))
		most := new(big.Int).SetUint64(first.CallGasLimit + first.VerificationGasLimit + first.PreVerificationGas + 70_000)
		most.Mul(most, first.MaxFeePerGas.ToBig())
		w.deposited(t, ep, generous, most.Add(most, big.NewInt(1)))
		a.send(t, first)
		w.wantRefusal(t, ep, accounts[1].op(t, w.count(t), paidBy(generous)), -32508, map[string]string{"paymaster": generous.Hex()})
	})
	t.Run("-32504 a banned paymaster", func(t *testing.T) {
		paymaster := w.chain.Contracts().Paymasters[v]
		w.call(t, new(string), "debug_bundler_setReputation", []map[string]any{
			{"address": paymaster, "opsSeen": "0x2710", "opsIncluded": "0x0"},
		}, ep.Address)
		b := accounts[2]
		w.wantRefusal(t, ep, b.op(t, w.count(t), b.sponsored(0, 0)), -32504, map[string]string{"paymaster": paymaster.Hex()})
	})
	t.Run("-32521 a call that reverts, in an estimate", func(t *testing.T) {
		b := accounts[2]
		r := w.refused(t, "eth_estimateUserOperationGas", question(t, b.op(t, w.fail(t, "too early"))), ep.Address)
		if r.code != -32521 || !strings.Contains(r.message, "too early") {
			t.Errorf("have %d %q, want -32521 and the reason", r.code, r.message)
		}
	})
}

// wantRefusal sends an operation that must be refused.
func (w *world) wantRefusal(t *testing.T, ep entrypoint.EntryPoint, op any, code int, data map[string]string) {
	t.Helper()
	r := w.refused(t, "eth_sendUserOperation", op, ep.Address)
	if r.code != code || r.message == "" {
		t.Errorf("have %d %q, want %d with a message", r.code, r.message, code)
	}
	for name, want := range data {
		if have, ok := r.data[name].(string); !ok || !strings.HasPrefix(strings.ToLower(have), strings.ToLower(want)) {
			t.Errorf("data %s: have %v, want %s", name, r.data[name], want)
		}
	}
}

func devchainEther(n int64) *big.Int { return new(big.Int).Mul(big.NewInt(n), big.NewInt(1e18)) }

// Each method of ERC-7769 over HTTP, with the parameters and the answer that the ERC shows.
func TestEachMethodOfERC7769(t *testing.T) {
	t.Parallel()
	const v = userop.V07
	w := startWorld(t, devchain.Config{Mining: devchain.Manual}, "--entry-point="+v.String()) // one, as some methods name none
	ep := entrypoint.Canonical(v)
	a := w.deployedAccounts(t, v, 1)[0]
	raw := func(t *testing.T, method string, args ...any) string {
		t.Helper()
		var answer json.RawMessage
		w.call(t, &answer, method, args...)
		return string(answer)
	}
	object := func(t *testing.T, method string, args ...any) map[string]json.RawMessage {
		t.Helper()
		var answer map[string]json.RawMessage
		w.call(t, &answer, method, args...)
		return answer
	}
	has := func(t *testing.T, answer map[string]json.RawMessage, members ...string) {
		t.Helper()
		for _, member := range members {
			if len(answer[member]) == 0 || string(answer[member]) == "null" {
				t.Errorf("have %v, want the member %s", answer, member)
			}
		}
	}
	ok := func(t *testing.T, method string, args ...any) {
		t.Helper()
		if have := raw(t, method, args...); have != `"ok"` {
			t.Errorf("%s: have %s, want \"ok\"", method, have)
		}
	}
	var hash common.Hash
	entity := common.Address{0xab}
	for _, step := range []struct {
		method string
		do     func(t *testing.T)
	}{
		{"debug_bundler_setBundlingMode", func(t *testing.T) { ok(t, "debug_bundler_setBundlingMode", "manual") }},
		{"eth_chainId", func(t *testing.T) {
			if have := raw(t, "eth_chainId"); have != `"0x539"` {
				t.Errorf("have %s, want 0x539", have)
			}
		}},
		{"eth_supportedEntryPoints", func(t *testing.T) {
			if have := raw(t, "eth_supportedEntryPoints"); !strings.Contains(strings.ToLower(have), strings.ToLower(ep.Address.Hex())) {
				t.Errorf("have %s, want %s in it", have, ep.Address)
			}
		}},
		{"eth_estimateUserOperationGas", func(t *testing.T) {
			has(t, object(t, "eth_estimateUserOperationGas", question(t, a.op(t, w.count(t))), ep.Address),
				"preVerificationGas", "verificationGasLimit", "callGasLimit")
		}},
		{"eth_sendUserOperation", func(t *testing.T) {
			op := a.op(t, w.count(t))
			if hash = a.send(t, op); hash != a.hash(t, op) {
				t.Errorf("have %s, want the operation's hash", hash)
			}
		}},
		{"debug_bundler_dumpMempool", func(t *testing.T) {
			if have := w.mempool(t, ep); len(have) != 1 || have[0] != hash {
				t.Errorf("have %v, want the operation", have)
			}
		}},
		{"debug_bundler_sendBundleNow", func(t *testing.T) {
			if tx := w.sendBundleNow(t); !w.chain.InPool(tx) {
				t.Errorf("have transaction %s, which the node does not know", tx)
			}
			w.mine(t, 1)
		}},
		{"eth_getUserOperationReceipt", func(t *testing.T) {
			w.awaitReceipt(t, hash)
			has(t, object(t, "eth_getUserOperationReceipt", hash),
				"userOpHash", "entryPoint", "sender", "nonce", "actualGasCost", "actualGasUsed", "success", "logs", "receipt")
		}},
		{"eth_getUserOperationByHash", func(t *testing.T) {
			has(t, object(t, "eth_getUserOperationByHash", hash), "userOperation", "entryPoint", "blockNumber", "blockHash", "transactionHash")
		}},
		{"debug_bundler_setReputation", func(t *testing.T) {
			ok(t, "debug_bundler_setReputation", []map[string]any{{"address": entity, "opsSeen": "0x14", "opsIncluded": "0x0D"}}, ep.Address)
		}},
		{"debug_bundler_dumpReputation", func(t *testing.T) {
			var list []map[string]any
			w.call(t, &list, "debug_bundler_dumpReputation", ep.Address)
			for _, entry := range list {
				if address, _ := entry["address"].(string); common.HexToAddress(address) == entity {
					if entry["opsSeen"] != "0x14" || entry["opsIncluded"] != "0xd" || entry["status"] != "ok" {
						t.Errorf("have %v, want 0x14 seen, 0xd included, ok", entry)
					}
					return
				}
			}
			t.Errorf("have %v, want %s in it", list, entity)
		}},
		{"debug_bundler_addUserOps", func(t *testing.T) {
			op := a.op(t, w.count(t))
			ok(t, "debug_bundler_addUserOps", []any{op})
			if have := w.mempool(t, ep); len(have) != 1 || have[0] != a.hash(t, op) {
				t.Errorf("have %v in the mempool, want the operation", have)
			}
		}},
		{"debug_bundler_clearState", func(t *testing.T) {
			ok(t, "debug_bundler_clearState")
			if have := w.mempool(t, ep); len(have) != 0 {
				t.Errorf("have %v in the mempool, want nothing", have)
			}
		}},
	} {
		t.Run(step.method, step.do)
	}
}
