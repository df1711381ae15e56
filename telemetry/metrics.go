package telemetry

import (
	"net/http"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"baler/event"
	"baler/rejection"
	"baler/txsender"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/holiman/uint256"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxFollowed is how many operations that wait are remembered for the time they take. Those beyond it are counted, not timed.
const maxFollowed = 65_536

// maxAttempts is how many transactions for one nonce are remembered.
const maxAttempts = 256

// Metrics counts events and reads the bundler's vitals when it is asked. It is safe for concurrent use.
//
// Every label has a bounded number of values, whatever clients, nodes and contracts say (see [Labels]).
type Metrics struct {
	now       func() time.Time
	catalogue catalogue
	families
	vitals *vitalFamilies

	mu      sync.Mutex
	head    uint64
	waiting lru.BasicLRU[common.Hash, moment] // operations, since when
	nonces  map[common.Address]*nonceStory
	states  map[common.Address]*stateStory
	started time.Time
	source  Source
}

// moment is when something was.
type moment struct {
	at    time.Time
	block uint64
}

// nonceStory is what a key has tried for its newest nonce.
type nonceStory struct {
	nonce uint64
	taken int // attempts that may have been taken
	first moment
	kinds map[common.Hash]string
}

// stateStory is how long a bundle sender has been in its state. counted is until when that time is in the counter.
type stateStory struct {
	state          string
	since, counted time.Time
}

// families are the metrics that events move.
type families struct {
	head, balance, leaseHeld                                              *gauge
	blocksRemoved                                                         *counter
	received, added, replaced, rejected, skipped, removed, mined, revived *counter
	inclusionSeconds, inclusionBlocks, validationSeconds                  *histogram
	attempts, bundles, reverted, gasUsed, cost, earned, lost              *counter
	bundleOperations, bundleSeconds, bundleBlocks                         *histogram
	transitions, stateSeconds                                             *counter
	nodeCalls, nodeRequests                                               *counter
	nodeSeconds                                                           *histogram
	rpcCalls                                                              *counter
	remoteCalls                                                           *counter
	rpcSeconds, remoteSeconds, signSeconds                                *histogram
	signFailures, leaseMoves, alerts                                      *counter
}

// NewMetrics returns metrics that nobody has moved yet. now tells the time.
func NewMetrics(now func() time.Time) *Metrics {
	m := &Metrics{
		now: now, catalogue: catalogue{registry: prometheus.NewRegistry(), guard: newGuard()},
		waiting: lru.NewBasicLRU[common.Hash, moment](maxFollowed), started: now(),
		nonces: make(map[common.Address]*nonceStory), states: make(map[common.Address]*stateStory),
	}
	m.families = newFamilies(&m.catalogue)
	m.vitals = newVitalFamilies(&m.catalogue)
	m.catalogue.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
	}
	m.catalogue.gauge("baler_build_info", "Always 1; says which Baler this is.", "version").set(1, version)
	return m
}

// The buckets. Seconds go from a memo's hit to a node that hangs; blocks and operations are small whole numbers.
func quickSeconds() []float64 { return prometheus.ExponentialBuckets(0.00005, 4, 10) } // 50 µs to 13 s
func slowSeconds() []float64  { return prometheus.ExponentialBuckets(0.25, 2, 12) }    // 0.25 s to 8.5 min
func fewBlocks() []float64    { return []float64{0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128} }
func bundleSizes() []float64  { return []float64{1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 128} }

