package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"

	"baler/chain"
	"baler/devchain"
	"baler/event"
	"baler/node"
	"baler/rpc"
	"baler/signer"
	"baler/telemetry"

	"github.com/ethereum/go-ethereum/common"
	"golang.org/x/sync/errgroup"
)

// The tests of this package that begin with rival run the bundler against those who get into its way: rivals that take
// its operations, nodes that refuse its bundles, foreign transactions that make them revert. Blocks are made only when
// every bundle sender has nothing more to do at the last one, so what happens in a block never depends on the machine's speed.

// contest is a world whose events are kept.
type contest struct {
	*world
	events      *eventLog
	beforeBlock func() // nil: nothing happens then
}

// eventLog keeps what the bundler says about bundles and about operations that leave the pool.
type eventLog struct {
	mu       sync.Mutex
	sent     []event.BundleSent
	mined    []event.BundleMined
	reverted []event.BundleReverted
	removed  []event.OperationRemoved
	done     map[common.Hash]bool // mined operations
}

func (l *eventLog) record(e event.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e := e.(type) {
	case event.BundleSent:
		l.sent = append(l.sent, e)
	case event.BundleMined:
		l.mined = append(l.mined, e)
	case event.BundleReverted:
		l.reverted = append(l.reverted, e)
	case event.OperationRemoved:
		l.removed = append(l.removed, e)
	case event.OperationMined:
		l.done[e.Hash] = true
	default: // about other things
	}
}

// unexplained is how many of the reverted bundles have not been explained yet.
func (l *eventLog) unexplained() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	failed := 0
	for _, m := range l.mined {
		if !m.Success && m.Operations > 0 {
			failed++
		}
	}
	return failed - len(l.reverted)
}

// isMined reports whether the bundler has said that the operation is mined.
func (l *eventLog) isMined(hash common.Hash) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done[hash]
}

// byRoute is how many transactions were submitted by a route.
func (l *eventLog) byRoute(name string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.sent {
		if s.Route == name {
			n++
		}
	}
	return n
}

// isOutInPublic reports whether a transaction of a nonce was submitted the usual way.
func (l *eventLog) isOutInPublic(signer common.Address, nonce uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.sent, func(s event.BundleSent) bool { return s.Signer == signer && s.Nonce == nonce && s.Route == "" })
}

// removedReason is why an operation was removed; empty: it was not.
func (l *eventLog) removedReason(hash common.Hash) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.removed {
		if r.Hash == hash {
			return r.Reason
		}
	}
	return ""
}

// startContest starts a chain on which the test makes the blocks, and a bundler on it. What the bundler sends goes by way of
// the gate, if there is one.
func startContest(t *testing.T, gate func(raw []byte) error, flags ...string) *contest {
	t.Helper()
	settings := devSettings(t, flags...)
	c := &contest{events: &eventLog{done: make(map[common.Hash]bool)}}
	logs := &output{}
	log := slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	embedded := startChain(t, devchain.Config{Mining: devchain.Manual})
	nodeURL := embedded.HTTPURL()
	if gate != nil {
		nodeURL = startGate(t, nodeURL, gate)
	}
	// The bundler ends by its own close at the end of the test, not with the test's context before that.
	ctx := context.WithoutCancel(t.Context())
	client, heads, err := dialNode(ctx, nodeURL, embedded.WSURL())
	if err != nil {
		t.Fatal(err)
	}
	b := c.startPipeline(ctx, t, settings, client, heads, log)
	t.Cleanup(func() {
		if err := b.close(); err != nil {
			t.Errorf("close: %v", err)
		}
		heads.Close()
		client.Close()
		if t.Failed() {
			t.Logf("log:\n%s", logs.tail())
		}
	})
	c.world = newWorld(t, embedded, b.url)
	return c
}

// startPipeline wires a bundler as startBundler does, with a second listener for its events.
func (c *contest) startPipeline(ctx context.Context, t *testing.T, settings devCommand, client, heads *chain.Client, log *slog.Logger) *bundler {
	t.Helper()
	entryPoints, err := settings.deployed(ctx, client)
	if err != nil {
		t.Fatal(err)
	}
	var keys []signer.Signer
	for n := range signerKeys {
		keys = append(keys, signer.NewPrivateKey(devchain.Key(n)))
	}
	if keys, err = settings.Senders.choose(keys); err != nil {
		t.Fatal(err)
	}
	config, err := settings.nodeConfig(devchain.DefaultChainID, entryPoints, keys, log)
	if err != nil {
		t.Fatal(err)
	}
	by, err := settings.Relay.senders(devchain.DefaultChainID, client, log)
	if err != nil {
		t.Fatal(err)
	}
	logged := telemetry.Log(log)
	pipeline, err := node.New(by.in(config), client, heads, by.usual, func(e event.Event) { logged(e); c.events.record(e) }, log)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served, err := settings.RPC.config(pipeline, log)
	if err != nil {
		t.Fatal(err)
	}
	server := rpc.NewServer(pipeline, served)
	ctx, stop := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return pipeline.Run(ctx) })
	group.Go(func() error { return server.Serve(ctx, listener) })
	b := &bundler{url: "http://" + listener.Addr().String(), group: group, stop: stop}
	select {
	case <-pipeline.Started():
	case <-ctx.Done():
		t.Fatal(b.wait())
	}
	return b
}

