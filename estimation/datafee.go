package estimation

import (
	"context"
	"fmt"
	"math"
	"math/bits"

	"baler/datafee"
	"baler/entrypoint"
	"baler/gas"
	"baler/userop"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// quote returns the question what the data of the operation will cost once it is signed, bundled alone.
func (e *Estimator) quote(ep entrypoint.EntryPoint, op *userop.UserOperation) *datafee.Quote {
	oracle := e.cfg.DataFees
	if oracle.Kind() == datafee.None {
		return oracle.Quote(datafee.Transaction{})
	}
	tx := datafee.Transaction{
		To:   ep.Address,
		Data: entrypoint.EncodeHandleOps(ep.Version, []*userop.UserOperation{datafee.Worst(op)}, e.cfg.Beneficiary),
	}
	if op.Authorization != nil {
		tx.Authorizations = []types.SetCodeAuthorization{*op.Authorization}
	}
	return oracle.Quote(tx)
}

// dataGas returns the cost of the data as gas at the price that the operation will pay, with the margin.
func (e *Estimator) dataGas(ctx context.Context, head *types.Header, op *userop.UserOperation, quote *datafee.Quote) (uint64, error) {
	cost, err := quote.Cost(ctx, e.source.View(head))
	if err != nil {
		return 0, fmt.Errorf("data fee: %w", err)
	}
	price, err := gas.NextBaseFee(e.source.Config(), head)
	if err != nil {
		return 0, err
	}
	if !op.MaxFeePerGas.IsZero() {
		price = gas.Fees{MaxFee: op.MaxFeePerGas, MaxPriority: op.MaxPriorityFeePerGas}.EffectivePrice(price)
	}
	if price.IsZero() {
		price.SetUint64(leastPrice)
	}
	units := gas.AddPercent(*uint256.NewInt(cost.At(price)), e.cfg.DataFeeMarginPercent)
	if !units.IsUint64() {
		return math.MaxUint64, nil
	}
	return units.Uint64(), nil
}

// preVerificationGas is what the operation must offer beside its limits, if validation used that much gas.
func (s *search) preVerificationGas(used uint64) uint64 {
	own := s.cfg.PreVerification.Estimate(&s.op, used)
	if s.aggregation != nil {
		own = s.cfg.PreVerification.EstimateAggregated(&s.op, used, *s.aggregation)
	}
	sum, carry := bits.Add64(own, s.dataGas, 0)
	if carry != 0 {
		return math.MaxUint64
	}
	return sum
}
