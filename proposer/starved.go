package proposer

import (
	"slices"

	"baler/pool"

	"github.com/ethereum/go-ethereum/common"
)

// starved counts how often operations were left out in favour of others that pay more: for a conflict, a paymaster's deposit
// or context, a sender that may have one only. One that was left out too often goes first.
//
// Operations that do not fit for their size, or pay too little, are not counted: that is what fees decide.
type starved struct {
	limit int // 0: none goes first
	times map[common.Hash]int
}

// maxStarved bounds the operations that are counted.
const maxStarved = 10_000

func newStarved(limit int) *starved { return &starved{limit: limit, times: make(map[common.Hash]int)} }

// inFavour reports whether an operation was left out for the sake of another in the bundle.
func (r SkipReason) inFavour() bool {
	switch r {
	case TouchesOther, DepositShort, ContextReached, SenderInBundle:
		return true
	case MaxFeeTooLow, PriorityFeeTooLow, GasLimitReached, BalanceReached, BundleFull, BytesReached, ListEnded, NotYetValid, ExpiresSoon,
		PredecessorAbsent, NeedsAggregator, NodeTrouble, BudgetReached, UnderSuspicion, InLaterBundle, LossMaking, RacedApart,
		GroupTooSmall, SumRefused:
		return false
	default:
		return false
	}
}

// first returns the operations with those in front that were left out too often, each behind the operations of its lane that
// come before it. Both parts keep their order.
func (s *starved) first(ops []*pool.Operation) []*pool.Operation {
	if s.limit <= 0 {
		return ops
	}
	last := make(map[lane]int) // of the lanes with a starved operation: its index
	for i, op := range ops {
		if s.times[op.Hash] >= s.limit {
			last[laneOf(op)] = i
		}
	}
	if len(last) == 0 {
		return ops
	}
	ordered := make([]*pool.Operation, 0, len(ops))
	var others []*pool.Operation
	for i, op := range ops {
		if at, ok := last[laneOf(op)]; ok && i <= at {
			ordered = append(ordered, op)
		} else {
			others = append(others, op)
		}
	}
	return append(ordered, others...)
}

// count takes what came of the operations that were considered. Where there is no bundle nobody was left out for anybody.
func (s *starved) count(considered []*pool.Operation, skipped []Skip, bundled bool) {
	if !bundled {
		return
	}
	for _, op := range considered {
		at := slices.IndexFunc(skipped, func(skip Skip) bool { return skip.Hash == op.Hash })
		switch {
		case at < 0:
			delete(s.times, op.Hash) // in the bundle, or removed
		case skipped[at].Reason.inFavour() && (len(s.times) < maxStarved || s.times[op.Hash] > 0):
			s.times[op.Hash]++
		}
	}
	if len(s.times) >= maxStarved { // of operations that other senders have bundled long since
		clear(s.times)
	}
}
