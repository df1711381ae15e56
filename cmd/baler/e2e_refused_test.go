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

	"github.com/ethereum/go-ethereum/accounts"
	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// refusedOperation is an operation that the bundler must refuse, and how.
type refusedOperation struct {
	name     string
	op       any // as sent
	code     int
	message  string // in the message; with a leading ^ at its beginning
	dataName string // member of data
	data     common.Address
}

func TestRefusedOperationsLeaveNothingBehind(t *testing.T) {
	// Blocks come only when they are asked for, so that the base fee and the time are known.
	w := startWorld(t, devchain.Config{Mining: devchain.Manual}, "--bundling-mode=manual")
	eachVersion(t, w, func(t *testing.T, v userop.Version) {
		a := w.deployedAccounts(t, v, 1)[0]
		cases := append(refusedByChain(t, w, a), refusedByForm(t, w, a)...)
		for _, c := range cases {
			t.Run(fmt.Sprintf("%d %s", c.code, c.name), func(t *testing.T) {
				r := a.refused(t, c.op)
				if r.code != c.code || !matches(r.message, c.message) {
					t.Errorf("have %d %q, want %d %q", r.code, r.message, c.code, c.message)
				}
				if c.dataName != "" {
					if have, _ := r.data[c.dataName].(string); common.HexToAddress(have) != c.data {
						t.Errorf("have data %v, want %s %s", r.data, c.dataName, c.data)
					}
				}
				if left := w.mempool(t, a.ep); len(left) != 0 {
					t.Errorf("have %v in the mempool, want nothing", left)
				}
			})
		}
		good, err := json.Marshal(a.op(t, w.count(t)))
		if err != nil {
			t.Fatal(err)
		}
		const request = `{"jsonrpc":"2.0","id":7,"method":"eth_sendUserOperation","params":[%s,%q]}`
		w.wrongRequest(t, fmt.Sprintf(request, good[:len(good)-1], a.ep.Address), -32700, "")
		w.wrongRequest(t, fmt.Sprintf(request, good, common.Address{0xba, 0xd0}), -32602, a.ep.Address.Hex())
		if left := w.mempool(t, a.ep); len(left) != 0 {
			t.Errorf("have %v in the mempool after malformed JSON and a wrong EntryPoint, want nothing", left)
		}
		// After all that the account is as welcome as ever.
		a.send(t, a.op(t, w.count(t)))
	})
}

func matches(text, want string) bool {
	if start, found := strings.CutPrefix(want, "^"); found {
		return strings.HasPrefix(text, start)
	}
	return strings.Contains(text, want)
}

