package dashboard_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"baler/bundlesender"
	"baler/chain"
	"baler/dashboard"
	"baler/devchain"
	"baler/entrypoint"
	"baler/event"
	"baler/load"
	"baler/node"
	"baler/pool"
	"baler/proposer"
	"baler/rpc"
	"baler/signer"
	"baler/store"
	"baler/txsender"
	"baler/userop"

	"github.com/chromedp/chromedp"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/holiman/uint256"
)

// stack is a real chain, a bundler with four keys on it, and its page.
type stack struct {
	*served
	chain   *devchain.Chain
	node    *node.Node
	bundler string // JSON-RPC
	keys    []common.Address
	moody   *moodySender
	end     func() // the node and its JSON-RPC server
}

// moodySender is a relay that refuses the cancellations of one key.
type moodySender struct {
	txsender.Sender
	refuses atomic.Pointer[common.Address]
}

// Send implements [txsender.Sender].
func (m *moodySender) Send(ctx context.Context, tx *types.Transaction) txsender.Answer {
	from, err := types.Sender(types.LatestSignerForChainID(tx.ChainId()), tx)
	if refused := m.refuses.Load(); err == nil && refused != nil && from == *refused && len(tx.Data()) == 0 {
		return txsender.Answer{Class: txsender.Rejected, Reach: txsender.Answered, Text: "no empty transactions here"}
	}
	return m.Sender.Send(ctx, tx)
}

const (
	signers    = 4
	bundleSize = 5
)

func startStack(t *testing.T, kept *store.Store, changes ...func(*node.Config)) *stack {
	t.Helper()
	s := startChain(t)
	s.start(t, dial(t, s.chain.HTTPURL()), kept, changes...)
	return s
}

// startChain starts the chain of a stack.
func startChain(t *testing.T) *stack {
	t.Helper()
	embedded, err := devchain.Start(t.Context(), devchain.Config{Mining: devchain.Interval, BlockTime: 400 * time.Millisecond, FundedKeys: signers + 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := embedded.Close(); err != nil {
			t.Errorf("chain: %v", err)
		}
	})
	s := &stack{chain: embedded, served: &served{addr: "127.0.0.1:0"}}
	for _, key := range embedded.Keys()[:signers] {
		s.keys = append(s.keys, crypto.PubkeyToAddress(key.PublicKey))
	}
	return s
}

// start starts a bundler on the chain that a client reads, and its page: at the address of the one before, if there was one.
func (s *stack) start(t *testing.T, client *chain.Client, kept *store.Store, changes ...func(*node.Config)) {
	t.Helper()
	var err error
	heads := dial(t, s.chain.WSURL())
	config := node.Config{
		ChainID: s.chain.ChainID(), EntryPoints: []entrypoint.EntryPoint{entrypoint.Canonical(userop.V08), entrypoint.Canonical(userop.V07)},
		MinPriorityFee: *uint256.NewInt(1e6), LookupBlocks: 1000, HistorySize: 1000, Store: kept,
		Pool: pool.DefaultConfig(), Proposer: proposer.DefaultConfig(), Sender: bundlesender.DefaultConfig(),
	}
	config.Sender.MaxCancellationFeeIncreases = 100
	config.Proposer.MaxBundleSize = bundleSize
	for _, key := range s.chain.Keys()[:signers] {
		config.Signers = append(config.Signers, signer.NewPrivateKey(key))
	}
	for _, change := range changes {
		change(&config)
	}
	log := slog.New(slog.DiscardHandler)
	page := dashboard.New(log)
	client.OnRequest(func(r chain.Request) {
		page.Hear(event.NodeAsked{Endpoint: r.Endpoint, Methods: r.Methods, Took: r.Took, Result: r.Result})
	})
	s.moody = &moodySender{Sender: txsender.NewRaw(client)}
	if s.node, err = node.New(config, client, heads, s.moody, page.Hear, log); err != nil {
		t.Fatal(err)
	}
	s.served = servePage(t, s.addr, page, s.node.Page(), s.node.Page())
	s.run(t, log)
}

