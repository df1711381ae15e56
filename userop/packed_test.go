package userop_test

import (
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"

	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

// checkConsistent checks what must hold of every operation, however it came about.
func checkConsistent(t rapid.TB, op *userop.UserOperation) {
	t.Helper()
	if have := len(op.AppendABI(nil)); have != op.ABISize() {
		t.Fatalf("have %d bytes of ABI, ABISize says %d", have, op.ABISize())
	}
	if op.ABISize()%32 != 0 || op.PackedSize() != op.ABISize()+32 {
		t.Fatalf("have sizes %d and %d", op.ABISize(), op.PackedSize())
	}
	signed := *op
	signed.Signature, signed.Authorization = []byte("another"), nil
	a := op.Hash(common.Address{1}, 1, common.Address{2})
	if b := signed.Hash(common.Address{1}, 1, common.Address{2}); a != b {
		t.Fatalf("hash depends on the signature or the authorization: %s, %s", a, b)
	}
}

func TestPackedRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := versions().Draw(t, "version")
		op := operations(v).Draw(t, "operation")
		op.Authorization = nil // not part of what travels on chain
		back, err := userop.FromFlat(op.Flatten())
		if v.Packed() {
			back, err = userop.FromPacked(v, op.Pack())
		}
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(op, back); diff != "" {
			t.Fatal(diff)
		}
		checkConsistent(t, op)
	})
}

func TestFromPackedRefusesWhatAnEntryPointCannotHandle(t *testing.T) {
	wide := *new(uint256.Int).Lsh(uint256.NewInt(1), 64)
	tests := []struct {
		name    string
		version userop.Version
		packed  userop.Packed
		want    string
	}{
		{"v0.6", userop.V06, userop.Packed{}, "version: have 0.6, want a version with packed operations"},
		{"initCode", userop.V07, userop.Packed{InitCode: make([]byte, 19)}, "initCode: have 19 bytes, want none or at least 20"},
		{"marker in v0.7", userop.V07, userop.Packed{InitCode: []byte{0x77, 0x02}}, "initCode: have 2 bytes, want none or at least 20"},
		{"paymaster", userop.V08, userop.Packed{PaymasterAndData: make([]byte, 51)}, "paymasterAndData: have 51 bytes, want none or at least 52"},
		{"gas", userop.V08, userop.Packed{AccountGasLimits: [32]byte{7: 1}}, "accountGasLimits: have 0x10000000000000000, want a number of at most 64 bits"},
		{"pre-verification gas", userop.V08, userop.Packed{PreVerificationGas: wide}, "preVerificationGas: have 0x10000000000000000, want a number of at most 64 bits"},
		{"paymaster gas", userop.V08, userop.Packed{PaymasterAndData: append(make([]byte, 20), []byte(strings.Repeat("\xff", 32))...)}, "paymasterVerificationGasLimit: have 0xff"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			_, err := userop.FromPacked(tc.version, tc.packed)
			checkFieldError(t, err, tc.want)
		})
	}
	_, err := userop.FromFlat(userop.Flat{CallGasLimit: wide})
	checkFieldError(t, err, "callGasLimit: have 0x10000000000000000")
}

func TestFromPackedReadsAShortMarker(t *testing.T) {
	for n := 2; n <= 20; n++ {
		initCode := make([]byte, n)
		copy(initCode, []byte{0x77, 0x02})
		op, err := userop.FromPacked(userop.V08, userop.Packed{InitCode: initCode})
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if !op.IsEIP7702() {
			t.Errorf("%d bytes: have no EIP-7702 operation", n)
		}
	}
}

