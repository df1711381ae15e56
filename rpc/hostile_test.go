package rpc

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// `make hostile` sends a million.
var hostile = flag.Int("hostile", 4000, "hostile requests that TestHostileRequestsTakeBoundedMemory sends")

// What the server may use beyond what it used before. Each worker may have a request of the largest size in flight, which is held
// a few times over while it is read and answered.
const (
	hostileWorkers = 8
	hostileMemory  = 192 << 20
)

// TestHostileRequestsTakeBoundedMemory sends what clients should not: too large, too deep, too many, broken, never finished.
// Every request that is whole gets an answer, memory stays within its bound, and afterwards the server serves.
func TestHostileRequestsTakeBoundedMemory(t *testing.T) {
	backend := newFakeBackend()
	s := serve(t, backend, Config{Debug: backend, Baler: backend, Watch: &fakeWatcher{}})
	transport := &http.Transport{MaxIdleConnsPerHost: hostileWorkers}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport}
	attacks := hostileBodies()

	runtime.GC()
	before, peak := heap(), atomic.Uint64{}
	stalled := stall(t, s, 64)
	var sent, answered atomic.Int64
	var workers sync.WaitGroup
	for worker := range uint64(hostileWorkers) {
		workers.Go(func() {
			source := rand.New(rand.NewPCG(worker, 1))
			for n := sent.Add(1); n <= int64(*hostile) && !t.Failed(); n = sent.Add(1) {
				attack := attacks[source.IntN(len(attacks))]
				if n%1000 == 500 { // the dear ones
					attack = dear()[source.IntN(len(dear()))]
				}
				if err := attack(t.Context(), client, s.url, source); err != nil {
					t.Errorf("request %d: %v", n, err)
				}
				answered.Add(1)
				if n%50 == 0 {
					for now := heap(); ; {
						if seen := peak.Load(); now <= seen || peak.CompareAndSwap(seen, now) {
							break
						}
					}
				}
			}
		})
	}
	workers.Wait()
	stalled()
	if grown := int64(peak.Load()) - int64(before); grown > hostileMemory {
		t.Errorf("have %d MiB more than before at the most, want at most %d", grown>>20, hostileMemory>>20)
	}
	if have := post(t, s.url, chainIDCall); !strings.Contains(have, "0x539") {
		t.Errorf("afterwards: have %s, want an answer", have)
	}
	transport.CloseIdleConnections()
	runtime.GC()
	t.Logf("%d hostile requests answered; heap %d MiB before, %d MiB at most, %d MiB after", answered.Load(), before>>20, peak.Load()>>20, heap()>>20)
}

func heap() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapInuse
}

// stall opens connections that send a bit of a request and then nothing, until the returned function is called.
func stall(t *testing.T, s *testServer, n int) (end func()) {
	t.Helper()
	var open []net.Conn
	for i := range n {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		text := "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n"
		if i%2 == 0 {
			text += "\r\n["
		}
		_, _ = io.WriteString(conn, text)
		open = append(open, conn)
	}
	return func() {
		for _, conn := range open {
			_ = conn.Close()
		}
	}
}

// attack sends one hostile request. An error says that it was not answered as it should be.
type attack func(ctx context.Context, client *http.Client, url string, source *rand.Rand) error

