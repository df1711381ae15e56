package node_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/holiman/uint256"
)

// With nothing in the pool a head costs the node no request, however many senders there are.
func TestIdleSendersAskTheNodeForNothing(t *testing.T) {
	s := startStack(t)
	var counting atomic.Bool
	var asked atomic.Pointer[[]byte]
	between := between(t, s.chain.HTTPURL(), func(body []byte) {
		if counting.Load() {
			asked.Store(&body)
		}
	})
	idle := &stack{chain: s.chain, eth: s.eth, config: s.config}
	idle.config.Sender.Manual = false
	idle.serve(t, dial(t, between), dial(t, s.chain.WSURL()))
	settled := func() {
		want := s.chain.Head().Number.Uint64()
		eventually(t, "every sender has looked at the head", func() error {
			senders, err := idle.node.Senders(t.Context())
			if err != nil {
				return err
			}
			for _, sender := range senders {
				if sender.Head < want || sender.Doing != "" {
					return fmt.Errorf("have %+v, want head %d and nothing to do", sender, want)
				}
			}
			return nil
		})
	}
	mine := func(n int) {
		if _, err := idle.chain.Mine(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		settled()
	}
	mine(2) // what is asked once, at the start
	counting.Store(true)
	for range 5 {
		mine(1)
	}
	if body := asked.Load(); body != nil {
		t.Errorf("the node was asked: %s", *body)
	}

	// Whoever looks at health or metrics has the keys' balances read: once for a block.
	var requests atomic.Int64
	look := func() {
		t.Helper()
		asked.Store(nil)
		if report, ok := idle.node.Health(t.Context()); !ok {
			t.Errorf("have %+v", report)
		}
		if asked.Load() != nil {
			requests.Add(1)
		}
		vitals := idle.node.Vitals(t.Context())
		if len(vitals.Balances) != len(vitals.Senders) || len(vitals.Senders) == 0 {
			t.Errorf("have %d balances of %d senders", len(vitals.Balances), len(vitals.Senders))
		}
	}
	look()
	if requests.Load() != 1 {
		t.Error("the balances were not read")
	}
	look()
	if requests.Load() != 1 {
		t.Errorf("balances were read twice at a block: %s", *asked.Load())
	}
	// An idle key's balance is current: a transfer to it shows with the next block.
	key := idle.config.Signers[0].Address()
	before := idle.node.Balances(t.Context())[key]
	s.transact(t, key, 12345, nil)
	mine(1)
	after := idle.node.Balances(t.Context())[key]
	if have := new(uint256.Int).Sub(&after, &before); have.Uint64() != 12345 {
		t.Errorf("the balance has changed by %s, want 12345", have.Dec())
	}
}

// between is a way to a node on which each request is seen before the node gets it. It returns its URL.
func between(t *testing.T, node string, see func(body []byte)) string {
	t.Helper()
	return instead(t, node, func(body []byte) (answer string) {
		see(body)
		return ""
	})
}

// instead is a way to a node on which requests may be answered before the node gets them; it gets those without an answer.
func instead(t *testing.T, node string, answers func(body []byte) string) string {
	t.Helper()
	target, err := url.Parse(node)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if answer := answers(body); answer != "" {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, answer)
			return
		}
		r.Body, r.Host = io.NopCloser(bytes.NewReader(body)), target.Host
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}
