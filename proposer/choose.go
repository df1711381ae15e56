package proposer

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"baler/erc7562"
	"baler/gas"
	"baler/pool"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// chooser decides over the candidates of one EntryPoint, one by one and best first. It is pure. Each candidate ends in
// exactly one of ops, skipped and removed.
type chooser struct {
	config   *Config
	number   uint64 // of the head
	now      uint64 // its timestamp
	required gas.Fees

	maxOps    int
	gasLeft   uint64     // of what operations may use at most
	gasCap    uint64     // of a transaction; 0: none
	gasReason SkipReason // GasLimitReached, or BudgetReached or BalanceReached if one of those is what limits
	bytesLeft uint64
	context   uint64                         // bytes of contexts in the bundle
	deposits  map[common.Address]uint256.Int // what is left of each paymaster's deposit, wei
	ended     bool

	ops     []chosen
	senders map[common.Address]common.Hash // of the bundle -> operation
	touched map[common.Address]common.Hash // by an operation of the bundle, beside its own sender
	created map[common.Address]common.Hash
	absent  map[lane]bool // lanes an operation of which was left out: those behind it cannot be bundled
	ahead   map[lane]uint64

	skipped []Skip
	removed []Removal
}

// lane identifies operations with contiguous nonces.
type lane struct {
	sender common.Address
	key    uint256.Int
}

func laneOf(op *pool.Operation) lane { return lane{op.Op.Sender, op.Op.NonceKey()} }

// chosen is an operation of the bundle with what it takes.
type chosen struct {
	*pool.Operation
	gas        uint64
	validation *Validation
}

func newChooser(config *Config, head *types.Header, required, bundle gas.Fees, balance uint256.Int) *chooser {
	c := &chooser{
		config:    config,
		now:       head.Time,
		required:  required,
		maxOps:    config.MaxBundleSize,
		gasLeft:   config.MaxBundleGas,
		gasReason: GasLimitReached,
		bytesLeft: config.MaxBundleBytes - min(config.MaxBundleBytes, emptyBundleBytes),
		senders:   make(map[common.Address]common.Hash),
		touched:   make(map[common.Address]common.Hash),
		created:   make(map[common.Address]common.Hash),
		absent:    make(map[lane]bool),
		ahead:     make(map[lane]uint64),
	}
	if head.Number != nil {
		c.number = head.Number.Uint64()
	}
	if head.GasLimit != 0 && config.MaxBlockSharePercent != 0 {
		c.gasLeft = min(c.gasLeft, head.GasLimit/100*config.MaxBlockSharePercent)
	}
	if budget := config.MaxBundleFee; !budget.IsZero() {
		if affordable := affordableGas(budget, bundle); affordable < c.gasLeft {
			c.gasLeft, c.gasReason = affordable, BudgetReached
		}
	}
	if affordable := affordableGas(balance, bundle); affordable < c.gasLeft {
		c.gasLeft, c.gasReason = affordable, BalanceReached
	}
	return c
}

// emptyBundleBytes is the calldata of handleOps without operations: selector, offset, beneficiary, length.
const emptyBundleBytes = 4 + 3*32

// affordableGas is how much gas the balance pays for at the bundle's maximum fee.
func affordableGas(balance uint256.Int, fees gas.Fees) uint64 {
	if fees.MaxFee.IsZero() {
		return 1<<64 - 1
	}
	var units uint256.Int
	units.Div(&balance, &fees.MaxFee)
	if !units.IsUint64() {
		return 1<<64 - 1
	}
	return units.Uint64()
}

// filter drops what is excluded, deferred or pays less than required, and returns the rest.
func (c *chooser) filter(candidates []*pool.Operation, req Request) []*pool.Operation {
	var paying []*pool.Operation
	for _, op := range candidates {
		switch {
		case slices.Contains(req.Exclude, op.Hash):
			c.skip(op, Skip{Reason: InLaterBundle})
			continue
		case slices.Contains(req.Deferred, op.Hash):
			c.skip(op, Skip{Reason: UnderSuspicion})
			continue
		}
		if s, ok := underpays(op, c.required); ok {
			c.skip(op, s)
			continue
		}
		paying = append(paying, op)
	}
	return paying
}

