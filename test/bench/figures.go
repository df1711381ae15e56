package main

import (
	"math"
	"slices"
	"time"
)

// figures are what one run of one bundler came to.
type figures struct {
	Bundler  string `json:"bundler"`
	Scenario string `json:"scenario"`
	Workload string `json:"workload"`
	Signers  int    `json:"signers"`
	Pending  int    `json:"pending,omitempty"` // operations in the pool, if the scenario fills it first
	// LatencyMS is added to each request to the node.
	LatencyMS float64 `json:"latency_ms"`

	Accepted int            `json:"accepted"`
	Included int            `json:"included"`
	Missing  int            `json:"missing"`  // accepted and not mined in time
	SettleS  float64        `json:"settle_s"` // the time for that after the last operation was sent
	Refused  map[string]int `json:"refused,omitempty"`
	Reverted int            `json:"bundles_reverted"`
	Failed   int            `json:"operations_failed"` // mined, and their call reverted
	Failure  string         `json:"failure,omitempty"` // why there are no figures

	AcceptP50MS     float64 `json:"accept_p50_ms"`
	AcceptP99MS     float64 `json:"accept_p99_ms"`
	AcceptedPerS    float64 `json:"accepted_per_s"`
	InclusionP50S   float64 `json:"inclusion_p50_s"`
	InclusionP99S   float64 `json:"inclusion_p99_s"`
	InclusionP50    float64 `json:"inclusion_p50_blocks"`
	InclusionP99    float64 `json:"inclusion_p99_blocks"`
	IncludedPerS    float64 `json:"included_per_s"`
	OpsPerBundle    float64 `json:"operations_per_bundle"`
	GasPerOp        float64 `json:"gas_per_operation"`
	GasLimitPerUsed float64 `json:"gas_limit_per_used"`
	BlockShare      float64 `json:"block_gas_share"` // of the blocks with load; in saturation of those while it is sent
	CPUPerOpMS      float64 `json:"bundler_cpu_ms_per_operation"`
	RSSMB           float64 `json:"bundler_rss_mb"`
	NodeCPUPerOpMS  float64 `json:"node_cpu_ms_per_operation"`
	RequestsPerOp   float64 `json:"node_requests_per_operation"`
	SubmittedP50MS  float64 `json:"head_to_submitted_p50_ms"`
	SubmittedP99MS  float64 `json:"head_to_submitted_p99_ms"`

	Methods map[string]uint64 `json:"node_requests"` // by method, in the whole run
	Blocks  []blockFigures    `json:"blocks"`        // of the whole run
}

// blockFigures are what bundles took of a block.
type blockFigures struct {
	Number     uint64 `json:"number"`
	Bundles    int    `json:"bundles"`
	Operations int    `json:"operations"`
	GasUsed    uint64 `json:"gas_used"`
	MS         int64  `json:"ms"` // when it was seen, from the first block of the run
}

// measured fills in what the client and the chain saw.
func (f *figures) measured(d *driver, blocks []block) {
	var accepts, inclusions, waits []float64
	var first, lastAccept, lastIncluded time.Time
	d.mu.Lock()
	f.Refused = d.refused
	for _, s := range d.samples {
		if first.IsZero() || s.sent.Before(first) {
			first = s.sent
		}
		if s.accepted > 0 {
			f.Accepted++
			accepts = append(accepts, s.accepted.Seconds()*1000)
			lastAccept = later(lastAccept, s.sent.Add(s.accepted))
		}
		if s.included.IsZero() {
			f.Missing++
			continue
		}
		f.Included++
		lastIncluded = later(lastIncluded, s.included)
		inclusions = append(inclusions, s.included.Sub(s.sent).Seconds())
		waits = append(waits, float64(s.block-s.head))
	}
	d.mu.Unlock()
	f.AcceptP50MS, f.AcceptP99MS = percentile(accepts, 50), percentile(accepts, 99)
	f.InclusionP50S, f.InclusionP99S = percentile(inclusions, 50), percentile(inclusions, 99)
	f.InclusionP50, f.InclusionP99 = percentile(waits, 50), percentile(waits, 99)
	f.AcceptedPerS = ratio(float64(f.Accepted), lastAccept.Sub(first).Seconds())
	f.IncludedPerS = ratio(float64(f.Included), lastIncluded.Sub(first).Seconds())
	until := uint64(math.MaxUint64)
	skip := 0
	if d.scenario.keeps {
		until, skip = d.sending[1], warmUp
	}
	f.ofBlocks(blocks, skip, until)
}

// warmUp is how many blocks pass until a saturated pipeline is full: at first every account sends at once.
const warmUp = 6

// ofBlocks takes the share of the block gas of the blocks from the first with a bundle, without so many at the beginning, to the last
// with a bundle, or to the given one.
func (f *figures) ofBlocks(blocks []block, skip int, until uint64) {
	var bundles, ops int
	var used, limits uint64
	var busy []block
	for _, b := range blocks {
		bundles, ops, f.Reverted = bundles+b.bundles, ops+len(b.ops), f.Reverted+b.reverted
		f.Failed += b.failed
		used, limits = used+b.gasUsed, limits+b.bundleGas
		f.Blocks = append(f.Blocks, blockFigures{b.number, b.bundles, len(b.ops), b.gasUsed, b.seen.Sub(blocks[0].seen).Milliseconds()})
		if b.bundles > 0 || len(busy) > 0 {
			busy = append(busy, b)
		}
	}
	for len(busy) > 0 && (busy[len(busy)-1].bundles == 0 || busy[len(busy)-1].number > until) {
		busy = busy[:len(busy)-1]
	}
	f.OpsPerBundle = ratio(float64(ops), float64(bundles))
	f.GasPerOp = ratio(float64(used), float64(ops))
	f.GasLimitPerUsed = ratio(float64(limits), float64(used))
	var filled, offered uint64
	for _, b := range busy[min(skip, len(busy)):] {
		filled, offered = filled+b.gasUsed, offered+b.gasLimit
	}
	f.BlockShare = ratio(float64(filled), float64(offered))
}

// used fills in what the programs have used between two looks, and what the node was asked.
func (f *figures) used(bundler, node [2]usage, before, after asked) {
	f.CPUPerOpMS = ratio((bundler[1].cpu-bundler[0].cpu).Seconds()*1000, float64(f.Included))
	f.NodeCPUPerOpMS = ratio((node[1].cpu-node[0].cpu).Seconds()*1000, float64(f.Included))
	f.RSSMB = float64(bundler[1].rss) / (1 << 20)
	f.Methods = make(map[string]uint64)
	var all uint64
	for method, count := range after.Requests {
		if n := count - before.Requests[method]; n > 0 {
			f.Methods[method] = n
			all += n
		}
	}
	f.RequestsPerOp = ratio(float64(all), float64(f.Included))
	submitted := after.Submitted[len(before.Submitted):]
	f.SubmittedP50MS, f.SubmittedP99MS = percentile(submitted, 50), percentile(submitted, 99)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func ratio(a, b float64) float64 {
	if b <= 0 {
		return 0
	}
	return a / b
}

// percentile is the nearest rank; 0 if there is nothing.
func percentile(values []float64, p int) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[max(0, (len(values)*p+99)/100-1)]
}
