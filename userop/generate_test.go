package userop_test

import (
	"math/rand/v2"

	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

// operations draws operations of the version in every shape that decoding can produce.
func operations(v userop.Version) *rapid.Generator[*userop.UserOperation] {
	return rapid.Custom(func(t *rapid.T) *userop.UserOperation {
		op := &userop.UserOperation{
			Version:              v,
			Sender:               address().Draw(t, "sender"),
			Nonce:                wide(256).Draw(t, "nonce"),
			CallData:             someBytes().Draw(t, "callData"),
			CallGasLimit:         rapid.Uint64().Draw(t, "callGasLimit"),
			VerificationGasLimit: rapid.Uint64().Draw(t, "verificationGasLimit"),
			PreVerificationGas:   rapid.Uint64().Draw(t, "preVerificationGas"),
			MaxFeePerGas:         wide(120).Draw(t, "maxFeePerGas"),
			MaxPriorityFeePerGas: wide(120).Draw(t, "maxPriorityFeePerGas"),
			Signature:            someBytes().Draw(t, "signature"),
		}
		if rapid.Bool().Draw(t, "has factory") {
			factory := address().Draw(t, "factory")
			if v >= userop.V08 && rapid.Bool().Draw(t, "marker") {
				factory = userop.EIP7702Marker
			}
			op.Factory, op.FactoryData = &factory, someBytes().Draw(t, "factoryData")
		}
		if rapid.Bool().Draw(t, "has paymaster") {
			paymaster := address().Draw(t, "paymaster")
			op.Paymaster, op.PaymasterData = &paymaster, someBytes().Draw(t, "paymasterData")
			if v.Packed() {
				op.PaymasterVerificationGasLimit = rapid.Uint64().Draw(t, "paymasterVerificationGasLimit")
				op.PaymasterPostOpGasLimit = rapid.Uint64().Draw(t, "paymasterPostOpGasLimit")
			}
			if v >= userop.V09 {
				op.PaymasterSignature = someBytes().Draw(t, "paymasterSignature")
			}
		}
		if rapid.Bool().Draw(t, "has authorization") {
			op.Authorization = &types.SetCodeAuthorization{
				ChainID: wide(256).Draw(t, "chainId"),
				Address: address().Draw(t, "delegate"),
				Nonce:   rapid.Uint64().Draw(t, "auth nonce"),
				V:       rapid.Uint8Range(0, 1).Draw(t, "yParity"),
				R:       wide(256).Draw(t, "r"),
				S:       wide(256).Draw(t, "s"),
			}
		}
		return op
	})
}

func versions() *rapid.Generator[userop.Version] { return rapid.SampledFrom(userop.Versions()) }

// address avoids the EIP-7702 marker, which is drawn on purpose only.
func address() *rapid.Generator[common.Address] {
	return rapid.Custom(func(t *rapid.T) common.Address {
		a := common.Address(rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(t, "address"))
		if a == userop.EIP7702Marker {
			a[19] = 1
		}
		return a
	})
}

// wide draws numbers of up to bits bits, zero and the largest among them.
func wide(bits uint) *rapid.Generator[uint256.Int] {
	return rapid.Custom(func(t *rapid.T) uint256.Int {
		n := *new(uint256.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "number"))
		n.Rsh(&n, 256-rapid.UintRange(0, bits).Draw(t, "bits"))
		return n
	})
}

// someBytes draws byte strings of lengths around whole words. Their content does not matter: a seed makes them.
func someBytes() *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		n := rapid.IntRange(0, 100).Draw(t, "length")
		if n == 0 {
			return nil
		}
		source := rand.NewChaCha8([32]byte{rapid.Byte().Draw(t, "seed")})
		b := make([]byte, n)
		_, _ = source.Read(b)
		return b
	})
}
