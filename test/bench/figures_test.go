package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"
)

func TestAPercentileIsTheNearestRank(t *testing.T) {
	for _, test := range []struct {
		values []float64
		p      int
		want   float64
	}{
		{nil, 50, 0},
		{[]float64{7}, 99, 7},
		{[]float64{3, 1, 2, 4}, 50, 2},
		{[]float64{3, 1, 2, 4}, 99, 4},
		{[]float64{10, 20, 30, 40, 50, 60, 70, 80, 90, 100}, 90, 90},
	} {
		if have := percentile(test.values, test.p); have != test.want {
			t.Errorf("p%d of %v: have %v, want %v", test.p, test.values, have, test.want)
		}
	}
}

// Operations that were accepted and not mined are named, and only what was mined counts for latencies and costs.
func TestFiguresAreOfWhatTheChainIncluded(t *testing.T) {
	start := time.Unix(1000, 0)
	op := func(n byte) common.Hash { return common.Hash{n} }
	d := &driver{refused: map[string]int{"full": 2}, samples: map[common.Hash]*sample{
		op(1): {sent: start, head: 5, accepted: 10 * time.Millisecond, included: start.Add(2 * time.Second), block: 7},
		op(2): {sent: start.Add(time.Second), head: 6, accepted: 30 * time.Millisecond, included: start.Add(2 * time.Second), block: 7},
		op(3): {sent: start.Add(time.Second), head: 6, accepted: 20 * time.Millisecond},
	}}
	f := figures{}
	f.measured(d, []block{
		{number: 6, gasLimit: 1000},
		{number: 7, gasLimit: 1000, gasUsed: 200, bundleGas: 300, bundles: 1, ops: []common.Hash{op(1), op(2)}, failed: 1},
	})
	f.used(
		[2]usage{{cpu: time.Second}, {cpu: time.Second + 10*time.Millisecond, rss: 3 << 20}},
		[2]usage{{}, {cpu: 4 * time.Millisecond}},
		asked{Requests: map[string]uint64{"eth_call": 5}, Submitted: []float64{9}},
		asked{Requests: map[string]uint64{"eth_call": 7, "eth_sendRawTransaction": 1}, Submitted: []float64{9, 40, 20}},
	)
	want := figures{
		Accepted: 3, Included: 2, Missing: 1, Failed: 1, BlockShare: 0.2, Refused: map[string]int{"full": 2},
		AcceptP50MS: 20, AcceptP99MS: 30, AcceptedPerS: 3 / 1.03, IncludedPerS: 1,
		InclusionP50S: 1, InclusionP99S: 2, InclusionP50: 1, InclusionP99: 2,
		OpsPerBundle: 2, GasPerOp: 100, GasLimitPerUsed: 1.5,
		CPUPerOpMS: 5, NodeCPUPerOpMS: 2, RSSMB: 3, RequestsPerOp: 1.5, SubmittedP50MS: 20, SubmittedP99MS: 40,
		Methods: map[string]uint64{"eth_call": 2, "eth_sendRawTransaction": 1},
		Blocks:  []blockFigures{{Number: 6}, {Number: 7, Bundles: 1, Operations: 2, GasUsed: 200}},
	}
	about := cmp.Comparer(func(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 })
	if diff := cmp.Diff(want, f, about); diff != "" {
		t.Errorf("figures (-want +have):\n%s", diff)
	}
}

// The first blocks of a saturated run are not full yet, and those after its end are what is left: they say nothing about how
// full blocks become. Elsewhere every block from the first bundle to the last one counts.
func TestTheFilledShareIsOfTheBlocksUnderLoad(t *testing.T) {
	var blocks []block
	const end = warmUp + 3
	for n := range end + 4 {
		b := block{number: uint64(n), gasLimit: 100, gasUsed: 90, bundles: 1}
		if n < warmUp || n > end {
			b.gasUsed = 1
		}
		blocks = append(blocks, b)
	}
	blocks = append([]block{{gasLimit: 100}}, append(blocks, block{number: end + 4, gasLimit: 100})...)
	var f figures
	if f.ofBlocks(blocks, warmUp, end); f.BlockShare != 0.9 {
		t.Errorf("have share %v, want 0.9", f.BlockShare)
	}
	if f.ofBlocks(blocks, 0, 100); f.BlockShare != (4*90+9)/1300. {
		t.Errorf("have share %v, want %v", f.BlockShare, (4*90+9)/1300.)
	}
}

