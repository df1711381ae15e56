package validation_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"baler/userop"
	"baler/validation"

	"github.com/google/go-cmp/cmp"
)

// A bundle that runs here and at the node at once comes to what it comes to one after the other, and no call outlives it.
func TestABundleRunsHereAndAtTheNodeAtOnce(t *testing.T) {
	var begun, open atomic.Int32
	f := newFixture(t, validation.Config{Beside: func(run func()) func() {
		var group sync.WaitGroup
		begun.Add(1)
		open.Add(1)
		group.Go(func() { run(); open.Add(-1) })
		return group.Wait
	}})
	after := validation.New(f.all(), validation.Config{})
	good := []*userop.UserOperation{f.sign(f.op(f.deployed(userop.V08, 1))), f.sign(f.op(f.deployed(userop.V08, 2)))}
	bad := f.sign(f.op(f.deployed(userop.V08, 3)))
	bad.Signature[5] ^= 1
	for name, ops := range map[string][]*userop.UserOperation{"all pass": good, "one fails": {good[0], bad, good[1]}, "all fail": {bad}} {
		begun.Store(0)
		have, err := f.v.ValidateBundle(t.Context(), f.head(), f.bundle(userop.V08, ops...))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want, err := after.ValidateBundle(t.Context(), f.head(), f.bundle(userop.V08, ops...))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%s (-one after the other +at once):\n%s", name, diff)
		}
		if begun.Load() == 0 || open.Load() != 0 {
			t.Errorf("%s: have %d calls begun, %d of them open; want one at least, and none", name, begun.Load(), open.Load())
		}
	}
}