func newFamilies(c *catalogue) families {
	return families{
		head:          c.gauge("baler_head_block", "Number of the newest block."),
		blocksRemoved: c.counter("baler_head_removed_blocks_total", "Blocks that left the canonical chain."),

		received:         c.counter("baler_operations_received_total", "Operations that came in.", "entry_point"),
		added:            c.counter("baler_operations_added_total", "Operations accepted into the pool.", "entry_point"),
		replaced:         c.counter("baler_operations_replaced_total", "Operations that another took the place of.", "entry_point"),
		rejected:         c.counter("baler_operations_rejected_total", "Operations refused at the door.", "entry_point", "code", "reason"),
		skipped:          c.counter("baler_operations_skipped_total", "Times an operation was left out of a bundle and stayed in the pool.", "cause"),
		removed:          c.counter("baler_operations_removed_total", "Operations that left the pool without being mined.", "cause"),
		mined:            c.counter("baler_operations_mined_total", "Operations of the pool that are in a block, whoever bundled them.", "success"),
		revived:          c.counter("baler_operations_revived_total", "Operations whose block left the chain."),
		inclusionSeconds: c.histogram("baler_operation_inclusion_seconds", "From accepted to seen in a block.", slowSeconds()),
		inclusionBlocks:  c.histogram("baler_operation_inclusion_blocks", "Blocks from accepted to mined.", fewBlocks()),
		validationSeconds: c.histogram("baler_operation_validation_seconds", "Time of one validation, waiting for the node included.",
			quickSeconds(), "stage", "result"),

		transitions:  c.counter("baler_sender_transitions_total", "Moves of all bundle senders from state to state.", "from", "to", "cause"),
		stateSeconds: c.counter("baler_sender_state_seconds_total", "Time spent in each state.", "signer", "state"),
		balance:      c.gauge("baler_sender_balance_wei", "Balance of the key at the newest block at which the node has told it, in wei; read for each scrape.", "signer"),

		attempts: c.counter("baler_bundle_attempts_total",
			"Transactions submitted. A replacement is a bundle for a nonce that a transaction before it may use.", "signer", "kind", "answer"),
		bundles:  c.counter("baler_bundles_mined_total", "Transactions of ours that are in a block.", "signer", "kind", "success"),
		reverted: c.counter("baler_bundles_reverted_total", "Bundles that did nothing but cost their gas, by what made them revert.", "cause"),
		gasUsed:  c.counter("baler_bundle_gas_used_total", "Gas used by our mined transactions.", "signer", "kind"),
		cost:     c.counter("baler_bundle_cost_wei_total", "Fees paid for our mined transactions, in wei.", "signer", "kind"),
		earned:   c.counter("baler_bundle_earned_wei_total", "What the EntryPoint collected from operations for our mined bundles, in wei.", "signer"),
		lost: c.counter("baler_bundle_loss_wei_total",
			"Sum of what mined transactions cost beyond what they earned, in wei; profits are not subtracted.", "signer", "kind"),
		bundleOperations: c.histogram("baler_bundle_operations", "Operations of a mined bundle.", bundleSizes()),
		bundleSeconds:    c.histogram("baler_bundle_inclusion_seconds", "From the first transaction for a nonce to seen in a block.", slowSeconds()),
		bundleBlocks:     c.histogram("baler_bundle_inclusion_blocks", "Blocks from the first transaction for a nonce to the one that holds it.", fewBlocks()),

		nodeCalls:    c.counter("baler_node_calls_total", "JSON-RPC calls to nodes over HTTP; each call of a batch counts.", "method"),
		nodeRequests: c.counter("baler_node_requests_total", "HTTP requests to nodes.", "endpoint", "result"),
		nodeSeconds:  c.histogram("baler_node_request_seconds", "Time of one HTTP request to a node.", quickSeconds(), "method"),
		rpcCalls:     c.counter("baler_rpc_calls_total", "JSON-RPC calls answered.", "method", "code"),
		rpcSeconds:   c.histogram("baler_rpc_call_seconds", "Time of one answered JSON-RPC call, waiting for its turn included.", quickSeconds(), "method"),

		remoteCalls: c.counter("baler_remote_calls_total", "Calls between the processes of a bundler; one that is tried again counts once.",
			"side", "method", "result"),
		remoteSeconds: c.histogram("baler_remote_call_seconds", "Time of one of them, trying again included. Streams are not timed.",
			quickSeconds(), "side", "method"),

		signSeconds:  c.histogram("baler_signature_seconds", "Time of one signature.", quickSeconds(), "kind"),
		signFailures: c.counter("baler_signature_failures_total", "Signatures that could not be made.", "signer", "kind", "cause"),
		leaseHeld:    c.gauge("baler_lease_held", "1 while this process may use the key; 0: it has no lease of it, or has lost it. Only where keys are leased.", "signer"),
		leaseMoves:   c.counter("baler_lease_moves_total", "Leases won, and lost or given back.", "held", "cause"),
		alerts:       c.counter("baler_alerts_total", "Things that need a person.", "kind"),
	}
}

// Sink returns the sink that counts.
func (m *Metrics) Sink() event.Sink { return m.count }

