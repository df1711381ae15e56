package main

import (
	"crypto/ecdsa"
	"testing"

	"baler/entrypoint"
	"baler/userop"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// delegatingVersions are those with an account implementation for EIP-7702.
func delegatingVersions() []userop.Version {
	return []userop.Version{userop.V07, userop.V08, userop.V09}
}

// delegatingAccount is a key with 10 ETH and no code.
func (w *world) delegatingAccount(t *testing.T, v userop.Version) *account {
	t.Helper()
	a := &account{w: w, ep: entrypoint.Canonical(v), owner: w.newOwner(t), rawSign: true}
	a.address = addressOf(a.owner)
	w.awaitTransaction(t, w.pay(t, a.address, ether(10), nil))
	return a
}

// delegating adds a tuple that delegates to the version's account implementation. v0.8 and later know a marker for it,
// before it is no factory.
func (a *account) delegating(t *testing.T, alter func(*types.SetCodeAuthorization), key *ecdsa.PrivateKey) change {
	t.Helper()
	tuple := types.SetCodeAuthorization{
		ChainID: *uint256.NewInt(a.w.chain.ChainID()), Address: a.w.chain.Contracts().Simple7702Accounts[a.ep.Version],
	}
	if alter != nil {
		alter(&tuple)
	}
	signed, err := types.SignSetCode(key, tuple)
	if err != nil {
		t.Fatal(err)
	}
	return func(op *userop.UserOperation) {
		op.Authorization = &signed
		if op.Version >= userop.V08 {
			op.Factory = new(userop.EIP7702Marker)
		}
	}
}

func TestAKeyBecomesAnAccountByEIP7702(t *testing.T) {
	w := startWorld(t, interval())
	for _, v := range delegatingVersions() {
		t.Run("v"+v.String(), func(t *testing.T) {
			t.Parallel()
			a := w.delegatingAccount(t, v)
			draft := a.op(t, w.count(t), a.delegating(t, nil, a.owner))
			e := w.estimate(t, a, draft)
			op := a.op(t, w.count(t), a.delegating(t, nil, a.owner), e.exactly())
			r := a.run(t, op)
			if !r.Success || w.counted(t, a) != 1 {
				t.Errorf("have success %v and %d calls, want true and 1", r.Success, w.counted(t, a))
			}
			tx, _, err := w.eth.TransactionByHash(t.Context(), r.Receipt.TxHash)
			if err != nil {
				t.Fatal(err)
			}
			if tx.Type() != types.SetCodeTxType || len(tx.SetCodeAuthorizations()) != 1 {
				t.Errorf("have a transaction of type %d with %d tuples, want type 4 with one", tx.Type(), len(tx.SetCodeAuthorizations()))
			}
			code, err := w.eth.CodeAt(t.Context(), a.address, nil)
			if err != nil {
				t.Fatal(err)
			}
			if delegate, ok := types.ParseDelegation(code); !ok || delegate != w.chain.Contracts().Simple7702Accounts[v] {
				t.Errorf("have code %x, want a delegation to %s", code, w.chain.Contracts().Simple7702Accounts[v])
			}

			// The next operation needs no tuple, and its bundle is a plain transaction.
			op = a.op(t, w.count(t))
			r = a.run(t, op)
			w.checkMined(t, a, op, r)
			if tx, _, err = w.eth.TransactionByHash(t.Context(), r.Receipt.TxHash); err != nil || tx.Type() != types.DynamicFeeTxType {
				t.Errorf("have a transaction of type %d (%v), want 2", tx.Type(), err)
			}
			// A delegation may be given again: its nonce has gone on with the first one.
			op = a.op(t, w.count(t), a.delegating(t, func(tuple *types.SetCodeAuthorization) { tuple.Nonce = 1 }, a.owner))
			if r = a.run(t, op); !r.Success || w.counted(t, a) != 3 {
				t.Errorf("delegated again: have success %v and %d calls, want true and 3", r.Success, w.counted(t, a))
			}
		})
	}
}

func TestWrongDelegationsAreRefused(t *testing.T) {
	w := startWorld(t, interval(), "--bundling-mode=manual")
	for _, v := range delegatingVersions() {
		t.Run("v"+v.String(), func(t *testing.T) {
			t.Parallel()
			a := w.delegatingAccount(t, v)
			for name, test := range map[string]struct {
				alter   func(*types.SetCodeAuthorization)
				key     *ecdsa.PrivateKey
				message string
			}{
				"wrong chain":  {func(tuple *types.SetCodeAuthorization) { tuple.ChainID = *uint256.NewInt(1) }, a.owner, "^eip7702Auth.chainId"},
				"wrong nonce":  {func(tuple *types.SetCodeAuthorization) { tuple.Nonce = 5 }, a.owner, "^eip7702Auth.nonce"},
				"wrong signer": {nil, w.newOwner(t), "^eip7702Auth"},
			} {
				t.Run(name, func(t *testing.T) {
					op := a.op(t, w.count(t), a.delegating(t, test.alter, test.key))
					if r := a.refused(t, op); r.code != -32602 || !matches(r.message, test.message) {
						t.Errorf("have %d %q, want -32602 %q", r.code, r.message, test.message)
					}
				})
			}
			if v >= userop.V08 {
				op := a.op(t, w.count(t), func(op *userop.UserOperation) { op.Factory = new(userop.EIP7702Marker) })
				if r := a.refused(t, op); r.code != -32500 || !matches(r.message, "^AA20") {
					t.Errorf("the marker without a tuple: have %d %q, want -32500 AA20", r.code, r.message)
				}
			}
			if left := w.mempool(t, a.ep); len(left) != 0 {
				t.Errorf("have %v in the mempool, want nothing", left)
			}
			// A tuple for every chain (0) is as good as one for this one.
			everywhere := a.delegating(t, func(tuple *types.SetCodeAuthorization) { tuple.ChainID = uint256.Int{} }, a.owner)
			a.send(t, a.op(t, w.count(t), everywhere))
			if code, err := w.eth.CodeAt(t.Context(), a.address, nil); err != nil || len(code) != 0 {
				t.Errorf("have code %x (%v) at %s, want none yet", code, err, a.address)
			}
		})
	}
}
