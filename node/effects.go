package node

import (
	"context"
	"errors"
	"math/big"
	"slices"

	"baler/bundlesender"
	"baler/event"
	"baler/funding"
	"baler/gas"
	"baler/pool"
	"baler/proposer"
	"baler/store"
	"baler/txsender"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

// do carries out one effect of the machine.
func (w *worker) do(ctx context.Context, effect bundlesender.Effect) {
	switch e := effect.(type) {
	case bundlesender.Propose:
		w.propose(ctx, e)
	case bundlesender.Abort:
		if cancel := w.aborts[e.Seq]; cancel != nil {
			cancel()
		}
	case bundlesender.Submit:
		bundle, waiting := w.bundles[e.Seq], w.machine.Watch()
		by, journaled := w.routeFor(bundle), w.journaled
		w.journaled = nil
		w.task(func() {
			defer journaled()
			w.submit(ctx, e, bundle, by, waiting, journaled)
		})
	case bundlesender.Cancel:
		soft, hard := w.cancellation(e)
		w.task(func() {
			if len(soft) > 0 {
				w.withdraw(ctx, e, soft)
				return
			}
			w.cancel(ctx, e, hard)
		})
	case bundlesender.Observe:
		w.observed = w.answerObserve(ctx, e)
	case bundlesender.Release:
		w.release(ctx, e.Operations)
		w.node.sink(event.OperationsReleased{Signer: w.key.Address(), Hashes: e.Operations})
	case bundlesender.Settle:
		w.settle(ctx, e)
	case bundlesender.Revive:
		w.revive(ctx, e)
	case bundlesender.Forget:
		for _, id := range e.Attempts {
			delete(w.sent, id)
		}
	case bundlesender.Backoff:
		w.task(func() { w.backOff(ctx, e) })
	case bundlesender.Alert:
		if e.Kind == bundlesender.AlertInsufficientFunds {
			w.node.treasury.ask()
		}
		w.alert(e.Kind.String(), "bundle sender: "+e.Kind.String())
	case bundlesender.Moved:
		w.node.sink(event.SenderMoved{
			Signer: w.key.Address(), From: e.From.String(), To: e.To.String(), Cause: e.Cause.String(), Block: w.machine.Status().Head,
		})
	case bundlesender.ManualDone:
		if answer := w.calls[e.Call]; answer != nil {
			answer <- manualAnswer{e.Hash, e.Err}
			delete(w.calls, e.Call)
		}
	}
}

// propose asks the proposer for a bundle, beside the loop.
func (w *worker) propose(ctx context.Context, e bundlesender.Propose) {
	w.restartInterval()
	if w.idles(e) {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	w.aborts[e.Seq] = cancel
	carries, live := w.carries(), w.machine.Held()
	journaled := w.node.config.Store.Expect() // the bundle
	w.task(func() {
		ready := false
		defer func() {
			if !ready {
				journaled()
			}
		}()
		head := w.node.head.Load()
		w.market.begin(!e.Floor.IsZero(), carries, live, head.number()+claimBlocks)
		proposal, chosen, err := w.proposal(ctx, e, head)
		if chosen != nil {
			defer chosen() // when the bundle is on its way
		}
		if err != nil {
			if ctx.Err() == nil {
				w.node.log.Warn("proposing a bundle failed", "signer", w.builder, "err", err)
			}
			w.post(bundlesender.NothingToSend{Seq: e.Seq, Reason: bundlesender.ProposerError})
			return
		}
		unsure := w.remove(ctx, proposal.Removed, head.header.Hash())
		for _, skip := range proposal.Skipped {
			w.node.sink(skippedBy(w.key.Address(), skip))
		}
		if proposal.Bundle != nil && w.node.history.elsewhere(proposal.Bundle.Hashes(), common.Hash{}) {
			// A block came while the bundle was made, with one of its operations: it would revert.
			w.post(bundlesender.NothingToSend{Seq: e.Seq, Reason: bundlesender.NoneLeftAfterSimulation, Claimed: append(unsure, proposal.Bundle.Hashes()...)})
			return
		}
		if proposal.Bundle == nil {
			w.post(bundlesender.NothingToSend{Seq: e.Seq, Reason: nothingReason(proposal.Reason), Claimed: unsure})
			return
		}
		w.node.sink(proposedBy(w.key.Address(), proposal.Bundle))
		w.node.config.Boundary("bundle proposed")
		ready = true
		w.inbox.post(message{bundle: proposal.Bundle, journaled: journaled, event: bundlesender.BundleReady{
			Seq: e.Seq, Fees: proposal.Bundle.Fees, GasLimit: proposal.Bundle.GasLimit,
			Operations: proposal.Bundle.Hashes(), Claimed: append(unsure, proposal.Bundle.Hashes()...),
		}})
	})
}

// remove takes out of the pool what the proposer found invalid, unless the chain has moved meanwhile: then the next
// proposal judges again. It returns what stays, claimed.
func (w *worker) remove(ctx context.Context, removals []proposer.Removal, head common.Hash) []common.Hash {
	if len(removals) == 0 {
		return nil
	}
	if head == w.market.judged() { // the pool agreed with the state that was judged on
		applied, err := w.node.port.Remove(ctx, head, removals)
		if err != nil {
			w.node.log.Warn("invalid operations stay in the pool", "signer", w.builder, "ops", len(removals), "err", err)
		}
		if applied {
			return nil
		}
	}
	hashes := make([]common.Hash, len(removals))
	for i, r := range removals {
		hashes[i] = r.Hash
	}
	return hashes
}

// proposal builds a bundle on the current head. With an empty pool it asks the node for nothing. chosen keeps what the bundle was chosen
// from, for replaying it under another policy; nil: there is nothing to keep.
func (w *worker) proposal(ctx context.Context, e bundlesender.Propose, head *head) (p *proposer.Proposal, chosen func(), err error) {
	if err := w.settleErrands(ctx); err != nil {
		return nil, nil, err
	}
	waiting, err := w.market.EntryPoints(ctx)
	if err != nil {
		return nil, nil, err
	}
	if len(waiting) == 0 {
		return &proposer.Proposal{Reason: proposer.NoOperations}, nil, nil
	}
	priority, err := head.priorityFee(ctx, w.node)
	if err != nil {
		return nil, nil, err
	}
	balance, err := w.node.balance(ctx, head, w.key.Address())
	if err != nil {
		return nil, nil, err
	}
	w.node.sink(event.BalanceSeen{Signer: w.key.Address(), Balance: balance, Block: head.number()})
	p, err = w.proposer.Propose(ctx, proposer.Request{
		Builder: w.builder, Head: head.header, BaseFee: head.baseFee, Priority: priority, Floor: e.Floor,
		Beneficiary: w.beneficiary(), Balance: balance, ClaimUntil: head.number() + claimBlocks, Exclude: e.Exclude,
		GasCap:   w.node.gasCap(head),
		GasShare: w.node.gasShare(head),
		Deferred: w.node.suspicion.deferred(head.number()), Apart: w.node.suspicion.apart(head.number()), MaxOps: w.node.suspicion.limit(w.builder), Cut: w.node.suspicion.cut,
	})
	if err == nil && e.Floor.IsZero() { // a replacement's fees are not the policy's
		chosen = func() { w.remember(head, priority, p.Considered) }
	}
	return p, chosen, err
}

// remember keeps what a proposal had to choose from.
func (w *worker) remember(head *head, priority uint256.Int, considered []*pool.Operation) {
	for _, ep := range w.node.config.EntryPoints {
		m := proposer.MomentOf(head.number(), ep.Address, head.baseFee, priority, w.node.policy(), considered)
		if len(m.Candidates) > 0 {
			w.node.enqueueBy(w.node.config.Store.EnqueueLater, store.PutMoment(w.key.Address(), m))
		}
	}
}

// gasCap is the most gas a transaction may have in the block after the head (EIP-7825); 0: no cap.
func (n *Node) gasCap(at *head) uint64 {
	next := new(big.Int).Add(at.header.Number, big.NewInt(1))
	if n.config.Rules.IsOsaka(next, at.header.Time+1) {
		return params.MaxTxGas
	}
	return 0
}

// gasShare is how much gas a bundle should have at most where several keys send: an even share of the block's. 0: no limit.
func (n *Node) gasShare(at *head) uint64 {
	if most := n.gasCap(at); most > 0 && len(n.keys.all()) > 1 {
		return evenShare(at.header.GasLimit, most)
	}
	return 0
}

// evenShare divides a block's gas among as few transactions as it takes. With three of the most gas that a transaction may have a
// block of 60 million is full to three quarters, and a fourth fits no more; four of 15 million fit.
func evenShare(block, most uint64) uint64 {
	if block <= most {
		return most
	}
	return block / ((block + most - 1) / most)
}

// nothingReason is the machine's reading of why there is no bundle.
func nothingReason(r proposer.Reason) bundlesender.NothingReason {
	switch r {
	case proposer.NoOperations, proposer.NothingFits:
		return bundlesender.NoOperations
	case proposer.NoneLeftAfterFeeFilter:
		return bundlesender.NoneLeftAfterFeeFilter
	case proposer.Unprofitable, proposer.FeesOverBudget:
		return bundlesender.WouldLose
	case proposer.SignerBalanceLow:
		return bundlesender.SignerCannotPay
	case proposer.NoneLeftAfterSimulation:
		return bundlesender.NoneLeftAfterSimulation
	case proposer.Proposed:
		return bundlesender.ProposerError // a bundle that is not there
	default:
		return bundlesender.ProposerError
	}
}

func (w *worker) beneficiary() common.Address {
	if to := w.node.config.Beneficiary; to != (common.Address{}) {
		return to
	}
	return w.key.Address()
}

// submit signs the bundle and relays it. The machine hears of the signed transaction before the relay does.
func (w *worker) submit(ctx context.Context, e bundlesender.Submit, bundle *proposer.Bundle, by route, waiting []bundlesender.Attempt, journaled func()) {
	outcome := bundlesender.Submitted{Attempt: e.Attempt.ID, Outcome: bundlesender.NotSent}
	if bundle == nil || !w.holds() {
		w.post(outcome)
		return
	}
	tx, err := w.sign(ctx, w.bundleTx(e.Attempt, bundle))
	if err != nil {
		w.node.log.Error("signing a bundle failed", "signer", w.builder, "err", err)
		w.post(outcome)
		return
	}
	w.node.config.Boundary("bundle signed")
	claimed := w.confirm(ctx, e.Attempt, bundle.Hashes(), waiting)
	if !w.holds() || !claimed() {
		w.post(outcome)
		return
	}
	// From here on it may be in the journal: who holds the key next knows that it may have left, and sends it. So nobody else may have
	// its operations, though this process does not send it.
	left := bundlesender.Submitted{Attempt: e.Attempt.ID, Hash: tx.Hash(), Outcome: bundlesender.Unknown}
	if err := w.journal.Signed(ctx, e.Attempt, tx, by.name); err != nil {
		w.node.log.Error("a signed bundle could not be written down; it is not sent", "signer", w.builder, "err", err)
		w.post(left)
		return
	}
	journaled()
	w.node.config.Boundary("bundle journaled")
	switch {
	case !w.holds():
		w.post(left)
		return
	case !claimed():
		w.post(outcome)
		return
	}
	hints := w.hints(bundle, by)
	w.inbox.post(message{signed: signedTx{tx: tx, hints: hints, route: by, expected: bundle.ExpectedProfit()}, event: bundlesender.Signed{Attempt: e.Attempt.ID, Hash: tx.Hash(), Fees: e.Attempt.Fees}})
	answer := txsender.Send(ctx, by.sender, tx, hints)
	w.node.config.Boundary("bundle relayed")
	sent := event.BundleSent{
		Signer: w.key.Address(), EntryPoint: bundle.EntryPoint.Address, Tx: tx.Hash(), Nonce: tx.Nonce(), Operations: len(bundle.Ops),
		Hashes:   bundle.Hashes(),
		GasLimit: bundle.GasLimit, Fees: bundle.Fees, Answer: string(answer.Class), Text: answer.Text, Route: by.name,
	}
	if profit := bundle.ExpectedProfit(); profit.Sign() > 0 {
		sent.ExpectedProfit.SetFromBig(profit)
	}
	w.node.sink(sent)
	outcome.Hash, outcome.Outcome = tx.Hash(), funding.OutcomeOf(answer)
	if outcome.Outcome == bundlesender.AlreadyKnown && slices.ContainsFunc(waiting, func(a bundlesender.Attempt) bool { return a.Hash == tx.Hash() }) {
		// The same bytes as an attempt that was given up: it waits where it waited, and nothing has replaced it.
		outcome.Outcome = bundlesender.ReplacementUnderpriced
	}
	w.suspect(ctx, outcome.Outcome, e.Attempt.Operations, answer.Text)
	w.inbox.post(message{event: outcome, unclear: answer.Class == txsender.Unknown && answer.Reach == txsender.Answered})
}

// suspect learns from the answer which operations make bundles fail.
func (w *worker) suspect(ctx context.Context, outcome bundlesender.Outcome, ops []common.Hash, text string) {
	block := w.node.head.Load().number()
	switch outcome {
	case bundlesender.Accepted, bundlesender.AlreadyKnown:
		if culprits := w.node.suspicion.accepted(ops, block); len(culprits) > 0 {
			if err := w.node.port.Drop(ctx, culprits); err != nil {
				w.node.log.Warn("operations that bundles are refused for stay in the pool", "signer", w.builder, "ops", len(culprits), "err", err)
			}
		}
	case bundlesender.Rejected:
		w.node.log.Warn("bundle refused", "signer", w.builder, "ops", len(ops), "text", text)
		w.node.suspicion.refused(w.builder, ops, block)
	default: // about the key or the fees, not about operations
	}
}

func (w *worker) bundleTx(attempt bundlesender.Attempt, bundle *proposer.Bundle) *types.Transaction {
	to := bundle.EntryPoint.Address
	if len(bundle.Authorizations) > 0 {
		chainID, _ := uint256.FromBig(w.node.chainID())
		return types.NewTx(&types.SetCodeTx{
			ChainID: chainID, Nonce: attempt.Nonce, GasTipCap: &bundle.Fees.MaxPriority, GasFeeCap: &bundle.Fees.MaxFee,
			Gas: bundle.GasLimit, To: to, Value: new(uint256.Int), Data: bundle.CallData, AuthList: bundle.Authorizations,
		})
	}
	return types.NewTx(&types.DynamicFeeTx{
		ChainID: w.node.chainID(), Nonce: attempt.Nonce, GasTipCap: bundle.Fees.MaxPriority.ToBig(), GasFeeCap: bundle.Fees.MaxFee.ToBig(),
		Gas: bundle.GasLimit, To: &to, Value: new(big.Int), Data: bundle.CallData,
	})
}

// cancel frees the nonce: an empty transaction to the key itself, at the least fees that replace what waits.
func (w *worker) cancel(ctx context.Context, e bundlesender.Cancel, by route) {
	config := w.node.config
	if !w.holds() {
		w.post(bundlesender.CancelSubmitted{Attempt: e.Attempt, Outcome: bundlesender.NotSent})
		return
	}
	head := w.node.head.Load()
	fees := gas.BundleFees(head.baseFee, config.MinPriorityFee, e.Floor, config.Proposer.BaseFeeOverheadPercent, 0)
	outcome := bundlesender.CancelSubmitted{Attempt: e.Attempt, Fees: fees, Outcome: bundlesender.NotSent}
	if w.node.tooDear(fees) {
		outcome.Outcome = bundlesender.OverBudget
		w.post(outcome)
		return
	}
	to := w.key.Address()
	tx, err := w.sign(ctx, types.NewTx(&types.DynamicFeeTx{
		ChainID: w.node.chainID(), Nonce: e.Nonce, GasTipCap: fees.MaxPriority.ToBig(), GasFeeCap: fees.MaxFee.ToBig(), Gas: params.TxGas, To: &to,
	}))
	if err != nil {
		w.node.log.Error("signing a cancellation failed", "signer", w.builder, "err", err)
		w.post(outcome)
		return
	}
	attempt := bundlesender.Attempt{ID: e.Attempt, Kind: bundlesender.KindCancellation, Nonce: e.Nonce, Block: head.number()}
	w.node.config.Boundary("cancellation signed")
	if !w.holds() {
		w.post(outcome)
		return
	}
	if err := w.journal.Signed(ctx, attempt, tx, by.name); err != nil {
		w.node.log.Error("a signed cancellation could not be written down; it is not sent", "signer", w.builder, "err", err)
		w.post(outcome)
		return
	}
	w.node.config.Boundary("cancellation journaled")
	if !w.holds() {
		w.post(outcome)
		return
	}
	w.inbox.post(message{signed: signedTx{tx: tx, route: by}, event: bundlesender.Signed{Attempt: e.Attempt, Hash: tx.Hash(), Fees: fees}})
	answer := by.sender.Send(ctx, tx)
	w.node.config.Boundary("cancellation relayed")
	w.node.sink(event.BundleSent{
		Signer: to, Tx: tx.Hash(), Nonce: tx.Nonce(), GasLimit: params.TxGas, Fees: fees, Answer: string(answer.Class), Text: answer.Text, Route: by.name,
	})
	outcome.Hash, outcome.Outcome = tx.Hash(), funding.OutcomeOf(answer)
	w.post(outcome)
}

// hints is what a relay should know of a bundle: what it relies on, and how long we wait for it. They are kept as long as the transaction may
// be sent again, so a sender that makes no use of them gets none.
func (w *worker) hints(bundle *proposer.Bundle, by route) txsender.Hints {
	if _, hinted := by.sender.(txsender.Hinted); !hinted {
		return txsender.Hints{}
	}
	hints := txsender.Hints{
		TimeMin: bundle.Conditions.TimeMin, TimeMax: bundle.Conditions.TimeMax,
		BlockMin: bundle.Conditions.BlockMin, BlockMax: bundle.Conditions.BlockMax,
		MaxBlock:      w.node.head.Load().number() + max(w.node.config.Sender.MaxBlocksToWaitForMine, 1),
		KnownAccounts: make(txsender.KnownAccounts, len(bundle.Conditions.Known)),
	}
	for contract, slots := range bundle.Conditions.Known {
		hints.KnownAccounts[contract] = txsender.KnownAccount{Slots: slots}
	}
	return hints
}

// tooDear reports whether a cancellation with these fees is over a ceiling or the budget.
func (n *Node) tooDear(fees gas.Fees) bool {
	ceiling, budget := n.config.Proposer.MaxFeePerGas, n.config.MaxCancelSpend
	cost := gas.Cost(params.TxGas, fees.MaxFee)
	return !ceiling.IsZero() && fees.MaxFee.Gt(&ceiling) || !budget.IsZero() && cost.Gt(&budget)
}

// answerObserve reads the key's nonce and transactions at the current head. It is nil when the worker ends.
func (w *worker) answerObserve(ctx context.Context, e bundlesender.Observe) *bundlesender.Observed {
	select {
	case <-w.node.started:
	default: // an operator was faster than the first head
		return &bundlesender.Observed{Seq: e.Seq, Failed: true}
	}
	head := w.node.head.Load()
	at := bundlesender.Head{Number: head.number(), Hash: head.header.Hash()}
	observation, err := w.observe(ctx, at, nil)
	if err != nil {
		if ctx.Err() != nil {
			return nil // the end, not the node's failure
		}
		w.node.log.Warn("reading the signer's nonce failed", "signer", w.builder, "err", err)
		return &bundlesender.Observed{Seq: e.Seq, Failed: true}
	}
	return &bundlesender.Observed{Seq: e.Seq, Number: at.Number, Hash: at.Hash, Observation: *observation}
}

// backOff waits and says so.
func (w *worker) backOff(ctx context.Context, e bundlesender.Backoff) {
	if pause(ctx, backoffTime(e.Attempt)) == nil {
		w.post(bundlesender.Retry{Seq: e.Seq})
	}
}

// revive takes a transaction that a reorg un-mined back into flight.
func (w *worker) revive(ctx context.Context, e bundlesender.Revive) {
	until := w.node.head.Load().number() + claimBlocks
	mined, _ := w.node.strike(e.Hash)
	w.node.sink(w.unminedEvent(e.Attempt, e.Hash, mined.Block)) // also where it was not in the books here: they may be another process's
	w.ask(ctx, errand{what: "claiming the operations of a transaction that a reorg un-mined", run: func(ctx context.Context) error {
		return w.node.port.Revive(ctx, w.builder, e.Operations, until)
	}})
	w.unshelve(e.Attempt)
	w.relayAgain(ctx, e.Attempt)
}

func (w *worker) unminedEvent(id bundlesender.AttemptID, tx common.Hash, block uint64) event.BundleUnmined {
	unmined := event.BundleUnmined{Signer: w.key.Address(), Tx: tx, Block: block}
	if signed, known := w.sent[id]; known {
		unmined.Nonce = new(signed.nonce)
	}
	return unmined
}

// shelve leaves a mined transaction to the journal, if there is one: it is needed again after a reorg alone, and there are as many as a
// reorg may take back, of up to 128 KiB each.
func (w *worker) shelve(id bundlesender.AttemptID) {
	if signed, ok := w.sent[id]; ok && w.journal != nil {
		signed.tx = nil
		w.sent[id] = signed
	}
}

// unshelve takes a transaction back into memory.
func (w *worker) unshelve(id bundlesender.AttemptID) {
	signed, ok := w.sent[id]
	if !ok || signed.tx != nil {
		return
	}
	var err error
	if signed.tx, err = w.journal.Transaction(id); err != nil {
		w.node.log.Error("a signed transaction could not be read back; it is not relayed again", "signer", w.builder, "err", err)
	}
	w.sent[id] = signed
}

// relayAgain sends the same signed bytes once more, if no operation in them may be in another sender's transaction. Whatever the answer is,
// the transaction stays tracked.
func (w *worker) relayAgain(ctx context.Context, id bundlesender.AttemptID) {
	signed, ok := w.sent[id]
	if !ok || signed.tx == nil || !w.holds() || !w.machine.Keeps(id) {
		return
	}
	answer := txsender.Send(ctx, signed.route.sender, signed.tx, signed.hints)
	w.looked = w.looked && answer.Class != txsender.ReplacementUnderpriced // something else waits in its place
	w.node.log.Info("transaction relayed again", "signer", w.builder, "tx", signed.tx.Hash(), "answer", answer.Class, "text", answer.Text)
}

// settle accounts for a mined transaction. Its operations leave the pool, and with that their claims, with the block's logs. They are
// not given back here: if a reorg has brought them back to the pool meanwhile, they are in a live transaction again. Those of a
// reverted bundle the machine keeps as long as a reorg may take its block back.
func (w *worker) settle(ctx context.Context, e bundlesender.Settle) {
	receipt := w.mined[e.Hash]
	delete(w.mined, e.Hash)
	w.node.config.Boundary("transaction mined")
	if receipt == nil {
		w.node.log.Error("a mined transaction has no receipt here; it is not in the books before the next start", "signer", w.builder, "tx", e.Hash)
		return
	}
	w.node.own.add(receipt.BlockNumber.Uint64(), receipt.GasUsed)
	tx := w.settled(e.Attempt, e.Kind, len(e.Operations), 0)
	w.last = append(w.last, func() { w.account(tx, receipt) }) // to read what it earned takes time that the next proposal need not wait
	if receipt.Status == types.ReceiptStatusSuccessful && e.Kind == bundlesender.KindBundle {
		w.node.suspicion.mined(w.builder)
		w.routeMined(e.Attempt)
		w.learn(e.Attempt, e.Operations, nil)
	}
	if signed, ok := w.sent[e.Attempt]; ok && signed.tx != nil && receipt.Status == types.ReceiptStatusFailed && len(e.Operations) > 0 {
		w.onRevert(ctx, e, receipt, signed.tx)
	}
	w.shelve(e.Attempt)
}

// errNoSender is the answer to a manual call when no bundle sender is left.
var errNoSender = errors.New("no bundle sender is running")

// feesOf returns a signed transaction's fees.
func feesOf(tx *types.Transaction) gas.Fees {
	var fees gas.Fees
	fees.MaxFee.SetFromBig(tx.GasFeeCap())
	fees.MaxPriority.SetFromBig(tx.GasTipCap())
	return fees
}
