package validation

import (
	"slices"

	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
)

// gasUse is what the validation of one operation used.
type gasUse struct {
	verification uint64 // counts against verificationGasLimit
	paymaster    uint64 // counts against paymasterVerificationGasLimit (v0.7 and later)
	preOp        uint64 // what the EntryPoint charges for validation, without preVerificationGas
}

// gasUsed works out what the EntryPoint itself measured, from the gas it saw each time it asked with GAS. It asks when
// it begins with an operation, and then, in v0.7 and later, after the account's part (AA26), before and after the
// paymaster's (AA36), and at the end; in v0.6 around the account's part (AA41) and twice at the end (AA40, preOpGas).
func (t *handleOpsTrace) gasUsed(v userop.Version, op *userop.UserOperation) gasUse {
	if len(t.marks) == 0 {
		return gasUse{}
	}
	first, last := t.marks[0].gas, t.marks[len(t.marks)-1].gas
	use := gasUse{preOp: first - last}
	if !v.Packed() {
		use.verification = use.preOp
		if n := len(t.marks); n >= 2 {
			use.verification = first - t.marks[n-2].gas
		}
		return use
	}
	if after := t.marksAfter(partAccount); len(after) > 0 {
		use.verification = first - after[0].gas
		if paid := t.marksAfter(partPaymaster); op.Paymaster != nil && len(after) > 1 && len(paid) > 0 {
			use.paymaster = after[1].gas - paid[0].gas
		}
	}
	return use
}

// marksAfter returns the marks made while the part was the last that had been called.
func (t *handleOpsTrace) marksAfter(p part) []mark {
	var marks []mark
	for _, m := range t.marks {
		if m.after == p {
			marks = append(marks, m)
		}
	}
	return marks
}

func sortAddresses(addrs []common.Address) { slices.SortFunc(addrs, common.Address.Cmp) }
