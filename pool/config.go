package pool

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// Config holds the pool's limits. DefaultConfig has the values of ERC-7562, under the names given there.
type Config struct {
	// ReplacementFeeIncreasePercent is how much higher both fees of a replacement must be.
	ReplacementFeeIncreasePercent uint64

	SameSenderCount             uint64 // SAME_SENDER_MEMPOOL_COUNT
	SameUnstakedEntityCount     uint64 // SAME_UNSTAKED_ENTITY_MEMPOOL_COUNT
	ThrottledEntityCount        uint64 // THROTTLED_ENTITY_MEMPOOL_COUNT
	ThrottledEntityLiveBlocks   uint64 // THROTTLED_ENTITY_LIVE_BLOCKS
	ThrottledEntityBundleCount  uint64 // THROTTLED_ENTITY_BUNDLE_COUNT
	MinInclusionRateDenominator uint64 // MIN_INCLUSION_RATE_DENOMINATOR
	ThrottlingSlack             uint64 // THROTTLING_SLACK
	BanSlack                    uint64 // BAN_SLACK
	BanOpsSeenPenalty           uint64 // BAN_OPS_SEEN_PENALTY
	MaxOpsAllowedUnstakedEntity uint64 // MAX_OPS_ALLOWED_UNSTAKED_ENTITY

	MinStake        uint256.Int // MIN_STAKE_VALUE, wei; only named in rejections
	MinUnstakeDelay uint64      // MIN_UNSTAKE_DELAY, seconds; only named in rejections

	MaxBytes         uint64 // memory the operations may take, bytes; the worst paying leave when it is full
	MaxSecondsInPool uint64 // how long an operation may wait, seconds; 0: for ever
	ReorgDepth       uint64 // how many blocks mined operations are kept for, to return after a reorg

	Allow []common.Address // entities that no count or reputation limits
	Block []common.Address // entities that are always banned
}

// DefaultConfig returns the values of ERC-7562, 10 % for replacements, 256 MiB of operations and a reorg depth of 64
// blocks.
func DefaultConfig() Config {
	return Config{
		ReplacementFeeIncreasePercent: 10,
		SameSenderCount:               4,
		SameUnstakedEntityCount:       10,
		ThrottledEntityCount:          4,
		ThrottledEntityLiveBlocks:     10,
		ThrottledEntityBundleCount:    4,
		MinInclusionRateDenominator:   10,
		ThrottlingSlack:               10,
		BanSlack:                      50,
		BanOpsSeenPenalty:             10_000,
		MaxOpsAllowedUnstakedEntity:   10_000,
		MinStake:                      *uint256.NewInt(1e18),
		MinUnstakeDelay:               86_400,
		MaxBytes:                      256 << 20,
		ReorgDepth:                    64,
	}
}
