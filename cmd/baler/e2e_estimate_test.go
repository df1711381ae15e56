package main

import (
	"maps"
	"math/big"
	"strings"
	"testing"

	"baler/entrypoint"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// estimate is the answer of eth_estimateUserOperationGas.
type estimate struct {
	PreVerificationGas            hexutil.Uint64  `json:"preVerificationGas"`
	VerificationGasLimit          hexutil.Uint64  `json:"verificationGasLimit"`
	CallGasLimit                  hexutil.Uint64  `json:"callGasLimit"`
	PaymasterVerificationGasLimit *hexutil.Uint64 `json:"paymasterVerificationGasLimit"`
	PaymasterPostOpGasLimit       *hexutil.Uint64 `json:"paymasterPostOpGasLimit"`
}

// question is an operation as a wallet asks about it: without gas limits, and without a signature that would be valid.
func question(t *testing.T, op *userop.UserOperation) map[string]any {
	t.Helper()
	fields, _ := asJSON(t, op).(map[string]any)
	for _, name := range []string{
		"callGasLimit", "verificationGasLimit", "preVerificationGas", "paymasterVerificationGasLimit", "paymasterPostOpGasLimit",
	} {
		delete(fields, name)
	}
	fields["signature"] = "0xfffffffffffffffffffffffffffffff0000000000000000000000000000000007aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1c"
	return fields
}

func (w *world) estimate(t *testing.T, a *account, op *userop.UserOperation, overrides ...any) estimate {
	t.Helper()
	var e estimate
	w.call(t, &e, "eth_estimateUserOperationGas", append([]any{question(t, op), a.ep.Address}, overrides...)...)
	return e
}

// exactly sets the limits that were estimated.
func (e estimate) exactly() change {
	return func(op *userop.UserOperation) {
		op.PreVerificationGas = uint64(e.PreVerificationGas)
		op.VerificationGasLimit, op.CallGasLimit = uint64(e.VerificationGasLimit), uint64(e.CallGasLimit)
		if e.PaymasterVerificationGasLimit != nil && e.PaymasterPostOpGasLimit != nil {
			op.PaymasterVerificationGasLimit, op.PaymasterPostOpGasLimit = uint64(*e.PaymasterVerificationGasLimit), uint64(*e.PaymasterPostOpGasLimit)
		}
	}
}

func TestAnOperationWithExactlyTheEstimateIsMinedAndSucceeds(t *testing.T) {
	w := startWorld(t, interval())
	eachVersion(t, w, func(t *testing.T, v userop.Version) {
		fresh, sponsored := w.newAccounts(t, v, 2), w.counterfactual(t, v)
		for _, test := range []struct {
			name    string
			account *account
			call    []byte
			changes []change
		}{
			{name: "deploying", account: fresh[0], call: w.count(t)},
			{name: "plain", account: fresh[0], call: w.count(t)},
			{name: "deploying without a call", account: fresh[1]},
			{name: "transfer to a new account", account: fresh[1], call: execute(t, common.Address{0x77, byte(v)}, big.NewInt(1), nil)},
			{name: "sponsored and deploying", account: sponsored, call: w.count(t), changes: []change{sponsored.sponsored(0, 0)}},
			{name: "sponsored", account: sponsored, call: w.count(t), changes: []change{sponsored.sponsored(0, 0)}},
		} {
			t.Run(test.name, func(t *testing.T) {
				a := test.account
				e := w.estimate(t, a, a.op(t, test.call, test.changes...))
				if has := e.PaymasterVerificationGasLimit != nil; has != (len(test.changes) > 0 && v.Packed()) {
					t.Errorf("have %+v, want a paymaster's limits with a paymaster of v0.7 and later only", e)
				}
				op := a.op(t, test.call, append(test.changes, e.exactly())...)
				if r := a.run(t, op); !r.Success {
					t.Errorf("the operation failed: %s", entrypoint.RevertReason(r.Reason))
				}
			})
		}
	})
}

func TestEstimatesBelieveTheStateOverrides(t *testing.T) {
	w := startWorld(t, interval(), "--bundling-mode=manual")
	eachVersion(t, w, func(t *testing.T, v userop.Version) {
		poor := w.counterfactual(t, v)
		spends := execute(t, common.Address{0x77}, ether(5), nil)
		op := poor.op(t, spends)

		r := w.refused(t, "eth_estimateUserOperationGas", question(t, op), poor.ep.Address)
		if r.code != -32521 {
			t.Errorf("an account that spends what it does not have: have %d %q, want -32521", r.code, r.message)
		}
		rich := map[string]any{poor.address.Hex(): map[string]any{"balance": hexutil.EncodeBig(ether(6))}}
		if e := w.estimate(t, poor, op, rich); e.CallGasLimit == 0 || e.VerificationGasLimit == 0 || e.PreVerificationGas == 0 {
			t.Errorf("have %+v, want three limits", e)
		}

		// An account that is not deployed, and has no factory, with the code of one that is.
		deployed := w.deployedAccounts(t, v, 1)[0]
		code, err := w.eth.CodeAt(t.Context(), deployed.address, nil)
		if err != nil {
			t.Fatal(err)
		}
		bare := w.counterfactual(t, v)
		bare.factory = common.Address{}
		op = bare.op(t, nil)
		if r := w.refused(t, "eth_estimateUserOperationGas", question(t, op), bare.ep.Address); r.code != -32500 || !strings.HasPrefix(r.message, "AA20") {
			t.Errorf("a sender without code: have %d %q, want -32500 AA20", r.code, r.message)
		}
		assumed := map[string]any{"code": hexutil.Encode(code), "stateDiff": w.storageOf(t, deployed, bare)}
		w.estimate(t, bare, op, map[string]any{bare.address.Hex(): assumed})

		misspelt := map[string]any{bare.address.Hex(): map[string]any{"balnce": "0x1"}}
		if r := w.refused(t, "eth_estimateUserOperationGas", question(t, op), bare.ep.Address, misspelt); r.code != -32602 {
			t.Errorf("a misspelt override: have %d %q, want -32602", r.code, r.message)
		}
		if left := w.mempool(t, poor.ep); len(left) != 0 {
			t.Errorf("have %v in the mempool, want nothing: an estimate is no operation", left)
		}
	})
}

// storageOf is the storage that makes another account's code that of a SimpleAccount of its own owner: the proxy's
// implementation (ERC-1967), and the owner in slot 0.
func (w *world) storageOf(t *testing.T, from, to *account) map[string]any {
	t.Helper()
	slots := map[string]any{}
	for _, slot := range []common.Hash{{}, common.HexToHash("0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc")} {
		word, err := w.eth.StorageAt(t.Context(), from.address, slot, nil)
		if err != nil {
			t.Fatal(err)
		}
		value := common.BytesToHash(word)
		if slot == (common.Hash{}) {
			copy(value[10:30], addressOf(to.owner).Bytes()) // beside the initializer's byte
		}
		slots[slot.Hex()] = value.Hex()
	}
	return maps.Clone(slots)
}

func TestTheEstimateOfARevertingCallSaysWhy(t *testing.T) {
	w := startWorld(t, interval(), "--bundling-mode=manual")
	counter := w.chain.Contracts().Counter
	eachVersion(t, w, func(t *testing.T, v userop.Version) {
		a := w.newAccounts(t, v, 1)[0]
		for _, test := range []struct {
			name string
			call []byte
			want string
		}{
			{"text", w.fail(t, "too early"), "too early"},
			{"custom error", execute(t, counter, new(big.Int), pack(t, "shared/Counter.json", "failCustom", "why")), ""},
			{"no such function", execute(t, counter, new(big.Int), []byte{1, 2, 3, 4}), ""},
		} {
			t.Run(test.name, func(t *testing.T) {
				r := w.refused(t, "eth_estimateUserOperationGas", question(t, a.op(t, test.call)), a.ep.Address)
				if r.code != -32521 || !strings.Contains(r.message, test.want) {
					t.Errorf("have %d %q, want -32521 and %q", r.code, r.message, test.want)
				}
			})
		}
		r := w.refused(t, "eth_estimateUserOperationGas", question(t, a.op(t, nil, nonce(0, 3))), a.ep.Address)
		if r.code != -32500 || !strings.HasPrefix(r.message, "AA25") {
			t.Errorf("a nonce of the future: have %d %q, want -32500 AA25", r.code, r.message)
		}
	})
}
