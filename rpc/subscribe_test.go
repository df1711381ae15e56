package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"baler/gas"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
)

// dialWS connects to the test server by WebSocket.
func dialWS(t *testing.T, s *testServer) *rpc.Client {
	t.Helper()
	client, err := rpc.DialContext(t.Context(), strings.Replace(s.url, "http", "ws", 1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// receive waits for one notification.
func receive(t *testing.T, from <-chan json.RawMessage) string {
	t.Helper()
	select {
	case raw := <-from:
		return string(raw)
	case <-time.After(10 * time.Second):
		t.Fatal("no notification within 10 s")
		return ""
	}
}

// until waits for a condition that another goroutine makes true.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within 10 s", what)
		case <-ticker.C:
		}
	}
}

func notices() []Notice {
	signer, hash, tx, nonce, limit := common.Address{0x51}, common.Hash{0x01}, common.Hash{0xcc}, uint64(3), uint64(500_000)
	fees := gas.Fees{MaxFee: *uint256.NewInt(2), MaxPriority: *uint256.NewInt(1)}
	return []Notice{
		OperationNotice{Hash: hash, Entry: TimelineEntry{At: 1, Block: 5, Event: "added"}},
		BundleNotice{
			At: 2, Block: 5, Event: "sent", Signer: signer, Transaction: &tx, Nonce: &nonce, Operations: []common.Hash{hash},
			GasLimit: &limit, Fees: &fees, Expected: uint256.NewInt(7), Answer: "accepted",
		},
		SenderNotice{At: 3, Block: 5, Signer: signer, From: "Building", To: "Pending", Cause: "submitted"},
		SenderNotice{At: 4, Block: 5, Signer: signer, Alert: "insufficient funds", Text: "fund it"},
	}
}

func TestNotificationsOnTheWire(t *testing.T) {
	t.Parallel()
	watcher := &fakeWatcher{notices: notices()}
	client := dialWS(t, serve(t, newFakeBackend(), Config{Watch: watcher}))
	for _, topic := range []string{"operations", "bundles", "senders"} {
		heard := make(chan json.RawMessage, len(watcher.notices))
		subscription, err := client.Subscribe(t.Context(), "baler", heard, topic)
		if err != nil {
			t.Fatalf("%s: %v", topic, err)
		}
		for _, want := range []string{
			`{"userOpHash":"0x0100000000000000000000000000000000000000000000000000000000000000","at":1,"blockNumber":"0x5","event":"added"}`,
			`{"at":2,"blockNumber":"0x5","event":"sent","signer":"0x5100000000000000000000000000000000000000",` +
				`"transactionHash":"0xcc00000000000000000000000000000000000000000000000000000000000000","nonce":"0x3",` +
				`"userOpHashes":["0x0100000000000000000000000000000000000000000000000000000000000000"],"gasLimit":"0x7a120",` +
				`"maxFeePerGas":"0x2","maxPriorityFeePerGas":"0x1","expectedProfit":"0x7","answer":"accepted"}`,
			`{"at":3,"blockNumber":"0x5","event":"moved","signer":"0x5100000000000000000000000000000000000000",` +
				`"from":"Building","to":"Pending","cause":"submitted"}`,
			`{"at":4,"blockNumber":"0x5","event":"alert","signer":"0x5100000000000000000000000000000000000000",` +
				`"alert":"insufficient funds","text":"fund it"}`,
		} {
			if have := receive(t, heard); have != want {
				t.Errorf("%s:\nhave %s\nwant %s", topic, have, want)
			}
		}
		subscription.Unsubscribe()
	}
	if want := []Topic{TopicOperations, TopicBundles, TopicSenders}; !slices.Equal(watcher.topics, want) {
		t.Errorf("topics watched: have %v, want %v", watcher.topics, want)
	}
	until(t, "all watches stopped after unsubscribing", func() bool { return watcher.ended() == 3 })
}

func TestUnknownTopicIsRefused(t *testing.T) {
	t.Parallel()
	client := dialWS(t, serve(t, newFakeBackend(), Config{Watch: &fakeWatcher{}}))
	_, err := client.Subscribe(t.Context(), "baler", make(chan json.RawMessage), "everything")
	if err == nil || !strings.Contains(err.Error(), `no "everything" subscription in baler namespace`) {
		t.Errorf("have %v, want a refusal that names the topic", err)
	}
}

func TestASubscriptionThatCannotBeginIsRefusedAndTakesNoPlace(t *testing.T) {
	t.Parallel()
	watcher := &fakeWatcher{fails: errors.New("the pool is in a room with a secret")}
	client := dialWS(t, serve(t, newFakeBackend(), Config{Watch: watcher, MaxSubscriptions: 1}))
	for range 2 {
		_, err := client.Subscribe(t.Context(), "baler", make(chan json.RawMessage), "senders")
		if err == nil || err.Error() != "internal error" {
			t.Errorf("have %v, want an internal error", err)
		}
	}
}

