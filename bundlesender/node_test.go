package bundlesender

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"baler/gas"
)

// moved: something happened that machine's next work may react to without being hasty.
func (w *world) moved() { w.begun = 0 }

// answer answers what is in flight.
func (w *world) answer() {
	switch e := w.work.(type) {
	case Propose:
		w.answerPropose(e)
	case Submit:
		w.answerSubmit(e)
	case Cancel:
		w.answerCancel(e)
	case Observe:
		w.work = nil
		if w.fault(8, "observe fails") {
			w.step(Observed{Seq: e.Seq, Failed: true})
			return
		}
		w.step(Observed{Seq: e.Seq, Number: w.number, Hash: w.blockHash(), Observation: w.observation()})
	}
}

func (w *world) answerPropose(p Propose) {
	w.work = nil
	claimed, bundle := w.claim(p)
	w.mineUnderProposal(bundle)
	for op := range w.handed {
		delete(w.handed, op)
	}
	fees := gas.Max(makeFees(w.price+10, w.price/4+1), p.Floor)
	switch {
	case w.fault(10, "proposer fails"):
		w.step(NothingToSend{Seq: p.Seq, Reason: ProposerError, Claimed: claimed})
	case len(bundle) == 0:
		w.step(NothingToSend{Seq: p.Seq, Reason: NoOperations, Claimed: claimed})
	case w.fault(20, "balance low"):
		w.step(NothingToSend{Seq: p.Seq, Reason: SignerCannotPay, Claimed: claimed})
	case w.fault(12, "unprofitable"):
		w.step(NothingToSend{Seq: p.Seq, Reason: WouldLose, Claimed: claimed})
	case fees.MaxFee.Uint64() > 2*w.price+100, w.fault(5, "priced out"):
		w.step(NothingToSend{Seq: p.Seq, Reason: NoneLeftAfterFeeFilter, Claimed: claimed})
	case w.fault(12, "simulation fails"):
		w.step(NothingToSend{Seq: p.Seq, Reason: NoneLeftAfterSimulation, Claimed: claimed})
	case w.fault(30, "floor ignored") && !p.Floor.IsZero():
		w.step(BundleReady{Seq: p.Seq, Fees: makeFees(1, 1), Operations: bundle, Claimed: claimed})
	default:
		w.step(BundleReady{Seq: p.Seq, Fees: fees, GasLimit: 1_000_000, Operations: bundle, Claimed: claimed})
	}
}

// claim hands out free operations and those this sender has already, and picks a bundle of them.
func (w *world) claim(p Propose) (claimed, bundle []common.Hash) {
	if w.one(2, "new operation") || !w.faulty {
		w.nextOp++
		w.ops[op(fmt.Sprintf("o%d", w.nextOp))] = opFree
	}
	all := make(map[common.Hash]struct{})
	for o, state := range w.ops {
		if _, mined := w.minedBy[o]; !mined && (state == opFree || state == opClaimed) {
			all[o] = struct{}{}
		}
	}
	for _, o := range sorted(all) {
		if w.ops[o] == opFree && w.fault(4, "not handed") {
			continue
		}
		w.ops[o] = opClaimed
		claimed = append(claimed, o)
		w.handed[o] = true
		if !slices.Contains(p.Exclude, o) && !w.fault(3, "left out") {
			bundle = append(bundle, o)
		}
	}
	return claimed, bundle
}

// mineUnderProposal lets a block come that the proposer has not seen.
func (w *world) mineUnderProposal(bundle []common.Hash) {
	w.raced = map[common.Hash]bool{}
	if !w.fault(8, "a block under the proposal") {
		return
	}
	w.mine()
	for _, o := range bundle {
		_, w.raced[o] = w.minedBy[o]
	}
}

func (w *world) answerSubmit(s Submit) {
	a := s.Attempt
	for _, b := range w.m.attempts {
		if b.Nonce == a.Nonce && b.Hit && b.waits() {
			w.counted.replaced++
			break
		}
	}
	if w.fault(20, "signing fails") && !w.signed {
		w.work = nil
		w.step(Submitted{Attempt: a.ID, Outcome: NotSent})
		return
	}
	hash := common.Hash{0: 1, 23: byte(a.ID >> 16), 24: byte(a.ID >> 8), 25: byte(a.ID)}
	if !w.signed {
		w.signed = true
		w.step(Signed{Attempt: a.ID, Hash: hash, Fees: a.Fees})
		return
	}
	outcome := w.relay(hash, &tx{id: a.ID, nonce: a.Nonce, fees: a.Fees, ops: a.Operations})
	w.mayMineNow()
	if outcome == Accepted && w.fault(20, "relayed again after it was mined") {
		w.mine()
		if _, canonical := w.find(hash); canonical {
			outcome = NonceTooLow
		}
	}
	w.work = nil
	w.step(Submitted{Attempt: a.ID, Hash: hash, Outcome: outcome})
}

