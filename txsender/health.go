package txsender

import (
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// failuresToRest is how many requests in a row an endpoint leaves unanswered before it is given a rest.
	failuresToRest = 3
	// minRest and maxRest bound that rest, which doubles each time the endpoint fails again after it.
	minRest = time.Second
	maxRest = time.Minute
)

// Health knows which endpoints answer. One Health is shared by all senders, so that what one of them learnt at the cost of a
// timeout the others know. It asks nobody by itself: an endpoint that rested long enough gets one ordinary request, and is
// well again if it answers that.
type Health struct {
	mu        sync.Mutex
	endpoints map[string]*condition
}

// condition is the health of one endpoint.
type condition struct {
	failures int // in a row
	rest     time.Duration
	until    time.Time // resting until then; zero: well
	probing  bool      // the one request after the rest is under way
}

// EndpointHealth is the health of one endpoint, for metrics and the status page.
type EndpointHealth struct {
	Name     string
	Healthy  bool
	Failures int           // requests in a row that were not answered
	RestsFor time.Duration // until it is asked again; 0: it may be asked now
}

// NewHealth returns a Health that takes every endpoint for well.
func NewHealth() *Health { return &Health{endpoints: make(map[string]*condition)} }

// Endpoints returns the health of every endpoint that was asked, by name.
func (h *Health) Endpoints() []EndpointHealth {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	out := make([]EndpointHealth, 0, len(h.endpoints))
	for name, c := range h.endpoints {
		out = append(out, EndpointHealth{name, c.until.IsZero(), c.failures, max(0, c.until.Sub(now))})
	}
	slices.SortFunc(out, func(a, b EndpointHealth) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// order returns the endpoints in the order in which they should be asked: as configured, but those that rest at the end,
// the one that rested longest first, for when nobody else answers. One whose rest is over has its place again.
func (h *Health) order(names []string) []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	order := make([]int, len(names))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := h.of(names[a]), h.of(names[b])
		switch {
		case x.rests(now) && y.rests(now):
			return x.until.Compare(y.until)
		case x.rests(now):
			return 1
		case y.rests(now):
			return -1
		default:
			return 0
		}
	})
	return order
}

func (c *condition) rests(now time.Time) bool {
	return !c.until.IsZero() && (c.probing || now.Before(c.until))
}

// probe reports whether the endpoint has rested long enough and is asked for the first time since; it books that request. It
// is false for an endpoint that is well.
func (h *Health) probe(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.of(name)
	if c.until.IsZero() || c.rests(time.Now()) {
		return false
	}
	c.probing = true
	return true
}

// answered says that the endpoint answered a request.
func (h *Health) answered(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*h.of(name) = condition{}
}

// failed says that the endpoint left a request unanswered.
func (h *Health) failed(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.of(name)
	c.failures++
	c.probing = false
	if c.failures < failuresToRest {
		return
	}
	c.rest = min(max(minRest, 2*c.rest), maxRest)
	c.until = time.Now().Add(c.rest)
}

// left says that a request was given up by us: it tells nothing.
func (h *Health) left(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.of(name).probing = false
}

func (h *Health) of(name string) *condition {
	c := h.endpoints[name]
	if c == nil {
		c = new(condition)
		h.endpoints[name] = c
	}
	return c
}