func TestAClientThatFallsBehindIsToldSoAndHearsNoMore(t *testing.T) {
	t.Parallel()
	watcher := &fakeWatcher{notices: notices()[:1], lose: true}
	client := dialWS(t, serve(t, newFakeBackend(), Config{Watch: watcher}))
	heard := make(chan json.RawMessage, 3)
	if _, err := client.Subscribe(t.Context(), "baler", heard, "operations"); err != nil {
		t.Fatal(err)
	}
	if have := receive(t, heard); !strings.Contains(have, `"event":"added"`) {
		t.Errorf("first: have %s, want what was buffered", have)
	}
	if have, want := receive(t, heard), `{"event":"lost"}`; have != want {
		t.Errorf("last: have %s, want %s", have, want)
	}
	until(t, "its watch stopped", func() bool { return watcher.ended() == 1 })
}

func TestSubscriptionsHaveLimits(t *testing.T) {
	t.Parallel()
	watcher := &fakeWatcher{}
	s := serve(t, newFakeBackend(), Config{Watch: watcher, MaxSubscriptions: 3, MaxSubscriptionsPerConnection: 2})
	first, second := dialWS(t, s), dialWS(t, s)
	subscribe := func(c *rpc.Client) error {
		_, err := c.Subscribe(t.Context(), "baler", make(chan json.RawMessage), "operations")
		return err
	}
	for i, c := range []*rpc.Client{first, first, second} {
		if err := subscribe(c); err != nil {
			t.Fatalf("subscription %d: %v", i, err)
		}
	}
	for name, c := range map[string]*rpc.Client{"of one connection": first, "of all": second} {
		err := subscribe(c)
		if refused, ok := errors.AsType[rpc.Error](err); !ok || refused.ErrorCode() != codeLimitExceeded {
			t.Errorf("one more than the limit %s: have %v, want code %d", name, err, codeLimitExceeded)
		}
	}
	first.Close() // gives its two back
	until(t, "the closed connection's watches stopped", func() bool { return watcher.ended() == 2 })
	until(t, "room for another", func() bool { return subscribe(second) == nil })
}

func TestClosingTheServerEndsSubscriptions(t *testing.T) {
	t.Parallel()
	watcher := &fakeWatcher{}
	s := serve(t, newFakeBackend(), Config{Watch: watcher})
	client := dialWS(t, s)
	subscription, err := client.Subscribe(t.Context(), "baler", make(chan json.RawMessage), "senders")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if have := watcher.ended(); have != 1 {
		t.Errorf("when Close has returned: have %d watches stopped, want 1", have)
	}
	select {
	case <-subscription.Err():
	case <-time.After(10 * time.Second):
		t.Error("the client was not told within 10 s")
	}
}

// FuzzCounter decodes any number of the debug namespace: what is accepted is written back as the same number.
func FuzzCounter(f *testing.F) {
	for _, seed := range []string{`"0x0D"`, `"0x"`, `12`, `-1`, `1.5`, `"12"`, `null`, `"0xffffffffffffffffff"`, `"0X1"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var have counterParam
		if json.Unmarshal(raw, &have) != nil {
			return
		}
		var again counterParam
		if err := json.Unmarshal(fmt.Appendf(nil, `"%#x"`, uint64(have)), &again); err != nil || again != have {
			t.Errorf("%s decodes to %d, and that to %d (%v)", raw, have, again, err)
		}
	})
}

// FuzzReputation decodes any list of reputation entries: no entry without an address gets through.
func FuzzReputation(f *testing.F) {
	f.Add([]byte(`[{"address":"0x7A0A0d159218E6a2f407B99173A2b12A6DDfC2a6","opsSeen":"0x14","opsIncluded":"0x0D"}]`))
	f.Add([]byte(`[{"opsSeen":"0x14"},null,{}]`))
	backend := newFakeBackend()
	s := NewServer(backend, Config{Debug: backend})
	api := &debugAPI{backend: backend, debug: backend, calls: &calls{
		running: make(chan struct{}, 1), limit: 2, timeout: time.Minute, stopped: s.stopped, told: s.cfg.OnCall, limits: &s.limits, log: s.cfg.Logger,
	}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var entries []reputationParam
		if json.Unmarshal(raw, &entries) != nil {
			return
		}
		_, err := api.Bundler_setReputation(t.Context(), entries, nil)
		missing := slices.ContainsFunc(entries, func(e reputationParam) bool { return !e.Address.given })
		if (err != nil) != missing {
			t.Errorf("%s: have error %v, an address missing: %v", raw, err, missing)
		}
	})
}