// underpays compares an operation's fees with the required ones.
func underpays(op *pool.Operation, required gas.Fees) (Skip, bool) {
	fees := gas.Fees{MaxFee: op.Op.MaxFeePerGas, MaxPriority: op.Op.MaxPriorityFeePerGas}
	switch {
	case gas.Pays(fees, required):
		return Skip{}, false
	case fees.MaxFee.Lt(&required.MaxFee):
		return Skip{Reason: MaxFeeTooLow, Have: fees.MaxFee, Want: required.MaxFee}, true
	default:
		return Skip{Reason: PriorityFeeTooLow, Have: fees.MaxPriority, Want: required.MaxPriority}, true
	}
}

// fits decides before validation whether there is room for an operation; if not it is skipped.
func (c *chooser) fits(op *pool.Operation) bool {
	s, ends := c.room(op)
	if s.Reason == 0 {
		return true
	}
	c.ended = c.ended || ends
	c.skip(op, s)
	return false
}

// room says what an operation lacks room in, if any, and whether that ends the list.
func (c *chooser) room(op *pool.Operation) (s Skip, ends bool) {
	ends = c.config.Packing == PackPriority
	units, ok := op.Op.MaxGas()
	size := uint64(op.Op.PackedSize())
	_, twice := c.senders[op.Op.Sender]
	switch {
	case c.ended:
		return Skip{Reason: ListEnded}, true
	case !c.serves(op.Aggregator):
		return Skip{Reason: NeedsAggregator, About: op.Aggregator}, false
	case c.absent[laneOf(op)]:
		return Skip{Reason: PredecessorAbsent, About: op.Op.Sender}, false
	case twice && !op.Staked.Sender:
		return Skip{Reason: SenderInBundle, About: op.Op.Sender}, false
	case len(c.ops) >= c.maxOps:
		return numbers(BundleFull, uint64(len(c.ops))+1, uint64(c.maxOps)), true
	case ok && c.oversized(op, units):
		return numbers(GasLimitReached, units, c.gasCap), false
	case !ok || units > c.gasLeft:
		// The best paying one that fits no bundle, not even an empty one, would keep out all behind it for ever.
		return numbers(c.gasReason, units, c.gasLeft), ends && (len(c.ops) > 0 || c.gasReason != GasLimitReached)
	case size > c.bytesLeft:
		return numbers(BytesReached, size, c.bytesLeft), ends
	default:
		return Skip{}, false
	}
}

func numbers(r SkipReason, have, want uint64) Skip {
	return Skip{Reason: r, Have: *uint256.NewInt(have), Want: *uint256.NewInt(want)}
}

// accept takes a validated operation into the bundle, or leaves it out with a reason.
func (c *chooser) accept(op *pool.Operation, v *Validation) {
	switch skip, removal := c.judge(op, v); {
	case removal != nil:
		c.remove(op, *removal)
	case skip.Reason != 0:
		c.skip(op, skip)
	default:
		c.take(op, v)
	}
}

func (c *chooser) judge(op *pool.Operation, v *Validation) (Skip, *Removal) {
	if !c.serves(v.Aggregator) {
		return Skip{Reason: NeedsAggregator, About: v.Aggregator}, nil
	}
	if s, r := c.inTime(v); s.Reason != 0 || r != nil {
		return s, r
	}
	if want := c.context + v.ContextSize; want > c.config.MaxContextBytes {
		return numbers(ContextReached, v.ContextSize, c.config.MaxContextBytes-c.context), nil
	}
	if s := c.conflict(op, v); s.Reason != 0 {
		return s, nil
	}
	if pm := op.Op.Paymaster; pm != nil {
		left := c.deposits[*pm]
		if v.Prefund.Gt(&left) {
			return Skip{Reason: DepositShort, About: *pm, Have: left, Want: v.Prefund}, nil
		}
	}
	return Skip{}, nil
}

