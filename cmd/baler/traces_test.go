package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// spanCollector is an OTLP receiver over HTTP that knows who may send to it.
type spanCollector struct {
	mu    sync.Mutex
	spans []*tracepb.Span
}

// ServeHTTP implements http.Handler.
func (c *spanCollector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer collector" {
		http.Error(w, "who is it?", http.StatusUnauthorized)
		return
	}
	body, err := io.ReadAll(r.Body)
	var request collector.ExportTraceServiceRequest
	if err != nil || proto.Unmarshal(body, &request) != nil {
		http.Error(w, "this is no trace", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range request.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// of returns the spans of an operation's trace by their names, and the one that is over all others.
func (c *spanCollector) of(op common.Hash) (by map[string]*tracepb.Span, root *tracepb.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	by = make(map[string]*tracepb.Span)
	for _, span := range c.spans {
		if hex.EncodeToString(span.GetTraceId()) != hex.EncodeToString(op[:16]) {
			continue
		}
		by[span.GetName()] = span
		if len(span.GetParentSpanId()) == 0 {
			root = span
		}
	}
	return by, root
}

// The order of spans is tested in package telemetry: here, that a bundler's operations have them, from arrival to block, one within
// the other.
func TestABundlerSendsTracesToACollector(t *testing.T) {
	t.Parallel()
	spans := &spanCollector{}
	server := httptest.NewServer(spans)
	t.Cleanup(server.Close)
	w := startWorld(t, interval(), "--otlp-endpoint="+server.URL+"/v1/traces", "--otlp-authorization=Bearer collector")
	a := w.newAccounts(t, userop.V07, 1)[0]
	op := a.op(t, w.count(t))
	hash := a.send(t, op)
	w.checkOnceEach(t, []common.Hash{hash})
	eventually(t, "the trace of an operation", func() error {
		by, root := spans.of(hash)
		if root == nil {
			return errors.New("there is no span over all others")
		}
		if root.GetName() != "user operation" || attribute(root, "op") != hash.Hex() || attribute(root, "tx") == "" {
			return fmt.Errorf("have the root %s of %s in %s", root.GetName(), attribute(root, "op"), attribute(root, "tx"))
		}
		for _, name := range []string{"validate", "wait in pool", "bundle"} {
			span := by[name]
			switch {
			case span == nil:
				return fmt.Errorf("have no span %q", name)
			case string(span.GetParentSpanId()) != string(root.GetSpanId()):
				return fmt.Errorf("%q is not below the operation", name)
			case span.GetStartTimeUnixNano() < root.GetStartTimeUnixNano() || span.GetEndTimeUnixNano() > root.GetEndTimeUnixNano():
				return fmt.Errorf("%q is not within the operation's time", name)
			}
		}
		sent := slices.ContainsFunc(by["bundle"].GetEvents(), func(e *tracepb.Span_Event) bool { return strings.Contains(fmt.Sprint(e), "accepted") })
		if !sent {
			return fmt.Errorf("the bundle's events do not say that it was accepted: %v", by["bundle"].GetEvents())
		}
		return nil
	})
}

func attribute(span *tracepb.Span, key string) string {
	for _, a := range span.GetAttributes() {
		if a.GetKey() == key {
			return a.GetValue().GetStringValue()
		}
	}
	return ""
}
