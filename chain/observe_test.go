package chain_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"baler/chain"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"
)

// What is mined is asked for its receipt alone; whether the node knows a transaction is asked only where there is none.
func TestWhetherANodeKnowsATransactionIsAskedOnlyWithoutItsReceipt(t *testing.T) {
	t.Parallel()
	mined, pending, lost := common.Hash{1}, common.Hash{2}, common.Hash{3}
	var refuse string
	answer := func(method, params string) string {
		switch {
		case method == refuse:
			return `"error":{"code":-32000,"message":"busy"}`
		case method == "eth_getTransactionCount":
			return `"result":"0x7"`
		case method == "eth_getTransactionReceipt" && strings.Contains(params, mined.Hex()):
			return `"result":{"status":"0x1","cumulativeGasUsed":"0x5208","logsBloom":"0x` + strings.Repeat("0", 512) + `","logs":[],"gasUsed":"0x5208","blockNumber":"0x7","transactionHash":"` + mined.Hex() + `"}`
		case method == "eth_getTransactionByHash" && strings.Contains(params, pending.Hex()):
			return `"result":{"hash":"` + pending.Hex() + `"}`
		default:
			return `"result":null`
		}
	}
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var calls []struct {
			ID     json.RawMessage
			Method string
			Params json.RawMessage
		}
		if err := json.NewDecoder(r.Body).Decode(&calls); err != nil {
			t.Error(err)
		}
		answers, methods := make([]string, len(calls)), make([]string, len(calls))
		for i, call := range calls {
			methods[i] = strings.TrimPrefix(call.Method, "eth_getTransaction")
			answers[i] = `{"jsonrpc":"2.0","id":` + string(call.ID) + `,` + answer(call.Method, string(call.Params)) + `}`
		}
		asked = append(asked, strings.Join(methods, " "))
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("[" + strings.Join(answers, ",") + "]"))
	}))
	t.Cleanup(server.Close)
	client, err := chain.Dial(t.Context(), server.URL, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)

	seen, err := client.Observe(t.Context(), common.Hash{9}, common.Address{8}, []common.Hash{mined})
	if err != nil || seen.Nonce != 7 || seen.Receipts[mined] == nil || !seen.Known[mined] {
		t.Errorf("have %+v, %v", seen, err)
	}
	seen, err = client.Observe(t.Context(), common.Hash{9}, common.Address{8}, []common.Hash{mined, pending, lost})
	if err != nil || len(seen.Receipts) != 1 || seen.Receipts[mined].GasUsed != 21_000 {
		t.Fatalf("have %+v, %v", seen, err)
	}
	if diff := cmp.Diff(map[common.Hash]bool{mined: true, pending: true, lost: false}, seen.Known); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"Count Receipt", "Count Receipt Receipt Receipt", "ByHash ByHash"}, asked); diff != "" {
		t.Error(diff)
	}
	for _, refuse = range []string{"eth_getTransactionReceipt", "eth_getTransactionByHash"} {
		if seen, err := client.Observe(t.Context(), common.Hash{9}, common.Address{8}, []common.Hash{pending}); err == nil {
			t.Errorf("%s is refused: have %+v, want an error: nothing may be taken for lost", refuse, seen)
		}
	}
}
