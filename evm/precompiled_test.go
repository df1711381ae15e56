package evm

import (
	"bytes"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"pgregory.net/rapid"
)

// signed returns the input of ECRECOVER for a signature of the digest.
func signed(t *testing.T, digest common.Hash) []byte {
	t.Helper()
	key, err := crypto.ToECDSA(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	sig, err := crypto.Sign(digest[:], key)
	if err != nil {
		t.Fatal(err)
	}
	input := make([]byte, 128)
	copy(input, digest[:])
	input[63] = sig[64] + 27
	copy(input[64:], sig[:64])
	return input
}

func TestSignatureChecksThatAreRememberedAnswerAsTheContractsDo(t *testing.T) {
	rules := params.MergedTestChainConfig.Rules(params.MergedTestChainConfig.MergeNetsplitBlock, true, 1<<40)
	rules.IsOsaka = true
	remembered, plain := newPrecompiles().of(rules), vm.ActivePrecompiledContracts(rules)
	if len(remembered) != len(plain) {
		t.Fatalf("have %d contracts, want %d", len(remembered), len(plain))
	}
	valid := signed(t, common.Hash{1})
	rapid.Check(t, func(t *rapid.T) {
		addr := rapid.SampledFrom([]common.Address{common.BytesToAddress([]byte{1}), common.BytesToAddress([]byte{1, 0})}).Draw(t, "contract")
		input := rapid.OneOf(rapid.Just(valid), rapid.SliceOfN(rapid.Byte(), 0, 300), rapid.Custom(func(t *rapid.T) []byte {
			broken := bytes.Clone(valid)
			broken[rapid.IntRange(0, len(broken)-1).Draw(t, "at")] ^= 1
			return broken
		})).Draw(t, "input")
		want, wantErr := plain[addr].Run(bytes.Clone(input))
		for range 2 { // computed, and remembered
			have, err := remembered[addr].Run(input)
			if !bytes.Equal(have, want) || (have == nil) != (want == nil) || (err == nil) != (wantErr == nil) {
				t.Fatalf("have %x, %v, want %x, %v", have, err, want, wantErr)
			}
			if len(have) > 0 {
				have[0] ^= 0xff // the answer is the caller's own
			}
		}
		if have, want := remembered[addr].RequiredGas(input), plain[addr].RequiredGas(input); have != want {
			t.Fatalf("gas: have %d, want %d", have, want)
		}
	})
}

func BenchmarkEcrecover(b *testing.B) {
	input := make([]byte, 128)
	key, _ := crypto.ToECDSA(bytes.Repeat([]byte{7}, 32))
	sig, _ := crypto.Sign(input[:32], key)
	input[63] = sig[64] + 27
	copy(input[64:], sig[:64])
	addr, rules := common.BytesToAddress([]byte{1}), params.Rules{IsOsaka: true}
	for name, contracts := range map[string]vm.PrecompiledContracts{"computed": vm.ActivePrecompiledContracts(rules), "remembered": newPrecompiles().of(rules)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if out, err := contracts[addr].Run(input); err != nil || len(out) != 32 {
					b.Fatal(out, err)
				}
			}
		})
	}
}
