package remote

import (
	"sync"
	"weak"

	"baler/pool"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
)

// How many operations both sides remember that the client has, and of how many clients.
const (
	maxCached  = 16_384
	maxClients = 32
)

// editions remembers which operations were sent to whom. An operation that left the pool and came again has the same hash, but
// other things may have been found out about it: it is another edition. The pool never changes an operation, so that its
// address tells editions apart.
//
// What was sent may have been lost on the way: the client says so by asking for what it does not have.
type editions struct {
	mu      sync.Mutex
	next    uint64
	clients lru.BasicLRU[uint64, *shelf]
}

type shelf struct {
	sent lru.BasicLRU[common.Hash, *edition]
}

type edition struct {
	number uint64
	of     weak.Pointer[pool.Operation] // the pool alone decides how long it lives
	sent   bool
}

func newEditions() *editions {
	return &editions{clients: lru.NewBasicLRU[uint64, *shelf](maxClients)}
}

// of returns the operation's edition for the client, and whether that was sent to it.
func (e *editions) of(client uint64, op *pool.Operation) (number uint64, sent bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, known := e.clients.Get(client)
	if !known {
		s = &shelf{lru.NewBasicLRU[common.Hash, *edition](maxCached)}
		e.clients.Add(client, s)
	}
	pointer := weak.Make(op)
	if x, known := s.sent.Get(op.Hash); known && x.of == pointer {
		return x.number, x.sent
	}
	e.next++
	s.sent.Add(op.Hash, &edition{number: e.next, of: pointer})
	return e.next, false
}

// add says that the last edition of the operation was sent.
func (e *editions) add(client uint64, hash common.Hash) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s, known := e.clients.Get(client); known {
		if x, known := s.sent.Peek(hash); known {
			x.sent = true
		}
	}
}

// cached is what a client remembers of the operations that were sent to it.
type cached struct {
	mu   sync.Mutex
	have lru.BasicLRU[common.Hash, copied]
}

// copied is an operation, and whose and which edition it is.
type copied struct {
	server, edition uint64
	op              *pool.Operation
}

func newCached() *cached { return &cached{have: lru.NewBasicLRU[common.Hash, copied](maxCached)} }

// get returns the edition of the operation; nil: the client does not have it.
func (c *cached) get(server, edition uint64, hash common.Hash) *pool.Operation {
	c.mu.Lock()
	defer c.mu.Unlock()
	if x, known := c.have.Get(hash); known && x.server == server && x.edition == edition {
		return x.op
	}
	return nil
}

func (c *cached) put(server, edition uint64, op *pool.Operation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.have.Add(op.Hash, copied{server, edition, op})
}
