package chain_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"baler/chain"

	"github.com/ethereum/go-ethereum/rpc"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestEveryRequestToTheNodeIsTold(t *testing.T) {
	t.Parallel()
	var status int
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status != 0 {
			w.WriteHeader(status)
			return
		}
		var calls []json.RawMessage
		var answer any = map[string]any{"jsonrpc": "2.0", "id": 1, "result": "0x1"}
		if json.NewDecoder(r.Body).Decode(&calls) == nil {
			answer = []any{}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	}))
	client, err := chain.Dial(t.Context(), server.URL+"/secret", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	call := func() {
		var result string
		_ = client.CallContext(t.Context(), &result, "eth_call", `","method":"made_up"`) // what came of it is told
	}
	call() // nobody listens yet
	var mu sync.Mutex
	var have []chain.Request
	client.OnRequest(func(r chain.Request) {
		mu.Lock()
		defer mu.Unlock()
		have = append(have, r)
	})
	call()
	batch := []rpc.BatchElem{{Method: "eth_getCode"}, {Method: "eth_call"}, {Method: "eth_call"}}
	_ = client.BatchCallContext(t.Context(), batch)
	status = http.StatusTooManyRequests
	call()
	server.Close()
	call()

	want := []chain.Request{
		{Endpoint: server.URL, Methods: map[string]int{"eth_call": 1}, Result: "ok"},
		{Endpoint: server.URL, Methods: map[string]int{"eth_getCode": 1, "eth_call": 2}, Result: "ok"},
		{Endpoint: server.URL, Methods: map[string]int{"eth_call": 1}, Result: "http 429"},
		{Endpoint: server.URL, Methods: map[string]int{"eth_call": 1}, Result: "failed"},
	}
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff(want, have, cmpopts.IgnoreFields(chain.Request{}, "Took")); diff != "" {
		t.Error(diff)
	}
	for _, r := range have {
		if r.Took <= 0 {
			t.Errorf("%v: have no time", r)
		}
	}
}
