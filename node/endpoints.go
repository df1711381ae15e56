package node

import (
	"fmt"

	"baler/chain"
)

// EndpointHealth is one of several endpoints of the chain's nodes.
type EndpointHealth struct {
	Endpoint  string `json:"endpoint"` // scheme and host
	State     string `json:"state"`    // "ok", or why it is not asked
	Head      uint64 `json:"head"`
	HeadAgeMS int64  `json:"headAgeMs"`
	LatencyMS int64  `json:"latencyMs"`
	Requests  uint64 `json:"requests"`
	Errors    uint64 `json:"errors"` // requests that were not answered
	LastError string `json:"lastError,omitempty"`
}

// Endpoints says where each of several endpoints stands; empty: there is only one.
func (n *Node) Endpoints() []EndpointHealth {
	states := n.chain.Endpoints()
	list := make([]EndpointHealth, 0, len(states))
	for _, s := range states {
		list = append(list, EndpointHealth{
			Endpoint: s.Endpoint, State: string(s.State), Head: s.Head, HeadAgeMS: s.HeadAge.Milliseconds(), LatencyMS: s.Latency.Milliseconds(),
			Requests: s.Requests, Errors: s.Errors, LastError: s.LastError,
		})
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
