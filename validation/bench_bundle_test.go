package validation_test

import (
	"testing"

	"baler/entrypoint"
	"baler/userop"
	"baler/validation"
)

// BenchmarkBundle100 is a bundle of 100 sponsored operations from the pool, at one head: their second simulations from memory, and
// the run of the whole bundle here; without the node's own run, which takes place at the same time.
func BenchmarkBundle100(b *testing.B) {
	f := newFixture(b, validation.Config{NodeCheck: validation.NodeCheckNever, SampleEvery: -1})
	ep := entrypoint.Canonical(userop.V07)
	ops := f.deployMany(userop.V07, 100)
	for _, op := range ops {
		if _, err := f.validate(op); err != nil {
			b.Fatal(err)
		}
	}
	head, bundle := f.head(), f.bundle(userop.V07, ops...)
	b.ReportAllocs()
	for b.Loop() {
		if err := f.v.Prepare(b.Context(), head, ep, ops); err != nil {
			b.Fatal(err)
		}
		for _, op := range ops {
			if _, err := f.v.Validate(b.Context(), head, ep, op, validation.Options{}); err != nil {
				b.Fatal(err)
			}
		}
		result, err := f.v.ValidateBundle(b.Context(), head, bundle)
		if err != nil || len(result.Ops) != len(ops) {
			b.Fatal(err, result)
		}
	}
}
