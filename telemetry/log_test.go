package telemetry

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"baler/event"

	"github.com/ethereum/go-ethereum/common"
)

// Each event has the level at which an operator reads it, and a line of its own.
func TestEventsAreToldAtTheirLevel(t *testing.T) {
	t.Parallel()
	for level, events := range map[slog.Level][]event.Event{
		slog.LevelDebug: {
			event.HeadSeen{},
			event.OperationReceived{},
			event.OperationAdded{},
			event.OperationValidated{},
			event.OperationSkipped{},
			event.BundleProposed{},
			event.OperationsReleased{},
			event.OperationMined{},
			event.SenderMoved{},
			event.KeyUsed{},
			event.BalanceSeen{},
			event.NodeAsked{},
			event.CallServed{},
			event.PoolAsked{},
		},
		slog.LevelInfo: {
			event.OperationRejected{},
			event.OperationRemoved{},
			event.OperationRevived{},
			event.BundleSent{},
			event.BundleMined{},
			event.BundleUnmined{},
			event.LeaseMoved{},
			event.FundsMoved{},
		},
		slog.LevelWarn:  {event.BundleReverted{}, event.Alert{Text: "look"}},
		slog.LevelError: {event.KeyUsed{Failed: "denied"}},
	} {
		for _, e := range events {
			var lines bytes.Buffer
			Log(slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: level})))(e)
			if have := lines.String(); !strings.Contains(have, "level="+level.String()) || strings.Contains(have, "without a description") {
				t.Errorf("%T: have %q, want a line at %v", e, have, level)
			}
			lines.Reset()
			Log(slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: level + 1})))(e)
			if lines.Len() > 0 {
				t.Errorf("%T: have %q above its level", e, &lines)
			}
		}
	}
}

// An event that nobody reads is not put into words.
func TestWhatIsNotLoggedCostsNothing(t *testing.T) { //nolint:paralleltest // it counts allocations
	told := Log(slog.New(slog.NewTextHandler(&bytes.Buffer{}, &slog.HandlerOptions{Level: slog.LevelInfo})))
	var e event.Event = event.OperationAdded{Hash: common.Hash{1}, EntryPoint: entryPoint, Sender: key}
	if have := testing.AllocsPerRun(100, func() { told(e) }); have > 0 {
		t.Errorf("have %v allocations, want none", have)
	}
}

// What is told for every operation is counted without a look-up by text.
func TestCountingMakesNoGarbage(t *testing.T) { //nolint:paralleltest // it counts allocations
	count := NewMetrics(time.Now).Sink()
	for _, e := range []event.Event{
		event.OperationValidated{Stage: "admission", Result: "valid", Took: time.Millisecond}, event.OperationSkipped{Cause: "claimed"},
	} {
		count(e)
		if have := testing.AllocsPerRun(100, func() { count(e) }); have > 0 {
			t.Errorf("%T: have %v allocations, want none", e, have)
		}
	}
}
