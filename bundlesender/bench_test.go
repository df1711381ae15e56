package bundlesender

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"
)

// BenchmarkStep is one bundle from proposal to mined, four events: proposal, signed, submitted, head.
func BenchmarkStep(b *testing.B) {
	operations := make([]common.Hash, 32)
	for i := range operations {
		operations[i] = common.Hash{0: byte(i + 1)}
	}
	m := New(DefaultConfig())
	m.Step(Head{Number: 1, Hash: common.Hash{1}, Observation: &Observation{}})
	number := uint64(1)
	b.ReportAllocs()
	for b.Loop() {
		number++
		hash := common.Hash{24: byte(number >> 32), 25: byte(number >> 24), 26: byte(number >> 16), 27: byte(number >> 8), 28: byte(number)}
		id := m.nextAttempt
		m.Step(BundleReady{Seq: m.work.seq, Fees: makeFees(100, 10), GasLimit: 1, Operations: operations})
		m.Step(Signed{Attempt: id, Hash: hash})
		m.Step(Submitted{Attempt: id, Hash: hash, Outcome: Accepted})
		o := Observation{Nonce: m.nonce + 1, Mined: []Mined{{Attempt: id, Block: number, Hash: hash}}}
		m.Step(Head{Number: number, Hash: hash, Observation: &o})
		if m.work.kind != proposing {
			b.Fatalf("have %+v, want a proposal in flight", m.Status())
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4, "ns/event")
}

// BenchmarkIdleHead is the step of a sender that waits.
func BenchmarkIdleHead(b *testing.B) {
	m := New(DefaultConfig())
	m.Step(ModeSet{Auto: false})
	number := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		number++
		m.Step(Head{Number: number, Hash: common.Hash{24: byte(number >> 8), 25: byte(number)}})
	}
}

// TestIdleHeadAllocatesNothing: N idle senders cost nothing per head but the step itself.
func TestIdleHeadAllocatesNothing(t *testing.T) {
	m := New(DefaultConfig())
	m.Step(ModeSet{Auto: false})
	var e Event = Head{Number: 7, Hash: common.Hash{7}}
	if have := testing.AllocsPerRun(100, func() { m.Step(e) }); have != 0 {
		t.Errorf("have %v allocations, want none", have)
	}
}
