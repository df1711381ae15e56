package remote

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"baler/event"
	pb "baler/remote/remotev1"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"github.com/cenkalti/backoff/v5"
	"github.com/ethereum/go-ethereum/common"
	"golang.org/x/sync/errgroup"
)

// ClientConfig is what a client is told. The zero value of every field but URLs and Security is a sensible default.
type ClientConfig struct {
	Security
	URLs []string // of the processes that may serve the pool, the likeliest first: http://host:port or https://host:port

	BuilderTime time.Duration // of a builder's call, if its context has no earlier end; default 2 s
	EdgeTime    time.Duration // of a call of the JSON-RPC edge, likewise; default 10 s
	SendTime    time.Duration // of SendBundleNow, likewise; default 2 min
	DialTime    time.Duration // of a connection; default 1 s
	MaxBytes    int           // of a message; default 16 MiB

	// Stale is how long nothing may come from the pool, not even a pulse, until the way to it counts as broken; default 5 s.
	Stale time.Duration
	// Suspect is how long nothing may come until the other processes are asked whether one of them serves the pool by now; default
	// half of Stale.
	Suspect          time.Duration
	KeepAlive        time.Duration // without a frame until the other side is asked for one; default 2 s
	KeepAliveTimeout time.Duration // until a connection without an answer is closed; default 3 s
	FlushTime        time.Duration // that events which nobody has yet have to be told when the client ends; default 2 s
	MaxUntold        int           // events that wait; default 65,536

	Logger *slog.Logger // default: slog.Default
}

func (c ClientConfig) withDefaults() ClientConfig {
	c.BuilderTime = cmp.Or(c.BuilderTime, 2*time.Second)
	c.EdgeTime = cmp.Or(c.EdgeTime, 10*time.Second)
	c.SendTime = cmp.Or(c.SendTime, 2*time.Minute)
	c.DialTime = cmp.Or(c.DialTime, time.Second)
	c.MaxBytes = cmp.Or(c.MaxBytes, 16<<20)
	c.Stale = cmp.Or(c.Stale, 5*time.Second)
	c.Suspect = cmp.Or(c.Suspect, c.Stale/2)
	c.KeepAlive = cmp.Or(c.KeepAlive, 2*time.Second)
	c.KeepAliveTimeout = cmp.Or(c.KeepAliveTimeout, 3*time.Second)
	c.FlushTime = cmp.Or(c.FlushTime, 2*time.Second)
	c.MaxUntold = cmp.Or(c.MaxUntold, 65_536)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	return c
}

// endpoint is a process that may serve the pool.
type endpoint struct {
	url       string
	transport *http.Transport
	builder   pb.BuilderServiceClient
	edge      pb.EdgeServiceClient
	link      pb.LinkServiceClient
	health    *grpchealth.Client
}

// Client asks whichever process serves the pool. It is safe for concurrent use. [Client.Run] must run for as long as it is used.
type Client struct {
	cfg       ClientConfig
	id        uint64 // another one for each start
	endpoints []*endpoint
	at        atomic.Int32 // the endpoint that leads, as far as is known
	turn      atomic.Pointer[turn]
	heard     atomic.Pointer[sign]
	cached    *cached
	outbox    *outbox
	observed  observed
}

// sign is the last sign of life of the pool.
type sign struct {
	at     time.Time
	server uint64
	number uint64
	hash   common.Hash
}

// NewClient returns a client. It connects when it is used, and reads the files of the security settings now.
func NewClient(cfg ClientConfig) (*Client, error) {
	cfg = cfg.withDefaults()
	if len(cfg.URLs) == 0 {
		return nil, errors.New("way to the pool: have no URL, want at least one")
	}
	secured, err := cfg.client()
	if err != nil {
		return nil, fmt.Errorf("way to the pool: %w", err)
	}
	c := &Client{cfg: cfg, id: rand.Uint64() | 1, cached: newCached()}
	c.outbox = newOutbox(c, cfg.MaxUntold)
	c.turn.Store(newTurn())
	for _, text := range cfg.URLs {
		e, err := newEndpoint(&cfg, text, secured)
		if err != nil {
			return nil, fmt.Errorf("way to the pool: %w", err)
		}
		c.endpoints = append(c.endpoints, e)
	}
	return c, nil
}

func newEndpoint(cfg *ClientConfig, text string, secured *tls.Config) (*endpoint, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, errors.New("URL: want http://host:port or https://host:port") // it may hold a secret: it is not repeated
	}
	protocols := new(http.Protocols)
	switch u.Scheme {
	case "http":
		protocols.SetUnencryptedHTTP2(true)
	case "https":
		protocols.SetHTTP2(true)
	default:
		return nil, fmt.Errorf("URL: have scheme %q, want http or https", u.Scheme)
	}
	e := &endpoint{url: u.Scheme + "://" + u.Host, transport: &http.Transport{
		Protocols: protocols, TLSClientConfig: secured.Clone(), DialContext: (&net.Dialer{Timeout: cfg.DialTime}).DialContext,
		TLSHandshakeTimeout: cfg.DialTime, DisableCompression: true, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 1 << 20,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: cfg.KeepAlive, PingTimeout: cfg.KeepAliveTimeout, WriteByteTimeout: cfg.KeepAlive + cfg.KeepAliveTimeout,
		},
	}}
	var way http.RoundTripper = e.transport
	if cfg.Token != "" {
		way = bearer{cfg.Token, way}
	}
	options := connect.WithClientOptions(connect.WithGRPC(), connect.WithReadMaxBytes(cfg.MaxBytes), connect.WithAcceptCompression("gzip", nil, nil))
	asking := &http.Client{Transport: way, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	e.builder = pb.NewBuilderServiceClient(asking, e.url, options)
	e.edge = pb.NewEdgeServiceClient(asking, e.url, options)
	e.health = grpchealth.NewClient(asking, e.url, options)
	e.link = pb.NewLinkServiceClient(asking, e.url, options)
	return e, nil
}

