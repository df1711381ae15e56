package node

import "sync"

// mailbox is an unbounded queue with many writers and one reader. Posting never waits, so that a worker that is busy
// with its node delays nobody. What is posted to one worker is bounded by what it asked for and by the heads that pass.
type mailbox[T any] struct {
	mu    sync.Mutex
	queue []T
	ready chan struct{} // holds a token while the queue may be non-empty
}

func newMailbox[T any]() *mailbox[T] { return &mailbox[T]{ready: make(chan struct{}, 1)} }

func (m *mailbox[T]) post(item T) {
	m.mu.Lock()
	m.queue = append(m.queue, item)
	m.mu.Unlock()
	m.wake()
}

// wake lets the reader look, whether there is something or not.
func (m *mailbox[T]) wake() {
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

// take returns everything posted so far, oldest first.
func (m *mailbox[T]) take() []T {
	m.mu.Lock()
	defer m.mu.Unlock()
	items := m.queue
	m.queue = nil
	return items
}
