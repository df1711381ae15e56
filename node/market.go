package node

import (
	"context"
	"errors"
	"slices"
	"sync"

	"baler/entrypoint"
	"baler/pool"
	"baler/proposer"

	"github.com/ethereum/go-ethereum/common"
)

// market is the pool as the proposer of one bundle sender sees it. It notes at which heads offers were made: what the proposer
// finds out at another one says nothing against an operation.
//
// While the pool cannot be reached, a transaction that waits can still be replaced: by one with the operations that the sender
// has in transactions already.
type market struct {
	port    BuilderPool
	seen    *seen
	builder string
	size    func(uint64) // hears the size of bundles

	mu          sync.Mutex
	carries     []common.Hash // by the sender's transactions, when the proposal began
	until       uint64
	own         []*pool.Operation // what is offered while the pool is away; nil: it is not, or nothing can be
	replaces    bool
	entryPoints []entrypoint.EntryPoint
	head        common.Hash // at which all offers were made; zero: at several, or between two
	offers      int
}

var _ proposer.Pool = (*market)(nil)

// begin begins a proposal. live are the operations that a replacement may have.
func (m *market) begin(replaces bool, carries, live []common.Hash, until uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.replaces, m.carries, m.until, m.entryPoints, m.own, m.head, m.offers = replaces, carries, until, nil, nil, common.Hash{}, 0
	if replaces && m.seen != nil {
		m.own = m.seen.all(live)
	}
}

// judged returns the head at which all offers of the proposal were made, zero if there is no such.
func (m *market) judged() common.Hash {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.head
}

// EntryPoints implements [proposer.Pool]. One proposal asks once.
func (m *market) EntryPoints(ctx context.Context) ([]entrypoint.EntryPoint, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entryPoints != nil {
		return m.entryPoints, nil
	}
	list, err := m.port.EntryPoints(ctx)
	switch {
	case err == nil:
		m.own = nil
	case ctx.Err() != nil || len(m.own) == 0:
		return nil, err
	default:
		for _, op := range m.own {
			if !slices.Contains(list, op.EntryPoint) {
				list = append(list, op.EntryPoint)
			}
		}
	}
	m.entryPoints = list
	return list, nil
}

// Candidates implements [proposer.Pool].
func (m *market) Candidates(ctx context.Context, q pool.Query) ([]*pool.Operation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.own) > 0 {
		return slices.DeleteFunc(slices.Clone(m.own), func(op *pool.Operation) bool { return op.EntryPoint.Address != q.EntryPoint }), nil
	}
	offer, err := m.port.Candidates(ctx, q)
	if errors.Is(err, ErrNotResumed) {
		if err = m.port.Resume(ctx, m.builder, m.carries, m.until); err == nil {
			offer, err = m.port.Candidates(ctx, q)
		}
	}
	if err != nil {
		return nil, err
	}
	if m.offers++; m.offers == 1 {
		m.head = offer.Head
	} else if m.head != offer.Head {
		m.head = common.Hash{}
	}
	if m.seen != nil {
		m.seen.add(offer.Operations)
		m.size(offer.BundleSize)
	}
	return offer.Operations, nil
}

// Held implements [proposer.Pool].
func (m *market) Held(ctx context.Context, builder string) ([]common.Hash, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.own) > 0 {
		return hashesOf(m.own), nil
	}
	return m.port.Held(ctx, builder)
}

// Release implements [proposer.Pool].
func (m *market) Release(ctx context.Context, builder string, operations []common.Hash) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.own) > 0 {
		return nil
	}
	return m.port.Release(ctx, builder, operations)
}

func hashesOf(ops []*pool.Operation) []common.Hash {
	hashes := make([]common.Hash, len(ops))
	for i, op := range ops {
		hashes[i] = op.Hash
	}
	return hashes
}

// alone turns to what the sender has in transactions, without asking the pool. It reports whether there is something.
func (m *market) alone() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, op := range m.own {
		if !slices.Contains(m.entryPoints, op.EntryPoint) {
			m.entryPoints = append(m.entryPoints, op.EntryPoint)
		}
	}
	return len(m.own) > 0
}
