package entrypoint_test

import (
	"testing"

	"baler/entrypoint"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

// The hash is what users sign: it must be the contract's own for every shape of operation, on every chain.
func TestHashIsTheContractsOwn(t *testing.T) {
	eachVersion(t, func(t *testing.T, w *world) {
		rapid.Check(t, func(t *rapid.T) {
			op := operations(w.ep.Version).Draw(t, "operation")
			w.chainID = rapid.Uint64Range(1, 1<<62).Draw(t, "chain id")
			var delegate common.Address
			if op.IsEIP7702() {
				delegate = address().Draw(t, "delegate")
				w.setCode(op.Sender, types.AddressToDelegation(delegate))
			}
			if have, want := w.hash(op, delegate), common.Hash(w.entryPoint(entrypoint.EncodeGetUserOpHash(op), nil)); have != want {
				t.Fatalf("have %s, the contract says %s", have, want)
			}
		})
	})
}

// The final v0.9 code is not the package's: what it does at the edges of a paymaster signature is asked of it.
func TestHashWithPaymasterSuffixes(t *testing.T) {
	const magic = "\x22\xe3\x25\xa2\x97\x43\x96\x56"
	w := newWorld(t, userop.V09)
	tests := []struct {
		name, data string
		signature  int  // length that decoding finds
		reverts    bool // the contract does not hash it, and decoding refuses it
	}{
		{"no suffix", "data", 0, false},
		{"signature", "data" + "signature" + "\x00\x09" + magic, 9, false},
		{"nothing but a signature", "signature" + "\x00\x09" + magic, 9, false},
		{"length zero", "data" + "\x00\x00" + magic, 0, false},
		{"magic alone", magic, 0, false},
		{"magic and half a length", "\x01" + magic, 0, false},
		{"length takes all", "data" + "\x00\x04" + magic, 4, false},
		{"length takes more", "data" + "\x00\x05" + magic, 0, true},
		{"length without data", "\x00\x01" + magic, 0, true},
		{"two suffixes", "\x01\x00\x01" + magic + "\x02\x00\x01" + magic, 1, false},
		{"magic not at the end", "\x01\x00\x01" + magic + "\x00", 0, false},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			packed := (&userop.UserOperation{Version: userop.V09}).Pack()
			packed.PaymasterAndData = append(append([]byte{1}, make([]byte, 51)...), tc.data...)
			op, err := userop.FromPacked(userop.V09, packed)
			if (err != nil) != tc.reverts {
				t.Fatalf("have error %v, want one: %t", err, tc.reverts)
			}
			if tc.reverts {
				// Built by hand, the same bytes make the contract revert.
				paymaster := common.Address{1}
				op = &userop.UserOperation{Version: userop.V09, Paymaster: &paymaster, PaymasterData: []byte(tc.data)}
				ret, err := w.call(w.ep.Address, entrypoint.EncodeGetUserOpHash(op), nil)
				revert, ok := entrypoint.DecodeRevert(ret).(entrypoint.NamedError)
				if err == nil || !ok || revert.Name != "InvalidPaymasterSignatureLength" {
					t.Errorf("have %v, %x, want InvalidPaymasterSignatureLength", err, ret)
				}
				return
			}
			if len(op.PaymasterSignature) != tc.signature {
				t.Errorf("have a signature of %d bytes, want %d", len(op.PaymasterSignature), tc.signature)
			}
			want := common.Hash(w.entryPoint(entrypoint.EncodeGetUserOpHash(op), nil))
			if have := w.hash(op, common.Address{}); have != want {
				t.Errorf("have %s, the contract says %s", have, want)
			}
			// The same bytes left in paymasterData, as an operation built by hand may hold them.
			joined := *op
			joined.PaymasterData, joined.PaymasterSignature = []byte(tc.data), nil
			if have := w.hash(&joined, common.Address{}); have != want {
				t.Errorf("in paymasterData: have %s, the contract says %s", have, want)
			}
		})
	}
}

// MaxCost must be the EntryPoint's required prefund to the wei: it asks the account for what its deposit lacks.
func TestMaxCostIsTheRequiredPrefund(t *testing.T) {
	eachVersion(t, func(t *testing.T, w *world) {
		sender, paymaster := common.Address{0xaa}, common.Address{0xbb}
		w.account(sender, uint256.Int{}, logsCall...)
		w.setCode(paymaster, paying(w.ep.Version, nil, uint256.Int{}, false))
		w.deposit(paymaster)
		for nonce, sponsored := range []bool{false, true} {
			op := w.operation(sender)
			op.Nonce.SetUint64(uint64(nonce))
			payer := sender
			if sponsored {
				payer = paymaster
				op.Paymaster, op.PaymasterVerificationGasLimit, op.PaymasterPostOpGasLimit = &paymaster, 100_003, 50_001
				if !w.ep.Version.Packed() {
					op.PaymasterVerificationGasLimit, op.PaymasterPostOpGasLimit = 0, 0
				}
			}
			cost := op.MaxCost()
			for _, tc := range []struct {
				short uint64
				ok    bool
			}{{1, false}, {0, true}} {
				deposit := new(uint256.Int).SubUint64(&cost, tc.short)
				slot := entrypoint.DepositSlot(w.ep.Version, payer)
				w.state.SetState(w.ep.Address, slot, entrypoint.WithDeposit(w.ep.Version, w.state.GetState(w.ep.Address, slot), *deposit))
				ret, ok := w.handle(op)
				if ok != tc.ok {
					t.Errorf("sponsored %t, deposit short by %d wei: have ok %t (%s), want %t", sponsored, tc.short, ok, entrypoint.RevertReason(ret), tc.ok)
				}
				code := map[bool]string{false: "AA21", true: "AA31"}[sponsored]
				if have := entrypoint.AACode(entrypoint.RevertReason(ret)); !ok && have != code {
					t.Errorf("have %s, want %s", entrypoint.RevertReason(ret), code)
				}
			}
		}
	})
}