func (w *world) answerCancel(c Cancel) {
	switch {
	case w.fault(6, "soft"):
		w.work = nil
		delete(w.waiting, c.Nonce)
		w.step(SoftCancelled{Attempt: c.Attempt})
		return
	case w.waiting[c.Nonce] == common.Hash{} && !w.signed:
		w.work = nil
		w.step(NothingToCancel{Attempt: c.Attempt})
		return
	}
	fees := gas.Max(c.Floor, makeFees(w.price, w.price/10+1))
	if w.fault(8, "over budget") {
		w.work = nil
		w.step(CancelSubmitted{Attempt: c.Attempt, Fees: fees, Outcome: OverBudget})
		return
	}
	hash := common.Hash{0: 2, 23: byte(c.Attempt >> 16), 24: byte(c.Attempt >> 8), 25: byte(c.Attempt)}
	if !w.signed {
		w.signed = true
		w.step(Signed{Attempt: c.Attempt, Hash: hash, Fees: fees})
		return
	}
	outcome := w.relay(hash, &tx{id: c.Attempt, nonce: c.Nonce, fees: fees})
	w.work = nil
	w.step(CancelSubmitted{Attempt: c.Attempt, Hash: hash, Fees: fees, Outcome: outcome})
}

func (w *world) checkCancel(c Cancel) {
	for _, a := range w.m.attempts {
		if a.ID == c.Attempt || a.Nonce != c.Nonce || !w.m.live(&a) {
			continue
		}
		if !atLeast(c.Floor.MaxFee.ToBig(), a.Fees.MaxFee.ToBig(), w.cfg.ReplacementFeePercentIncrease) {
			w.fail("cancellation floor %s does not outbid %s of attempt %d", feeText(c.Floor), feeText(a.Fees), a.ID)
		}
	}
}

// relay is the node's transaction pool.
func (w *world) relay(hash common.Hash, t *tx) Outcome {
	if w.fault(15, "lost before") {
		return Unknown
	}
	old, occupied := w.txs[w.waiting[t.nonce]]
	switch {
	case w.fault(25, "no funds"):
		return InsufficientFunds
	case w.fault(25, "rejected"):
		return Rejected
	case w.fault(25, "condition"):
		return ConditionNotMet
	case t.nonce < w.nonce():
		return NonceTooLow
	case t.fees.MaxFee.Uint64() < w.price/4:
		return Underpriced
	case occupied && (!atLeast(t.fees.MaxFee.ToBig(), old.fees.MaxFee.ToBig(), 10) ||
		!atLeast(t.fees.MaxPriority.ToBig(), old.fees.MaxPriority.ToBig(), 10)):
		return ReplacementUnderpriced
	}
	w.txs[hash] = t
	w.waiting[t.nonce] = hash
	switch {
	case w.fault(12, "lost after"):
		return Unknown
	case w.fault(30, "relayed twice"):
		return AlreadyKnown
	}
	return Accepted
}

// mayMineNow lets a block come before the relay's answer, as a chain that mines on demand does.
func (w *world) mayMineNow() {
	if w.fault(4, "mined before the answer") {
		w.mine()
		w.head()
	}
}

// mine makes a block: usually what waits, sometimes a transaction that a node had forgotten, sometimes a foreign one.
func (w *world) mine() {
	w.number++
	if w.number > 200 && w.faulty && w.price > 10 {
		w.price -= uint64(w.choose(3, "price down"))
	}
	b := block{hash: w.blockHash(), nonce: w.nonce(), rival: w.rival()}
	w.include(b)
	if w.fault(40, "foreign") {
		hash := common.Hash{0: 9, 30: byte(w.number >> 8), 31: byte(w.number)}
		w.txs[hash] = &tx{nonce: b.nonce}
		b.txs = append(b.txs, hash)
		b.nonce++
	}
	for range 3 {
		hash, ok := w.includable(b.nonce)
		if !ok {
			break
		}
		b.txs = append(b.txs, hash)
		b.nonce++
	}
	w.chain = append(w.chain, b)
	w.include(b)
	for nonce := range w.waiting {
		if nonce < b.nonce {
			delete(w.waiting, nonce)
		}
	}
	w.moved()
}

// rival takes some of the youngest operations, wherever they wait.
func (w *world) rival() map[common.Hash]common.Hash {
	taken := map[common.Hash]common.Hash{}
	if !w.fault(3, "rival") {
		return taken
	}
	for range 1 + w.choose(2, "rival's operations") {
		n := w.nextOp - w.choose(6, "rival's operation")
		o := op(fmt.Sprintf("o%d", n))
		if _, mined := w.minedBy[o]; n > 0 && !mined {
			taken[o] = common.Hash{0: 7, 1: w.fork, 28: byte(n >> 8), 29: byte(n), 30: byte(w.number >> 8), 31: byte(w.number)}
		}
	}
	return taken
}

