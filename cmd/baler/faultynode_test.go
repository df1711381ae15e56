package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"baler/devchain"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
)

// nodeCall is one JSON-RPC call of the bundler, as it stands in a request.
type nodeCall struct {
	ID     json.RawMessage   `json:"id"`
	Method string            `json:"method"`
	Params []json.RawMessage `json:"params"`
}

// transaction returns what eth_sendRawTransaction brings, nil for other calls.
func (c nodeCall) transaction() *types.Transaction {
	var raw hexutil.Bytes
	tx := new(types.Transaction)
	if c.Method != "eth_sendRawTransaction" || json.Unmarshal(c.Params[0], &raw) != nil || tx.UnmarshalBinary(raw) != nil {
		return nil
	}
	return tx
}

// treatment is what a faulty node does with a request.
type treatment struct {
	status int                      // it answers with this status of HTTP and has not heard of the request
	body   string                   // it answers with this text and has not heard of the request
	gone   bool                     // it hangs up and has not heard of the request
	cut    bool                     // it hangs up instead of answering, after it did what was asked
	twice  bool                     // the request reaches it twice, and the second answer comes
	behind uint64                   // it answers as of so many blocks ago
	after  func(*types.Transaction) // what happens to a transaction between the node's taking it and its answer
}

// faultyNode stands between the bundler and its node, and decides of each request what becomes of it.
type faultyNode struct {
	url   string
	chain *devchain.Chain
	inner http.Client

	mu    sync.Mutex
	calls int // requests so far
	treat func(nth int, calls []nodeCall) treatment
}

// startFaultyNode starts it, without a fault.
func startFaultyNode(t *testing.T, chain *devchain.Chain) *faultyNode {
	t.Helper()
	f := &faultyNode{chain: chain}
	server := httptest.NewServer(f)
	f.url = server.URL
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		f.inner.CloseIdleConnections()
	})
	return f
}

// fail sets what happens from now on; nil is nothing. The requests are counted from here, from 1.
func (f *faultyNode) fail(treat func(nth int, calls []nodeCall) treatment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls, f.treat = 0, treat
}

func (f *faultyNode) treatment(calls []nodeCall) treatment {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.treat == nil {
		return treatment{}
	}
	return f.treat(f.calls, calls)
}

// ServeHTTP implements http.Handler.
func (f *faultyNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the bundler has died
	}
	calls := callsOf(body)
	how := f.treatment(calls)
	switch {
	case how.gone:
		panic(http.ErrAbortHandler)
	case how.status != 0:
		http.Error(w, how.body, how.status)
		return
	case how.body != "":
		_, _ = io.WriteString(w, how.body)
		return
	}
	var seen uint64
	if how.behind > 0 {
		head := f.chain.Head().Number.Uint64()
		seen = head - min(head, how.behind)
		at := []byte(`"` + hexutil.EncodeUint64(seen) + `"`)
		body = bytes.ReplaceAll(bytes.ReplaceAll(body, []byte(`"latest"`), at), []byte(`"pending"`), at)
	}
	if how.twice {
		_, _ = f.forward(r.Context(), body)
	}
	answer, err := f.forward(r.Context(), body)
	for _, call := range calls {
		if tx := call.transaction(); tx != nil && how.after != nil {
			how.after(tx)
		}
	}
	if how.cut || err != nil {
		panic(http.ErrAbortHandler) // net/http's way to hang up
	}
	if how.behind > 0 {
		answer = asOf(calls, answer, seen)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer)
}

// forward asks the true node.
func (f *faultyNode) forward(ctx context.Context, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, f.chain.HTTPURL(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := f.inner.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}

// callsOf reads a request, single or batch.
func callsOf(body []byte) []nodeCall {
	var calls []nodeCall
	if json.Unmarshal(body, &calls) == nil {
		return calls
	}
	var call nodeCall
	if json.Unmarshal(body, &call) != nil {
		return nil
	}
	return []nodeCall{call}
}

// asOf takes out of the answers what a node that has seen no block after this one cannot know.
func asOf(calls []nodeCall, answer []byte, seen uint64) []byte {
	methods := make(map[string]string, len(calls))
	for _, call := range calls {
		methods[string(call.ID)] = call.Method
	}
	var answers []map[string]json.RawMessage
	batch := json.Unmarshal(answer, &answers) == nil
	if !batch {
		var one map[string]json.RawMessage
		if json.Unmarshal(answer, &one) != nil {
			return answer
		}
		answers = append(answers, one)
	}
	for _, a := range answers {
		var result map[string]json.RawMessage
		var number hexutil.Uint64
		if json.Unmarshal(a["result"], &result) != nil || json.Unmarshal(result["blockNumber"], &number) != nil || uint64(number) <= seen {
			continue
		}
		switch methods[string(a["id"])] {
		case "eth_getTransactionReceipt":
			a["result"] = json.RawMessage("null")
		case "eth_getTransactionByHash": // it waits there still
			pending := maps.Clone(result)
			for _, name := range []string{"blockHash", "blockNumber", "transactionIndex"} {
				pending[name] = json.RawMessage("null")
			}
			a["result"], _ = json.Marshal(pending)
		}
	}
	var out []byte
	if batch {
		out, _ = json.Marshal(answers)
	} else {
		out, _ = json.Marshal(answers[0])
	}
	return out
}

// senderOf returns who signed a transaction.
func senderOf(tx *types.Transaction) common.Address {
	from, err := types.Sender(types.LatestSignerForChainID(tx.ChainId()), tx)
	if err != nil {
		return common.Address{}
	}
	return from
}

// TestAFaultyNodeKnowsNothingNewer is about the tool: a node that lags must not give itself away.
func TestAFaultyNodeKnowsNothingNewer(t *testing.T) {
	calls := callsOf([]byte(`[{"id":1,"method":"eth_getTransactionReceipt"},{"id":2,"method":"eth_getTransactionByHash"},{"id":3,"method":"eth_getBlockByNumber"}]`))
	answer := `[{"id":1,"result":{"blockNumber":"0x7","x":1}},{"id":2,"result":{"blockNumber":"0x7","x":1}},{"id":3,"result":null}]`
	if have := string(asOf(calls, []byte(answer), 7)); strings.Contains(have, `"blockNumber":null`) || strings.Count(have, "null") != 1 {
		t.Errorf("at block 7: have %s, want all of it", have)
	}
	have := string(asOf(calls, []byte(answer), 6))
	if !strings.Contains(have, `{"id":1,"result":null}`) || !strings.Contains(have, `"blockNumber":null`) {
		t.Errorf("at block 6: have %s, want no receipt and a transaction that waits", have)
	}
}
