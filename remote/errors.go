package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"baler/node"

	"connectrpc.com/connect"
)

// Cause is why a call between processes came to nothing. The set is closed.
type Cause string

// The causes.
const (
	Unreachable   Cause = "unreachable"    // nobody answers at the addresses
	NotLeading    Cause = "not leading"    // those who answer do not serve the pool
	Busy          Cause = "busy"           // the pool's process has as many calls as it takes
	Unauthorized  Cause = "unauthorized"   // token or certificate are missing or wrong
	TimedOut      Cause = "timed out"      // there was no answer in time
	Canceled      Cause = "canceled"       // the caller gave up
	Lost          Cause = "lost"           // the connection broke while the call was under way
	NotUnderstood Cause = "not understood" // the two sides do not speak the same language
	PeerFailed    Cause = "failed"         // the pool's process has trouble of its own
)

// Error is a call between processes that came to nothing. To a JSON-RPC client it is an internal error; the text is for the log.
//
// It is [node.ErrUnreachable] unless the pool's process has answered, and [context.DeadlineExceeded] or [context.Canceled] if
// the caller's own context has ended.
type Error struct {
	Method string
	Cause  Cause
	Sent   bool // the call may have been carried out
	err    error
	ended  error // of the caller's own context
}

// Error implements error.
func (e *Error) Error() string {
	text := fmt.Sprintf("ask the pool: %s: %s", e.Method, e.Cause)
	if e.err != nil {
		text += ": " + e.err.Error()
	}
	return text
}

// Unwrap returns what the error is besides.
func (e *Error) Unwrap() []error {
	var is []error
	switch e.Cause {
	case Unreachable, NotLeading, Busy, TimedOut, Lost, Unauthorized:
		is = append(is, node.ErrUnreachable)
	case Canceled, NotUnderstood, PeerFailed:
	}
	if e.ended != nil {
		is = append(is, e.ended)
	}
	return is
}

// What a server refused a call for before anybody looked at it, in the error's metadata.
const (
	refusedHeader   = "Baler-Refused"
	refusedLeader   = "not-leading"
	refusedBusy     = "busy"
	refusedIdentity = "unauthorized"
)

// classify says why an attempt of a call came to nothing.
func classify(method string, err error) *Error {
	if already, ok := errors.AsType[*Error](err); ok {
		return already
	}
	e := &Error{Method: method, Cause: Lost, Sent: true, err: err}
	status, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return e
	}
	switch status.Meta().Get(refusedHeader) {
	case refusedLeader:
		e.Cause, e.Sent = NotLeading, false
		return e
	case refusedBusy:
		e.Cause, e.Sent = Busy, false
		return e
	case refusedIdentity:
		e.Cause, e.Sent = Unauthorized, false
		return e
	}
	if op, dialed := errors.AsType[*net.OpError](err); dialed && (op.Op == "dial" || op.Op == "remote error") {
		// "remote error" is a TLS alert: the other side does not take our certificate.
		e.Cause, e.Sent = Unreachable, false
		if op.Op != "dial" {
			e.Cause = Unauthorized
		}
		return e
	}
	if _, doubted := errors.AsType[*tls.CertificateVerificationError](err); doubted {
		e.Cause, e.Sent = Unauthorized, false
		return e
	}
	switch status.Code() {
	case connect.CodeDeadlineExceeded:
		e.Cause = TimedOut
	case connect.CodeCanceled: // a connection that breaks is one too
		if errors.Is(err, context.Canceled) {
			e.Cause = Canceled
		}
	case connect.CodeUnauthenticated, connect.CodePermissionDenied:
		e.Cause, e.Sent = Unauthorized, false
	case connect.CodeInvalidArgument, connect.CodeUnimplemented, connect.CodeResourceExhausted, connect.CodeOutOfRange:
		e.Cause = NotUnderstood
	case connect.CodeInternal, connect.CodeUnknown, connect.CodeDataLoss, connect.CodeNotFound, connect.CodeAborted,
		connect.CodeAlreadyExists, connect.CodeFailedPrecondition, connect.CodeUnavailable:
		if connect.IsWireError(err) && status.Code() != connect.CodeUnavailable {
			e.Cause = PeerFailed
		}
	}
	return e
}

// over is the error of a call whose time is over: the caller's own, or what the call is given at most.
func (e *Error) over(callers context.Context) *Error {
	ended := *e
	if ended.Cause == Canceled {
		ended.Cause = TimedOut
	}
	if err := callers.Err(); err != nil {
		ended.ended = err
		if errors.Is(err, context.Canceled) {
			ended.Cause = Canceled
		}
	}
	return &ended
}
