package funding

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"sync"
	"time"

	"baler/bundlesender"
	"baler/chain"
	"baler/event"
	"baler/gas"
	"baler/signer"
	"baler/store"
	"baler/txsender"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

// Config is what a payer is made of.
type Config struct {
	ChainID *big.Int
	Rules   *params.ChainConfig
	Key     signer.Signer
	Journal *store.Journal // nil: nothing is kept
	Chain   *chain.Client
	Relay   txsender.Sender
	Plan    Plan
	Machine bundlesender.Config

	MinPriorityFee, MaxPriorityFee uint256.Int // wei per gas; see chain.FeePolicy
	BaseFeeOverheadPercent         uint64
	MaxFeePerGas                   uint256.Int // wei per gas; 0: no ceiling

	Valid func() bool // whether the key may be used at this moment; nil: always
	// Once ends Run when nothing is left to be paid, and no transaction may be mined any more.
	Once     bool
	Sink     event.Sink
	Log      *slog.Logger
	Boundary func(name string) // see node.Config.Boundary; nil: nobody is told
}

// Payer runs the machine of one key that pays.
type Payer struct {
	config  Config
	address common.Address
	machine *bundlesender.Machine
	inbox   chan message
	heads   headQueue

	tasks     sync.WaitGroup
	abort     context.CancelFunc // of the proposal under way
	head      *types.Header
	payments  map[bundlesender.Seq]*Payment
	sent      map[bundlesender.AttemptID]sent
	mined     map[common.Hash]*chain.Receipt
	missed    map[common.Hash]int
	reverts   uint64 // in a row
	resting   uint64 // block before which nothing is begun, after reverts
	satisfied bool   // the plan had nothing to pay at the last look
	failed    error
	stuck     error // with Config.Once: why what is left is not paid
}

type sent struct {
	tx     *types.Transaction
	bundle bool // no payment: it was sent by a bundle sender before
}

// message is what comes back from an effect.
type message struct {
	event   bundlesender.Event
	payment *Payment // with BundleReady
	sent    sent     // with Signed
	why     error    // with NothingToSend: what stands in the way, until somebody does something
}

// New makes a payer.
func New(c Config) *Payer {
	if c.Valid == nil {
		c.Valid = func() bool { return true }
	}
	if c.Boundary == nil {
		c.Boundary = func(string) {}
	}
	c.Machine.Manual = false
	return &Payer{
		config: c, address: c.Key.Address(), inbox: make(chan message, 64), heads: newHeadQueue(),
		payments: make(map[bundlesender.Seq]*Payment), sent: make(map[bundlesender.AttemptID]sent),
		mined: make(map[common.Hash]*chain.Receipt), missed: make(map[common.Hash]int),
	}
}

// Head tells the payer of a step of the chain. It never waits.
func (p *Payer) Head(update *chain.Update) { p.heads.post(update) }

// Run pays until the context ends, or with Config.Once until there is nothing to do. An error is the journal's: then the last
// step's effects were not carried out.
func (p *Payer) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer p.tasks.Wait()
	defer cancel()
	if err := p.resume(ctx); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.heads.ready:
			for _, update := range p.heads.take() {
				p.onHead(ctx, update)
			}
		case m := <-p.inbox:
			p.handle(ctx, m)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case p.failed != nil:
			return p.failed
		case p.stuck != nil:
			return p.stuck
		case p.config.Once && p.done():
			return nil
		}
	}
}

// done reports whether nothing is left to do.
func (p *Payer) done() bool {
	return p.satisfied && p.head != nil && len(p.machine.Watch()) == 0 && p.machine.Status().InFlight == ""
}

func (p *Payer) resume(ctx context.Context) error {
	resumed, err := p.config.Journal.Resume(ctx, p.config.Machine)
	if err != nil {
		return err
	}
	p.machine = resumed.Machine
	for id, tx := range resumed.Signed {
		p.sent[id] = sent{tx: tx, bundle: resumed.Routes[id] != route}
	}
	if live := len(p.machine.Watch()); live > 0 {
		p.config.Log.Info("resuming payments from the journal", "payer", p.address, "transactions", live)
	}
	return nil
}

func (p *Payer) handle(ctx context.Context, m message) {
	switch e := m.event.(type) {
	case bundlesender.BundleReady:
		p.satisfied = false
		p.payments[e.Seq] = m.payment
		defer delete(p.payments, e.Seq)
	case bundlesender.NothingToSend:
		p.satisfied = e.Reason == bundlesender.NoOperations
		if p.config.Once && len(p.machine.Watch()) == 0 {
			p.stuck = m.why
		}
	case bundlesender.Signed:
		p.sent[e.Attempt] = m.sent
	default: // means something to the machine only
	}
	p.step(ctx, m.event)
}

func (p *Payer) step(ctx context.Context, e bundlesender.Event) {
	if p.failed != nil {
		return
	}
	effects, err := p.config.Journal.Step(ctx, p.machine, e)
	if err != nil {
		p.failed = err
		return
	}
	for _, effect := range effects {
		p.do(ctx, effect)
	}
}

// post brings an answer back into the loop.
func (p *Payer) post(ctx context.Context, m message) {
	select {
	case p.inbox <- m:
	case <-ctx.Done():
	}
}

