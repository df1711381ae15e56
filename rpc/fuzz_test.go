package rpc

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// FuzzHTTP sends any body to the edge: the answer is one JSON value or nothing, whatever comes in, and never holds an
// internal error's text.
func FuzzHTTP(f *testing.F) {
	scripts, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, script := range scripts {
		content, err := os.ReadFile(script)
		if err != nil {
			f.Fatal(err)
		}
		for line := range bytes.Lines(content) {
			if request, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("--> ")); ok {
				f.Add(request)
			}
		}
	}
	backend := newFakeBackend()
	s := NewServer(backend, Config{Debug: backend, Baler: backend, Watch: &fakeWatcher{}, MaxBodyBytes: 1 << 16, Logger: slog.New(slog.DiscardHandler)})
	if _, err := s.open(fakeListener{addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1/", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		s.serveHTTP(w, r)
		answer := w.Body.Bytes()
		if len(answer) > 0 && !json.Valid(answer) {
			t.Errorf("to %q: have %q, want JSON", body, answer)
		}
		if bytes.Contains(answer, []byte("hunter2")) {
			t.Errorf("to %q: the answer holds an internal error: %q", body, answer)
		}
	})
}

// FuzzStateOverrides decodes any override set: an error or a set, and never both kinds of storage for one account.
func FuzzStateOverrides(f *testing.F) {
	f.Add([]byte(`{"0x1111111111111111111111111111111111111111":{"balance":"0x1","nonce":"0x2","code":"0x60"}}`))
	f.Add([]byte(`{"0x1111111111111111111111111111111111111111":{"state":{},"stateDiff":null}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var overrides StateOverrides
		if json.Unmarshal(raw, &overrides) != nil {
			return
		}
		for address, o := range overrides {
			if o.State != nil && o.StateDiff != nil {
				t.Errorf("%s has both state and stateDiff", address)
			}
		}
	})
}
