package validation_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"baler/entrypoint"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common/hexutil"
)

// BenchmarkValidate compares validation in this process, over state that is known already, with the node's
// debug_traceCall of the same handleOps on the same chain over loopback. Both are timed in turn in one run, so that a
// busy machine slows both; the ratio is that of the medians.
func BenchmarkValidate(b *testing.B) {
	f := newFixture(b, validation.Config{})
	for _, v := range userop.Versions() {
		f.t = b
		a := f.deployed(v, 1)
		op := f.sign(f.op(a))
		ep := entrypoint.Canonical(v)
		head := f.head()
		msg := map[string]any{
			"from": f.bundler(), "to": ep.Address, "gas": hexutil.Uint64(30_000_000),
			"input": hexutil.Bytes(entrypoint.EncodeHandleOps(v, []*userop.UserOperation{op}, f.bundler())),
		}
		local := func() {
			f.v.Forget() // or it would be a memo hit: see BenchmarkMemoHit
			if _, err := f.v.Validate(b.Context(), head, ep, op, validation.Options{}); err != nil {
				b.Fatal(err)
			}
		}
		trace := func() {
			var result json.RawMessage
			if err := f.node.CallContext(b.Context(), &result, "debug_traceCall", msg, "latest", map[string]any{"tracer": "erc7562Tracer"}); err != nil {
				b.Fatal(err)
			}
		}
		local()
		trace()
		b.Run(v.String(), func(b *testing.B) {
			b.ReportAllocs()
			var locals, traces []time.Duration
			for b.Loop() {
				locals = append(locals, timed(local))
				if len(locals)%50 == 1 {
					b.StopTimer()
					traces = append(traces, timed(trace))
					b.StartTimer()
				}
			}
			perLocal, perTrace := median(locals), median(traces)
			b.ReportMetric(float64(perLocal), "local-ns")
			b.ReportMetric(float64(perTrace), "trace-ns")
			b.ReportMetric(float64(perTrace)/float64(perLocal), "x-faster")
		})
	}
}

func timed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}
