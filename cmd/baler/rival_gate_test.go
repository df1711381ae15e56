package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/ethereum/go-ethereum/common/hexutil"
)

// startGate puts a JSON-RPC server before a node that asks the gate about each raw transaction: what the gate refuses never
// reaches the node. It returns the server's URL.
func startGate(t *testing.T, node string, gate func(raw []byte) error) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if answer := refusedBy(gate, body); answer != nil {
			_, _ = w.Write(answer)
			return
		}
		request, err := http.NewRequestWithContext(r.Context(), http.MethodPost, node, bytes.NewReader(body))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer response.Body.Close()
		_, _ = io.Copy(w, response.Body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// refusedBy is the answer to a call that the gate refuses, nil for any other.
func refusedBy(gate func([]byte) error, body []byte) []byte {
	var call struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
		Params []hexutil.Bytes `json:"params"`
	}
	// A batch, or parameters of another kind, is another call.
	if json.Unmarshal(body, &call) != nil || call.Method != "eth_sendRawTransaction" || len(call.Params) != 1 {
		return nil
	}
	err := gate(call.Params[0])
	if err == nil {
		return nil
	}
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32000,"message":%q}}`, call.ID, err.Error())
}
