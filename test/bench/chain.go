package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"baler/devchain"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"
)

// chainCommand is the chain as a process of its own, so that its processor time is its own. It ends when its standard
// input does: with the process that started it, however that ends.
type chainCommand struct {
	BlockTime time.Duration `default:"1s"`
}

// fundedKeys are enough for every bundler's signers and for the accounts' money.
const fundedKeys = 40

// chainReady is the line that a chain prints when it serves.
type chainReady struct {
	NodeURL    string `json:"node_url"`    // for the client; not counted
	WSURL      string `json:"ws_url"`      // for heads; not counted
	CountedURL string `json:"counted_url"` // for the bundler
	CountsURL  string `json:"counts_url"`  // GET: requests so far by method
	LatencyURL string `json:"latency_url"` // POST ?add=50ms: what is added to each request of the bundler's from now on
	ForgetURL  string `json:"forget_url"`  // POST: the node forgets what waits in its pool
}

// Run runs until standard input ends.
func (c *chainCommand) Run(ctx context.Context) (err error) {
	chain, err := devchain.Start(ctx, devchain.Config{
		Mining: devchain.Interval, BlockTime: c.BlockTime, FundedKeys: fundedKeys,
		BaseFee: big.NewInt(10_000_000), // full blocks raise it by an eighth each: it has far to go
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, chain.Close()) }()
	handler, err := chain.Handler()
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	counter := &counter{next: handler, seen: asked{Requests: make(map[string]uint64)}}
	heads := make(chan *types.Header, 64)
	subscription, err := ethclient.NewClient(chain.Client()).SubscribeNewHead(ctx, heads)
	if err != nil {
		return err
	}
	defer subscription.Unsubscribe()
	following, stop := context.WithCancel(ctx)
	var follower sync.WaitGroup
	follower.Go(func() { counter.follow(following, heads) })
	defer follower.Wait()
	defer stop()
	mux := http.NewServeMux()
	mux.Handle("POST /", counter)
	mux.HandleFunc("GET /counts", counter.report)
	mux.HandleFunc("POST /latency", counter.setLatency)
	mux.HandleFunc("POST /forget", func(w http.ResponseWriter, r *http.Request) {
		if err := forget(r.Context(), chain); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { // ends with the server
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	url := "http://" + listener.Addr().String()
	ready := chainReady{
		NodeURL: chain.HTTPURL(), WSURL: chain.WSURL(), CountedURL: url, CountsURL: url + "/counts", LatencyURL: url + "/latency",
		ForgetURL: url + "/forget",
	}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return err
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// forget empties the node's pool, so that a bundler's transactions do not meet the next one's.
func forget(ctx context.Context, chain *devchain.Chain) error {
	var content map[string]map[string]map[string]*types.Transaction
	if err := chain.Client().CallContext(ctx, &content, "txpool_content"); err != nil {
		return err
	}
	for _, accounts := range content {
		for _, txs := range accounts {
			for _, tx := range txs {
				if err := chain.Drop(tx.Hash()); err != nil && !errors.Is(err, devchain.ErrNotInPool) {
					return err
				}
			}
		}
	}
	return nil
}

// asked is what a bundler has asked of the node so far.
type asked struct {
	Requests map[string]uint64 `json:"requests"` // by method
	// Submitted are the times from the newest head to the arrival of a transaction, in milliseconds.
	Submitted []float64 `json:"submitted"`
}

// counter counts JSON-RPC requests by method on their way to the node; each item of a batch is one.
type counter struct {
	next http.Handler

	mu      sync.Mutex
	latency time.Duration
	head    time.Time // when the newest one came
	seen    asked
}

// follow notes when heads come.
func (c *counter) follow(ctx context.Context, heads <-chan *types.Header) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-heads:
			c.mu.Lock()
			c.head = time.Now()
			c.mu.Unlock()
		}
	}
}

// ServeHTTP implements http.Handler.
func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	arrived := time.Now()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if latency := c.count(body, arrived); latency > 0 {
		timer := time.NewTimer(latency)
		defer timer.Stop()
		select {
		case <-r.Context().Done():
			return
		case <-timer.C:
		}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	c.next.ServeHTTP(w, r)
}

// count notes a request, and returns how long it is to be held up.
func (c *counter) count(body []byte, arrived time.Time) time.Duration {
	type call struct {
		Method string `json:"method"`
	}
	var calls []call
	if json.Unmarshal(body, &calls) != nil {
		calls = make([]call, 1)
		_ = json.Unmarshal(body, &calls[0]) // what is not JSON the node refuses itself
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range calls {
		c.seen.Requests[one.Method]++
		if one.Method == "eth_sendRawTransaction" && !c.head.IsZero() {
			c.seen.Submitted = append(c.seen.Submitted, arrived.Sub(c.head).Seconds()*1000)
		}
	}
	return c.latency
}

func (c *counter) setLatency(w http.ResponseWriter, r *http.Request) {
	latency, err := time.ParseDuration(r.URL.Query().Get("add"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latency = latency
}

func (c *counter) report(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = json.NewEncoder(w).Encode(c.seen)
}

// startChain starts this program again as a chain.
func startChain(ctx context.Context, blockTime time.Duration) (*process, chainReady, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, chainReady{}, err
	}
	p, err := start(ctx, "chain", nil, self, "chain", "--block-time", blockTime.String())
	if err != nil {
		return nil, chainReady{}, err
	}
	var ready chainReady
	if err := json.NewDecoder(p.stdout).Decode(&ready); err != nil {
		return nil, chainReady{}, errors.Join(fmt.Errorf("the chain did not start: %w", err), p.stop())
	}
	return p, ready, nil
}

// delay sets what is added to each request of the bundler's.
func (r chainReady) delay(ctx context.Context, latency time.Duration) error {
	return post(ctx, r.LatencyURL+"?add="+latency.String(), "")
}

// forget has the node forget what waits in its pool.
func (r chainReady) forget(ctx context.Context) error { return post(ctx, r.ForgetURL, "") }

// post sends a body, and throws the answer away.
func post(ctx context.Context, url, body string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// asked returns what the bundlers have asked of the node so far.
func (r chainReady) asked(ctx context.Context) (a asked, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.CountsURL, nil)
	if err != nil {
		return a, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	return a, json.NewDecoder(response.Body).Decode(&a)
}
