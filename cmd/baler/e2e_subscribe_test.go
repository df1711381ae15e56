package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"baler/userop"

	"github.com/ethereum/go-ethereum/rpc"
)

// A subscriber hears the way of an operation, wherever it is served: by the process that has the pool, or by an edge.
func TestASubscriberHearsTheWayOfAnOperation(t *testing.T) {
	t.Parallel()
	w := startWorld(t, interval(), "--rpc-subscriptions")
	client, err := rpc.DialContext(t.Context(), "ws"+strings.TrimPrefix(w.url, "http"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	heard := map[string]chan json.RawMessage{"operations": nil, "bundles": nil, "senders": nil}
	for topic := range heard {
		heard[topic] = make(chan json.RawMessage, 1000)
		if _, err := client.Subscribe(t.Context(), "baler", heard[topic], topic); err != nil {
			t.Fatalf("%s: %v", topic, err)
		}
	}
	a := w.deployedAccounts(t, userop.V07, 1)[0]
	hash := a.send(t, a.op(t, w.count(t)))
	w.awaitReceipt(t, hash)
	for topic, want := range map[string][]string{
		"operations": {`"event":"added"`, `"event":"mined"`}, "bundles": {`"event":"proposed"`, `"event":"sent"`, `"event":"mined"`}, "senders": {`"to":"Pending"`, `"to":"Building"`},
	} {
		patient := time.After(patience)
		for _, text := range want {
			for found := false; !found; {
				select {
				case have := <-heard[topic]:
					found = strings.Contains(string(have), text) && (topic != "operations" || strings.Contains(string(have), hash.Hex()))
				case <-patient:
					t.Fatalf("%s: have not heard %s", topic, text)
				}
			}
		}
	}
}
