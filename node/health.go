package node

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"baler/bundlesender"
	"baler/event"
	"baler/pool"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
)

// The bounds of health.
const (
	// staleHead is the default of Config.MaxHeadAge.
	staleHead = 90 * time.Second
	// stalledBlocks is how many blocks a bundle sender may be late, beyond what it waits for, before it counts as stalled.
	stalledBlocks = 10
	// stuckUpdate is how long one step of the chain may be taken in. Longer, and the process had better be started again.
	stuckUpdate = 5 * time.Minute
	// checkTime is how long one check may take.
	checkTime = 2 * time.Second
)

// Check is one thing that must be well for the bundler to work, such as a connection to a service.
type Check struct {
	Name string
	// Run returns what is wrong, without secrets; nil: nothing. It ends with its context.
	Run func(ctx context.Context) error
	// Needed: while it fails, operations cannot be taken.
	Needed bool
}

// Health is the report of GET /health, and of the probes.
type Health struct {
	Status     string         `json:"status"` // "ok", or what is wrong
	ChainID    uint64         `json:"chainId"`
	Head       uint64         `json:"head"`
	HeadAgeMS  int64          `json:"headAgeMs"`
	Operations int            `json:"operations"` // pending
	Senders    []SenderHealth `json:"senders"`
	Checks     []CheckResult  `json:"checks"`

	Endpoints []EndpointHealth `json:"endpoints,omitempty"` // of the chain's nodes, if there are several
}

// CheckResult is what came of one check.
type CheckResult struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"` // what is wrong

	needed bool
}

// SenderHealth is one bundle sender.
type SenderHealth struct {
	Signer common.Address `json:"signer"`
	State  string         `json:"state"`
	Since  uint64         `json:"since"` // block
	Head   uint64         `json:"head"`  // the newest block it has acted on
	Doing  string         `json:"doing"` // what it waits for the answer of: a proposal, submission, cancellation or observation
}

// onDisagreement says loudly that the local EVM and the node's do not agree. Validation then falls back to tracing where
// the settings and the node allow it.
func (n *Node) onDisagreement(d validation.Disagreement) {
	n.disagreement.Store(&d)
	n.compared.disagreed(&d)
	n.sink(event.Alert{Kind: "local EVM disagrees with the node", Text: d.String()})
}

// Live reports whether the process works, so that nothing but a restart would help if it does not. It asks nobody.
func (n *Node) Live(context.Context) (any, bool) {
	report := CheckResult{Name: "pipeline", OK: true}
	if taken := n.updating.Load(); taken != nil {
		if took := time.Since(taken.since); took > stuckUpdate {
			report.OK, report.Reason = false, fmt.Sprintf("a block has been taken in for %s", took.Round(time.Second))
		}
	}
	return report, report.OK
}

// Ready reports whether operations can be taken and sent: the checks without which that is impossible.
func (n *Node) Ready(ctx context.Context) (any, bool) {
	report := struct {
		Status string        `json:"status"`
		Checks []CheckResult `json:"checks"`
	}{Status: "ok"}
	for _, c := range n.checks(ctx) {
		if !c.needed {
			continue
		}
		report.Checks = append(report.Checks, c)
		if !c.OK && report.Status == "ok" {
			report.Status = c.Reason
		}
	}
	return report, report.Status == "ok"
}

// Health reports on everything: it is not ok where a person should look.
func (n *Node) Health(ctx context.Context) (any, bool) {
	report := Health{Status: "ok", ChainID: n.config.ChainID, Checks: n.checks(ctx), Endpoints: n.Endpoints()}
	if at := n.head.Load(); at != nil {
		report.Head, report.HeadAgeMS = at.number(), time.Since(at.seen).Milliseconds()
	}
	for _, c := range report.Checks {
		if !c.OK && report.Status == "ok" {
			report.Status = c.Reason
		}
	}
	n.pool.look(func(p *pool.Pool) { report.Operations = p.Len() })
	for _, w := range n.keys.all() {
		status := w.current()
		report.Senders = append(report.Senders, SenderHealth{
			Signer: w.key.Address(), State: status.State.String(), Since: status.Since, Head: status.Head, Doing: status.InFlight,
		})
	}
	return report, report.Status == "ok"
}

// checks makes every check, the most telling first.
func (n *Node) checks(ctx context.Context) []CheckResult {
	results := []CheckResult{
		result("head", true, n.checkHead()),
		result("store", true, n.config.Store.Err()),
		result("senders", false, n.checkSenders()),
		result("local EVM", false, n.checkEVM()),
		result("endpoints", false, n.checkEndpoints()),
	}
	if n.config.RemoteEdge == nil && !n.config.Serves {
		none, err := n.checkFunds(ctx)
		results = append(results, result("keys", true, n.checkKeys()), result("funds", none, err))
	}
	if n.remote() {
		results = append(results, result("pool", n.config.RemoteEdge != nil, n.checkPool(ctx)))
	}
	if n.config.Serves {
		results = append(results, result("builders", false, n.checkBuilders()))
	}
	for _, c := range n.config.Checks {
		limited, cancel := context.WithTimeout(ctx, checkTime)
		results = append(results, result(c.Name, c.Needed, c.Run(limited)))
		cancel()
	}
	return results
}

func result(name string, needed bool, err error) CheckResult {
	r := CheckResult{Name: name, OK: err == nil, needed: needed}
	if err != nil {
		r.Reason = err.Error()
	}
	return r
}

// checkHead: the node shows new blocks.
func (n *Node) checkHead() error {
	at := n.head.Load()
	if at == nil {
		return errNotReady
	}
	if age := time.Since(at.seen); age > cmp.Or(n.config.MaxHeadAge, staleHead) {
		return fmt.Errorf("no new block for %s", age.Round(time.Second))
	}
	return nil
}

// checkKeys: a bundle sender has a key that it may sign with.
func (n *Node) checkKeys() error {
	for _, w := range n.keys.all() {
		if w.current().State != bundlesender.Stopped {
			return nil
		}
	}
	return errNoSender
}

// checkBuilders: another process has bundle senders for this one's pool.
func (n *Node) checkBuilders() error {
	if n.desk.register.count() == 0 {
		return errNoSender
	}
	return nil
}

// checkSenders: every bundle sender keeps up with the chain, and none waits for longer than it said.
func (n *Node) checkSenders() error {
	at := n.head.Load()
	if at == nil {
		return nil // checkHead says so
	}
	for _, w := range n.keys.all() {
		if reason := stalled(w.current(), at.number()); reason != "" {
			return fmt.Errorf("bundle sender %s is stalled: %s", w.builder, reason)
		}
	}
	return nil
}

// stalled says in which way a sender lags behind the head; empty: in none.
func stalled(s bundlesender.Status, head uint64) string {
	switch {
	case s.State == bundlesender.Stopped:
		return ""
	case s.Head > 0 && s.Head+stalledBlocks < head:
		return fmt.Sprintf("it has acted on block %d, the head is %d", s.Head, head)
	case s.Until > 0 && s.Until+stalledBlocks < head && (s.State == bundlesender.Pending || s.State == bundlesender.CancelPending):
		return fmt.Sprintf("it is in %s and waits for block %d, the head is %d", s.State, s.Until, head)
	default:
		return ""
	}
}

// checkEVM: the local EVM has come to the node's results.
func (n *Node) checkEVM() error {
	if d := n.disagreement.Load(); d != nil {
		return fmt.Errorf("the local EVM disagrees with the node: %s", d.String())
	}
	return nil
}
