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
	"sync"
	"sync/atomic"
	"time"

	"baler/edge"
	"baler/event"
	"baler/node"
	pb "baler/remote/remotev1"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"
)

// ServerConfig is what a server is told. The zero value of every field but Security is a sensible default.
type ServerConfig struct {
	Security
	MaxCalls       int // at work at once, for builders and for the JSON-RPC edge each; default 256
	MaxStreams     int // open at once; default 256
	MaxConnections int // default 256
	MaxBytes       int // of a message; default 16 MiB

	RequestTime      time.Duration // that the message of a call may take to come; default 10 s
	CallTime         time.Duration // of one call, whatever its caller grants; default 30 s
	SendTime         time.Duration // of SendBundleNow, which waits for a block on some chains; default 2 min
	Pulse            time.Duration // between signs of life; default 1 s
	KeepAlive        time.Duration // without a frame until the other side is asked for one; default 2 s
	KeepAliveTimeout time.Duration // until a connection without an answer is closed; default 3 s
	ShutdownTime     time.Duration // that calls have to end; default 5 s

	Logger *slog.Logger // default: slog.Default
}

func (c ServerConfig) withDefaults() ServerConfig {
	c.MaxCalls = cmp.Or(c.MaxCalls, 256)
	c.MaxStreams = cmp.Or(c.MaxStreams, 256)
	c.MaxConnections = cmp.Or(c.MaxConnections, 256)
	c.MaxBytes = cmp.Or(c.MaxBytes, 16<<20)
	c.RequestTime = cmp.Or(c.RequestTime, 10*time.Second)
	c.CallTime = cmp.Or(c.CallTime, 30*time.Second)
	c.SendTime = cmp.Or(c.SendTime, 2*time.Minute)
	c.Pulse = cmp.Or(c.Pulse, time.Second)
	c.KeepAlive = cmp.Or(c.KeepAlive, 2*time.Second)
	c.KeepAliveTimeout = cmp.Or(c.KeepAliveTimeout, 3*time.Second)
	c.ShutdownTime = cmp.Or(c.ShutdownTime, 5*time.Second)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	return c
}

// term is a time in which this process serves the pool.
type term struct {
	builders node.BuilderPool
	edge     node.EdgePool
	over     context.Context // ends with the term
	end      context.CancelFunc
}

// Server answers builders and JSON-RPC edges in the name of a pool, while this process has it. It serves once.
type Server struct {
	cfg    ServerConfig
	tls    *tls.Config
	keeper gatekeeper
	id     uint64 // another one for each start

	term    atomic.Pointer[term] // nil: another process serves the pool, or none does
	handler http.Handler

	mu     sync.Mutex
	closed bool
	under  sync.WaitGroup // calls

	sent *editions
	told *inbox

	observed observed
	head     atomic.Pointer[event.HeadSeen]
}

// NewServer returns a server that serves no pool yet. It reads the files of the security settings.
func NewServer(cfg ServerConfig) (*Server, error) {
	cfg = cfg.withDefaults()
	secured, err := cfg.server()
	if err != nil {
		return nil, fmt.Errorf("server for other processes: %w", err)
	}
	s := &Server{cfg: cfg, tls: secured, keeper: newGatekeeper(cfg.Security), id: rand.Uint64(), sent: newEditions(), told: newInbox()}
	s.handler = s.routes()
	return s, nil
}

// Lead says that this process serves the pool from now on. What is behind the ports may be called at once, by many.
func (s *Server) Lead(builders node.BuilderPool, edge node.EdgePool) {
	over, end := context.WithCancel(context.Background())
	if before := s.term.Swap(&term{builders: builders, edge: edge, over: over, end: end}); before != nil {
		before.end()
	}
}

// Rest says that this process does not serve the pool any more. Streams end; calls under way go on, and whoever stands
// behind the ports ends them.
func (s *Server) Rest() {
	if before := s.term.Swap(nil); before != nil {
		before.end()
	}
}

// Hear takes the pool's events: from them the other processes are told its head.
func (s *Server) Hear(e event.Event) {
	if head, is := e.(event.HeadSeen); is {
		s.head.Store(&head)
	}
}

// Observe has calls told to a sink from now on.
func (s *Server) Observe(sink event.Sink) { s.observed.by(sink) }

