package node

import (
	"context"

	"baler/entrypoint"
	"baler/evm"
	"baler/gas"
	"baler/pool"
	"baler/rpc"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

var _ rpc.BalerBackend = (*Node)(nil)

// UserOperationStatus implements [rpc.BalerBackend]. Where an operation is, the pool and the chain say; the timeline adds
// which transaction it is in, and why it is not further.
func (n *Node) UserOperationStatus(ctx context.Context, hash common.Hash) (*rpc.OperationStatus, error) {
	var waits, held bool
	n.pool.look(func(p *pool.Pool) { waits, held = p.Get(hash) != nil, p.Holder(hash) != "" })
	now, known := n.timeline.standing(hash)
	if waits {
		return pendingStatus(now, held), nil
	}
	mined, err := n.UserOperationReceipt(ctx, hash)
	if err != nil {
		return nil, err
	}
	if mined != nil {
		return n.minedStatus(ctx, hash, mined)
	}
	switch {
	case known && now.stage == stageRefused:
		return &rpc.OperationStatus{State: rpc.StateRejected, Reason: now.reason}, nil
	case known && now.stage == stageRemoved:
		return &rpc.OperationStatus{State: rpc.StateDropped, Reason: now.reason}, nil
	case known && now.stage == stageMined:
		// Its block has just left the chain, or the node answers for another: what is remembered is newer.
		return &rpc.OperationStatus{State: rpc.StatePending, Reason: "its block left the chain"}, nil
	default:
		return &rpc.OperationStatus{State: rpc.StateNotFound}, nil
	}
}

// pendingStatus is the status of an operation in the pool. Only one whose account is held by a bundle sender can be in a
// bundle.
func pendingStatus(now standing, held bool) *rpc.OperationStatus {
	switch {
	case held && now.stage == stageSubmitted:
		return &rpc.OperationStatus{State: rpc.StateSubmitted, Transaction: &now.tx}
	case held && now.stage == stageBundled:
		return &rpc.OperationStatus{State: rpc.StateBundled}
	default:
		return &rpc.OperationStatus{State: rpc.StatePending, Reason: now.reason}
	}
}

func (n *Node) minedStatus(ctx context.Context, hash common.Hash, receipt *rpc.OperationReceipt) (*rpc.OperationStatus, error) {
	place, err := n.find(ctx, hash)
	if err != nil {
		return nil, err
	}
	status := &rpc.OperationStatus{State: rpc.StateIncluded}
	if place != nil {
		status.Transaction, status.Block = &place.inclusion.TransactionHash, &place.inclusion.BlockNumber
	}
	if !receipt.Success {
		status.State, status.Reason = rpc.StateFailed, "its call reverted"
		if len(receipt.Reason) > 0 {
			status.Reason += ": " + entrypoint.RevertReason(receipt.Reason)
		}
	}
	return status, nil
}

// UserOperationTimeline implements [rpc.BalerBackend].
func (n *Node) UserOperationTimeline(_ context.Context, hash common.Hash) ([]rpc.TimelineEntry, error) {
	return n.storyOf(hash), nil
}

// headroom is what a price adds to what is required now.
type headroom struct {
	rises    int    // blocks for which the base fee may rise as steeply as it can
	priority uint64 // percent on top of the priority fee, which moves too
}

// GasPrice implements [rpc.BalerBackend]: what the proposer would ask of an operation at this head, by the same functions.
func (n *Node) GasPrice(ctx context.Context) (*rpc.GasPrice, error) {
	at := n.head.Load()
	if at == nil {
		return nil, errNotReady
	}
	priority, err := at.priorityFee(ctx, n)
	if err != nil {
		return nil, err
	}
	price := &rpc.GasPrice{Block: at.number(), BaseFee: at.baseFee, Required: n.required(at.baseFee, priority)}
	for _, p := range []struct {
		fees *gas.Fees
		headroom
	}{
		{&price.Slow, headroom{rises: 1}},
		{&price.Standard, headroom{rises: 3, priority: 10}},
		{&price.Fast, headroom{rises: 6, priority: 25}},
	} {
		risen, err := n.steepest(at.header, at.baseFee, p.rises)
		if err != nil {
			return nil, err
		}
		*p.fees = n.required(risen, gas.AddPercent(priority, p.priority))
	}
	return price, nil
}

// required is the least that an operation must offer for a block with the base fee: what the proposer asks for a first
// bundle, what that bundle pays itself (with less it would make a loss), and validation's own floor.
func (n *Node) required(baseFee, priority uint256.Int) gas.Fees {
	c := &n.config.Proposer
	bundle := gas.BundleFees(baseFee, priority, gas.Fees{}, c.BaseFeeOverheadPercent, c.PriorityFeeOverheadPercent)
	asked := gas.Max(bundle, gas.RequiredFees(c.PriorityFeeMode, bundle, baseFee, false))
	v := &n.config.Validation
	return gas.Max(asked, gas.Fees{MaxFee: v.MinMaxFee, MaxPriority: v.MinPriorityFee})
}

// steepest returns the base fee after full blocks, by the chain's own rule: after n of them it cannot be higher.
func (n *Node) steepest(header *types.Header, baseFee uint256.Int, blocks int) (uint256.Int, error) {
	config := evm.ChainConfigFor(n.config.ChainID)
	full := types.CopyHeader(header)
	full.GasUsed = full.GasLimit
	for range blocks {
		full.BaseFee = baseFee.ToBig()
		next, err := gas.NextBaseFee(config, full)
		if err != nil {
			return uint256.Int{}, err
		}
		baseFee = next
	}
	return baseFee, nil
}