// do carries out one effect of the machine.
func (p *Payer) do(ctx context.Context, effect bundlesender.Effect) {
	switch e := effect.(type) {
	case bundlesender.Propose:
		p.propose(ctx, e)
	case bundlesender.Abort:
		if p.abort != nil {
			p.abort()
		}
	case bundlesender.Submit:
		payment := p.payments[e.Seq]
		p.tasks.Go(func() { p.submit(ctx, e.Attempt, payment) })
	case bundlesender.Cancel:
		head := p.head
		p.tasks.Go(func() { p.cancel(ctx, e, head) })
	case bundlesender.Observe:
		p.answerObserve(ctx, e)
	case bundlesender.Settle:
		p.settle(e)
	case bundlesender.Revive:
		p.relayAgain(ctx, e.Attempt)
	case bundlesender.Forget:
		for _, id := range e.Attempts {
			delete(p.sent, id)
		}
	case bundlesender.Backoff:
		p.tasks.Go(func() {
			if wait(ctx, min(time.Second<<min(e.Attempt, 6), time.Minute)) {
				p.post(ctx, message{event: bundlesender.Retry{Seq: e.Seq}})
			}
		})
	case bundlesender.Alert:
		p.config.Sink(event.Alert{Signer: p.address, Kind: e.Kind.String(), Text: "funding: " + e.Kind.String()})
	case bundlesender.Moved:
		p.config.Sink(event.SenderMoved{
			Signer: p.address, From: e.From.String(), To: e.To.String(), Cause: e.Cause.String(), Block: p.machine.Status().Head,
		})
	case bundlesender.Release, bundlesender.ManualDone: // nobody waits for these
	}
}

// propose asks the plan, beside the loop.
func (p *Payer) propose(ctx context.Context, e bundlesender.Propose) {
	nothing := func(reason bundlesender.NothingReason) message {
		return message{event: bundlesender.NothingToSend{Seq: e.Seq, Reason: reason}}
	}
	head, urgent := p.head, len(p.machine.Watch()) > 0
	resting := head == nil || head.Number.Uint64() < p.resting && !urgent
	ctx, p.abort = context.WithCancel(ctx)
	cancel := p.abort
	p.tasks.Go(func() {
		defer cancel()
		if resting {
			p.post(ctx, nothing(bundlesender.ProposerError))
			return
		}
		payment, err := p.payment(ctx, head, e.Floor, urgent)
		answer := nothing(bundlesender.NoOperations)
		switch {
		case errors.Is(err, errTooDear):
			p.config.Log.Warn("a payment waits for lower fees", "payer", p.address, "err", err)
			answer = nothing(bundlesender.WouldLose)
			answer.why = err
		case errors.Is(err, ErrPayerCannotPay):
			p.config.Log.Warn("a payment waits for funds", "payer", p.address, "err", err)
			answer = nothing(bundlesender.SignerCannotPay)
			answer.why = err
		case err != nil:
			if ctx.Err() == nil {
				p.config.Log.Warn("planning a payment failed", "payer", p.address, "err", err)
			}
			answer = nothing(bundlesender.ProposerError)
		case payment != nil:
			answer = message{payment: payment, event: bundlesender.BundleReady{
				Seq: e.Seq, Fees: payment.Fees, GasLimit: payment.GasLimit, Operations: payment.identities(p.address, e.Nonce),
			}}
		}
		p.post(context.WithoutCancel(ctx), answer) // an aborted proposal is answered too
	})
}

// Preview returns what would be paid after a head; nil: nothing. It signs nothing.
func (p *Payer) Preview(ctx context.Context, head *types.Header) (*Payment, error) {
	return p.payment(ctx, head, gas.Fees{}, true)
}

var errTooDear = errors.New("the fees are over the ceiling")

// payment plans with the fees of the next block, at least the floor.
func (p *Payer) payment(ctx context.Context, head *types.Header, floor gas.Fees, urgent bool) (*Payment, error) {
	fees, err := p.fees(ctx, head, floor)
	if err != nil {
		return nil, err
	}
	return p.config.Plan.Next(ctx, Occasion{Payer: p.address, Block: head, Fees: fees, Urgent: urgent})
}

// fees are what a payment offers after a head, at least the floor, in wei per gas.
func (p *Payer) fees(ctx context.Context, head *types.Header, floor gas.Fees) (gas.Fees, error) {
	baseFee, err := gas.NextBaseFee(p.config.Rules, head)
	if err != nil {
		return gas.Fees{}, err
	}
	priority, err := p.config.Chain.PriorityFee(ctx, head, chain.FeePolicy{Minimum: p.config.MinPriorityFee, Maximum: p.config.MaxPriorityFee})
	if err != nil {
		return gas.Fees{}, err
	}
	fees := gas.BundleFees(baseFee, priority, floor, p.config.BaseFeeOverheadPercent, 0)
	if ceiling := p.config.MaxFeePerGas; !ceiling.IsZero() && fees.MaxFee.Gt(&ceiling) {
		return fees, fmt.Errorf("%w: have %s wei, want at most %s", errTooDear, fees.MaxFee.Dec(), ceiling.Dec())
	}
	return fees, nil
}

func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// headQueue holds the heads that were not looked at yet.
type headQueue struct {
	mu    *sync.Mutex
	queue *[]*chain.Update
	ready chan struct{}
}

func newHeadQueue() headQueue {
	return headQueue{&sync.Mutex{}, new([]*chain.Update), make(chan struct{}, 1)}
}

func (q headQueue) post(update *chain.Update) {
	q.mu.Lock()
	*q.queue = append(*q.queue, update)
	q.mu.Unlock()
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

func (q headQueue) take() []*chain.Update {
	q.mu.Lock()
	defer q.mu.Unlock()
	updates := *q.queue
	*q.queue = nil
	return updates
}
