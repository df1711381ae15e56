package node

import (
	"context"
	"sync"

	"baler/entrypoint"
	"baler/event"
	"baler/pool"
	"baler/proposer"
	"baler/rejection"

	"github.com/ethereum/go-ethereum/common"
)

// mempool serialises the pool's calls and says what they changed. It is the proposer's port to the pool.
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

// EntryPoints implements [proposer.Pool].
func (m *mempool) EntryPoints(context.Context) (list []entrypoint.EntryPoint, err error) {
	m.look(func(p *pool.Pool) { list = p.EntryPoints() })
	return list, nil
}

// Candidates implements [proposer.Pool].
func (m *mempool) Candidates(_ context.Context, q pool.Query) (list []*pool.Operation, err error) {
	m.look(func(p *pool.Pool) { list = p.Candidates(q) })
	return list, nil
}

// Held implements [proposer.Pool].
func (m *mempool) Held(_ context.Context, builder string) (hashes []common.Hash, err error) {
	m.look(func(p *pool.Pool) { hashes = p.Held(builder) })
	return hashes, nil
}

// Release implements [proposer.Pool].
func (m *mempool) Release(_ context.Context, builder string, hashes []common.Hash) error {
	m.look(func(p *pool.Pool) { p.Release(builder, hashes) })
	return nil
}

// operations returns those of the operations that are in the pool.
func (m *mempool) operations(hashes []common.Hash) map[common.Hash]*pool.Operation {
	found := make(map[common.Hash]*pool.Operation, len(hashes))
	m.look(func(p *pool.Pool) {
		for _, hash := range hashes {
			if op := p.Get(hash); op != nil {
				found[hash] = op
			}
		}
	})
	return found
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
