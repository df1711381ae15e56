package funding

import (
	"context"
	"math/big"
	"slices"

	"baler/bundlesender"
	"baler/chain"
	"baler/event"
	"baler/gas"
	"baler/signer"
	"baler/txsender"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
)

// onHead looks at what the head says about the key's transactions, if any may be mined or may have left the chain.
func (p *Payer) onHead(ctx context.Context, update *chain.Update) {
	p.head = update.Head
	head := bundlesender.Head{Number: update.Head.Number.Uint64(), Hash: update.Head.Hash()}
	if update.Last && len(p.machine.Watch())+len(p.machine.Settled()) > 0 {
		observation, err := p.observe(ctx, head.Hash)
		if ctx.Err() != nil {
			return // the end, not the node's failure
		}
		if err != nil {
			p.config.Log.Warn("looking for payments failed", "payer", p.address, "block", head.Number, "err", err)
		}
		head.Observation = observation
	}
	p.step(ctx, head)
}

// observe asks the chain, pinned to a block, about the key and every transaction of it that may be mined or was.
func (p *Payer) observe(ctx context.Context, block common.Hash) (*bundlesender.Observation, error) {
	watched, settled := p.machine.Watch(), p.machine.Settled()
	var hashes []common.Hash
	for _, attempt := range slices.Concat(watched, settled) {
		hashes = append(hashes, attempt.Hash)
	}
	seen, err := p.config.Chain.Observe(ctx, block, p.address, hashes)
	if err != nil {
		return nil, err
	}
	observation := &bundlesender.Observation{Nonce: seen.Nonce}
	for _, attempt := range settled {
		receipt := seen.Receipts[attempt.Hash]
		if receipt != nil && receipt.BlockHash == attempt.MinedHash {
			continue
		}
		observation.Reorged = append(observation.Reorged, attempt.ID)
		p.noteMined(observation, attempt, receipt)
	}
	for _, attempt := range watched {
		p.noteMined(observation, attempt, seen.Receipts[attempt.Hash])
	}
	observation.Dropped = p.dropped(ctx, watched, seen)
	return observation, nil
}

// noteMined adds a mined transaction. A receipt from a block after the one that was asked for would be ahead of the nonce read
// there: the next head brings it.
func (p *Payer) noteMined(o *bundlesender.Observation, attempt bundlesender.Attempt, receipt *chain.Receipt) {
	if receipt == nil || attempt.Nonce >= o.Nonce {
		return
	}
	p.mined[attempt.Hash] = receipt
	o.Mined = append(o.Mined, bundlesender.Mined{
		Attempt: attempt.ID, Block: receipt.BlockNumber.Uint64(), Hash: receipt.BlockHash, Reverted: receipt.Status == types.ReceiptStatusFailed,
	})
}

// dropped returns the newest waiting transaction if the node has not known it at two looks in a row. At the first of them the
// same bytes are sent again: a node forgets what it took under load or over a restart.
func (p *Payer) dropped(ctx context.Context, watched []bundlesender.Attempt, seen *chain.Observation) []bundlesender.AttemptID {
	var newest *bundlesender.Attempt
	for i, attempt := range watched {
		if attempt.Nonce == seen.Nonce && attempt.Status != bundlesender.StatusDropped {
			newest = &watched[i]
		}
	}
	if newest == nil || seen.Known[newest.Hash] {
		clear(p.missed)
		return nil
	}
	if p.missed[newest.Hash]++; p.missed[newest.Hash] > 1 {
		return []bundlesender.AttemptID{newest.ID}
	}
	p.relayAgain(ctx, newest.ID)
	return nil
}

func (p *Payer) answerObserve(ctx context.Context, e bundlesender.Observe) {
	head := p.head
	if head == nil { // before the first head there is nothing to observe at: it is asked for again after a wait
		p.tasks.Go(func() { p.post(ctx, message{event: bundlesender.Observed{Seq: e.Seq, Failed: true}}) })
		return
	}
	observed := bundlesender.Observed{Seq: e.Seq, Number: head.Number.Uint64(), Hash: head.Hash()}
	observation, err := p.observe(ctx, observed.Hash)
	if err != nil {
		p.config.Log.Warn("reading the payer's nonce failed", "payer", p.address, "err", err)
		observed.Failed = true
	} else {
		observed.Observation = *observation
	}
	p.tasks.Go(func() { p.post(ctx, message{event: observed}) })
}