// run runs the node and its JSON-RPC server until the test ends, or end is called.
func (s *stack) run(t *testing.T, log *slog.Logger) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.bundler = "http://" + listener.Addr().String()
	server := rpc.NewServer(s.node, rpc.Config{Baler: s.node, Debug: s.node, Logger: log})
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	for _, run := range []func() error{
		func() error { return s.node.Run(ctx) },
		func() error { return server.Serve(ctx, listener) },
	} {
		running.Go(func() {
			if err := run(); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("node or server: %v", err)
			}
		})
	}
	s.end = func() {
		stop()
		running.Wait()
	}
	t.Cleanup(s.end)
	select {
	case <-s.node.Started():
	case <-time.After(patience):
		t.Fatal("the node has not started")
	}
}

func dial(t *testing.T, url string) *chain.Client {
	t.Helper()
	client, err := chain.Dial(t.Context(), url, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// load sends operations of new accounts until they are mined or the context ends.
func (s *stack) load(ctx context.Context, accounts, ops, sponsored int) (*load.Report, error) {
	c := s.chain.Contracts()
	config := load.Config{
		BundlerURL: s.bundler, NodeURL: s.chain.HTTPURL(), Accounts: accounts, Ops: ops, FundingKey: s.chain.Keys()[signers], SponsoredPercent: sponsored,
		PollInterval: 50 * time.Millisecond, IncludeTimeout: 10 * time.Minute, Multicall3: c.Multicall3,
	}
	for _, v := range []userop.Version{userop.V07, userop.V08} {
		target := load.Target{EntryPoint: entrypoint.Canonical(v), Factory: c.AccountFactories[v]}
		if c.Paymasters[v] != (common.Address{}) {
			target.Paymaster, target.PaymasterSigner = c.Paymasters[v], c.PaymasterSigner
		}
		config.Targets = append(config.Targets, target)
	}
	return load.Run(ctx, config)
}

// hold keeps the transactions of keys out of the blocks.
func (s *stack) hold(keys ...common.Address) {
	s.chain.Hold(func(tx *types.Transaction) bool {
		from, err := types.Sender(types.LatestSignerForChainID(tx.ChainId()), tx)
		return err == nil && slices.Contains(keys, from)
	})
}

// wait waits until a check has nothing to say.
func (s *stack) wait(t *testing.T, what string, check func() string) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		wrong := check()
		if wrong == "" {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %s", what, wrong)
		case <-ticker.C:
		}
	}
}

// states waits until the senders are in these states.
func (s *stack) states(t *testing.T, want ...string) {
	t.Helper()
	s.wait(t, fmt.Sprintf("senders in %v", want), func() string {
		if have := s.now(t); !slices.Equal(have, want) {
			return fmt.Sprintf("have %v", have)
		}
		return ""
	})
}

// now returns the senders' states, once none waits for an answer.
func (s *stack) now(t *testing.T) []string {
	t.Helper()
	var states []string
	s.wait(t, "the senders are at rest", func() string {
		states = nil
		for _, sender := range s.node.Page().Senders(t.Context()) {
			if sender.InFlight != "" {
				return sender.InFlight + " in flight"
			}
			states = append(states, sender.State)
		}
		return ""
	})
	return states
}

func (s *stack) mine(t *testing.T) {
	t.Helper()
	if _, err := s.chain.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
}

// login makes a browser's page an operator's.
func (b *browser) login() {
	b.t.Helper()
	ok := eval[bool](b, fmt.Sprintf(`fetch('/session', {method: 'POST', headers: {Authorization: 'Bearer %s'}}).then((r) => r.ok)`, token))
	if !ok {
		b.t.Fatal("the operators' token is not taken")
	}
}

