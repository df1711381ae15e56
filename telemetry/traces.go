package telemetry

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"baler/event"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// maxTraced is how many operations on their way have an open trace. The one that was not heard of for longest is ended first.
const maxTraced = 16_384

// The names of spans.
const (
	spanOperation = "user operation" // from received to mined, removed or refused
	spanValidate  = "validate"       // one simulation, or what is remembered of one
	spanWait      = "wait in pool"   // from accepted, or given up by a bundle, to chosen for one
	spanBundle    = "bundle"         // from chosen to mined or given up
)

// Traces turns the events of an operation's way into spans: one trace for each operation, whose id is the first 16 bytes of the
// operation's hash, so that a trace is found by the hash. Whether an operation is sampled depends on its hash alone: every process
// that sees it decides alike. It is safe for concurrent use.
type Traces struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	now      func() time.Time

	mu   sync.Mutex
	open lru.BasicLRU[common.Hash, *way]
}

// way is an operation on its way. wait and bundle are nil while it neither waits nor is in a bundle.
type way struct{ root, wait, bundle trace.Span }

// NewTraces returns traces that go to the exporter, of the given share of operations (0 to 1). Shutdown ends them. now tells the time.
func NewTraces(exporter sdk.SpanExporter, share float64, now func() time.Time) *Traces {
	provider := sdk.NewTracerProvider(
		sdk.WithBatcher(exporter), sdk.WithIDGenerator(hashIDs{}), sdk.WithSampler(sdk.TraceIDRatioBased(share)),
	)
	return &Traces{provider: provider, tracer: provider.Tracer("baler"), now: now, open: lru.NewBasicLRU[common.Hash, *way](maxTraced)}
}

// Shutdown ends what is open, and sends what has not been sent.
func (t *Traces) Shutdown(ctx context.Context) error {
	t.mu.Lock()
	for {
		_, w, ok := t.open.RemoveOldest()
		if !ok {
			break
		}
		t.end(w)
	}
	t.mu.Unlock()
	return t.provider.Shutdown(ctx)
}

// Sink returns the sink that makes spans.
func (t *Traces) Sink() event.Sink {
	return func(e event.Event) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.hear(e)
	}
}

// hear takes an event in. The caller has the lock.
func (t *Traces) hear(e event.Event) {
	switch e := e.(type) {
	case event.OperationReceived:
		w := t.way(e.Hash)
		w.root.SetAttributes(attribute.Stringer("entry_point", e.EntryPoint), attribute.Stringer("sender", e.Sender), attribute.String("nonce", e.Nonce.Hex()))
	case event.OperationValidated:
		t.validated(e)
	case event.OperationAdded:
		w := t.way(e.Hash)
		if w.bundle == nil && w.wait == nil {
			w.wait = t.child(w, spanWait, t.now())
		}
	case event.OperationRejected:
		t.finish(e.Hash, codes.Error, "rejected: "+reasonOf(e.Code), attribute.Int("code", e.Code))
	case event.OperationSkipped:
		if w := t.known(e.Hash); w != nil {
			t.note(w.root, "skipped", attribute.String("cause", e.Cause), attribute.Stringer("signer", e.Signer))
		}
	case event.BundleProposed:
		for _, hash := range e.Hashes {
			t.bundled(hash, e)
		}
	case event.BundleSent:
		t.inBundle(e.Hashes, "sent", attribute.Stringer("tx", e.Tx), attribute.String("answer", e.Answer), attribute.Int64("nonce", int64(e.Nonce))) //nolint:gosec // nonces are small
	case event.BundleReverted:
		t.inBundle(e.Hashes, "reverted", attribute.Stringer("tx", e.Tx), attribute.String("cause", revertCause(e.Cause)))
	case event.OperationsReleased:
		for _, hash := range e.Hashes {
			t.released(hash)
		}
	case event.OperationMined:
		status, text := codes.Ok, ""
		if !e.Success {
			status, text = codes.Error, "its call reverted"
		}
		t.finish(e.Hash, status, text, attribute.Stringer("tx", e.Tx), attribute.Int64("block", int64(e.Block)), attribute.Bool("success", e.Success)) //nolint:gosec // block numbers are small
	case event.OperationRemoved:
		t.finish(e.Hash, codes.Error, "removed: "+e.Cause)
	default: // about no operation, or told otherwise
	}
}

