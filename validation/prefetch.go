package validation

import (
	"context"

	"baler/datafee"
	"baler/entrypoint"
	"baler/evm"
	"baler/gas"
	"baler/userop"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
)

// prefetch reads what an operation's validation will need: what validations with its entities read before, in one round
// trip; if nothing is known of its EntryPoint's accounts yet, also what the node's access list of the operation names, in a
// second. Where the guess was not enough the list is asked for later: see message. The quote's question travels along.
func (v *Validator) prefetch(ctx context.Context, view *evm.View, ep entrypoint.EntryPoint, op *userop.UserOperation, quote *datafee.Quote) error {
	g := v.guess(ep, op)
	if op.Authorization != nil {
		g.nonce(op.Sender)
	}
	if v.hints.knows(op.Sender) || v.hints.knows(ep.Address) {
		return view.PrefetchReads(ctx, []*evm.ReadSet{g.reads}, quote.Questions()...)
	}
	return view.PrefetchCall(ctx, []*evm.ReadSet{g.reads}, v.validation(ep, op), quote.Questions()...)
}

// message is the transaction that bundles the one operation, as it is simulated: by nobody, for nothing.
func (v *Validator) message(ep entrypoint.EntryPoint, op *userop.UserOperation) evm.Message {
	m := evm.Message{
		From: v.cfg.Beneficiary, To: ep.Address, Gas: min(v.cfg.SimulationGas, params.MaxTxGas),
		Data: entrypoint.EncodeHandleOps(ep.Version, []*userop.UserOperation{op}, v.cfg.Beneficiary),
	}
	if op.Authorization != nil {
		m.Authorizations = []types.SetCodeAuthorization{*op.Authorization}
	}
	return m
}

// entryPointGas is more than an EntryPoint uses itself, and with its helper, for the validation of one operation.
const entryPointGas = 300_000

// validation is the message with gas for its validation, and hardly any more: the node lists what it reads by running it,
// and what comes after validation is nobody's business there.
func (v *Validator) validation(ep entrypoint.EntryPoint, op *userop.UserOperation) evm.Message {
	m := v.message(ep, op)
	tokens := gas.DataTokens(m.Data)
	limits := gas.VerificationLimits(op)
	if limits > m.Gas { // they are over what a transaction may have
		return m
	}
	before := gas.IntrinsicGas(tokens, uint64(len(m.Authorizations))) + gas.FloorGas(tokens)
	m.Gas = min(m.Gas, before+limits+limits/32+entryPointGas) // of 63/64 in two calls (EIP-150)
	return m
}

// quote returns the question what the data of the operation, bundled alone, costs.
func (v *Validator) quote(ep entrypoint.EntryPoint, op *userop.UserOperation) *datafee.Quote {
	if v.cfg.DataFees.Kind() == datafee.None {
		return v.cfg.DataFees.Quote(datafee.Transaction{})
	}
	m := v.message(ep, op)
	return v.cfg.DataFees.Quote(datafee.Transaction{To: m.To, Data: m.Data, Authorizations: m.Authorizations})
}
