package chain

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// Request is one HTTP round trip to a node that has ended.
type Request struct {
	Endpoint string         // scheme and host
	Methods  map[string]int // JSON-RPC calls in it, by method
	Took     time.Duration  // until the answer's header
	Result   string         // "ok", "failed" (no answer), or "http" and the status
}

// OnRequest has every HTTP round trip from now on told to a function, which must not block. WebSocket messages are not told.
func (c *Client) OnRequest(told func(Request)) {
	if c.several == nil {
		c.meter.told.Store(&told)
		return
	}
	for _, e := range c.several.endpoints {
		e.client.OnRequest(told)
	}
}

// meter is a transport that tells what was asked.
type meter struct {
	next   http.RoundTripper
	origin string
	told   atomic.Pointer[func(Request)]
}

// RoundTrip implements [http.RoundTripper].
func (m *meter) RoundTrip(r *http.Request) (*http.Response, error) {
	told := m.told.Load()
	if told == nil {
		return m.next.RoundTrip(r)
	}
	request := Request{Endpoint: m.origin, Methods: methodsOf(r), Result: "ok"}
	begun := time.Now()
	answer, err := m.next.RoundTrip(r)
	request.Took = time.Since(begun)
	switch {
	case err != nil:
		request.Result = "failed"
	case answer.StatusCode != http.StatusOK:
		request.Result = fmt.Sprintf("http %d", answer.StatusCode)
	}
	(*told)(request)
	return answer, err
}

// methodsOf counts the calls of a request body.
func methodsOf(r *http.Request) map[string]int {
	if r.GetBody == nil {
		return nil
	}
	body, err := r.GetBody()
	if err != nil {
		return nil
	}
	defer body.Close()
	if whole, ok := body.(io.WriterTo); ok { // as of go-ethereum's client: it hands over what it holds, and nothing is copied
		var found methods
		if _, err := whole.WriteTo(&found); err != nil {
			return nil
		}
		return found
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return nil
	}
	return countMethods(text)
}

// methods counts the methods of what is written to it at once.
type methods map[string]int

// Write implements [io.Writer].
func (m *methods) Write(text []byte) (int, error) {
	*m = countMethods(text)
	return len(text), nil
}

// countMethods finds the methods in requests as go-ethereum's client writes them. A quote inside of a string is escaped, so
// what it looks for cannot stand in a parameter.
func countMethods(text []byte) map[string]int {
	found := make(map[string]int, 1)
	for {
		_, after, more := bytes.Cut(text, []byte(`"method":"`))
		if !more {
			return found
		}
		name, rest, whole := bytes.Cut(after, []byte(`"`))
		if !whole {
			return found
		}
		found[string(name)]++
		text = rest
	}
}
