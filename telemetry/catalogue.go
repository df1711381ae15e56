package telemetry

import (
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Family describes one metric: what docs/metrics.md says of it.
type Family struct {
	Name   string
	Type   string // counter, gauge, histogram
	Help   string
	Labels []string
}

// Label describes a label: every metric that has it means the same by it.
type Label struct {
	Name    string
	Meaning string
	// Most is how many values a metric may have of it; what comes after is counted as "other". It holds whatever anybody sends.
	Most int
}

// other stands for all values of a label beyond its Most.
const other = "other"

// Labels are all labels in use, in the order of their names.
func Labels() []Label {
	return []Label{
		{"answer", "how the node or relay answered to a transaction: a class of the table in txsender", 32},
		{"cause", "why: one of a closed set for each metric, in words", 64},
		{"check", "a check of GET /health", 16},
		{"code", "JSON-RPC error code; 0: none", 32},
		{"endpoint", "scheme and host of a node", 16},
		{"entry_point", "address of an EntryPoint", 8},
		{"from", "state of a bundle sender", 8},
		{"held", "true: won; false: lost or given back", 2},
		{"kind", "of a transaction: bundle, replacement, cancellation; of a key: where it is kept; of an alert: what it is about", 64},
		{"method", "JSON-RPC method; batch: several methods in one request; of calls between processes: the method of the schema", 64},
		{"owner", "who started a goroutine", 16},
		{"quantile", "share of the operations that pay less", 8},
		{"reason", "class of a refusal (ERC-7769)", 16},
		{"result", "how it ended: valid, refused, failed; ok, failed, http and a status; hit, stale, miss; of calls between processes: what went wrong on the way", 16},
		{"side", "asked: this process called; served: it answered", 2},
		{"signer", "address of a bundle sender's key", 256},
		{"stage", "admission: when an operation came in; proposal: for a bundle", 4},
		{"state", "state of a bundle sender: Building, Pending, Cancelling, CancelPending, Stopped", 8},
		{"success", "true: it did what it was to do; false: it reverted", 2},
		{"to", "state of a bundle sender", 8},
		{"version", "of Baler", 1},
	}
}

// guard lets each label have only so many values. It is safe for concurrent use.
type guard struct {
	most map[string]int

	mu   sync.Mutex
	seen map[string]map[string]string // the values of each metric's labels, as copies
}

func newGuard() *guard {
	g := &guard{most: make(map[string]int), seen: make(map[string]map[string]string)}
	for _, l := range Labels() {
		g.most[l.Name] = l.Most
	}
	return g
}

// bound returns the value, or "other" if the metric has as many values of the label as it may have.
func (g *guard) bound(metric, label, value string) string {
	key := metric + " " + label
	g.mu.Lock()
	defer g.mu.Unlock()
	values := g.seen[key]
	if values == nil {
		values = make(map[string]string)
		g.seen[key] = values
	}
	if kept, known := values[value]; known {
		return kept
	}
	if len(values) >= g.most[label] {
		return other
	}
	value = strings.Clone(strings.ToValidUTF8(value, "?"))
	values[value] = value
	return value
}

func (g *guard) all(f *Family, values []string) []string {
	bounded := make([]string, len(values))
	for i, label := range f.Labels {
		bounded[i] = g.bound(f.Name, label, values[i])
	}
	return bounded
}

// mostLabels is how many labels a metric may have.
const mostLabels = 4

// children are a metric's, by the values of their labels: events are told many times for each operation, and what a value stands for is
// looked up once. Nothing takes a child away again, as gauges' are. It is safe for concurrent use.
type children[M any] struct {
	mu    sync.Mutex
	known map[[mostLabels]string]M // whose values are all within their bounds, so there are only so many
}

// child finds a metric's child for the values, or makes it.
func child[M any](c *children[M], g *guard, f *Family, values []string, with func(...string) M) M {
	var key [mostLabels]string
	copy(key[:], values)
	c.mu.Lock()
	defer c.mu.Unlock()
	if found, ok := c.known[key]; ok {
		return found
	}
	bounded := g.all(f, values)
	made := with(bounded...)
	if slices.Equal(bounded, values) {
		if c.known == nil {
			c.known = make(map[[mostLabels]string]M)
		}
		copy(key[:], bounded) // the caller's may be parts of long texts
		c.known[key] = made
	}
	return made
}

// catalogue makes metrics, registers them, and remembers what they are.
type catalogue struct {
	registry *prometheus.Registry
	guard    *guard
	families []Family
}

// counter is a counter whose labels are bounded.
type counter struct {
	family   Family
	guard    *guard
	vec      *prometheus.CounterVec
	children children[prometheus.Counter]
}

func (c *catalogue) counter(name, help string, labels ...string) *counter {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	return &counter{family: c.add(vec, name, "counter", help, labels), guard: c.guard, vec: vec}
}

func (c *counter) add(amount float64, values ...string) {
	child(&c.children, c.guard, &c.family, values, c.vec.WithLabelValues).Add(amount)
}

func (c *counter) inc(values ...string) { c.add(1, values...) }

// gauge is a gauge whose labels are bounded.
type gauge struct {
	family Family
	guard  *guard
	vec    *prometheus.GaugeVec
}

func (c *catalogue) gauge(name, help string, labels ...string) *gauge {
	vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	return &gauge{c.add(vec, name, "gauge", help, labels), c.guard, vec}
}

func (g *gauge) set(value float64, values ...string) {
	g.vec.WithLabelValues(g.guard.all(&g.family, values)...).Set(value)
}

// histogram is a histogram whose labels are bounded.
type histogram struct {
	family   Family
	guard    *guard
	vec      *prometheus.HistogramVec
	children children[prometheus.Observer]
}

func (c *catalogue) histogram(name, help string, buckets []float64, labels ...string) *histogram {
	vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	return &histogram{family: c.add(vec, name, "histogram", help, labels), guard: c.guard, vec: vec}
}

func (h *histogram) observe(value float64, values ...string) {
	child(&h.children, h.guard, &h.family, values, h.vec.WithLabelValues).Observe(value)
}

func (c *catalogue) add(collector prometheus.Collector, name, kind, help string, labels []string) Family {
	c.registry.MustRegister(collector) // a name that is used twice is a mistake in this package
	family := Family{name, kind, help, labels}
	c.families = append(c.families, family)
	return family
}
