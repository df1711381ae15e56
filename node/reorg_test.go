package node_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"baler/devchain"
	"baler/node"
	"baler/profit"
	balerrpc "baler/rpc"
	"baler/signer"
	"baler/store"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
)

// forked is a bundle that is mined, by a key that will not be there when a reorg takes it back.
type forked struct {
	*roles
	accounts  []*account
	parent    uint64      // block number before the bundle's
	operation common.Hash // in the bundle
	tx        common.Hash // the bundle
	key       int         // the sender's number
}

// bundled has a bundle with one operation mined.
func (r *roles) bundled(t *testing.T) *forked {
	t.Helper()
	f := &forked{roles: r, accounts: r.accounts(t, userop.V07, 2, true)}
	f.operation, f.parent = r.submit(t, f.accounts[0], 0), r.chain.Head().Number.Uint64()
	f.tx = r.sendNow(t)
	r.mine(t, 1)
	r.comesTo(t, f.operation, balerrpc.StateIncluded)
	tx, _, err := r.eth.TransactionByHash(t.Context(), f.tx)
	if err != nil {
		t.Fatal(err)
	}
	from, err := types.Sender(types.LatestSignerForChainID(tx.ChainId()), tx)
	if err != nil {
		t.Fatal(err)
	}
	for f.key = range r.chain.Keys() {
		if crypto.PubkeyToAddress(r.chain.Keys()[f.key].PublicKey) == from {
			return f
		}
	}
	t.Fatalf("transaction %s is sent by %s, none of the chain's keys", f.tx, from)
	return nil
}

// comesBack takes the bundle back, has another key send one, and lets both be mined: the other has not taken what the first holds.
func (f *forked) comesBack(t *testing.T) {
	t.Helper()
	f.chain.Hold(func(*types.Transaction) bool { return true })
	if err := f.chain.Reorg(t.Context(), f.parent); err != nil {
		t.Fatal(err)
	}
	f.mine(t, 2)
	f.comesTo(t, f.operation, balerrpc.StatePending)
	other := f.submit(t, f.accounts[1], 0)
	second := f.sendNow(t)
	f.chain.Release()
	f.mine(t, 2)
	for _, hash := range []common.Hash{f.operation, other} {
		f.comesTo(t, hash, balerrpc.StateIncluded)
	}
	if receipt := f.receives(t, f.operation); !strings.Contains(string(receipt.Receipt), f.tx.Hex()) {
		t.Errorf("have %s, want the operation mined in %s again", receipt.Receipt, f.tx)
	}
	if receipt, err := f.eth.TransactionReceipt(t.Context(), second); err != nil || receipt.Status != types.ReceiptStatusSuccessful {
		t.Errorf("the other key's bundle: have %+v, %v, want success: it does not hold what the first one does", receipt, err)
	}
}