// inTime compares the operation's time range with the head and the time until the bundle can be mined.
func (c *chooser) inTime(v *Validation) (Skip, *Removal) {
	now, margin := c.now, c.config.ExpiryMargin
	if v.ValidityInBlocks {
		now, margin = c.number, c.config.ExpiryBlocks
	}
	switch {
	case v.ValidAfter > now:
		return numbers(NotYetValid, now, v.ValidAfter), nil
	case v.ValidUntil == 0:
		return Skip{}, nil
	case v.ValidUntil <= now:
		r := rejection.New(rejection.OutOfTimeRange, "operation expired: valid until %d, the head is at %d", v.ValidUntil, now)
		r.Data.ValidAfter, r.Data.ValidUntil = quantity(v.ValidAfter), quantity(v.ValidUntil)
		return Skip{}, &Removal{Rejection: r, Reason: pool.Expired}
	case v.ValidUntil < now+margin:
		return numbers(ExpiresSoon, v.ValidUntil, now+margin), nil
	default:
		return Skip{}, nil
	}
}

func quantity(x uint64) string { return "0x" + strconv.FormatUint(x, 16) }

// conflict finds an operation of the bundle that uses this one's sender or a contract it creates, or the other way
// round (ERC-4337, "Bundling"). Operations of the same sender do not conflict: the bundle's validation runs them
// together.
func (c *chooser) conflict(op *pool.Operation, v *Validation) Skip {
	sender := op.Op.Sender
	for _, a := range touches(op, v) {
		for _, taken := range []map[common.Address]common.Hash{c.senders, c.created} {
			if other, ok := taken[a]; ok && a != sender {
				return Skip{Reason: TouchesOther, About: a, Other: other}
			}
		}
	}
	for _, a := range append(slices.Clone(v.Created), sender) {
		if other, ok := c.touched[a]; ok {
			return Skip{Reason: TouchesOther, About: a, Other: other}
		}
		if other, ok := c.created[a]; ok && a != sender {
			return Skip{Reason: TouchesOther, About: a, Other: other}
		}
	}
	return Skip{}
}

// touches returns all addresses the operation's validation uses beside its sender.
func touches(op *pool.Operation, v *Validation) []common.Address {
	list := slices.DeleteFunc(slices.Clone(v.Accessed), func(a common.Address) bool { return a == op.Op.Sender })
	if f := op.Op.Factory; f != nil && !op.Op.IsEIP7702() {
		list = append(list, *f)
	}
	if pm := op.Op.Paymaster; pm != nil {
		list = append(list, *pm)
	}
	return list
}

func (c *chooser) take(op *pool.Operation, v *Validation) {
	units, _ := op.Op.MaxGas() // fits has seen that it is a number
	c.ops = append(c.ops, chosen{op, units, v})
	c.gasLeft -= units
	c.bytesLeft -= uint64(op.Op.PackedSize())
	c.context += v.ContextSize
	c.senders[op.Op.Sender] = op.Hash
	for _, a := range touches(op, v) {
		c.touched[a] = op.Hash
	}
	for _, a := range v.Created {
		c.created[a] = op.Hash
	}
	if pm := op.Op.Paymaster; pm != nil {
		left := c.deposits[*pm]
		left.Sub(&left, &v.Prefund)
		c.deposits[*pm] = left
	}
	c.ahead[laneOf(op)]++
}

func (c *chooser) skip(op *pool.Operation, s Skip) {
	s.Hash = op.Hash
	c.skipped = append(c.skipped, s)
	c.absent[laneOf(op)] = true
}

func (c *chooser) remove(op *pool.Operation, r Removal) {
	r.Hash = op.Hash
	c.removed = append(c.removed, r)
	c.absent[laneOf(op)] = true
}

// refuse handles a refusal of the second validation. One that the clock is to blame for stays if the pool knows when it
// ends, and takes it out then.
func (c *chooser) refuse(op *pool.Operation, r *rejection.Rejection, culprit erc7562.Entity) {
	if r.Kind != rejection.OutOfTimeRange {
		c.remove(op, Removal{Rejection: r, Reason: pool.ValidationFailed, Culprit: culprit})
		return
	}
	now := c.now
	if op.ValidityInBlocks {
		now = c.number
	}
	switch {
	case op.ValidAfter > now:
		c.skip(op, numbers(NotYetValid, now, op.ValidAfter))
	case op.ValidUntil > now:
		c.skip(op, numbers(ExpiresSoon, op.ValidUntil, now))
	default:
		c.remove(op, Removal{Rejection: r, Reason: pool.Expired, Culprit: culprit})
	}
}

