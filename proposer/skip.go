package proposer

import (
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// Skip is a candidate that is not in the bundle and stays in the pool.
type Skip struct {
	Hash   common.Hash
	Reason SkipReason
	Have   uint256.Int    // what the operation has or asks for, in the reason's unit
	Want   uint256.Int    // what the bundle asks for or has left
	Other  common.Hash    // TouchesOther: the operation in the bundle that it conflicts with
	About  common.Address // the sender, paymaster or contract it is about
}

// SkipReason is why a candidate was skipped.
type SkipReason uint8

// The reasons to skip a candidate.
const (
	MaxFeeTooLow      SkipReason = iota + 1 // maxFeePerGas, wei per gas
	PriorityFeeTooLow                       // maxPriorityFeePerGas, wei per gas
	GasLimitReached                         // its maximum gas does not fit in what the bundle has left
	BalanceReached                          // its maximum gas does not fit in what the signer can pay for
	BundleFull                              // the bundle has its most operations
	BytesReached                            // its bytes do not fit
	ContextReached                          // its paymaster's context does not fit
	ListEnded                               // an operation before it did not fit and ended the list
	NotYetValid                             // its time range has not begun
	ExpiresSoon                             // its time range ends before the bundle can be mined
	DepositShort                            // its paymaster's deposit does not cover it beside those before it, wei
	SenderInBundle                          // an operation of its sender is in the bundle
	TouchesOther                            // it uses the sender of another, or another uses its sender
	PredecessorAbsent                       // an operation of its sender with a lower nonce is not in the bundle
	NeedsAggregator                         // it has a signature aggregator that is not served
	NodeTrouble                             // it could not be validated
	BudgetReached                           // its maximum gas does not fit in what the bundle's fee budget pays for
	UnderSuspicion                          // bundles with it were refused; it is tried again later
	InLaterBundle                           // it waits in a transaction of the signer with a later nonce
	LossMaking                              // the bundle that held it was not profitable enough, wei
	RacedApart                              // rivals take it much more, or much less, often than the first of the bundle
	GroupTooSmall                           // its preVerificationGas asks for more operations to share its aggregator's check with
	SumRefused                              // its aggregator refuses the sum of signatures none of which is wrong
)

// String returns the reason in words.
func (r SkipReason) String() string {
	switch r {
	case MaxFeeTooLow:
		return "max fee too low"
	case PriorityFeeTooLow:
		return "priority fee too low"
	case GasLimitReached:
		return "bundle gas limit reached"
	case BalanceReached:
		return "signer balance reached"
	case BundleFull:
		return "bundle full"
	case BytesReached:
		return "bundle bytes reached"
	case ContextReached:
		return "bundle context bytes reached"
	case ListEnded:
		return "behind an operation that did not fit"
	case NotYetValid:
		return "not yet valid"
	case ExpiresSoon:
		return "expires soon"
	case DepositShort:
		return "paymaster deposit short"
	case SenderInBundle:
		return "sender already in the bundle"
	case TouchesOther:
		return "touches another operation's sender"
	case PredecessorAbsent:
		return "operation with a lower nonce not in the bundle"
	case NeedsAggregator:
		return "its aggregator is not served"
	case NodeTrouble:
		return "could not be validated"
	case BudgetReached:
		return "bundle fee budget reached"
	case UnderSuspicion:
		return "under suspicion"
	case InLaterBundle:
		return "in a later bundle of this signer"
	case LossMaking:
		return "bundle not profitable"
	case RacedApart:
		return "rivals take it more or less often than the others"
	case GroupTooSmall:
		return "too few operations share its aggregator's check"
	case SumRefused:
		return "its aggregator refuses the sum of signatures"
	default:
		return fmt.Sprintf("skip reason %d", uint8(r))
	}
}

// String returns the skip with its numbers.
func (s Skip) String() string {
	switch s.Reason {
	case TouchesOther:
		return fmt.Sprintf("%v: %v, in operation %v", s.Reason, s.About, s.Other)
	case SenderInBundle, PredecessorAbsent, NeedsAggregator, SumRefused:
		return fmt.Sprintf("%v: %v", s.Reason, s.About)
	case DepositShort:
		return fmt.Sprintf("%v: %v, have %v, want %v", s.Reason, s.About, s.Have.Dec(), s.Want.Dec())
	case ListEnded, NodeTrouble, InLaterBundle, UnderSuspicion, RacedApart:
		return s.Reason.String()
	default:
		return fmt.Sprintf("%v: have %v, want %v", s.Reason, s.Have.Dec(), s.Want.Dec())
	}
}

// afterSimulation reports whether the reason is only known once an operation was validated.
func (r SkipReason) afterSimulation() bool {
	switch r {
	case ContextReached, NotYetValid, ExpiresSoon, DepositShort, TouchesOther, NeedsAggregator, NodeTrouble, GroupTooSmall, SumRefused:
		return true
	case MaxFeeTooLow, PriorityFeeTooLow, GasLimitReached, BalanceReached, BundleFull, BytesReached, ListEnded,
		SenderInBundle, PredecessorAbsent, InLaterBundle, UnderSuspicion, BudgetReached, LossMaking, RacedApart:
		return false
	default:
		return false
	}
}