// fourStates brings the four senders into the four states, with the page's own buttons, and stops the chain there.
func (s *stack) fourStates(t *testing.T, b *browser) {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	loads := make(chan error, 2)
	t.Cleanup(func() {
		stop()
		for range cap(loads) {
			if err := <-loads; err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("load: %v", err)
			}
		}
	})
	report, err := s.load(ctx, 20, 40, 40) // some history
	loads <- err
	if err != nil {
		t.Fatal(err)
	}
	if !report.OK(40) {
		t.Fatalf("have %+v %v, want 40 operations included", report.Totals, report.Failures)
	}
	if err := s.node.SetBundlingMode(ctx, false); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := s.load(ctx, 4*bundleSize, 4*bundleSize, 40)
		loads <- err
	}()
	s.wait(t, "the pool is full", func() string {
		if n := len(s.node.Page().Mempool().Operations); n != 4*bundleSize {
			return fmt.Sprintf("have %d operations", n)
		}
		return ""
	})
	s.chain.SetAutoMine(false)
	s.hold(s.keys[1:]...)
	// The first sender takes what the others leave: else it might take twice what one of them should have.
	pause := func(paused bool) {
		t.Helper()
		if err := s.node.Page().Pause(ctx, s.keys[0], paused); err != nil {
			t.Fatal(err)
		}
	}
	pause(true)
	if err := s.node.SetBundlingMode(ctx, true); err != nil {
		t.Fatal(err)
	}
	want := []string{"Building", "Pending", "Pending", "Pending"}
	s.wait(t, "three bundles wait", func() string {
		states := s.now(t)
		if slices.Equal(states, want) {
			return ""
		}
		s.mine(t)
		return fmt.Sprint(states)
	})
	pause(false)
	// What is held waits; the first sender's bundle is mined, and nothing is left for it.
	s.wait(t, "the first sender waits for operations", func() string {
		states, n := s.now(t), len(s.node.Page().Mempool().Operations)
		if slices.Equal(states, want) && n == 3*bundleSize {
			return ""
		}
		s.mine(t)
		return fmt.Sprintf("%v, %d operations", states, n)
	})
	s.moody.refuses.Store(&s.keys[2])
	b.login()
	b.do(chromedp.Reload())
	b.sees("#operator", "Operator")
	for _, key := range s.keys[2:] {
		b.click(fmt.Sprintf(`#senders-body button.row[data-of="%s"]`, strings.ToLower(key.Hex())))
		b.sees(".detail code.full", strings.ToLower(key.Hex()))
		b.click(`.detail [data-act="cancel"]`)
		b.sees("#ask", "Cancel what")
		b.click("#ask button.danger-full")
	}
	s.states(t, "Building", "Pending", "Cancelling", "CancelPending")
	b.sees("#senders-body", "CancelPending")
}

// TestFourSendersInFourStates is the run behind the pictures: a real chain and bundler, operators' buttons pressed in a real
// browser, and the page in light, dark and on a phone.
func TestFourSendersInFourStates(t *testing.T) {
	s := startStack(t, nil, func(c *node.Config) { c.Sender.MaxBlocksToWaitForMine = 500 })
	b := open(t, s.url)
	b.sees("#live", "Live")
	s.fourStates(t, b)
	b.click(fmt.Sprintf(`#senders-body button.row[data-of="%s"]`, strings.ToLower(s.keys[3].Hex())))
	b.sees(".detail", "Sender 4")
	for _, view := range []struct {
		name          string
		width, height int64
		scheme        string
	}{{"four-light", 1440, 900, "light"}, {"four-dark", 1440, 900, "dark"}, {"four-phone", 390, 844, "light"}} {
		b.size(view.width, view.height, view.scheme)
		b.until("the plots are drawn", "document.querySelector('#money canvas') && document.querySelector('#fees canvas')", "document.body.innerText")
		b.hush()
		b.picture(view.name)
		b.size(view.width, view.height*5/3, view.scheme)
		b.do(chromedp.Evaluate[chromedp.Void]("window.scrollTo(0, 0)"))
		b.view(view.name + "-top")
	}
}