// submit signs the payment and relays it. The machine hears of the signed transaction before the relay does.
func (p *Payer) submit(ctx context.Context, attempt bundlesender.Attempt, payment *Payment) {
	outcome := bundlesender.Submitted{Attempt: attempt.ID, Outcome: bundlesender.NotSent}
	if payment == nil {
		p.post(ctx, message{event: outcome})
		return
	}
	tx := p.sign(ctx, attempt, &types.DynamicFeeTx{
		ChainID: p.config.ChainID, Nonce: attempt.Nonce, GasTipCap: payment.Fees.MaxPriority.ToBig(), GasFeeCap: payment.Fees.MaxFee.ToBig(),
		Gas: payment.GasLimit, To: &payment.To, Value: payment.Value.ToBig(), Data: payment.Data,
	})
	if tx == nil {
		p.post(ctx, message{event: outcome})
		return
	}
	p.post(ctx, message{sent: sent{tx: tx}, event: bundlesender.Signed{Attempt: attempt.ID, Hash: tx.Hash(), Fees: payment.Fees}})
	answer := p.config.Relay.Send(ctx, tx)
	p.config.Boundary("payment relayed")
	p.config.Log.Info("payment sent", "payer", p.address, "tx", tx.Hash(), "nonce", tx.Nonce(), "accounts", len(payment.Parts),
		"wei", payment.Value.Dec(), "max_fee", payment.Fees.MaxFee.Dec(), "answer", answer.Class, "text", answer.Text)
	outcome.Hash, outcome.Outcome = tx.Hash(), OutcomeOf(answer)
	p.post(ctx, message{event: outcome})
}

// route is what the journal says of payments' way: the node's public mempool.
const route = "payment"

// sign signs a transaction and writes it down; nil if one of these failed, or the key may not be used any more.
func (p *Payer) sign(ctx context.Context, attempt bundlesender.Attempt, unsigned types.TxData) *types.Transaction {
	if !p.config.Valid() {
		return nil
	}
	observed := signer.WithObserver(ctx, func(call signer.Call) {
		p.config.Sink(event.KeyUsed{
			Signer: call.Signer, Kind: string(call.Kind), Took: call.Took, Attempts: call.Attempts, Failed: string(call.Failure),
		})
	})
	tx, err := p.config.Key.SignTx(observed, types.NewTx(unsigned), p.config.ChainID)
	if err != nil {
		p.config.Log.Error("signing a payment failed", "payer", p.address, "err", err)
		return nil
	}
	p.config.Boundary("payment signed")
	if !p.config.Valid() {
		return nil
	}
	if err := p.config.Journal.Signed(ctx, attempt, tx, route); err != nil {
		p.config.Log.Error("a signed payment could not be written down; it is not sent", "payer", p.address, "err", err)
		return nil
	}
	p.config.Boundary("payment journaled")
	if !p.config.Valid() {
		return nil
	}
	return tx
}

