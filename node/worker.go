package node

import (
	"context"
	"math/big"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"baler/bundlesender"
	"baler/chain"
	"baler/event"
	"baler/journal"
	"baler/proposer"
	"baler/signer"
	"baler/store"
	"baler/txsender"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// worker runs one bundle sender: it feeds the machine with events, one after the other, and carries out the effects.
// Effects that take time run beside the loop and come back as events, so a head is never kept waiting by a proposal.
type worker struct {
	node     *Node
	key      signer.Signer
	builder  string // the pool's name for this worker
	lease    Lease  // nil: the key is this process's alone
	journal  *store.Journal
	machine  *bundlesender.Machine
	proposer *proposer.Proposer
	market   *market
	errands  *mailbox[errand] // at the pool of another process; nil: the pool is this process's
	inbox    *mailbox[message]
	interval *time.Timer // bundle_max_send_interval_millis; nil: off

	tasks     sync.WaitGroup // effects that take time
	aborts    map[bundlesender.Seq]context.CancelFunc
	bundles   map[bundlesender.Seq]*proposer.Bundle
	sent      map[bundlesender.AttemptID]signedTx // may be relayed again
	missed    map[common.Hash]int                 // heads in a row at which the node did not know a transaction
	mined     map[common.Hash]*chain.Receipt      // until settled
	calls     map[bundlesender.CallID]chan<- manualAnswer
	nextID    bundlesender.CallID
	looked    bool                   // for foreign transactions, since something last hinted at them
	ahead     *observation           // asked for before its head; nil: none
	gap       bool                   // blocks may have left the chain unseen
	resumed   []common.Hash          // what the journal told that its transactions hold
	journaled func()                 // of the bundle that is being stepped
	last      []func()               // what the effects of a step leave to do that none of them waits for
	observed  *bundlesender.Observed // asked for by the step under way; it is the next step
	failed    error                  // the journal takes nothing more
	lost      bool                   // the key is not ours any more

	unbooked []bundlesender.Attempt // mined before this process was there, and perhaps not in the books
	unmined  []bundlesender.Attempt // not mined when this process began, and perhaps in the books
	recounts int                    // heads at which receipts of these were asked for

	draining atomic.Bool   // nothing new is begun
	ended    chan struct{} // closed when no call is answered any more

	racedTries   int // bundles that went by the route for raced operations since one of them was mined
	contradicted int // looks in a row at which the node was behind with its receipts

	status struct { // a copy for readers outside the loop
		sync.Mutex
		bundlesender.Status
		recent *journal.Excerpt // the end of the journal
	}
}

// message is one item of a worker's inbox: an event, or something that becomes one in the loop.
type message struct {
	event  bundlesender.Event
	bundle *proposer.Bundle // with BundleReady
	signed signedTx         // with Signed
	head   *chain.Update
	coming *types.Header // the head that will follow, when the pool has taken its block in
	call   chan<- manualAnswer
	resume bool // the pool asks what the sender holds

	unclear   bool   // with Submitted: the node answered, and nobody understood
	journaled func() // with BundleReady: to be called when the bundle is in the journal, or will not be
}

// signedTx is a transaction as it was sent, and the hints it was sent with.
type signedTx struct {
	tx    *types.Transaction // nil: it is mined, and the journal has it for as long as a reorg may bring it back
	nonce uint64
	gas   uint64 // limit
	hints txsender.Hints
	route route

	expected *big.Int // profit in wei; nil: it was sent before a restart, or is a cancellation

	unclear bool // the node answered, and nobody understood
	learnt  bool // what rivals took of it is known
}

// manualAnswer is the outcome of debug_bundler_sendBundleNow.
type manualAnswer struct {
	hash common.Hash
	err  error
}

func newWorker(n *Node, held *HeldKey) (*worker, error) {
	key := held.Signer
	journal, err := held.Store.Journal(key.Address())
	if err != nil {
		return nil, err
	}
	proposals := n.config.Proposer
	proposals.Shard = n.config.Shards.of(n.keys.position(key.Address()))
	builder := key.Address().Hex()
	offers := &market{port: n.port, seen: n.seen, builder: builder, size: n.books.setSize}
	w := &worker{
		journal: journal, lease: held.Lease, ended: make(chan struct{}),
		node: n, key: key, builder: builder, market: offers,
		machine:  bundlesender.New(n.config.Sender),
		proposer: proposer.New(offers, n.validator, proposals),
		inbox:    newMailbox[message](),
		aborts:   make(map[bundlesender.Seq]context.CancelFunc),
		bundles:  make(map[bundlesender.Seq]*proposer.Bundle),
		sent:     make(map[bundlesender.AttemptID]signedTx),
		missed:   make(map[common.Hash]int),
		mined:    make(map[common.Hash]*chain.Receipt),
		calls:    make(map[bundlesender.CallID]chan<- manualAnswer),
	}
	if n.remote() {
		w.errands = newMailbox[errand]()
	}
	w.status.Status = w.machine.Status()
	return w, nil
}

// resume goes on from where the journal ends: the machine with its counters, and the signed transactions that may still
// be mined. What happened to them meanwhile is asked of the chain at the first head.
func (w *worker) resume(ctx context.Context) error {
	resumed, err := w.journal.Resume(ctx, w.node.config.Sender)
	if err != nil {
		return err
	}
	w.machine = resumed.Machine
	w.status.Lock()
	w.status.Status, w.status.recent = w.machine.Status(), resumed.Recent
	w.status.Unlock()
	w.resumed, w.unbooked, w.unmined = w.carries(), w.machine.Settled(), w.machine.Watch()
	for id, tx := range resumed.Signed {
		w.sent[id] = signedTx{tx: tx, nonce: tx.Nonce(), gas: tx.Gas(), route: w.node.routeNamed(resumed.Routes[id])}
	}
	for _, mined := range w.unbooked {
		w.shelve(mined.ID)
	}
	if live := len(w.machine.Watch()); !resumed.Fresh && live > 0 {
		w.node.log.Info("resuming live transactions from the journal", "signer", w.builder, "transactions", live, "state", w.machine.State())
	}
	if resumed.Difference != nil {
		w.alert("journal of another version", "the journal was written by another version; counters may differ, transactions do not")
	}
	return nil
}

// run is the worker's loop. It returns when the context has ended, the key is lost or drained, and every effect under way has come
// back. An error says that the journal takes nothing more: then the effects of its last step were not carried out.
func (w *worker) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		w.tasks.Wait()
		w.answerRest(ctx)
	}()
	if w.errands != nil {
		w.task(func() { w.runErrands(ctx) })
	}
	var lost <-chan struct{}
	if w.lease != nil {
		lost = w.lease.Lost()
	}
	var elapsed <-chan time.Time
	if every := w.node.config.BundleInterval; every > 0 {
		w.interval = time.NewTimer(every)
		defer w.interval.Stop()
		w.interval.Stop()
		elapsed = w.interval.C
	}
	started := w.node.started
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-lost:
			w.lose(ctx)
			return ErrLeaseLost
		case <-w.inbox.ready:
			for _, m := range w.inbox.take() {
				w.handle(ctx, m)
			}
		case <-started: // there is no head to act at before
			started = nil
			w.restartInterval()
		case <-elapsed:
			w.restartInterval()
			w.step(ctx, bundlesender.IntervalElapsed{})
		}
		if w.failed != nil {
			w.lose(ctx)
			return w.failed
		}
		if w.drained() {
			return nil
		}
	}
}