func FuzzFromPacked(f *testing.F) {
	f.Add([]byte{0x77, 0x02}, []byte{}, make([]byte, 96), uint8(1))
	f.Add(make([]byte, 20), append(make([]byte, 52), "\xaa\x00\x01\x22\xe3\x25\xa2\x97\x43\x96\x56"...), make([]byte, 96), uint8(3))
	f.Fuzz(func(t *testing.T, initCode, paymasterAndData, words []byte, version uint8) {
		if len(words) < 96 {
			return
		}
		v := []userop.Version{userop.V07, userop.V08, userop.V09}[version%3]
		op, err := userop.FromPacked(v, userop.Packed{
			InitCode:           initCode,
			PaymasterAndData:   paymasterAndData,
			AccountGasLimits:   [32]byte(words),
			GasFees:            [32]byte(words[32:]),
			PreVerificationGas: *new(uint256.Int).SetBytes(words[64:]),
		})
		if err != nil {
			if _, ok := errors.AsType[*userop.FieldError](err); !ok {
				t.Fatalf("have error %v (%T), want a *FieldError", err, err)
			}
			return
		}
		if have := op.PaymasterAndData(); string(have) != string(paymasterAndData) {
			t.Fatalf("have paymasterAndData %x, want %x", have, paymasterAndData)
		}
		if have := op.InitCode(); !op.IsEIP7702() && string(have) != string(initCode) {
			t.Fatalf("have initCode %x, want %x", have, initCode)
		}
		checkConsistent(t, op)
	})
}

func TestTypeHashesAreThoseOfTheirStrings(t *testing.T) {
	// The hash of an empty v0.8 operation, from the strings of EIP-712 by the plain rule.
	word := func(b []byte) []byte { return common.LeftPadBytes(b, 32) }
	empty := crypto.Keccak256()
	domain := crypto.Keccak256(
		crypto.Keccak256([]byte("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")),
		crypto.Keccak256([]byte("ERC4337")), crypto.Keccak256([]byte("1")), word([]byte{0x05, 0x39}), word(common.Address{19: 9}.Bytes()))
	inner := crypto.Keccak256(
		crypto.Keccak256([]byte("PackedUserOperation(address sender,uint256 nonce,bytes initCode,bytes callData,bytes32 accountGasLimits,uint256 preVerificationGas,bytes32 gasFees,bytes paymasterAndData)")),
		word(nil), word(nil), empty, empty, word(nil), word(nil), word(nil), empty)
	want := crypto.Keccak256Hash([]byte{0x19, 0x01}, domain, inner)
	op := &userop.UserOperation{Version: userop.V08}
	if have := op.Hash(common.Address{19: 9}, 1337, common.Address{}); have != want {
		t.Errorf("have %s, want %s", have, want)
	}
}

