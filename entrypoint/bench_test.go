package entrypoint_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"baler/entrypoint"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// bundleSizes runs a benchmark with bundles of so many operations. What one operation of them takes is a metric of its own.
func bundleSizes(b *testing.B, run func(b *testing.B, n int)) {
	for _, n := range []int{1, 10, 100, 400} {
		b.Run(fmt.Sprintf("operations=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			run(b, n)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/operation")
		})
	}
}

func bundleOf(n int) []*userop.UserOperation {
	ops := make([]*userop.UserOperation, n)
	for i := range ops {
		ops[i] = &userop.UserOperation{
			Version: userop.V07, Sender: common.BytesToAddress([]byte{byte(i), byte(i >> 8), 1}), CallData: make([]byte, 132), Signature: make([]byte, 65),
		}
	}
	return ops
}

func BenchmarkGrowthEncodeBundle(b *testing.B) {
	bundleSizes(b, func(b *testing.B, n int) {
		ops := bundleOf(n)
		for b.Loop() {
			entrypoint.EncodeHandleOps(userop.V07, ops, common.Address{2})
		}
	})
}

func BenchmarkGrowthDecodeBundle(b *testing.B) {
	bundleSizes(b, func(b *testing.B, n int) {
		calldata := entrypoint.EncodeHandleOps(userop.V07, bundleOf(n), common.Address{2})
		for b.Loop() {
			if ops, _, err := entrypoint.DecodeBundle(userop.V07, calldata); err != nil || len(ops) != n {
				b.Fatalf("have %d operations (%v), want %d", len(ops), err, n)
			}
		}
	})
}

// BenchmarkGrowthDecodeReceipt reads a bundle's receipt as the node sends it, and gives each operation its logs: two of its own, and
// its UserOperationEvent.
func BenchmarkGrowthDecodeReceipt(b *testing.B) {
	bundleSizes(b, func(b *testing.B, n int) {
		ep := entrypoint.Canonical(userop.V07).Address
		receipt := &types.Receipt{Status: types.ReceiptStatusSuccessful, GasUsed: 1, Logs: []*types.Log{{Address: ep, Topics: []common.Hash{entrypoint.TopicBeforeExecution}}}}
		for i := range n {
			own := &types.Log{Address: common.Address{9}, Topics: []common.Hash{{1}, {2}, {3}}, Data: make([]byte, 32)}
			event := &types.Log{
				Address: ep, Topics: []common.Hash{entrypoint.TopicUserOperationEvent, {byte(i), byte(i >> 8), 1}, common.BytesToHash([]byte{1}), {}},
				Data: make([]byte, 4*32),
			}
			receipt.Logs = append(receipt.Logs, own, own, event)
		}
		raw, err := json.Marshal(receipt)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			var have types.Receipt
			if err := json.Unmarshal(raw, &have); err != nil {
				b.Fatal(err)
			}
			if split := entrypoint.SplitLogs(have.Logs, ep); len(split) != n || len(split[n-1].Logs) != 3 {
				b.Fatalf("have the logs of %d operations, want %d", len(split), n)
			}
		}
	})
}
