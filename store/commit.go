package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/common"
)

// Bounds of one transaction, so that no caller waits for a huge one, and of what may be queued without anybody waiting.
const (
	maxTransactionCalls = 1024
	maxTransactionBytes = 8 << 20
	maxQueuedCalls      = 16 * maxTransactionCalls
)

// What may be overtaken is written a few calls at a time, so that whoever hands over something else waits for no more than that: fewer
// beside what somebody waits for, more when nobody does, and the more of them the more wait.
const (
	laterBeside = 4
	laterAlone  = 16
	laterShare  = 32 // one of so many that wait, at least

	maxHeldBack = maxQueuedCalls / 4 // calls that are kept waiting for something that is expected
)

// Write is a change of the store, made by the functions of this package that say what they write.
type Write struct {
	apply   func(*Store, transaction) error
	bytes   int           // about
	changes []change      // all that it does; nil: what it does only a transaction shows
	about   []common.Hash // operations whose records it changes, as far as known without applying it
	all     bool          // it may change the records of any operation
	err     error         // it could not be made
}

// waiting is what one call handed over.
type waiting struct {
	writes []Write
	bytes  int
	done   chan error // nil: nobody waits for it
	later  bool       // others may overtake it
	quiet  bool       // the committer is not woken for it
	logged *accepted  // it is made durable by the log too; nil: it is not
}

func (w waiting) answer(err error) {
	if w.done != nil {
		w.done <- err // has room for it
	}
}

// Stats counts what the store did since it was opened.
type Stats struct {
	Calls        uint64 // of Commit and Enqueue, made durable
	Transactions uint64 // each with one fsync of its data
}

// Stats returns the counters.
func (s *Store) Stats() Stats {
	if s == nil {
		return Stats{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Commit makes the writes durable, all or none, after everything that was handed over before, and returns then. If the
// context ends first, whether they are durable is unknown. It waits for [Store.Run].
//
// Errors: the context's, ErrEnded, ErrReadOnly, or what made the store fail.
func (s *Store) Commit(ctx context.Context, writes ...Write) error { return s.begin(writes...)(ctx) }

// Flush returns when everything that was handed over before is durable, but for what [Store.EnqueueLater] was given. Errors: as Commit's.
func (s *Store) Flush(ctx context.Context) error {
	return s.Commit(ctx, Write{apply: func(*Store, transaction) error { return nil }})
}

// begin is the first step of Commit: when it returns the writes
// are handed over, and the function it returns waits for them.
func (s *Store) begin(writes ...Write) (wait func(context.Context) error) {
	if s == nil || len(writes) == 0 {
		return func(context.Context) error { return nil }
	}
	done := make(chan error, 1)
	if err := s.hand(waiting{writes: writes, done: done}); err != nil {
		return func(context.Context) error { return err }
	}
	return func(ctx context.Context) error {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return fmt.Errorf("waiting for the store: %w", ctx.Err())
		}
	}
}

// Enqueue hands the writes over, all or none, and does not wait for them to be durable unless very many wait already. They
// will be before anything that is handed over later.
func (s *Store) Enqueue(ctx context.Context, writes ...Write) error {
	return s.enqueue(ctx, waiting{writes: writes})
}

// EnqueueQuietly is [Store.Enqueue] for a caller who is going to commit something soon: no transaction is begun for these writes alone,
// which that commit would have to wait for. What is handed over next, whatever it is, takes them along.
func (s *Store) EnqueueQuietly(ctx context.Context, writes ...Write) error {
	return s.enqueue(ctx, waiting{writes: writes, quiet: true})
}

func (s *Store) enqueue(ctx context.Context, w waiting) error {
	if s == nil || len(w.writes) == 0 {
		return nil
	}
	s.mu.Lock()
	full := len(s.queue) >= maxQueuedCalls
	s.mu.Unlock()
	if full {
		return s.Commit(ctx, w.writes...)
	}
	return s.hand(w)
}

// EnqueueLater is [Store.Enqueue] for what nobody waits for, such as the history of what was mined: whatever is handed over afterwards may
// become durable before it, unless it is about one of the same operations. Among themselves such calls keep their order.
func (s *Store) EnqueueLater(ctx context.Context, writes ...Write) error {
	if s == nil || len(writes) == 0 {
		return nil
	}
	s.mu.Lock()
	full := len(s.later) >= maxQueuedCalls
	s.mu.Unlock()
	if full {
		return s.Commit(ctx, writes...)
	}
	return s.hand(waiting{writes: writes, later: true})
}

// Expect says that something is going to be committed soon, and that somebody waits for it: until met is called, no transaction is begun for
// what may be overtaken alone, which that commit would have to wait for, unless very much of it waits. met may be called more than once.
func (s *Store) Expect() (met func()) {
	if s == nil {
		return func() {}
	}
	s.mu.Lock()
	s.expected++
	s.mu.Unlock()
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.expected--; s.expected == 0 && len(s.later) > 0 {
			s.awaken()
		}
	})
}

func (s *Store) hand(w waiting) error {
	for _, write := range w.writes {
		if write.err != nil {
			return write.err
		}
		w.bytes += write.bytes
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.readOnly:
		return ErrReadOnly
	case s.failed != nil:
		return s.failed
	case s.ended:
		return ErrEnded
	}
	s.line(w)
	if w.logged != nil {
		s.log.line(w.logged)
		if s.unwritten++; s.unwritten < maxUnwritten {
			return nil // it goes with the next transaction that is needed
		}
	}
	if !w.quiet {
		s.awaken()
	}
	return nil
}

