package proposer

import (
	"math"

	"baler/gas"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// leaveBurdens takes the operations out of an unprofitable bundle that pay for less than they add to its cost, so that they do
// not keep the others waiting: what an operation's data costs may have risen since it was accepted. It reports whether there
// are any, and others are left. price is the bundle's, wei per gas.
func (c *chooser) leaveBurdens(charged []Charge, price uint256.Int) bool {
	if len(charged) != len(c.ops) {
		return false
	}
	burdens := make(map[common.Hash]Skip)
	for i, op := range c.ops {
		if cost := gas.Cost(c.added(op, charged[i]), price); cost.Gt(&charged[i].Cost) {
			burdens[op.Hash] = Skip{Reason: LossMaking, Have: charged[i].Cost, Want: cost}
		}
	}
	if len(burdens) == 0 || len(burdens) == len(c.ops) {
		return false
	}
	c.leave(burdens)
	return true
}

// added is the gas that an operation adds to a bundle which is there anyway: what it is charged for without its
// preVerificationGas, and what that has to pay for beside its share of the transaction's own 21,000.
func (c *chooser) added(op chosen, charge Charge) uint64 {
	p := c.config.PreVerification
	p.BundleSize, p.Expected = math.MaxUint64, nil
	place := placeOf(op)
	outside := p.Required(place.bundled, place.verificationGas) + op.validation.DataGas
	return charge.Gas - min(charge.Gas, op.Op.PreVerificationGas) + outside
}
