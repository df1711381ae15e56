package gas

import "github.com/holiman/uint256"

// Policy is how the fees of bundles, and those that operations must offer, follow from the chain's.
type Policy struct {
	Mode                       PriorityFeeMode
	BaseFeeOverheadPercent     uint64
	PriorityFeeOverheadPercent uint64
}

// Required returns the fees of a first bundle for a block with the base fee, and the least that an operation must offer to be
// taken into it.
func (p Policy) Required(baseFee, priority uint256.Int) (bundle, required Fees) {
	bundle = BundleFees(baseFee, priority, Fees{}, p.BaseFeeOverheadPercent, p.PriorityFeeOverheadPercent)
	return bundle, RequiredFees(p.Mode, bundle, baseFee, false)
}

// HighestBaseFee returns the highest base fee of the next block, in wei per gas, at which an operation with the fees op is
// taken into a first bundle while the oracle's priority fee stays as it is. False: it is taken at none.
func (p Policy) HighestBaseFee(op Fees, priority uint256.Int) (uint256.Int, bool) {
	taken := func(baseFee *uint256.Int) bool {
		_, required := p.Required(*baseFee, priority)
		return Pays(op, required)
	}
	var low uint256.Int // taken
	if !taken(&low) {
		return uint256.Int{}, false
	}
	high := op.MaxFee // what is required grows with the base fee, and is no less than it
	high.AddUint64(&high, 1)
	for {
		var middle uint256.Int
		middle.Sub(&high, &low)
		if middle.LtUint64(2) {
			return low, true
		}
		middle.Rsh(&middle, 1)
		middle.Add(&middle, &low)
		if taken(&middle) {
			low = middle
		} else {
			high = middle
		}
	}
}