// An operation that a reorg brings back is its builder's from that moment, also if it was mined before a restart, and if that
// builder is not there to say so: its transaction may wait in nodes' pools.
func TestAfterARestartAReorgLeavesWhatIsInFlightToItsBuilder(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T) *roles {
		t.Helper()
		r := &roles{line: newLine(), dir: t.TempDir()}
		r.stack = startStackOn(t, devchain.Config{Mining: devchain.Manual}, func(c *node.Config) {
			c.Signers, c.RemoteEdge = nil, edge{line: r.line}
		})
		return r
	}
	keys := func(r *roles, numbers ...int) (list []signer.Signer) {
		for _, i := range numbers {
			list = append(list, signer.NewPrivateKey(r.chain.Keys()[i]))
		}
		return list
	}
	t.Run("its key is not used any more", func(t *testing.T) {
		t.Parallel()
		r := start(t)
		r.startLife(t, func(c *node.Config) { c.Signers = keys(r, 0, 1) })
		f := r.bundled(t)
		r.stop()
		r.startLife(t, func(c *node.Config) { c.Signers = keys(r, 1-f.key) })
		f.comesBack(t)
	})
	t.Run("another process holds its key", func(t *testing.T) {
		t.Parallel()
		r, leases := start(t), newKeyServer(t)
		leased := func(c *node.Config) { c.Signers, c.Keys = keys(r, 0, 1), leases }
		r.startLife(t, leased)
		f := r.bundled(t)
		r.stop()
		leases.set(keys(r, f.key)[0].Address(), true)
		r.startLife(t, leased)
		f.comesBack(t)
	})
	t.Run("it is in another process, and cannot reach the pool", func(t *testing.T) {
		t.Parallel()
		r := start(t)
		r.startPool(t)
		lines := []*line{newLine(), newLine()}
		for i, l := range lines {
			l.lead(r.pool)
			config := r.base()
			config.Signers, config.RemotePool = keys(r, i), builders{l}
			r.run(t, config)
		}
		r.attended(t, len(lines))
		f := r.bundled(t)
		eventually(t, "the builder has told of its bundle", func() error {
			report, err := r.pool.Profit(t.Context(), profit.Query{Bundles: 10})
			if err == nil && report.Total.Bundles != 1 {
				err = errors.New("it is not in the books")
			}
			return err
		})
		r.stop()
		r.startPool(t)
		for _, l := range lines {
			l.lead(r.pool)
		}
		r.attended(t, len(lines))
		lines[f.key].lead(nil)
		f.comesBack(t)
	})
}

// A reorg takes a bundle's block back: the same bytes are sent again, from the journal where there is one. A node may have forgotten them.
func TestATransactionThatAReorgTakesBackIsSentAgain(t *testing.T) {
	t.Parallel()
	for _, kept := range []string{"in memory alone", "with a store"} {
		t.Run(kept, func(t *testing.T) {
			t.Parallel()
			s := startStack(t)
			b := &stack{chain: s.chain, eth: s.eth, config: s.config, funds: s.funds}
			if kept == "with a store" {
				b.config.Store = openStore(t, b.config.ChainID)
			}
			sent := make(chan string, 100)
			b.serve(t, dial(t, between(t, s.chain.HTTPURL(), func(body []byte) {
				if bytes.Contains(body, []byte("eth_sendRawTransaction")) {
					sent <- string(body)
				}
			})), dial(t, s.chain.WSURL()))
			a := b.account(t, userop.V07, true)
			b.mine(t, 1)
			hash := a.send(t, a.op(t))
			b.sendBundle(t)
			first, parent := <-sent, s.chain.Head().Number.Uint64()
			b.mine(t, 1)
			b.becomes(t, hash, "included", "included")
			stepped(t, b.node, s.chain)
			s.chain.Hold(func(*types.Transaction) bool { return true })
			if err := s.chain.Reorg(t.Context(), parent); err != nil {
				t.Fatal(err)
			}
			b.mine(t, 2)
			select {
			case again := <-sent:
				if have, want := rawOf(t, again), rawOf(t, first); have != want {
					t.Errorf("have %s sent, want the bytes of before", have)
				}
			case <-time.After(waiting):
				t.Fatal("nothing was sent again")
			}
			s.chain.Release()
			b.mine(t, 1)
			b.becomes(t, hash, "included", "included")
		})
	}
}

// openStore opens a store of its own for a node, until the test's end.
func openStore(t *testing.T, chainID uint64) *store.Store {
	t.Helper()
	kept, err := store.Open(t.TempDir(), store.Meta{ChainID: chainID}, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the node has ended by then
		if err := kept.Close(); err != nil {
			t.Errorf("store: %v", err)
		}
	})
	return kept
}

// rawOf returns the transaction of a call of eth_sendRawTransaction.
func rawOf(t *testing.T, body string) string {
	t.Helper()
	var call struct{ Params []string }
	if err := json.Unmarshal([]byte(body), &call); err != nil || len(call.Params) == 0 {
		t.Fatalf("have call %s, %v", body, err)
	}
	return call.Params[0]
}
