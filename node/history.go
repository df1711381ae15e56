package node

import (
	"slices"
	"sync"

	"baler/rpc"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
)

// minedOperation is an operation seen in a block.
type minedOperation struct {
	op         *userop.UserOperation // nil: it never was in our pool, or the store alone has it
	entryPoint common.Address
	inclusion  rpc.Inclusion
	stored     bool // the store alone has the operation
}

// block names a block.
type block struct {
	number uint64
	hash   common.Hash
}

// wholeMined is how many mined operations are in memory as a whole where there is a store: those that wallets ask for, and far more than the
// store is behind with. Of the others it has where they were mined, and reads the operations from the store.
const wholeMined = 4096

// history remembers the operations last mined, so that a wallet that polls for its receipt costs the node nothing while
// there is none and little when there is. What it has forgotten is found through the chain's logs.
type history struct {
	capacity int
	stored   func(common.Hash) (*minedOperation, error) // reads from the store; nil: there is none

	mu    sync.Mutex
	mined map[common.Hash]minedOperation
	order []common.Hash // oldest first; may hold hashes that a reorg took out
}

// newHistory makes a history that remembers so many operations; stored reads one from the store, where it is soon after it was added, and is
// nil where there is none.
func newHistory(capacity int, stored func(common.Hash) (*minedOperation, error)) *history {
	return &history{capacity: capacity, stored: stored, mined: make(map[common.Hash]minedOperation)}
}

func (h *history) add(hash common.Hash, m minedOperation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known, ok := h.mined[hash]; ok {
		if m.op == nil {
			m.op, m.stored = known.op, known.stored
		}
	} else {
		h.order = append(h.order, hash)
	}
	h.mined[hash] = m
	if h.stored != nil && len(h.order) > wholeMined {
		h.leaveToStore(h.order[len(h.order)-1-wholeMined])
	}
	for len(h.order) > h.capacity {
		delete(h.mined, h.order[0])
		h.order = h.order[1:]
	}
}

// leaveToStore forgets an operation, but not where it was mined.
func (h *history) leaveToStore(hash common.Hash) {
	if m, ok := h.mined[hash]; ok && m.op != nil {
		m.op, m.stored = nil, true
		h.mined[hash] = m
	}
}

// operation returns an operation that was in our pool, as a whole; nil if it never was. The store's word comes only for those that it alone has.
func (h *history) operation(hash common.Hash, m minedOperation) (*userop.UserOperation, error) {
	if !m.stored {
		return m.op, nil
	}
	found, err := h.stored(hash)
	if err != nil || found == nil {
		return nil, err
	}
	return found.op, nil
}

func (h *history) get(hash common.Hash) (minedOperation, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m, ok := h.mined[hash]
	return m, ok
}

// elsewhere reports whether one of the operations is mined in another transaction than the given: a bundle that holds
// it would revert.
func (h *history) elsewhere(operations []common.Hash, tx common.Hash) bool {
	_, _, taken := h.takenElsewhere(operations, tx)
	return taken
}

// takenElsewhere returns the first of the operations that is mined in another transaction than the given, and that
// transaction.
func (h *history) takenElsewhere(operations []common.Hash, tx common.Hash) (operation, other common.Hash, taken bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, hash := range operations {
		if m, ok := h.mined[hash]; ok && m.inclusion.TransactionHash != tx {
			return hash, m.inclusion.TransactionHash, true
		}
	}
	return common.Hash{}, common.Hash{}, false
}

// since returns the blocks from a number on in which the remembered operations were mined.
func (h *history) since(number uint64) map[block]struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	blocks := make(map[block]struct{})
	for _, m := range h.mined {
		if m.inclusion.BlockNumber >= number {
			blocks[block{m.inclusion.BlockNumber, m.inclusion.BlockHash}] = struct{}{}
		}
	}
	return blocks
}

// unmine forgets what the blocks held: they left the canonical chain. It returns what of it was ours.
func (h *history) unmine(blocks []block) map[common.Hash]minedOperation {
	h.mu.Lock()
	defer h.mu.Unlock()
	ours := make(map[common.Hash]minedOperation)
	for hash, m := range h.mined {
		if slices.Contains(blocks, block{m.inclusion.BlockNumber, m.inclusion.BlockHash}) {
			delete(h.mined, hash)
			if m.op != nil || m.stored {
				ours[hash] = m
			}
		}
	}
	return ours
}
