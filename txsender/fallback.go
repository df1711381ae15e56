package txsender

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
)

// probeTimeout bounds the request that finds out whether an endpoint is well again: a transaction waits for it.
const probeTimeout = 2 * time.Second

// Target is one of several endpoints that do the same.
type Target struct {
	// Name tells endpoints apart in a [Health] and may be shown: no path, no credentials.
	Name   string
	Sender Sender
}

// Fallback submits to one of several endpoints: to the next one if an endpoint does not answer, or answers what only it may
// think (its pool is full, its policy refuses); or, hedged, also when the answer takes longer than a delay. All get the same
// signed bytes, so that two of them taking the transaction is one transaction.
type Fallback struct {
	targets []Target
	names   []string
	health  *Health
	delay   time.Duration
}

// NewFallback returns a sender over the targets, asked in their order; there must be at least one. A delay above 0 asks the next one
// when the first has not answered for so long. health may be shared, nil is a new one.
func NewFallback(targets []Target, delay time.Duration, health *Health) (*Fallback, error) {
	if len(targets) == 0 {
		return nil, errors.New("fallback: have no endpoint, want at least one")
	}
	if health == nil {
		health = NewHealth()
	}
	f := &Fallback{targets: targets, health: health, delay: delay}
	for _, target := range targets {
		f.names = append(f.names, target.Name)
	}
	return f, nil
}

// Cancellation implements [Sender]: that of the first target, all are of one kind.
func (f *Fallback) Cancellation() Cancellation { return f.targets[0].Sender.Cancellation() }

// Close implements io.Closer.
func (f *Fallback) Close() error {
	var failed []error
	for _, target := range f.targets {
		if closer, ok := target.Sender.(io.Closer); ok {
			failed = append(failed, closer.Close())
		}
	}
	return errors.Join(failed...)
}

// Send implements [Sender].
func (f *Fallback) Send(ctx context.Context, tx *types.Transaction) Answer {
	return f.SendHinted(ctx, tx, Hints{})
}

// SendHinted implements [Hinted]. It returns when an endpoint has the transaction, or when no endpoint that was asked can still
// say so.
//
// Where nobody took it for sure, the answer is Unknown if it may have arrived anywhere, even if another endpoint refused it:
// what may be mined is never called refused.
func (f *Fallback) SendHinted(ctx context.Context, tx *types.Transaction, hints Hints) Answer {
	ctx, cancel := context.WithCancel(ctx)
	order := f.health.order(f.names)
	answers := make(chan Answer, len(order)) // nobody blocks on it
	asked, open := 0, 0
	next := func() {
		target := f.targets[order[asked]]
		asked++
		open++
		go func() { answers <- f.ask(ctx, target, tx, hints) }()
	}
	defer func() { // the requests that are no longer needed end now, and are waited for
		cancel()
		for range open {
			<-answers
		}
	}()
	next()
	late, stop := f.hedge()
	defer stop()
	var outcome tally
	for {
		select {
		case answer := <-answers:
			open--
			if answer.Class.Taken() {
				return answer
			}
			outcome.add(answer)
			if asked < len(order) && !outcome.judged && ctx.Err() == nil {
				next()
			}
		case <-late:
			if asked < len(order) && !outcome.judged {
				next()
			}
		}
		if open == 0 {
			return outcome.answer()
		}
	}
}

// hedge returns a channel that ticks each delay, or one that never does.
func (f *Fallback) hedge() (<-chan time.Time, func()) {
	if f.delay <= 0 {
		return nil, func() {}
	}
	ticker := time.NewTicker(f.delay)
	return ticker.C, ticker.Stop
}

// ask asks one endpoint and remembers whether it answered.
func (f *Fallback) ask(ctx context.Context, target Target, tx *types.Transaction, hints Hints) Answer {
	limited := ctx
	if f.health.probe(target.Name) {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, probeTimeout)
		defer cancel()
	}
	answer := Send(limited, target.Sender, tx, hints)
	switch {
	case answer.Reach == Answered:
		f.health.answered(target.Name)
	case errors.Is(ctx.Err(), context.Canceled): // we did not wait for it
		f.health.left(target.Name)
	default:
		f.health.failed(target.Name)
	}
	return answer
}

// tally sums up the answers of endpoints that did not take a transaction.
type tally struct {
	first  *Answer // of those that were answered or surely not sent
	maybe  *Answer // the transaction may have arrived
	judged bool    // refused for a reason that every endpoint has: no use in asking another one
}

func (t *tally) add(answer Answer) {
	switch {
	case answer.Class == Unknown && answer.Reach != NotSent:
		if t.maybe == nil {
			t.maybe = &answer
		}
	case t.first == nil, t.first.Reach == NotSent && answer.Reach != NotSent:
		t.first = &answer
	}
	t.judged = t.judged || !local(answer)
}

func (t *tally) answer() Answer {
	if t.maybe != nil {
		return *t.maybe
	}
	return *t.first
}

// local reports whether another endpoint may well answer something else.
func local(answer Answer) bool {
	switch answer.Class {
	case Unknown, PoolFull, FeeCapExceeded, Rejected:
		return true
	case Accepted, AlreadyKnown, ReplacementUnderpriced, Underpriced, BelowBaseFee, NonceTooLow, NonceTooHigh, InsufficientFunds,
		GasLimitTooHigh, IntrinsicGasTooLow, ConditionNotMet:
		return false
	default:
		return true
	}
}