// fail removes what made the whole bundle fail, and leaves out what followed it in its lane. The bundle is smaller
// afterwards, or there is an error.
func (c *chooser) fail(failures []Failure) error {
	out := make(map[common.Hash]bool, len(failures))
	for _, f := range failures {
		if f.Index < 0 || f.Index >= len(c.ops) || f.Rejection == nil {
			return fmt.Errorf("%w: failure of operation %d, the bundle has %d", ErrValidator, f.Index, len(c.ops))
		}
		op := c.ops[f.Index]
		if !out[op.Hash] {
			out[op.Hash] = true
			reason := pool.BundleFailed
			if f.Passed {
				reason = pool.ValidationFailed
			}
			c.remove(op.Operation, Removal{Rejection: f.Rejection, Reason: reason, Culprit: f.Culprit})
		}
	}
	c.keep(func(op chosen) bool { return !out[op.Hash] })
	return nil
}

// keep drops the operations that are not to stay, and those behind a dropped one in its lane.
func (c *chooser) keep(stays func(chosen) bool) {
	kept := c.ops[:0]
	gone := make(map[lane]bool)
	for _, op := range c.ops {
		switch {
		case !stays(op):
			gone[laneOf(op.Operation)] = true
		case gone[laneOf(op.Operation)]:
			c.skip(op.Operation, Skip{Reason: PredecessorAbsent, About: op.Op.Sender})
		default:
			kept = append(kept, op)
			continue
		}
		c.gasLeft += op.gas
	}
	clear(c.ops[len(kept):])
	c.ops = kept
}

// shorten leaves the last operation out, because the bundle's gas limit came out over what it may have.
func (c *chooser) shorten() {
	last := len(c.ops) - 1
	op := c.ops[last]
	c.skip(op.Operation, numbers(c.gasReason, op.gas, c.limit()))
	c.ops = c.ops[:last]
	c.gasLeft += op.gas
}

// discard leaves out the whole bundle.
func (c *chooser) discard(s Skip) {
	for _, op := range c.ops {
		c.skip(op.Operation, s)
	}
	c.ops = nil
}

// conditions gathers what the chosen operations rely on.
func (c *chooser) conditions() Conditions {
	all := Conditions{Known: make(Storage)}
	for _, op := range c.ops {
		v := op.validation
		for contract, slots := range v.Known {
			if all.Known[contract] == nil {
				all.Known[contract] = make(map[common.Hash]common.Hash, len(slots))
			}
			maps.Copy(all.Known[contract], slots)
		}
		if v.ValidityInBlocks {
			all.BlockMin, all.BlockMax = within(all.BlockMin, all.BlockMax, v)
		} else {
			all.TimeMin, all.TimeMax = within(all.TimeMin, all.TimeMax, v)
		}
	}
	return all
}

// within narrows a range to that of an operation; a last of 0 is no bound.
func within(first, last uint64, v *Validation) (uint64, uint64) {
	if v.ValidUntil != 0 && (last == 0 || v.ValidUntil < last) {
		last = v.ValidUntil
	}
	return max(first, v.ValidAfter), last
}

func (c *chooser) userOps() []*userop.UserOperation {
	list := make([]*userop.UserOperation, len(c.ops))
	for i, op := range c.ops {
		list[i] = op.Op
	}
	return list
}

func (c *chooser) operations() []*pool.Operation {
	list := make([]*pool.Operation, len(c.ops))
	for i, op := range c.ops {
		list[i] = op.Operation
	}
	return list
}

// authorizations returns the EIP-7702 tuples the bundle must carry, each once.
func (c *chooser) authorizations() []types.SetCodeAuthorization {
	var list []types.SetCodeAuthorization
	for _, op := range c.ops {
		if a := op.Op.Authorization; a != nil && !slices.Contains(list, *a) {
			list = append(list, *a)
		}
	}
	return list
}

// paymasters returns the paymasters of the operations, each once.
func paymasters(ops []*pool.Operation) []common.Address {
	var list []common.Address
	for _, op := range ops {
		if pm := op.Op.Paymaster; pm != nil {
			list = append(list, *pm)
		}
	}
	slices.SortFunc(list, common.Address.Cmp)
	return slices.Compact(list)
}
