package chain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"
)

// branch is a chain of headers that nodes share.
func branch(from *types.Header, n int, mark string) []*types.Header {
	var list []*types.Header
	for range n {
		header := &types.Header{Number: big.NewInt(0), Difficulty: new(big.Int), Extra: []byte(mark)}
		if from != nil {
			header.Number.Add(from.Number, big.NewInt(1))
			header.ParentHash = from.Hash()
		}
		list = append(list, header)
		from = header
	}
	return list
}

// badNode is a node whose faults a test chooses.
type badNode struct {
	url string

	mu      sync.Mutex
	chain   []*types.Header // by height
	chainID uint64
	silent  bool // answers nothing, until the caller has gone
	broken  bool // HTTP 503
	busy    bool // a JSON-RPC error of a provider's limit
	blocked chan struct{}
	calls   map[string]int
}

func startBad(t *testing.T, chain []*types.Header) *badNode {
	t.Helper()
	n := &badNode{chain: chain, chainID: 7, calls: make(map[string]int)}
	server := httptest.NewServer(n)
	t.Cleanup(server.Close)
	n.url = server.URL
	return n
}

// set changes the node.
func (n *badNode) set(change func(*badNode)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n)
}

func (n *badNode) count(method string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls[method]
}

type question struct {
	ID     json.RawMessage   `json:"id"`
	Method string            `json:"method"`
	Params []json.RawMessage `json:"params"`
}