func TestEachItemOfABatchIsARequest(t *testing.T) {
	var passed []string
	c := &counter{seen: asked{Requests: make(map[string]uint64)}, next: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		passed = append(passed, string(body))
	})}
	c.head = time.Now()
	bodies := []string{
		`{"method":"eth_call"}`, `[{"method":"eth_call"},{"method":"eth_sendRawTransaction"}]`,
	}
	for _, body := range bodies {
		c.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body)))
	}
	if diff := cmp.Diff(bodies, passed); diff != "" {
		t.Errorf("what reached the node (-want +have):\n%s", diff)
	}
	answer := httptest.NewRecorder()
	c.report(answer, nil)
	var seen asked
	if err := json.Unmarshal(answer.Body.Bytes(), &seen); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]uint64{"eth_call": 2, "eth_sendRawTransaction": 1}, seen.Requests); diff != "" {
		t.Errorf("requests (-want +have):\n%s", diff)
	}
	if len(seen.Submitted) != 1 || seen.Submitted[0] < 0 {
		t.Errorf("have %v, want the time of one transaction after the head", seen.Submitted)
	}
}

func TestTheTableComparesContendersOfEqualSigners(t *testing.T) {
	var out strings.Builder
	printTables(&out, []figures{
		{Bundler: "Baler", Scenario: "burst 10", Workload: light, SettleS: 20, Signers: 1, Included: 10, IncludedPerS: 30},
		{Bundler: "Alto", Scenario: "burst 10", Workload: light, SettleS: 20, Signers: 1, Included: 10, IncludedPerS: 20, Refused: map[string]int{"why": 3}},
	})
	for _, want := range []string{
		"|  | Baler, 1 signer | Alto, 1 signer | ratio |\n", "| included/s | 30 | 20 | 1.50 |\n", "| unsettled after 20 s | 0 | 0 |  |\n", "| refused | 0 | 3 | 0.00 |\n",
		"Alto, 1 signer refused: 3 × why\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table has no %q:\n%s", want, out.String())
		}
	}
}

func TestOnlyASectionOfThePageIsWritten(t *testing.T) {
	page := "before\n" + mark("begin", "a") + "old\n" + mark("end", "a") + "between\n" + mark("begin", "b") + mark("end", "b") + "after\n"
	have, err := replaceSection(page, "a", "\nnew\n")
	if err != nil {
		t.Fatal(err)
	}
	want := "before\n" + mark("begin", "a") + "\nnew\n\n" + mark("end", "a") + "between\n" + mark("begin", "b") + mark("end", "b") + "after\n"
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("page (-want +have):\n%s", diff)
	}
	if again, err := replaceSection(have, "a", "new"); err != nil || again != want {
		t.Errorf("written again: have %q (%v), want the same", again, err)
	}
	if _, err := replaceSection(page, "c", "new"); !errors.Is(err, errNoSection) {
		t.Errorf("a section that is not there: have %v, want %v", err, errNoSection)
	}
}