func (w *worker) post(e bundlesender.Event) { w.inbox.post(message{event: e}) }

func (w *worker) handle(ctx context.Context, m message) {
	switch {
	case m.head != nil:
		w.onHead(ctx, *m.head)
		return
	case m.coming != nil:
		w.lookAhead(ctx, m.coming.Hash())
		return
	case m.call != nil:
		w.nextID++
		w.calls[w.nextID] = m.call
		w.step(ctx, bundlesender.SendNow{Call: w.nextID})
		return
	case m.resume:
		w.sayHeld(ctx)
		return
	}
	switch e := m.event.(type) {
	case bundlesender.BundleReady:
		w.endProposal(e.Seq)
		w.bundles[e.Seq], w.journaled = m.bundle, m.journaled
		w.step(ctx, e)
		delete(w.bundles, e.Seq) // Submit has taken it, or it was stale
		if w.journaled != nil {
			w.journaled()
			w.journaled = nil
		}
		return
	case bundlesender.NothingToSend:
		w.endProposal(e.Seq)
	case bundlesender.Signed:
		m.signed.nonce, m.signed.gas = m.signed.tx.Nonce(), m.signed.tx.Gas()
		w.sent[e.Attempt] = m.signed
	case bundlesender.Submitted:
		if signed, ok := w.sent[e.Attempt]; ok && m.unclear {
			signed.unclear = true
			w.sent[e.Attempt] = signed
		}
	default: // means something to the machine only
	}
	w.step(ctx, m.event)
}

