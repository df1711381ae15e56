package gas_test

import (
	"errors"
	"math"
	"math/big"
	"testing"

	"baler/gas"
	"baler/userop"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

// prague is mainnet's rules from EIP-7623 and EIP-7702 on.
func prague() params.Rules {
	return params.MainnetChainConfig.Rules(big.NewInt(23_000_000), true, 1_770_000_000)
}

func TestTransactionGasIsGeths(t *testing.T) {
	to := common.Address{1}
	rapid.Check(t, func(t *rapid.T) {
		data := anyBytes(4000).Draw(t, "data")
		auths := rapid.IntRange(0, 5).Draw(t, "authorizations")
		var list []types.SetCodeAuthorization
		if auths > 0 {
			list = make([]types.SetCodeAuthorization, auths)
		}
		wantIntrinsic, err := core.IntrinsicGas(data, nil, list, common.Address{}, &to, new(uint256.Int), prague())
		if err != nil {
			t.Fatal(err)
		}
		wantFloor, err := core.FloorDataGas(prague(), common.Address{}, &to, new(uint256.Int), data, nil)
		if err != nil {
			t.Fatal(err)
		}
		tokens := gas.DataTokens(data)
		if have := gas.IntrinsicGas(tokens, uint64(auths)); have != wantIntrinsic {
			t.Fatalf("intrinsic gas: have %d, want %d", have, wantIntrinsic)
		}
		if have := gas.FloorGas(tokens); have != wantFloor {
			t.Fatalf("floor: have %d, want %d", have, wantFloor)
		}
		execution := rapid.Uint64Range(0, 1_000_000).Draw(t, "execution")
		if have, want := gas.TransactionGasUsed(tokens, uint64(auths), execution), max(wantIntrinsic+execution, wantFloor); have != want {
			t.Fatalf("gas used: have %d, want %d", have, want)
		}
	})
}

func TestCalldataGasSaturates(t *testing.T) {
	if have := gas.IntrinsicGas(math.MaxUint64, math.MaxUint64); have != math.MaxUint64 {
		t.Errorf("intrinsic gas wraps to %d", have)
	}
	if have := gas.FloorGas(math.MaxUint64); have != math.MaxUint64 {
		t.Errorf("floor wraps to %d", have)
	}
}

// anyBytes draws bytes of which many are zero, as calldata has.
func anyBytes(size int) *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		return rapid.SliceOfN(rapid.OneOf(rapid.Just(byte(0)), rapid.Byte()), 0, size).Draw(t, "bytes")
	})
}

func anyAddress() *rapid.Generator[*common.Address] {
	return rapid.Custom(func(t *rapid.T) *common.Address {
		a := common.BytesToAddress(rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(t, "address"))
		return &a
	})
}

func anyOperation() *rapid.Generator[*userop.UserOperation] {
	return rapid.Custom(func(t *rapid.T) *userop.UserOperation {
		limit := rapid.Uint64Range(0, math.MaxUint32)
		op := &userop.UserOperation{
			Version:              rapid.SampledFrom(userop.Versions()).Draw(t, "version"),
			Sender:               *anyAddress().Draw(t, "sender"),
			Nonce:                anyWei().Draw(t, "nonce"),
			CallData:             anyBytes(300).Draw(t, "callData"),
			CallGasLimit:         limit.Draw(t, "callGasLimit"),
			VerificationGasLimit: limit.Draw(t, "verificationGasLimit"),
			PreVerificationGas:   limit.Draw(t, "preVerificationGas"),
			MaxFeePerGas:         wei(rapid.Uint64().Draw(t, "maxFee")),
			MaxPriorityFeePerGas: wei(rapid.Uint64().Draw(t, "maxPriority")),
			Signature:            anyBytes(150).Draw(t, "signature"),
		}
		if rapid.Bool().Draw(t, "deploys") {
			op.Factory = anyAddress().Draw(t, "factory")
			op.FactoryData = anyBytes(200).Draw(t, "factoryData")
		}
		if rapid.Bool().Draw(t, "sponsored") {
			op.Paymaster = anyAddress().Draw(t, "paymaster")
			op.PaymasterData = anyBytes(200).Draw(t, "paymasterData")
			if op.Version.Packed() {
				op.PaymasterVerificationGasLimit = limit.Draw(t, "paymasterVerificationGasLimit")
				op.PaymasterPostOpGasLimit = limit.Draw(t, "paymasterPostOpGasLimit")
			}
			if op.Version == userop.V09 && rapid.Bool().Draw(t, "signedApart") {
				op.PaymasterSignature = append([]byte{}, anyBytes(300).Draw(t, "paymasterSignature")...)
			}
		}
		return op
	})
}

