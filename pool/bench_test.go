package pool

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// crowd returns n valid operations of n senders with fees around a base fee of 1,000, as wallets offer them.
func crowd(n int) []*Operation {
	random := rand.New(rand.NewPCG(1, 2))
	ops := make([]*Operation, n)
	for i := range ops {
		tip := random.Uint64N(100) + 1
		var hash common.Hash
		for j := range hash {
			hash[j] = byte(random.Uint32())
		}
		ops[i] = &Operation{
			Op: &userop.UserOperation{
				Version: userop.V07, Sender: common.BytesToAddress(hash[:20]), CallGasLimit: 50_000,
				VerificationGasLimit: 100_000, PreVerificationGas: 60_000,
				MaxFeePerGas:         *uint256.NewInt(900 + random.Uint64N(1100) + tip),
				MaxPriorityFeePerGas: *uint256.NewInt(tip),
				CallData:             make([]byte, 132),
				Signature:            make([]byte, 65),
			},
			EntryPoint: ep07,
			Hash:       hash,
			ValidUntil: 5000 + random.Uint64N(1000),
		}
	}
	return ops
}

func filled(tb testing.TB, ops []*Operation) *Pool {
	tb.Helper()
	cfg := DefaultConfig()
	cfg.MaxBytes = 1 << 30
	p := New(cfg)
	p.Head(Head{Number: 100, Timestamp: 1000, BaseFee: *uint256.NewInt(1000)})
	for _, op := range ops {
		if _, err := p.Add(op); err != nil {
			tb.Fatal(err)
		}
	}
	return p
}

func sizes(b *testing.B, run func(b *testing.B, n int)) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("pending=%d", n), func(b *testing.B) { run(b, n) })
	}
}

// BenchmarkGrowthInsertAndRemove admits an operation into a pool of n and takes it out again.
func BenchmarkGrowthInsertAndRemove(b *testing.B) {
	sizes(b, func(b *testing.B, n int) {
		ops := crowd(n + 1000)
		p := filled(b, ops[:n])
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			op := ops[n+i%1000]
			if _, err := p.Add(op); err != nil {
				b.Fatal(err)
			}
			if _, err := p.Remove(op.Hash, Dropped, 0); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
}

// BenchmarkGrowthSelect256 takes the 256 best operations of n.
func BenchmarkGrowthSelect256(b *testing.B) {
	sizes(b, func(b *testing.B, n int) {
		p := filled(b, crowd(n))
		q := Query{Builder: "x", EntryPoint: ep07.Address, BaseFee: *uint256.NewInt(1000), MaxOps: 256}
		b.ReportAllocs()
		for b.Loop() {
			if len(p.Candidates(q)) != 256 {
				b.Fatal("too few candidates")
			}
		}
	})
}

// BenchmarkGrowthNewBaseFee moves the base fee by an eighth, the most a block may, back and forth.
func BenchmarkGrowthNewBaseFee(b *testing.B) {
	sizes(b, func(b *testing.B, n int) {
		p := filled(b, crowd(n))
		q := Query{Builder: "x", EntryPoint: ep07.Address, MaxOps: 256}
		b.ReportAllocs()
		number := uint64(100)
		for b.Loop() {
			number++
			q.BaseFee = *uint256.NewInt(1000 + number%2*125)
			p.Head(Head{Number: number, Timestamp: 1000, BaseFee: q.BaseFee})
			if len(p.Candidates(q)) != 256 {
				b.Fatal("too few candidates")
			}
		}
	})
}

// BenchmarkGrowthFill makes a pool of n operations, and reports what each takes in memory.
func BenchmarkGrowthFill(b *testing.B) {
	sizes(b, func(b *testing.B, n int) {
		ops := crowd(n)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var p *Pool
		for b.Loop() {
			p = filled(b, ops)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/operation")
		runtime.KeepAlive(p)
	})
}

// BenchmarkGrowthFillBareTables fills nothing but two of Go's tables with the hashes and the senders of n operations, for comparison with
// BenchmarkGrowthFill: what tables that leave the processor's caches take.
func BenchmarkGrowthFillBareTables(b *testing.B) {
	sizes(b, func(b *testing.B, n int) {
		ops := crowd(n)
		for b.Loop() {
			byHash, bySender := make(map[common.Hash]*Operation), make(map[common.Address]*Operation)
			for _, op := range ops {
				byHash[op.Hash], bySender[op.Op.Sender] = op, op
			}
		}
	})
}

// What an operation is counted with against the byte budget covers what it takes, and is not far above.
func TestMemoryPerOperation(t *testing.T) {
	const n = 20_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	p := filled(t, crowd(n))
	runtime.GC()
	runtime.ReadMemStats(&after)
	taken := (after.HeapAlloc - before.HeapAlloc) / n
	counted := p.bytes / n
	t.Logf("an operation takes %d bytes and is counted with %d", taken, counted)
	if taken > counted || taken*2 < counted {
		t.Errorf("an operation takes %d bytes and is counted with %d", taken, counted)
	}
	if beside := taken - 132 - 65; beside > 2000 {
		t.Errorf("an operation takes %d bytes beside its calldata and signature, want less than 2000", beside)
	}
	runtime.KeepAlive(p)
}