func (w *worker) endProposal(seq bundlesender.Seq) {
	if cancel := w.aborts[seq]; cancel != nil {
		cancel()
		delete(w.aborts, seq)
	}
}

// step hands one event to the machine, writes both it and the effects down, and carries the effects out in order.
func (w *worker) step(ctx context.Context, e bundlesender.Event) {
	if w.failed != nil && !w.lost {
		return
	}
	var effects []bundlesender.Effect
	if w.lost { // the journal is the next holder's
		effects = w.machine.Step(e)
	} else {
		var err error
		if effects, err = w.journal.Step(ctx, w.machine, e); err != nil {
			w.failed = err
			return
		}
		w.node.config.Boundary("step written")
		w.looked = w.looked && !hintsAtForeign(e, effects)
	}
	for _, effect := range effects {
		w.do(ctx, effect)
	}
	for _, last := range w.last {
		last()
	}
	clear(w.last)
	w.last = w.last[:0]
	w.note(e, effects)
	if observed := w.observed; observed != nil { // goes before what waits: a head in between may settle, or take back, what it has seen
		w.observed = nil
		w.step(ctx, *observed)
	}
}

// note writes down for whoever asks what a step has done.
func (w *worker) note(e bundlesender.Event, effects []bundlesender.Effect) {
	now := w.machine.Status()
	w.status.Lock()
	defer w.status.Unlock()
	if w.status.recent != nil {
		w.status.recent.See(journal.Moment{Entry: journal.Entry{Body: journal.Step{Event: e, Effects: effects}}, Before: w.status.Status, After: now})
	}
	w.status.Status = now
}

// lines returns the end of the journal in words.
func (w *worker) lines() []journal.Line {
	w.status.Lock()
	defer w.status.Unlock()
	if w.status.recent == nil {
		return nil // it has not begun yet
	}
	return w.status.recent.Lines()
}

// current returns the machine's status as of its last step.
func (w *worker) current() bundlesender.Status {
	w.status.Lock()
	defer w.status.Unlock()
	return w.status.Status
}

// task runs an effect that takes time.
func (w *worker) task(run func()) { w.tasks.Go(run) }

func (w *worker) restartInterval() {
	if w.interval != nil {
		w.interval.Reset(w.node.config.BundleInterval)
	}
}