// awaken has the committer look at what there is to do.
func (s *Store) awaken() {
	select {
	case s.awakened <- struct{}{}:
	default: // it is awake
	}
}

// fail ends the store: nothing more is taken, and who waits for the committer is told.
func (s *Store) fail(err error) {
	s.mu.Lock()
	if s.failed == nil {
		s.failed = err
	}
	left := s.queue
	s.queue, s.later = nil, nil // for the others nobody waits
	s.mu.Unlock()
	for _, w := range left {
		w.answer(err)
	}
	s.awaken()
}

// failure returns what made the store fail, and ends the committer then.
func (s *Store) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		s.running = false
	}
	return s.failed
}

// line puts a call where it belongs: what may be overtaken waits in a line of its own, until something comes that must not overtake it.
func (s *Store) line(w waiting) {
	if w.later {
		s.later = append(s.later, w)
		s.count(w, 1)
		return
	}
	if slices.ContainsFunc(w.writes, s.follows) {
		s.queue = append(s.queue, s.later...)
		s.later = nil
		clear(s.laterAbout)
	}
	s.queue = append(s.queue, w)
}

// follows reports whether a write is about an operation that calls in the other line are about.
func (s *Store) follows(w Write) bool {
	return w.all && len(s.later) > 0 || slices.ContainsFunc(w.about, func(op common.Hash) bool { return s.laterAbout[op] > 0 })
}

// count counts the operations that calls which may be overtaken are about.
func (s *Store) count(w waiting, by int) {
	for _, write := range w.writes {
		for _, op := range write.about {
			if s.laterAbout[op] += by; s.laterAbout[op] == 0 {
				delete(s.laterAbout, op)
			}
		}
	}
}

// ErrRunning says that a second committer was started.
var ErrRunning = errors.New("the store's committer runs already")

// Run is the committer: it makes durable what the others hand over, until the context ends; then it commits what is left,
// and nothing more is taken. It returns early only if a transaction failed, with the error; every call gets it from then on.
func (s *Store) Run(ctx context.Context) error {
	if s == nil {
		<-ctx.Done()
		return nil
	}
	s.mu.Lock()
	switch {
	case s.running:
		s.mu.Unlock()
		return ErrRunning
	case s.failed != nil:
		defer s.mu.Unlock()
		return s.failed
	}
	s.running = true
	s.mu.Unlock()
	for {
		select {
		case <-s.awakened:
		case <-ctx.Done():
		}
		for batch := s.take(ctx.Err() != nil); len(batch) > 0; batch = s.take(ctx.Err() != nil) {
			if err := s.commit(batch); err != nil {
				return err
			}
		}
		if err := s.failure(); err != nil {
			return err
		}
		if ctx.Err() != nil && s.stopped() {
			return nil
		}
	}
}

// take returns the oldest calls, as many as fit one transaction, and beside them some of those that may be overtaken. If it is the last
// time and there are none, the store ends.
func (s *Store) take(last bool) []waiting {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, bytes := fit(s.queue, maxTransactionCalls, 0)
	batch := s.queue[:n:n]
	s.queue = without(s.queue, n)
	for _, w := range batch {
		if w.logged != nil {
			s.unwritten--
		}
	}

	most := max(laterAlone, len(s.later)/laterShare)
	switch {
	case len(s.queue) > 0:
		most = 0 // nothing overtakes these
	case last:
		most = maxTransactionCalls
	case n == 0 && s.expected > 0 && len(s.later) < maxHeldBack:
		most = 0
	case n > 0:
		most = max(laterBeside, len(s.later)/laterShare)
	}
	if n, _ = fit(s.later, min(most, maxTransactionCalls-len(batch)), bytes); n > 0 {
		for _, w := range s.later[:n] {
			s.count(w, -1)
		}
		batch = append(batch, s.later[:n]...)
		s.later = without(s.later, n)
	}
	if len(batch) == 0 && last {
		s.running, s.ended = false, true
	}
	return batch
}

// fit returns how many of the calls, the oldest first, fit a transaction of so many bytes already, and the bytes with them. The first of
// a transaction always does.
func fit(calls []waiting, most, before int) (n, bytes int) {
	bytes = before
	for n < min(len(calls), most) && (bytes == 0 || bytes+calls[n].bytes <= maxTransactionBytes) {
		bytes += calls[n].bytes
		n++
	}
	return n, bytes
}

// without returns the calls without the first n; nil, not an empty part of a large array.
func without(calls []waiting, n int) []waiting {
	if n == len(calls) {
		return nil
	}
	return calls[n:]
}

func (s *Store) stopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.running
}

// commit makes one transaction of the calls, and answers them.
func (s *Store) commit(batch []waiting) error {
	var accepted uint64
	err := guard(func() error {
		return s.db.Update(func(tx transaction) error {
			for _, w := range batch {
				for _, write := range w.writes {
					if err := write.apply(s, tx); err != nil {
						return err
					}
				}
				if w.logged != nil {
					accepted = w.logged.number
				}
			}
			if accepted == 0 {
				return nil
			}
			return putAccepted(tx, accepted)
		})
	})
	if err != nil {
		err = fmt.Errorf("the store failed and takes nothing more: %w", err)
		s.fail(err)
		for _, w := range batch {
			w.answer(err)
		}
		return s.failure()
	}
	s.mu.Lock()
	s.stats.Calls += uint64(len(batch))
	s.stats.Transactions++
	s.mu.Unlock()
	if accepted != 0 {
		s.log.isInFile(accepted)
	}
	for _, w := range batch {
		w.answer(nil)
	}
	return nil
}
