package chain

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"
)

// EndpointState is where one endpoint of a chain's nodes stands.
type EndpointState struct {
	Endpoint  string        // scheme and host, and a number where several share them
	State     Standing      // whether it is asked
	Circuit   string        // closed: it is asked; open: it rests; half-open: one request tries whether it is back
	Head      uint64        // its newest block
	HeadAge   time.Duration // since it showed that block
	Latency   time.Duration // of its answers, the newer counting more
	InFlight  int           // requests
	Requests  uint64        // that were sent to it
	Errors    uint64        // of these that were not answered
	LastError string        // without secrets; empty: there was none
}

// Standing is whether an endpoint is asked.
type Standing string

// The standings.
const (
	StandingOK          Standing = "ok"
	StandingBehind      Standing = "behind"      // it does not have the head that the others agree on
	StandingForked      Standing = "forked"      // it has another block at that height than most
	StandingResting     Standing = "resting"     // it did not answer several times, and is left alone for a while
	StandingUnreachable Standing = "unreachable" // it has not answered yet, or not for long
	StandingOtherChain  Standing = "other chain" // it is a node of another chain
)

const (
	failuresToRest = 3               // requests in a row without an answer
	restTime       = 5 * time.Second // until one request is tried again
	keptHeaders    = 16              // per endpoint, to compare blocks by height
)

// endpoint is one of several nodes of a chain.
type endpoint struct {
	client  *Client
	name    string
	limiter *rate.Limiter // requests; nil: no limit
	slots   chan struct{} // requests at once
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	wake    chan uint64   // a block that others have seen
	looking chan struct{} // holds a token while it is asked for its head

	mu       sync.Mutex
	headers  map[uint64]*types.Header // the last ones of its chain, by height
	head     *types.Header
	changed  time.Time // when it showed that head
	polled   time.Time // when it last answered what its head is
	known    bool      // to be of this chain
	alien    bool      // it is of another chain
	agrees   bool      // it has the agreed head
	forked   bool
	latency  float64 // seconds
	inFlight int
	requests uint64
	errors   uint64
	lastErr  string
}

func newEndpoint(client *Client, name string, o EndpointOptions) *endpoint {
	e := &endpoint{
		client: client, name: name, slots: make(chan struct{}, o.Concurrent), wake: make(chan uint64, 1), looking: make(chan struct{}, 1),
		headers: make(map[uint64]*types.Header),
	}
	if o.RequestsPerSecond > 0 {
		e.limiter = rate.NewLimiter(rate.Limit(o.RequestsPerSecond), max(1, int(math.Ceil(o.RequestsPerSecond))))
	}
	e.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name: name, MaxRequests: 1, Timeout: restTime,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= failuresToRest },
		IsExcluded:  func(err error) bool { return errors.Is(err, context.Canceled) },
	})
	return e
}

// errResting says that an endpoint is left alone.
var errResting = errors.New("the endpoint is resting after failures")

// enter takes a place among the requests at once, and n requests of the rate. Without wait it takes them only if they are free.
func (e *endpoint) enter(ctx context.Context, n int, wait bool) (leave func(), ok bool) {
	if wait {
		select {
		case e.slots <- struct{}{}:
		case <-ctx.Done():
			return nil, false
		}
	} else {
		select {
		case e.slots <- struct{}{}:
		default:
			return nil, false
		}
	}
	leave = func() { <-e.slots }
	if e.limiter == nil {
		return leave, true
	}
	n = min(n, e.limiter.Burst()) // a batch that is larger than all of a second's requests takes all of them
	if wait && e.limiter.WaitN(ctx, n) == nil || !wait && e.limiter.AllowN(time.Now(), n) {
		return leave, true
	}
	leave()
	return nil, false
}

// ask sends one request, and learns from how it went.
func (e *endpoint) ask(ctx context.Context, send func(*Client) error) error {
	done, err := e.breaker.Allow()
	if err != nil {
		return &NodeError{Origin: e.name, Method: "request", err: errResting}
	}
	e.mu.Lock()
	e.inFlight++
	e.requests++
	e.mu.Unlock()
	begun := time.Now()
	err = send(e.client)
	failed := err != nil && !Answered(err)
	switch {
	case failed && errors.Is(ctx.Err(), context.Canceled):
		done(context.Canceled)
	case failed:
		done(err)
	default:
		done(nil)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.inFlight--
	switch {
	case !failed:
		took := time.Since(begun).Seconds()
		if e.latency == 0 {
			e.latency = took
		}
		e.latency += (took - e.latency) / 8
	case !errors.Is(ctx.Err(), context.Canceled): // that its time is over is the endpoint's failure
		e.errors++
		e.lastErr = err.Error()
	}
	return err
}

// weight orders endpoints: the one that is likely to answer first comes first.
func (e *endpoint) weight() float64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.latency * float64(e.inFlight+1)
}

