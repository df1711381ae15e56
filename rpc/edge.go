package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"baler/edge"
)

// serveHTTP is the edge: it refuses what must not get further and routes the rest.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		http.Error(w, "server is closing", http.StatusServiceUnavailable)
		return
	}
	defer s.requests.Done()

	if !s.hosts.Allow(r.Host) {
		http.Error(w, "invalid host specified", http.StatusForbidden)
		return
	}
	switch {
	case r.URL.Path == "/health":
		s.serveProbe(w, r, s.cfg.Health)
	case r.URL.Path == "/livez":
		s.serveProbe(w, r, s.cfg.Live)
	case r.URL.Path == "/readyz":
		s.serveProbe(w, r, s.cfg.Ready)
	case r.URL.Path != "/":
		http.NotFound(w, r)
	case !s.limits.request(s.client(r)):
		w.Header().Set("Retry-After", "1")
		writeError(w, http.StatusTooManyRequests, codeLimitExceeded, "too many requests from this address, try again later")
	case isWebSocket(r):
		s.serveWebSocket(w, r)
	default:
		s.serveCall(w, r)
	}
}

// client finds out who sent a request, and from then on it is from him.
func (s *Server) client(r *http.Request) string {
	r.RemoteAddr = s.cfg.Proxies.Client(r)
	return r.RemoteAddr
}

// serveCall passes a POST on to the JSON-RPC server. It reads the body itself: go-ethereum's server cuts a chunked
// body off at the limit and calls the rest malformed.
func (s *Server) serveCall(w http.ResponseWriter, r *http.Request) {
	s.allowOrigin(w, r)
	switch r.Method {
	case http.MethodPost:
	case http.MethodOptions:
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		w.Header().Set("Allow", "POST, OPTIONS")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.cfg.MaxBodyBytes))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			writeError(w, http.StatusRequestEntityTooLarge, codeInvalidRequest,
				fmt.Sprintf("request too large: want at most %d bytes", s.cfg.MaxBodyBytes))
			return
		}
		writeError(w, http.StatusBadRequest, codeParse, "the request could not be read")
		return
	}
	if len(bytes.TrimSpace(body)) == 0 {
		writeError(w, http.StatusOK, codeParse, "parse error: empty request")
		return
	}
	if refusal := s.shaped(body); refusal != nil {
		writeError(w, http.StatusOK, refusal.code, refusal.message)
		return
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	s.rpc.ServeHTTP(w, r)
}

// serveProbe answers a probe, from any allowed origin's page too.
func (s *Server) serveProbe(w http.ResponseWriter, r *http.Request, probe edge.Probe) {
	if probe == nil {
		probe = func(context.Context) (any, bool) { return map[string]string{"status": "ok"}, true }
	}
	s.allowOrigin(w, r)
	probe.ServeHTTP(w, r)
}

// allowOrigin tells a browser that the page of a listed origin may read the answer.
func (s *Server) allowOrigin(w http.ResponseWriter, r *http.Request) {
	if len(s.cfg.CORSOrigins) == 0 {
		return
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" || !s.cfg.CORSOrigins.Allow(origin) {
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if r.Method == http.MethodOptions {
		h.Set("Access-Control-Allow-Methods", "POST, GET")
		h.Set("Access-Control-Allow-Headers", "Content-Type")
		h.Set("Access-Control-Max-Age", "600")
	}
}

func isWebSocket(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// writeError answers a request that never became a call; such an answer has a null id.
func writeError(w http.ResponseWriter, status, code int, message string) {
	writeJSON(w, status, errorBody(&callError{code: code, message: message}))
}

func errorBody(e *callError) []byte {
	text, err := json.Marshal(e.message)
	if err != nil {
		text = []byte(`"error"`)
	}
	body := append([]byte(`{"jsonrpc":"2.0","id":null,"error":{"code":`), strconv.Itoa(e.code)...)
	body = append(body, `,"message":`...)
	body = append(body, text...)
	return append(body, "}}\n"...)
}

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that does not listen any more is no failure
}
