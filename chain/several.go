package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
)

// EndpointOptions are about several endpoints of one chain. Zero values mean the defaults.
type EndpointOptions struct {
	Timeout           time.Duration // of one request; default 10 s
	PollInterval      time.Duration // between looks at each endpoint's newest block; default 500 ms
	RequestsPerSecond float64       // to each endpoint, a batch counting as its requests; default: no limit
	Concurrent        int           // requests to each endpoint at once; default 64
	// Patience is how long a new head is kept back for endpoints that do not have it yet; default 1 s. Then they count as behind.
	Patience time.Duration
	Log      *slog.Logger
}

func (o EndpointOptions) withDefaults() EndpointOptions {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.PollInterval <= 0 {
		o.PollInterval = 500 * time.Millisecond
	}
	if o.Concurrent <= 0 {
		o.Concurrent = 64
	}
	if o.Patience <= 0 {
		o.Patience = time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

const (
	// comparedBlocks is how many blocks below an endpoint's head are known, so that it can be compared with slower ones.
	comparedBlocks = 4
	// hintTries is how often an endpoint is asked for a block that others have announced, and hintPause the time between.
	hintTries = 20
	hintPause = 100 * time.Millisecond
)

// ErrOtherChain says that endpoints are of different chains.
var ErrOtherChain = errors.New("the endpoints are of different chains")

// several is the endpoints of one chain. Each is asked for its newest block all the time, on a goroutine of its own. The *agreed
// head* is the newest block that every endpoint has which is up to date, and that most of them have at that height: it is what
// the chain's head is taken for, so that what is pinned to it can be asked of any of them.
type several struct {
	endpoints []*endpoint
	options   EndpointOptions
	running   context.Context // until Close: what is done beside the calls
	stop      context.CancelFunc
	group     sync.WaitGroup

	mu      sync.Mutex
	id      *identity
	agreed  *types.Header
	rising  uint64        // height that some endpoints have and others not yet
	risen   time.Time     // when it was first seen
	changed chan struct{} // closed at the next agreed head
	pushing int           // WebSockets that push heads
}

// DialSeveral connects to several HTTP endpoints of one chain, and to WebSocket endpoints that announce its heads; there may
// be none of these. The client's requests go to an endpoint that has the agreed head and is likely to answer first, and to another
// if it does not answer; transactions are submitted to one only. Close ends its goroutines.
//
// It returns when every endpoint has answered or failed. An error: none has answered, or two are of different chains.
func DialSeveral(ctx context.Context, httpURLs, wsURLs []string, options EndpointOptions) (*Client, error) {
	s := &several{options: options.withDefaults(), changed: make(chan struct{})}
	named := make(map[string]int)
	for _, url := range httpURLs {
		client, err := Dial(ctx, url, s.options.Timeout)
		if err != nil {
			return nil, err
		}
		name := client.Origin()
		if named[name]++; named[name] > 1 {
			name = fmt.Sprintf("%s#%d", name, named[name])
		}
		s.endpoints = append(s.endpoints, newEndpoint(client, name, s.options))
	}
	s.running, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := s.begin(ctx); err != nil {
		s.close()
		return nil, err
	}
	for _, e := range s.endpoints {
		s.group.Go(func() { s.watch(s.running, e) })
	}
	for _, url := range wsURLs {
		s.group.Go(func() { s.listen(s.running, url) })
	}
	return &Client{several: s, origin: s.endpoints[0].name, timeout: s.options.Timeout, idle: func() {}}, nil
}

func (s *several) close() {
	s.stop()
	s.group.Wait()
	for _, e := range s.endpoints {
		e.client.Close()
	}
}

// begin asks every endpoint who it is and what its head is.
func (s *several) begin(ctx context.Context) error {
	ids, errs := make([]identity, len(s.endpoints)), make([]error, len(s.endpoints))
	var group sync.WaitGroup
	for i, e := range s.endpoints {
		group.Go(func() {
			if ids[i], errs[i] = e.identity(ctx); errs[i] == nil {
				errs[i] = e.look(ctx)
			}
		})
	}
	group.Wait()
	for i, e := range s.endpoints {
		if errs[i] != nil {
			continue
		}
		if s.id == nil {
			s.id = &ids[i]
		}
		if *s.id != ids[i] {
			return fmt.Errorf("%w: %s is of chain %d with first block %s, others of chain %d with first block %s",
				ErrOtherChain, e.name, ids[i].chainID, ids[i].genesis, s.id.chainID, s.id.genesis)
		}
		e.known = true
	}
	if s.id == nil {
		return fmt.Errorf("no endpoint answers: %w", errors.Join(errs...))
	}
	s.compare(time.Now())
	return nil
}

// watch asks an endpoint for its head until the context ends.
func (s *several) watch(ctx context.Context, e *endpoint) {
	timer := time.NewTimer(s.pause())
	defer timer.Stop()
	for {
		announced := uint64(0)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case announced = <-e.wake:
		}
		s.look(ctx, e)
		for try := 1; try < hintTries && announced > 0 && !e.has(announced) && sleep(ctx, hintPause) == nil; try++ {
			s.look(ctx, e)
		}
		timer.Reset(s.pause())
	}
}

func (e *endpoint) has(number uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.head != nil && e.head.Number.Uint64() >= number
}

// pause is the time between two looks: longer while heads are announced.
func (s *several) pause() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pushing > 0 {
		return 4 * s.options.PollInterval
	}
	return s.options.PollInterval
}

