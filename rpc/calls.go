package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// calls bounds the calls of all connections together, and is the one place where errors turn into answers.
type calls struct {
	running chan struct{} // one token per call at work
	limit   int64         // most calls at work and waiting
	admit   atomic.Int64  // calls at work and waiting
	timeout time.Duration
	stopped context.Context // ends when the server closes
	limits  *limiter
	told    func(method string, code int, took time.Duration)
	log     *slog.Logger
}

// do runs one call within the bounds. The context it passes on ends with the client, the time limit, or the server.
func do[T any](ctx context.Context, c *calls, method string, run func(context.Context) (T, error)) (answer T, err error) {
	begun := time.Now()
	defer func() { c.told(method, codeOf(err), time.Since(begun)) }()
	if err := c.limits.call(ctx); err != nil {
		return answer, err
	}
	if c.admit.Add(1) > c.limit {
		c.admit.Add(-1)
		return answer, &callError{code: codeLimitExceeded, message: "too many calls at once, try again later"}
	}
	defer c.admit.Add(-1)

	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	defer context.AfterFunc(c.stopped, cancel)() //nolint:contextcheck // the server's end is a second reason to end

	select {
	case c.running <- struct{}{}:
		defer func() { <-c.running }()
	case <-ctx.Done():
		return answer, c.fail(method, ctx.Err())
	}
	answer, err = guarded(ctx, run)
	if err != nil {
		var none T
		return none, c.fail(method, err)
	}
	return answer, nil
}

// codeOf is the code of what a client is told; 0: an answer.
func codeOf(err error) int {
	if visible, ok := errors.AsType[*callError](err); ok {
		return visible.code
	}
	return 0
}

func (c *calls) fail(method string, err error) error {
	visible, internal := clientError(err)
	if internal {
		c.log.Error("JSON-RPC call failed", "method", method, "err", err)
	}
	return visible
}

// guarded turns a panic of the backend into an error: one call's bug must not end the process, nor be silent.
func guarded[T any](ctx context.Context, run func(context.Context) (T, error)) (answer T, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
		}
	}()
	return run(ctx)
}
