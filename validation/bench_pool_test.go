package validation_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"baler/entrypoint"
	"baler/evm"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
)

// farNode is a node that is some time away: each round trip takes that much longer.
type farNode struct {
	tripNode
	latency time.Duration
}

func (n *farNode) wait(ctx context.Context) error {
	if n.latency == 0 {
		return nil
	}
	timer := time.NewTimer(n.latency)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *farNode) CallContext(ctx context.Context, result any, method string, args ...any) error {
	if err := n.wait(ctx); err != nil {
		return err
	}
	return n.tripNode.CallContext(ctx, result, method, args...)
}

func (n *farNode) BatchCallContext(ctx context.Context, batch []rpc.BatchElem) error {
	if err := n.wait(ctx); err != nil {
		return err
	}
	return n.tripNode.BatchCallContext(ctx, batch)
}

// deployMany creates accounts by bundles of sponsored operations, and returns an operation of each.
func (f *fixture) deployMany(v userop.Version, n int) []*userop.UserOperation {
	f.t.Helper()
	ep := entrypoint.Canonical(v)
	for chunk := range slices.Chunk(f.pending(ep, n), 20) {
		f.sendBundle(f.bundle(v, chunk...))
	}
	ops := make([]*userop.UserOperation, n)
	for i := range ops {
		op := f.op(f.account(v, uint64(10_000+i)))
		op.MaxFeePerGas = *uint256.NewInt(3e9)
		ops[i] = f.sign(f.sponsored(op, 0, 0))
	}
	return ops
}

// BenchmarkRevalidate1000 is the second simulation of a pool of 1,000 sponsored operations of as many accounts, at a new
// head: from memory, run again in the local EVM, and by the node's debug_traceCall with geth's native erc7562Tracer, whose
// answer is judged by the same rules (some of the operations, scaled up). All three in turn in one run; once over loopback,
// once with 50 ms put before each round trip.
func BenchmarkRevalidate1000(b *testing.B) {
	const pool, traced = 1_000, 10
	f := newFixture(b, validation.Config{})
	ep := entrypoint.Canonical(userop.V07)
	ops := f.deployMany(userop.V07, pool)
	node := &farNode{tripNode: tripNode{Node: f.node}}
	v := validation.New(evm.NewSource(node, f.chain.ChainConfig(), evm.Options{}), validation.Config{SampleEvery: -1})
	validate := func() {
		head := f.head()
		if err := v.Prepare(b.Context(), head, ep, ops); err != nil {
			b.Fatal(err)
		}
		for _, op := range ops {
			if _, err := v.Validate(b.Context(), head, ep, op, validation.Options{}); err != nil {
				b.Fatal(err)
			}
		}
	}
	tracer := validation.New(evm.NewSource(node, f.chain.ChainConfig(), evm.Options{}), validation.Config{SampleEvery: -1, Tracing: validation.TracingAlways})
	trace := func() {
		tracer.Forget()
		head := f.head()
		if err := tracer.Prepare(b.Context(), head, ep, ops[:traced]); err != nil {
			b.Fatal(err)
		}
		for _, op := range ops[:traced] {
			if _, err := tracer.Validate(b.Context(), head, ep, op, validation.Options{}); err != nil {
				b.Fatal(err)
			}
		}
	}
	// Validated once, and once more when their code has been seen for long enough.
	validate()
	for range 64 {
		f.mine()
	}
	v.Forget()
	validate()
	for _, c := range []struct {
		name    string
		latency time.Duration
	}{{"loopback", 0}, {"50ms", 50 * time.Millisecond}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			node.latency = c.latency
			defer func() { node.latency = 0 }()
			var memos, reruns, traces []time.Duration
			hits := v.MemoStats().Hits
			var trips, requests int
			for b.Loop() {
				b.StopTimer()
				f.mine()
				v.Forget()
				reruns = append(reruns, timed(validate))
				traces = append(traces, timed(trace)*pool/traced)
				f.mine()
				trips, requests = node.trips, node.requests
				b.StartTimer()
				memos = append(memos, timed(validate))
				trips, requests = node.trips-trips, node.requests-requests
			}
			if have := v.MemoStats().Hits - hits; have != uint64(pool*len(memos)) {
				b.Fatalf("have %d hits in %d rounds of %d", have, len(memos), pool)
			}
			memo, rerun, traceAll := median(memos), median(reruns), median(traces)
			b.ReportMetric(float64(memo)/float64(time.Millisecond), "memo-ms")
			b.ReportMetric(float64(rerun)/float64(time.Millisecond), "rerun-ms")
			b.ReportMetric(float64(traceAll)/float64(time.Millisecond), "trace-ms")
			b.ReportMetric(float64(traceAll)/float64(memo), "x-over-trace")
			b.ReportMetric(float64(rerun)/float64(memo), "x-over-rerun")
			b.ReportMetric(float64(trips), "trips/head")
			b.ReportMetric(float64(requests), "requests/head")
		})
	}
}