// refusedByChain are well-formed operations that the chain would not take.
func refusedByChain(t *testing.T, w *world, a *account) []refusedOperation {
	t.Helper()
	v := a.ep.Version
	op := func(changes ...change) *userop.UserOperation { return a.op(t, w.count(t), changes...) }

	forged := op()
	stranger := *a
	stranger.owner = w.newOwner(t)
	stranger.sign(t, forged)

	garbled := op()
	garbled.Signature = garbled.Signature[:40]

	badPaymaster := op(a.sponsored(0, 0))
	badPaymaster.PaymasterData = append([]byte{}, badPaymaster.PaymasterData...)
	copy(badPaymaster.PaymasterData[64:], signature(t, w.newOwner(t), common.Hash{1}.Bytes()))
	resign(t, a, badPaymaster)

	nobody := w.counterfactual(t, v)
	nobody.factory = common.Address{}

	poor := w.counterfactual(t, v)

	wrongFactory := poor.op(t, nil, func(op *userop.UserOperation) { op.Factory = new(common.Address{0xfa}) })

	paymaster := w.chain.Contracts().Paymasters[v]
	head := w.chain.Head().Time
	cases := []refusedOperation{
		{name: "bad signature", op: forged, code: -32507, message: "^AA24"},
		{name: "signature of the wrong length", op: garbled, code: -32500, message: "^AA23"},
		{name: "bad paymaster signature", op: badPaymaster, code: -32501, message: "^AA34", dataName: "paymaster", data: paymaster},
		{name: "paymaster's time is over", op: op(a.sponsored(head-1000, 0)), code: -32503, message: "^AA32", dataName: "paymaster", data: paymaster},
		{name: "paymaster's time ends in a moment", op: op(a.sponsored(head+10, 0)), code: -32503},
		{name: "paymaster's time has not begun", op: op(a.sponsored(0, head+10_000)), code: -32503, message: "^AA32"},
		{name: "paymaster without code", op: op(func(op *userop.UserOperation) {
			op.Paymaster, op.PaymasterVerificationGasLimit = new(common.Address{0xee}), 50_000
			if !v.Packed() {
				op.PaymasterVerificationGasLimit = 0
			}
		}), code: -32501, message: "^AA30", dataName: "paymaster", data: common.Address{0xee}},
		{name: "nonce in the future", op: op(nonce(0, a.nonce+1)), code: -32500, message: "^AA25"},
		{name: "nonce of the past", op: op(nonce(0, a.nonce-1)), code: -32500, message: "^AA25"},
		{name: "undeployed sender without a factory", op: nobody.op(t, nil), code: -32500, message: "^AA20"},
		{name: "deployed sender with a factory", op: op(func(op *userop.UserOperation) {
			op.Factory, op.FactoryData, op.VerificationGasLimit = new(w.chain.Contracts().AccountFactories[v]), a.createAccount(t), 450_000
		}), code: -32500, message: "^AA10"},
		{name: "factory without code", op: wrongFactory, code: -32500, message: "^AA13", dataName: "factory", data: common.Address{0xfa}},
		{name: "sender without money", op: poor.op(t, w.count(t)), code: -32500, message: "^AA21"},
		{name: "fee below the base fee", op: op(func(op *userop.UserOperation) {
			op.MaxFeePerGas, op.MaxPriorityFeePerGas = *uint256.NewInt(1000), *uint256.NewInt(1000)
		}), code: -32602, message: "^maxFeePerGas"},
		{name: "priority fee over the max fee", op: op(fees(5, 6)), code: -32602, message: "^maxFeePerGas"},
		{name: "too little preVerificationGas", op: op(func(op *userop.UserOperation) { op.PreVerificationGas = 50_000 }), code: -32602, message: "^preVerificationGas"},
		{name: "too much verificationGasLimit", op: op(func(op *userop.UserOperation) { op.VerificationGasLimit = 500_000 }), code: -32602, message: "^verificationGasLimit"},
		{name: "too little verificationGasLimit", op: op(func(op *userop.UserOperation) { op.VerificationGasLimit = 10_000 }), code: -32500},
		{name: "too little callGasLimit", op: op(func(op *userop.UserOperation) { op.CallGasLimit = 9_000 }), code: -32602, message: "^callGasLimit"},
		{name: "too large", op: op(func(op *userop.UserOperation) {
			op.CallData, op.PreVerificationGas = make([]byte, 9000), 500_000
		}), code: -32602, message: "size"},
	}
	return cases
}

// resign signs for the account only, and leaves the paymaster's signature as it is.
func resign(t *testing.T, a *account, op *userop.UserOperation) {
	t.Helper()
	hash := a.hash(t, op)
	digest := hash[:]
	if op.Version < userop.V08 {
		digest = accounts.TextHash(digest)
	}
	op.Signature = signature(t, a.owner, digest)
}

// refusedByForm are operations that are none.
func refusedByForm(t *testing.T, w *world, a *account) []refusedOperation {
	t.Helper()
	good := a.op(t, w.count(t))
	with := func(field string, value any) map[string]any {
		fields, _ := asJSON(t, good).(map[string]any)
		if value == nil {
			delete(fields, field)
		} else {
			fields[field] = value
		}
		return fields
	}
	cases := []refusedOperation{
		{name: "no object", op: "0x", code: -32602, message: "userOperation"},
		{name: "null", op: nil, code: -32602},
		{name: "decimal gas limit", op: with("callGasLimit", "100000"), code: -32602, message: "callGasLimit"},
		{name: "number instead of text", op: with("callGasLimit", 100000), code: -32602, message: "callGasLimit"},
		{name: "odd digits", op: with("callData", "0xabc"), code: -32602, message: "callData"},
		{name: "short sender", op: with("sender", "0x1234"), code: -32602, message: "sender"},
		{name: "huge fee", op: with("maxFeePerGas", "0x"+strings.Repeat("f", 64)), code: -32602, message: "maxFeePerGas"},
		{name: "unknown field", op: with("tip", "0x1"), code: -32602, message: "tip"},
	}
	for _, field := range []string{
		"sender", "nonce", "callData", "callGasLimit", "verificationGasLimit", "preVerificationGas", "maxFeePerGas",
		"maxPriorityFeePerGas", "signature",
	} {
		cases = append(cases, refusedOperation{name: "no " + field, op: with(field, nil), code: -32602, message: field})
	}
	if a.ep.Version.Packed() {
		return append(cases,
			refusedOperation{name: "shape of v0.6", op: with("initCode", "0x"), code: -32602, message: "initCode"},
			refusedOperation{name: "half a factory", op: with("factory", common.Address{1}.Hex()), code: -32602, message: "factoryData"},
			refusedOperation{name: "half a paymaster", op: with("paymaster", common.Address{1}.Hex()), code: -32602, message: "paymaster"},
			refusedOperation{name: "paymaster data without a paymaster", op: with("paymasterData", "0x12"), code: -32602, message: "paymasterData"},
		)
	}
	return append(cases,
		refusedOperation{name: "shape of v0.7", op: with("factory", common.Address{1}.Hex()), code: -32602, message: "factory"},
		refusedOperation{name: "no initCode", op: with("initCode", nil), code: -32602, message: "initCode"},
		refusedOperation{name: "short initCode", op: with("initCode", "0x1234"), code: -32602, message: "initCode"},
	)
}

