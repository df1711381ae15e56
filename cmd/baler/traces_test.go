package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"baler/userop"
)

// The spans themselves are tested in package telemetry: here, that a bundler sends them when it is told to.
func TestABundlerSendsTracesToACollector(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var got bytes.Buffer
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer collector" {
			http.Error(w, "who is it?", http.StatusUnauthorized)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		_, _ = io.Copy(&got, r.Body)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(collector.Close)
	w := startWorld(t, interval(), "--otlp-endpoint="+collector.URL+"/v1/traces", "--otlp-authorization=Bearer collector")
	a := w.newAccounts(t, userop.V07, 1)[0]
	op := a.op(t, w.count(t))
	w.checkMined(t, a, op, a.run(t, op))
	eventually(t, "the trace of an operation", func() error {
		mu.Lock()
		defer mu.Unlock()
		for _, want := range []string{"user operation", "validate", "wait in pool", "bundle", "accepted"} {
			if !bytes.Contains(got.Bytes(), []byte(want)) {
				return errors.New("have no " + want)
			}
		}
		return nil
	})
}
