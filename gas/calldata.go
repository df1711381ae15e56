package gas

import (
	"bytes"
	"math"
	"math/bits"

	"github.com/ethereum/go-ethereum/params"
)

// The prices of a transaction outside the EVM, in gas.
const (
	// AuthorizationGas is PER_EMPTY_ACCOUNT_COST of EIP-7702: the intrinsic gas of one authorization tuple.
	AuthorizationGas = params.CallNewAccountGas
	// MaxTransactionGas is the greatest gas limit a transaction may have, 2^24 (EIP-7825).
	MaxTransactionGas = params.MaxTxGas
)

// DataTokens counts calldata in the tokens of EIP-7623: one for a zero byte, four for any other.
func DataTokens(data []byte) uint64 {
	zero := uint64(bytes.Count(data, []byte{0}))
	return zero + (uint64(len(data))-zero)*params.TxTokenPerNonZeroByte
}

// DataGas is the calldata gas of that many tokens, 4 per token: 4 per zero byte and 16 per other byte (EIP-2028).
func DataGas(tokens uint64) uint64 { return satMul(tokens, params.TxDataZeroGas) }

// FloorGas is the least gas a transaction that carries that many tokens pays, 21,000 + 10 per token (EIP-7623).
func FloorGas(tokens uint64) uint64 {
	return satAdd(params.TxGas, satMul(tokens, params.TxCostFloorPerToken))
}

// IntrinsicGas is the gas a transaction to a contract pays before its first opcode runs: 21,000, its calldata
// (EIP-2028) and 25,000 for each authorization tuple (EIP-7702).
func IntrinsicGas(tokens, authorizations uint64) uint64 {
	return satAdd(satAdd(params.TxGas, DataGas(tokens)), satMul(authorizations, AuthorizationGas))
}

// TransactionGasUsed is the gas a receipt shows for a transaction with that many tokens of calldata whose execution
// used executionGas (intrinsic gas not counted, refund already taken off): the greater of what was used and the
// floor of EIP-7623.
func TransactionGasUsed(tokens, authorizations, executionGas uint64) uint64 {
	return max(satAdd(IntrinsicGas(tokens, authorizations), executionGas), FloorGas(tokens))
}

func satAdd(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	if carry != 0 {
		return math.MaxUint64
	}
	return sum
}

func satMul(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	if high != 0 {
		return math.MaxUint64
	}
	return low
}

// satSub is a − b, or zero where b is greater.
func satSub(a, b uint64) uint64 { return a - min(a, b) }