func (t *Traces) validated(e event.OperationValidated) {
	w := t.known(e.Hash)
	if w == nil {
		return // validated again after a restart: its trace has ended
	}
	now := t.now()
	span := t.child(w, spanValidate, now.Add(-e.Took), attribute.String("stage", e.Stage), attribute.String("result", e.Result))
	if e.Result != "valid" {
		span.SetStatus(codes.Error, e.Result)
	}
	span.End(trace.WithTimestamp(now))
}

func (t *Traces) bundled(hash common.Hash, e event.BundleProposed) {
	w := t.known(hash)
	if w == nil {
		return
	}
	endSpan(&w.wait, t.now())
	endSpan(&w.bundle, t.now())
	w.bundle = t.child(w, spanBundle, t.now(), attribute.Stringer("signer", e.Signer), attribute.Int("operations", len(e.Hashes)),
		attribute.String("max_fee_wei", e.Fees.MaxFee.Dec()), attribute.String("max_priority_fee_wei", e.Fees.MaxPriority.Dec()))
}

func (t *Traces) inBundle(hashes []common.Hash, what string, attributes ...attribute.KeyValue) {
	for _, hash := range hashes {
		if w := t.known(hash); w != nil && w.bundle != nil {
			t.note(w.bundle, what, attributes...)
		}
	}
}

func (t *Traces) released(hash common.Hash) {
	if w := t.known(hash); w != nil && w.bundle != nil {
		w.bundle.SetStatus(codes.Error, "given up")
		endSpan(&w.bundle, t.now())
		w.wait = t.child(w, spanWait, t.now())
	}
}

// finish ends an operation's trace.
func (t *Traces) finish(hash common.Hash, status codes.Code, text string, attributes ...attribute.KeyValue) {
	w := t.known(hash)
	if w == nil {
		return
	}
	t.open.Remove(hash)
	w.root.SetAttributes(attributes...)
	w.root.SetStatus(status, text)
	t.end(w)
}

func (t *Traces) end(w *way) {
	now := t.now()
	endSpan(&w.wait, now)
	endSpan(&w.bundle, now)
	w.root.End(trace.WithTimestamp(now))
}

func endSpan(span *trace.Span, at time.Time) {
	if *span != nil {
		(*span).End(trace.WithTimestamp(at))
		*span = nil
	}
}

func (t *Traces) known(hash common.Hash) *way {
	w, _ := t.open.Get(hash)
	return w
}

// way returns an operation's trace, and begins one if there is none.
func (t *Traces) way(hash common.Hash) *way {
	if w := t.known(hash); w != nil {
		return w
	}
	if t.open.Len() >= maxTraced {
		if _, oldest, ok := t.open.RemoveOldest(); ok {
			t.end(oldest)
		}
	}
	ctx := context.WithValue(context.Background(), hashKey{}, hash)
	_, root := t.tracer.Start(ctx, spanOperation, trace.WithTimestamp(t.now()), trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.Stringer("op", hash)))
	w := &way{root: root}
	t.open.Add(hash, w)
	return w
}

func (t *Traces) child(w *way, name string, from time.Time, attributes ...attribute.KeyValue) trace.Span {
	_, span := t.tracer.Start(trace.ContextWithSpan(context.Background(), w.root), name, trace.WithTimestamp(from), trace.WithAttributes(attributes...))
	return span
}

func (t *Traces) note(span trace.Span, what string, attributes ...attribute.KeyValue) {
	span.AddEvent(what, trace.WithTimestamp(t.now()), trace.WithAttributes(attributes...))
}

// hashKey is where the operation's hash stands in the context with which its trace is begun.
type hashKey struct{}

// hashIDs makes trace ids of operations' hashes.
type hashIDs struct{}

// NewIDs implements [sdk.IDGenerator].
func (hashIDs) NewIDs(ctx context.Context) (id trace.TraceID, span trace.SpanID) {
	if hash, ok := ctx.Value(hashKey{}).(common.Hash); ok && [16]byte(hash[:16]) != [16]byte{} {
		copy(id[:], hash[:16])
	} else {
		_, _ = rand.Read(id[:]) // never fails
	}
	return id, randomSpan()
}

// NewSpanID implements [sdk.IDGenerator].
func (hashIDs) NewSpanID(context.Context, trace.TraceID) trace.SpanID { return randomSpan() }

func randomSpan() (span trace.SpanID) {
	_, _ = rand.Read(span[:]) // never fails
	return span
}
