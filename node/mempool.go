package node

import (
	"sync"

	"baler/event"
	"baler/pool"
	"baler/proposer"
	"baler/rejection"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// mempool serialises the pool's calls and says what they changed.
type mempool struct {
	mu   sync.Mutex
	pool *pool.Pool
	sink event.Sink
}

// do runs a function that alone has the pool, and reports what left it.
func (m *mempool) do(change func(*pool.Pool) []pool.Removed) {
	m.mu.Lock()
	removed := change(m.pool)
	m.mu.Unlock()
	m.report(removed)
}

// look runs a function that alone has the pool and takes nothing out.
func (m *mempool) look(read func(*pool.Pool)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	read(m.pool)
}

// report says what left the pool unmined; what was mined is told with its block.
func (m *mempool) report(removed []pool.Removed) {
	for _, r := range removed {
		if r.Reason != pool.Mined {
			m.sink(removedFor(r, nil))
		}
	}
}

// find returns the operation with a nonce, nil if there is none.
func (m *mempool) find(entryPoint, sender common.Address, nonce uint256.Int) (op *pool.Operation) {
	m.look(func(p *pool.Pool) { op = p.Find(entryPoint, sender, nonce) })
	return op
}

// remove takes out what the proposer found invalid.
func (m *mempool) remove(removals []proposer.Removal) {
	for _, r := range removals {
		var removed []pool.Removed
		m.look(func(p *pool.Pool) {
			// It may have been mined or replaced meanwhile: then there is nothing to take out.
			removed, _ = p.Remove(r.Hash, r.Reason, r.Culprit)
		})
		for _, x := range removed {
			var refused *rejection.Rejection
			if x.Operation.Hash == r.Hash {
				refused = r.Rejection
			}
			m.sink(removedFor(x, refused))
		}
	}
}

// SetLists replaces the lists of entities that nothing limits and of those whose operations are refused.
func (n *Node) SetLists(allow, block []common.Address) {
	n.pool.do(func(p *pool.Pool) []pool.Removed { return p.SetLists(allow, block) })
}
