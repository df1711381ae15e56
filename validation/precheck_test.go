package validation_test

import (
	"testing"

	"baler/entrypoint"
	"baler/rejection"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/holiman/uint256"
)

const testChain = 1337

// wellFormed returns an operation that passes all prechecks, sponsored and with an EIP-7702 tuple.
func wellFormed(t *testing.T, v userop.Version) *userop.UserOperation {
	t.Helper()
	key, err := crypto.ToECDSA(crypto.Keccak256([]byte("precheck test")))
	if err != nil {
		t.Fatal(err)
	}
	auth, err := types.SignSetCode(key, types.SetCodeAuthorization{
		ChainID: *uint256.NewInt(testChain), Address: common.Address{1}, Nonce: 3,
	})
	if err != nil {
		t.Fatal(err)
	}
	op := &userop.UserOperation{
		Version: v, Sender: crypto.PubkeyToAddress(key.PublicKey), CallData: []byte{1, 2, 3, 4},
		CallGasLimit: 9_100, VerificationGasLimit: 499_999, PreVerificationGas: 200_000,
		MaxFeePerGas: *uint256.NewInt(10), MaxPriorityFeePerGas: *uint256.NewInt(10),
		Paymaster: &common.Address{2}, Signature: make([]byte, 65), Authorization: &auth,
	}
	if v.Packed() {
		op.PaymasterVerificationGasLimit = 499_999
	}
	return op
}

func TestPrecheck(t *testing.T) {
	config := validation.Config{MinMaxFee: *uint256.NewInt(10), MinPriorityFee: *uint256.NewInt(5)}
	cases := []struct {
		name    string
		change  func(op *userop.UserOperation)
		message string
		rule    string
	}{
		{"too large", func(op *userop.UserOperation) { op.CallData = make([]byte, 8_192) }, "user operation size: have ", "LIM-010"},
		{"verification gas", func(op *userop.UserOperation) { op.VerificationGasLimit = 500_000 }, "verificationGasLimit: have 500000, want lower than 500000", "LIM-060"},
		{"call gas", func(op *userop.UserOperation) { op.CallGasLimit = 9_099 }, "callGasLimit: have 9099, want at least 9100", ""},
		{"pre-verification gas", func(op *userop.UserOperation) { op.PreVerificationGas = 50_000 }, "preVerificationGas: have 50000, want at least ", "LIM-070"},
		{"gas overflow", func(op *userop.UserOperation) { op.PreVerificationGas = 1<<64 - 1 }, "gas limits: ", ""},
		{"priority over max fee", func(op *userop.UserOperation) { op.MaxPriorityFeePerGas.SetUint64(11) }, "maxFeePerGas: have 10, want at least maxPriorityFeePerGas 11", ""},
		{"max fee", func(op *userop.UserOperation) {
			op.MaxFeePerGas.SetUint64(9)
			op.MaxPriorityFeePerGas.SetUint64(9)
		}, "maxFeePerGas: have 9, want at least 10", ""},
		{"priority fee", func(op *userop.UserOperation) { op.MaxPriorityFeePerGas.SetUint64(4) }, "maxPriorityFeePerGas: have 4, want at least 5", ""},
		{"tuple of another chain", func(op *userop.UserOperation) { op.Authorization.ChainID.SetUint64(1) }, "eip7702Auth.chainId: have 1, want 0 or 1337", ""},
		{"tuple to nothing", func(op *userop.UserOperation) { op.Authorization.Address = common.Address{} }, "eip7702Auth.address: ", ""},
		{"tuple changed after signing", func(op *userop.UserOperation) { op.Authorization.Nonce++ }, "eip7702Auth: have a signature of ", ""},
		{"tuple with a malformed signature", func(op *userop.UserOperation) { op.Authorization.R.Clear() }, "eip7702Auth: invalid signature", ""},
	}
	for _, v := range userop.Versions() {
		t.Run(v.String(), func(t *testing.T) {
			ep := entrypoint.Canonical(v)
			if err := config.Precheck(wellFormed(t, v), ep, testChain); err != nil {
				t.Fatalf("well-formed: %v", err)
			}
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					op := wellFormed(t, v)
					auth := *op.Authorization
					op.Authorization = &auth
					c.change(op)
					checkRejection(t, config.Precheck(op, ep, testChain), c.message, c.rule)
				})
			}
			if v.Packed() {
				op := wellFormed(t, v)
				op.PaymasterVerificationGasLimit = 500_000
				checkRejection(t, config.Precheck(op, ep, testChain), "paymasterVerificationGasLimit: have 500000", "LIM-060")
			}
			other := wellFormed(t, userop.V06)
			if v == userop.V06 {
				other = wellFormed(t, userop.V07)
			}
			checkRejection(t, config.Precheck(other, ep, testChain), "user operation version: have ", "")
		})
	}
}

func TestPrecheckAllowsATupleForEveryChain(t *testing.T) {
	key, err := crypto.ToECDSA(crypto.Keccak256([]byte("precheck test")))
	if err != nil {
		t.Fatal(err)
	}
	auth, err := types.SignSetCode(key, types.SetCodeAuthorization{Address: common.Address{1}})
	if err != nil {
		t.Fatal(err)
	}
	op := wellFormed(t, userop.V08)
	op.Authorization = &auth
	if err := (validation.Config{}).Precheck(op, entrypoint.Canonical(userop.V08), testChain); err != nil {
		t.Error(err)
	}
}

func checkRejection(t *testing.T, err error, message, rule string) {
	t.Helper()
	refused := rejectionIn(t, err)
	if refused.Kind != rejection.InvalidFields || len(refused.Message) < len(message) || refused.Message[:len(message)] != message {
		t.Errorf("have %d %q, want %d %q", refused.Kind, refused.Message, rejection.InvalidFields, message)
	}
	if refused.Data.Rule != rule {
		t.Errorf("rule: have %q, want %q", refused.Data.Rule, rule)
	}
}