// wrongRequest posts a body that must be answered by an error with this code, and this in its message.
func (w *world) wrongRequest(t *testing.T, body string, code int, want string) {
	t.Helper()
	answer := w.post(t, body)
	var have struct {
		Error *struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.Unmarshal([]byte(answer), &have); err != nil || have.Error == nil {
		t.Fatalf("have the answer %s (%v), want an error", answer, err)
	}
	if have.Error.Code != code || !strings.Contains(have.Error.Message, want) {
		t.Errorf("have %d %q, want %d and %q in it", have.Error.Code, have.Error.Message, code, want)
	}
}

func TestWrongRequestsAreAnswered(t *testing.T) {
	t.Parallel()
	w := startWorld(t, interval())
	a := w.newAccounts(t, userop.V07, 1)[0]
	op, err := json.Marshal(a.op(t, w.count(t)))
	if err != nil {
		t.Fatal(err)
	}
	send := func(params string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":7,"method":"eth_sendUserOperation","params":%s}`, params)
	}
	others := entrypoint.Canonical(userop.V07).Address.Hex()
	for name, test := range map[string]struct {
		body, want string
		code       int
	}{
		"malformed JSON":             {send(`[{"sender": }`), "", -32700},
		"nothing":                    {"", "", -32700},
		"no EntryPoint given":        {send("[" + string(op) + "]"), "", -32602},
		"an EntryPoint of nobody's":  {send("[" + string(op) + `,"0x0000000000000000000000000000000000000bad"]`), others, -32602},
		"half an EntryPoint":         {send("[" + string(op) + `,"0xbad"]`), "entryPoint", -32602},
		"another version's shape":    {send("[" + string(op) + `,"` + entrypoint.Canonical(userop.V06).Address.Hex() + `"]`), "initCode", -32602},
		"too many parameters":        {send("[" + string(op) + `,"` + others + `",1,2]`), "", -32602},
		"a method that is not there": {`{"jsonrpc":"2.0","id":7,"method":"eth_bundle","params":[]}`, "eth_bundle", -32601},
	} {
		t.Run(name, func(t *testing.T) {
			w.wrongRequest(t, test.body, test.code, test.want)
			for _, v := range userop.Versions() {
				if left := w.mempool(t, entrypoint.Canonical(v)); len(left) != 0 {
					t.Errorf("have %v in the mempool of v%s, want nothing", left, v)
				}
			}
		})
	}
}

func TestTheChainAndItsEntryPointsAreTold(t *testing.T) {
	t.Parallel()
	w := startWorld(t, interval(), "--entry-point=0.7,0.9")
	var id string
	w.call(t, &id, "eth_chainId")
	if want := quantity(w.chain.ChainID()); id != want {
		t.Errorf("have chain id %s, want %s", id, want)
	}
	var supported []common.Address
	w.call(t, &supported, "eth_supportedEntryPoints")
	want := []common.Address{entrypoint.Canonical(userop.V07).Address, entrypoint.Canonical(userop.V09).Address}
	if len(supported) != 2 || supported[0] != want[0] || supported[1] != want[1] {
		t.Errorf("have EntryPoints %v, want %v", supported, want)
	}
	a := w.newAccounts(t, userop.V08, 1)[0] // a version that is on the chain, and not served
	if r := a.refused(t, a.op(t, nil)); r.code != -32602 || !strings.Contains(r.message, want[1].Hex()) {
		t.Errorf("have %d %q, want -32602 and the EntryPoints served", r.code, r.message)
	}
	if balance, err := w.eth.BalanceAt(t.Context(), a.address, nil); err != nil || balance.Cmp(big.NewInt(0)) == 0 {
		t.Errorf("have balance %v (%v), want the account to have money: only the EntryPoint is wrong", balance, err)
	}
}
