// Package userop is the user operation of ERC-4337, one in-memory type for EntryPoint v0.6 to v0.9.
//
// In: JSON of the RPC surface (strict, with an error that names the field), or the tuple an EntryPoint takes.
// Out: JSON, the packed form of v0.7+, and the operation's hash, equal to the EntryPoint's getUserOpHash.
// It is pure: no network, no clock. It never checks whether an operation is valid on a chain.
package userop

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// UserOperation is an operation of any version, in the unpacked shape of v0.7+. For v0.6, initCode is
// Factory ++ FactoryData and paymasterAndData is Paymaster ++ PaymasterData; the paymaster gas limits are zero.
//
// Gas is in units of gas, fees in wei per gas. Gas limits are 64 bits wide: no block holds more, and an
// EntryPoint itself refuses what does not fit 120 bits.
//
// An operation is immutable once it is decoded: it is shared between the pool, the proposer and the RPC surface.
type UserOperation struct {
	Version Version

	Sender common.Address
	Nonce  uint256.Int // 192-bit key, 64-bit sequence

	Factory     *common.Address // nil: the account is deployed already
	FactoryData []byte

	CallData             []byte
	CallGasLimit         uint64
	VerificationGasLimit uint64
	PreVerificationGas   uint64
	MaxFeePerGas         uint256.Int
	MaxPriorityFeePerGas uint256.Int

	Paymaster                     *common.Address // nil: the account pays
	PaymasterVerificationGasLimit uint64          // v0.7+
	PaymasterPostOpGasLimit       uint64          // v0.7+
	PaymasterData                 []byte
	PaymasterSignature            []byte // v0.9: appended to paymasterAndData, not part of the hash; nil: not used

	Signature []byte

	// Authorization is the operation's EIP-7702 tuple (`eip7702Auth`); it is not part of the operation itself.
	Authorization *types.SetCodeAuthorization
}

// EIP7702Marker is INITCODE_EIP7702_MARKER of ERC-7769, 0x7702 right-padded to an address: as the factory it
// says that the sender is an account delegated by EIP-7702.
var EIP7702Marker = common.Address{0x77, 0x02}

// IsEIP7702 reports whether the operation's factory is the EIP-7702 marker. EntryPoints before v0.8 know no marker:
// to them it is an address like any other.
func (op *UserOperation) IsEIP7702() bool {
	return op.Version >= V08 && op.Factory != nil && *op.Factory == EIP7702Marker
}

// Delegate returns the address the operation's own authorization delegates to, or the zero address if it
// carries none (the delegate, if needed for the hash, then stands in the sender's code).
func (op *UserOperation) Delegate() common.Address {
	if op.Authorization == nil {
		return common.Address{}
	}
	return op.Authorization.Address
}

// NonceKey returns the nonce's upper 192 bits, right-aligned.
func (op *UserOperation) NonceKey() uint256.Int {
	var key uint256.Int
	key.Rsh(&op.Nonce, 64)
	return key
}

// NonceSequence returns the nonce's lower 64 bits.
func (op *UserOperation) NonceSequence() uint64 { return op.Nonce[0] }
