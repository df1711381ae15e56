package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"baler/entrypoint"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
)

// Error codes that are not a [rejection.Kind]: JSON-RPC 2.0, and EIP-1474 for the limit.
const (
	codeInvalidRequest = -32600
	codeInvalidParams  = int(rejection.InvalidFields)
	codeServer         = -32000
	codeInternal       = -32603
	codeParse          = -32700
	codeTimeout        = -32002
	codeLimitExceeded  = -32005
)

// callError is what a client sees of a failed call. It satisfies go-ethereum's rpc.Error and rpc.DataError.
type callError struct {
	code    int
	message string
	data    any // nil: no data member
}

func (e *callError) Error() string  { return e.message }
func (e *callError) ErrorCode() int { return e.code }
func (e *callError) ErrorData() any { return e.data }

func invalidParams(format string, args ...any) *callError {
	return &callError{code: codeInvalidParams, message: fmt.Sprintf(format, args...)}
}

// clientError turns the error of a call into what the client may see, and says whether the cause belongs in the log:
// it does when the client is told nothing of it.
func clientError(err error) (visible *callError, internal bool) {
	var (
		already  *callError
		rejected *rejection.Rejection
		field    *userop.FieldError
	)
	switch {
	case errors.As(err, &already):
		return already, false
	case errors.As(err, &rejected):
		return rejectionError(rejected), false
	case errors.As(err, &field):
		return &callError{code: codeInvalidParams, message: field.Error()}, false
	case errors.Is(err, ErrInFlight):
		return &callError{code: codeServer, message: err.Error()}, false
	case errors.Is(err, context.DeadlineExceeded):
		return &callError{code: codeTimeout, message: "request timed out"}, true
	case errors.Is(err, context.Canceled):
		// The client is gone, or the server is closing: nobody is left to tell more.
		return &callError{code: codeTimeout, message: "request canceled"}, false
	default:
		return &callError{code: codeInternal, message: "internal error"}, true
	}
}

func rejectionError(r *rejection.Rejection) *callError {
	e := &callError{code: int(r.Kind), message: r.Message}
	if r.Data != (rejection.Data{}) {
		e.data = r.Data
	}
	return e
}

// unsupportedEntryPoint is the refusal of an EntryPoint that is not served; the message says which ones are.
func unsupportedEntryPoint(have common.Address, supported []entrypoint.EntryPoint) *callError {
	want := make([]string, len(supported))
	for i, ep := range supported {
		want[i] = fmt.Sprintf("%s (v%s)", ep.Address.Hex(), ep.Version)
	}
	return invalidParams("entryPoint: have %s, want one of %s", have.Hex(), strings.Join(want, ", "))
}