// Everything the user agrees to must be in the hash; what is added later must not.
func TestHashCoversTheOperation(t *testing.T) {
	entryPoint, delegate := common.Address{1}, common.Address{2}
	rapid.Check(t, func(t *rapid.T) {
		v := versions().Draw(t, "version")
		op := operations(v).Draw(t, "operation")
		base := op.Hash(entryPoint, 1, delegate)
		changes := map[string]func(op *userop.UserOperation){
			"sender":               func(op *userop.UserOperation) { op.Sender[0] ^= 1 },
			"nonce":                func(op *userop.UserOperation) { op.Nonce[2] ^= 1 },
			"callData":             func(op *userop.UserOperation) { op.CallData = append([]byte{0}, op.CallData...) },
			"callGasLimit":         func(op *userop.UserOperation) { op.CallGasLimit ^= 1 << 63 },
			"verificationGasLimit": func(op *userop.UserOperation) { op.VerificationGasLimit ^= 1 },
			"preVerificationGas":   func(op *userop.UserOperation) { op.PreVerificationGas ^= 1 },
			"maxFeePerGas":         func(op *userop.UserOperation) { op.MaxFeePerGas[1] ^= 1 },
			"maxPriorityFeePerGas": func(op *userop.UserOperation) { op.MaxPriorityFeePerGas[0] ^= 1 },
		}
		if op.Factory != nil {
			changes["factoryData"] = func(op *userop.UserOperation) { op.FactoryData = append([]byte{0}, op.FactoryData...) }
		}
		if op.Paymaster != nil {
			changes["paymaster"] = func(op *userop.UserOperation) { op.Paymaster = &common.Address{19: 0x99} }
			changes["paymasterData"] = func(op *userop.UserOperation) { op.PaymasterData = append([]byte{0}, op.PaymasterData...) }
			if v.Packed() {
				changes["paymasterPostOpGasLimit"] = func(op *userop.UserOperation) { op.PaymasterPostOpGasLimit ^= 1 }
				changes["paymasterVerificationGasLimit"] = func(op *userop.UserOperation) { op.PaymasterVerificationGasLimit ^= 1 }
			}
		}
		for name, change := range changes {
			other := *op
			change(&other)
			if other.Hash(entryPoint, 1, delegate) == base {
				t.Fatalf("hash does not depend on %s", name)
			}
		}
		if op.Hash(entryPoint, 2, delegate) == base || op.Hash(common.Address{3}, 1, delegate) == base {
			t.Fatal("hash does not depend on chain and EntryPoint")
		}
		if (op.Hash(entryPoint, 1, common.Address{4}) != base) != op.IsEIP7702() {
			t.Fatal("hash must depend on the delegate exactly with the EIP-7702 marker")
		}
		if len(op.PaymasterSignature) > 0 {
			other := *op
			other.PaymasterSignature = []byte("another")
			if other.Hash(entryPoint, 1, delegate) != base {
				t.Fatal("hash depends on the paymaster's signature")
			}
		}
	})
}

func TestMaxGasAndMaxCost(t *testing.T) {
	paymaster, none := common.Address{1}, common.Address{}
	tests := []struct {
		name string
		op   userop.UserOperation
		gas  uint64
		ok   bool
	}{
		{"v0.6", userop.UserOperation{Version: userop.V06, CallGasLimit: 1, VerificationGasLimit: 10, PreVerificationGas: 100}, 111, true},
		{"v0.6 with paymaster", userop.UserOperation{Version: userop.V06, CallGasLimit: 1, VerificationGasLimit: 10, PreVerificationGas: 100, Paymaster: &paymaster}, 131, true},
		{"v0.6 with paymaster zero, which is none to the EntryPoint", userop.UserOperation{Version: userop.V06, CallGasLimit: 1, VerificationGasLimit: 10, PreVerificationGas: 100, Paymaster: &none}, 111, true},
		{"v0.7", userop.UserOperation{Version: userop.V07, CallGasLimit: 1, VerificationGasLimit: 10, PreVerificationGas: 100}, 111, true},
		{"v0.9 with paymaster", userop.UserOperation{Version: userop.V09, CallGasLimit: 1, VerificationGasLimit: 10, PreVerificationGas: 100, Paymaster: &paymaster, PaymasterVerificationGasLimit: 1000, PaymasterPostOpGasLimit: 10000}, 11111, true},
		{"the most", userop.UserOperation{Version: userop.V07, CallGasLimit: math.MaxUint64}, math.MaxUint64, true},
		{"one more", userop.UserOperation{Version: userop.V07, CallGasLimit: math.MaxUint64, PreVerificationGas: 1}, 0, false},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if gas, ok := tc.op.MaxGas(); gas != tc.gas || ok != tc.ok {
				t.Errorf("have %d, %t, want %d, %t", gas, ok, tc.gas, tc.ok)
			}
			tc.op.MaxFeePerGas = *uint256.NewInt(3_000_000_000)
			want := new(uint256.Int).SetAllOne()
			if tc.ok {
				want.Mul(uint256.NewInt(tc.gas), uint256.NewInt(3_000_000_000))
			}
			if cost := tc.op.MaxCost(); !cost.Eq(want) {
				t.Errorf("have cost %s, want %s", &cost, want)
			}
		})
	}
}

