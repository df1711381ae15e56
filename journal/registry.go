package journal

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"

	"baler/bundlesender"
)

// events has the codec of each event of the machine, by the name that stands in the journal.
var events = map[string]func([]byte) (bundlesender.Event, error){
	"Head":            event[bundlesender.Head],
	"Observed":        event[bundlesender.Observed],
	"IntervalElapsed": event[bundlesender.IntervalElapsed],
	"SendNow":         event[bundlesender.SendNow],
	"ModeSet":         event[bundlesender.ModeSet],
	"PauseSet":        event[bundlesender.PauseSet],
	"CancelNow":       event[bundlesender.CancelNow],
	"Retry":           event[bundlesender.Retry],
	"BundleReady":     event[bundlesender.BundleReady],
	"NothingToSend":   event[bundlesender.NothingToSend],
	"Signed":          event[bundlesender.Signed],
	"Submitted":       event[bundlesender.Submitted],
	"CancelSubmitted": event[bundlesender.CancelSubmitted],
	"SoftCancelled":   event[bundlesender.SoftCancelled],
	"NothingToCancel": event[bundlesender.NothingToCancel],
	"ForeignPending":  event[bundlesender.ForeignPending],
	"LeaseLost":       event[bundlesender.LeaseLost],
}

// effects has the codec of each effect of the machine.
var effects = map[string]func([]byte) (bundlesender.Effect, error){
	"Propose":    effect[bundlesender.Propose],
	"Abort":      effect[bundlesender.Abort],
	"Submit":     effect[bundlesender.Submit],
	"Cancel":     effect[bundlesender.Cancel],
	"Observe":    effect[bundlesender.Observe],
	"Release":    effect[bundlesender.Release],
	"Settle":     effect[bundlesender.Settle],
	"Revive":     effect[bundlesender.Revive],
	"Forget":     effect[bundlesender.Forget],
	"Backoff":    effect[bundlesender.Backoff],
	"Alert":      effect[bundlesender.Alert],
	"Moved":      effect[bundlesender.Moved],
	"ManualDone": readManualDone,
}

func event[T bundlesender.Event](text []byte) (bundlesender.Event, error) {
	var v T
	err := strict(text, &v)
	return v, err
}

func effect[T bundlesender.Effect](text []byte) (bundlesender.Effect, error) {
	var v T
	err := strict(text, &v)
	return v, err
}

// manualDone is bundlesender.ManualDone, the one effect that holds an error, as it is written.
type manualDone struct {
	Call bundlesender.CallID
	Hash common.Hash
	Err  *manualError
}

// manualError is why a manual call was answered without a bundle: exactly one member is set.
type manualError struct {
	Stopped    bool                        `json:",omitempty"`
	NodeFailed bool                        `json:",omitempty"`
	Paused     bool                        `json:",omitempty"`
	Nothing    *bundlesender.NothingReason `json:",omitempty"`
	Refused    *bundlesender.Outcome       `json:",omitempty"`
	Text       *string                     `json:",omitempty"` // an error that has no codec of its own
}

func writeManualDone(e bundlesender.ManualDone) manualDone {
	m := manualDone{Call: e.Call, Hash: e.Hash}
	if e.Err == nil {
		return m
	}
	m.Err = new(manualError)
	nothing, isNothing := errors.AsType[*bundlesender.NothingError](e.Err)
	refused, isRefused := errors.AsType[*bundlesender.RefusedError](e.Err)
	switch {
	case errors.Is(e.Err, bundlesender.ErrStopped):
		m.Err.Stopped = true
	case errors.Is(e.Err, bundlesender.ErrNodeFailed):
		m.Err.NodeFailed = true
	case errors.Is(e.Err, bundlesender.ErrPaused):
		m.Err.Paused = true
	case isNothing:
		m.Err.Nothing = &nothing.Reason
	case isRefused:
		m.Err.Refused = &refused.Outcome
	default:
		text := e.Err.Error()
		m.Err.Text = &text
	}
	return m
}

func readManualDone(text []byte) (bundlesender.Effect, error) {
	var m manualDone
	if err := strict(text, &m); err != nil {
		return nil, err
	}
	done := bundlesender.ManualDone{Call: m.Call, Hash: m.Hash}
	if m.Err == nil {
		return done, nil
	}
	switch e := m.Err; {
	case e.Stopped:
		done.Err = bundlesender.ErrStopped
	case e.NodeFailed:
		done.Err = bundlesender.ErrNodeFailed
	case e.Paused:
		done.Err = bundlesender.ErrPaused
	case e.Nothing != nil:
		done.Err = &bundlesender.NothingError{Reason: *e.Nothing}
	case e.Refused != nil:
		done.Err = &bundlesender.RefusedError{Outcome: *e.Refused}
	case e.Text != nil:
		done.Err = errors.New(*e.Text)
	default:
		return nil, fmt.Errorf("%w: a manual call failed with no error", ErrDamaged)
	}
	return done, nil
}
