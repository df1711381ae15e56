package remote

import (
	"testing"

	"baler/pool"

	"google.golang.org/protobuf/proto"
)

// benched is a client of a fake pool with so many operations.
func benched(b *testing.B, operations int) (*Client, *fakePool) {
	b.Helper()
	p := newFakePool("one")
	p.held = make(chan struct{}, 1<<24)
	for i := range operations {
		p.operations = append(p.operations, pooled(i, 300))
	}
	return connected(b, ClientConfig{}, serve(b, quick(), "", p).url()), p
}

func BenchmarkPooledOperation(b *testing.B) {
	op := pooled(1, 300)
	m, err := encodePooled(op)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := encodePooled(op); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(proto.Size(m)), "bytes")
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := decodePooled(m); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkCalls compares calls over loopback: the empty one is what the transport costs.
func BenchmarkCalls(b *testing.B) {
	c, _ := benched(b, 256)
	edge, builder := c.Edge(), c.Builder()
	op := pooled(1, 300)
	q := pool.Query{Builder: "b", MaxOps: 256}
	for _, run := range []struct {
		name string
		call func() error
	}{
		{"Release of nothing", func() error { return builder.Release(b.Context(), "b", nil) }},
		{"Admit", func() error { return edge.Admit(b.Context(), op, nil) }},
		{"Candidates, 256 that are known", func() error { _, err := builder.Candidates(b.Context(), q); return err }},
		{"Candidates, 256 that are new", func() error {
			c.id++ // as another client
			_, err := builder.Candidates(b.Context(), q)
			return err
		}},
	} {
		b.Run(run.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := run.call(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("Admit, many at once", func(b *testing.B) {
		b.SetParallelism(16)
		b.RunParallel(func(each *testing.PB) {
			for each.Next() {
				if err := edge.Admit(b.Context(), op, nil); err != nil {
					b.Error(err)
				}
			}
		})
	})
}