// cancel frees the nonce: an empty transaction to the key itself, at the least fees that replace what waits.
func (p *Payer) cancel(ctx context.Context, e bundlesender.Cancel, head *types.Header) {
	outcome := bundlesender.CancelSubmitted{Attempt: e.Attempt, Outcome: bundlesender.NotSent}
	baseFee, err := gas.NextBaseFee(p.config.Rules, head)
	if err != nil {
		p.post(ctx, message{event: outcome})
		return
	}
	fees := gas.BundleFees(baseFee, p.config.MinPriorityFee, e.Floor, p.config.BaseFeeOverheadPercent, 0)
	outcome.Fees = fees
	if ceiling := p.config.MaxFeePerGas; !ceiling.IsZero() && fees.MaxFee.Gt(&ceiling) {
		outcome.Outcome = bundlesender.OverBudget
		p.post(ctx, message{event: outcome})
		return
	}
	attempt := bundlesender.Attempt{ID: e.Attempt, Kind: bundlesender.KindCancellation, Nonce: e.Nonce, Block: head.Number.Uint64()}
	tx := p.sign(ctx, attempt, &types.DynamicFeeTx{
		ChainID: p.config.ChainID, Nonce: e.Nonce, GasTipCap: fees.MaxPriority.ToBig(), GasFeeCap: fees.MaxFee.ToBig(),
		Gas: params.TxGas, To: &p.address, Value: new(big.Int),
	})
	if tx == nil {
		p.post(ctx, message{event: outcome})
		return
	}
	p.post(ctx, message{sent: sent{tx: tx}, event: bundlesender.Signed{Attempt: e.Attempt, Hash: tx.Hash(), Fees: fees}})
	answer := p.config.Relay.Send(ctx, tx)
	outcome.Hash, outcome.Outcome = tx.Hash(), OutcomeOf(answer)
	p.post(ctx, message{event: outcome})
}

// relayAgain sends the same signed bytes once more. Whatever the answer is, the transaction stays tracked. What is no payment (a
// key that is emptied may have bundles out) went by a way that may have been private, and is left alone.
func (p *Payer) relayAgain(ctx context.Context, id bundlesender.AttemptID) {
	if again, ok := p.sent[id]; ok && !again.bundle && p.config.Valid() {
		answer := p.config.Relay.Send(ctx, again.tx)
		p.config.Log.Info("payment sent again", "payer", p.address, "tx", again.tx.Hash(), "answer", answer.Class, "text", answer.Text)
	}
}

// settle tells what a mined payment did. After one that reverted nothing is begun for a while, longer each time: the next would
// do the same.
func (p *Payer) settle(e bundlesender.Settle) {
	receipt := p.mined[e.Hash]
	delete(p.mined, e.Hash)
	p.config.Boundary("payment mined")
	if e.Reverted {
		p.reverts++
		p.resting = e.Block + 1<<min(p.reverts+2, 12)
		p.config.Sink(event.Alert{Signer: p.address, Kind: "funding reverted", Text: "funding: the transaction was mined and has failed; it is tried again later"})
	} else if e.Kind == bundlesender.KindBundle {
		p.reverts, p.resting = 0, 0
	}
	moved := event.FundsMoved{From: p.address, Tx: e.Hash, Block: e.Block, Accounts: len(e.Operations), Success: !e.Reverted}
	if payment, ok := p.sent[e.Attempt]; ok {
		moved.Amount.SetFromBig(payment.tx.Value())
	}
	if receipt != nil {
		moved.Cost = receipt.Cost()
	}
	p.config.Sink(moved)
}

// OutcomeOf is the machine's reading of a node's answer.
func OutcomeOf(answer txsender.Answer) bundlesender.Outcome {
	if answer.Reach == txsender.NotSent {
		return bundlesender.NotSent // no connection was made: nothing can be mined
	}
	switch answer.Class {
	case txsender.Accepted:
		return bundlesender.Accepted
	case txsender.AlreadyKnown:
		return bundlesender.AlreadyKnown
	case txsender.ReplacementUnderpriced:
		return bundlesender.ReplacementUnderpriced
	case txsender.Underpriced, txsender.BelowBaseFee, txsender.PoolFull:
		return bundlesender.Underpriced
	case txsender.NonceTooLow:
		return bundlesender.NonceTooLow
	case txsender.InsufficientFunds:
		return bundlesender.InsufficientFunds
	case txsender.ConditionNotMet:
		return bundlesender.ConditionNotMet
	case txsender.Rejected, txsender.NonceTooHigh, txsender.FeeCapExceeded, txsender.GasLimitTooHigh, txsender.IntrinsicGasTooLow:
		return bundlesender.Rejected
	case txsender.Unknown:
		return bundlesender.Unknown
	default:
		return bundlesender.Unknown
	}
}
