package proposer

import (
	"slices"

	"baler/pool"

	"github.com/ethereum/go-ethereum/common"
)

// setApart puts the first operation that is to be tried alone at the front, and leaves room for no other. One with an
// operation of its lane before it cannot be bundled without that.
func (c *chooser) setApart(paying []*pool.Operation, apart []common.Hash) {
	if len(apart) == 0 {
		return
	}
	seen := make(map[lane]bool, len(paying))
	for i, op := range paying {
		l := laneOf(op)
		if !seen[l] && !c.absent[l] && slices.Contains(apart, op.Hash) {
			c.maxOps = 1
			copy(paying[1:], paying[:i])
			paying[0] = op
			return
		}
		seen[l] = true
	}
}

// cut leaves out what is not to be in one bundle with the first operation.
func (c *chooser) cut(paying []*pool.Operation, cut func([]*pool.Operation) ([]*pool.Operation, int)) []*pool.Operation {
	together, limit := cut(paying)
	if limit > 0 {
		c.maxOps = min(c.maxOps, limit)
	}
	stays := 0 // together is a part of paying in the same order
	for _, op := range paying {
		if stays < len(together) && together[stays] == op {
			stays++
			continue
		}
		c.skip(op, Skip{Reason: RacedApart})
	}
	return together
}
