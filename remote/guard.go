package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"baler/event"
	pb "baler/remote/remotev1"

	"connectrpc.com/connect"
)

type termKey struct{}

// termOf is the term that a request was let in for.
func termOf(ctx context.Context) *term {
	t, _ := ctx.Value(termKey{}).(*term)
	return t
}

// streaming are the methods that go on until somebody ends them.
func streaming(path string) bool {
	return path == pb.BuilderServiceAttendProcedure || path == pb.LinkServicePulseProcedure || path == pb.EdgeServiceWatchProcedure
}

// refuse answers a request that nobody has looked at, in a way that the client knows it by.
func refuse(w http.ResponseWriter, r *http.Request, code connect.Code, why, text string) {
	err := connect.NewError(code, errors.New(text))
	err.Meta().Set(refusedHeader, why)
	writer := connect.NewErrorWriter()
	if !writer.IsSupported(r) {
		http.Error(w, text, http.StatusUnsupportedMediaType)
		return
	}
	_ = writer.Write(w, r, err) // a caller that does not listen any more is no failure
}

// identified lets in who has proved who it is.
func (s *Server) identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if lacks := s.keeper.refuses(r); lacks != "" {
			refuse(w, r, connect.CodeUnauthenticated, refusedIdentity, lacks)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// admitted lets calls in that come from one of ours, while this process serves the pool, as many as there are slots. What is
// refused here was not carried out.
func (s *Server) admitted(calls, streams chan struct{}, next http.Handler) http.Handler {
	return s.identified(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := s.term.Load()
		if t == nil || !s.enter() {
			refuse(w, r, connect.CodeUnavailable, refusedLeader, "this process does not serve the pool")
			return
		}
		defer s.leave()
		slots, bound := calls, s.cfg.CallTime
		switch {
		case streaming(r.URL.Path):
			slots, bound = streams, 0
		case r.URL.Path == pb.EdgeServiceSendBundleNowProcedure:
			slots, bound = streams, s.cfg.SendTime // it waits for a block, and takes nobody's place
		}
		r = r.WithContext(context.WithValue(r.Context(), termKey{}, t))
		s.bounded(slots, bound, next).ServeHTTP(w, r)
	}))
}

// bounded lets in as many requests as there are slots, and bounds the time of each; 0: it has as long as it wants, once its
// message is there.
func (s *Server) bounded(slots chan struct{}, bound time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			refuse(w, r, connect.CodeResourceExhausted, refusedBusy, "too many calls at once")
			return
		}
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.cfg.RequestTime)) // HTTP/2 can, and nothing else is spoken
		if bound > 0 {
			ctx, cancel := context.WithTimeout(r.Context(), bound)
			defer cancel()
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
	})
}

// recovered turns a panic into an error: the connection carries other calls too.
func (s *Server) recovered(_ context.Context, spec connect.Spec, _ http.Header, cause any) error {
	s.cfg.Logger.Error("a call from another process panicked", "method", spec.Procedure, "cause", cause)
	return connect.NewError(connect.CodeInternal, errors.New("internal error"))
}

// observed is where calls are told.
type observed struct{ sink atomic.Pointer[event.Sink] }

func (o *observed) by(sink event.Sink) { o.sink.Store(&sink) }

func (o *observed) tell(e event.Event) {
	if sink := o.sink.Load(); sink != nil {
		(*sink)(e)
	}
}

// observer says of each call that a server has answered how it ended.
type observer struct{ sink event.Sink }

// WrapUnary implements [connect.Interceptor].
func (o observer) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		begun := time.Now()
		answer, err := next(ctx, r)
		told := event.PoolAsked{Side: "served", Method: methodOf(r.Spec().Procedure), Result: "ok", Took: time.Since(begun)}
		if err != nil {
			told.Result = resultOf(err)
		} else if f, may := answer.Any().(interface{ GetFailure() *pb.Failure }); may && f.GetFailure() != nil {
			told.Result = string(PeerFailed)
		}
		o.sink(told)
		return answer, err
	}
}

// WrapStreamingClient implements [connect.Interceptor].
func (o observer) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler implements [connect.Interceptor].
func (o observer) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

// resultOf is the cause of an error, from the server's side.
func resultOf(err error) string {
	switch connect.CodeOf(err) {
	case connect.CodeDeadlineExceeded:
		return string(TimedOut)
	case connect.CodeCanceled:
		return string(Canceled)
	case connect.CodeInvalidArgument:
		return string(NotUnderstood)
	default:
		return string(PeerFailed)
	}
}

// notUnderstood is the answer to a message that does not decode.
func notUnderstood(err error) error { return connect.NewError(connect.CodeInvalidArgument, err) }

// failure divides the errors of what stands behind the server: the end of the call's time is a status of the transport, all else
// is part of the answer.
func failure(ctx context.Context, err error) (*pb.Failure, error) {
	switch {
	case err == nil:
		return nil, nil
	case ctx.Err() != nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)):
		return nil, connect.NewError(codeOfEnd(ctx), fmt.Errorf("the pool was asked, and did not answer in time: %w", err))
	default:
		return encodeFailure(err), nil
	}
}

func codeOfEnd(ctx context.Context) connect.Code {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return connect.CodeDeadlineExceeded
	}
	return connect.CodeCanceled
}

// methodOf is the method of a procedure: what stands behind its last slash.
func methodOf(procedure string) string { return procedure[strings.LastIndexByte(procedure, '/')+1:] }
