package remote

import (
	"context"
	"time"

	"baler/event"
	pb "baler/remote/remotev1"
)

// method is how a call is made.
type method struct {
	name string
	time time.Duration // that it has, if its context has no earlier end
	// once: it is not tried again when it may have been carried out.
	once bool
}

// The bounds of one attempt of a call that may be tried again: it leaves time for another at the next endpoint.
const (
	leastAttempt = 500 * time.Millisecond
	mostAttempt  = 3 * time.Second
)

// answered is an answer of the schema.
type answered interface{ GetFailure() *pb.Failure }

// call asks whoever serves the pool, and goes on to the next when that one does not. It tries again until the call's time is
// over: what nobody has looked at in any case, and what may have been carried out unless the method says that it is for once.
func call[Req any, Res answered](ctx context.Context, c *Client, m method, req Req, ask func(*endpoint, context.Context, Req) (Res, error)) (Res, error) {
	begun := time.Now()
	answer, err := try(ctx, c, m, req, ask)
	told := event.PoolAsked{Side: "asked", Method: m.name, Result: "ok"}
	if err != nil {
		told.Result = string(err.Cause)
	} else if answer.GetFailure() != nil {
		told.Result = string(PeerFailed)
	}
	told.Took = time.Since(begun)
	c.observed.tell(told)
	if err != nil {
		return answer, err
	}
	return answer, decodeFailure(m.name, answer.GetFailure())
}

func try[Req any, Res answered](ctx context.Context, c *Client, m method, req Req, ask func(*endpoint, context.Context, Req) (Res, error)) (Res, *Error) {
	callers := ctx
	ctx, cancel := context.WithTimeout(ctx, m.time)
	defer cancel()
	for waits := c.waits(); ; {
		turn := c.turn.Load()
		e, at := c.leading()
		attempt, cancel := attemptOf(ctx, m)
		stay := func() bool { return true }
		if !m.once {
			stay = context.AfterFunc(turn.over, cancel) //nolint:contextcheck // the end of the turn ends the attempt too
		}
		answer, err := ask(e, attempt, req)
		stay()
		cancel()
		if err == nil {
			return answer, nil
		}
		failed := classify(m.name, err)
		if ctx.Err() != nil {
			return answer, failed.over(callers)
		}
		if failed.Cause == Unauthorized || failed.Cause == NotUnderstood || failed.Cause == PeerFailed || failed.Sent && m.once {
			return answer, failed
		}
		if failed.Cause != Busy {
			c.moveOn(at)
		}
		if !waits.pause(ctx, failed.Cause != Busy) {
			return answer, failed.over(callers)
		}
	}
}

// attemptOf bounds one attempt.
func attemptOf(ctx context.Context, m method) (context.Context, context.CancelFunc) {
	deadline, bounded := ctx.Deadline()
	if m.once || !bounded {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, min(mostAttempt, max(leastAttempt, time.Until(deadline)/3)))
}