// hostileBodies are the cheap attacks.
func hostileBodies() []attack {
	text := func(make func(*rand.Rand) string) attack {
		return func(ctx context.Context, client *http.Client, url string, source *rand.Rand) error {
			return send(ctx, client, url, []byte(make(source)), nil)
		}
	}
	return []attack{
		text(func(source *rand.Rand) string { return randomBytes(source, source.IntN(2000)) }),
		text(func(*rand.Rand) string { return strings.Repeat("[", 5000) }),
		text(func(*rand.Rand) string { return strings.Repeat(`{"a":`, 5000) }),
		text(func(*rand.Rand) string { return "[" + strings.Repeat("0,", 5000) + "0]" }),
		text(func(*rand.Rand) string { return "[" + strings.Repeat(`{"method":"eth_chainId","id":1},`, 99) + "{}]" }),
		text(func(source *rand.Rand) string {
			return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"eth_%s","params":[]}`, source.Uint64(), strings.Repeat("x", 500))
		}),
		text(func(source *rand.Rand) string {
			return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"eth_sendUserOperation","params":[{"sender":"0x%x","nonce":%q},"0x%x"]}`,
				source.Uint64(), randomBytes(source, 50), source.Uint64())
		}),
		text(func(source *rand.Rand) string {
			return `{"jsonrpc":"2.0","id":` + strings.Repeat("9", 1000) + `,"method":"debug_bundler_setReputation","params":[[null,{}]]}`
		}),
		func(ctx context.Context, client *http.Client, url string, source *rand.Rand) error {
			return send(ctx, client, url, []byte(chainIDCall), func(r *http.Request) {
				r.Host = fmt.Sprintf("rebound-%d.example", source.Uint64())
			})
		},
		func(ctx context.Context, client *http.Client, url string, source *rand.Rand) error {
			return send(ctx, client, url, []byte(chainIDCall), func(r *http.Request) {
				r.Header.Set("X-Large", strings.Repeat("x", 10_000))
				r.Header.Set("Origin", "https://evil.example")
				r.URL.Path = "/" + strings.Repeat("../", source.IntN(100))
			})
		},
	}
}

// dear are the attacks that cost the client something too: the largest bodies, and a WebSocket.
func dear() []attack {
	const most = 5 << 20
	return []attack{
		func(ctx context.Context, client *http.Client, url string, _ *rand.Rand) error {
			return send(ctx, client, url, bytes.Repeat([]byte("0,"), most/2), nil)
		},
		func(ctx context.Context, client *http.Client, url string, _ *rand.Rand) error {
			return send(ctx, client, url, append([]byte("["), bytes.Repeat([]byte("0,"), most/2-1)...), nil)
		},
		func(ctx context.Context, client *http.Client, url string, _ *rand.Rand) error {
			return send(ctx, client, url, bytes.Repeat([]byte("["), most), nil)
		},
		func(ctx context.Context, client *http.Client, url string, _ *rand.Rand) error {
			return send(ctx, client, url, bytes.Repeat([]byte(" "), 2*most), nil)
		},
		func(ctx context.Context, _ *http.Client, url string, _ *rand.Rand) error {
			conn, answer, err := websocket.DefaultDialer.DialContext(ctx, strings.Replace(url, "http", "ws", 1), nil)
			if err != nil {
				return err
			}
			_ = answer.Body.Close()
			defer func() { _ = conn.Close() }()
			for _, message := range [][]byte{append([]byte("["), bytes.Repeat([]byte("0,"), most/2-1)...), []byte("{"), []byte(chainIDCall)} {
				if err := conn.WriteMessage(websocket.TextMessage, message); err != nil {
					return err
				}
				if _, _, err := conn.ReadMessage(); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func send(ctx context.Context, client *http.Client, url string, body []byte, change func(*http.Request)) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	if change != nil {
		change(r)
	}
	answer, err := client.Do(r)
	if err != nil {
		if len(body) > 5<<20 {
			return nil // the server has closed the connection before it was all sent
		}
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("to %.60q: have status %d: %.200s", body, answer.StatusCode, text)
	}
	return nil
}

func randomBytes(source *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(source.Uint64())
	}
	return string(b)
}

// A client that does not finish its request loses its connection.
func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	s := serve(t, newFakeBackend(), Config{ReadHeaderTimeout: 50 * time.Millisecond, ReadTimeout: 100 * time.Millisecond})
	for name, text := range map[string]string{
		"in the header": "POST / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
		"in the body":   "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
	} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(conn); err != nil { // ends when the server has closed it
			t.Errorf("%s: %v", name, err)
		}
		_ = conn.Close()
	}
}
