package rpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"baler/entrypoint"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/gorilla/websocket"
)

const chainIDCall = `{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}`

func TestTooLargeRequestsAreRefusedNotCut(t *testing.T) {
	t.Parallel()
	const limit = 1000
	s := serve(t, newFakeBackend(), Config{MaxBodyBytes: limit})
	want := `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"request too large: want at most 1000 bytes"}}`
	padded := chainIDCall + strings.Repeat(" ", limit)

	for name, body := range map[string]io.Reader{
		"announced": strings.NewReader(padded),
		"chunked":   io.MultiReader(strings.NewReader(padded)), // hides its length
	} {
		resp := request(t, http.MethodPost, s.url, body, nil)
		if resp.status != http.StatusRequestEntityTooLarge || strings.TrimSpace(resp.body) != want {
			t.Errorf("%s: have %d %s, want 413 %s", name, resp.status, resp.body, want)
		}
	}
	exact := chainIDCall + strings.Repeat(" ", limit-len(chainIDCall))
	if answer := post(t, s.url, exact); !strings.Contains(answer, "0x539") {
		t.Errorf("a request of exactly the limit: have %s, want its answer", answer)
	}
}

func TestBatchesHaveLimits(t *testing.T) {
	t.Parallel()
	s := serve(t, newFakeBackend(), Config{MaxBatchItems: 3, MaxBatchBytes: 40})
	batch := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat(chainIDCall+",", n), ",") + "]" }

	if got := post(t, s.url, batch(3)); strings.Count(got, `"0x539"`) != 3 {
		t.Errorf("batch of 3: have %s, want three answers", got)
	}
	if got := post(t, s.url, batch(4)); !strings.Contains(got, `"code":-32600,"message":"batch too large: have 4 calls, want at most 3"`) || strings.Contains(got, "0x539") {
		t.Errorf("batch of 4: have %s, want a refusal", got)
	}
	const entryPoints = `{"jsonrpc":"2.0","id":1,"method":"eth_supportedEntryPoints"}`
	if got := post(t, s.url, "["+entryPoints+","+entryPoints+"]"); !strings.Contains(got, `"code":-32003,"message":"response too large"`) {
		t.Errorf("large answers: have %s, want the rest refused", got)
	}
}

func TestEdgeRefusesWhatIsNotACall(t *testing.T) {
	t.Parallel()
	s := serve(t, newFakeBackend(), Config{})
	for _, c := range []struct {
		method, path string
		header       http.Header
		want         int
	}{
		{"GET", "/", nil, http.StatusMethodNotAllowed},
		{"PUT", "/", nil, http.StatusMethodNotAllowed},
		{"POST", "/other", nil, http.StatusNotFound},
		{"POST", "/health", nil, http.StatusMethodNotAllowed},
		// A browser sends this from any page without asking first.
		{"POST", "/", http.Header{"Content-Type": {"text/plain"}}, http.StatusUnsupportedMediaType},
		{"POST", "/", http.Header{"Host": {"attacker.example"}}, http.StatusForbidden},
		{"GET", "/health", http.Header{"Host": {"attacker.example"}}, http.StatusForbidden},
		{"POST", "/", http.Header{"Host": {"localhost:8545"}}, http.StatusOK},
		{"POST", "/", http.Header{"Host": {"[::1]:8545"}}, http.StatusOK},
	} {
		resp := request(t, c.method, s.url+c.path, strings.NewReader(chainIDCall), c.header)
		if resp.status != c.want {
			t.Errorf("%s %s %v: have status %d, want %d", c.method, c.path, c.header, resp.status, c.want)
		}
	}
}

func TestVirtualHosts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		hosts    []string
		loopback bool
		host     string
		want     bool
	}{
		{"loopback takes localhost", nil, true, "LOCALHOST:1", true},
		{"loopback takes addresses", nil, true, "127.0.0.1", true},
		{"loopback takes no other names", nil, true, "rebound.example:8545", false},
		{"another address takes any name", nil, false, "bundler.example", true},
		{"a list is a list", []string{"bundler.example"}, false, "Bundler.Example:80", true},
		{"a list is all", []string{"bundler.example"}, false, "localhost", false},
		{"star is any", []string{"*"}, true, "rebound.example", true},
	} {
		s := NewServer(newFakeBackend(), Config{VirtualHosts: c.hosts})
		ip := net.IPv4(192, 0, 2, 1)
		if c.loopback {
			ip = net.IPv4(127, 0, 0, 1)
		}
		if _, err := s.open(fakeListener{addr: &net.TCPAddr{IP: ip, Port: 1}}); err != nil {
			t.Fatal(err)
		}
		if got := s.hosts.Allow(c.host); got != c.want {
			t.Errorf("%s: have %v, want %v", c.name, got, c.want)
		}
	}
}

type fakeListener struct {
	net.Listener
	addr net.Addr
}

