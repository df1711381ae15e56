package chain

import (
	"context"
	"sync/atomic"
)

type answererKey struct{}

// WithAnswerer returns a context, and who answered the last call that was made with it: the endpoint's name as in
// [Client.Endpoints], or the origin of a client's only one. It is empty before the first call.
func WithAnswerer(ctx context.Context) (asking context.Context, answerer func() string) {
	name := new(atomic.Pointer[string])
	return context.WithValue(ctx, answererKey{}, name), func() string {
		if given := name.Load(); given != nil {
			return *given
		}
		return ""
	}
}

// note says in the context who has answered.
func note(ctx context.Context, endpoint string) {
	if name, ok := ctx.Value(answererKey{}).(*atomic.Pointer[string]); ok {
		name.Store(&endpoint)
	}
}

// AgreedHead is the height of the block that the endpoints agree on; 0: there is only one endpoint, or none has answered yet.
func (c *Client) AgreedHead() uint64 {
	if c.several == nil {
		return 0
	}
	c.several.mu.Lock()
	defer c.several.mu.Unlock()
	if c.several.agreed == nil {
		return 0
	}
	return c.several.agreed.Number.Uint64()
}
