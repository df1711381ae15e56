package remote

import (
	"context"
	"time"

	"connectrpc.com/grpchealth"
)

// A process that hangs keeps its connections: whoever waits for its answers waits in vain, until the other one that serves the pool
// by then is found. So while nothing comes, the others are asked.

// turn is the time until another endpoint was found to serve the pool. Attempts that may be repeated, and streams, end with it.
type turn struct {
	over context.Context
	end  context.CancelFunc
}

func newTurn() *turn {
	over, end := context.WithCancel(context.Background())
	return &turn{over, end}
}

// seekEvery is how often the others are asked, and seekTime how long one may take to answer.
const (
	seekEvery = 250 * time.Millisecond
	seekTime  = 500 * time.Millisecond
)

// seek looks for another endpoint that serves the pool while the one at a place is silent, until ctx ends. It reports whether
// there is one: that leads from then on.
func (c *Client) seek(ctx context.Context, at int32, silent func() time.Duration) bool {
	tick := time.NewTicker(min(seekEvery, c.cfg.Suspect))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		if silent() < c.cfg.Suspect {
			continue
		}
		for i, e := range c.endpoints {
			if int32(i) == at || !e.serves(ctx) { //nolint:gosec // a few
				continue
			}
			c.at.Store(int32(i)) //nolint:gosec // a few
			c.turn.Swap(newTurn()).end()
			return true
		}
	}
}

// serves reports whether the process says that it serves the pool.
func (e *endpoint) serves(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, seekTime)
	defer cancel()
	answer, err := e.health.Check(ctx, new(grpchealth.CheckRequest))
	return err == nil && answer.Status == grpchealth.StatusServing
}
