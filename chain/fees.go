package chain

import (
	"context"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

const (
	// priorityBlocks is how many blocks the priority fee is read from.
	priorityBlocks = 10
	// quietRatio is the share of its gas limit from which on a block tells what inclusion costs.
	quietRatio = 0.05
)

// FeePolicy bounds what the oracle may say. Fees are in wei per gas.
type FeePolicy struct {
	Minimum uint256.Int
	Maximum uint256.Int // 0: no limit
	// OwnGas returns the gas our own transactions used in a block. Nil: none.
	OwnGas func(block uint64) uint64
}

// FeeHistory is what the gas unit in the middle of each of the last blocks paid.
type FeeHistory struct {
	oldest   uint64
	gasLimit uint64
	used     []float64        // share of the gas limit, by block
	rewards  [][]*hexutil.Big // wei per gas, by block
}

// FeeHistory reads the fees of the last blocks up to head.
func (c *Client) FeeHistory(ctx context.Context, head *types.Header) (*FeeHistory, error) {
	const middle = 50.0 // percentile
	var history struct {
		OldestBlock  hexutil.Uint64   `json:"oldestBlock"`
		Reward       [][]*hexutil.Big `json:"reward"`
		GasUsedRatio []float64        `json:"gasUsedRatio"`
	}
	err := c.CallContext(ctx, &history, "eth_feeHistory", hexutil.Uint(priorityBlocks), hexutil.EncodeBig(head.Number), []float64{middle})
	if err != nil {
		return nil, err
	}
	return &FeeHistory{oldest: uint64(history.OldestBlock), gasLimit: head.GasLimit, used: history.GasUsedRatio, rewards: history.Reward}, nil
}

// PriorityFee is [FeeHistory.PriorityFee] of the history up to head.
func (c *Client) PriorityFee(ctx context.Context, head *types.Header, policy FeePolicy) (uint256.Int, error) {
	history, err := c.FeeHistory(ctx, head)
	if err != nil {
		return uint256.Int{}, err
	}
	return history.PriorityFee(policy)
}

// PriorityFee suggests a priority fee in wei per gas for the next block: the median over the last blocks of what the gas
// unit in the middle of each block paid.
//
// A block counts with the minimum if it tells nothing about the market: one that is nearly empty, since any fee would have
// been in it, and one of which our own transactions are half or more, since its median is what we chose to pay. So
// neither our own bundles nor foreign transactions on a quiet chain talk the fee up, were there one in each block.
func (h *FeeHistory) PriorityFee(policy FeePolicy) (uint256.Int, error) {
	paid := make([]uint256.Int, 0, priorityBlocks)
	for i, ratio := range h.used {
		fee := policy.Minimum
		number := h.oldest + uint64(i)
		if used := ratio * float64(h.gasLimit); ratio >= quietRatio && !policy.dominated(number, used) && i < len(h.rewards) {
			rewards := h.rewards[i]
			if len(rewards) != 1 || rewards[0] == nil {
				return uint256.Int{}, fmt.Errorf("eth_feeHistory: block %d has %d rewards, want 1", number, len(rewards))
			}
			if overflow := fee.SetFromBig(rewards[0].ToInt()); overflow {
				return uint256.Int{}, fmt.Errorf("eth_feeHistory: the reward of block %d is over 256 bits", number)
			}
		}
		paid = append(paid, policy.bound(fee))
	}
	if len(paid) == 0 {
		return policy.bound(policy.Minimum), nil
	}
	slices.SortFunc(paid, func(a, b uint256.Int) int { return a.Cmp(&b) })
	return paid[(len(paid)-1)/2], nil
}

// dominated reports whether our own transactions are half or more of what a block used.
func (p FeePolicy) dominated(block uint64, used float64) bool {
	return p.OwnGas != nil && 2*float64(p.OwnGas(block)) >= used
}

func (p FeePolicy) bound(fee uint256.Int) uint256.Int {
	if fee.Lt(&p.Minimum) {
		return p.Minimum
	}
	if !p.Maximum.IsZero() && fee.Gt(&p.Maximum) {
		return p.Maximum
	}
	return fee
}
