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

// dataCost learns the cost of the data, and the price at which the operation will pay for it.
func (s *search) dataCost(ctx context.Context, e *Estimator, head *types.Header, quote *datafee.Quote) error {
	var err error
	if s.cost, err = quote.Cost(ctx, e.source.View(head)); err != nil {
		return fmt.Errorf("data fee: %w", err)
	}
	if s.costPrice, err = gas.NextBaseFee(e.source.Config(), head); err != nil {
		return err
	}
	if !s.asked.MaxFeePerGas.IsZero() {
		s.costPrice = gas.Fees{MaxFee: s.asked.MaxFeePerGas, MaxPriority: s.asked.MaxPriorityFeePerGas}.EffectivePrice(s.costPrice)
	}
	if s.costPrice.IsZero() {
		s.costPrice.SetUint64(leastPrice)
	}
	return nil
}

// dataGas returns the cost of the data as gas at the price that the operation will pay, with the margin. own is the rest of
// preVerificationGas; the operator of an OP stack chain takes a fee by that and the limits as they are now.
func (s *search) dataGas(own uint64) uint64 {
	units := gas.AddPercent(*uint256.NewInt(s.cost.At(s.costPrice, gas.TransactionGas(&s.op, own))), s.cfg.DataFeeMarginPercent)
	if !units.IsUint64() {
		return math.MaxUint64
	}
	return units.Uint64()
}

// preVerificationGas is what the operation must offer beside its limits, if validation used that much gas.
func (s *search) preVerificationGas(used uint64) uint64 {
	own := s.cfg.PreVerification.Estimate(&s.op, used)
	if s.aggregation != nil {
		own = s.cfg.PreVerification.EstimateAggregated(&s.op, used, *s.aggregation)
	}
	sum, carry := bits.Add64(own, s.dataGas(own), 0)
	if carry != 0 {
		return math.MaxUint64
	}
	return sum
}