// onHead looks at what the head says about the key's transactions, if any wait, and steps the machine.
func (w *worker) onHead(ctx context.Context, update chain.Update) {
	head := bundlesender.Head{Number: update.Head.Number.Uint64(), Hash: update.Head.Hash()}
	w.strikeUnmined(ctx)
	w.extendClaims(ctx, head.Number)
	w.forgetSuspects(ctx)
	reorged := w.reorged(ctx, update)
	// Catching up after an outage, only the newest head is looked at: what an older one says is told again by it, and an
	// answer about the past would look like a nonce that went back.
	newest := head.Number >= w.node.head.Load().number()
	if !w.looked || len(reorged) > 0 || newest && len(w.machine.Watch()) > 0 {
		observation, err := w.observe(ctx, head, reorged)
		if ctx.Err() != nil {
			return // the end, not the node's failure
		}
		if err != nil {
			w.node.log.Warn("looking for our transactions failed", "signer", w.builder, "block", head.Number, "err", err)
			w.gap = w.gap || len(reorged) > 0 // what left the chain is found again at the next head
		}
		head.Observation = observation
	}
	head.Keep = w.gap || len(w.unbooked) > 0 || w.node.port.Untold()
	w.step(ctx, head)
	w.lookForForeign(ctx)
	w.recount(ctx, head.Hash)
}

// reorged returns the settled attempts whose block has left the chain.
func (w *worker) reorged(ctx context.Context, update chain.Update) []bundlesender.AttemptID {
	w.gap = w.gap || update.Gap
	settled := w.machine.Settled()
	if w.gap && len(settled) > 0 {
		return w.vanished(ctx, update.Head.Hash(), settled)
	}
	w.gap = false
	var ids []bundlesender.AttemptID
	for _, attempt := range settled {
		if slices.ContainsFunc(update.Removed, func(h *types.Header) bool { return h.Hash() == attempt.MinedHash }) {
			ids = append(ids, attempt.ID)
		}
	}
	return ids
}

// vanished asks for the settled attempts' receipts: which blocks left the chain before this head is not known.
func (w *worker) vanished(ctx context.Context, head common.Hash, settled []bundlesender.Attempt) []bundlesender.AttemptID {
	hashes := make([]common.Hash, len(settled))
	for i, attempt := range settled {
		hashes[i] = attempt.Hash
	}
	seen, err := w.node.chain.Observe(ctx, head, w.key.Address(), hashes)
	if err != nil {
		w.node.log.Warn("looking for settled transactions failed; it is tried again at the next head", "signer", w.builder, "err", err)
		return nil
	}
	w.gap = false
	var ids []bundlesender.AttemptID
	for _, attempt := range settled {
		if receipt := seen.Receipts[attempt.Hash]; receipt == nil || receipt.BlockHash != attempt.MinedHash {
			ids = append(ids, attempt.ID)
		}
	}
	return ids
}

// observe asks the chain, pinned to a block, about the key and every transaction that may be mined.
func (w *worker) observe(ctx context.Context, at bundlesender.Head, reorged []bundlesender.AttemptID) (*bundlesender.Observation, error) {
	watched := w.machine.Watch()
	for _, attempt := range w.machine.Settled() { // a revived transaction may be in the new branch already
		if slices.Contains(reorged, attempt.ID) {
			watched = append(watched, attempt)
		}
	}
	hashes := make([]common.Hash, len(watched))
	for i, attempt := range watched {
		hashes[i] = attempt.Hash
	}
	seen, err := w.seenAt(ctx, at.Hash, hashes)
	if err != nil {
		return nil, err
	}
	if err := w.orphaned(ctx, at, watched, seen); err != nil {
		return nil, err
	}
	if w.behind(watched, seen) {
		return nil, errBehind
	}
	observation := &bundlesender.Observation{Nonce: seen.Nonce, Reorged: reorged}
	for _, attempt := range watched {
		receipt := seen.Receipts[attempt.Hash]
		// A receipt from a block after this one would be ahead of the nonce read here: the next head brings it.
		if receipt != nil && attempt.Nonce < seen.Nonce {
			w.mined[attempt.Hash] = receipt
			observation.Mined = append(observation.Mined, bundlesender.Mined{
				Attempt: attempt.ID, Block: receipt.BlockNumber.Uint64(), Hash: receipt.BlockHash,
				Reverted: receipt.Status == types.ReceiptStatusFailed,
			})
			continue
		}
		if w.node.history.elsewhere(attempt.Operations, attempt.Hash) {
			observation.Hit = append(observation.Hit, attempt.ID)
			if !w.sent[attempt.ID].learnt {
				_, _ = w.learnOfRivals(ctx, attempt.ID, attempt.Operations, attempt.Hash) // asked again at the next head
			}
		}
	}
	observation.Dropped = w.dropped(ctx, watched, seen)
	return observation, nil
}

