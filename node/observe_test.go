package node_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"baler/dashboard"
	"baler/node"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// A bundle sender looks at the chain, and a block comes before it has the answer. What it has seen is stepped before that block: the block
// may take back, or settle, what it has seen, and it would be believed all the same.
func TestWhatASenderHasLookedForIsSteppedBeforeTheNextBlock(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	b := &stack{chain: s.chain, eth: s.eth, config: s.config, funds: s.funds}
	b.config.Signers = b.config.Signers[:1]
	b.config.Store = openStore(t, b.config.ChainID)
	key := crypto.PubkeyToAddress(s.chain.Keys()[0].PublicKey)
	var refuses, holds atomic.Bool
	looks, goOn := make(chan struct{}), make(chan struct{})
	answers := sync.OnceFunc(func() { close(goOn) })
	defer answers()
	b.serve(t, dial(t, instead(t, s.chain.HTTPURL(), func(body []byte) string {
		switch {
		case bytes.Contains(body, []byte("eth_sendRawTransaction")):
			if refuses.CompareAndSwap(false, true) {
				return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32000,"message":"nonce too low"}}`, idOf(t, body))
			}
		case refuses.Load() && bytes.Contains(body, []byte("eth_getTransactionCount")) && bytes.Contains(bytes.ToLower(body), []byte(strings.ToLower(key.Hex()))):
			if holds.CompareAndSwap(false, true) {
				close(looks)
				<-goOn
			}
		}
		return ""
	})), dial(t, s.chain.WSURL()))
	a := b.account(t, userop.V07, true)
	b.mine(t, 1)
	a.send(t, a.op(t))
	called := make(chan error, 1)
	go func() { // whatever the answer is
		called <- b.client.CallContext(t.Context(), new(common.Hash), "debug_bundler_sendBundleNow")
	}()
	within(t, looks, "the bundle sender has not looked whose nonce it is")
	if _, err := s.chain.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the block is there", func() error {
		report, _ := b.node.Health(t.Context())
		if health, ok := report.(node.Health); !ok || health.Head < s.chain.Head().Number.Uint64() {
			return fmt.Errorf("have %+v", report)
		}
		return nil
	})
	answers()
	var read dashboard.JournalLine
	eventually(t, "what was seen is in the journal", func() error {
		journal := b.node.Page().Senders(t.Context())[0].Journal
		at := slices.IndexFunc(journal, func(line dashboard.JournalLine) bool { return strings.HasPrefix(line.Text, "read at block ") })
		if at < 0 {
			return fmt.Errorf("have %+v", journal)
		}
		read = journal[at]
		return nil
	})
	if want := s.chain.Head().Number.Uint64() - 1; read.Block != want {
		t.Errorf("have %q stepped when the newest block was %d, want %d", read.Text, read.Block, want)
	}
	<-called
}

// idOf returns the id of a call, as it is written.
func idOf(t *testing.T, body []byte) string {
	t.Helper()
	var call struct{ ID json.RawMessage }
	if err := json.Unmarshal(body, &call); err != nil {
		t.Errorf("have call %s, %v", body, err)
	}
	return string(call.ID)
}
