package telemetry

import (
	"context"
	"runtime/pprof"
	"strconv"
	"time"

	"baler/node"
)

// Source says how the bundler is at this moment.
type Source interface {
	Vitals(ctx context.Context) node.Vitals
}

// vitalFamilies are the metrics that are read when somebody asks.
type vitalFamilies struct {
	headAge, check                                              *gauge
	pool, poolBytes, poolClaimed, poolFee                       *gauge
	state, stateAge, nonce, liveAttempts, feeIncreases, holding *gauge
	goroutines, disagreement, memoKept                          *gauge
	memo, bundleChecks, commits, fsyncs                         *reading
}

// reading is a counter that somebody else counts: it is set to what they say.
type reading struct {
	*counter
	last map[string]float64
}

// set moves the counter to a value that never falls.
func (r *reading) set(value float64, values ...string) {
	key := strconv.Itoa(len(values))
	if len(values) > 0 {
		key = values[0]
	}
	if value > r.last[key] {
		r.add(value-r.last[key], values...)
		r.last[key] = value
	}
}

func newVitalFamilies(c *catalogue) *vitalFamilies {
	reads := func(counter *counter) *reading { return &reading{counter, make(map[string]float64)} }
	return &vitalFamilies{
		headAge: c.gauge("baler_head_age_seconds", "Since when the newest block has been known."),
		check:   c.gauge("baler_check_ok", "1 while a check of GET /health is well.", "check"),

		pool:        c.gauge("baler_pool_operations", "Operations in the pool.", "entry_point"),
		poolBytes:   c.gauge("baler_pool_bytes", "Memory of the pool's operations."),
		poolClaimed: c.gauge("baler_pool_claimed_operations", "Operations that a bundle sender holds."),
		poolFee: c.gauge("baler_pool_priority_fee_wei",
			"What the operations pay above the next base fee, in wei per gas, in order: the pool's ranking.", "quantile"),

		state:        c.gauge("baler_sender_state", "1 for the state that the bundle sender is in.", "signer", "state"),
		stateAge:     c.gauge("baler_sender_state_age_seconds", "Since when the bundle sender has been in its state.", "signer"),
		nonce:        c.gauge("baler_sender_nonce", "The key's next nonce.", "signer"),
		liveAttempts: c.gauge("baler_sender_live_attempts", "Transactions that may be mined at the next nonce.", "signer"),
		feeIncreases: c.gauge("baler_sender_fee_increases", "Fee increases in a row, of bundles or of cancellations.", "signer"),
		holding:      c.gauge("baler_sender_held_operations", "Operations in transactions of the bundle sender.", "signer"),

		goroutines:   c.gauge("baler_goroutines", "Goroutines, by who started them.", "owner"),
		disagreement: c.gauge("baler_local_evm_disagreement", "1 if the local EVM came to another result than the node."),
		memo: reads(c.counter("baler_validation_memo_total",
			"Validations by what was remembered: hit: nothing had to run; stale: what it depends on had changed; miss: not known.", "result")),
		memoKept: c.gauge("baler_validation_memo_operations", "Operations of which the validation is remembered."),
		bundleChecks: reads(c.counter("baler_bundle_checks_total",
			"Bundles that passed the local run, by who had the last word: node: its eth_call (--bundle_node_check); local: the node was not asked.", "result")),
		commits: reads(c.counter("baler_store_commits_total", "Writes that callers waited for or handed over.")),
		fsyncs:  reads(c.counter("baler_store_transactions_total", "Transactions of the store, each with an fsync.")),
	}
}

// Watch tells the metrics whose vitals to read. Before, they have those of nobody.
func (m *Metrics) Watch(source Source) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.source = source
}

// refresh reads the vitals.
func (m *Metrics) refresh(ctx context.Context) {
	m.mu.Lock()
	source := m.source
	m.mu.Unlock()
	if source == nil {
		return
	}
	now, goroutines := source.Vitals(ctx), countGoroutines(pprof.Lookup("goroutine"))
	m.mu.Lock() // one at a time: a scrape must not see another's half
	defer m.mu.Unlock()
	m.vitals.set(now, goroutines)
	m.setSenders(now)
}

func (v *vitalFamilies) set(now node.Vitals, goroutines map[string]int) {
	v.headAge.set(now.HeadAge.Seconds())
	for _, c := range now.Checks {
		v.check.set(number(c.OK), c.Name)
	}
	v.pool.vec.Reset()
	for entryPoint, operations := range now.Pool.EntryPoints {
		v.pool.set(float64(operations), entryPoint.Hex())
	}
	v.poolBytes.set(float64(now.Pool.Bytes))
	v.poolClaimed.set(float64(now.Pool.Claimed))
	v.poolFee.vec.Reset()
	for _, q := range now.Fees {
		v.poolFee.set(q.Wei, strconv.FormatFloat(q.Share, 'g', -1, 64))
	}
	v.disagreement.set(number(now.Disagrees))
	v.memo.set(float64(now.Memo.Hits), "hit")
	v.memo.set(float64(now.Memo.Stale), "stale")
	v.memo.set(float64(now.Memo.Misses), "miss")
	v.memoKept.set(float64(now.Memo.Kept))
	v.bundleChecks.set(float64(now.Bundles.Asked), "node")
	v.bundleChecks.set(float64(now.Bundles.Spared), "local")
	v.commits.set(float64(now.Store.Calls))
	v.fsyncs.set(float64(now.Store.Transactions))
	v.goroutines.vec.Reset()
	for owner, count := range goroutines {
		v.goroutines.set(float64(count), owner)
	}
}

// setSenders forgets the senders that are not here any more. The caller has the lock.
func (m *Metrics) setSenders(vitals node.Vitals) {
	v, now := m.vitals, m.now()
	for _, family := range []*gauge{v.state, v.stateAge, v.nonce, v.liveAttempts, v.feeIncreases, v.holding} {
		family.vec.Reset()
	}
	for _, s := range vitals.Senders {
		signer := s.Signer.Hex()
		story := m.pass(s.Signer, s.State, now)
		v.state.set(1, signer, s.State)
		v.stateAge.set(max(now.Sub(story.since), time.Duration(0)).Seconds(), signer)
		v.nonce.set(float64(s.Nonce), signer)
		v.liveAttempts.set(float64(len(s.Attempts)), signer)
		v.feeIncreases.set(float64(s.FeeIncreases+s.CancelIncreases), signer)
		v.holding.set(float64(s.Held), signer)
	}
	for _, key := range vitals.Leases { // also of those that were never held here
		m.leaseHeld.set(number(key.Held), key.Key.Hex())
	}
	if vitals.Balances != nil { // else what was read last stays
		m.balance.vec.Reset()
	}
	for signer, balance := range vitals.Balances {
		m.balance.set(balance.Float64(), signer.Hex())
	}
}
