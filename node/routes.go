package node

import (
	"context"

	"baler/bundlesender"
	"baler/proposer"
	"baler/txsender"

	"github.com/ethereum/go-ethereum/common"
)

// route is a way by which transactions are submitted.
type route struct {
	name    string // as the journal knows it; the usual one has none
	sender  txsender.Sender
	private bool // transactions do not stand in a public mempool, so the node need not know them
}

// racedRoute is the name of the route of bundles whose operations rivals take.
const racedRoute = "raced"

// maxRacedTries is how many bundles may go by the route for raced operations without one of them being mined. Then every
// second goes the usual way: a relay that is down, or whose builders make no block, must not hold operations up.
const maxRacedTries = 3

// routeFor chooses the route of a bundle. Operations that rivals take do not go through the public mempool, if there is
// another way.
func (w *worker) routeFor(bundle *proposer.Bundle) route {
	n := w.node
	switch {
	case n.raced.sender == nil || bundle == nil || !n.suspicion.raced(bundle.Ops):
		return n.usual
	case w.racedTries >= maxRacedTries:
		w.racedTries = maxRacedTries - 1
		n.log.Warn("raced operations go the usual way: the last bundles of the route for them were not mined", "signer", w.builder, "ops", len(bundle.Ops))
		return n.usual
	default:
		w.racedTries++
		return n.raced
	}
}

// routeMined takes note that the attempt was mined.
func (w *worker) routeMined(id bundlesender.AttemptID) {
	if w.routeOf(id).name == racedRoute {
		w.racedTries = 0
	}
}

// routeNamed is the route that the journal means. One that is not configured any more is the usual one.
func (n *Node) routeNamed(name string) route {
	if name == racedRoute && n.raced.sender != nil {
		return n.raced
	}
	return n.usual
}

// routeOf is the route that an attempt went. What we did not send waits in public.
func (w *worker) routeOf(id bundlesender.AttemptID) route {
	if signed, ok := w.sent[id]; ok {
		return signed.route
	}
	return w.node.usual
}

// withdrawal is transactions that wait at a relay which forgets them on request.
type withdrawal struct {
	relay  txsender.Canceller
	hashes []common.Hash
}

// cancellation says how a nonce is freed: by withdrawing all that waits there, or, if something waits that cannot be
// withdrawn, by a transaction that goes a route.
func (w *worker) cancellation(e bundlesender.Cancel) (soft []withdrawal, hard route) {
	hard = w.node.usual
	usual, usualSoft := hard.sender.(txsender.Canceller)
	if len(e.Waiting) == 0 && usualSoft {
		return []withdrawal{{relay: usual}}, hard
	}
	at := make(map[string]int, 2) // route -> its withdrawal
	all := len(e.Waiting) > 0
	for _, hash := range e.Waiting {
		r := w.routeOfHash(hash)
		relay, ok := r.sender.(txsender.Canceller)
		if !ok {
			all = false
			if usualSoft {
				hard = r // the usual relay would not take it back either, but this one takes a transaction
			}
			continue
		}
		i, known := at[r.name]
		if !known {
			i = len(soft)
			at[r.name] = i
			soft = append(soft, withdrawal{relay: relay})
		}
		soft[i].hashes = append(soft[i].hashes, hash)
	}
	if !all {
		return nil, hard
	}
	return soft, hard
}

func (w *worker) routeOfHash(hash common.Hash) route {
	for _, signed := range w.sent {
		if signed.tx != nil && signed.tx.Hash() == hash { // what is mined does not wait anywhere
			return signed.route
		}
	}
	return w.node.usual
}

// withdraw asks the relays to forget what waits there. A transaction that one does not give up may be mined: the machine
// goes on cancelling with the next block.
func (w *worker) withdraw(ctx context.Context, e bundlesender.Cancel, list []withdrawal) {
	if !w.holds() {
		w.post(bundlesender.CancelSubmitted{Attempt: e.Attempt, Outcome: bundlesender.NotSent})
		return
	}
	all := true
	for _, x := range list {
		done, err := x.relay.Cancel(ctx, x.hashes)
		if err != nil {
			w.node.log.Warn("withdrawing a transaction failed", "signer", w.builder, "err", err)
		}
		all = all && done
	}
	if all {
		w.post(bundlesender.SoftCancelled{Attempt: e.Attempt})
		return
	}
	w.post(bundlesender.CancelSubmitted{Attempt: e.Attempt, Outcome: bundlesender.Rejected})
}
