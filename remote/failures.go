package remote

import (
	"errors"
	"unicode/utf8"

	"baler/node"
	"baler/pool"
	"baler/rejection"
	pb "baler/remote/remotev1"
	"baler/rpc"
	"baler/userop"
)

// told is an error of the other side that the caller compares with one of its own.
type told struct {
	text string
	is   error
}

// Error implements error: the text as the other side had it.
func (t *told) Error() string { return t.text }

// Unwrap returns the error that it is, as [errors.Is] sees it.
func (t *told) Unwrap() error { return t.is }

// encodeFailure writes an error of what stands behind the server.
func encodeFailure(err error) *pb.Failure {
	var (
		rejected *rejection.Rejection
		field    *userop.FieldError
	)
	text := valid(err.Error())
	switch {
	case errors.As(err, &rejected):
		return &pb.Failure{Error: &pb.Failure_Rejection{Rejection: encodeRejection(rejected)}}
	case errors.As(err, &field):
		return &pb.Failure{Error: &pb.Failure_Field{Field: &pb.FieldError{Field: valid(field.Field), Reason: valid(field.Reason)}}}
	case errors.Is(err, rpc.ErrInFlight):
		return &pb.Failure{Error: &pb.Failure_InFlight{InFlight: text}}
	case errors.Is(err, rpc.ErrNothingToSend):
		return &pb.Failure{Error: &pb.Failure_NothingToSend{NothingToSend: text}}
	case errors.Is(err, pool.ErrUnknown):
		return &pb.Failure{Error: &pb.Failure_UnknownOperation{UnknownOperation: text}}
	case errors.Is(err, node.ErrNotResumed):
		return &pb.Failure{Error: &pb.Failure_NotResumed{NotResumed: text}}
	default:
		return &pb.Failure{Error: &pb.Failure_Internal{Internal: text}}
	}
}

// decodeFailure returns the error that a failure stands for; nil: there is none.
func decodeFailure(method string, m *pb.Failure) error {
	if m == nil {
		return nil
	}
	switch e := m.GetError().(type) {
	case *pb.Failure_Rejection:
		var d decoder
		rejected := d.rejection("rejection", e.Rejection)
		if d.err != nil {
			return &Error{Method: method, Cause: NotUnderstood, Sent: true, err: d.err}
		}
		return rejected
	case *pb.Failure_Field:
		return &userop.FieldError{Field: e.Field.GetField(), Reason: e.Field.GetReason()}
	case *pb.Failure_InFlight:
		return &told{e.InFlight, rpc.ErrInFlight}
	case *pb.Failure_NothingToSend:
		return &told{e.NothingToSend, rpc.ErrNothingToSend}
	case *pb.Failure_UnknownOperation:
		return &told{e.UnknownOperation, pool.ErrUnknown}
	case *pb.Failure_NotResumed:
		return &told{e.NotResumed, node.ErrNotResumed}
	case *pb.Failure_Internal:
		return &Error{Method: method, Cause: PeerFailed, Sent: true, err: errors.New(e.Internal)}
	default:
		return &Error{Method: method, Cause: NotUnderstood, Sent: true, err: ErrMessage}
	}
}

// valid returns text as protobuf can carry it, and as JSON would write it: a revert's text may be any bytes.
func valid(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	return string([]rune(text))
}
