package rpc

import (
	"context"
	"encoding/json"

	"baler/gas"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/holiman/uint256"
)

// Explanation is an operation's whole story: the answer of baler_explainUserOperation.
type Explanation struct {
	Status   *OperationStatus
	Timeline []TimelineEntry
	Expected *Expectation // nil: it does not wait
}

// Expectation is why a pending operation waits, and when it will be taken, at a head and while nothing else changes.
type Expectation struct {
	Block    uint64      // the head
	BaseFee  uint256.Int // of the next block, wei per gas
	Offers   gas.Fees
	Required gas.Fees // to be taken into a first bundle for the next block

	// HighestBaseFee is the highest base fee at which it is taken, wei per gas; nil: it is taken at none.
	HighestBaseFee *uint256.Int
	// EarliestBlock is the first block for which it offers enough, if all blocks until then are empty, as the base fee falls
	// fastest then; nil: that is not within MaxEmptyBlocks.
	EarliestBlock *uint64

	Predecessors uint64 // pending operations of its sender that must be mined before it
	PayingMore   int    // pending operations of its EntryPoint that pay a higher priority fee at the next base fee
	ValidAfter   uint64 // unix seconds, or a block if InBlocks
	ValidUntil   uint64 // likewise; 0: for ever
	InBlocks     bool
	Held         bool // a bundle sender has claimed it

	Waits []string // every reason that is known, in words; none: it is in the next bundle that has room
}

// MaxEmptyBlocks is how far ahead EarliestBlock looks.
const MaxEmptyBlocks = 1000

// ExplainUserOperation is baler_explainUserOperation.
func (a *balerAPI) ExplainUserOperation(ctx context.Context, hash hashParam) (*Explanation, error) {
	return do(ctx, a.calls, "baler_explainUserOperation", func(ctx context.Context) (*Explanation, error) {
		return a.baler.ExplainUserOperation(ctx, common.Hash(hash))
	})
}

// MarshalJSON writes all members, null where there is no value.
func (e *Explanation) MarshalJSON() ([]byte, error) {
	if e == nil {
		return []byte(nullJSON), nil
	}
	timeline := e.Timeline
	if timeline == nil {
		timeline = []TimelineEntry{}
	}
	return json.Marshal(struct {
		Status   *OperationStatus `json:"status"`
		Timeline []TimelineEntry  `json:"timeline"`
		Expected *Expectation     `json:"expected"`
	}{e.Status, timeline, e.Expected})
}

// MarshalJSON writes everything of the chain as quantities.
func (e *Expectation) MarshalJSON() ([]byte, error) {
	if e == nil {
		return []byte(nullJSON), nil
	}
	waits := e.Waits
	if waits == nil {
		waits = []string{}
	}
	return json.Marshal(struct {
		BlockNumber    hexutil.Uint64  `json:"blockNumber"`
		BaseFee        *hexutil.U256   `json:"baseFee"`
		Offers         feesJSON        `json:"offers"`
		Required       feesJSON        `json:"required"`
		HighestBaseFee *hexutil.U256   `json:"highestBaseFee"`
		EarliestBlock  *hexutil.Uint64 `json:"earliestBlock"`
		Predecessors   hexutil.Uint64  `json:"predecessors"`
		PayingMore     hexutil.Uint64  `json:"payingMore"`
		ValidAfter     hexutil.Uint64  `json:"validAfter"`
		ValidUntil     hexutil.Uint64  `json:"validUntil"`
		InBlocks       bool            `json:"inBlocks"`
		Held           bool            `json:"held"`
		Waits          []string        `json:"waits"`
	}{
		hexutil.Uint64(e.Block), (*hexutil.U256)(&e.BaseFee), wireFees(&e.Offers), wireFees(&e.Required), (*hexutil.U256)(e.HighestBaseFee),
		(*hexutil.Uint64)(e.EarliestBlock), hexutil.Uint64(e.Predecessors), hexutil.Uint64(max(e.PayingMore, 0)),
		hexutil.Uint64(e.ValidAfter), hexutil.Uint64(e.ValidUntil), e.InBlocks, e.Held, waits,
	})
}
