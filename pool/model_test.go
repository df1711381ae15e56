package pool

import (
	"slices"

	"baler/erc7562"
	"baler/rejection"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// model is a pool that is slow and simple: one list, everything found by looking through it.
type model struct {
	cfg      Config
	head     Head
	ops      []*modelOp // by arrival
	deposits map[paymasterKey]uint64
	seen     map[common.Address]uint64
	included map[common.Address]uint64
	mined    []modelMined
}

type modelOp struct {
	*Operation
	tokens  map[common.Hash]bool
	arrival int
}

type modelClaim struct {
	builder string
	until   uint64
}

type modelMined struct {
	lane  laneKey
	seq   uint64
	block uint64
}

func key(op *Operation) laneKey { return newLaneKey(op.EntryPoint.Address, op.Op.Sender, &op.Op.Nonce) }

func (m *model) find(h common.Hash) *modelOp {
	for _, o := range m.ops {
		if o.Hash == h {
			return o
		}
	}
	return nil
}

func (m *model) lane(k laneKey) (list []*modelOp) {
	for _, o := range m.ops {
		if key(o.Operation) == k {
			list = append(list, o)
		}
	}
	slices.SortFunc(list, func(a, b *modelOp) int { return int(a.Op.NonceSequence()) - int(b.Op.NonceSequence()) })
	return list
}

func (m *model) status(a common.Address) Status {
	seen, included := m.seen[a]/m.cfg.MinInclusionRateDenominator, m.included[a]
	if seen > included+m.cfg.BanSlack {
		return Banned
	}
	if seen > included+m.cfg.ThrottlingSlack {
		return Throttled
	}
	return OK
}

// names counts the roles in which others than old name an address.
func (m *model) names(a common.Address, old *modelOp) (asSender, asEntity uint64) {
	for _, o := range m.ops {
		if o == old {
			continue
		}
		if o.Op.Sender == a {
			asSender++
		}
		if slices.ContainsFunc(o.entities(), func(x entity) bool { return x.address == a }) {
			asEntity++
		}
	}
	return asSender, asEntity
}

// verdict is the code Add must refuse the operation with, 0 if it must admit it.
func (m *model) verdict(op *Operation) (code rejection.Kind, old *modelOp) {
	if op.ValidUntil != 0 && op.ValidUntil <= m.head.Timestamp {
		return rejection.OutOfTimeRange, nil
	}
	seq, next := op.Op.NonceSequence(), op.Op.NonceSequence()-op.NonceAhead
	for _, x := range m.mined {
		if x.lane == key(op) && x.block+m.cfg.ReorgDepth > m.head.Number {
			next = max(next, x.seq+1)
		}
	}
	lane := m.lane(key(op))
	for _, o := range lane {
		if o.Op.NonceSequence() == seq {
			old = o
		}
	}
	if old == nil {
		switch {
		case len(lane) == 0:
			if seq != next {
				return rejection.EntryPointRejected, nil
			}
		case seq == lane[len(lane)-1].Op.NonceSequence()+1:
		case seq == next && seq+1 == lane[0].Op.NonceSequence():
		default:
			return rejection.EntryPointRejected, nil
		}
	} else {
		raised := func(have, was *uint256.Int) bool { // have >= was * 1.1
			a, b := new(uint256.Int).Mul(have, uint256.NewInt(10)), new(uint256.Int).Mul(was, uint256.NewInt(11))
			return !a.Lt(b)
		}
		if !raised(&op.Op.MaxFeePerGas, &old.Op.MaxFeePerGas) || !raised(&op.Op.MaxPriorityFeePerGas, &old.Op.MaxPriorityFeePerGas) {
			return rejection.InvalidFields, nil
		}
	}
	return m.limits(op, old), old
}

func (m *model) limits(op *Operation, old *modelOp) rejection.Kind {
	if _, entities := m.names(op.Op.Sender, old); entities != 0 {
		return rejection.OpcodeViolation
	}
	for _, x := range op.entities() {
		if senders, _ := m.names(x.address, old); senders != 0 {
			return rejection.OpcodeViolation
		}
	}
	for _, x := range op.all() {
		senders, entities := m.names(x.address, old)
		switch m.status(x.address) {
		case Banned:
			return rejection.Throttled
		case Throttled:
			if senders+entities >= m.cfg.ThrottledEntityCount {
				return rejection.Throttled
			}
		case OK:
		}
	}
	for _, x := range op.all() {
		senders, entities := m.names(x.address, old)
		limit := m.cfg.SameSenderCount
		if x.role != erc7562.Sender {
			limit = m.cfg.SameUnstakedEntityCount
			if s := m.seen[x.address]; s != 0 {
				limit += min(m.included[x.address], s) * min(m.included[x.address], m.cfg.MaxOpsAllowedUnstakedEntity) / s
			}
		}
		if !x.staked && senders+entities >= limit {
			return rejection.StakeTooLow
		}
	}
	if pm := op.Op.Paymaster; pm != nil {
		sum := op.Prefund.Uint64()
		for _, o := range m.ops {
			if o != old && o.Op.Paymaster != nil && *o.Op.Paymaster == *pm && o.EntryPoint == op.EntryPoint {
				sum += o.Prefund.Uint64()
			}
		}
		if sum > m.deposits[paymasterKey{op.EntryPoint.Address, *pm}] {
			return rejection.PaymasterDepositLow
		}
	}
	return 0
}

// offered is the list Candidates must return: repeatedly the best operation that may come next.
func (m *model) offered(q Query, claims map[common.Address]modelClaim) (list []common.Hash) {
	taken := make(map[common.Hash]bool)
	senders := make(map[common.Address]bool)
	throttled := make(map[common.Address]uint64)
	refused := make(map[common.Hash]bool)
	worth := func(o *modelOp) int64 {
		return min(o.Op.MaxFeePerGas.ToBig().Int64()-q.BaseFee.ToBig().Int64(), o.Op.MaxPriorityFeePerGas.ToBig().Int64())
	}
	for len(list) < q.MaxOps {
		var best *modelOp
		for _, o := range m.ops {
			if taken[o.Hash] || refused[o.Hash] || o.EntryPoint.Address != q.EntryPoint || o.ValidAfter > m.head.Timestamp {
				continue
			}
			lane := m.lane(key(o.Operation))
			i := slices.Index(lane, o)
			if i > 0 && (!taken[lane[i-1].Hash] || !o.Staked.Sender) {
				continue
			}
			if best == nil || worth(o) > worth(best) || worth(o) == worth(best) && o.arrival < best.arrival {
				best = o
			}
		}
		if best == nil {
			return list
		}
		c, held := claims[best.Op.Sender]
		over := slices.ContainsFunc(best.all(), func(x entity) bool {
			return m.status(x.address) == Throttled && throttled[x.address] >= m.cfg.ThrottledEntityBundleCount
		})
		if held && c.builder != q.Builder || senders[best.Op.Sender] && !best.Staked.Sender || over {
			refused[best.Hash] = true
			continue
		}
		for _, x := range best.all() {
			throttled[x.address]++
		}
		taken[best.Hash], senders[best.Op.Sender] = true, true
		list = append(list, best.Hash)
	}
	return list
}

// count changes opsSeen of a leaving operation's unstaked factory as package pool documents it.
func (m *model) left(o *Operation, reason Reason, culprit erc7562.Entity) {
	for _, x := range o.all() {
		switch {
		case reason == Mined && x.counted():
			m.included[x.address]++
		case reason != Mined && x.role == erc7562.Factory && !x.staked && culprit != erc7562.Factory:
			m.seen[x.address] -= min(m.seen[x.address], 1)
		}
	}
}
