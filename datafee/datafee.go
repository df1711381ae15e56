// Package datafee says what a transaction costs on a rollup beside the gas of its execution: for its data, and what the chain's operator
// adds.
//
// In: how the chain charges ([Kind]), a view of its state, a transaction that is not signed yet. Out: its [Cost], as an
// amount taken beside the gas price (OP stack, Scroll), or as gas that the transaction uses beside its execution (Arbitrum). On an
// OP stack chain since its Isthmus upgrade the operator fee is part of it, which goes by the gas that the transaction uses.
//
// It promises that
//   - the cost is that at the view's block;
//   - an OP stack chain is asked for nothing but state: its prices are read from the GasPriceOracle's own code, run in the
//     local EVM, once per block and in the round trip of other reads ([Oracle.Reads]). Since Fjord the size is measured
//     here; before, the oracle's getL1Fee is run. The operator fee is asked of the oracle too, not computed by an upgrade's formula;
//   - the L1GasPriceOracle of a Scroll chain is run in the local EVM too: its answer is the fee, whatever upgrade it has come to;
//   - an Arbitrum chain is asked by one eth_call of its NodeInterface per transaction, in the round trip of other reads if
//     the caller wishes ([Quote.Questions]).
//
// The package signs and sends nothing.
package datafee

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"baler/evm"
	"baler/gas"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// Kind says how a chain charges for data.
type Kind uint8

// The kinds.
const (
	None     Kind = iota // it does not
	OPStack              // an L1 fee beside the gas price, by the predeployed GasPriceOracle
	Arbitrum             // gas of the transaction, by the node's NodeInterface
	Scroll               // an L1 fee beside the gas price, by the predeployed L1GasPriceOracle
)

// String returns the kind as it is written in settings.
func (k Kind) String() string {
	switch k {
	case None:
		return "none"
	case OPStack:
		return "op-stack"
	case Arbitrum:
		return "arbitrum"
	case Scroll:
		return "scroll"
	default:
		return fmt.Sprintf("unknown(%d)", uint8(k))
	}
}

// ErrKind says that a text names no kind.
var ErrKind = errors.New("unknown kind of data fee")

// ParseKind is the inverse of [Kind.String].
func ParseKind(s string) (Kind, error) {
	for _, k := range []Kind{None, OPStack, Arbitrum, Scroll} {
		if s == k.String() {
			return k, nil
		}
	}
	return None, fmt.Errorf("%w: have %q, want %s, %s, %s or %s", ErrKind, s, None, OPStack, Arbitrum, Scroll)
}

// Cost is what a transaction costs beside the gas of its execution.
type Cost struct {
	Fee      uint256.Int     // wei that the sender pays beside gas used × price
	Gas      uint64          // that the transaction uses beside its execution, and that its gas limit must allow
	Operator gas.OperatorFee // what the sender pays beside Fee, by the gas used
}

// Of returns what a transaction that uses that much gas pays beside gas used × price, in wei. It saturates.
func (c Cost) Of(gasUsed uint64) uint256.Int {
	fee := c.Operator.Of(gasUsed)
	if _, over := fee.AddOverflow(&fee, &c.Fee); over {
		fee.SetAllOne()
	}
	return fee
}

// At returns the cost of a transaction that uses that much gas, as gas at a price in wei per gas: what preVerificationGas must hold for
// it. It saturates.
func (c Cost) At(price uint256.Int, gasUsed uint64) uint64 {
	fee := gas.AtPrice(c.Of(gasUsed), price)
	if sum := fee + c.Gas; sum >= fee {
		return sum
	}
	return ^uint64(0)
}

// Transaction is what is known of a transaction that is not signed yet.
type Transaction struct {
	To             common.Address
	Data           []byte
	Authorizations []types.SetCodeAuthorization
}

// Oracle answers for one chain. It is safe for concurrent use; a nil Oracle is one of a chain that does not charge.
type Oracle struct {
	kind Kind
	last atomic.Pointer[opPrices] // at the block asked about last
}

// New returns an oracle for a chain of the kind.
func New(kind Kind) *Oracle { return &Oracle{kind: kind} }

// Kind returns how the chain charges.
func (o *Oracle) Kind() Kind {
	if o == nil {
		return None
	}
	return o.kind
}

// Reads is what to read of a view for the same purpose as [Quote.Questions]: probably all that a cost depends on. Its
// values mean nothing.
func (o *Oracle) Reads() *evm.ReadSet {
	switch o.Kind() {
	case OPStack:
		return o.opReads()
	case Scroll:
		return scrollReads()
	default:
		return new(evm.ReadSet)
	}
}

// Quote is the question what one transaction's data costs. It is used by one goroutine.
type Quote struct {
	oracle    *Oracle
	tx        Transaction
	arbitrum  *arbitrumAnswer
	questions []*evm.Question
}

// Quote returns the question for a transaction.
func (o *Oracle) Quote(tx Transaction) *Quote {
	q := &Quote{oracle: o, tx: tx}
	if o.Kind() == Arbitrum {
		q.arbitrum = new(arbitrumAnswer)
		q.questions = []*evm.Question{evm.NewQuestion(&q.arbitrum.output, "eth_call", nodeInterfaceCall(tx))}
	}
	return q
}

// Questions are what to send along with a read of the view ([evm.View.PrefetchReads]), so that Cost has no round trip of
// its own.
func (q *Quote) Questions() []*evm.Question { return q.questions }

// Cost returns the answer at the view's block. Questions that were sent along must have been sent with the same view. An
// error is the node's trouble, or that the chain is not of the kind: [ErrNoOracle].
func (q *Quote) Cost(ctx context.Context, view *evm.View) (Cost, error) {
	switch q.oracle.Kind() {
	case None:
		return Cost{}, nil
	case OPStack:
		return q.oracle.opCost(ctx, view, q.tx)
	case Arbitrum:
		return q.arbitrumCost(ctx, view)
	case Scroll:
		return scrollCost(ctx, view, q.tx)
	default:
		return Cost{}, fmt.Errorf("%w: %d", ErrKind, q.oracle.kind)
	}
}

// ErrNoOracle says that the contract that tells the fee is not there, or answers something else.
var ErrNoOracle = errors.New("no oracle of data fees")
