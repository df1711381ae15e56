package pool

import (
	"fmt"
	"strconv"

	"baler/erc7562"
	"baler/gas"
	"baler/rejection"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// Add admits a validated operation. A refusal is a *rejection.Rejection and leaves the pool as it was, except that
// the operation's entities were seen. Offering the identical operation again is no error and changes nothing.
//
// An operation replaces another with the same sender and nonce if both its fees are higher by
// ReplacementFeeIncreasePercent, also if a builder has the other in flight: only one of the two can be mined, and the
// claim stays with the builder.
func (p *Pool) Add(op *Operation) (Added, error) {
	return p.add(op, false, p.checkRoles, p.checkReputation, p.checkCounts, p.checkDeposit)
}

// Readmit is Add for an operation that was admitted before, in an earlier life of the process or in blocks that left the
// chain. Limits on counts and deposits do not keep it out, as they do not in Reorg: it was acknowledged. Its entities were
// counted then (opsSeen), and are not counted again.
func (p *Pool) Readmit(op *Operation) (Added, error) { return p.add(op, true, p.checkRoles) }

func (p *Pool) add(op *Operation, again bool, checks ...func(*Operation, *entry) error) (Added, error) {
	if p.ops[op.Hash] != nil {
		return Added{Known: true}, nil
	}
	if clock := op.clock(); op.ValidUntil != 0 && op.ValidUntil <= p.now(clock) {
		return Added{}, reject(rejection.OutOfTimeRange, timeRange(op), "operation expired: valid until %d, the head is at %d",
			op.ValidUntil, p.now(clock))
	}
	old, err := p.slot(op)
	if err != nil {
		return Added{}, err
	}
	if old != nil {
		if err := p.outbids(op, old); err != nil {
			return Added{}, err
		}
	}
	for _, check := range checks {
		if err := check(op, old); err != nil {
			return Added{}, err
		}
	}
	e := p.newEntry(op)
	victims, err := p.victims(e, old)
	if err != nil {
		return Added{}, err
	}
	return p.admit(e, old, victims, again)
}

// Precheck finds the reasons to refuse an operation that need no validation: its entities' reputation, roles and counts,
// a nonce that leaves a gap, a replacement that pays too little, a paymaster that could not pay for it. Known says that the
// identical operation is in the pool.
//
// The operation, its hash and its EntryPoint must be set. Staked may not be known yet: then an entity counts as staked if
// pending operations say so, and a deposit is what it was last. So a refusal for [rejection.StakeTooLow] or
// [rejection.PaymasterDepositLow] may be out of date: ask again with what the chain says.
func (p *Pool) Precheck(op *Operation) (known bool, err error) {
	return p.precheck(op, p.checkReputation, p.checkRoles, p.checkCounts, p.checkDeposit)
}

// PrecheckAgain is Precheck for an operation that is to be let in by Readmit: the limits that do not keep it out there do
// not here. That an entity of it was banned does (GREP-010).
func (p *Pool) PrecheckAgain(op *Operation) (known bool, err error) {
	return p.precheck(op, p.checkBans, p.checkRoles)
}

func (p *Pool) precheck(op *Operation, checks ...func(*Operation, *entry) error) (known bool, err error) {
	if p.ops[op.Hash] != nil {
		return true, nil
	}
	var old *entry
	if p.lanes[newLaneKey(op.EntryPoint.Address, op.Op.Sender, &op.Op.Nonce)] != nil {
		if old, err = p.slot(op); err != nil {
			return false, err
		}
	}
	if old != nil {
		if err := p.outbids(op, old); err != nil {
			return false, err
		}
	}
	supposed := p.supposed(op)
	for _, check := range checks {
		if err := check(supposed, old); err != nil {
			return false, err
		}
	}
	return false, nil
}

// supposed is an operation with what is likely of it: stakes as they were last, and the most it may cost. A deposit that is
// not known covers everything.
func (p *Pool) supposed(op *Operation) *Operation {
	s := *op
	staked := func(known bool, address common.Address) bool {
		a := p.accounts[address]
		return known || a != nil && a.staked
	}
	s.Staked.Sender = staked(s.Staked.Sender, op.Op.Sender)
	if f := op.Op.Factory; f != nil {
		s.Staked.Factory = staked(s.Staked.Factory, *f)
	}
	if pm := op.Op.Paymaster; pm != nil {
		s.Staked.Paymaster = staked(s.Staked.Paymaster, *pm)
		switch known := p.paymasters[paymasterKey{op.EntryPoint.Address, *pm}] != nil; {
		case !known:
			s.Prefund.Clear()
		case s.Prefund.IsZero():
			s.Prefund = op.Op.MaxCost()
		}
	}
	return &s
}

func (l *lane) at(seq uint64) *entry {
	first := l.first().seq
	if seq < first || seq-first >= uint64(len(l.entries)) {
		return nil
	}
	return l.entries[seq-first]
}

// slot finds the operation's place in its lane: the operation it would replace, or nil if it would be a new first or
// last one. A nonce that was used, or that leaves a gap, is refused as the EntryPoint would.
func (p *Pool) slot(op *Operation) (*entry, error) {
	k := newLaneKey(op.EntryPoint.Address, op.Op.Sender, &op.Op.Nonce)
	seq := op.Op.NonceSequence()
	next := seq - min(seq, op.NonceAhead) // the chain's sequence when it was validated
	if mined, ok := p.history.sequence(k); ok {
		next = max(next, mined)
	}
	if l := p.lanes[k]; l != nil {
		if old := l.at(seq); old != nil {
			return old, nil
		}
		if seq == l.last().seq+1 || seq == next && seq+1 == l.first().seq {
			return nil, nil
		}
		return nil, rejectNonce(op, "have sequence %d, want %d to %d", seq, l.first().seq, l.last().seq+1)
	}
	if seq != next {
		return nil, rejectNonce(op, "have sequence %d, want %d", seq, next)
	}
	return nil, nil
}

func rejectNonce(op *Operation, format string, args ...any) error {
	return reject(rejection.EntryPointRejected, rejection.Data{Sender: new(op.Op.Sender)},
		"AA25 invalid account nonce: %s", fmt.Sprintf(format, args...))
}

// outbids refuses a replacement that does not raise both fees enough.
func (p *Pool) outbids(op *Operation, old *entry) error {
	have, was := op.fees(), old.fees()
	want := gas.Fees{
		MaxFee:      gas.AddPercent(was.MaxFee, p.config.ReplacementFeeIncreasePercent),
		MaxPriority: gas.AddPercent(was.MaxPriority, p.config.ReplacementFeeIncreasePercent),
	}
	if have.Covers(want) && have.MaxFee.Gt(&was.MaxFee) {
		return nil
	}
	return rejection.New(rejection.InvalidFields,
		"replacement underpriced: have maxFeePerGas %s and maxPriorityFeePerGas %s, want at least %s and %s (pending: %v)",
		have.MaxFee.Dec(), have.MaxPriority.Dec(), want.MaxFee.Dec(), want.MaxPriority.Dec(), old.Hash)
}

// checkRoles refuses an address in the role of an account and of another entity at once (STO-040), associated storage
// in another operation's account (STO-041), and delegations of one account to different contracts (AUTH-040).
func (p *Pool) checkRoles(op *Operation, old *entry) error {
	sender := op.Op.Sender
	if a := p.accounts[sender]; a != nil && a.refsBeside(old) != 0 {
		return reject(rejection.OpcodeViolation, rejection.Data{Sender: new(sender), Rule: "STO-040"},
			"sender %v is used as a different entity in another UserOperation currently in mempool", sender)
	}
	for _, x := range op.entities() {
		a := p.accounts[x.address]
		if a == nil || a.sent == 0 || old != nil && x.address == sender && a.sent == 1 {
			continue
		}
		d := x.data()
		d.Rule = "STO-040"
		return reject(rejection.OpcodeViolation, d, "%v %v is used as a sender entity in another UserOperation currently in mempool", x.role, x.address)
	}
	for _, contract := range op.AssociatedStorageIn {
		if a := p.accounts[contract]; contract != sender && a != nil && a.sent != 0 {
			return reject(rejection.OpcodeViolation, rejection.Data{Sender: new(sender), Rule: "STO-041"},
				"uses associated storage in %v, the sender of another pending operation", contract)
		}
	}
	return p.checkDelegate(op, old)
}

// refsBeside counts the operations that name the address as an entity, without the one to be replaced.
func (a *account) refsBeside(old *entry) int {
	if old != nil && has(a.refs, old) {
		return len(a.refs) - 1
	}
	return len(a.refs)
}

func has(set map[*entry]struct{}, e *entry) bool { _, ok := set[e]; return ok }

func (p *Pool) checkDelegate(op *Operation, old *entry) error {
	a := p.accounts[op.Op.Sender]
	if op.Op.Authorization == nil || a == nil {
		return nil
	}
	others := a.authorized
	if old != nil && old.Op.Authorization != nil {
		others--
	}
	if others == 0 || a.delegate == op.Op.Authorization.Address {
		return nil
	}
	return reject(rejection.OpcodeViolation, rejection.Data{Sender: new(op.Op.Sender), Rule: "AUTH-040"},
		"sender %v has pending operations with a delegation to %v: have %v", op.Op.Sender, a.delegate, op.Op.Authorization.Address)
}

// checkBans refuses banned entities (GREP-010).
func (p *Pool) checkBans(op *Operation, _ *entry) error {
	for _, x := range op.all() {
		if p.status(x.address) == Banned {
			return rejectStatus(x, Banned)
		}
	}
	return nil
}

// checkReputation refuses banned entities (GREP-010) and more than a few operations of throttled ones (GREP-020).
func (p *Pool) checkReputation(op *Operation, old *entry) error {
	for _, x := range op.all() {
		switch p.status(x.address) {
		case Banned:
			return rejectStatus(x, Banned)
		case Throttled:
			if p.pending(x, old) >= p.config.ThrottledEntityCount {
				return rejectStatus(x, Throttled)
			}
		case OK:
		}
	}
	return nil
}

func rejectStatus(x entity, s Status) error {
	return reject(rejection.Throttled, x.data(), "%v %v is %v", x.role, x.address, s)
}

// pending is the number of pending operations that name the address as sender or as another entity, without the one that
// would be replaced.
func (p *Pool) pending(x entity, old *entry) uint64 {
	a := p.accounts[x.address]
	if a == nil {
		return 0
	}
	n := a.sent + a.refsBeside(old)
	if old != nil && old.Op.Sender == x.address {
		n--
	}
	return uint64(n)
}

// checkCounts limits the operations of an unstaked sender (UREP-010) and of an unstaked factory or paymaster
// (UREP-020). Staked entities face no limit (SREP-040).
func (p *Pool) checkCounts(op *Operation, old *entry) error {
	for _, x := range op.all() {
		if x.staked || p.listed[x.address] == allowed {
			continue
		}
		limit := p.config.SameSenderCount
		if x.role != erc7562.Sender {
			limit = p.allowedUnstaked(x.address)
		}
		n := p.pending(x, old)
		if n < limit {
			continue
		}
		d := x.data()
		d.MinimumStake = p.config.MinStake.Hex()
		d.MinimumUnstakeDelay = "0x" + strconv.FormatUint(p.config.MinUnstakeDelay, 16)
		return reject(rejection.StakeTooLow, d, "unstaked %v %v has %d pending operations, the most allowed are %d",
			x.role, x.address, n, limit)
	}
	return nil
}

// checkDeposit refuses an operation whose paymaster could not pay for it beside all its others (EREP-010).
func (p *Pool) checkDeposit(op *Operation, old *entry) error {
	if op.Op.Paymaster == nil {
		return nil
	}
	k := paymasterKey{op.EntryPoint.Address, *op.Op.Paymaster}
	var deposit, sum uint256.Int
	if d := p.paymasters[k]; d != nil {
		deposit, sum = d.deposit, d.reserved
	}
	if old != nil && old.Op.Paymaster != nil && *old.Op.Paymaster == k.paymaster {
		sum.Sub(&sum, &old.Prefund)
	}
	_, overflow := sum.AddOverflow(&sum, &op.Prefund)
	if !overflow && !sum.Gt(&deposit) {
		return nil
	}
	return reject(rejection.PaymasterDepositLow, rejection.Data{Paymaster: op.Op.Paymaster},
		"paymaster deposit too low: %v has %s wei, its pending operations and this one need %s wei", k.paymaster, deposit.Dec(), sum.Dec())
}

// victims chooses whom to evict so that the newcomer fits: the last operations of lanes, worst paying first, each
// paying less than the newcomer. Operations a builder holds stay, and so do those of the newcomer's sender.
func (p *Pool) victims(e *entry, old *entry) ([]*entry, error) {
	size := p.bytes + e.size
	if old != nil {
		size -= old.size
	}
	if size <= p.config.MaxBytes {
		return nil, nil
	}
	need := size - p.config.MaxBytes
	var list []*entry
	base := p.baseFee()
	for w := p.tails.walkBack(base); w.peek() != nil; w.next() {
		v := w.peek()
		if v.worthAt(base).compare(e.worthAt(base)) >= 0 {
			break
		}
		if v.lane.account.claim.tokens != 0 || v.Op.Sender == e.Op.Sender {
			continue
		}
		list = append(list, v)
		if v.size >= need {
			return list, nil
		}
		need -= v.size
	}
	return nil, rejection.New(rejection.InvalidFields,
		"fees too low: the pool is full (%d of %d bytes) and no pending operation pays less than this one", p.bytes, p.config.MaxBytes)
}

// admit puts the operation in and counts it (opsSeen), unless it was counted before. If that bans one of its entities it
// leaves again.
func (p *Pool) admit(e, old *entry, victims []*entry, again bool) (Added, error) {
	var added Added
	for _, v := range victims {
		added.Removed = append(added.Removed, p.cut(v, Evicted, erc7562.NoEntity)...)
	}
	if old != nil {
		p.swap(old, e)
		p.settle(old.Operation, Replaced, erc7562.NoEntity)
		p.forgive(old.Operation)
		added.Replaced = &old.Hash
		added.Removed = append(added.Removed, Removed{old.Operation, Replaced})
	} else {
		p.attach(e)
	}
	if !again {
		p.count(e.Operation, seen)
	}
	for _, x := range e.all() {
		if p.status(x.address) == Banned {
			added.Removed = append(added.Removed, p.purge(x.address)...)
		}
	}
	if p.ops[e.Hash] == nil {
		return added, reject(rejection.Throttled, rejection.Data{}, "an entity of the operation is banned")
	}
	return added, nil
}

// forgive takes back what a replaced operation was counted for: an entity that the replacement drops is not charged
// (GREP-050), and one that it keeps is charged once for the place, however often that is filled again.
func (p *Pool) forgive(old *Operation) {
	for _, x := range old.all() {
		if x.counted() && (x.staked || x.role != erc7562.Factory) { // an unstaked factory is settled already
			p.update(x.address, unseen)
		}
	}
}

// data names the entity in a rejection.
func (x entity) data() rejection.Data {
	a := new(x.address)
	switch x.role {
	case erc7562.Sender:
		return rejection.Data{Sender: a}
	case erc7562.Factory:
		return rejection.Data{Factory: a}
	case erc7562.Paymaster:
		return rejection.Data{Paymaster: a}
	case erc7562.Aggregator:
		return rejection.Data{Aggregator: a}
	default:
		return rejection.Data{}
	}
}

func timeRange(op *Operation) rejection.Data {
	return rejection.Data{
		ValidAfter: "0x" + strconv.FormatUint(op.ValidAfter, 16),
		ValidUntil: "0x" + strconv.FormatUint(op.ValidUntil, 16),
	}
}
