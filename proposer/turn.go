package proposer

import (
	"slices"

	"baler/entrypoint"
	"baler/gas"
	"baler/pool"

	"github.com/holiman/uint256"
)

// worth estimates what operations of an EntryPoint would bring beyond the base fee, in wei: the effective priority fees
// of those that pay enough and fit, times their maximum gas. It is compared, not earned.
func worth(config *Config, ops []*pool.Operation, required gas.Fees, baseFee uint256.Int) (value uint256.Int, paying int) {
	left := config.MaxBundleGas
	for _, op := range ops {
		if _, under := underpays(op, required); under {
			continue
		}
		units, ok := op.Op.MaxGas()
		if !ok || units > left || paying >= config.MaxBundleSize {
			continue
		}
		left -= units
		paying++
		tip := op.Op.EffectivePriorityFee(&baseFee)
		tip.Mul(&tip, uint256.NewInt(units))
		value.Add(&value, &tip)
	}
	return value, paying
}

// candidateEntryPoint is an EntryPoint with what it promises.
type candidateEntryPoint struct {
	entrypoint.EntryPoint
	value  uint256.Int
	paying int
	passed int // how often it was passed over
}

// inTurn orders EntryPoints: those passed over too often first, the longest waiting first, then by worth.
func inTurn(list []candidateEntryPoint, maxPassedOver int) {
	starved := func(e candidateEntryPoint) int {
		if e.paying == 0 || maxPassedOver <= 0 || e.passed < maxPassedOver {
			return 0
		}
		return e.passed
	}
	slices.SortStableFunc(list, func(a, b candidateEntryPoint) int {
		if d := starved(b) - starved(a); d != 0 {
			return d
		}
		return b.value.Cmp(&a.value)
	})
}
