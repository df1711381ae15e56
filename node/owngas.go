package node

import (
	"sync"

	"baler/chain"
)

// ownGas remembers how much gas our own transactions used in the last blocks: what we paid there says nothing about the
// market.
type ownGas struct {
	mu     sync.Mutex
	blocks map[uint64]uint64
}

func newOwnGas() *ownGas { return &ownGas{blocks: make(map[uint64]uint64)} }

func (o *ownGas) add(block, gas uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.blocks[block] += gas
	for old := range o.blocks {
		if old+2*chain.ReorgDepth < block {
			delete(o.blocks, old)
		}
	}
}

func (o *ownGas) in(block uint64) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.blocks[block]
}
