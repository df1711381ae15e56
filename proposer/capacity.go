package proposer

import (
	"fmt"
	"math"

	"baler/gas"
	"baler/pool"
	"baler/userop"
)

// The chain limits the gas of a transaction (EIP-7825), which is less than what the bundle's operations may use together:
// what validation was measured to use counts, not what it was allowed to. How much less, bundles differ little in, one after
// the other; so a bundle is made as large as the last ones say, and if its transaction comes out over the cap, cut.

// tightness is how much gas transactions had for each thousand of the most that their operations may use. Zero: not known.
type tightness uint64

const (
	// loosest is the least that is learnt, whatever operations state.
	loosest tightness = 250
	// spare is left of the cap, in percent, because no bundle is quite as the last one.
	spare = 1
)

// room is how much the operations of a bundle may use at most, together, so that its transaction is likely to be within the cap.
func (t tightness) room(gasCap uint64) uint64 {
	if t == 0 || t >= 1000 || gasCap > math.MaxUint64/1000 {
		return gasCap
	}
	return max(gasCap, gasCap*1000/uint64(t)/100*(100-spare))
}

// learn takes in a transaction's gas limit, and the sum of its operations' limits. Bundles that leave more room than the last
// ones are believed a quarter; those that leave less, at once.
func (t *tightness) learn(limit, sum uint64) {
	if sum == 0 || limit > math.MaxUint64/1000 {
		return
	}
	switch now := max(tightness(limit*1000/sum), loosest); {
	case *t == 0 || now > *t:
		*t = now
	default:
		*t -= (*t - now) / 4
	}
}

// tooLarge is the error of a bundle whose transaction would have more gas than it may have.
type tooLarge struct{ have, want uint64 }

// Error implements error.
func (e *tooLarge) Error() string {
	return fmt.Sprintf("%v: have %d, want at most %d", gas.ErrGasCap, e.have, e.want)
}

// limit is the most gas the bundle's transaction may have.
func (c *chooser) limit() uint64 {
	limit := c.gasLeft + c.sum()
	if c.gasCap > 0 {
		limit = min(limit, c.gasCap)
	}
	return limit
}

// sum is what the chosen operations may use at most.
func (c *chooser) sum() (sum uint64) {
	for _, op := range c.ops {
		sum += op.gas
	}
	return sum
}

// bound bounds the transaction's gas by the chain's cap, and by the share of it that the bundle takes if its first operation can do
// with that.
func (c *chooser) bound(req Request, first *pool.Operation, t tightness) {
	if req.GasCap == 0 {
		return
	}
	c.gasCap = req.GasCap
	if share := req.GasShare; share > 0 && share < req.GasCap {
		c.gasCap = share
		if units, ok := first.Op.MaxGas(); ok && c.oversized(first, units) {
			c.gasCap = req.GasCap
		}
	}
	c.gasLeft = min(c.gasLeft, t.room(c.gasCap))
}

// oversized reports whether the operation may need more gas than a transaction may have, even alone. It would keep out all
// that pay less for ever.
func (c *chooser) oversized(op *pool.Operation, units uint64) bool {
	if c.gasCap == 0 || units <= c.gasCap/2 {
		return false
	}
	alone := gas.Bundle{Ops: []*userop.UserOperation{op.Op}, Tokens: gas.DataTokens(op.Op.AppendABI(nil)), Authorizations: 1, Cap: c.gasCap}
	_, err := alone.GasLimit()
	return err != nil
}

// cutBack leaves out the operations that pay least, as many as the gas limit that came out is over what it may be; at least one.
func (c *chooser) cutBack(have uint64) {
	want := c.limit()
	n, out := uint64(len(c.ops)), uint64(1)
	if have > want && have < math.MaxUint64/n {
		out = max(1, (n*(have-want)+have-1)/have)
	}
	for range min(out, n) {
		c.shorten()
	}
}