func mustType(t *rapid.T, components ...abi.ArgumentMarshaling) abi.Arguments {
	tuple, err := abi.NewType("tuple", "", components)
	if err != nil {
		t.Fatal(err)
	}
	return abi.Arguments{{Type: tuple}}
}

// encode is abi.encode(op), by geth's ABI package.
func encode(t *rapid.T, op *userop.UserOperation) []byte {
	var initCode, paymasterAndData []byte
	if op.Factory != nil {
		initCode = append(op.Factory.Bytes(), op.FactoryData...)
	}
	halves := func(high, low *big.Int) (word [32]byte) {
		high.FillBytes(word[:16])
		low.FillBytes(word[16:])
		return word
	}
	number := func(v uint64) *big.Int { return new(big.Int).SetUint64(v) }
	if op.Paymaster != nil {
		paymasterAndData = op.Paymaster.Bytes()
		if op.Version.Packed() {
			limits := halves(number(op.PaymasterVerificationGasLimit), number(op.PaymasterPostOpGasLimit))
			paymasterAndData = append(paymasterAndData, limits[:]...)
		}
		paymasterAndData = append(paymasterAndData, op.PaymasterData...)
		if sig := op.PaymasterSignature; sig != nil {
			paymasterAndData = append(paymasterAndData, sig...)
			paymasterAndData = append(paymasterAndData, byte(len(sig)>>8), byte(len(sig)))
			paymasterAndData = append(paymasterAndData, common.FromHex("0x22e325a297439656")...)
		}
	}

	var raw []byte
	var err error
	if op.Version.Packed() {
		args := mustType(t,
			abi.ArgumentMarshaling{Name: "sender", Type: "address"}, abi.ArgumentMarshaling{Name: "nonce", Type: "uint256"},
			abi.ArgumentMarshaling{Name: "initCode", Type: "bytes"}, abi.ArgumentMarshaling{Name: "callData", Type: "bytes"},
			abi.ArgumentMarshaling{Name: "accountGasLimits", Type: "bytes32"}, abi.ArgumentMarshaling{Name: "preVerificationGas", Type: "uint256"},
			abi.ArgumentMarshaling{Name: "gasFees", Type: "bytes32"}, abi.ArgumentMarshaling{Name: "paymasterAndData", Type: "bytes"},
			abi.ArgumentMarshaling{Name: "signature", Type: "bytes"})
		raw, err = args.Pack(struct {
			Sender             common.Address
			Nonce              *big.Int
			InitCode, CallData []byte
			AccountGasLimits   [32]byte
			PreVerificationGas *big.Int
			GasFees            [32]byte
			PaymasterAndData   []byte
			Signature          []byte
		}{
			op.Sender, op.Nonce.ToBig(), initCode, op.CallData,
			halves(number(op.VerificationGasLimit), number(op.CallGasLimit)), number(op.PreVerificationGas),
			halves(op.MaxPriorityFeePerGas.ToBig(), op.MaxFeePerGas.ToBig()), paymasterAndData, op.Signature,
		})
	} else {
		args := mustType(t,
			abi.ArgumentMarshaling{Name: "sender", Type: "address"}, abi.ArgumentMarshaling{Name: "nonce", Type: "uint256"},
			abi.ArgumentMarshaling{Name: "initCode", Type: "bytes"}, abi.ArgumentMarshaling{Name: "callData", Type: "bytes"},
			abi.ArgumentMarshaling{Name: "callGasLimit", Type: "uint256"}, abi.ArgumentMarshaling{Name: "verificationGasLimit", Type: "uint256"},
			abi.ArgumentMarshaling{Name: "preVerificationGas", Type: "uint256"}, abi.ArgumentMarshaling{Name: "maxFeePerGas", Type: "uint256"},
			abi.ArgumentMarshaling{Name: "maxPriorityFeePerGas", Type: "uint256"}, abi.ArgumentMarshaling{Name: "paymasterAndData", Type: "bytes"},
			abi.ArgumentMarshaling{Name: "signature", Type: "bytes"})
		raw, err = args.Pack(struct {
			Sender                                                 common.Address
			Nonce                                                  *big.Int
			InitCode, CallData                                     []byte
			CallGasLimit, VerificationGasLimit, PreVerificationGas *big.Int
			MaxFeePerGas, MaxPriorityFeePerGas                     *big.Int
			PaymasterAndData, Signature                            []byte
		}{
			op.Sender, op.Nonce.ToBig(), initCode, op.CallData,
			number(op.CallGasLimit), number(op.VerificationGasLimit), number(op.PreVerificationGas),
			op.MaxFeePerGas.ToBig(), op.MaxPriorityFeePerGas.ToBig(), paymasterAndData, op.Signature,
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestCalldataTokensAreThoseOfTheEncodedOperation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		op := anyOperation().Draw(t, "op")
		if have, want := gas.CalldataTokens(op), gas.DataTokens(encode(t, op)); have != want {
			t.Fatalf("have %d tokens, want %d", have, want)
		}
	})
}

func TestRequiredPreVerificationGas(t *testing.T) {
	plain := &userop.UserOperation{Version: userop.V07, CallGasLimit: 100_000}
	calldata := gas.DataGas(gas.CalldataTokens(plain))
	large := &userop.UserOperation{Version: userop.V07, CallGasLimit: 100_000, CallData: filled(6000)}
	largeTokens := gas.CalldataTokens(large)
	delegated := *plain
	delegated.Authorization = &types.SetCodeAuthorization{}
	sponsored := *large
	sponsored.PaymasterPostOpGasLimit = 50_000

	for _, tt := range []struct {
		name   string
		config gas.PreVerification
		op     *userop.UserOperation
		used   uint64
		want   uint64
	}{
		{"LIM-070: calldata plus 50,000", gas.PreVerification{}, plain, 60_000, calldata + 50_000},
		{"another overhead", gas.PreVerification{OverheadGas: 60_000}, plain, 60_000, calldata + 60_000},
		{"three share the transaction's 21,000", gas.PreVerification{BundleSize: 3}, plain, 60_000, calldata + 50_000 - 14_000},
		{"an authorization is 25,000", gas.PreVerification{}, &delegated, 60_000, calldata + 75_000},
		{"calldata that executes little pays the floor", gas.PreVerification{}, large, 60_000, largeTokens*10 - 60_000 - 10_000 + 50_000},
		{"postOp counts as execution", gas.PreVerification{}, &sponsored, 60_000, largeTokens*10 - 60_000 - 15_000 + 50_000},
		{"calldata that executes much does not", gas.PreVerification{}, large, 400_000, largeTokens*4 + 50_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if have := tt.config.Required(tt.op, tt.used); have != tt.want {
				t.Errorf("have %d, want %d", have, tt.want)
			}
		})
	}
}

