package rpc

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/rpc"
	"github.com/gorilla/websocket"
)

// How a WebSocket is kept: a ping each pingEvery, and an end if nothing at all comes for silentFor.
const (
	pingEvery  = 30 * time.Second
	pingWrites = 5 * time.Second
	silentFor  = 75 * time.Second
	maxWarned  = 16 // messages in a row that are refused before the connection is closed
)

// socket is a WebSocket as go-ethereum's server reads a stream. It stands between the two because the server would decode a
// message of any shape before it looks at it.
type socket struct {
	server *Server
	conn   *websocket.Conn
	remote string
	rest   []byte // of the message that is being read
	warned int    // messages in a row that were refused

	write sync.Mutex
}

// serveWebSocket answers calls until the connection is closed and its calls are done.
func (s *Server) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	if origin := r.Header.Get("Origin"); origin != "" && !s.cfg.CORSOrigins.Allow(origin) {
		http.Error(w, "origin not allowed", http.StatusForbidden)
		return
	}
	upgrader := websocket.Upgrader{
		ReadBufferSize: 1024, WriteBufferSize: 1024, WriteBufferPool: &s.buffers,
		CheckOrigin: func(*http.Request) bool { return true }, // it is checked above
	}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // it has been answered
	}
	conn.SetReadLimit(s.cfg.MaxBodyBytes)
	c := &socket{server: s, conn: conn, remote: r.RemoteAddr}
	c.heard()
	conn.SetPongHandler(func(string) error { c.heard(); return nil })

	done, pinging := make(chan struct{}), sync.WaitGroup{}
	pinging.Go(func() { c.ping(done) })
	s.rpc.ServeCodec(rpc.NewCodec(c), 0)
	close(done)
	pinging.Wait()
}

// heard moves the time on until which the connection may be silent.
func (c *socket) heard() { _ = c.conn.SetReadDeadline(time.Now().Add(silentFor)) } // fails on a closed connection only

func (c *socket) ping(done <-chan struct{}) {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
			// A connection that is gone is noticed by who reads it.
			_ = c.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(pingWrites))
		}
	}
}

// Read implements [io.Reader] for the server: it returns messages that may be decoded, one after the other, each with a line
// break behind it.
func (c *socket) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		_, message, err := c.conn.ReadMessage()
		if err != nil {
			return 0, err
		}
		c.heard()
		refusal := c.refusal(message)
		if refusal == nil {
			c.warned, c.rest = 0, append(message, '\n')
			break
		}
		if c.warned++; c.warned > maxWarned {
			return 0, net.ErrClosed
		}
		if _, err := c.Write(errorBody(refusal)); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *socket) refusal(message []byte) *callError {
	if !c.server.limits.request(c.remote) {
		return &callError{code: codeLimitExceeded, message: "too many requests from this address, try again later"}
	}
	if refusal := c.server.shaped(message); refusal != nil {
		return refusal
	}
	if !json.Valid(message) {
		return &callError{code: codeParse, message: "parse error"}
	}
	return nil
}

// Write implements [io.Writer]: the server writes each answer at once.
func (c *socket) Write(p []byte) (int, error) {
	c.write.Lock()
	defer c.write.Unlock()
	if err := c.conn.WriteMessage(websocket.TextMessage, bytes.TrimSuffix(p, []byte("\n"))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SetWriteDeadline is for the server.
func (c *socket) SetWriteDeadline(t time.Time) error { return c.conn.SetWriteDeadline(t) }

// Close is for the server.
func (c *socket) Close() error { return c.conn.Close() }

// RemoteAddr is the client's address, for the server's peer information.
func (c *socket) RemoteAddr() string { return c.remote }
