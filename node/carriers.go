package node

import (
	"sync"

	"github.com/ethereum/go-ethereum/common"
)

// carriers knows in whose transactions operations are that are not in the pool, where no claim says so: they were mined, or their
// transaction was sent, in an earlier life of the pool. When a reorg brings such an operation back it is claimed for that builder in the
// same step: until the builder has seen the reorg too, another one would take it, and it would be in live transactions of two keys.
type carriers struct {
	mu       sync.Mutex
	builders map[common.Hash]carrier // by operation
}

// carrier is a builder.
type carrier struct {
	name string
	last uint64 // block number up to which it is remembered
}

func newCarriers() *carriers { return &carriers{builders: make(map[common.Hash]carrier)} }

// follow remembers a builder's operations up to a block number.
func (c *carriers) follow(builder string, operations []common.Hash, last uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, op := range operations {
		c.builders[op] = carrier{builder, last}
	}
}

// take returns an operation's builder, "" if it is not known, and forgets it: the operation is in the pool again, which knows better
// from now on.
func (c *carriers) take(operation common.Hash) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	by := c.builders[operation]
	delete(c.builders, operation)
	return by.name
}

// forget drops what does not matter any more at a head.
func (c *carriers) forget(head uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for op, by := range c.builders {
		if by.last < head {
			delete(c.builders, op)
		}
	}
}
