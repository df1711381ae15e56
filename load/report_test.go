package load

import (
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"baler/userop"

	"pgregory.net/rapid"
)

func TestReportJSON(t *testing.T) {
	t.Parallel()
	report := &Report{
		Totals: Totals{Accepted: 5, Included: 4, Failed: 1, Bundles: 2},
		EntryPoints: []EntryPointReport{{
			Version: userop.V07, VersionText: "0.7", Accepted: 5, Included: 4, Failed: 1, Bundles: 2,
			AcceptMS: Percentiles{1.5, 20}, InclusionMS: Percentiles{900, 1200.25}, GasPerOp: 91_234,
			Profit: Wei{*big.NewInt(-42)}, OpsPerBundle: 2,
		}},
		Failures: []Failure{{"a reason", 1}}, Took: time.Second,
	}
	const want = `{"totals":{"accepted":5,"included":4,"failed":1,"bundles":2},"entry_points":[{"version":"0.7",` +
		`"accepted":5,"included":4,"failed":1,"bundles":2,"accept_ms":{"p50":1.5,"p99":20},` +
		`"inclusion_ms":{"p50":900,"p99":1200.25},"gas_per_op":91234,"profit_wei":"-42"}]}`
	for name, value := range map[string]any{"pointer": report, "value": *report} {
		got, err := json.Marshal(value)
		if err != nil || string(got) != want {
			t.Errorf("%s: have %s, %v\nwant %s", name, got, err, want)
		}
	}
}

func TestReportTable(t *testing.T) {
	t.Parallel()
	profit := new(big.Int).Mul(big.NewInt(-15), big.NewInt(1e16))
	report := &Report{
		Totals: Totals{Accepted: 105, Included: 104, Failed: 1, Bundles: 12},
		EntryPoints: []EntryPointReport{
			{
				VersionText: "0.6", Accepted: 100, Included: 100, Bundles: 10, OpsPerBundle: 10,
				AcceptMS: Percentiles{1.5, 20}, InclusionMS: Percentiles{900, 1200.25}, GasPerOp: 91_234,
				Profit: Wei{*big.NewInt(123_456_789_000_000)},
			},
			{VersionText: "0.7", Accepted: 5, Included: 4, Failed: 1, Bundles: 2, OpsPerBundle: 2, Profit: Wei{*profit}},
		},
		Failures: []Failure{{"a reason", 1}}, Took: 2 * time.Second,
	}
	const want = `
  EntryPoint  accepted  included  failed  bundles  ops/bundle  accept p50      p99  inclusion p50      p99  gas/op  profit ETH
        v0.6       100       100       0       10        10.0      1.5 ms  20.0 ms         900 ms  1200 ms   91234    0.000123
        v0.7         5         4       1        2         2.0      0.0 ms   0.0 ms         0.0 ms   0.0 ms       0   -0.150000
       total       105       104       1       12                                                                    -0.149877

104 operations mined in 2.0 s: 52.0 per second
failed 1×: a reason
`
	var got strings.Builder
	if err := report.WriteTable(&got); err != nil {
		t.Fatal(err)
	}
	if "\n"+got.String() != want {
		t.Errorf("have %s\nwant %s", got.String(), want)
	}
}

func TestPercentiles(t *testing.T) {
	t.Parallel()
	ms := func(n ...int) (all []time.Duration) {
		for _, m := range n {
			all = append(all, time.Duration(m)*time.Millisecond)
		}
		return all
	}
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = 100 - i
	}
	for _, c := range []struct {
		samples []time.Duration
		want    Percentiles
	}{
		{nil, Percentiles{}},
		{ms(7), Percentiles{7, 7}},
		{ms(2, 1), Percentiles{1, 2}},
		{ms(3, 1, 2), Percentiles{2, 3}},
		{ms(hundred...), Percentiles{50, 99}},
		{[]time.Duration{1234567 * time.Nanosecond}, Percentiles{1.23, 1.23}},
	} {
		if got := percentiles(c.samples); got != c.want {
			t.Errorf("of %v: have %v, want %v", c.samples, got, c.want)
		}
	}
}

// A percentile is one of the samples, at least p percent are not above it, and the order of samples does not matter.
func TestPercentilesAreSamples(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SliceOfN(rapid.IntRange(0, 5000), 1, 300).Draw(t, "milliseconds")
		samples := make([]time.Duration, len(n))
		for i, m := range n {
			samples[i] = time.Duration(m) * time.Millisecond
		}
		got := percentiles(samples)
		for p, value := range map[int]float64{50: got.P50, 99: got.P99} {
			if !slices.Contains(n, int(value)) {
				t.Fatalf("p%d: %v is not a sample", p, value)
			}
			below := 0
			for _, m := range n {
				if float64(m) <= value {
					below++
				}
			}
			if below*100 < p*len(n) {
				t.Fatalf("p%d: only %d of %d samples are not above %v", p, below, len(n), value)
			}
		}
		slices.Reverse(samples)
		if again := percentiles(samples); again != got {
			t.Fatalf("reversed: have %v, want %v", again, got)
		}
	})
}

// Shares lose nothing, and none is more than one larger than another.
func TestShares(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n, parts := rapid.IntRange(0, 10_000).Draw(t, "n"), rapid.IntRange(1, 100).Draw(t, "parts")
		sum := 0
		got := shares(n, parts)
		for _, s := range got {
			sum += s
		}
		if sum != n || slices.Max(got)-slices.Min(got) > 1 {
			t.Fatalf("have %v, want %d in even parts", got, n)
		}
	})
}

// A spread share is exact over any row of a hundred, and as even as can be.
func TestSpread(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		percent, length := rapid.IntRange(0, 100).Draw(t, "percent"), rapid.IntRange(0, 1000).Draw(t, "length")
		count := 0
		for i := range length {
			if spread(i, percent) {
				count++
			}
		}
		if want := length * percent / 100; count != want {
			t.Fatalf("%d%% of %d: have %d, want %d", percent, length, count, want)
		}
	})
}
