// Package gas is the arithmetic of gas and fees: pre-verification gas, the calldata floor of EIP-7623, a bundle's gas
// limit, and the fees of a bundle and of its replacements.
//
// In: numbers, headers, user operations. Out: numbers. It is pure: no network, no clock, no state. Gas is in units of
// gas, fees in wei per gas. Arithmetic saturates instead of wrapping, so a hostile operation can only become more
// expensive, never cheaper. It never decides what to do about a number: admission, choosing and sending are others'.
package gas

import (
	"github.com/holiman/uint256"
)

// Fees are the two EIP-1559 fees of a transaction or an operation, in wei per gas.
type Fees struct {
	MaxFee      uint256.Int
	MaxPriority uint256.Int
}

// IsZero reports whether both fees are zero, which stands for "no fees": no floor, nothing asked.
func (f Fees) IsZero() bool { return f.MaxFee.IsZero() && f.MaxPriority.IsZero() }

// Bump returns the least fees that replace a transaction with fees f where a replacement must pay percent more: each
// fee is f × (100 + percent)/100 rounded up, and at least one wei more than before, because nodes refuse a replacement
// with an equal fee even where the percentage of a small (or zero) fee rounds to nothing. Zero fees stay zero.
func (f Fees) Bump(percent uint64) Fees {
	if f.IsZero() {
		return Fees{}
	}
	return Fees{MaxFee: bump(f.MaxFee, percent), MaxPriority: bump(f.MaxPriority, percent)}
}

// Covers reports whether both fees are at least those of o.
func (f Fees) Covers(o Fees) bool {
	return f.MaxFee.Cmp(&o.MaxFee) >= 0 && f.MaxPriority.Cmp(&o.MaxPriority) >= 0
}

// EffectivePriority returns what is left for the block's proposer per gas at the base fee, min(maxPriority,
// maxFee − baseFee), and zero when maxFee does not reach the base fee (EIP-1559).
func (f Fees) EffectivePriority(baseFee uint256.Int) uint256.Int {
	if f.MaxFee.Cmp(&baseFee) <= 0 {
		return uint256.Int{}
	}
	var room uint256.Int
	room.Sub(&f.MaxFee, &baseFee)
	return minimum(room, f.MaxPriority)
}

// EffectivePrice returns the price per gas paid at the base fee, min(maxFee, baseFee + maxPriority): what a
// transaction pays (EIP-1559) and what an EntryPoint charges an operation.
func (f Fees) EffectivePrice(baseFee uint256.Int) uint256.Int {
	return minimum(f.MaxFee, add(baseFee, f.MaxPriority))
}

// Max returns the greater of the fees, field by field.
func Max(a, b Fees) Fees {
	return Fees{MaxFee: maximum(a.MaxFee, b.MaxFee), MaxPriority: maximum(a.MaxPriority, b.MaxPriority)}
}

// BundleFees returns the fees of a bundle transaction for a block with the given base fee, when the fee oracle's
// priority fee is priority and the fees may not be below floor (zero: no floor):
//
//	base        = baseFee  × (100 + baseFeeOverheadPercent)/100, rounded up
//	maxPriority = max(floor.MaxPriority, priority × (100 + priorityOverheadPercent)/100, rounded up)
//	maxFee      = max(floor.MaxFee, base + maxPriority)
func BundleFees(baseFee, priority uint256.Int, floor Fees, baseFeeOverheadPercent, priorityOverheadPercent uint64) Fees {
	var f Fees
	f.MaxPriority = maximum(floor.MaxPriority, AddPercent(priority, priorityOverheadPercent))
	f.MaxFee = maximum(floor.MaxFee, add(AddPercent(baseFee, baseFeeOverheadPercent), f.MaxPriority))
	return f
}

// AddPercent returns x × (100 + percent)/100, rounded up; it saturates.
func AddPercent(x uint256.Int, percent uint64) uint256.Int {
	return add(x, Percent(x, percent))
}

// Percent returns x × percent/100, rounded up; it saturates.
func Percent(x uint256.Int, percent uint64) uint256.Int {
	hundred := uint256.NewInt(100)
	var q, r uint256.Int
	// x = 100·q + r, so that neither product below overflows where the result fits.
	q.DivMod(&x, hundred, &r)
	var whole, part uint256.Int
	if _, overflow := whole.MulOverflow(&q, uint256.NewInt(percent)); overflow {
		return saturated()
	}
	part.Mul(&r, uint256.NewInt(percent)) // r < 100: fits 71 bits
	part.Add(&part, uint256.NewInt(99))
	part.Div(&part, hundred)
	return add(whole, part)
}

func bump(x uint256.Int, percent uint64) uint256.Int {
	return maximum(AddPercent(x, percent), add(x, *uint256.NewInt(1)))
}

func add(a, b uint256.Int) uint256.Int {
	var sum uint256.Int
	if _, overflow := sum.AddOverflow(&a, &b); overflow {
		return saturated()
	}
	return sum
}

func saturated() uint256.Int {
	var x uint256.Int
	x.SetAllOne()
	return x
}

func maximum(a, b uint256.Int) uint256.Int {
	if a.Cmp(&b) >= 0 {
		return a
	}
	return b
}

func minimum(a, b uint256.Int) uint256.Int {
	if a.Cmp(&b) <= 0 {
		return a
	}
	return b
}

// Cost is what an amount of gas costs at a price in wei per gas, in wei; it saturates.
func Cost(units uint64, price uint256.Int) uint256.Int {
	var cost uint256.Int
	if _, overflow := cost.MulOverflow(&price, uint256.NewInt(units)); overflow {
		return saturated()
	}
	return cost
}