// Families returns every metric of Baler's own, in the order of their names. Go's and the process's come beside them.
func (m *Metrics) Families() []Family {
	list := slices.Clone(m.catalogue.families)
	slices.SortFunc(list, func(a, b Family) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Handler answers GET with the metrics in Prometheus' text format.
func (m *Metrics) Handler() http.Handler {
	answer := promhttp.HandlerFor(m.catalogue.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.refresh(r.Context())
		answer.ServeHTTP(w, r)
	})
}

func (m *Metrics) count(e event.Event) {
	switch e := e.(type) {
	case event.HeadSeen:
		m.mu.Lock()
		m.head = e.Number
		m.mu.Unlock()
		m.families.head.set(float64(e.Number))
		m.blocksRemoved.add(float64(e.Removed))
	case event.OperationReceived, event.OperationAdded, event.OperationRejected, event.OperationValidated, event.OperationSkipped,
		event.OperationRemoved, event.OperationMined, event.OperationRevived:
		m.countOperation(e)
	case event.BundleSent:
		m.sent(e)
	case event.BundleMined:
		m.minedBundle(e)
	case event.BundleReverted:
		m.reverted.inc(revertCause(e.Cause))
	case event.SenderMoved:
		m.transitions.inc(e.From, e.To, e.Cause)
		m.moved(e)
	case event.NodeAsked:
		m.asked(e)
	case event.CallServed:
		m.rpcCalls.inc(e.Method, strconv.Itoa(e.Code))
		m.rpcSeconds.observe(e.Took.Seconds(), e.Method)
	case event.PoolAsked:
		m.remoteCalls.inc(e.Side, e.Method, e.Result)
		m.remoteSeconds.observe(e.Took.Seconds(), e.Side, e.Method)
	case event.KeyUsed:
		if e.Failed != "" {
			m.signFailures.inc(e.Signer.Hex(), e.Kind, e.Failed)
			return
		}
		m.signSeconds.observe(e.Took.Seconds(), e.Kind)
	case event.LeaseMoved:
		m.leaseHeld.set(number(e.Held), e.Signer.Hex())
		m.leaseMoves.inc(strconv.FormatBool(e.Held), e.Cause)
	case event.BalanceSeen:
		m.balance.set(e.Balance.Float64(), e.Signer.Hex())
	case event.Alert:
		m.alerts.inc(e.Kind)
	case event.BundleProposed, event.OperationsReleased: // what comes of a proposal is counted
	default:
	}
}

func (m *Metrics) countOperation(e event.Event) {
	switch e := e.(type) {
	case event.OperationReceived:
		m.received.inc(e.EntryPoint.Hex())
	case event.OperationAdded:
		m.added.inc(e.EntryPoint.Hex())
		if e.Replaced != nil {
			m.replaced.inc(e.EntryPoint.Hex())
		}
		m.mu.Lock()
		m.waiting.Add(e.Hash, moment{m.now(), m.head})
		m.mu.Unlock()
	case event.OperationRejected:
		m.rejected.inc(e.EntryPoint.Hex(), strconv.Itoa(e.Code), reasonOf(e.Code))
	case event.OperationValidated:
		m.validationSeconds.observe(e.Took.Seconds(), e.Stage, e.Result)
	case event.OperationSkipped:
		m.skipped.inc(e.Cause)
	case event.OperationRemoved:
		m.removed.inc(e.Cause)
		m.mu.Lock()
		m.waiting.Remove(e.Hash)
		m.mu.Unlock()
	case event.OperationMined:
		m.mined.inc(strconv.FormatBool(e.Success))
		m.mu.Lock()
		since, known := m.waiting.Peek(e.Hash)
		m.waiting.Remove(e.Hash)
		m.mu.Unlock()
		if known {
			m.inclusionSeconds.observe(m.now().Sub(since.at).Seconds())
			m.inclusionBlocks.observe(distance(since.block, e.Block))
		}
	case event.OperationRevived:
		m.revived.inc()
	default:
	}
}

// sent counts an attempt, and tells a replacement from a first transaction.
func (m *Metrics) sent(e event.BundleSent) {
	m.mu.Lock()
	story := m.nonces[e.Signer]
	if story == nil || story.nonce != e.Nonce {
		story = &nonceStory{nonce: e.Nonce, first: moment{m.now(), m.head}, kinds: make(map[common.Hash]string)}
		m.nonces[e.Signer] = story
	}
	kind := "bundle"
	switch {
	case e.Operations == 0:
		kind = "cancellation"
	case story.taken > 0:
		kind = "replacement"
	}
	if class := txsender.Class(e.Answer); (class.Taken() || class == txsender.Unknown) && len(story.kinds) < maxAttempts {
		story.taken++
		story.kinds[e.Tx] = kind
	}
	m.mu.Unlock()
	m.attempts.inc(e.Signer.Hex(), kind, e.Answer)
}

func (m *Metrics) minedBundle(e event.BundleMined) {
	kind := "bundle"
	if e.Operations == 0 {
		kind = "cancellation"
	}
	m.mu.Lock()
	story := m.nonces[e.Signer]
	var first *moment
	if story != nil && story.kinds[e.Tx] != "" {
		kind, first = story.kinds[e.Tx], new(story.first)
	}
	m.mu.Unlock()
	if first != nil {
		m.bundleSeconds.observe(m.now().Sub(first.at).Seconds())
		m.bundleBlocks.observe(distance(first.block, e.Block))
	}
	signer := e.Signer.Hex()
	m.bundles.inc(signer, kind, strconv.FormatBool(e.Success))
	m.gasUsed.add(float64(e.GasUsed), signer, kind)
	m.cost.add(e.Cost.Float64(), signer, kind)
	m.earned.add(e.Earned.Float64(), signer)
	if e.Earned.Lt(&e.Cost) {
		m.lost.add(new(uint256.Int).Sub(&e.Cost, &e.Earned).Float64(), signer, kind)
	}
	if e.Operations > 0 {
		m.bundleOperations.observe(float64(e.Operations))
	}
}

func (m *Metrics) asked(e event.NodeAsked) {
	method := "batch"
	for name, calls := range e.Methods {
		m.nodeCalls.add(float64(calls), name)
		if len(e.Methods) == 1 {
			method = name
		}
	}
	m.nodeRequests.inc(e.Endpoint, e.Result)
	m.nodeSeconds.observe(e.Took.Seconds(), method)
}

func (m *Metrics) moved(e event.SenderMoved) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	m.pass(e.Signer, e.From, now)
	m.states[e.Signer] = &stateStory{e.To, now, now}
}

