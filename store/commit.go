package store

import (
	"context"
	"errors"
	"fmt"
)

// Bounds of one transaction, so that no caller waits for a huge one, and of what may be queued without anybody waiting.
const (
	maxTransactionCalls = 1024
	maxTransactionBytes = 8 << 20
	maxQueuedCalls      = 16 * maxTransactionCalls
)

// Write is a change of the store, made by the functions of this package that say what they write.
type Write struct {
	apply func(*Store, transaction) error
	bytes int   // about
	err   error // it could not be made
}

// waiting is what one call handed over.
type waiting struct {
	writes []Write
	bytes  int
	done   chan error // nil: nobody waits for it
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
func (s *Store) Commit(ctx context.Context, writes ...Write) error { return s.Begin(writes...)(ctx) }

// Begin is Commit in two steps, for a caller who must not wait under the lock that puts its writes in order: when it returns the writes
// are handed over, and the function it returns waits for them.
func (s *Store) Begin(writes ...Write) (wait func(context.Context) error) {
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
	if s == nil || len(writes) == 0 {
		return nil
	}
	s.mu.Lock()
	full := len(s.queue) >= maxQueuedCalls
	s.mu.Unlock()
	if full {
		return s.Commit(ctx, writes...)
	}
	return s.hand(waiting{writes: writes})
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
	s.queue = append(s.queue, w)
	select {
	case s.awakened <- struct{}{}:
	default: // it is awake
	}
	return nil
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
		if ctx.Err() != nil && s.stopped() {
			return nil
		}
	}
}

// take returns the oldest calls, as many as fit one transaction. If it is the last time and there are none, the store ends.
func (s *Store) take(last bool) []waiting {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, bytes := 0, 0
	for n < min(len(s.queue), maxTransactionCalls) && (n == 0 || bytes+s.queue[n].bytes <= maxTransactionBytes) {
		bytes += s.queue[n].bytes
		n++
	}
	batch := s.queue[:n:n]
	s.queue = s.queue[n:]
	if len(s.queue) == 0 {
		s.queue = nil
	}
	if n == 0 && last {
		s.running, s.ended = false, true
	}
	return batch
}

func (s *Store) stopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.running
}

// commit makes one transaction of the calls, and answers them.
func (s *Store) commit(batch []waiting) error {
	err := guard(func() error {
		return s.db.Update(func(tx transaction) error {
			for _, w := range batch {
				for _, write := range w.writes {
					if err := write.apply(s, tx); err != nil {
						return err
					}
				}
			}
			return nil
		})
	})
	s.mu.Lock()
	if err == nil {
		s.stats.Calls += uint64(len(batch))
		s.stats.Transactions++
	} else {
		err = fmt.Errorf("the store failed and takes nothing more: %w", err)
		s.failed, s.running = err, false
		batch = append(batch, s.queue...)
		s.queue = nil
	}
	s.mu.Unlock()
	for _, w := range batch {
		w.answer(err)
	}
	return err
}
