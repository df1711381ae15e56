package pool

import (
	"baler/entrypoint"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// Lane is the pending operations of one sender and nonce key at an EntryPoint.
type Lane struct {
	EntryPoint entrypoint.EntryPoint
	Sender     common.Address
	Key        uint256.Int // upper 192 bits of the nonce
	First      uint256.Int // sequence of the first operation
	Since      uint64      // number of the head at which that came in
}

// Cursor is a place among the lanes. The zero value is the beginning.
type Cursor struct{ turn, arrival uint64 }

// Lanes returns so many lanes from a place on, in an order that changes little from one head to the next, and the place
// after them: the beginning again when all were returned.
func (p *Pool) Lanes(from Cursor, most int) (list []Lane, next Cursor) {
	for x := range p.tails.from(item{key: from.turn, arrival: from.arrival}) {
		if len(list) == most {
			return list, Cursor{x.key, x.arrival}
		}
		list = append(list, p.LaneOf(x.entry.Operation))
	}
	return list, Cursor{}
}

// LaneOf returns the lane of a pending operation.
func (p *Pool) LaneOf(op *Operation) Lane {
	l := Lane{EntryPoint: op.EntryPoint, Sender: op.Op.Sender, Key: op.Op.NonceKey()}
	if at := p.lanes[newLaneKey(op.EntryPoint.Address, op.Op.Sender, &op.Op.Nonce)]; at != nil {
		l.First.SetUint64(at.first().seq)
		l.Since = at.first().AddedBlock
	}
	return l
}

// Below returns the pending operations that leave if next is the chain's next nonce, by nonce.
func (p *Pool) Below(entryPoint, sender common.Address, next uint256.Int) (hashes []common.Hash) {
	l := p.lanes[newLaneKey(entryPoint, sender, &next)]
	if l == nil {
		return nil
	}
	for _, e := range l.entries {
		if e.seq < next[0] {
			hashes = append(hashes, e.Hash)
		}
	}
	return hashes
}