func filled(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 0xff
	}
	return b
}

// An operation that is completed after its estimation with whatever signature, paymaster data, limits and fees is
// not refused for its pre-verification gas.
func TestTheEstimateIsNeverRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		final := anyOperation().Draw(t, "final")
		used := rapid.Uint64Range(0, 500_000).Draw(t, "verification gas")
		config := gas.PreVerification{BundleSize: rapid.Uint64Range(0, 20).Draw(t, "bundle size")}

		dummy := *final
		dummy.Signature = make([]byte, len(final.Signature))
		dummy.PaymasterData = make([]byte, len(final.PaymasterData))
		if final.PaymasterSignature != nil {
			dummy.PaymasterSignature = make([]byte, len(final.PaymasterSignature))
		}
		dummy.PreVerificationGas, dummy.VerificationGasLimit, dummy.PaymasterVerificationGasLimit = 0, 0, 0
		dummy.MaxFeePerGas, dummy.MaxPriorityFeePerGas = uint256.Int{}, uint256.Int{}

		estimate := config.Estimate(&dummy, used)
		later := rapid.Uint64Range(used/2, 2*used+1).Draw(t, "verification gas later")
		if required := config.Required(final, later); estimate < required {
			t.Fatalf("estimated %d, then asked for %d", estimate, required)
		}
	})
}