// look asks an endpoint for its head, and compares. One look at a time: an older answer would take its head back.
func (s *several) look(ctx context.Context, e *endpoint) {
	select {
	case e.looking <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-e.looking }()
	limited, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	if err := s.identify(limited, e); err == nil {
		_ = e.look(limited) // its state says so
	}
	if ctx.Err() == nil {
		s.compare(time.Now())
	}
}

// identify asks an endpoint that was not there at the start which chain it is of.
func (s *several) identify(ctx context.Context, e *endpoint) error {
	e.mu.Lock()
	known, alien := e.known, e.alien
	e.mu.Unlock()
	if known && !alien {
		return nil
	}
	id, err := e.identity(ctx)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.known, e.alien = true, id != *s.id
	if e.alien {
		if !alien {
			s.options.Log.Error("an endpoint is of another chain; it is not used", "endpoint", e.name, "chain", id.chainID, "genesis", id.genesis)
		}
		return ErrOtherChain
	}
	return nil
}

// silence is how long an endpoint may say nothing of its head and still be counted on.
func (s *several) silence() time.Duration { return 8*s.options.PollInterval + s.options.Timeout }

// next returns a channel that is closed when the agreed head changes.
func (s *several) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// hint has every endpoint asked for a block that is said to be there.
func (s *several) hint(number uint64) {
	for _, e := range s.endpoints {
		select {
		case e.wake <- number:
		default: // it is being asked
		}
	}
}

// listen hears of heads over a WebSocket until the context ends.
func (s *several) listen(ctx context.Context, url string) {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 100*time.Millisecond, 10*time.Second
	for ctx.Err() == nil {
		err := s.hear(ctx, url, wait.Reset)
		if ctx.Err() != nil {
			return
		}
		pause := wait.NextBackOff()
		s.options.Log.Warn("heads are not announced; they are polled", "err", err, "again_in", pause.Round(time.Millisecond))
		_ = sleep(ctx, pause)
	}
}

func (s *several) hear(ctx context.Context, url string, alive func()) error {
	client, err := Dial(ctx, url, s.options.Timeout)
	if err != nil {
		return err
	}
	defer client.Close()
	heads := make(chan *types.Header, 16)
	subscription, err := client.eth.SubscribeNewHead(ctx, heads)
	if err != nil {
		return client.clean("eth_subscribe newHeads", err)
	}
	defer subscription.Unsubscribe()
	s.push(1)
	defer s.push(-1)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-subscription.Err():
			if err == nil {
				err = errors.New("closed")
			}
			return client.clean("newHeads subscription", err)
		case head := <-heads:
			alive()
			s.hint(head.Number.Uint64())
		}
	}
}

func (s *several) push(by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pushing += by
}

func (s *several) states() []EndpointState {
	now := time.Now()
	states := make([]EndpointState, len(s.endpoints))
	for i, e := range s.endpoints {
		states[i] = e.state(now, s.silence())
	}
	return states
}

func numberOf(n uint64) *big.Int { return new(big.Int).SetUint64(n) }

func numberArgument(n uint64) hexutil.Uint64 { return hexutil.Uint64(n) }
