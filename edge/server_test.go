package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"time"
)

const testToken = "0123456789abcdef"

// site is a server that runs, and its address.
type site struct {
	url    string
	client *http.Client
	server *Server
}

func serve(t *testing.T, cfg Config, address string) *site {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	s := NewServer(cfg)
	for path, access := range map[string]Access{"/open": Open, "/read": Read, "/act": Act} {
		s.Handle(path, access, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			text, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
				return
			}
			_, _ = fmt.Fprintf(w, "%s %d", path, len(text))
		}))
	}
	s.Handle("/stream", Open, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return &site{url: "http://127.0.0.1:" + port, client: &http.Client{Transport: transport}, server: s}
}

// ask sends a request and returns the answer's status.
func (s *site) ask(t *testing.T, method, path string, change func(*http.Request)) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	answer, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode
}

func withToken(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

func TestWhoMayUseWhatDependsOnTheListenerAndTheToken(t *testing.T) {
	t.Parallel()
	const everywhere = "0.0.0.0:0"
	for _, test := range []struct {
		name, address, token, path string
		change                     func(*http.Request)
		want                       int
	}{
		{"open is open", everywhere, testToken, "/open", nil, http.StatusOK},
		{"reading on loopback", "127.0.0.1:0", testToken, "/read", nil, http.StatusOK},
		{"reading from elsewhere", everywhere, testToken, "/read", nil, http.StatusUnauthorized},
		{"reading from elsewhere with the token", everywhere, testToken, "/read", withToken(testToken), http.StatusOK},
		{"acting without a token", "127.0.0.1:0", testToken, "/act", nil, http.StatusUnauthorized},
		{"acting with the token", "127.0.0.1:0", testToken, "/act", withToken(testToken), http.StatusOK},
		{"acting with a part of it", "127.0.0.1:0", testToken, "/act", withToken(testToken[:8]), http.StatusUnauthorized},
		{"acting with more than it", "127.0.0.1:0", testToken, "/act", withToken(testToken + "0"), http.StatusUnauthorized},
		{"acting with an empty token", "127.0.0.1:0", testToken, "/act", withToken(""), http.StatusUnauthorized},
		{"acting where there is no token", "127.0.0.1:0", "", "/act", withToken(""), http.StatusUnauthorized},
		{"acting with an unknown session", "127.0.0.1:0", testToken, "/act", func(r *http.Request) {
			r.AddCookie(&http.Cookie{Name: sessionCookie, Value: "guess"})
		}, http.StatusUnauthorized},
		{"a rebound name", "127.0.0.1:0", testToken, "/open", func(r *http.Request) { r.Host = "rebound.example" }, http.StatusForbidden},
		{"localhost", "127.0.0.1:0", testToken, "/open", func(r *http.Request) { r.Host = "localhost:80" }, http.StatusOK},
		{"a page of another origin", "127.0.0.1:0", testToken, "/open", func(r *http.Request) {
			r.Header.Set("Origin", "https://evil.example")
		}, http.StatusForbidden},
		{"a browser that says so", "127.0.0.1:0", testToken, "/open", func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		}, http.StatusForbidden},
		{"nothing there", "127.0.0.1:0", testToken, "/nothing", nil, http.StatusNotFound},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, Config{Token: test.token}, test.address)
			if have := s.ask(t, http.MethodPost, test.path, test.change); have != test.want {
				t.Errorf("have status %d, want %d", have, test.want)
			}
		})
	}
}

func TestAPageStaysLoggedInUntilItLogsOut(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{Token: testToken}, "127.0.0.1:0")
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.client.Jar = jar
	for _, step := range []struct {
		what, method, path string
		change             func(*http.Request)
		want               int
	}{
		{"before", http.MethodGet, "/act", nil, http.StatusUnauthorized},
		{"log in without the token", http.MethodPost, "/session", nil, http.StatusUnauthorized},
		{"log in", http.MethodPost, "/session", withToken(testToken), http.StatusNoContent},
		{"act", http.MethodPost, "/act", nil, http.StatusOK},
		{"a session opens no other", http.MethodPost, "/session", nil, http.StatusUnauthorized},
		{"log out", http.MethodDelete, "/session", nil, http.StatusNoContent},
		{"after", http.MethodGet, "/act", nil, http.StatusUnauthorized},
	} {
		if have := s.ask(t, step.method, step.path, step.change); have != step.want {
			t.Errorf("%s: have status %d, want %d", step.what, have, step.want)
		}
	}
}

func TestWrongTokensAreTriedOnlySoOften(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{Token: testToken}, "127.0.0.1:0")
	for range failuresAtOnce {
		if have := s.ask(t, http.MethodPost, "/act", withToken("guess")); have != http.StatusUnauthorized {
			t.Fatalf("have status %d, want 401", have)
		}
	}
	for name, token := range map[string]string{"a wrong one": "guess", "even the right one": testToken} {
		if have := s.ask(t, http.MethodPost, "/act", withToken(token)); have != http.StatusTooManyRequests {
			t.Errorf("%s: have status %d, want 429", name, have)
		}
	}
}

