package pool

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// Find returns the pending operation of a sender with a nonce (key and sequence), or nil.
func (p *Pool) Find(entryPoint, sender common.Address, nonce uint256.Int) *Operation {
	l := p.lanes[newLaneKey(entryPoint, sender, &nonce)]
	if l == nil {
		return nil
	}
	if e := l.at(nonce[0]); e != nil {
		return e.Operation
	}
	return nil
}