// pass counts the time until now in the state. The caller has the lock.
func (m *Metrics) pass(signer common.Address, state string, now time.Time) *stateStory {
	story := m.states[signer]
	if story == nil {
		story = &stateStory{state, m.started, m.started}
		m.states[signer] = story
	}
	m.stateSeconds.add(max(now.Sub(story.counted).Seconds(), 0), signer.Hex(), story.state)
	story.counted = now
	if story.state != state {
		story.state, story.since = state, now
	}
	return story
}

// reasonOf names the code of a refusal.
func reasonOf(code int) string {
	names := map[rejection.Kind]string{
		rejection.InvalidFields: "invalid fields", rejection.EntryPointRejected: "rejected by the EntryPoint",
		rejection.PaymasterRejected: "rejected by the paymaster", rejection.OpcodeViolation: "ERC-7562 rule broken",
		rejection.OutOfTimeRange: "out of time range", rejection.Throttled: "throttled or banned", rejection.StakeTooLow: "stake too low",
		rejection.UnsupportedSigAggr: "aggregator not supported", rejection.InvalidSignature: "invalid signature",
		rejection.PaymasterDepositLow: "paymaster deposit too low", rejection.ExecutionReverted: "execution reverted",
	}
	if name := names[rejection.Kind(code)]; name != "" {
		return name
	}
	return other
}

// aaCode is how the EntryPoint's own words begin.
var aaCode = regexp.MustCompile(`^AA\d\d`)

// revertCause names why a bundle reverted, by one of a closed set of labels: contracts choose their words themselves.
func revertCause(cause string) string {
	word, _, _ := strings.Cut(cause, ": ")
	switch word {
	case "rival", "own transaction", "out of gas", "unknown":
		return word
	}
	if code := aaCode.FindString(cause); code != "" {
		return code
	}
	return other
}

func distance(from, to uint64) float64 { return float64(max(to, from) - from) }

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
