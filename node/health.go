package node

import (
	"context"
	"fmt"
	"time"

	"baler/event"
	"baler/pool"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
)

// staleHead is the age of the head from which the node is not healthy: the chain, or the way to it, stands still.
const staleHead = 90 * time.Second

// Health is the report of GET /health.
type Health struct {
	Status     string         `json:"status"` // "ok", or what is wrong
	ChainID    uint64         `json:"chainId"`
	Head       uint64         `json:"head"`
	HeadAgeMS  int64          `json:"headAgeMs"`
	Operations int            `json:"operations"` // pending
	Senders    []SenderHealth `json:"senders"`
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
	n.sink(event.Alert{Kind: "local EVM disagrees with the node", Text: d.String()})
}

// Health reports whether the node sees its chain.
func (n *Node) Health(context.Context) (any, bool) {
	report := Health{Status: "ok", ChainID: n.config.ChainID}
	if at := n.head.Load(); at == nil {
		report.Status = errNotReady.Error()
	} else {
		age := time.Since(at.seen)
		report.Head, report.HeadAgeMS = at.number(), age.Milliseconds()
		if age > staleHead {
			report.Status = fmt.Sprintf("no new block for %s", age.Round(time.Second))
		}
	}
	if d := n.disagreement.Load(); d != nil && report.Status == "ok" {
		report.Status = "the local EVM disagrees with the node: " + d.String()
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
