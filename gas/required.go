package gas

import (
	"fmt"

	"github.com/holiman/uint256"
)

// PriorityFeeModeKind says against what an operation's priority fee is measured.
type PriorityFeeModeKind uint8

// The kinds of priority fee mode. The zero value is the default.
const (
	// PriorityFeeIncreasePercent asks for a priority fee N % higher than the bundle's.
	PriorityFeeIncreasePercent PriorityFeeModeKind = iota
	// BaseFeePercent asks for a priority fee of N % of the base fee.
	BaseFeePercent
)

// String returns the kind as it is written in settings.
func (k PriorityFeeModeKind) String() string {
	switch k {
	case PriorityFeeIncreasePercent:
		return "priority_fee_increase_percent"
	case BaseFeePercent:
		return "base_fee_percent"
	default:
		return fmt.Sprintf("unknown(%d)", uint8(k))
	}
}

// ParsePriorityFeeModeKind is the inverse of [PriorityFeeModeKind.String].
func ParsePriorityFeeModeKind(s string) (PriorityFeeModeKind, error) {
	for _, k := range []PriorityFeeModeKind{PriorityFeeIncreasePercent, BaseFeePercent} {
		if s == k.String() {
			return k, nil
		}
	}
	return 0, fmt.Errorf("priority fee mode kind: have %q, want %s or %s", s, PriorityFeeIncreasePercent, BaseFeePercent)
}

// MarshalText implements encoding.TextMarshaler.
func (k PriorityFeeModeKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; it is how flags and settings files are read.
func (k *PriorityFeeModeKind) UnmarshalText(text []byte) error {
	parsed, err := ParsePriorityFeeModeKind(string(text))
	if err != nil {
		return err
	}
	*k = parsed
	return nil
}

// PriorityFeeMode is the rule for the least fees of an operation; Value is in percent.
type PriorityFeeMode struct {
	Kind  PriorityFeeModeKind
	Value uint64
}

// String returns the mode as "kind=value".
func (m PriorityFeeMode) String() string { return fmt.Sprintf("%s=%d", m.Kind, m.Value) }

// ParsePriorityFeeMode returns the mode of the settings priority_fee_mode_kind and priority_fee_mode_value.
func ParsePriorityFeeMode(kind string, value uint64) (PriorityFeeMode, error) {
	k, err := ParsePriorityFeeModeKind(kind)
	if err != nil {
		return PriorityFeeMode{}, err
	}
	return PriorityFeeMode{Kind: k, Value: value}, nil
}

// RequiredFees returns the least fees an operation must offer to be taken into a bundle with the given fees; baseFee
// is the next block's base fee.
//
//	priority_fee_increase_percent N: maxPriority = bundle.MaxPriority × (100 + N)/100, rounded up
//	base_fee_percent N:              maxPriority = baseFee × N/100, rounded up
//	either:                          maxFee      = (bundle.MaxFee − bundle.MaxPriority) + maxPriority
//
// The difference bundle.MaxFee − bundle.MaxPriority is the base fee with its overhead, so the operation still pays
// for the bundle when the base fee rises while the bundle waits. A replacement asks only the bundle's own fees: its
// operations were taken once, and what they now must cover is the replacement itself.
func RequiredFees(mode PriorityFeeMode, bundle Fees, baseFee uint256.Int, replacement bool) Fees {
	if replacement {
		return bundle
	}
	var required Fees
	switch mode.Kind {
	case BaseFeePercent:
		required.MaxPriority = Percent(baseFee, mode.Value)
	case PriorityFeeIncreasePercent:
		fallthrough
	default:
		required.MaxPriority = AddPercent(bundle.MaxPriority, mode.Value)
	}
	var base uint256.Int
	if bundle.MaxFee.Cmp(&bundle.MaxPriority) > 0 {
		base.Sub(&bundle.MaxFee, &bundle.MaxPriority)
	}
	required.MaxFee = add(base, required.MaxPriority)
	return required
}

// Pays reports whether an operation with fees op offers at least the required ones.
func Pays(op, required Fees) bool { return op.Covers(required) }
