package gas

import "github.com/holiman/uint256"

// L1Prices are what an OP stack chain charges for data by since its Fjord upgrade: fees of L1 in wei per gas, and the
// chain's scalars, in millionths.
type L1Prices struct {
	BaseFee, BlobBaseFee             uint256.Int
	BaseFeeScalar, BlobBaseFeeScalar uint32
}

// The constants of the Fjord upgrade ("L1-Cost fee changes"): how the size that a transaction has in a batch is estimated
// from its FastLZ length, in millionths of a byte.
const (
	fjordIntercept = 42_585_600 // taken off
	fjordFastLZ    = 836_500
	fjordLeast     = 100_000_000
	fjordScale     = 1_000_000
)

// SignatureBytes is what an OP stack chain's GasPriceOracle adds to the compressed length of an unsigned transaction.
const SignatureBytes = 68

// Fee returns the L1 data fee in wei of a transaction of which the signed form has that FastLZ length:
//
//	size × (16 × baseFeeScalar × baseFee + blobBaseFeeScalar × blobBaseFee) / 10^12
//
// where size is 0.8365 × length − 42.5856 bytes, at least 100, in millionths. It is rounded down, as the chain does, and
// saturates.
func (p L1Prices) Fee(fastLZLength uint64) uint256.Int {
	size := uint256.NewInt(fjordLeast)
	if estimated := satMul(fastLZLength, fjordFastLZ); estimated > fjordLeast+fjordIntercept {
		size.SetUint64(estimated - fjordIntercept)
	}
	var price, blobs, fee uint256.Int
	_, over := price.MulOverflow(&p.BaseFee, uint256.NewInt(16*uint64(p.BaseFeeScalar)))
	_, overBlobs := blobs.MulOverflow(&p.BlobBaseFee, uint256.NewInt(uint64(p.BlobBaseFeeScalar)))
	_, overSum := price.AddOverflow(&price, &blobs)
	_, overFee := fee.MulOverflow(&price, size)
	if over || overBlobs || overSum || overFee {
		return saturated()
	}
	return *fee.Div(&fee, uint256.NewInt(fjordScale*fjordScale))
}

// OperatorFee is what an OP stack chain charges for a transaction since its Isthmus upgrade, beside gas and data. The zero value
// is no fee.
type OperatorFee struct {
	PerMillionGas uint256.Int // wei for 1,000,000 gas used
	Constant      uint256.Int // wei for a transaction
}

// jovianFactor is the operatorFeeScalar of the Jovian upgrade in the unit of that of Isthmus, which is wei for 1,000,000 gas: it is in
// hundreds of wei for one gas.
const jovianFactor = 100 * 1_000_000

// NewOperatorFee returns the fee by the parameters of the chain's L1Block contract ("Operator Fee" in the specification of Isthmus, and
// "Fee Formula Update" in that of Jovian):
//
//	gasUsed × operatorFeeScalar / 10^6 + operatorFeeConstant    Isthmus
//	gasUsed × operatorFeeScalar × 100  + operatorFeeConstant    Jovian
func NewOperatorFee(scalar uint32, constant uint64, jovian bool) OperatorFee {
	f := OperatorFee{PerMillionGas: *uint256.NewInt(uint64(scalar)), Constant: *uint256.NewInt(constant)}
	if jovian {
		f.PerMillionGas.SetUint64(uint64(scalar) * jovianFactor)
	}
	return f
}

// Of returns the fee in wei of a transaction that uses that much gas. It is rounded down, as the chain does, and saturates.
func (f OperatorFee) Of(gasUsed uint64) uint256.Int {
	var fee uint256.Int
	if _, over := fee.MulOverflow(&f.PerMillionGas, uint256.NewInt(gasUsed)); over {
		return saturated()
	}
	fee.Div(&fee, uint256.NewInt(1_000_000))
	if _, over := fee.AddOverflow(&fee, &f.Constant); over {
		return saturated()
	}
	return fee
}

// AtPrice returns how much gas at a price pays for a fee beside the gas price, rounded up; it saturates. A price of zero
// pays for no fee but zero.
func AtPrice(fee, price uint256.Int) uint64 {
	switch {
	case fee.IsZero():
		return 0
	case price.IsZero():
		return ^uint64(0)
	}
	var units, rest uint256.Int
	units.DivMod(&fee, &price, &rest)
	if !rest.IsZero() {
		units.AddUint64(&units, 1)
	}
	if !units.IsUint64() {
		return ^uint64(0)
	}
	return units.Uint64()
}