// BenchmarkMemoHit is one second validation from memory, with all its state read.
func BenchmarkMemoHit(b *testing.B) {
	f := newFixture(b, validation.Config{SampleEvery: -1})
	for _, v := range userop.Versions() {
		ep := entrypoint.Canonical(v)
		op := f.sign(f.sponsored(f.op(f.deployed(v, 1)), 0, 0))
		head := f.head()
		if _, err := f.v.Validate(b.Context(), head, ep, op, validation.Options{}); err != nil {
			b.Fatal(err)
		}
		b.Run(v.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.v.Validate(b.Context(), head, ep, op, validation.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAdmissionFar is the admission of an operation when the node is 50 ms away: of an account and on a node of which
// nothing is known, of a known account at a new head, and the one debug_traceCall that others need.
func BenchmarkAdmissionFar(b *testing.B) {
	f := newFixture(b, validation.Config{})
	ep := entrypoint.Canonical(userop.V07)
	a := f.deployed(userop.V07, 1)
	node := &farNode{tripNode: tripNode{Node: f.node}, latency: 50 * time.Millisecond}
	variant := func(i int) *userop.UserOperation {
		op := f.op(a)
		op.VerificationGasLimit += uint64(i)
		return f.sign(op)
	}
	var first, known, traces []time.Duration
	var firstTrips, knownTrips int
	for b.Loop() {
		b.StopTimer()
		v := validation.New(evm.NewSource(node, f.chain.ChainConfig(), evm.Options{}), validation.Config{SampleEvery: -1})
		admit := func(i int) (time.Duration, int) {
			f.mine()
			op, head, before := variant(i), f.head(), node.trips
			took := timed(func() {
				if _, err := v.Validate(b.Context(), head, ep, op, validation.Options{}); err != nil {
					b.Fatal(err)
				}
			})
			return took, node.trips - before
		}
		b.StartTimer()
		var took time.Duration
		took, firstTrips = admit(0)
		first = append(first, took)
		took, knownTrips = admit(1)
		known = append(known, took)
		b.StopTimer()
		msg := map[string]any{
			"from": f.bundler(), "to": ep.Address, "gas": hexutil.Uint64(10_000_000),
			"input": hexutil.Bytes(entrypoint.EncodeHandleOps(userop.V07, []*userop.UserOperation{variant(2)}, f.bundler())),
		}
		traces = append(traces, timed(func() {
			var result json.RawMessage
			if err := node.CallContext(b.Context(), &result, "debug_traceCall", msg, "latest", map[string]any{"tracer": "erc7562Tracer"}); err != nil {
				b.Fatal(err)
			}
		}))
		b.StartTimer()
	}
	for name, times := range map[string][]time.Duration{"first-ms": first, "known-ms": known, "trace-ms": traces} {
		b.ReportMetric(float64(median(times))/float64(time.Millisecond), name)
	}
	b.ReportMetric(float64(firstTrips), "first-trips")
	b.ReportMetric(float64(knownTrips), "known-trips")
}