// look asks for the endpoint's head and remembers it with the blocks before it.
func (e *endpoint) look(ctx context.Context) error {
	var head *types.Header
	err := e.ask(ctx, func(c *Client) (err error) {
		head, err = nodeHeads{c}.Latest(ctx)
		return err
	})
	if err != nil {
		return err
	}
	missing := e.missing(head)
	headers := make([]*types.Header, len(missing))
	if len(missing) > 0 {
		batch := make([]rpc.BatchElem, len(missing))
		for i, number := range missing {
			batch[i] = rpc.BatchElem{Method: "eth_getBlockByNumber", Args: []any{numberArgument(number), false}, Result: &headers[i]}
		}
		if err := e.ask(ctx, func(c *Client) error { return c.BatchCallContext(ctx, batch) }); err != nil {
			return err
		}
	}
	e.remember(head, headers)
	return nil
}

// missing returns the heights below a head at which it is not known what the endpoint has.
func (e *endpoint) missing(head *types.Header) (heights []uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	child := head
	for range comparedBlocks {
		if child.Number.Sign() == 0 {
			return heights
		}
		number := child.Number.Uint64() - 1
		known := e.headers[number]
		if known == nil || known.Hash() != child.ParentHash || len(heights) > 0 {
			heights = append(heights, number)
			child = &types.Header{Number: numberOf(number)}
			continue
		}
		child = known
	}
	return heights
}

func (e *endpoint) remember(head *types.Header, before []*types.Header) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.polled = time.Now()
	if e.head == nil || e.head.Hash() != head.Hash() {
		e.changed = e.polled
	}
	e.head = head
	number := head.Number.Uint64()
	for _, header := range append(before, head) {
		if header != nil {
			e.headers[header.Number.Uint64()] = header
		}
	}
	for height := range e.headers {
		if height > number || height+keptHeaders < number {
			delete(e.headers, height)
		}
	}
}

// at returns the endpoint's block at a height, nil if it is not known.
func (e *endpoint) at(number uint64) *types.Header {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.headers[number]
}

// shown returns the height of its newest block, and whether it may be counted on: it has answered not long ago.
func (e *endpoint) shown(now time.Time, silence time.Duration) (uint64, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.head == nil || !e.known || e.alien || now.Sub(e.polled) > silence {
		return 0, false
	}
	return e.head.Number.Uint64(), true
}

// judge notes what the comparison of heads has said.
func (e *endpoint) judge(agrees, forked bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.agrees, e.forked = agrees, forked
}

// usable reports whether the endpoint has the agreed head and is not resting.
func (e *endpoint) usable() (agrees, resting bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.agrees && !e.alien, e.breaker.State() == gobreaker.StateOpen || e.alien
}

func (e *endpoint) state(now time.Time, silence time.Duration) EndpointState {
	circuit := e.breaker.State()
	resting := circuit == gobreaker.StateOpen
	e.mu.Lock()
	defer e.mu.Unlock()
	s := EndpointState{
		Endpoint: e.name, State: StandingOK, Circuit: circuit.String(), Latency: time.Duration(e.latency * float64(time.Second)), InFlight: e.inFlight,
		Requests: e.requests, Errors: e.errors, LastError: e.lastErr,
	}
	if e.head != nil {
		s.Head, s.HeadAge = e.head.Number.Uint64(), now.Sub(e.changed)
	}
	switch {
	case e.alien:
		s.State = StandingOtherChain
	case resting:
		s.State = StandingResting
	case e.head == nil || !e.known || now.Sub(e.polled) > silence:
		s.State = StandingUnreachable
	case e.forked:
		s.State = StandingForked
	case !e.agrees:
		s.State = StandingBehind
	}
	return s
}

// identity tells chains apart: by their id and first block.
type identity struct {
	chainID uint64
	genesis common.Hash
}

func (e *endpoint) identity(ctx context.Context) (id identity, err error) {
	err = e.ask(ctx, func(c *Client) (err error) {
		id.chainID, err = c.ChainID(ctx)
		return err
	})
	if err != nil {
		return id, err
	}
	err = e.ask(ctx, func(c *Client) (err error) {
		id.genesis, err = c.Genesis(ctx)
		return err
	})
	return id, err
}