// ServeHTTP implements http.Handler.
func (n *badNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var raw json.RawMessage
	if err := json.NewDecoder(r.Body).Decode(&raw); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	n.mu.Lock()
	silent, broken := n.silent, n.broken
	n.mu.Unlock()
	if silent {
		<-r.Context().Done()
		return
	}
	if broken {
		http.Error(w, "out of order", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	var batch []question
	if json.Unmarshal(raw, &batch) == nil {
		var answers []any
		for _, q := range batch {
			answers = append(answers, n.answer(q))
		}
		_ = json.NewEncoder(w).Encode(answers)
		return
	}
	var q question
	_ = json.Unmarshal(raw, &q)
	_ = json.NewEncoder(w).Encode(n.answer(q))
}

func (n *badNode) answer(q question) any {
	n.mu.Lock()
	n.calls[q.Method]++
	blocked := n.blocked
	n.mu.Unlock()
	if blocked != nil && q.Method == "eth_getBalance" {
		<-blocked
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	result, err := n.result(q)
	if err != nil {
		return map[string]any{"jsonrpc": "2.0", "id": q.ID, "error": map[string]any{"code": -32000, "message": err.Error()}}
	}
	return map[string]any{"jsonrpc": "2.0", "id": q.ID, "result": result}
}

func (n *badNode) result(q question) (any, error) {
	switch {
	case q.Method == "eth_chainId":
		return hexutil.Uint64(n.chainID), nil
	case q.Method == "eth_getBlockByNumber":
		var tag string
		_ = json.Unmarshal(q.Params[0], &tag)
		number := uint64(len(n.chain) - 1)
		if tag != "latest" {
			number = hexutil.MustDecodeUint64(tag)
		}
		if number >= uint64(len(n.chain)) {
			return nil, nil
		}
		return withHash(n.chain[number]), nil
	case n.busy:
		return nil, errors.New("daily request count exceeded, too many requests")
	case q.Method == "eth_getBlockByHash":
		var hash common.Hash
		_ = json.Unmarshal(q.Params[0], &hash)
		for _, header := range n.chain {
			if header.Hash() == hash {
				return withHash(header), nil
			}
		}
		return nil, nil
	case q.Method == "eth_getBalance":
		var at struct {
			BlockHash common.Hash `json:"blockHash"`
		}
		_ = json.Unmarshal(q.Params[1], &at)
		for _, header := range n.chain {
			if header.Hash() == at.BlockHash {
				return "0x2a", nil
			}
		}
		return nil, errors.New("header not found")
	case q.Method == "eth_sendRawTransaction":
		return common.Hash{1}, nil
	default:
		return nil, errors.New("the method does not exist")
	}
}

func withHash(h *types.Header) map[string]any {
	raw, _ := json.Marshal(h)
	var fields map[string]any
	_ = json.Unmarshal(raw, &fields)
	fields["hash"] = h.Hash()
	return fields
}

// soon is for tests: heads are compared every few milliseconds.
func soon() EndpointOptions {
	return EndpointOptions{Timeout: 300 * time.Millisecond, PollInterval: 5 * time.Millisecond, Patience: 100 * time.Millisecond}
}

func dialAll(t *testing.T, o EndpointOptions, nodes ...*badNode) *Client {
	t.Helper()
	var urls []string
	for _, n := range nodes {
		urls = append(urls, n.url)
	}
	client, err := DialSeveral(t.Context(), urls, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func within(t *testing.T, what string, condition func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		err := condition()
		if err == nil {
			return
		}
		if sleep(ctx, 5*time.Millisecond) != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

func agreesOn(t *testing.T, client *Client, want *types.Header) {
	t.Helper()
	within(t, "the agreed head", func() error {
		head, err := nodeHeads{client}.Latest(t.Context())
		if err == nil && head.Hash() != want.Hash() {
			err = fmt.Errorf("have block %d %q, want %d %q", head.Number, head.Extra, want.Number, want.Extra)
		}
		return err
	})
}

func standings(client *Client, want ...Standing) error {
	for i, s := range client.Endpoints() {
		if s.State != want[i] {
			return fmt.Errorf("endpoint %d is %q (block %d, %s), want %q", i+1, s.State, s.Head, s.LastError, want[i])
		}
	}
	return nil
}

func balanceAt(t *testing.T, client *Client, block common.Hash) error {
	t.Helper()
	balance, err := client.Balance(t.Context(), block, common.Address{1})
	if err == nil && balance.Uint64() != 42 {
		err = fmt.Errorf("have balance %s, want 42", balance)
	}
	return err
}

func TestReadsGoToEndpointsThatHaveTheHead(t *testing.T) {
	chain := branch(nil, 30, "")
	one, two, three := startBad(t, chain[:20]), startBad(t, chain[:20]), startBad(t, chain[:20])
	client := dialAll(t, soon(), one, two, three)
	agreesOn(t, client, chain[19])
	for _, n := range []*badNode{one, two} {
		n.set(func(n *badNode) { n.chain = chain[:25] })
	}
	agreesOn(t, client, chain[24]) // after patience
	within(t, "the third is behind", func() error { return standings(client, StandingOK, StandingOK, StandingBehind) })
	for range 20 {
		if err := balanceAt(t, client, chain[24].Hash()); err != nil {
			t.Fatal(err)
		}
	}
	if n := three.count("eth_getBalance"); n != 0 {
		t.Errorf("the endpoint that is behind was asked %d times", n)
	}
	three.set(func(n *badNode) { n.chain = chain[:25] })
	within(t, "the third has come up", func() error { return standings(client, StandingOK, StandingOK, StandingOK) })
	asking, answerer := WithAnswerer(t.Context())
	if _, err := client.Balance(asking, chain[24].Hash(), common.Address{1}); err != nil || !strings.HasPrefix(answerer(), "http://127.0.0.1:") {
		t.Errorf("have the answerer %q, error %v", answerer(), err)
	}
	if have := client.AgreedHead(); have != 24 {
		t.Errorf("have the agreed head %d, want 24", have)
	}
	if state := client.Endpoints()[0]; state.Head != 24 || state.Circuit != "closed" || state.Latency <= 0 || state.Requests == 0 || state.Errors != 0 {
		t.Errorf("have %+v", state)
	}
}

func TestAHeadIsWhatEveryEndpointHasWhileTheyComeSoonAfterEachOther(t *testing.T) {
	chain := branch(nil, 12, "")
	one, two := startBad(t, chain[:10]), startBad(t, chain[:10])
	options := soon()
	options.Patience = time.Hour
	client := dialAll(t, options, one, two)
	agreesOn(t, client, chain[9])
	one.set(func(n *badNode) { n.chain = chain[:12] })
	within(t, "the first shows a new block", func() error {
		if have := client.Endpoints()[0].Head; have != 11 {
			return fmt.Errorf("have block %d", have)
		}
		return nil
	})
	agreesOn(t, client, chain[9])
	two.set(func(n *badNode) { n.chain = chain[:11] })
	agreesOn(t, client, chain[10])
	two.set(func(n *badNode) { n.chain = chain[:12] })
	agreesOn(t, client, chain[11])
}

func TestTheNewestBlockIsAskedOfEveryEndpoint(t *testing.T) {
	chain := branch(nil, 12, "")
	nodes := []*badNode{startBad(t, chain[:10]), startBad(t, chain[:10]), startBad(t, chain[:10])}
	options := soon()
	options.PollInterval, options.Timeout = time.Hour, time.Hour // nothing is seen but by asking
	client := dialAll(t, options, nodes...)
	newest := func(why string, want *types.Header) {
		t.Helper()
		head, err := client.Latest(t.Context())
		if err != nil || head.Hash() != want.Hash() {
			t.Errorf("%s: have block %v, error %v, want %d", why, head, err, want.Number)
		}
	}
	nodes[0].set(func(n *badNode) { n.chain = chain[:11] })
	newest("one of three has a new block", chain[9])
	nodes[1].set(func(n *badNode) { n.chain = chain[:11] })
	newest("two of three have a new block", chain[10])
	agreesOn(t, client, chain[9]) // the third may come yet
	nodes[2].set(func(n *badNode) { n.chain = chain[:11] })
	newest("all have a new block", chain[10])
	agreesOn(t, client, chain[10])
	for _, n := range nodes {
		n.set(func(n *badNode) { n.chain = chain[:12] })
	}
	nodes[2].set(func(n *badNode) { n.silent = true })
	newest("one says nothing", chain[11])
	if state := client.Endpoints()[2]; state.Errors != 0 || state.State != StandingOK {
		t.Errorf("have the silent endpoint %+v, want no failure of its own: it was not waited for", state)
	}
}

func TestAnEndpointOnAnotherBranchIsNotAskedUntilItComesBack(t *testing.T) {
	common := branch(nil, 10, "")
	main := append(common[:10:10], branch(common[9], 3, "main")...)
	side := append(common[:10:10], branch(common[9], 3, "side")...)
	one, two, three := startBad(t, side), startBad(t, main), startBad(t, main)
	client := dialAll(t, soon(), one, two, three)
	agreesOn(t, client, main[12])
	within(t, "the first is on a fork", func() error { return standings(client, StandingForked, StandingOK, StandingOK) })
	for range 10 {
		if err := balanceAt(t, client, main[12].Hash()); err != nil {
			t.Fatal(err)
		}
	}
	if n := one.count("eth_getBalance"); n != 0 {
		t.Errorf("the endpoint on a fork was asked %d times", n)
	}
	one.set(func(n *badNode) { n.chain = main })
	within(t, "it is back", func() error { return standings(client, StandingOK, StandingOK, StandingOK) })
	// Now most go over to the other branch: so does the head.
	for _, n := range []*badNode{two, three} {
		n.set(func(n *badNode) { n.chain = side })
	}
	agreesOn(t, client, side[12])
}

// One endpoint alone, of three, cannot make the others look behind by a head that it has made up.
func TestAHeadOfOneEndpointAloneIsNotFollowed(t *testing.T) {
	chain := branch(nil, 200, "")
	one, two, three := startBad(t, chain), startBad(t, chain[:20]), startBad(t, chain[:20])
	client := dialAll(t, soon(), one, two, three)
	agreesOn(t, client, chain[19])
	for _, n := range []*badNode{two, three} {
		n.set(func(n *badNode) { n.chain = chain[:22] })
	}
	agreesOn(t, client, chain[21])
	if err := balanceAt(t, client, chain[21].Hash()); err != nil {
		t.Error(err)
	}
}

func TestAnEndpointThatDoesNotAnswerIsLeftAloneAndAskedAgain(t *testing.T) {
	for name, fault := range map[string]func(n *badNode, on bool){
		"silent": func(n *badNode, on bool) { n.silent = on },
		"broken": func(n *badNode, on bool) { n.broken = on },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			chain := branch(nil, 10, "")
			one, two := startBad(t, chain), startBad(t, chain)
			client := dialAll(t, soon(), one, two)
			agreesOn(t, client, chain[9])
			one.set(func(n *badNode) { fault(n, true) })
			within(t, "the first is resting", func() error {
				if err := balanceAt(t, client, chain[9].Hash()); err != nil {
					t.Fatalf("one of two endpoints fails, and a read with it: %v", err)
				}
				return standings(client, StandingResting, StandingOK)
			})
			state := client.Endpoints()[0]
			if state.Circuit != "open" {
				t.Errorf("have the circuit %s, want open", state.Circuit)
			}
			if state.Errors == 0 || state.LastError == "" || strings.Contains(state.LastError, one.url[len("http://"):]+"/") {
				t.Errorf("have %+v, want its failures", state)
			}
			two.set(func(n *badNode) { n.broken = true })
			if err := balanceAt(t, client, chain[9].Hash()); err == nil {
				t.Error("nobody answers, and a read succeeds")
			}
			for _, n := range []*badNode{one, two} {
				n.set(func(n *badNode) { n.silent, n.broken = false, false })
			}
			within(t, "both are well again", func() error { return standings(client, StandingOK, StandingOK) })
			if err := balanceAt(t, client, chain[9].Hash()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWhatOneEndpointLacksIsAskedOfAnother(t *testing.T) {
	chain := branch(nil, 10, "")
	one, two := startBad(t, chain), startBad(t, chain)
	client := dialAll(t, soon(), one, two)
	one.set(func(n *badNode) { n.busy = true })
	for range 10 {
		if err := balanceAt(t, client, chain[9].Hash()); err != nil {
			t.Fatal(err)
		}
		var balance hexutil.Big
		batch := []rpc.BatchElem{{Method: "eth_getBalance", Args: []any{common.Address{}, AtHash(chain[9].Hash())}, Result: &balance}}
		if err := errors.Join(client.BatchCallContext(t.Context(), batch), batch[0].Error); err != nil || balance.ToInt().Int64() != 42 {
			t.Fatalf("a batch: have %v (%v)", balance, err)
		}
	}
	two.set(func(n *badNode) { n.busy = true })
	if err := balanceAt(t, client, chain[9].Hash()); !Answered(err) {
		t.Errorf("have error %v, want the node's own answer", err)
	}
	batch := []rpc.BatchElem{{Method: "eth_getBalance", Args: []any{common.Address{}, AtHash(chain[9].Hash())}, Result: new(hexutil.Big)}}
	if err := client.BatchCallContext(t.Context(), batch); err != nil || batch[0].Error == nil {
		t.Errorf("a batch: have error %v and %v of its element, want the latter only", err, batch[0].Error)
	}
	for _, n := range []*badNode{one, two} {
		n.set(func(n *badNode) { n.busy = false })
	}
	if err := client.CallContext(t.Context(), new(string), "eth_nothing"); !Answered(err) || one.count("eth_nothing")+two.count("eth_nothing") != 1 {
		t.Errorf("a method that does not exist: have error %v, and it was asked for %d times", err, one.count("eth_nothing")+two.count("eth_nothing"))
	}
}

func TestATransactionIsSubmittedOnceAndSpreadWhenItIsTaken(t *testing.T) {
	chain := branch(nil, 10, "")
	one, two := startBad(t, chain), startBad(t, chain)
	client := dialAll(t, soon(), one, two)
	agreesOn(t, client, chain[9])
	var hash common.Hash
	if err := client.CallContext(t.Context(), &hash, "eth_sendRawTransaction", "0x01"); err != nil {
		t.Fatal(err)
	}
	within(t, "both know it", func() error {
		if a, b := one.count("eth_sendRawTransaction"), two.count("eth_sendRawTransaction"); a != 1 || b != 1 {
			return fmt.Errorf("have %d and %d", a, b)
		}
		return nil
	})
	for _, n := range []*badNode{one, two} {
		n.set(func(n *badNode) { n.busy = true })
	}
	if err := client.CallContext(t.Context(), &hash, "eth_sendRawTransaction", "0x02"); err == nil {
		t.Error("have no error, want the refusal")
	}
	if sum := one.count("eth_sendRawTransaction") + two.count("eth_sendRawTransaction"); sum != 3 {
		t.Errorf("a refused transaction was sent %d times, want once", sum-2)
	}
}

func TestLimitsOfOneEndpointAreRespectedWhileAnotherHasRoom(t *testing.T) {
	chain := branch(nil, 10, "")
	t.Run("at once", func(t *testing.T) {
		one, two := startBad(t, chain), startBad(t, chain)
		options := soon()
		options.Concurrent, options.Timeout = 1, time.Minute
		client := dialAll(t, options, one, two)
		release := make(chan struct{})
		for _, n := range []*badNode{one, two} {
			n.set(func(n *badNode) { n.blocked = release })
		}
		var group sync.WaitGroup
		for range 5 {
			group.Go(func() {
				if err := balanceAt(t, client, chain[9].Hash()); err != nil {
					t.Error(err)
				}
			})
		}
		within(t, "each has one", func() error {
			if a, b := one.count("eth_getBalance"), two.count("eth_getBalance"); a != 1 || b != 1 {
				return fmt.Errorf("have %d and %d requests at once, want 1 and 1", a, b)
			}
			return nil
		})
		close(release)
		group.Wait()
		if sum := one.count("eth_getBalance") + two.count("eth_getBalance"); sum != 5 {
			t.Errorf("have %d requests, want 5", sum)
		}
	})
	t.Run("per second", func(t *testing.T) {
		one, two := startBad(t, chain), startBad(t, chain)
		options := soon()
		options.RequestsPerSecond = 0.001 // one, and no more in this test
		client := dialAll(t, options, one, two)
		for range 2 {
			if err := balanceAt(t, client, chain[9].Hash()); err != nil {
				t.Fatal(err)
			}
		}
		if a, b := one.count("eth_getBalance"), two.count("eth_getBalance"); a != 1 || b != 1 {
			t.Errorf("have %d and %d requests, want 1 and 1", a, b)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := client.Balance(ctx, chain[9].Hash(), common.Address{}); err == nil {
			t.Error("a third request was let through")
		}
	})
}

func TestEndpointsOfAnotherChainAreRefused(t *testing.T) {
	chain, other := branch(nil, 10, ""), branch(nil, 10, "other")
	one, two := startBad(t, chain), startBad(t, other)
	_, err := DialSeveral(t.Context(), []string{one.url, two.url}, nil, soon())
	if !errors.Is(err, ErrOtherChain) {
		t.Errorf("have error %v, want %v", err, ErrOtherChain)
	}
	two.set(func(n *badNode) { n.broken = true }) // at the start; it shows later what it is
	client := dialAll(t, soon(), one, two)
	two.set(func(n *badNode) { n.broken = false })
	within(t, "it is found out", func() error { return standings(client, StandingOK, StandingOtherChain) })
	one.set(func(n *badNode) { n.broken = true })
	_ = balanceAt(t, client, other[9].Hash())
	if n := two.count("eth_getBalance"); n != 0 {
		t.Errorf("a node of another chain was asked %d times", n)
	}
	if _, err := DialSeveral(t.Context(), []string{"http://127.0.0.1:1", "http://127.0.0.1:2"}, nil, soon()); err == nil {
		t.Error("nobody answers, and no error")
	}
}

// Endpoints fall behind, fail and come back in turns: the heads that are told follow each other without a gap.
func TestHeadsAreFollowedOneByOneWhileEndpointsFailInTurns(t *testing.T) {
	const blocks = 60
	chain := branch(nil, 10+blocks, "")
	nodes := []*badNode{startBad(t, chain[:10]), startBad(t, chain[:10]), startBad(t, chain[:10])}
	client := dialAll(t, soon(), nodes...)
	ctx, cancel := context.WithCancel(t.Context())
	updates := make(chan Update)
	var group sync.WaitGroup
	group.Go(func() {
		_ = client.Follow(ctx, nil, FollowOptions{Log: slog.New(slog.DiscardHandler)}, updates)
	})
	defer group.Wait()
	defer cancel()
	if first := <-updates; first.Head.Hash() != chain[9].Hash() {
		t.Fatalf("have block %d first", first.Head.Number)
	}
	for i := range blocks {
		height := 11 + i
		bad := i / 5 % len(nodes)
		for j, n := range nodes {
			n.set(func(n *badNode) {
				n.silent, n.broken = j == bad && i%2 == 0, j == bad && i%3 == 0
				if j != bad || i%5 == 4 {
					n.chain = chain[:height]
				}
			})
		}
		select {
		case update := <-updates:
			if len(update.Removed) > 0 || update.Gap || update.Head.Hash() != chain[height-1].Hash() {
				t.Fatalf("have block %d, removed %d, gap %v, want block %d", update.Head.Number, len(update.Removed), update.Gap, height-1)
			}
		case <-time.After(time.Minute):
			t.Fatalf("no update at block %d: %+v", height-1, client.Endpoints())
		}
	}
}
