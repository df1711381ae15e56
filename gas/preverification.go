package gas

import (
	"encoding/binary"

	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

// PreVerification holds the settings of preVerificationGas. The zero value is the ERC's.
type PreVerification struct {
	// OverheadGas is PRE_VERIFICATION_OVERHEAD_GAS of ERC-7562: what one operation costs its bundler beside its
	// calldata and outside what the EntryPoint measures, when it is alone in its bundle. It includes the
	// transaction's 21,000. Zero: 50,000, the ERC's value.
	OverheadGas uint64
	// BundleSize is the number of operations the bundler expects in a bundle; they share the transaction's 21,000.
	// Zero: 1, the only value with which LIM-070 of ERC-7562 asks for all of OverheadGas.
	BundleSize uint64
	// Expected returns the number that is expected now, where it follows the load. Nil: BundleSize.
	Expected func() uint64
}

// size is the number of operations that share a transaction's 21,000.
func (p PreVerification) size() uint64 {
	if p.Expected != nil {
		return max(p.Expected(), 1)
	}
	return max(p.BundleSize, 1)
}

// DefaultOverheadGas is PRE_VERIFICATION_OVERHEAD_GAS of ERC-7562.
const DefaultOverheadGas = 50_000

// Execution is the part of an operation's gas that counts against the calldata floor of EIP-7623.
type Execution struct {
	// VerificationGasUsed is what validation used: account creation, validateUserOp and validatePaymasterUserOp.
	VerificationGasUsed uint64
	// LimitGas is the sum of the operation's gas limits for the call and for postOp.
	LimitGas uint64
}

// ExecutionLimits returns the sum of op's limits for the call and for postOp, for [Execution]. v0.6 has no separate
// limit for postOp; it may use the verification limit, but whether postOp runs is not known from the operation, so
// that is not counted.
func ExecutionLimits(op *userop.UserOperation) uint64 {
	return satAdd(op.CallGasLimit, op.PaymasterPostOpGasLimit)
}

// Required returns the preVerificationGas op must offer at least, for an operation as it was sent:
//
//	overhead + authorization + max(calldata, floor − execution)
//
// overhead is OverheadGas less the share of the transaction's 21,000 that the other operations of a bundle bear;
// authorization is 25,000 if op carries an EIP-7702 tuple; calldata is the gas of the ABI-encoded operation by EIP-2028 (4 per zero byte, 16 per other
// byte); floor is the same calldata by EIP-7623 (10 and 40); execution is the verification gas used plus 10 % of the
// execution and postOp limits, which the operation pays for at least whatever its execution does (ERC-4337,
// "Estimating preVerificationGas"; ERC-7562, LIM-070).
//
// Before validation has run, the operation's verification limits may stand for verificationGasUsed: the result is
// then a lower bound, to be checked again with what validation measured.
func (p PreVerification) Required(op *userop.UserOperation, verificationGasUsed uint64) uint64 {
	return p.gas(op, CalldataTokens(op), Execution{verificationGasUsed, ExecutionLimits(op)})
}

// Estimate returns the preVerificationGas to offer for an operation that is not signed yet. It is never less than
// what [PreVerification.Required] asks of the same operation once it is complete, provided that the final signature
// and paymaster data are no longer than the dummies, that validation uses at least half the gas it used in the
// estimation, and that the limits for execution and postOp are not lowered. The rule:
//   - every byte of the signatures and of the paymaster's data counts as non-zero, because a dummy may hold more
//     zeros than the final value;
//   - gas limits count as four non-zero bytes, fees as eight (or as many as are given, if more), because they are
//     filled in after the estimation;
//   - half of verificationGasUsed counts against the calldata floor.
func (p PreVerification) Estimate(op *userop.UserOperation, verificationGasUsed uint64) uint64 {
	return p.gas(op, EstimateTokens(op), Execution{verificationGasUsed / 2, ExecutionLimits(op)})
}

// VerificationLimits returns the sum of op's limits for validation, the upper bound of what validation can use.
func VerificationLimits(op *userop.UserOperation) uint64 {
	return satAdd(op.VerificationGasLimit, op.PaymasterVerificationGasLimit)
}

// TransactionGas returns the most gas that a transaction uses for op alone, if outside of its limits it uses that much: for what a chain
// charges by the gas used of a transaction, beside its price. It saturates.
func TransactionGas(op *userop.UserOperation, outside uint64) uint64 {
	return satAdd(outside, satAdd(VerificationLimits(op), ExecutionLimits(op)))
}

// executionPercent is the part of the execution and postOp limits that counts as used (ERC-4337).
const executionPercent = 10

func (p PreVerification) gas(op *userop.UserOperation, tokens uint64, execution Execution) uint64 {
	overhead := p.OverheadGas
	if overhead == 0 {
		overhead = DefaultOverheadGas
	}
	shared := params.TxGas - params.TxGas/p.size()
	gas := satSub(overhead, shared)
	if op.Authorization != nil {
		gas = satAdd(gas, AuthorizationGas)
	}
	used := satAdd(execution.VerificationGasUsed, execution.LimitGas/(100/executionPercent))
	floor := satMul(tokens, params.TxCostFloorPerToken)
	return satAdd(gas, max(DataGas(tokens), satSub(floor, used)))
}

// CalldataTokens returns the EIP-7623 tokens of op ABI-encoded as the EntryPoint takes it (abi.encode(op)), as it is.
func CalldataTokens(op *userop.UserOperation) uint64 {
	return encodedTokens(op, fieldTokens{quantity: wordTokens, opaque: DataTokens})
}

// EstimateTokens is [CalldataTokens] of the worst case that an unsigned operation may become; see
// [PreVerification.Estimate].
func EstimateTokens(op *userop.UserOperation) uint64 {
	return encodedTokens(op, fieldTokens{
		quantity: func(x uint256.Int, atLeast int) uint64 {
			return max(wordTokens(x, 0), uintTokens(atLeast, 32))
		},
		opaque: func(data []byte) uint64 { return uint64(len(data)) * params.TxTokenPerNonZeroByte },
	})
}

// fieldTokens counts the fields that may still change after an estimation: quantities, which will have up to atLeast
// non-zero bytes, and opaque bytes.
type fieldTokens struct {
	quantity func(x uint256.Int, atLeast int) uint64
	opaque   func(data []byte) uint64
}

// The bytes that an estimate reserves for a quantity that is filled in later.
const (
	gasBytes = 4 // gas limits stay below 2^32
	feeBytes = 8 // fees stay below 2^64 wei (18 ether) per gas
)

// halfWordPadding is what a word made of two 16-byte halves lacks against two words: tokens of the 32 zero bytes
// that were counted twice.
const halfWordPadding = 32

func encodedTokens(op *userop.UserOperation, count fieldTokens) uint64 {
	gasField := func(v uint64) uint64 { return count.quantity(quantity(v), gasBytes) }

	// abi.encode of one dynamic tuple: its offset (0x20), the head, then the four byte fields.
	tokens := uintTokens(1, 32)
	tokens += DataTokens(op.Sender[:]) + 12
	tokens += wordTokens(op.Nonce, 0)
	tokens += gasField(op.CallGasLimit) + gasField(op.VerificationGasLimit) + gasField(op.PreVerificationGas)
	tokens += count.quantity(op.MaxFeePerGas, feeBytes) + count.quantity(op.MaxPriorityFeePerGas, feeBytes)
	words := 11
	if op.Version.Packed() {
		// accountGasLimits and gasFees are two quantities in one word each.
		tokens -= 2 * halfWordPadding
		words = 9
	}

	tail := bytesField{offset: words * 32}
	tail.add(initCode(op))
	tail.add(length{len(op.CallData), DataTokens(op.CallData)})
	tail.add(paymasterAndData(op, count))
	tail.add(length{len(op.Signature), count.opaque(op.Signature)})
	return tokens + tail.tokens
}

// length is a byte field by its size and tokens.
type length struct {
	size   int
	tokens uint64
}

// bytesField adds up the tokens of the encoding's byte fields; offset is where the next one starts.
type bytesField struct {
	offset int
	tokens uint64
}

func (b *bytesField) add(f length) {
	padding := (32 - f.size%32) % 32
	b.tokens += intTokens(b.offset) + intTokens(f.size) + f.tokens + uint64(padding)
	b.offset += 32 + f.size + padding
}

func initCode(op *userop.UserOperation) length {
	if op.Factory == nil {
		return length{}
	}
	return length{
		size:   common.AddressLength + len(op.FactoryData),
		tokens: DataTokens(op.Factory[:]) + DataTokens(op.FactoryData),
	}
}

// signatureSuffix is what ends a v0.9 paymasterAndData that carries a paymasterSignature: its length in two bytes
// and PAYMASTER_SIG_MAGIC in eight, none of them zero.
const signatureSuffix = 10

func paymasterAndData(op *userop.UserOperation, count fieldTokens) length {
	if op.Paymaster == nil {
		return length{}
	}
	f := length{
		size:   common.AddressLength + len(op.PaymasterData),
		tokens: DataTokens(op.Paymaster[:]) + count.opaque(op.PaymasterData),
	}
	if !op.Version.Packed() {
		return f
	}
	f.size += 32
	for _, limit := range []uint64{op.PaymasterVerificationGasLimit, op.PaymasterPostOpGasLimit} {
		f.tokens += count.quantity(quantity(limit), gasBytes) - halfWordPadding/2
	}
	if op.PaymasterSignature != nil {
		f.size += len(op.PaymasterSignature) + signatureSuffix
		f.tokens += count.opaque(op.PaymasterSignature) + signatureSuffix*params.TxTokenPerNonZeroByte
		var size [2]byte
		binary.BigEndian.PutUint16(size[:], uint16(len(op.PaymasterSignature)))
		f.tokens -= 2*params.TxTokenPerNonZeroByte - DataTokens(size[:])
	}
	return f
}

// wordTokens counts a 32-byte word.
func wordTokens(x uint256.Int, _ int) uint64 {
	word := x.Bytes32()
	return DataTokens(word[:])
}

// intTokens counts a small number in a 32-byte word.
func intTokens(v int) uint64 {
	tokens := uint64(32)
	for rest := uint64(v); rest != 0; rest >>= 8 {
		if rest&0xff != 0 {
			tokens += params.TxTokenPerNonZeroByte - 1
		}
	}
	return tokens
}

// uintTokens counts size bytes of which nonZero are not zero.
func uintTokens(nonZero, size int) uint64 {
	return uint64(size) + uint64(nonZero)*(params.TxTokenPerNonZeroByte-1)
}

func quantity(v uint64) uint256.Int { return uint256.Int{v} }
