package node

import (
	"fmt"
	"sync"

	"baler/chain"
	"baler/dashboard"
	"baler/validation"
)

// EndpointHealth is one of several endpoints of the chain's nodes.
type EndpointHealth struct {
	Endpoint  string `json:"endpoint"` // scheme and host
	State     string `json:"state"`    // "ok", or why it is not asked
	Circuit   string `json:"circuit"`  // closed, open or half-open
	Head      uint64 `json:"head"`
	HeadAgeMS int64  `json:"headAgeMs"`
	LatencyMS int64  `json:"latencyMs"`
	Requests  uint64 `json:"requests"`
	Errors    uint64 `json:"errors"` // requests that were not answered
	LastError string `json:"lastError,omitempty"`
	LocalEVM  string `json:"localEvm"` // how the local EVM and this endpoint compare
}

// comparisons are what the local EVM and each endpoint last said of each other.
type comparisons struct {
	mu sync.Mutex
	by map[string]comparison
}

type comparison struct {
	block  uint64
	differ string // empty: they agree
}

func (c *comparisons) agreed(endpoint string, block uint64) {
	c.set(endpoint, comparison{block: block})
}

func (c *comparisons) disagreed(d *validation.Disagreement) {
	c.set(d.AskedAt, comparison{d.BlockNumber, d.String()})
}

func (c *comparisons) set(endpoint string, result comparison) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = make(map[string]comparison)
	}
	if result.differ == "" && c.by[endpoint].differ != "" {
		return // one agreement does not undo a disagreement
	}
	c.by[endpoint] = result
}

// of says how the local EVM and an endpoint compare; agrees is nil while nothing has been compared.
func (c *comparisons) of(endpoint string) (text string, agrees *bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, known := c.by[endpoint]
	switch {
	case !known:
		return "not compared yet", nil
	case last.differ != "":
		return last.differ, new(false)
	default:
		return fmt.Sprintf("agrees, last compared at block %d", last.block), new(true)
	}
}

// Endpoints says where each of several endpoints stands; empty: there is only one.
func (n *Node) Endpoints() []EndpointHealth {
	states := n.chain.Endpoints()
	list := make([]EndpointHealth, 0, len(states))
	for _, s := range states {
		e := EndpointHealth{
			Endpoint: s.Endpoint, State: string(s.State), Circuit: s.Circuit, Head: s.Head, HeadAgeMS: s.HeadAge.Milliseconds(),
			LatencyMS: s.Latency.Milliseconds(), Requests: s.Requests, Errors: s.Errors, LastError: s.LastError,
		}
		e.LocalEVM, _ = n.compared.of(s.Endpoint)
		list = append(list, e)
	}
	return list
}

// checkEndpoints: every endpoint is asked. With one that is not the bundler works, but has lost what the second is for.
func (n *Node) checkEndpoints() error {
	for _, s := range n.chain.Endpoints() {
		if s.State != chain.StandingOK && s.State != chain.StandingBehind {
			return fmt.Errorf("endpoint %s is %s", s.Endpoint, s.State)
		}
	}
	return nil
}

// shownEndpoints are the endpoints of the chain's nodes as the page shows them. now is the clock in unix milliseconds.
func (n *Node) shownEndpoints(now int64) []dashboard.Endpoint {
	states := n.chain.Endpoints()
	if len(states) == 0 {
		return []dashboard.Endpoint{n.onlyEndpoint()}
	}
	agreed := n.chain.AgreedHead()
	list := make([]dashboard.Endpoint, 0, len(states))
	for _, s := range states {
		e := dashboard.Endpoint{
			Name: s.Endpoint, Role: "node", Status: string(s.State), Well: s.State == chain.StandingOK || s.State == chain.StandingBehind,
			Circuit: s.Circuit, Head: s.Head, AgreedHead: agreed, Requests: s.Requests, Errors: s.Errors, LastError: s.LastError,
		}
		if s.Head > 0 {
			e.HeadSeen = now - s.HeadAge.Milliseconds()
		}
		if s.Latency > 0 {
			e.LatencyMS = new(float64(s.Latency.Microseconds()/100) / 10)
		}
		e.Evm, e.EvmAgrees = n.compared.of(s.Endpoint)
		list = append(list, e)
	}
	return list
}

// onlyEndpoint is the chain's one node. How its requests go is counted by who hears of them.
func (n *Node) onlyEndpoint() dashboard.Endpoint {
	e := dashboard.Endpoint{Name: n.chain.Origin(), Role: "node", Status: "ok", Well: true}
	if at := n.head.Load(); at != nil {
		e.Head, e.HeadSeen = at.number(), at.seen.UnixMilli()
	}
	if err := n.checkHead(); err != nil {
		e.Status, e.Well = err.Error(), false
	}
	e.Evm, e.EvmAgrees = n.compared.of(e.Name)
	return e
}