func TestBundleGasLimit(t *testing.T) {
	op := &userop.UserOperation{Version: userop.V07, CallGasLimit: 100_000, VerificationGasLimit: 80_000}
	v06 := &userop.UserOperation{Version: userop.V06, CallGasLimit: 100_000, VerificationGasLimit: 80_000}
	sponsoredV06 := *v06
	sponsoredV06.Paymaster = &common.Address{1}

	up := func(x uint64) uint64 { return x + x/63 + 1 } // what is needed to pass x on
	demand := up(up(110_000) + 5_000)
	demandV06 := up(up(185_000) + 5_000)

	for _, tt := range []struct {
		name   string
		bundle gas.Bundle
		want   uint64
	}{
		{
			"measured: margin on what was used, calls at their limits, reserve for the EntryPoint's check",
			gas.Bundle{Ops: []*userop.UserOperation{op}, Tokens: 1000, Measured: 150_000, MeasuredCalls: 50_000},
			21_000 + 4_000 + 100_000 + 1001*10 + 100_000 + (demand - 100_000),
		},
		{
			"the reserve is needed once",
			gas.Bundle{Ops: []*userop.UserOperation{op, op, op}, Tokens: 1000, Measured: 300_000, MeasuredCalls: 100_000},
			21_000 + 4_000 + 200_000 + 2001*10 + 300_000 + (demand - 100_000),
		},
		{
			"v0.6 asks for the verification limit again before the call",
			gas.Bundle{Ops: []*userop.UserOperation{v06}, Tokens: 1000, Measured: 150_000, MeasuredCalls: 50_000},
			21_000 + 4_000 + 100_000 + 1001*10 + 100_000 + (demandV06 - 100_000),
		},
		{
			"v0.6 may call postOp twice, which leaves enough for the check",
			gas.Bundle{Ops: []*userop.UserOperation{&sponsoredV06}, Tokens: 1000, Measured: 150_000, MeasuredCalls: 50_000},
			21_000 + 4_000 + 100_000 + 1001*10 + 260_000,
		},
		{
			"nothing measured: the operations' limits",
			gas.Bundle{Ops: []*userop.UserOperation{op}, Tokens: 1000, Authorizations: 2},
			21_000 + 4_000 + 50_000 + 80_000 + 50_000 + 100_000 + (demand - 100_000),
		},
		{
			"another margin",
			gas.Bundle{Ops: []*userop.UserOperation{op}, Tokens: 1000, Measured: 150_000, MeasuredCalls: 50_000, MarginPercent: 50},
			21_000 + 4_000 + 100_000 + 1001*50 + 100_000 + (demand - 100_000),
		},
		{
			"the calldata floor",
			gas.Bundle{Ops: []*userop.UserOperation{op}, Tokens: 1_000_000, Measured: 150_000},
			21_000 + 10_000_000,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			have, err := tt.bundle.GasLimit()
			if err != nil {
				t.Fatal(err)
			}
			if have != tt.want {
				t.Errorf("have %d, want %d", have, tt.want)
			}
		})
	}
}

func TestBundleGasLimitOverTheCap(t *testing.T) {
	b := gas.Bundle{Tokens: 1000, Measured: gas.MaxTransactionGas}
	if have, err := b.GasLimit(); !errors.Is(err, gas.ErrGasCap) {
		t.Errorf("have %d, %v, want ErrGasCap", have, err)
	}
	b.Cap = 2 * gas.MaxTransactionGas
	if _, err := b.GasLimit(); err != nil {
		t.Errorf("a cap of our own: %v", err)
	}
}

// Whatever the operations do within their limits, at each one's turn the EntryPoint finds the gas it demands.
func TestBundleGasLimitLeavesEnoughForEveryOperation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Uint64Range(0, 500_000)
		var ops []*userop.UserOperation
		for range rapid.IntRange(1, 10).Draw(t, "n") {
			op := &userop.UserOperation{Version: userop.V07, CallGasLimit: limit.Draw(t, "call"), VerificationGasLimit: limit.Draw(t, "verification")}
			if rapid.Bool().Draw(t, "sponsored") {
				op.Paymaster = &common.Address{1}
				op.PaymasterPostOpGasLimit = limit.Draw(t, "postOp")
			}
			ops = append(ops, op)
		}
		measured := rapid.Uint64Range(1, 3_000_000).Draw(t, "measured")
		total, err := gas.Bundle{Ops: ops, Tokens: 1, Measured: measured, Cap: math.MaxUint64}.GasLimit()
		if err != nil {
			t.Fatal(err)
		}
		left := total - gas.IntrinsicGas(1, 0) - measured // all overhead is spent before the first operation
		for i, op := range ops {
			inner := left - left/64
			if inner < 5000 {
				t.Fatalf("operation %d: %d gas left", i, left)
			}
			inner -= 5000 // its arguments
			if inner*63/64 < op.CallGasLimit+op.PaymasterPostOpGasLimit+10_000 {
				t.Fatalf("operation %d of %d: AA95 out of gas with %d left", i, len(ops), left)
			}
			left -= op.CallGasLimit + op.PaymasterPostOpGasLimit
		}
	})
}

func BenchmarkRequiredPreVerificationGas(b *testing.B) {
	op := &userop.UserOperation{Version: userop.V07, CallData: filled(600), Signature: filled(65)}
	var config gas.PreVerification
	b.ReportAllocs()
	for b.Loop() {
		config.Required(op, 60_000)
	}
}