func TestASessionEndsWithTimeAndThereAreOnlySoMany(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	a := newAuthority(testToken, func() time.Time { return now })
	first := a.open()
	var ids []string
	for range maxSessions {
		now = now.Add(time.Minute)
		ids = append(ids, a.open())
	}
	if a.known(first) || !a.known(ids[0]) || !a.known(ids[maxSessions-1]) {
		t.Error("the oldest session should be gone, and no other")
	}
	now = now.Add(sessionTime - time.Minute)
	if a.known(ids[0]) || !a.known(ids[maxSessions-1]) {
		t.Error("only the newest session should have time left")
	}
}

func TestABodyThatIsTooLargeIsCutOff(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{MaxBodyBytes: 3}, "127.0.0.1:0")
	if have := s.ask(t, http.MethodPost, "/open", nil); have != http.StatusRequestEntityTooLarge {
		t.Errorf("have status %d, want 413", have)
	}
}

// The cleanup of serve waits until the server has ended.
func TestAStreamEndsWithTheServer(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{}, "127.0.0.1:0")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
}

func TestAProbeSaysWhetherAllIsWell(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{}, "127.0.0.1:0")
	s.server.Handle("/ill", Open, Probe(func(context.Context) (any, bool) { return "ill", false }))
	s.server.Handle("/broken", Open, Probe(func(context.Context) (any, bool) { return func() {}, true }))
	for _, test := range []struct {
		method, path string
		want         int
	}{
		{http.MethodGet, "/ill", http.StatusServiceUnavailable},
		{http.MethodHead, "/ill", http.StatusServiceUnavailable},
		{http.MethodPost, "/ill", http.StatusMethodNotAllowed},
		{http.MethodGet, "/broken", http.StatusInternalServerError},
	} {
		if have := s.ask(t, test.method, test.path, nil); have != test.want {
			t.Errorf("%s %s: have status %d, want %d", test.method, test.path, have, test.want)
		}
	}
}

// pipeListener hands out connections that seem to come from an address.
type pipeListener struct{ from chan string }

func (l *pipeListener) Accept() (net.Conn, error) {
	from, open := <-l.from
	if !open {
		return nil, errors.New("closed")
	}
	conn, other := net.Pipe()
	return &addressed{Conn: conn, other: other, from: from}, nil
}
func (l *pipeListener) Close() error   { return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

type addressed struct {
	net.Conn
	other net.Conn
	from  string
}

func (c *addressed) RemoteAddr() net.Addr {
	addr, err := net.ResolveTCPAddr("tcp", c.from)
	if err != nil {
		panic(err)
	}
	return addr
}

func TestOneAddressGetsOnlySoManyConnections(t *testing.T) {
	t.Parallel()
	pipes := &pipeListener{from: make(chan string, 16)}
	limited := LimitConnections(pipes, 8, 2)
	accept := func(want string) net.Conn {
		t.Helper()
		conn, err := limited.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if have := conn.RemoteAddr().String(); have != want {
			t.Fatalf("have a connection from %s, want %s", have, want)
		}
		return conn
	}
	// The third from one address is turned away; one more comes in when another is closed. Loopback is not limited.
	for _, from := range []string{"192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.2:1", "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"} {
		pipes.from <- from
	}
	first := accept("192.0.2.1:1")
	accept("192.0.2.1:2")
	accept("192.0.2.2:1")
	for _, from := range []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"} {
		accept(from)
	}
	_, _ = first.Close(), first.Close() // the second time it gives nothing back
	pipes.from <- "192.0.2.1:4"
	accept("192.0.2.1:4")
	pipes.from <- "192.0.2.1:5" // turned away
	pipes.from <- "192.0.2.2:2"
	accept("192.0.2.2:2")
}

func TestAnIPv6NetworkCountsAsOneAddress(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ a, b string }{
		{"[2001:db8::1]:1", "[2001:db8::ffff]:2"}, {"[::ffff:192.0.2.1]:1", "192.0.2.1:9"}, {"nonsense", "more nonsense"},
	} {
		if AddrOf(test.a) != AddrOf(test.b) {
			t.Errorf("%s and %s: have %s and %s, want the same", test.a, test.b, AddrOf(test.a), AddrOf(test.b))
		}
	}
	if AddrOf("[2001:db8:0:1::1]:1") == AddrOf("[2001:db8:0:2::1]:1") {
		t.Error("two networks count as one")
	}
}

func TestRatesForgetNobodyWhoIsHeardOf(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	r := newRates[int](Rate{PerSecond: 1, Burst: 2}, func() time.Time { return now })
	take := func(key int, want bool) {
		t.Helper()
		if r.Exhausted(key) == want {
			t.Errorf("key %d: have exhausted %v", key, !want)
		}
		if have := r.Allow(key); have != want {
			t.Errorf("key %d: have %v, want %v", key, have, want)
		}
	}
	take(1, true)
	take(1, true)
	take(1, false)
	take(2, true)
	now = now.Add(time.Second)
	take(1, true)
	take(1, false)
	for key := range 2 * maxBuckets {
		r.Allow(key + 10)
		if key%1000 == 0 {
			take(1, false)
		}
	}
	if have := r.buckets.Len(); have > maxBuckets {
		t.Errorf("have %d buckets, want at most %d", have, maxBuckets)
	}
	var none *Rates[int]
	if !none.Allow(1) || none.Exhausted(1) || NewRates[int](Rate{}) != nil {
		t.Error("no rate should limit nothing")
	}
}
