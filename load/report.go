package load

import (
	"encoding/json"
	"math"
	"math/big"
	"slices"
	"time"

	"baler/userop"
)

// Report is what became of a run's operations. Its JSON is {"totals":{...},"entry_points":[...]}.
type Report struct {
	Totals      Totals             `json:"totals"`
	EntryPoints []EntryPointReport `json:"entry_points"` // one per target, in the targets' order

	Failures []Failure     `json:"-"` // why operations failed, the most frequent first
	Took     time.Duration `json:"-"` // from the first operation sent to the last one settled
}

// Totals sums over all EntryPoints.
type Totals struct {
	Accepted int `json:"accepted"` // the bundler took it
	Included int `json:"included"` // it was mined, whether its call succeeded or not
	Failed   int `json:"failed"`   // it was refused, not mined in time, never sent, or its call reverted
	Bundles  int `json:"bundles"`  // distinct transactions
}

// EntryPointReport is the part of one EntryPoint version.
type EntryPointReport struct {
	Version     userop.Version `json:"-"`
	VersionText string         `json:"version"`

	Accepted int `json:"accepted"`
	Included int `json:"included"`
	Failed   int `json:"failed"`
	Bundles  int `json:"bundles"`

	AcceptMS    Percentiles `json:"accept_ms"`    // eth_sendUserOperation, request to answer
	InclusionMS Percentiles `json:"inclusion_ms"` // from sending to the first sight of the receipt

	GasPerOp uint64 `json:"gas_per_op"` // gas used by the bundles / operations in them
	Profit   Wei    `json:"profit_wei"` // what the EntryPoint collected for the bundles' operations − the bundles' fees

	OpsPerBundle float64 `json:"-"` // operations in the bundles, other people's too / bundles
}

// Percentiles are latencies in milliseconds.
type Percentiles struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// Failure is a reason and how many operations failed for it.
type Failure struct {
	Reason string
	Count  int
}

// OK reports whether every one of ops operations was mined and succeeded.
func (r *Report) OK(ops int) bool {
	return r.Totals.Included == ops && r.Totals.Failed == 0
}

// Wei is an amount that may be negative; its JSON is a decimal string.
type Wei struct{ big.Int }

// MarshalJSON writes the amount as a decimal string: it may exceed what JSON numbers hold exactly.
func (w Wei) MarshalJSON() ([]byte, error) { return json.Marshal(w.String()) }

// ETH returns the amount in ether, rounded to six digits after the point.
func (w *Wei) ETH() string {
	return new(big.Rat).SetFrac(&w.Int, big.NewInt(1e18)).FloatString(6)
}

// percentiles returns the nearest-rank percentiles of the samples, zero if there are none.
func percentiles(samples []time.Duration) Percentiles {
	sorted := slices.Sorted(slices.Values(samples))
	rank := func(p float64) float64 {
		if len(sorted) == 0 {
			return 0
		}
		at := max(1, int(math.Ceil(p/100*float64(len(sorted)))))
		return math.Round(float64(sorted[at-1].Microseconds())/10) / 100 // milliseconds, two digits
	}
	return Percentiles{P50: rank(50), P99: rank(99)}
}
