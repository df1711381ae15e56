package entrypoint_test

import (
	"errors"
	"math/big"
	"testing"

	"baler/entrypoint"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

// info asks the contract, and checks that its storage says the same.
func (w *world) info(t *testing.T, account common.Address) entrypoint.DepositInfo {
	t.Helper()
	v := w.ep.Version
	asked, err := entrypoint.DecodeDepositInfo(w.entryPoint(entrypoint.EncodeGetDepositInfo(account), nil))
	if err != nil {
		t.Fatal(err)
	}
	read := entrypoint.ParseDepositSlots(v,
		w.state.GetState(w.ep.Address, entrypoint.DepositSlot(v, account)),
		w.state.GetState(w.ep.Address, entrypoint.StakeSlot(v, account)))
	if diff := cmp.Diff(asked, read); diff != "" {
		t.Errorf("getDepositInfo and storage differ:\n%s", diff)
	}
	balance, err := entrypoint.DecodeUint256(w.entryPoint(entrypoint.EncodeBalanceOf(account), nil))
	if err != nil || !balance.Eq(&asked.Deposit) {
		t.Errorf("balanceOf: have %s, %v, want %s", &balance, err, &asked.Deposit)
	}
	return asked
}

func TestDepositInfoThroughItsLife(t *testing.T) {
	eachVersion(t, func(t *testing.T, w *world) {
		check := func(want entrypoint.DepositInfo) {
			t.Helper()
			if diff := cmp.Diff(want, w.info(t, eoa)); diff != "" {
				t.Error(diff)
			}
		}
		check(entrypoint.DepositInfo{})
		w.entryPoint(entrypoint.EncodeDepositTo(eoa), big.NewInt(5e18))
		want := entrypoint.DepositInfo{Deposit: *uint256.NewInt(5e18)}
		check(want)
		w.entryPoint(w.pack("addStake", uint32(86400)), big.NewInt(3e18))
		want.Staked, want.Stake, want.UnstakeDelaySec = true, *uint256.NewInt(3e18), 86400
		check(want)

		// Another deposit, written as an estimation does it, changes nothing else.
		slot := entrypoint.DepositSlot(w.ep.Version, eoa)
		before := w.state.GetState(w.ep.Address, slot)
		w.state.SetState(w.ep.Address, slot, entrypoint.WithDeposit(w.ep.Version, before, *uint256.NewInt(77)))
		want.Deposit = *uint256.NewInt(77)
		check(want)
		most := new(uint256.Int).SetAllOne()
		w.state.SetState(w.ep.Address, slot, entrypoint.WithDeposit(w.ep.Version, before, *most))
		want.Deposit = *most
		if !w.ep.Version.Packed() {
			want.Deposit = *most.Rsh(most, 256-112)
		}
		check(want)

		w.entryPoint(w.pack("unlockStake"), nil)
		want.Staked, want.WithdrawTime = false, w.time+86400
		check(want)
	})
}

func TestNonceSlot(t *testing.T) {
	eachVersion(t, func(t *testing.T, w *world) {
		rapid.Check(t, func(t *rapid.T) {
			key := wide(192).Draw(t, "key")
			slot := entrypoint.NonceSlot(w.ep.Version, eoa, key)
			before := w.state.GetState(w.ep.Address, slot).Big()
			w.entryPoint(w.pack("incrementNonce", key.ToBig()), nil)
			after := w.state.GetState(w.ep.Address, slot).Big()
			if after.Sub(after, before).Cmp(common.Big1) != 0 {
				t.Fatalf("incrementNonce did not count in %s", slot)
			}
			nonce, err := entrypoint.DecodeUint256(w.entryPoint(entrypoint.EncodeGetNonce(eoa, key), nil))
			if err != nil {
				t.Fatal(err)
			}
			op := userop.UserOperation{Nonce: nonce}
			if have := op.NonceKey(); !have.Eq(&key) {
				t.Fatalf("have key %s, want %s", &have, &key)
			}
		})
	})
}

func TestDecodingResultsRefusesMalformedOnes(t *testing.T) {
	word := func(b ...byte) []byte { return common.LeftPadBytes(b, 32) }
	join := func(words ...[]byte) (all []byte) {
		for _, w := range words {
			all = append(all, w...)
		}
		return all
	}
	long := common.RightPadBytes([]byte{1}, 32)
	for name, data := range map[string][]byte{
		"nothing":             nil,
		"cut off":             join(word(1), word(1), word(1), word(1)),
		"staked is no bool":   join(word(1), word(2), word(1), word(1), word(1)),
		"delay over 32 bits":  join(word(1), word(1), word(1), word(1, 0, 0, 0, 0), word(1)),
		"withdraw time wide":  join(word(1), word(1), word(1), word(1), long),
		"unstake delay wider": join(word(1), word(1), word(1), long, word(1)),
	} {
		if _, err := entrypoint.DecodeDepositInfo(data); !errors.Is(err, entrypoint.ErrMalformed) {
			t.Errorf("getDepositInfo, %s: have error %v, want %v", name, err, entrypoint.ErrMalformed)
		}
	}
	for name, data := range map[string][]byte{
		"nothing":          nil,
		"context outside":  join(word(96), word(0)),
		"context too long": join(word(64), word(0), word(1)),
		"context huge":     join(word(64), word(0), long),
	} {
		if _, _, err := entrypoint.DecodeValidatePaymasterUserOp(data); !errors.Is(err, entrypoint.ErrMalformed) {
			t.Errorf("validatePaymasterUserOp, %s: have error %v, want %v", name, err, entrypoint.ErrMalformed)
		}
	}
	context, data, err := entrypoint.DecodeValidatePaymasterUserOp(join(word(64), word(9), word(2), []byte("ab")))
	if err != nil || string(context) != "ab" || !data.Eq(uint256.NewInt(9)) {
		t.Errorf("have %q, %s, %v", context, &data, err)
	}
	if _, err := entrypoint.DecodeUint256(make([]byte, 31)); !errors.Is(err, entrypoint.ErrMalformed) {
		t.Errorf("have error %v, want %v", err, entrypoint.ErrMalformed)
	}
}