// block makes one block and waits until the bundler has done all it does at it.
func (c *contest) block(t *testing.T) {
	t.Helper()
	if c.beforeBlock != nil {
		c.beforeBlock()
	}
	if _, err := c.chain.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	c.settled(t)
}

// settled waits until every bundle sender has acted on the chain's head and waits for the next.
func (c *contest) settled(t *testing.T) {
	t.Helper()
	want := c.chain.Head().Number.Uint64()
	eventually(t, "the bundle senders have acted on the head", func() error {
		if n := c.events.unexplained(); n != 0 {
			return fmt.Errorf("%d reverted bundles are unexplained", n)
		}
		for _, s := range c.senders(t) {
			if s.Head < want || s.Doing != "" {
				return fmt.Errorf("sender %s is at block %d of %d, doing %q", s.Signer, s.Head, want, s.Doing)
			}
		}
		return nil
	})
}

// senderState is a bundle sender in GET /health.
type senderState struct {
	Signer common.Address `json:"signer"`
	State  string         `json:"state"`
	Head   uint64         `json:"head"`
	Doing  string         `json:"doing"`
}

func (c *contest) senders(t *testing.T) []senderState {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.url+"/health", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var report struct {
		Senders []senderState `json:"senders"`
	}
	if err := json.NewDecoder(response.Body).Decode(&report); err != nil {
		t.Fatal(err)
	}
	if len(report.Senders) == 0 {
		t.Fatal(errors.New("no bundle sender in the health report"))
	}
	return report.Senders
}

// send sends the account's next operation, which must be accepted.
func (c *contest) send(t *testing.T, a *account, callData []byte, changes ...change) common.Hash {
	t.Helper()
	op := a.op(t, callData, changes...)
	var have common.Hash
	c.call(t, &have, "eth_sendUserOperation", op, a.ep.Address)
	if want := a.hash(t, op); have != want {
		t.Fatalf("eth_sendUserOperation: have hash %s, want %s", have, want)
	}
	a.nonce++
	return have
}

// figures are what a contest cost.
type figures struct {
	bundles, reverted, replacements, cancellations int
	ours, total                                    int      // operations mined by us, and by anybody
	gasSpent, gasLost                              uint64   // in all our transactions; in those that mined no operation
	cost, earned                                   *big.Int // wei
}

func (c *contest) figures() figures {
	c.events.mu.Lock()
	defer c.events.mu.Unlock()
	f := figures{cost: new(big.Int), earned: new(big.Int), total: len(c.events.done)}
	type slot struct {
		signer common.Address
		nonce  uint64
	}
	used := make(map[slot]bool)
	for _, s := range c.events.sent {
		at := slot{s.Signer, s.Nonce}
		switch {
		case s.Operations == 0:
			f.cancellations++
		case used[at]:
			f.replacements++
		}
		used[at] = true
	}
	for _, m := range c.events.mined {
		f.gasSpent += m.GasUsed
		f.cost.Add(f.cost, m.Cost.ToBig())
		f.earned.Add(f.earned, m.Earned.ToBig())
		switch {
		case m.Operations == 0:
			f.gasLost += m.GasUsed
			continue
		case m.Success:
			f.ours += m.Operations
		default:
			f.reverted++
			f.gasLost += m.GasUsed
		}
		f.bundles++
	}
	return f
}

// String is one line.
func (f figures) String() string {
	gwei := func(wei *big.Int) string { return new(big.Int).Div(wei, big.NewInt(1e9)).String() }
	perOp := func(gas uint64) uint64 { return gas / max(uint64(f.ours), 1) }
	return fmt.Sprintf("%d operations, %d in our bundles; %d bundles mined, %d of them reverted (%d %%); "+
		"%d replacements, %d cancellations; gas per operation of ours %d, of it lost %d; cost %s gwei, earned %s gwei",
		f.total, f.ours, f.bundles, f.reverted, 100*f.reverted/max(f.bundles, 1), f.replacements, f.cancellations,
		perOp(f.gasSpent), perOp(f.gasLost), gwei(f.cost), gwei(f.earned))
}
