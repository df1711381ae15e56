package node

import (
	"context"
	"slices"
	"time"

	"baler/pool"
	"baler/rpc"
	"baler/store"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// Vitals is how the node is at one moment, in numbers.
type Vitals struct {
	Head      uint64
	HeadAge   time.Duration
	Checks    []CheckResult
	Pool      pool.Stats
	Fees      []FeeQuantile // of the pool's operations, in order
	Senders   []rpc.SenderStatus
	Memo      validation.MemoStats
	Bundles   validation.BundleStats
	Store     store.Stats
	Disagrees bool                           // the local EVM with the node
	Balances  map[common.Address]uint256.Int // of the keys, wei, as far as they could be read
	Leases    []rpc.KeyStatus                // of every key that is to be used; nil: keys need no lease
}

// FeeQuantile is what the operation at one place of the pool's ranking pays above the next base fee.
type FeeQuantile struct {
	Share float64 // of the operations that pay less
	Wei   float64 // per gas; negative: it does not pay the base fee
}

// Vitals reads the node's numbers. It changes nothing, and asks the chain's node for nothing but the keys' balances.
func (n *Node) Vitals(ctx context.Context) Vitals {
	v := Vitals{Checks: n.checks(ctx), Memo: n.validator.inner.MemoStats(), Bundles: n.validator.inner.BundleStats(), Store: n.config.Store.Stats(), Disagrees: n.disagreement.Load() != nil}
	v.Senders, _ = n.Senders(ctx) // has no errors
	v.Balances = n.Balances(ctx)
	if n.config.Keys != nil {
		v.Leases = n.keys.states()
	}
	at := n.head.Load()
	if at != nil {
		v.Head, v.HeadAge = at.number(), time.Since(at.seen)
	}
	var operations []*pool.Operation
	n.pool.look(func(p *pool.Pool) {
		v.Pool = p.Stats()
		operations = slices.AppendSeq(make([]*pool.Operation, 0, p.Len()), p.All())
	})
	if at != nil {
		v.Fees = feeQuantiles(operations, at.baseFee)
	}
	return v
}

// feeQuantiles is what operations pay above a base fee, at some places of their order.
func feeQuantiles(operations []*pool.Operation, baseFee uint256.Int) []FeeQuantile {
	if len(operations) == 0 {
		return nil
	}
	fees := make([]float64, len(operations))
	base := baseFee.Float64()
	for i, op := range operations {
		fees[i] = min(op.Op.MaxPriorityFeePerGas.Float64(), op.Op.MaxFeePerGas.Float64()-base)
	}
	slices.Sort(fees)
	var quantiles []FeeQuantile
	for _, share := range []float64{0, 0.25, 0.5, 0.75, 0.9, 1} {
		quantiles = append(quantiles, FeeQuantile{share, fees[int(share*float64(len(fees)-1))]})
	}
	return quantiles
}