func (l fakeListener) Addr() net.Addr { return l.addr }

func TestOnlyListedOriginsMayReadAnswers(t *testing.T) {
	t.Parallel()
	const listed, other = "https://wallet.example", "https://evil.example"
	for _, c := range []struct {
		name    string
		origins []string
		origin  string
		want    string
	}{
		{"nobody by default", nil, listed, ""},
		{"a listed one", []string{listed}, listed, listed},
		{"another one", []string{listed}, other, ""},
		{"all", []string{"*"}, other, other},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, newFakeBackend(), Config{CORSOrigins: c.origins})
			header := http.Header{"Origin": {c.origin}}
			preflight := request(t, http.MethodOptions, s.url, nil, header)
			answer := request(t, http.MethodPost, s.url, strings.NewReader(chainIDCall), header)
			for what, resp := range map[string]response{"preflight": preflight, "answer": answer} {
				if got := resp.header.Get("Access-Control-Allow-Origin"); got != c.want {
					t.Errorf("%s: have allowed origin %q, want %q", what, got, c.want)
				}
			}
			if got := preflight.header.Get("Access-Control-Allow-Headers") != ""; got != (c.want != "") {
				t.Errorf("preflight allows Content-Type: have %v, want %v", got, c.want != "")
			}
			client, err := rpc.DialOptions(t.Context(), wsURL(s), rpc.WithHeader("Origin", c.origin))
			if (err == nil) != (c.want != "") {
				t.Errorf("WebSocket: have error %v, want allowed %v", err, c.want != "")
			}
			if err == nil {
				client.Close()
			}
		})
	}
}

func wsURL(s *testServer) string { return "ws" + strings.TrimPrefix(s.url, "http") }

func TestWebSocketServesTheSame(t *testing.T) {
	t.Parallel()
	s := serve(t, newFakeBackend(), Config{MaxBodyBytes: 10_000})
	client, err := rpc.DialContext(t.Context(), wsURL(s))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	var chainID hexutil.Uint64
	if err := client.CallContext(t.Context(), &chainID, "eth_chainId"); err != nil || chainID != fakeChainID {
		t.Fatalf("eth_chainId: have %d, %v, want %d", chainID, err, fakeChainID)
	}
	op := &userop.UserOperation{Version: userop.V07, Sender: common.Address{1}}
	op.Nonce.SetUint64(nonceDeposit)
	var hash common.Hash
	err = client.CallContext(t.Context(), &hash, "eth_sendUserOperation", op, entrypoint.Canonical(userop.V07).Address)
	var coded rpc.Error
	if !errors.As(err, &coded) || coded.ErrorCode() != -32508 {
		t.Errorf("refusal: have %v, want code -32508", err)
	}
	batch := []rpc.BatchElem{
		{Method: "eth_chainId", Result: new(hexutil.Uint64)},
		{Method: "eth_chainId", Result: new(hexutil.Uint64)},
	}
	if err := client.BatchCallContext(t.Context(), batch); err != nil || batch[1].Error != nil {
		t.Errorf("batch: have %v, %v, want answers", err, batch[1].Error)
	}
}