// include notes which operations a block mines. A bundle with one that is mined already mines none: it reverts.
func (w *world) include(b block) {
	maps.Copy(w.minedBy, b.rival)
	for _, hash := range b.txs {
		operations := w.txs[hash].ops
		if slices.ContainsFunc(operations, func(o common.Hash) bool { return w.elsewhere(o, hash) }) {
			continue
		}
		for _, o := range operations {
			w.minedBy[o] = hash
		}
	}
}

// elsewhere says whether an operation is mined by another transaction than this.
func (w *world) elsewhere(o, hash common.Hash) bool {
	by, mined := w.minedBy[o]
	return mined && by != hash
}

// hit says whether a bundle would revert, or did.
func (w *world) hit(a *Attempt) bool {
	return slices.ContainsFunc(a.Operations, func(o common.Hash) bool { return w.elsewhere(o, a.Hash) })
}

func (w *world) includable(nonce uint64) (common.Hash, bool) {
	var candidates []common.Hash
	for hash, t := range w.txs {
		paid := t.fees.MaxFee.Uint64() >= w.price
		if t.nonce == nonce && paid && (hash == w.waiting[nonce] || w.faulty) {
			candidates = append(candidates, hash)
		}
	}
	if len(candidates) == 0 || w.fault(3, "not included") {
		return common.Hash{}, false
	}
	slices.SortFunc(candidates, common.Hash.Cmp)
	return candidates[w.choose(len(candidates), "included")], true
}

// reorg takes up to three blocks back and makes one more than it took.
func (w *world) reorg() {
	depth := 1 + w.choose(3, "depth")
	if len(w.chain) <= depth+1 {
		return
	}
	w.fork++
	w.doubt = true
	w.number -= uint64(depth)
	for _, b := range w.chain[len(w.chain)-depth:] {
		for _, hash := range b.txs {
			if t := w.txs[hash]; t.id == 0 && t.fees.IsZero() {
				delete(w.txs, hash)
				continue
			}
			w.waiting[w.txs[hash].nonce] = hash
		}
	}
	w.chain = w.chain[:len(w.chain)-depth]
	clear(w.minedBy)
	for _, b := range w.chain {
		w.include(b)
	}
	for range depth + 1 {
		w.mine()
	}
}

func (w *world) head() {
	e := Head{Number: w.number, Hash: w.blockHash()}
	if len(w.m.Watch())+len(w.m.Settled()) > 0 && !w.fault(10, "not looked") {
		o := w.observation()
		e.Observation = &o
	}
	w.moved()
	w.step(e)
}

func (w *world) observation() Observation {
	o := Observation{Nonce: w.nonce()}
	watched := w.m.Watch()
	for _, a := range w.m.Settled() {
		if b, canonical := w.find(a.Hash); !canonical || b.hash != a.MinedHash {
			o.Reorged = append(o.Reorged, a.ID)
			watched = append(watched, a)
		}
	}
	for _, a := range watched {
		hit := w.hit(&a)
		if hit {
			o.Hit = append(o.Hit, a.ID)
		}
		if b, canonical := w.find(a.Hash); canonical {
			o.Mined = append(o.Mined, Mined{Attempt: a.ID, Block: 1, Hash: b.hash, Reverted: hit})
		} else if w.waiting[a.Nonce] != a.Hash && w.fault(3, "said to be dropped") {
			o.Dropped = append(o.Dropped, a.ID)
		}
	}
	return o
}

func (w *world) find(hash common.Hash) (block, bool) {
	for _, b := range w.chain {
		if slices.Contains(b.txs, hash) {
			return b, true
		}
	}
	return block{}, false
}

// crash kills the shell and restores the machine from its record, as it is journaled before each relay.
func (w *world) crash() {
	w.log = append(w.log, "crash")
	if _, ok := w.work.(Submit); ok && w.signed && w.one(2, "relayed before the crash") {
		s := w.work.(Submit)
		a := w.m.attempt(s.Attempt.ID)
		w.relay(a.Hash, &tx{id: a.ID, nonce: a.Nonce, fees: a.Fees, ops: a.Operations})
	}
	w.m = Restore(w.cfg, w.m.Record())
	w.work, w.wait, w.calls = nil, nil, map[CallID]bool{}
	w.handed = map[common.Hash]bool{}
	for op, state := range w.ops {
		if state == opClaimed && !w.m.Holds(op) {
			w.ops[op] = opFree
		}
	}
	w.moved()
	w.check()
}
