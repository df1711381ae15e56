package datafee_test

import (
	"bytes"
	"math/big"
	"slices"
	"testing"

	"baler/devchain"
	"baler/entrypoint"
	"baler/entrypoint/artifacts"
	"baler/gas"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm/runtime"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

var oracleAddress = common.HexToAddress("0x420000000000000000000000000000000000000F")

// oracle is the GasPriceOracle of the OP stack in an EVM without a chain.
type oracle struct{ state *state.StateDB }

func newOracle(tb rapid.TB, prices gas.L1Prices) *oracle {
	tb.Helper()
	alloc, err := devchain.OPStackContracts(devchain.Fjord, prices, devchain.OperatorFee{})
	if err != nil {
		tb.Fatal(err)
	}
	db, err := state.New(types.EmptyRootHash, state.NewDatabaseForTesting())
	if err != nil {
		tb.Fatal(err)
	}
	for addr, account := range alloc {
		db.SetCode(addr, account.Code, 0)
		for slot, value := range account.Storage {
			db.SetState(addr, slot, value)
		}
	}
	return &oracle{db}
}

// ask calls a function of the oracle that takes bytes.
func (o *oracle) ask(tb rapid.TB, function string, data []byte) uint256.Int {
	tb.Helper()
	a, err := artifacts.Load("shared/GasPriceOracle.json")
	if err != nil {
		tb.Fatal(err)
	}
	input, err := a.ABI.Pack(function, data)
	if err != nil {
		tb.Fatal(err)
	}
	output, _, err := runtime.Call(oracleAddress, input, &runtime.Config{State: o.state, ChainConfig: params.MergedTestChainConfig, GasLimit: 1 << 40})
	if err != nil || len(output) != 32 {
		tb.Fatalf("%s: have %d bytes, %v", function, len(output), err)
	}
	return *new(uint256.Int).SetBytes32(output)
}

// anyData draws bytes as transactions have them: zeros, words that repeat near and far, and what looks random.
func anyData() *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		var data []byte
		for range rapid.IntRange(0, 12).Draw(t, "parts") {
			switch rapid.IntRange(0, 4).Draw(t, "part") {
			case 0:
				data = append(data, make([]byte, rapid.IntRange(1, 700).Draw(t, "zeros"))...)
			case 1:
				data = append(data, rapid.SliceOfN(rapid.Byte(), 0, 120).Draw(t, "random")...)
			case 2: // again what was before
				if len(data) > 0 {
					from := rapid.IntRange(0, len(data)-1).Draw(t, "from")
					data = append(data, data[from:rapid.IntRange(from, min(len(data), from+900)).Draw(t, "to")]...)
				}
			case 3:
				data = append(data, common.LeftPadBytes(rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "word"), 32)...)
			case 4: // farther than the window
				data = append(data, bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte"), 7, 9}, rapid.IntRange(1, 4000).Draw(t, "times"))...)
			}
		}
		return data
	})
}

// What FastLZ would make of data, and the fee for it, are what the chain's own contract says, to the byte and to the wei.
func TestFjordFeesAreTheContracts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// The contract multiplies the scalar by 16 in 32 bits, and reverts where that overflows.
		prices := gas.L1Prices{
			BaseFeeScalar: rapid.Uint32Range(0, 1<<28-1).Draw(t, "base fee scalar"), BlobBaseFeeScalar: rapid.Uint32().Draw(t, "blob base fee scalar"),
		}
		prices.BaseFee.SetUint64(rapid.Uint64().Draw(t, "base fee"))
		prices.BlobBaseFee.SetUint64(rapid.Uint64().Draw(t, "blob base fee"))
		o, data := newOracle(t, prices), anyData().Draw(t, "data")
		want := o.ask(t, "getL1Fee", data)
		if have := prices.Fee(gas.FastLZLength(data) + gas.SignatureBytes); have != want {
			t.Fatalf("%d bytes: have a fee of %s, want %s", len(data), have.Dec(), want.Dec())
		}
		// The size as the contract estimates it, 16 gas a byte, tells lengths apart that the fee may not.
		used := o.ask(t, "getL1GasUsed", data)
		length := gas.FastLZLength(data) + gas.SignatureBytes
		if size := max(100_000_000, int64(length)*836_500-42_585_600); used.Uint64() != uint64(size)*16/1_000_000 {
			t.Fatalf("%d bytes: have a length of %d, which is %d gas, want %s", len(data), length, size*16/1_000_000, used.Dec())
		}
	})
}

// The same for operations of every version as they are sent, and for lengths around the compressor's limits.
func TestFastLZOfBundlesAndLimits(t *testing.T) {
	o := newOracle(t, devchain.HeavyL1Prices())
	prices := devchain.HeavyL1Prices()
	var all [][]byte
	for n := range 300 {
		all = append(all, make([]byte, n), bytes.Repeat([]byte{1, 2, 3, 4, 5}, n))
	}
	for _, n := range []int{8_191, 8_192, 8_193, 8_200, 16_384, 40_000} {
		noise := make([]byte, n)
		for i := range noise {
			noise[i] = byte(i * i >> 3)
		}
		all = append(all, append(append([]byte("far away"), noise...), "far away and once more far away"...))
	}
	for _, v := range userop.Versions() {
		ops := make([]*userop.UserOperation, 0, 20)
		for i := range 20 {
			ops = append(ops, &userop.UserOperation{
				Version: v, Sender: common.BigToAddress(big.NewInt(int64(i * 7_919))), CallData: bytes.Repeat([]byte{byte(i), 0, 0, 1}, 30),
				CallGasLimit: 100_000, VerificationGasLimit: 90_000, PreVerificationGas: 50_000, Signature: slices.Repeat([]byte{byte(i), 0x33}, 32),
			})
			all = append(all, entrypoint.EncodeHandleOps(v, ops, common.Address{1}))
		}
	}
	for _, data := range all {
		want := o.ask(t, "getL1Fee", data)
		if have := prices.Fee(gas.FastLZLength(data) + gas.SignatureBytes); have != want {
			t.Errorf("%d bytes: have a fee of %s, want %s", len(data), have.Dec(), want.Dec())
		}
	}
}

func BenchmarkFastLZLength(b *testing.B) {
	data := make([]byte, 0, 100_000)
	for i := range cap(data) / 32 {
		data = append(data, common.BigToHash(big.NewInt(int64(i*i)).Mul(big.NewInt(int64(i)), big.NewInt(0x9e3779b97f4a7c))).Bytes()...)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		gas.FastLZLength(data)
	}
}