// dialBare opens a WebSocket until the test's end. go-ethereum's client would not
// do where the server ends the connection: it can leave a call that is still
// being written without an answer for ever.
func dialBare(t *testing.T, s *testServer) *websocket.Conn {
	t.Helper()
	conn, answer, err := websocket.DefaultDialer.DialContext(t.Context(), wsURL(s), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestAMessageOverTheLimitEndsTheWebSocketNotTheServer(t *testing.T) {
	t.Parallel()
	s := serve(t, newFakeBackend(), Config{MaxBodyBytes: 10_000})
	conn := dialBare(t, s)
	// The server may have hung up before all of it is written.
	_ = conn.WriteMessage(websocket.TextMessage, []byte(chainIDCall+strings.Repeat(" ", 20_000)))
	if _, text, err := conn.ReadMessage(); err == nil {
		t.Errorf("have %s, want the end of the connection", text)
	}
	if got := post(t, s.url, chainIDCall); !strings.Contains(got, "0x539") {
		t.Errorf("after it: have %s, want an answer", got)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	type report struct {
		Head int `json:"head"`
	}
	for _, c := range []struct {
		name   string
		health func(context.Context) (any, bool)
		status int
		body   string
	}{
		{"default", nil, http.StatusOK, `{"status":"ok"}`},
		{"well", func(context.Context) (any, bool) { return report{7}, true }, http.StatusOK, `{"head":7}`},
		{"ill", func(context.Context) (any, bool) { return report{7}, false }, http.StatusServiceUnavailable, `{"head":7}`},
		{"broken", func(context.Context) (any, bool) { return func() {}, true }, http.StatusInternalServerError, `{"status":"unknown"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, newFakeBackend(), Config{Health: c.health})
			resp := request(t, http.MethodGet, s.url+"/health", nil, nil)
			if resp.status != c.status || strings.TrimSpace(resp.body) != c.body {
				t.Errorf("have %d %s, want %d %s", resp.status, resp.body, c.status, c.body)
			}
		})
	}
}

const receiptCall = `{"jsonrpc":"2.0","id":1,"method":"eth_getUserOperationReceipt",` +
	`"params":["0x0000000000000000000000000000000000000000000000000000000000000001"]}`

func TestCallsTimeOut(t *testing.T) {
	t.Parallel()
	backend := newFakeBackend()
	backend.entered, backend.release = make(chan struct{}, 1), make(chan struct{})
	s := serve(t, backend, Config{CallTimeout: time.Millisecond})
	want := `"error":{"code":-32002,"message":"request timed out"}`
	if got := post(t, s.url, receiptCall); !strings.Contains(got, want) {
		t.Errorf("have %s, want %s", got, want)
	}
}

func TestCallsAtOnceAreBounded(t *testing.T) {
	t.Parallel()
	backend := newFakeBackend()
	backend.entered, backend.release = make(chan struct{}), make(chan struct{})
	s := serve(t, backend, Config{MaxCalls: 1, MaxWaitingCalls: 1})

	answers := make(chan string, 3)
	var calls sync.WaitGroup
	call := func() {
		resp, err := tryRequest(t.Context(), http.MethodPost, s.url, strings.NewReader(receiptCall), nil)
		if err != nil {
			resp.body = err.Error()
		}
		answers <- resp.body
	}
	calls.Go(call)
	calls.Go(call)
	<-backend.entered // one is at work, the other waits or is still on its way
	calls.Go(call)    // now one of them finds both places taken
	if got := <-answers; !strings.Contains(got, `"code":-32005`) {
		t.Fatalf("have %s, want a refusal", got)
	}
	close(backend.release)
	<-backend.entered
	calls.Wait()
	for range 2 {
		if got := <-answers; !strings.Contains(got, `"result":null`) {
			t.Errorf("have %s, want the answer of a call that had a place", got)
		}
	}
}

func TestCloseEndsCallsAndConnections(t *testing.T) {
	t.Parallel()
	backend := newFakeBackend()
	backend.entered, backend.release = make(chan struct{}), make(chan struct{})
	s := serve(t, backend, Config{ShutdownTimeout: time.Millisecond})
	conn := dialBare(t, s)

	var pending sync.WaitGroup
	failed := make(chan error, 2)
	pending.Go(func() { // over HTTP
		resp, err := tryRequest(t.Context(), http.MethodPost, s.url, strings.NewReader(receiptCall), nil)
		if strings.Contains(resp.body, `"request canceled"`) { // the answer may still get out
			err = errors.New("canceled")
		}
		failed <- err
	})
	pending.Go(func() {
		if err := conn.WriteMessage(websocket.TextMessage, []byte(receiptCall)); err != nil {
			t.Error(err)
		}
		_, text, err := conn.ReadMessage()
		if bytes.Contains(text, []byte(`"request canceled"`)) {
			err = errors.New("canceled")
		}
		failed <- err
	})
	<-backend.entered
	<-backend.entered

	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	pending.Wait()
	for range 2 {
		if err := <-failed; err == nil {
			t.Error("a call was answered though the server was closed")
		}
	}
	if s.stopped.Err() == nil {
		t.Error("calls could still be made")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a listener of the test
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context(), l); !errors.Is(err, ErrServing) {
		t.Errorf("Serve after Close: have %v, want %v", err, ErrServing)
	}
	if _, err := l.Accept(); err == nil {
		t.Error("Serve did not close the listener it refused")
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a listener of the test
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := NewServer(newFakeBackend(), Config{})
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	if got := post(t, "http://"+l.Addr().String(), chainIDCall); !strings.Contains(got, "0x539") {
		t.Errorf("have %s, want an answer", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: have %v, want nil", err)
	}
}

func TestInternalErrorsAreLoggedAndNotTold(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	s := serve(t, newFakeBackend(), Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for _, nonce := range []string{"0xe3", "0xe4"} {
		answer := post(t, s.url, `{"jsonrpc":"2.0","id":1,"method":"eth_estimateUserOperationGas","params":[`+
			`{"sender":"0x1111111111111111111111111111111111111111","nonce":"`+nonce+`","callData":"0x"},`+
			`"0x0000000071727De22E5E9d8BAf0edAc6f37da032"]}`)
		if strings.Contains(answer, "hunter2") || !strings.Contains(answer, `"code":-32603`) {
			t.Errorf("have %s, want -32603 without the cause", answer)
		}
	}
	if got := log.String(); strings.Count(got, "hunter2") != 2 {
		t.Errorf("the log must hold both causes, have:\n%s", got)
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
