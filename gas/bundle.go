package gas

import (
	"errors"
	"fmt"

	"baler/userop"
)

// ErrGasCap is the error of a bundle whose gas limit would be greater than a transaction may have.
var ErrGasCap = errors.New("bundle gas limit is over the cap")

// DefaultMarginPercent is what a bundle's gas limit adds to measured gas, because state may change before it is mined.
const DefaultMarginPercent = 10

// Bundle is what the gas limit of a bundle transaction depends on.
type Bundle struct {
	// Ops are the bundle's operations in the order of execution.
	Ops []*userop.UserOperation
	// Tokens is the whole transaction's calldata in tokens, see [DataTokens].
	Tokens uint64
	// Authorizations is the number of EIP-7702 tuples the transaction carries.
	Authorizations uint64
	// Measured is the gas that handleOps used when it was run locally with ample gas: intrinsic gas not counted,
	// refunds not taken off. Zero: not measured.
	Measured uint64
	// MeasuredCalls is the part of Measured that the operations' own calls and postOps used, where that is known.
	MeasuredCalls uint64
	// DataGas is what the transaction uses for its data on a chain that charges for it so (Arbitrum): before it begins.
	DataGas uint64
	// MarginPercent is added to Measured and DataGas. Zero: DefaultMarginPercent.
	MarginPercent uint64
	// Cap is the greatest limit allowed. Zero: MaxTransactionGas (EIP-7825).
	Cap uint64
}

// GasLimit returns the gas limit of the bundle's transaction:
//
//	intrinsic + data + overhead and validation + Σ limits of the calls and postOps + reserve
//
// and at least the calldata floor of EIP-7623. Overhead and validation are what was measured, with a margin, less the
// part of the calls. The calls count with their limits, not with what they used locally: an operation may behave
// differently when it is mined, and one that uses all it is allowed must not make the operations behind it fail.
//
// The reserve is for what has to be left over, not used: before each operation's call the EntryPoint demands that 63/64
// (EIP-150) of what remains cover the operation's limits and its own 10,000 (v0.6: 5,000) and reverts the whole bundle
// with AA95 if not; and a call for validation must get the whole limit its operation states.
//
// If nothing was measured, validation counts with its limits and each operation with 50,000 of overhead; that is the
// simple upper bound. The error wraps [ErrGasCap].
func (b Bundle) GasLimit() (uint64, error) {
	limit := b.overhead()
	limit = satAdd(limit, b.calls())
	limit = satAdd(limit, b.reserve())
	limit = satAdd(limit, IntrinsicGas(b.Tokens, b.Authorizations))
	limit = satAdd(limit, b.withMargin(b.DataGas))
	limit = max(limit, FloorGas(b.Tokens))

	ceiling := b.Cap
	if ceiling == 0 {
		ceiling = MaxTransactionGas
	}
	if limit > ceiling {
		return 0, fmt.Errorf("%w: have %d, want at most %d", ErrGasCap, limit, ceiling)
	}
	return limit, nil
}

// overhead is the execution gas outside the operations' own calls.
func (b Bundle) overhead() uint64 {
	if b.Measured != 0 {
		return b.withMargin(satSub(b.Measured, b.MeasuredCalls))
	}
	var sum uint64
	for _, op := range b.Ops {
		sum = satAdd(sum, satAdd(VerificationLimits(op), DefaultOverheadGas))
	}
	return sum
}

func (b Bundle) withMargin(measured uint64) uint64 {
	margin := b.MarginPercent
	if margin == 0 {
		margin = DefaultMarginPercent
	}
	if measured == 0 {
		return 0
	}
	return satAdd(measured, satMul(measured/100+1, margin))
}

// calls is what the operations' calls and postOps may use at most.
func (b Bundle) calls() uint64 {
	var sum uint64
	for _, op := range b.Ops {
		sum = satAdd(sum, callGas(op))
	}
	return sum
}

// reserve is what must remain beside the limits of the calls still to come, for the operation that needs most.
func (b Bundle) reserve() uint64 {
	var reserve uint64
	all := b.calls()
	ahead := all // the limits from the current operation on
	for _, op := range b.Ops {
		validation := max(op.VerificationGasLimit, op.PaymasterVerificationGasLimit)
		reserve = max(reserve, satSub(beforeCall(validation), all))
		reserve = max(reserve, satSub(beforeInnerHandleOp(op), ahead))
		ahead = satSub(ahead, callGas(op))
	}
	return reserve
}

// callGas is what the execution of op may use at most by its own limits: its call and its paymaster's postOp. A v0.6
// postOp may run twice, each time with the verification gas limit.
func callGas(op *userop.UserOperation) uint64 {
	if op.Version.Packed() {
		return satAdd(op.CallGasLimit, op.PaymasterPostOpGasLimit)
	}
	if op.Paymaster == nil {
		return op.CallGasLimit
	}
	return satAdd(op.CallGasLimit, satMul(op.VerificationGasLimit, 2))
}

// What innerHandleOp demands beside the limits, by version.
const (
	innerOverhead    = 10_000 // INNER_GAS_OVERHEAD, v0.7 and later
	innerOverheadV06 = 5_000
)

// innerEntryGas and innerEntryWordGas bound what innerHandleOp uses before it looks at the remaining gas: decoding its
// arguments into memory, the paymaster's context of at most 2,048 bytes (LIM-020) included.
const (
	innerEntryGas     = 5_000
	innerEntryWordGas = 16
)

// beforeInnerHandleOp is the gas the EntryPoint must have left when it calls itself to execute op.
func beforeInnerHandleOp(op *userop.UserOperation) uint64 {
	demand := satAdd(satAdd(op.CallGasLimit, op.PaymasterPostOpGasLimit), innerOverhead)
	if !op.Version.Packed() {
		demand = satAdd(satAdd(op.CallGasLimit, op.VerificationGasLimit), innerOverheadV06)
	}
	// executeUserOp passes the whole operation on, not only its callData.
	size := len(op.CallData) + len(op.FactoryData) + len(op.PaymasterData) + len(op.PaymasterSignature) + len(op.Signature)
	entry := innerEntryGas + uint64(size+31)/32*innerEntryWordGas
	return beforeCall(satAdd(beforeCall(demand), entry))
}

// beforeCall is the gas a contract must have left so that it can give that much to a call (EIP-150: 63/64).
func beforeCall(gas uint64) uint64 {
	if gas == 0 {
		return 0
	}
	return satAdd(gas, gas/63+1)
}