// dropped returns the newest waiting transaction if the relay says that it is gone, or if a node with a public mempool
// has not known it at two heads in a row. At the first of them the same bytes are sent again: a node forgets what it took
// under load or over a restart. Older ones were replaced, so that the node does not know them says nothing.
func (w *worker) dropped(ctx context.Context, watched []bundlesender.Attempt, seen *chain.Observation) []bundlesender.AttemptID {
	var newest *bundlesender.Attempt
	for i, attempt := range watched {
		if attempt.Nonce == seen.Nonce && attempt.Status != bundlesender.StatusDropped {
			newest = &watched[i]
		}
	}
	if newest == nil || seen.Known[newest.Hash] {
		clear(w.missed)
		return nil
	}
	if by := w.routeOf(newest.ID); by.private {
		return w.withdrawn(ctx, by, newest)
	}
	w.missed[newest.Hash]++
	if w.missed[newest.Hash] > 1 {
		if newest.Kind == bundlesender.KindBundle && w.sent[newest.ID].unclear {
			// The node has never had it: what it answered, and nobody understood, was a refusal.
			w.node.suspicion.refused(w.builder, newest.Operations, w.node.head.Load().number())
		}
		return []bundlesender.AttemptID{newest.ID}
	}
	w.relayAgain(ctx, newest.ID)
	return nil
}

// withdrawn asks the relay, where it can be asked, whether it has given a transaction up. That the node does not know a
// private transaction says nothing.
func (w *worker) withdrawn(ctx context.Context, by route, attempt *bundlesender.Attempt) []bundlesender.AttemptID {
	reporter, ok := by.sender.(txsender.StatusReporter)
	if !ok {
		return nil
	}
	status, err := reporter.Status(ctx, attempt.Hash)
	if err != nil {
		w.node.log.Warn("asking the relay for a transaction's status failed", "signer", w.builder, "err", err)
		return nil
	}
	if !status.Gone() {
		return nil
	}
	return []bundlesender.AttemptID{attempt.ID}
}

// extendClaims keeps the operations of live attempts claimed: the claims' end is for builders that died.
func (w *worker) extendClaims(ctx context.Context, block uint64) {
	held := w.machine.Held()
	if len(held) == 0 {
		return
	}
	carries := w.carries()
	w.ask(ctx, errand{what: "prolonging claims", lapses: true, run: func(ctx context.Context) error {
		return w.present(ctx, held, carries, block+claimBlocks)
	}})
}

// forgetSuspects drops what all senders remember of operations that are not in the pool any more, where that costs a question.
func (w *worker) forgetSuspects(ctx context.Context) {
	if w.errands != nil {
		w.ask(ctx, errand{what: "asking for suspects", lapses: true, run: w.node.forgetSuspects})
	}
}

// carries returns the operations that are the sender's: in transactions that may be mined, and in those that are, as long as a reorg may
// take their blocks back, or the pool may not have seen them.
func (w *worker) carries() []common.Hash {
	return append(w.machine.Held(), w.machine.Mined()...)
}

// backoffTime is how long the n-th wait in a row takes: 100 ms, doubled each time, at most 10 s, and up to half of it
// less by chance, so that senders that failed together do not try again together.
func backoffTime(n int) time.Duration {
	full := min(100*time.Millisecond<<min(max(n, 1)-1, 10), 10*time.Second)
	return full - rand.N(full/2+1)
}

func (w *worker) alert(kind, text string) {
	w.node.sink(event.Alert{Signer: w.key.Address(), Kind: kind, Text: text})
}
