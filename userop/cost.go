package userop

import (
	"math/bits"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// MaxGas returns the most gas the EntryPoint may charge for the operation; ok is false if the sum needs more than
// 64 bits. It is `requiredGas` of _getRequiredPrefund: with a paymaster, v0.6 counts the verification gas three times
// (validation, and possibly two calls of postOp); v0.7 and later sum the five limits.
func (op *UserOperation) MaxGas() (gas uint64, ok bool) {
	terms := [...]uint64{
		op.CallGasLimit,
		op.VerificationGasLimit,
		op.PreVerificationGas,
		op.PaymasterVerificationGasLimit,
		op.PaymasterPostOpGasLimit,
	}
	if !op.Version.Packed() {
		terms[3], terms[4] = 0, 0
		if op.Paymaster != nil && *op.Paymaster != (common.Address{}) {
			terms[3], terms[4] = op.VerificationGasLimit, op.VerificationGasLimit
		}
	}
	var carry uint64
	for _, n := range terms {
		if gas, carry = bits.Add64(gas, n, 0); carry != 0 {
			return 0, false
		}
	}
	return gas, true
}

// MaxCost returns the most the operation may cost its payer in wei: MaxGas × maxFeePerGas, the EntryPoint's required
// prefund. It saturates at 2^256-1, which no balance covers, if a sum or product does not fit.
func (op *UserOperation) MaxCost() uint256.Int {
	var cost uint256.Int
	gas, ok := op.MaxGas()
	if !ok {
		return *cost.SetAllOne()
	}
	if _, overflow := cost.MulOverflow(uint256.NewInt(gas), &op.MaxFeePerGas); overflow {
		cost.SetAllOne()
	}
	return cost
}

// EffectivePriorityFee returns what the operation pays over the base fee, in wei per gas:
// min(maxPriorityFeePerGas, maxFeePerGas - baseFee), and zero if it does not even pay the base fee.
func (op *UserOperation) EffectivePriorityFee(baseFee *uint256.Int) uint256.Int {
	var left uint256.Int
	if _, underflow := left.SubOverflow(&op.MaxFeePerGas, baseFee); underflow {
		return uint256.Int{}
	}
	if left.Gt(&op.MaxPriorityFeePerGas) {
		return op.MaxPriorityFeePerGas
	}
	return left
}
