package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"baler/entrypoint"
	"baler/evm"
	"baler/pool"
	"baler/proposer"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// validator is the proposer's port to package validation.
type validator struct {
	inner  *validation.Validator
	source *evm.Source
	find   func(entryPoint, sender common.Address, nonce uint256.Int) *pool.Operation // as it was admitted; nil: not known
	port   BuilderPool
	took   func(hash common.Hash, stage string, begun time.Time, err error)
}

// Validate implements [proposer.Validator].
func (v *validator) Validate(ctx context.Context, head *types.Header, ep entrypoint.EntryPoint, op *userop.UserOperation, ahead uint64) (*proposer.Validation, error) {
	hash, first := v.first(ep, op)
	begun := time.Now()
	result, err := v.inner.Validate(ctx, head, ep, op, validation.Options{NonceAhead: ahead, First: first})
	v.took(hash, "proposal", begun, err)
	if refusal, ok := errors.AsType[*validation.Refusal](err); ok {
		return nil, &proposer.Refusal{Rejection: refusal.Rejection, Culprit: refusal.Entity}
	}
	if err != nil {
		return nil, err
	}
	return &proposer.Validation{
		ValidAfter: result.ValidAfter, ValidUntil: result.ValidUntil, ValidityInBlocks: result.InBlocks, Aggregator: result.Aggregator,
		Prefund: result.Prefund, ContextSize: uint64(result.ContextSize), Accessed: result.Accessed, Created: result.Created,
		Known: known(ep, op, result.ReadSet), Bundled: result.Bundled, SignatureGas: result.SignatureGas, DataGas: result.DataGas,
		VerificationGasUsed: result.VerificationGasUsed + result.PaymasterVerificationGasUsed,
	}, nil
}

// known picks from a read set what a conditional transaction should rely on: the account's own storage, and the words of
// the EntryPoint that change when the operation, or another with its nonce, is mined by somebody else. Deposits are left
// out: they change with every operation that its payer has in the same bundle.
func known(ep entrypoint.EntryPoint, op *userop.UserOperation, reads *evm.ReadSet) proposer.Storage {
	storage := make(proposer.Storage, 2)
	add := func(contract common.Address, key, value common.Hash) {
		if storage[contract] == nil {
			storage[contract] = make(map[common.Hash]common.Hash)
		}
		storage[contract][key] = value
	}
	for slot, value := range reads.Slots {
		if slot.Account == op.Sender {
			add(slot.Account, slot.Key, value)
		}
	}
	nonce := entrypoint.NonceSlot(ep.Version, op.Sender, op.NonceKey())
	if value, read := reads.Slot(ep.Address, nonce); read {
		add(ep.Address, nonce, value)
	}
	return storage
}

// first is what the second validation compares with: the code that the first one saw.
func (v *validator) first(ep entrypoint.EntryPoint, op *userop.UserOperation) (common.Hash, *validation.Result) {
	admitted := v.find(ep.Address, op.Sender, op.Nonce)
	if admitted == nil || admitted.Op != op {
		return common.Hash{}, nil
	}
	return admitted.Hash, &validation.Result{CodeHashes: admitted.CodeHashes}
}

// Prepare implements [proposer.Validator].
func (v *validator) Prepare(ctx context.Context, head *types.Header, ep entrypoint.EntryPoint, ops []*userop.UserOperation) error {
	return v.inner.Prepare(ctx, head, ep, ops)
}

// ValidateBundle implements [proposer.Validator].
func (v *validator) ValidateBundle(ctx context.Context, head *types.Header, d proposer.Draft) (*proposer.BundleValidation, error) {
	result, err := v.inner.ValidateBundle(ctx, head, validation.Bundle{
		EntryPoint: d.EntryPoint, Ops: d.Ops, Groups: d.Groups, Beneficiary: d.Beneficiary, Fees: d.Fees, Authorizations: d.Authorizations,
	})
	if errors.Is(err, validation.ErrBundleGas) {
		return &proposer.BundleValidation{OutOfGas: true}, nil
	}
	if err != nil {
		return nil, err
	}
	if len(result.Reduced) > 0 {
		if err := v.port.Throttle(ctx, result.Reduced); err != nil {
			return nil, fmt.Errorf("throttle entities: %w", err)
		}
	}
	answer := &proposer.BundleValidation{
		BadSignatures: result.BadSignatures, ExecutionGas: result.ExecutionGas, CallGas: result.CallGas, GasUsed: result.GasUsed, Revenue: result.Revenue,
		DataFee: result.DataCost.Of(result.GasUsed), DataGas: result.DataCost.Gas,
	}
	for _, op := range result.Ops {
		answer.Charged = append(answer.Charged, proposer.Charge{Gas: op.ActualGasUsed, Cost: op.ActualGasCost})
	}
	for _, f := range result.Failed {
		answer.Failed = append(answer.Failed, proposer.Failure{Index: f.Index, Rejection: f.Rejection, Culprit: f.Entity, Passed: f.Passed})
	}
	return answer, nil
}

// Deposits implements [proposer.Validator].
func (v *validator) Deposits(ctx context.Context, head *types.Header, ep entrypoint.EntryPoint, paymasters []common.Address) (map[common.Address]uint256.Int, error) {
	return v.inner.Deposits(ctx, head, ep, paymasters)
}

// forgetSeen drops what is remembered of the validation of a mined operation that the pool of another process has offered.
func (n *Node) forgetSeen(hash common.Hash) {
	if n.seen == nil {
		return
	}
	for _, op := range n.seen.all([]common.Hash{hash}) {
		n.validator.inner.Settled(op.EntryPoint, op.Op)
	}
}

// MemoStats counts validations by whether anything was simulated for them.
func (n *Node) MemoStats() validation.MemoStats { return n.validator.inner.MemoStats() }