// routes is everything that is served.
func (s *Server) routes() http.Handler {
	options := connect.WithHandlerOptions(
		connect.WithReadMaxBytes(s.cfg.MaxBytes), connect.WithRecover(s.recovered), connect.WithInterceptors(observer{s.observed.tell}),
	)
	mux := http.NewServeMux()
	edges, builders := make(chan struct{}, s.cfg.MaxCalls), make(chan struct{}, s.cfg.MaxCalls)
	streams := make(chan struct{}, s.cfg.MaxStreams)
	mount := func(calls chan struct{}, path string, handler http.Handler) {
		mux.Handle(path, s.admitted(calls, streams, handler))
	}
	path, handler := pb.NewBuilderServiceHandler(&builderHandler{s}, options)
	mount(builders, path, handler)
	path, handler = pb.NewLinkServiceHandler(&linkHandler{s}, options)
	mount(builders, path, handler)
	path, handler = pb.NewEdgeServiceHandler(&edgeHandler{s}, options)
	mount(edges, path, handler)

	names := []string{pb.BuilderServiceName, pb.LinkServiceName, pb.EdgeServiceName, grpchealth.HealthV1ServiceName}
	reflector := grpcreflect.NewStaticReflector(names...)
	for _, reflect := range []func(*grpcreflect.Reflector, ...connect.HandlerOption) (string, http.Handler){
		grpcreflect.NewHandlerV1, grpcreflect.NewHandlerV1Alpha,
	} {
		path, handler = reflect(reflector, connect.WithReadMaxBytes(64<<10))
		mux.Handle(path, s.identified(s.bounded(streams, s.cfg.CallTime, handler)))
	}
	// Health says nothing that a prober may not know, and probers bring neither token nor certificate.
	path, handler = grpchealth.NewHandler(&health{s, names}, connect.WithReadMaxBytes(4<<10))
	mux.Handle(path, s.bounded(builders, s.cfg.CallTime, handler))
	return mux
}

// enter says that a call begins; false: the server is closed. leave says that it has ended.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.under.Add(1)
	}
	return !s.closed
}

func (s *Server) leave() { s.under.Done() }

// health answers the health service: serving while this process has the pool.
type health struct {
	server *Server
	names  []string
}

// Check implements [grpchealth.Checker].
func (h *health) Check(_ context.Context, r *grpchealth.CheckRequest) (*grpchealth.CheckResponse, error) {
	known := r.Service == ""
	for _, name := range h.names {
		known = known || r.Service == name
	}
	if !known {
		return nil, connect.NewError(connect.CodeNotFound, errors.New("unknown service"))
	}
	status := grpchealth.StatusNotServing
	if h.server.term.Load() != nil {
		status = grpchealth.StatusServing
	}
	return &grpchealth.CheckResponse{Status: status}, nil
}

// Serve answers calls from the listener until ctx ends; it returns nil then, when all calls are done. It closes the
// listener. It refuses one that other machines reach if anybody may call.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if s.keeper.open() && !edge.OnLoopback(l.Addr()) {
		_ = l.Close()
		return fmt.Errorf("server for other processes: %s can be reached from other machines, want a token or an authority for client certificates", l.Addr())
	}
	base, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer s.Rest()
	protocols := new(http.Protocols)
	protocols.SetHTTP2(s.tls != nil)
	protocols.SetUnencryptedHTTP2(s.tls == nil)
	server := &http.Server{
		Handler: s.handler, BaseContext: func(net.Listener) context.Context { return base }, TLSConfig: s.tls, Protocols: protocols,
		ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: s.cfg.MaxCalls + s.cfg.MaxStreams, SendPingTimeout: s.cfg.KeepAlive, PingTimeout: s.cfg.KeepAliveTimeout,
			WriteByteTimeout: s.cfg.KeepAlive + s.cfg.KeepAliveTimeout,
		},
		ErrorLog: slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
	}
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		s.Rest() // the streams end, and with them what keeps connections open
		patience, cancel := context.WithTimeout(base, s.cfg.ShutdownTime)
		defer cancel()
		if server.Shutdown(patience) != nil {
			_ = server.Close() // nothing to do about a connection that fails to close
		}
	})
	limited, serve := edge.LimitConnections(l, s.cfg.MaxConnections, 0), server.Serve
	if s.tls != nil {
		serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}
	err := serve(limited)
	if stop() { // it failed by itself
		_ = server.Close()
	} else {
		<-closed
	}
	cut()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.under.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("server for other processes on %s: %w", l.Addr(), err)
}
