package node

import (
	"baler/pool"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/holiman/uint256"
)

// seenSize is how many of the operations that it was offered a process remembers that does not have the pool.
const seenSize = 4096

// seen are the operations that a process was offered by the pool of another one, with what their first validation found out.
type seen struct {
	byHash *lru.Cache[common.Hash, *pool.Operation]
	byTurn *lru.Cache[turn, *pool.Operation]
}

// turn is a nonce of an account.
type turn struct {
	entryPoint, sender common.Address
	nonce              uint256.Int
}

func newSeen() *seen {
	return &seen{
		byHash: lru.NewCache[common.Hash, *pool.Operation](seenSize), byTurn: lru.NewCache[turn, *pool.Operation](seenSize),
	}
}

func (s *seen) add(ops []*pool.Operation) {
	for _, op := range ops {
		s.byHash.Add(op.Hash, op)
		s.byTurn.Add(turn{op.EntryPoint.Address, op.Op.Sender, op.Op.Nonce}, op)
	}
}

// find returns the operation last seen with a nonce, nil if none is remembered.
func (s *seen) find(entryPoint, sender common.Address, nonce uint256.Int) *pool.Operation {
	op, _ := s.byTurn.Get(turn{entryPoint, sender, nonce})
	return op
}

// all returns those of the operations that are remembered.
func (s *seen) all(hashes []common.Hash) (list []*pool.Operation) {
	for _, hash := range hashes {
		if op, ok := s.byHash.Get(hash); ok {
			list = append(list, op)
		}
	}
	return list
}
