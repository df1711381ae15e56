package telemetry

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"baler/event"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collected is an OTLP collector that keeps what it gets over HTTP.
type collected struct {
	url string

	mu    sync.Mutex
	spans []*tracepb.Span
}

func startCollector(t *testing.T) *collected {
	t.Helper()
	c := &collected{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var request collector.ExportTraceServiceRequest
		if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" || proto.Unmarshal(body, &request) != nil {
			t.Errorf("have a request to %s of %s, error %v", r.URL.Path, r.Header.Get("Content-Type"), err)
			http.Error(w, "no trace", http.StatusBadRequest)
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
	}))
	t.Cleanup(server.Close)
	c.url = server.URL + "/v1/traces"
	return c
}

// of returns the spans of an operation as "name[status] attribute=value ...: event event", in the order of their beginnings.
func (c *collected) of(hash common.Hash) (texts []string, root *tracepb.Span, spans []*tracepb.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, span := range c.spans {
		if hex.EncodeToString(span.GetTraceId()) == hex.EncodeToString(hash[:16]) {
			spans = append(spans, span)
		}
	}
	slices.SortFunc(spans, func(a, b *tracepb.Span) int {
		if a.GetStartTimeUnixNano() != b.GetStartTimeUnixNano() {
			return int(int64(a.GetStartTimeUnixNano()) - int64(b.GetStartTimeUnixNano()))
		}
		return strings.Compare(b.GetName(), a.GetName())
	})
	for _, span := range spans {
		text := span.GetName()
		if message := span.GetStatus().GetMessage(); message != "" {
			text += " (" + message + ")"
		}
		for _, e := range span.GetEvents() {
			text += ", " + e.GetName()
		}
		texts = append(texts, text)
		if len(span.GetParentSpanId()) == 0 {
			root = span
		}
	}
	return texts, root, spans
}

func TestSpansTellAnOperationsWayToACollector(t *testing.T) {
	t.Parallel()
	c := startCollector(t)
	exporter, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpointURL(c.url))
	if err != nil {
		t.Fatal(err)
	}
	now := newClock()
	traces := NewTraces(exporter, 1, now.now)
	sink := traces.Sink()
	tell := func(events ...event.Event) {
		for _, e := range events {
			now.pass(time.Millisecond)
			sink(e)
		}
	}
	mined, refused, waiting := crypto.Keccak256Hash([]byte("mined")), crypto.Keccak256Hash([]byte("refused")), crypto.Keccak256Hash([]byte("waiting"))
	ours := []common.Hash{mined}
	tell(
		event.OperationReceived{Hash: mined, EntryPoint: entryPoint}, event.OperationReceived{Hash: refused}, event.OperationReceived{Hash: waiting},
		event.OperationValidated{Hash: mined, Stage: "admission", Result: "valid", Took: 500 * time.Microsecond},
		event.OperationValidated{Hash: refused, Stage: "admission", Result: "refused", Took: 500 * time.Microsecond},
		event.OperationRejected{Hash: refused, Code: -32507, Message: "AA24 signature error"},
		event.OperationAdded{Hash: mined}, event.OperationAdded{Hash: waiting},
		event.OperationSkipped{Hash: mined, Cause: "max fee too low"},
		event.OperationValidated{Hash: mined, Stage: "proposal", Result: "valid"},
		event.BundleProposed{Signer: key, Hashes: ours},
		event.BundleSent{Signer: key, Hashes: ours, Tx: common.Hash{0xa}, Answer: "underpriced"},
		event.OperationsReleased{Signer: key, Hashes: ours},
		event.BundleProposed{Signer: key, Hashes: ours},
		event.BundleSent{Signer: key, Hashes: ours, Tx: common.Hash{0xb}, Answer: "accepted"},
		event.OperationMined{Hash: mined, Tx: common.Hash{0xb}, Block: 7, Success: true},
		event.OperationRemoved{Hash: common.Hash{9}, Cause: "expired"}, // nobody has heard of it
		event.OperationValidated{Hash: mined, Stage: "proposal"},       // its trace has ended
	)
	if err := traces.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for hash, want := range map[common.Hash][]string{
		mined: {
			"user operation, skipped", "validate", "wait in pool", "validate", "bundle (given up), sent", "wait in pool", "bundle, sent",
		},
		refused: {"user operation (rejected: invalid signature)", "validate (refused)"},
		waiting: {"user operation", "wait in pool"},
	} {
		have, root, spans := c.of(hash)
		if !slices.Equal(have, want) {
			t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
		}
		if root == nil {
			t.Fatal("have no root")
		}
		for _, span := range spans {
			if span != root && string(span.GetParentSpanId()) != string(root.GetSpanId()) {
				t.Errorf("%s is not below the root", span.GetName())
			}
			if span.GetStartTimeUnixNano() < root.GetStartTimeUnixNano() || span.GetEndTimeUnixNano() > root.GetEndTimeUnixNano() {
				t.Errorf("%s is not within the root's time", span.GetName())
			}
		}
	}
	_, root, _ := c.of(mined)
	attributes := make(map[string]string)
	for _, a := range root.GetAttributes() {
		attributes[a.GetKey()] = a.GetValue().GetStringValue()
	}
	if attributes["op"] != mined.Hex() || attributes["tx"] != (common.Hash{0xb}).Hex() || attributes["entry_point"] != entryPoint.Hex() {
		t.Errorf("have attributes %v", attributes)
	}
}

func TestWhatIsSampledDependsOnTheHash(t *testing.T) {
	t.Parallel()
	c := startCollector(t)
	seen := make([]int, 2)
	for run := range seen {
		exporter, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpointURL(c.url))
		if err != nil {
			t.Fatal(err)
		}
		traces := NewTraces(exporter, 0.25, time.Now)
		for i := range 400 {
			hash := crypto.Keccak256Hash([]byte{byte(i), byte(i >> 8)})
			traces.Sink()(event.OperationReceived{Hash: hash})
			traces.Sink()(event.OperationMined{Hash: hash, Success: true})
		}
		if err := traces.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.mu.Lock()
		seen[run], c.spans = len(c.spans), nil
		c.mu.Unlock()
	}
	if seen[0] != seen[1] || seen[0] < 50 || seen[0] > 150 {
		t.Errorf("have %v traces of 400, want the same quarter twice", seen)
	}
}

func TestOpenTracesAreBounded(t *testing.T) {
	t.Parallel()
	c := startCollector(t)
	exporter, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpointURL(c.url))
	if err != nil {
		t.Fatal(err)
	}
	traces := NewTraces(exporter, 0, time.Now)
	for i := range maxTraced + 100 {
		traces.Sink()(event.OperationReceived{Hash: crypto.Keccak256Hash([]byte{byte(i), byte(i >> 8), byte(i >> 16)})})
	}
	if have := traces.open.Len(); have != maxTraced {
		t.Errorf("have %d open traces, want %d", have, maxTraced)
	}
	if err := traces.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
}
