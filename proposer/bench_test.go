package proposer

import (
	"fmt"
	"testing"
)

// proposes measures a proposal, its claims given back each time, by a validator that passes everything.
func proposes(b *testing.B, pending, size int) {
	b.Helper()
	s := newScene(b, func(c *Config) {
		c.MaxBundleSize, c.MaxBundleGas, c.MaxBlockSharePercent = size, 1<<40, 0
		c.MaxBundleBytes, c.MaxCandidates = 1<<30, max(256, 2*size)
	})
	for i := range pending {
		s.add(b, operation(uint64(i), fees(1000, uint64(50+i%100))))
	}
	req := request()
	req.Head.GasLimit = 1 << 40
	req.Balance.SetAllOne()
	b.ReportAllocs()
	for b.Loop() {
		p := s.propose(b, req)
		if p.Bundle == nil || len(p.Bundle.Ops) != size {
			b.Fatalf("have bundle %v (%s), want %d operations", p.Bundle, p.Reason, size)
		}
		s.pool.Release(req.Builder, p.Bundle.Hashes())
		*s.validator = fakeValidator{}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(size), "ns/operation")
}

// BenchmarkGrowthProposeAll makes a bundle of everything that there is.
func BenchmarkGrowthProposeAll(b *testing.B) {
	for _, n := range []int{1, 10, 100, 400} {
		b.Run(fmt.Sprintf("operations=%d", n), func(b *testing.B) { proposes(b, n, n) })
	}
}

// BenchmarkGrowthPropose100 makes a bundle of a hundred out of a deep pool: from a head to a submission, what the proposer and the pool
// take of the time.
func BenchmarkGrowthPropose100(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("pending=%d", n), func(b *testing.B) { proposes(b, n, 100) })
	}
}