// bearer adds the token to requests.
type bearer struct {
	token string
	next  http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}

// Run keeps the way to the pool until ctx ends, and returns nil then: it follows whoever serves the pool, and hands on what
// was told. What is left to tell then is told before it returns, as far as that goes within FlushTime.
func (c *Client) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { c.follow(ctx); return nil })
	group.Go(func() error { c.outbox.run(ctx); return nil })
	err := group.Wait()
	for _, e := range c.endpoints {
		e.transport.CloseIdleConnections()
	}
	return err
}

// Observe has calls told to a sink from now on.
func (c *Client) Observe(sink event.Sink) { c.observed.by(sink) }

// Health says what is wrong with the way to the pool; nil: nothing, the pool's process was heard lately.
func (c *Client) Health() error {
	heard := c.heard.Load()
	if heard == nil {
		return &Error{Method: "Pulse", Cause: Unreachable, err: errors.New("not heard of the pool yet")}
	}
	if silent := time.Since(heard.at); silent > c.cfg.Stale {
		return &Error{Method: "Pulse", Cause: Unreachable, err: fmt.Errorf("not heard of the pool for %s", silent.Round(time.Second/10))}
	}
	return nil
}

// Head returns the pool's head as it was told last; zero: it was not.
func (c *Client) Head() (number uint64, hash common.Hash) {
	if heard := c.heard.Load(); heard != nil {
		return heard.number, heard.hash
	}
	return 0, common.Hash{}
}

// leading returns the endpoint that leads as far as is known, and its place.
func (c *Client) leading() (*endpoint, int32) {
	at := c.at.Load()
	return c.endpoints[at], at
}

// moveOn goes on to the next endpoint, if nobody has meanwhile.
func (c *Client) moveOn(from int32) {
	c.at.CompareAndSwap(from, (from+1)%int32(len(c.endpoints))) //nolint:gosec // a few
}

// waits are the pauses between attempts: none before each endpoint was tried, then longer and longer ones.
type waits struct {
	around  int
	tried   int
	backoff *backoff.ExponentialBackOff
}

func (c *Client) waits() *waits {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = 25*time.Millisecond, 500*time.Millisecond
	return &waits{around: len(c.endpoints), backoff: b}
}

// pause waits before the next attempt; false: ctx has ended.
func (w *waits) pause(ctx context.Context, atOnce bool) bool {
	w.tried++
	if atOnce && w.tried%w.around != 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(w.backoff.NextBackOff())
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// follow listens to the pulse of whoever serves the pool, and goes on to the next when that ends.
func (c *Client) follow(ctx context.Context) {
	waits := c.waits()
	lost := false
	for ctx.Err() == nil {
		e, at := c.leading()
		err := c.listen(ctx, at, func(first bool) {
			if first {
				waits = c.waits()
				c.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "the pool is there", slog.String("url", e.url))
			}
			lost = false
		})
		if ctx.Err() != nil {
			return
		}
		if !lost {
			lost = true
			c.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "the way to the pool broke", slog.String("url", e.url), slog.Any("err", err))
		}
		c.moveOn(at)
		if !waits.pause(ctx, true) {
			return
		}
	}
}

var errSilent = errors.New("nothing was heard for too long")

// listen follows one endpoint until the stream ends, is silent for too long, or is silent and another endpoint serves the pool. It
// returns why.
func (c *Client) listen(ctx context.Context, at int32, alive func(first bool)) error {
	e := c.endpoints[at]
	ctx, cut := context.WithCancelCause(ctx)
	var seeking sync.WaitGroup
	defer seeking.Wait()
	defer cut(nil)
	var last atomic.Int64 // when something came, since begun
	begun := time.Now()
	if len(c.endpoints) > 1 {
		seeking.Go(func() {
			if c.seek(ctx, at, func() time.Duration { return time.Since(begun) - time.Duration(last.Load()) }) {
				cut(errSilent)
			}
		})
	}
	watchdog := time.AfterFunc(c.cfg.Stale, func() { cut(errSilent) })
	defer watchdog.Stop()
	stream, err := e.link.Pulse(ctx, &pb.PulseRequest{Client: c.id})
	if err != nil {
		return c.broken(ctx, "Pulse", err)
	}
	defer stream.Close() //nolint:errcheck // it has ended
	first := true
	for stream.Receive() {
		watchdog.Reset(c.cfg.Stale)
		last.Store(int64(time.Since(begun)))
		m := stream.Msg()
		s := &sign{at: time.Now(), server: m.GetServer(), number: m.GetHeadNumber()}
		var d decoder
		if hash := d.optionalHash("head", m.GetHeadHash()); hash != nil {
			s.hash = *hash
		}
		if d.err != nil {
			return &Error{Method: "Pulse", Cause: NotUnderstood, err: d.err}
		}
		c.heard.Store(s)
		alive(first)
		first = false
	}
	return c.broken(ctx, "Pulse", stream.Err())
}

// broken says why a stream has ended.
func (c *Client) broken(ctx context.Context, method string, err error) error {
	if cause := context.Cause(ctx); cause != nil && ctx.Err() != nil {
		if errors.Is(cause, errSilent) {
			return &Error{Method: method, Cause: TimedOut, Sent: true, err: errSilent}
		}
		return &Error{Method: method, Cause: Canceled, Sent: true, err: ctx.Err(), ended: ctx.Err()}
	}
	if err == nil {
		return &Error{Method: method, Cause: Lost, Sent: true, err: errors.New("the stream has ended")}
	}
	return classify(method, err)
}
