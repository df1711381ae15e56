package node

import (
	"context"
	"slices"
	"testing"

	"baler/bundlesender"
	"baler/txsender"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// plainRelay takes transactions and forgets none.
type plainRelay struct{ txsender.Sender }

// softRelay forgets them on request.
type softRelay struct{ txsender.Sender }

// Cancel implements [txsender.Canceller].
func (softRelay) Cancel(context.Context, []common.Hash) (bool, error) { return true, nil }

// A nonce is freed without a transaction only if all that waits there can be withdrawn; else by a transaction, and by a
// relay that takes one.
func TestANonceIsFreedWhereItsTransactionsWait(t *testing.T) {
	plain, soft := plainRelay{}, softRelay{}
	usualTx, racedTx := types.NewTx(&types.DynamicFeeTx{Nonce: 1}), types.NewTx(&types.DynamicFeeTx{Nonce: 1, Gas: 1})
	usual, raced, foreign := usualTx.Hash(), racedTx.Hash(), common.Hash{1}
	for name, test := range map[string]struct {
		usual, raced txsender.Sender
		waiting      []common.Hash
		withdrawn    []common.Hash // none: a transaction
		none         bool          // withdrawn though nothing is known to wait
		by           string        // route of the transaction
	}{
		"a public mempool forgets nothing":                       {usual: plain, waiting: []common.Hash{usual}},
		"nothing known waits in a public mempool":                {usual: plain},
		"a relay forgets":                                        {usual: soft, waiting: []common.Hash{usual}, withdrawn: []common.Hash{usual}},
		"a relay is asked though nothing is known":               {usual: soft, none: true},
		"what waits is at the relay for raced operations":        {usual: plain, raced: soft, waiting: []common.Hash{raced}, withdrawn: []common.Hash{raced}},
		"one at the relay, one in public":                        {usual: plain, raced: soft, waiting: []common.Hash{raced, usual}},
		"one at the relay, a foreign one in public":              {usual: plain, raced: soft, waiting: []common.Hash{raced, foreign}},
		"both relays forget":                                     {usual: soft, raced: soft, waiting: []common.Hash{raced, usual}, withdrawn: []common.Hash{raced, usual}},
		"only the usual relay forgets":                           {usual: soft, raced: plain, waiting: []common.Hash{raced, usual}, by: racedRoute},
		"a private endpoint forgets nothing, the public is open": {usual: plain, raced: plain, waiting: []common.Hash{raced}},
	} {
		t.Run(name, func(t *testing.T) {
			n := &Node{usual: route{sender: test.usual}, raced: route{name: racedRoute, sender: test.raced}}
			w := &worker{node: n, sent: map[bundlesender.AttemptID]signedTx{
				9: {}, // mined, and left to the journal
				1: {tx: usualTx, route: n.usual}, 2: {tx: racedTx, route: n.routeNamed(racedRoute)},
			}}
			soft, hard := w.cancellation(bundlesender.Cancel{Nonce: 1, Waiting: test.waiting})
			var withdrawn []common.Hash
			for _, x := range soft {
				withdrawn = append(withdrawn, x.hashes...)
			}
			if !slices.Equal(withdrawn, test.withdrawn) || (len(soft) > 0) != (test.none || len(test.withdrawn) > 0) {
				t.Errorf("have %d relays withdraw %v, want %v", len(soft), withdrawn, test.withdrawn)
			}
			if len(soft) == 0 && hard.name != test.by {
				t.Errorf("have a transaction by route %q, want %q", hard.name, test.by)
			}
		})
	}
}
