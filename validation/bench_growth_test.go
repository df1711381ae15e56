package validation_test

import (
	"fmt"
	"testing"

	"baler/userop"
	"baler/validation"
)

// BenchmarkGrowthValidateBundle runs a whole bundle of sponsored operations of as many accounts over state that is known already, and
// asks the node for the last word.
func BenchmarkGrowthValidateBundle(b *testing.B) {
	const most = 200 // more do not fit into the gas of a transaction (EIP-7825)
	f := newFixture(b, validation.Config{})
	ops := f.deployMany(userop.V07, most)
	for _, n := range []int{1, 10, 100, most} {
		bundle := f.bundle(userop.V07, ops[:n]...)
		validate := func() {
			result, err := f.v.ValidateBundle(b.Context(), f.head(), bundle)
			if err != nil || len(result.Failed) > 0 {
				b.Fatalf("have %+v, %v, want a bundle of %d that passes", result, err, n)
			}
		}
		validate()
		b.Run(fmt.Sprintf("operations=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				validate()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/operation")
		})
	}
}
