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

	"baler/node"
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
			report, _ := idle.node.Health(t.Context())
			health, ok := report.(node.Health)
			if !ok {
				return fmt.Errorf("have a report %T", report)
			}
			for _, sender := range health.Senders {
				if sender.Head < want || sender.Doing != "" {
					return fmt.Errorf("have %+v, want head %d and nothing to do", sender, want)
				}
			}
			return nil
		})
	}
	idle.mine(t, 2) // what is asked once, at the start
	settled()
	counting.Store(true)
	for range 5 {
		idle.mine(t, 1)
		settled()
	}
	if body := asked.Load(); body != nil {
		t.Errorf("the node was asked: %s", *body)
	}
}

// between is a way to a node on which each request is seen before the node gets it. It returns its URL.
func between(t *testing.T, node string, see func(body []byte)) string {
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
		see(body)
		r.Body, r.Host = io.NopCloser(bytes.NewReader(body)), target.Host
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}