func TestBenchmarksBecomeCurves(t *testing.T) {
	have := parseBenchmarks(`goos: linux
BenchmarkGrowthSelectBest/pending=1000-2         	   35000	      1000 ns/op	  12 B/op	       3 allocs/op
BenchmarkGrowthSelectBest/pending=10000-2        	    3500	     20000 ns/op	  12 B/op	       3 allocs/op
BenchmarkGrowthSelectBest/pending=1000-2         	   35000	       900 ns/op	  12 B/op	       3 allocs/op
BenchmarkGrowthSelectBest/pending=10000-2        	    3500	     30000 ns/op	  12 B/op	       3 allocs/op
BenchmarkOther/pending=10000-2        	    3500	     20000 ns/op
PASS`)
	want := []curve{
		{"select best, µs", "pending operations, in the packages", []point{{1000, 0.9}, {10000, 20}}},
		{"select best, allocations", "pending operations, in the packages", []point{{1000, 3}, {10000, 3}}},
	}
	if diff := cmp.Diff(want, have, cmp.AllowUnexported(curve{}, point{})); diff != "" {
		t.Errorf("curves (-want +have):\n%s", diff)
	}
}

func TestACostThatGrowsFasterThanItsSizeIsSaid(t *testing.T) {
	of := func(costs ...float64) curve {
		c := curve{name: "c", size: "n"}
		for i, cost := range costs {
			c.points = append(c.points, point{float64(int(1) << (2 * i)), cost})
		}
		return c
	}
	for _, test := range []struct {
		curve curve
		want  bool
	}{
		{of(1, 4, 16), true},
		{of(1, 1, 1), true},
		{of(16, 4, 1), true},
		{of(1, 4.5, 18), true}, // noise
		{of(1, 4, 30), false},
		{of(1, 8, 16), false},
	} {
		if have := test.curve.linear(); have != test.want {
			t.Errorf("%v: have linear %v, want %v", test.curve.points, have, test.want)
		}
	}
	var out strings.Builder
	printCurves(&out, []curve{of(1, 8)})
	if want := "| n | 1 | × 4 | 4 | no worse than linear |\n| --- | --- | --- | --- | --- |\n| c | 1 | *× 8.00* | 8 | **no** |\n"; !strings.Contains(out.String(), want) {
		t.Errorf("have\n%s\nwant\n%s", out.String(), want)
	}
}

// A goal is kept only if the worst run keeps it, and is beside Alto only where both did the same.
func TestGoalsAreJudgedByTheWorstRun(t *testing.T) {
	run := func(bundler, scenario, workload string, signers int, change func(f *figures)) figures {
		f := figures{Bundler: bundler, Scenario: scenario, Workload: workload, Signers: signers, CPUPerOpMS: 1, RSSMB: 100}
		change(&f)
		return f
	}
	none := func(*figures) {}
	var out strings.Builder
	printGoals(&out, []figures{
		run(balerName, "steady 100/s", light, 4, func(f *figures) { f.AcceptP99MS, f.InclusionP50S = 20, 1.5 }),
		run(balerName, "saturation", heavy, 8, func(f *figures) { f.BlockShare = 0.95 }),
		run(balerName, "saturation", heavy, 4, func(f *figures) { f.BlockShare = 0.8 }),
		run(balerName, "saturation", light, 1, func(f *figures) { f.RequestsPerOp = 3 }),
		run(altoName, "saturation", light, 1, func(f *figures) { f.CPUPerOpMS, f.RSSMB = 20, 400 }),
		run(balerName, "steady 20/s", light, 1, none),
		run(altoName, "steady 20/s", light, 1, func(f *figures) { f.CPUPerOpMS, f.RSSMB = 5, 200 }),
	})
	for _, want := range []string{
		"| ≥ 90 | 95 | yes | saturation, heavy operations, Baler, 8 signers |", "| ≤ 15 | 20.0 | **no** | steady 100/s, Baler, 4 signers |",
		"deepest pool: head to submitted p50, ms | ≤ 50 | not measured |  |  |", "| at load: node requests per operation | ≤ 2 | 3.00 | **no** |",
		"| bundler CPU per operation, times Alto's | ≤ 0.1 | 0.20 | **no** | steady 20/s, Baler, 1 signer |", "| the same in saturation | ≤ 0.1 | 0.05 | yes |",
		"| peak memory, times Alto's | ≤ 0.33 | 0.50 | **no** |", "| the same in saturation | ≤ 0.33 | 0.25 | yes |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the goals have no %q:\n%s", want, out.String())
		}
	}
}
