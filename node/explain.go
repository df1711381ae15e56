package node

import (
	"context"
	"fmt"

	"baler/gas"
	"baler/pool"
	"baler/rpc"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// ExplainUserOperation implements [rpc.BalerBackend]: what happened to an operation, and why it waits.
func (n *Node) ExplainUserOperation(ctx context.Context, hash common.Hash) (*rpc.Explanation, error) {
	at := n.head.Load()
	if at == nil {
		return nil, errNotReady
	}
	status, err := n.UserOperationStatus(ctx, hash)
	if err != nil {
		return nil, err
	}
	e := &rpc.Explanation{Status: status, Timeline: n.timeline.of(hash)}
	w, pending := n.placeOf(hash, at.baseFee)
	if !pending {
		return e, nil
	}
	priority, err := at.priorityFee(ctx, n)
	if err != nil {
		return nil, err
	}
	if e.Expected, err = n.expectation(at, priority, w); err != nil {
		return nil, err
	}
	e.Expected.Waits = append(e.Expected.Waits, n.waits(at, e.Expected)...)
	if status.Reason != "" {
		e.Expected.Waits = append(e.Expected.Waits, "left out last time: "+status.Reason)
	}
	return e, nil
}

// place is an operation in the pool, and what is before it.
type place struct {
	op           *pool.Operation
	predecessors uint64
	payingMore   int
	held         bool
}

// placeOf looks an operation up in the pool; false: it is not there.
func (n *Node) placeOf(hash common.Hash, baseFee uint256.Int) (place, bool) {
	var w place
	n.pool.look(func(p *pool.Pool) {
		if w.op = p.Get(hash); w.op == nil {
			return
		}
		ep, op := w.op.EntryPoint.Address, w.op.Op
		w.predecessors, w.held = p.Predecessors(ep, op.Sender, op.Nonce), p.Holder(hash) != ""
		own := op.EffectivePriorityFee(&baseFee)
		for _, other := range p.Dump(ep) {
			if fee := other.Op.EffectivePriorityFee(&baseFee); fee.Gt(&own) {
				w.payingMore++
			}
		}
	})
	return w, w.op != nil
}

// policy is how bundles' fees, and those that operations must offer, follow from the chain's.
func (n *Node) policy() gas.Policy {
	c := &n.config.Proposer
	return gas.Policy{
		Mode: c.PriorityFeeMode, BaseFeeOverheadPercent: c.BaseFeeOverheadPercent, PriorityFeeOverheadPercent: c.PriorityFeeOverheadPercent,
	}
}

// expectation compares what an operation offers with what is asked for, now and while the base fee falls.
func (n *Node) expectation(at *head, priority uint256.Int, w place) (*rpc.Expectation, error) {
	op := w.op
	e := &rpc.Expectation{
		Block: at.number(), BaseFee: at.baseFee, Offers: gas.Fees{MaxFee: op.Op.MaxFeePerGas, MaxPriority: op.Op.MaxPriorityFeePerGas},
		Predecessors: w.predecessors, PayingMore: w.payingMore, Held: w.held,
		ValidAfter: op.ValidAfter, ValidUntil: op.ValidUntil, InBlocks: op.ValidityInBlocks,
	}
	_, e.Required = n.policy().Required(at.baseFee, priority)
	highest, ok := n.policy().HighestBaseFee(e.Offers, priority)
	if !ok {
		return e, nil
	}
	e.HighestBaseFee = &highest
	empty := types.CopyHeader(at.header)
	empty.GasUsed = 0
	baseFee := at.baseFee
	for blocks := range uint64(rpc.MaxEmptyBlocks) {
		if !baseFee.Gt(&highest) {
			earliest := at.number() + 1 + blocks
			e.EarliestBlock = &earliest
			break
		}
		empty.BaseFee = baseFee.ToBig()
		next, err := gas.NextBaseFee(n.config.Rules, empty)
		if err != nil {
			return nil, err
		}
		baseFee = next
	}
	return e, nil
}

// waits lists why an operation is not in the next bundle, as far as that is known before it is simulated again.
func (n *Node) waits(at *head, e *rpc.Expectation) []string {
	var waits []string
	say := func(format string, args ...any) { waits = append(waits, fmt.Sprintf(format, args...)) }
	switch {
	case e.Offers.MaxFee.Lt(&e.Required.MaxFee):
		say("its max fee is too low for the next block: have %s, want %s wei per gas", e.Offers.MaxFee.Dec(), e.Required.MaxFee.Dec())
	case e.Offers.MaxPriority.Lt(&e.Required.MaxPriority):
		say("its priority fee is too low: have %s, want %s wei per gas", e.Offers.MaxPriority.Dec(), e.Required.MaxPriority.Dec())
	}
	if e.HighestBaseFee == nil {
		say("it is taken at no base fee while the priority fee stays as it is")
	}
	now, unit := at.header.Time, "second"
	if e.InBlocks {
		now, unit = at.number(), "block"
	}
	if e.ValidAfter > now {
		say("it is valid from %s %d on, the head is at %d", unit, e.ValidAfter, now)
	}
	if e.Predecessors > 0 {
		say("%d operations of its sender come before it", e.Predecessors)
	}
	if e.Held {
		say("a bundle sender holds it, or another operation of its sender")
	}
	return waits
}
