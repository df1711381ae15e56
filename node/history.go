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
	op         *userop.UserOperation // nil: it never was in our pool
	entryPoint common.Address
	inclusion  rpc.Inclusion
}

// block names a block.
type block struct {
	number uint64
	hash   common.Hash
}

// history remembers the operations last mined, so that a wallet that polls for its receipt costs the node nothing while
// there is none and little when there is. What it has forgotten is found through the chain's logs.
type history struct {
	mu       sync.Mutex
	capacity int
	mined    map[common.Hash]minedOperation
	order    []common.Hash // oldest first; may hold hashes that a reorg took out
}

func newHistory(capacity int) *history {
	return &history{capacity: capacity, mined: make(map[common.Hash]minedOperation)}
}

func (h *history) add(hash common.Hash, m minedOperation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known, ok := h.mined[hash]; ok {
		if m.op == nil {
			m.op = known.op
		}
	} else {
		h.order = append(h.order, hash)
	}
	h.mined[hash] = m
	for len(h.order) > h.capacity {
		delete(h.mined, h.order[0])
		h.order = h.order[1:]
	}
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
			if m.op != nil {
				ours[hash] = m
			}
		}
	}
	return ours
}
