package chain

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/ethereum/go-ethereum/rpc"
)

// call sends one request to the endpoint that is likely to answer first, and to the next one where that makes sense.
func (s *several) call(ctx context.Context, result any, method string, args ...any) error {
	var by *Client
	err := s.route(ctx, 1, submits(method), func(c *Client) error {
		by = c
		return c.CallContext(ctx, result, method, args...)
	})
	if err == nil && method == "eth_sendRawTransaction" {
		s.spread(by, method, args)
	}
	return err
}

// spread tells the other endpoints of a transaction that one has taken, so that each knows it when it is asked for it. What
// they answer is not waited for: it changes nothing.
func (s *several) spread(by *Client, method string, args []any) {
	for _, e := range s.endpoints {
		agrees, resting := e.usable()
		if e.client == by || !agrees || resting {
			continue
		}
		s.group.Go(func() {
			var hash any
			if leave, ok := e.enter(s.running, 1, false); ok {
				defer leave()
				_ = e.ask(s.running, func(c *Client) error { return c.CallContext(s.running, &hash, method, args...) })
			}
		})
	}
}

// batch sends a batch so. If an endpoint lacks the state for one of its requests, all are sent to the next.
func (s *several) batch(ctx context.Context, batch []rpc.BatchElem) error {
	once := slices.ContainsFunc(batch, func(b rpc.BatchElem) bool { return submits(b.Method) })
	var lacking error // what one endpoint lacks: it is in the elements, too
	err := s.route(ctx, len(batch), once, func(c *Client) error {
		lacking = nil
		for i := range batch {
			batch[i].Error = nil
		}
		if err := c.BatchCallContext(ctx, batch); err != nil {
			return err
		}
		for i := range batch {
			if lacksState(batch[i].Error) {
				lacking = batch[i].Error
			}
		}
		return lacking
	})
	if lacking != nil && errors.Is(err, lacking) {
		return nil
	}
	return err
}

// route tries endpoints until one has answered. What is to be sent once goes to one endpoint only: whether it arrived is for the
// caller to find out.
func (s *several) route(ctx context.Context, n int, once bool, send func(*Client) error) error {
	order := s.order()
	var last error
	for _, wait := range []bool{false, true} { // an endpoint within its limits first
		for i, e := range order {
			if e == nil {
				continue
			}
			leave, ok := e.enter(ctx, n, wait)
			if !ok {
				if ctx.Err() != nil {
					return errors.Join(last, ctx.Err())
				}
				continue
			}
			err := e.ask(ctx, send)
			leave()
			if err == nil || Answered(err) {
				note(ctx, e.name)
			}
			order[i] = nil
			switch {
			case err == nil:
				return nil
			case errors.Is(err, errResting):
				last = cmp.Or(last, err)
				continue
			case once || ctx.Err() != nil || Answered(err) && !lacksState(err):
				return err
			}
			last = err
		}
	}
	return cmp.Or(last, error(&NodeError{Origin: s.endpoints[0].name, Method: "request", err: errNoEndpoint}))
}

// order is the endpoints as they should be asked: those with the agreed head first, by how soon they are likely to answer; then
// those without, for when nobody else answers.
func (s *several) order() []*endpoint {
	type ranked struct {
		*endpoint

		class  int
		weight float64
	}
	var list []ranked
	for _, e := range s.endpoints {
		agrees, resting := e.usable()
		r := ranked{e, 0, e.weight()}
		if !agrees {
			r.class++
		}
		if resting {
			r.class += 2
		}
		list = append(list, r)
	}
	slices.SortStableFunc(list, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.weight, b.weight))
	})
	order := make([]*endpoint, 0, len(list))
	for _, r := range list {
		if r.usableEver() {
			order = append(order, r.endpoint)
		}
	}
	return order
}

// usableEver reports whether the endpoint may be asked when nobody else answers: not if it is of another chain.
func (e *endpoint) usableEver() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.alien
}

// submits reports whether a method must not be repeated at another endpoint by ourselves.
func submits(method string) bool { return strings.HasPrefix(method, "eth_send") }

// lacksState reports whether an endpoint has answered that it does not have what another may have: the block, its state, or
// time for the request. The texts are those of geth, Erigon, Nethermind, Besu and of providers' gateways.
func lacksState(err error) bool {
	answer, ok := errors.AsType[rpc.Error](err)
	if !ok {
		return false
	}
	switch answer.ErrorCode() {
	case -32005, 429, -32001: // limit exceeded, resource not found (EIP-1474)
		return true
	}
	text := strings.ToLower(answer.Error())
	for _, lack := range []string{
		"header not found", "unknown block", "block not found", "missing trie node", "state not available", "state is not available",
		"header for hash not found", "world state unavailable", "no state available", "too many requests", "rate limit",
	} {
		if strings.Contains(text, lack) {
			return true
		}
	}
	return false
}
