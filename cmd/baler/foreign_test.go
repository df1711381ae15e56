package main

import (
	"fmt"
	"math/big"
	"testing"

	"baler/bundlesender"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// another is another program that uses the bundle sender's key: its transactions say so by what they send, and the chain
// does not mine them.
type another struct {
	w  *world
	to common.Address
}

// uses reports whether the transaction is the other program's.
func (a another) uses(tx *types.Transaction) bool {
	return tx.To() != nil && *tx.To() == a.to && len(tx.Data()) == 0
}

// send puts one of its transactions into the node's pool, fees in gwei.
func (a another) send(t *testing.T, nonce uint64, maxFee, tip int64) *types.Transaction {
	t.Helper()
	chainID := new(big.Int).SetUint64(a.w.chain.ChainID())
	tx, err := types.SignNewTx(a.w.chain.Keys()[0], types.LatestSignerForChainID(chainID), &types.DynamicFeeTx{
		ChainID: chainID, Nonce: nonce, GasTipCap: gwei(tip), GasFeeCap: gwei(maxFee), Gas: 21_000, To: &a.to, Value: big.NewInt(1),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.w.eth.SendTransaction(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	return tx
}

// Another program's transactions wait at the key's next nonces, and are not mined. The bundle sender finds them, whether they
// were there before it or came while it ran, says so, and puts bundles in their places: no nonce is left out, and nothing
// waits behind a transaction that nobody knows of.
func TestForeignTransactionsOfTheKeyAreReplaced(t *testing.T) {
	t.Parallel()
	for name, later := range map[string]bool{"there before the start": false, "sent while the bundler runs": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const foreign = 2
			chain := startChain(t, interval())
			l, accounts := newLives(t, chain, chain.HTTPURL(), 1, 3, "--node-ws", chain.WSURL())
			other := another{l.w, addressOf(chain.Keys()[spareKey])}
			chain.Hold(other.uses)
			us := addressOf(chain.Keys()[0])
			var p *program
			var hashes []common.Hash
			first := uint64(0)
			if later {
				p = l.start(t)
				hashes = l.w.sendOneEach(t, accounts)
				l.w.checkOnceEach(t, hashes)
				l.w.synced(t)
				nonce, err := l.w.eth.NonceAt(t.Context(), us, nil)
				if err != nil {
					t.Fatal(err)
				}
				first = nonce
			}
			for n := range uint64(foreign) {
				other.send(t, first+n, 30, 2)
			}
			if !later {
				p = l.start(t)
			}
			for range foreign { // one bundle after the other
				var round []common.Hash
				for _, a := range accounts {
					round = append(round, a.send(t, a.op(t, l.w.count(t), fees(200, 20))))
				}
				l.w.checkOnceEach(t, round)
				hashes = append(hashes, round...)
			}
			l.w.checkOnceEach(t, hashes)
			l.w.checkSigners(t, 1)
			seen := make(map[uint64]bool)
			timeline := l.end(t, p)
			for _, m := range l.story(t, us) {
				for _, a := range m.After.Attempts {
					seen[a.Nonce] = seen[a.Nonce] || a.Kind == bundlesender.KindForeign
				}
			}
			for n := first; n < first+foreign; n++ {
				if !seen[n] {
					t.Errorf("the foreign transaction of nonce %d was never noticed:\n%s", n, timeline)
				}
			}
			if have := len(p.logs("bundle sender: foreign transaction pending")); have != foreign {
				t.Errorf("have %d alerts, want %d", have, foreign)
			}
			tells(t, timeline,
				fmt.Sprintf(`a transaction that is not ours waits at nonce %d: 0x[0-9a-f]+, max fee 30, priority fee 2 gwei`, first),
				`ALERT: foreign transaction pending`,
				fmt.Sprintf(`proposes a bundle at nonce %d, at least max fee 33, priority fee 2.2 gwei`, first),
				`settles attempt \d+ \(bundle, \d operations?\)`)
		})
	}
}

// No operation pays for replacing another program's transaction: its nonce is freed by the cheapest transaction that
// replaces it, and bundles go on behind it.
func TestAForeignTransactionTooDearToReplaceIsCancelled(t *testing.T) {
	t.Parallel()
	chain := startChain(t, interval())
	l, accounts := newLives(t, chain, chain.HTTPURL(), 1, 3, "--node-ws", chain.WSURL(), "--max-replacement-underpriced-blocks=2")
	other := another{l.w, addressOf(chain.Keys()[spareKey])}
	chain.Hold(other.uses)
	foreign := other.send(t, 0, 50, 30)
	p := l.start(t)
	a := accounts[0]
	hash := a.send(t, a.op(t, l.w.count(t), fees(20, 2)))
	l.w.checkOnceEach(t, []common.Hash{hash})
	l.w.checkSigners(t, 1)
	block := l.w.receiptOf(t, hash).Receipt
	mined, _, err := l.w.eth.TransactionByHash(t.Context(), block.TxHash)
	if err != nil {
		t.Fatal(err)
	}
	if mined.Nonce() != 1 {
		t.Errorf("have the operation mined at nonce %d, want 1: a cancellation is at 0", mined.Nonce())
	}
	tells(t, l.end(t, p),
		`a transaction that is not ours waits at nonce 0`,
		`-> Cancelling, because`,
		`cancels nonce 0 by attempt \d+, at least max fee 55, priority fee 33 gwei`,
		`settles attempt \d+ \(cancellation, 0 operations\)`,
	)
	if tx, _, err := l.w.eth.TransactionByHash(t.Context(), foreign.Hash()); err == nil {
		t.Errorf("the node knows the foreign transaction still: %s", tx.Hash())
	}
}
