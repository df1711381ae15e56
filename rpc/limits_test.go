package rpc

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"baler/edge"

	"github.com/gorilla/websocket"
)

// peer sends requests that seem to come from an address.
type peer struct {
	server *testServer
	remote string
	header http.Header
}

func (p peer) post(t *testing.T, body string) (int, string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1/", strings.NewReader(body))
	r.RemoteAddr, r.Header = p.remote, p.header.Clone()
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	p.server.serveHTTP(w, r)
	return w.Code, w.Body.String()
}

const statusCall = `{"jsonrpc":"2.0","id":1,"method":"baler_getUserOperationStatus","params":["0x00000000000000000000000000000000000000000000000000000000000000b0"]}`

func TestOneAddressMayAskOnlySoOften(t *testing.T) {
	t.Parallel()
	backend := newFakeBackend()
	slow := edge.Rate{PerSecond: 1e-9, Burst: 3} // no bucket fills again during the test
	proxies, err := edge.ParseProxies([]string{"192.0.2.250"})
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, backend, Config{Baler: backend, Rates: Rates{PerIP: slow}, Proxies: proxies})
	post(t, s.url, chainIDCall) // it serves
	one, other := peer{server: s, remote: "192.0.2.1:1"}, peer{server: s, remote: "192.0.2.2:1"}
	for range 3 {
		if status, text := one.post(t, statusCall); status != http.StatusOK || !strings.Contains(text, "bundled") {
			t.Fatalf("have %d %s, want an answer", status, text)
		}
	}
	refused := func(p peer, what string) {
		t.Helper()
		if status, text := p.post(t, statusCall); status != http.StatusTooManyRequests || !strings.Contains(text, `"code":-32005`) {
			t.Errorf("%s: have %d %s, want 429 and -32005", what, status, text)
		}
	}
	refused(one, "the fourth request")
	refused(peer{server: s, remote: "192.0.2.1:2"}, "from another port")
	// A batch is one request, and as many calls as it holds.
	if status, text := other.post(t, "["+strings.Repeat(statusCall+",", 4)+statusCall+"]"); status != http.StatusOK ||
		strings.Count(text, "bundled") != 3 || strings.Count(text, "-32005") != 2 {
		t.Errorf("have %d %s, want three answers and two refusals", status, text)
	}
	// This machine is not limited, nor is what is behind a proxy counted as one.
	for range 10 {
		if status, _ := (peer{server: s, remote: "127.0.0.1:1"}).post(t, statusCall); status != http.StatusOK {
			t.Fatalf("loopback: have status %d", status)
		}
	}
	behind := func(client string) peer {
		return peer{server: s, remote: "192.0.2.250:1", header: http.Header{"X-Forwarded-For": {client}}}
	}
	for range 3 {
		if status, _ := behind("203.0.113.1").post(t, statusCall); status != http.StatusOK {
			t.Fatalf("behind a proxy: have status %d", status)
		}
	}
	refused(behind("203.0.113.1"), "behind a proxy")
	if status, _ := behind("203.0.113.2").post(t, statusCall); status != http.StatusOK {
		t.Errorf("another behind the proxy: have status %d", status)
	}
	s.SetRates(Rates{})
	if status, _ := one.post(t, statusCall); status != http.StatusOK {
		t.Errorf("after the limit was taken away: have status %d", status)
	}
}

func TestOneSenderMayHaveOnlySoManyOperationsLookedAt(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var send string
	for line := range strings.SplitSeq(string(content), "\n") {
		if request, ok := strings.CutPrefix(line, "--> "); ok && strings.Contains(line, "eth_sendUserOperation") {
			send = request
			break
		}
	}
	s := serve(t, newFakeBackend(), Config{Rates: Rates{PerSender: edge.Rate{PerSecond: 1e-9, Burst: 2}}})
	const account = "0x2222222222222222222222222222222222222222"
	if !strings.Contains(send, `"sender":"`) {
		t.Fatalf("have no example of an operation: %q", send)
	}
	at := strings.Index(send, `"sender":"`) + len(`"sender":"`)
	another := send[:at] + account + send[at+len(account):]
	for i, test := range []struct {
		request string
		refused bool
	}{{send, false}, {send, false}, {send, true}, {another, false}, {strings.Replace(send, "sendUserOperation", "estimateUserOperationGas", 1), true}} {
		if have := strings.Contains(post(t, s.url, test.request), "too many operations of this sender"); have != test.refused {
			t.Errorf("request %d: have refused %v, want %v", i, have, test.refused)
		}
	}
}

func TestAWebSocketTakesNoMessageThatCostsMemory(t *testing.T) {
	t.Parallel()
	s := serve(t, newFakeBackend(), Config{MaxBatchItems: 3, MaxDepth: 5})
	conn := dialBare(t, s)
	say := func(message string) string {
		t.Helper()
		if err := conn.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
			t.Fatal(err)
		}
		_, text, err := conn.ReadMessage()
		if err != nil {
			t.Fatalf("after %.40q: %v", message, err)
		}
		return string(text)
	}
	for _, test := range []struct{ message, want string }{
		{chainIDCall, "0x539"},
		{"[" + chainIDCall + "," + chainIDCall + "]", `"0x539"},{`},
		{"[" + strings.Repeat("1,", 100_000) + "1]", "batch too large: have 100001"},
		{strings.Repeat("[", 100_000), "nested too deeply"},
		{`{"jsonrpc":`, "parse error"},
		{`1 2`, "parse error"},
		{``, "parse error"},
		{`7`, "-32600"},
		{chainIDCall, "0x539"}, // it still serves
	} {
		if have := say(test.message); !strings.Contains(have, test.want) {
			t.Errorf("to %.40q: have %s, want %q in it", test.message, have, test.want)
		}
	}
	for range maxWarned {
		say("{")
	}
	if err := conn.WriteMessage(websocket.TextMessage, []byte("{")); err != nil {
		t.Fatal(err)
	}
	if _, text, err := conn.ReadMessage(); err == nil {
		t.Errorf("have %s, want the end: it sent nothing but nonsense", text)
	}
}
