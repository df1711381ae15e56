package main

import (
	"encoding/json"
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
		{number: 7, gasLimit: 1000, gasUsed: 200, bundleGas: 300, bundles: 1, ops: []common.Hash{op(1), op(2)}},
	})
	f.used(
		[2]usage{{cpu: time.Second}, {cpu: time.Second + 10*time.Millisecond, rss: 3 << 20}},
		[2]usage{{}, {cpu: 4 * time.Millisecond}},
		asked{Requests: map[string]uint64{"eth_call": 5}, Submitted: []float64{9}},
		asked{Requests: map[string]uint64{"eth_call": 7, "eth_sendRawTransaction": 1}, Submitted: []float64{9, 40, 20}},
	)
	want := figures{
		Accepted: 3, Included: 2, Missing: 1, Refused: map[string]int{"full": 2},
		AcceptP50MS: 20, AcceptP99MS: 30, AcceptedPerS: 3 / 1.03, IncludedPerS: 1,
		InclusionP50S: 1, InclusionP99S: 2, InclusionP50: 1, InclusionP99: 2,
		OpsPerBundle: 2, GasPerOp: 100, GasLimitPerUsed: 1.5,
		CPUPerOpMS: 5, NodeCPUPerOpMS: 2, RSSMB: 3, RequestsPerOp: 1.5, SubmittedP50MS: 20, SubmittedP99MS: 40,
		Methods: map[string]uint64{"eth_call": 2, "eth_sendRawTransaction": 1},
	}
	about := cmp.Comparer(func(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 })
	if diff := cmp.Diff(want, f, about); diff != "" {
		t.Errorf("figures (-want +have):\n%s", diff)
	}
}

// The first and last blocks of a saturated run are not full, and say nothing about how full blocks become.
func TestTheFilledShareLeavesTheEndsOut(t *testing.T) {
	var blocks []block
	for n := range 10 {
		b := block{number: uint64(n), gasLimit: 100, gasUsed: 90, bundles: 1}
		if n < warmUp || n >= 10-warmUp {
			b.gasUsed = 1
		}
		blocks = append(blocks, b)
	}
	blocks = append([]block{{gasLimit: 100}}, append(blocks, block{gasLimit: 100})...)
	var f figures
	if f.ofBlocks(blocks); f.BlockShare != 0.9 {
		t.Errorf("have share %v, want 0.9", f.BlockShare)
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
		{Bundler: "Baler", Scenario: "burst 10", Signers: 1, Included: 10, IncludedPerS: 30},
		{Bundler: "Alto", Scenario: "burst 10", Signers: 1, Included: 10, IncludedPerS: 20, Refused: map[string]int{"why": 3}},
	})
	for _, want := range []string{
		"|  | Baler, 1 signer | Alto, 1 signer | ratio |\n", "| included/s | 30 | 20 | 1.50 |\n", "| refused | 0 | 3 | 0.00 |\n",
		"Alto, 1 signer refused: 3 × why\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table has no %q:\n%s", want, out.String())
		}
	}
}
