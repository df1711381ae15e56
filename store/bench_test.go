package store

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"

	"baler/bundlesender"
	"baler/gas"
)

// BenchmarkJournal measures what a bundle costs its sender: the steps from the proposal to the signed, durable transaction.
func BenchmarkJournal(b *testing.B) {
	for _, senders := range []int{1, 16} {
		b.Run(fmt.Sprintf("senders=%d", senders), func(b *testing.B) {
			s := mustOpen(b, b.TempDir(), Options{})
			stop := start(b, s)
			var group sync.WaitGroup
			b.ResetTimer()
			for i := range senders {
				group.Go(func() { benchmarkSender(b, s, common.Address{byte(i)}, (b.N+senders-1)/senders) })
			}
			group.Wait()
			b.StopTimer()
			stats := s.Stats()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "bundles/s")
			b.ReportMetric(float64(stats.Calls)/float64(stats.Transactions), "calls/fsync")
			stop()
		})
	}
}

func benchmarkSender(b *testing.B, s *Store, key common.Address, bundles int) {
	j, err := s.Journal(key)
	if err != nil {
		b.Error(err)
		return
	}
	resumed, err := j.Resume(b.Context(), bundlesender.DefaultConfig())
	if err != nil {
		b.Error(err)
		return
	}
	m := resumed.Machine
	var propose bundlesender.Propose
	step := func(e bundlesender.Event) {
		effects, err := j.Step(b.Context(), m, e)
		if err != nil {
			b.Error(err)
		}
		for _, effect := range effects {
			switch effect := effect.(type) {
			case bundlesender.Propose:
				propose = effect
			case bundlesender.Observe:
				step := bundlesender.Observed{Seq: effect.Seq}
				more, err := j.Step(b.Context(), m, step)
				if err != nil {
					b.Error(err)
				}
				if len(more) > 0 {
					propose, _ = more[len(more)-1].(bundlesender.Propose)
				}
			default: // not of interest
			}
		}
	}
	step(bundlesender.Head{Number: 1, Hash: common.Hash{1}})
	for n := range uint64(bundles) {
		id := m.Record().NextAttempt
		ops := []common.Hash{{byte(n)}, {byte(n >> 8), 1}, {2, byte(n)}, {3, byte(n)}, {4}, {5}, {6}, {7}}
		fees := gas.Fees{MaxFee: *uint256.NewInt(2e9), MaxPriority: *uint256.NewInt(1e9)}
		step(bundlesender.BundleReady{Seq: propose.Seq, Fees: fees, GasLimit: 1_000_000, Operations: ops, Claimed: ops})
		tx := someTransaction(id, n, fees)
		if err := j.Signed(b.Context(), bundlesender.Attempt{ID: id, Nonce: n, Operations: ops}, tx, ""); err != nil {
			b.Error(err)
			return
		}
		step(bundlesender.Signed{Attempt: id, Hash: tx.Hash(), Fees: fees})
		step(bundlesender.Submitted{Attempt: id, Hash: tx.Hash(), Outcome: bundlesender.Accepted})
		block := common.Hash{1, 2}
		binary.BigEndian.PutUint64(block[8:], n)
		step(bundlesender.Head{Number: n + 2, Hash: block, Observation: &bundlesender.Observation{
			Nonce: n + 1, Mined: []bundlesender.Mined{{Attempt: id, Block: n + 2, Hash: block}},
		}})
	}
}
