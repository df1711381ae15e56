package node_test

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"baler/event"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
)

// A block with a bundle of ours leaves the chain just when the bundle's sender looks at it, and nobody knows the transaction any
// more. The orphan's state counts its nonce, and the chain has no receipt of it: no other program has used it.
func TestABlockThatLeavesTheChainWhileItIsLookedAtTakesNoNonce(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	var leaves sync.Once
	var bundle atomic.Pointer[common.Hash]
	var parent atomic.Uint64 // of the block that mines it
	var alerts []event.Alert
	var mu sync.Mutex
	gone := make(chan error, 1)
	looked := &stack{chain: s.chain, eth: s.eth, config: s.config, funds: s.funds, sink: func(e event.Event) {
		if alert, ok := e.(event.Alert); ok {
			mu.Lock()
			defer mu.Unlock()
			alerts = append(alerts, alert)
		}
	}}
	looked.serve(t, dial(t, between(t, s.chain.HTTPURL(), func(body []byte) {
		tx, head := bundle.Load(), s.chain.Head()
		if tx == nil || head.Number.Uint64() == parent.Load() || !bytes.Contains(body, []byte(tx.Hex())) || !bytes.Contains(body, []byte(head.Hash().Hex())) {
			return
		}
		leaves.Do(func() {
			err := s.chain.Reorg(t.Context(), head.Number.Uint64()-1)
			if err == nil {
				err = s.chain.Drop(*tx)
			}
			gone <- err
		})
	})), dial(t, s.chain.WSURL()))
	a := looked.accounts(t, userop.V07, 1, true)[0]
	hash := a.send(t, a.op(t))
	tx := looked.sendBundle(t)
	parent.Store(s.chain.Head().Number.Uint64())
	bundle.Store(&tx)
	if _, err := s.chain.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-gone:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(waiting):
		t.Fatal("nobody has looked at the block")
	}
	eventually(t, "the operation is mined in the new branch", func() error {
		if _, err := s.chain.Mine(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if have := looked.status(t, hash); have.Status != "included" {
			return fmt.Errorf("have %+v", have)
		}
		return nil
	})
	mu.Lock()
	defer mu.Unlock()
	if len(alerts) > 0 {
		t.Errorf("have alerts %+v, want none", alerts)
	}
}