func TestMaxCostSaturates(t *testing.T) {
	op := userop.UserOperation{Version: userop.V06, CallGasLimit: 2, MaxFeePerGas: *new(uint256.Int).SetAllOne()}
	if cost := op.MaxCost(); !cost.Eq(new(uint256.Int).SetAllOne()) {
		t.Errorf("have %s, want 2^256-1", &cost)
	}
}

func TestEffectivePriorityFeeIsWhatTheEntryPointChargesOverTheBaseFee(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		op := operations(userop.V08).Draw(t, "operation")
		baseFee := wide(120).Draw(t, "base fee")
		// UserOperationLib.gasPrice: min(maxFeePerGas, maxPriorityFeePerGas + block.basefee).
		price := new(big.Int).Add(op.MaxPriorityFeePerGas.ToBig(), baseFee.ToBig())
		if price.Cmp(op.MaxFeePerGas.ToBig()) > 0 {
			price = op.MaxFeePerGas.ToBig()
		}
		want := price.Sub(price, baseFee.ToBig())
		if want.Sign() < 0 {
			want.SetInt64(0)
		}
		if have := op.EffectivePriorityFee(&baseFee); have.ToBig().Cmp(want) != 0 {
			t.Fatalf("have %s, want %s", &have, want)
		}
	})
}

func TestDelegateIsThatOfTheAuthorization(t *testing.T) {
	op := &userop.UserOperation{}
	if have := op.Delegate(); have != (common.Address{}) {
		t.Errorf("have %s without an authorization, want zero", have)
	}
	op.Authorization = &types.SetCodeAuthorization{Address: common.Address{7}}
	if have := op.Delegate(); have != (common.Address{7}) {
		t.Errorf("have %s, want that of the authorization", have)
	}
}

func TestNonceParts(t *testing.T) {
	op := &userop.UserOperation{Nonce: *uint256.MustFromHex("0x1234567890abcdef0000000000000007")}
	if key := op.NonceKey(); key.Hex() != "0x1234567890abcdef" {
		t.Errorf("have key %s", key.Hex())
	}
	if op.NonceSequence() != 7 {
		t.Errorf("have sequence %d, want 7", op.NonceSequence())
	}
}

func TestVersionsReadAsTheyAreWritten(t *testing.T) {
	for _, v := range userop.Versions() {
		for _, text := range []string{v.String(), "v" + v.String()} {
			if have, err := userop.ParseVersion(text); err != nil || have != v {
				t.Errorf("%q: have %v, %v", text, have, err)
			}
		}
	}
	if _, err := userop.ParseVersion("0.5"); err == nil {
		t.Error("have version 0.5")
	}
}

func BenchmarkHash(b *testing.B) {
	paymaster, factory := common.Address{1}, common.Address{2}
	for _, v := range userop.Versions() {
		b.Run(v.String(), func(b *testing.B) {
			op := &userop.UserOperation{
				Version: v, CallData: make([]byte, 200), Paymaster: &paymaster, PaymasterData: make([]byte, 129),
				Factory: &factory, FactoryData: make([]byte, 100), Signature: make([]byte, 65),
			}
			b.ReportAllocs()
			for b.Loop() {
				op.Hash(common.Address{9}, 1337, common.Address{})
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	raw := encode(b, sponsored(userop.V08))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := userop.Decode(raw, userop.V08); err != nil {
			b.Fatal(err)
		}
	}
}

// Hashing happens several times on an operation's way; it must not become a source of garbage.
func TestHashAllocatesLittle(t *testing.T) {
	for _, v := range userop.Versions() {
		paymaster := common.Address{1}
		op := &userop.UserOperation{Version: v, CallData: make([]byte, 200), Paymaster: &paymaster, PaymasterData: make([]byte, 129)}
		if have := testing.AllocsPerRun(100, func() { op.Hash(common.Address{9}, 1337, common.Address{}) }); have > 2 {
			t.Errorf("v%v: have %v allocations, want at most 2", v, have)
		}
	}
}
