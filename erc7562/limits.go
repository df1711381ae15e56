package erc7562

import (
	"fmt"

	"baler/userop"
)

// Limits are the constants of ERC-7562 that bound one operation. Sizes are in bytes, gas in units of gas.
type Limits struct {
	MaxUserOpSize      int    // MAX_USEROP_SIZE
	MaxContextSize     int    // MAX_CONTEXT_SIZE
	MaxVerificationGas uint64 // MAX_VERIFICATION_GAS
	ValidationGasSlack uint64 // VALIDATION_GAS_SLACK
}

// DefaultLimits returns the ERC's values.
func DefaultLimits() Limits {
	return Limits{
		MaxUserOpSize:      8_192,
		MaxContextSize:     2_048,
		MaxVerificationGas: 500_000,
		ValidationGasSlack: 4_000,
	}
}

// Size is LIM-010: the ABI-encoded operation must not be greater than MAX_USEROP_SIZE.
func (l Limits) Size(op *userop.UserOperation) error {
	if size := op.PackedSize(); size > l.MaxUserOpSize {
		return &Verdict{
			Rule: "LIM-010", Entity: Sender, Address: op.Sender,
			Detail: fmt.Sprintf("user operation size: have %d bytes, want at most %d", size, l.MaxUserOpSize),
		}
	}
	return nil
}

// ContextSize is LIM-020: a paymaster's context must not be greater than MAX_CONTEXT_SIZE.
func (l Limits) ContextSize(op *userop.UserOperation, size int) error {
	if size <= l.MaxContextSize {
		return nil
	}
	v := &Verdict{
		Rule: "LIM-020", Entity: Paymaster,
		Detail: fmt.Sprintf("paymaster context: have %d bytes, want at most %d", size, l.MaxContextSize),
	}
	if op.Paymaster != nil {
		v.Address = *op.Paymaster
	}
	return v
}

// VerificationGas is LIM-060: both verification gas limits must be lower than MAX_VERIFICATION_GAS.
func (l Limits) VerificationGas(op *userop.UserOperation) error {
	if have := op.VerificationGasLimit; have >= l.MaxVerificationGas {
		return &Verdict{
			Rule: "LIM-060", Entity: Sender, Address: op.Sender,
			Detail: fmt.Sprintf("verificationGasLimit: have %d, want lower than %d", have, l.MaxVerificationGas),
		}
	}
	if have := op.PaymasterVerificationGasLimit; op.Paymaster != nil && have >= l.MaxVerificationGas {
		return &Verdict{
			Rule: "LIM-060", Entity: Paymaster, Address: *op.Paymaster,
			Detail: fmt.Sprintf("paymasterVerificationGasLimit: have %d, want lower than %d", have, l.MaxVerificationGas),
		}
	}
	return nil
}

// GasSlack is LIM-030: the verification gas limits must exceed what validation used by VALIDATION_GAS_SLACK. Before v0.7
// the verification gas limit pays for the paymaster's validation too, and paymasterUsed is not looked at.
func (l Limits) GasSlack(op *userop.UserOperation, used, paymasterUsed uint64) error {
	if want := used + l.ValidationGasSlack; op.VerificationGasLimit < want {
		return &Verdict{
			Rule: "LIM-030", Entity: Sender, Address: op.Sender,
			Detail: fmt.Sprintf("verificationGasLimit: have %d, want at least %d (%d used and %d to spare)",
				op.VerificationGasLimit, want, used, l.ValidationGasSlack),
		}
	}
	if !op.Version.Packed() || op.Paymaster == nil {
		return nil
	}
	if want := paymasterUsed + l.ValidationGasSlack; op.PaymasterVerificationGasLimit < want {
		return &Verdict{
			Rule: "LIM-030", Entity: Paymaster, Address: *op.Paymaster,
			Detail: fmt.Sprintf("paymasterVerificationGasLimit: have %d, want at least %d (%d used and %d to spare)",
				op.PaymasterVerificationGasLimit, want, paymasterUsed, l.ValidationGasSlack),
		}
	}
	return nil
}
