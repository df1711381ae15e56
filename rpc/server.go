package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"baler/edge"

	"github.com/ethereum/go-ethereum/rpc"
)

// ErrServing is returned by [Server.Serve] of a server that serves already, or was closed.
var ErrServing = errors.New("rpc: a server serves once")

// Server serves one backend. It owns what it starts: when Close returns, no request is at work any more, provided
// that the backend returns once its context has ended.
type Server struct {
	backend Backend
	cfg     Config
	rpc     *rpc.Server
	limits  limiter
	buffers sync.Pool // for writing to WebSockets

	stopped context.Context // ends all calls
	stop    context.CancelFunc
	closing sync.Once

	mu       sync.Mutex
	http     *http.Server // nil until Serve
	hosts    edge.Hosts
	closed   bool
	silent   map[net.Conn]struct{} // connections that have sent nothing yet
	requests sync.WaitGroup        // Add under mu, and only while not closed
}

// NewServer returns a server that is not listening yet.
func NewServer(backend Backend, cfg Config) *Server {
	cfg = cfg.withDefaults()
	s := &Server{backend: backend, cfg: cfg, rpc: rpc.NewServer(), silent: make(map[net.Conn]struct{})}
	s.stopped, s.stop = context.WithCancel(context.Background())

	s.rpc.SetBatchLimits(cfg.MaxBatchItems, cfg.MaxBatchBytes)
	s.rpc.SetHTTPBodyLimit(int(cfg.MaxBodyBytes))
	s.limits.set(cfg.Rates)

	calls := &calls{
		running: make(chan struct{}, cfg.MaxCalls),
		limit:   int64(cfg.MaxCalls + cfg.MaxWaitingCalls),
		timeout: cfg.CallTimeout,
		stopped: s.stopped,
		told:    cfg.OnCall,
		limits:  &s.limits,
		log:     cfg.Logger,
	}
	for _, api := range s.services(calls) {
		s.register(api.namespace, api.methods)
	}
	return s
}

// service is a namespace, or a part of one, and the value whose methods it has.
type service struct {
	namespace string
	methods   any
}

// services are what the configuration asks for.
func (s *Server) services(calls *calls) []service {
	list := []service{{"eth", &ethAPI{backend: s.backend, calls: calls}}}
	if debug := s.cfg.Debug; debug != nil {
		list = append(list, service{"debug", &debugAPI{backend: s.backend, debug: debug, calls: calls}})
	}
	if admin := s.cfg.Admin; admin != nil {
		list = append(list, service{"admin", &adminAPI{admin: admin, calls: calls}})
	}
	if baler := s.cfg.Baler; baler != nil {
		list = append(list,
			service{"baler", &balerAPI{backend: s.backend, baler: baler, calls: calls}},
			service{"pimlico", &pimlicoAPI{baler: baler, calls: calls}},
			service{"rundler", &rundlerAPI{baler: baler, calls: calls}})
	}
	if watcher := s.cfg.Watch; watcher != nil {
		list = append(list, service{"baler", &streamsAPI{server: s, calls: calls, watcher: watcher, byPeer: make(map[string]int)}})
	}
	return list
}

func (s *Server) register(namespace string, api any) {
	if err := s.rpc.RegisterName(namespace, api); err != nil {
		panic(fmt.Sprintf("rpc: %v", err)) // only a type without methods is refused: a mistake in this package
	}
}

// Serve answers requests from the listener until ctx ends or the server is closed; it returns nil then, when all
// requests are done. It closes the listener. A server serves once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server, err := s.open(l)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()

	err = server.Serve(edge.LimitConnections(l, s.cfg.MaxConnections, s.cfg.MaxConnectionsPerIP))
	if errors.Is(err, http.ErrServerClosed) {
		return s.Close() // waits for the Close that is under way
	}
	return errors.Join(fmt.Errorf("rpc server on %s: %w", l.Addr(), err), s.Close())
}

func (s *Server) open(l net.Listener) (*http.Server, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.http != nil {
		return nil, ErrServing
	}
	s.hosts.Names = s.cfg.VirtualHosts
	if s.cfg.VirtualHosts == nil && !edge.OnLoopback(l.Addr()) {
		s.hosts.Names = []string{"*"}
	}
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serveHTTP),
		ReadHeaderTimeout: s.cfg.ReadHeaderTimeout,
		ReadTimeout:       s.cfg.ReadTimeout,
		// A whole batch has this long; go-ethereum answers what is not done a moment earlier.
		WriteTimeout:   s.cfg.ReadTimeout + s.cfg.CallTimeout + time.Second,
		IdleTimeout:    s.cfg.IdleTimeout,
		MaxHeaderBytes: s.cfg.MaxHeaderBytes,
		ConnState:      s.track,
		ErrorLog:       slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
	}
	return s.http, nil
}

// Close stops listening, lets requests in flight finish for ShutdownTimeout, then cancels them, and returns when
// they are gone. It may be called any number of times.
func (s *Server) Close() error {
	s.closing.Do(s.shutdown)
	return nil
}

func (s *Server) shutdown() {
	s.mu.Lock()
	s.closed = true
	server := s.http
	for conn := range s.silent {
		_ = conn.Close()
	}
	s.mu.Unlock()

	patience, cancel := context.WithTimeout(context.Background(), s.cfg.ShutdownTimeout)
	defer cancel()
	defer context.AfterFunc(patience, s.stop)()

	if server != nil {
		if err := server.Shutdown(patience); err != nil {
			s.stop()
			_ = server.Close() // nothing to do about a connection that fails to close
		}
	}
	s.rpc.Stop() // closes the WebSockets, which http.Server has given away
	s.requests.Wait()
	s.stop()
}

// track keeps the connections that have sent nothing yet: clients open some in advance, and http.Server.Shutdown
// would wait seconds for each.
func (s *Server) track(conn net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(s.silent, conn)
	case s.closed:
		_ = conn.Close()
	default:
		s.silent[conn] = struct{}{}
	}
}

// enter admits one request unless the server is closing; the caller calls s.requests.Done.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.requests.Add(1)
	return true
}
