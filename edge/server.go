package edge

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Config is what the operators' listener is told. The zero value of every field is a sensible default.
type Config struct {
	Token string      // proves that a request is an operator's; empty: no token does
	TLS   *tls.Config // nil: plain HTTP. A verified client certificate proves as much as the token.
	Hosts Hosts

	MaxConnections    int           // default 256
	MaxPerIP          int           // connections of one address that is not a loopback one; default 64
	MaxHeaderBytes    int           // default 64 KiB
	MaxBodyBytes      int64         // default 1 MiB
	ReadHeaderTimeout time.Duration // default 5 s
	ReadTimeout       time.Duration // of a whole request; default 30 s
	WriteTimeout      time.Duration // of an answer; a stream moves its own deadline on; default 60 s
	IdleTimeout       time.Duration // default 120 s
	ShutdownTimeout   time.Duration // default 5 s

	Logger *slog.Logger // default: slog.Default
}

func (c Config) withDefaults() Config {
	c.MaxConnections = cmp.Or(c.MaxConnections, 256)
	c.MaxPerIP = cmp.Or(c.MaxPerIP, 64)
	c.MaxHeaderBytes = cmp.Or(c.MaxHeaderBytes, 64<<10)
	c.MaxBodyBytes = cmp.Or(c.MaxBodyBytes, 1<<20)
	c.ReadHeaderTimeout = cmp.Or(c.ReadHeaderTimeout, 5*time.Second)
	c.ReadTimeout = cmp.Or(c.ReadTimeout, 30*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 60*time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 120*time.Second)
	c.ShutdownTimeout = cmp.Or(c.ShutdownTimeout, 5*time.Second)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	return c
}

// Server is the operators' listener: metrics, probes, the page and the calls of operators, on one port of their own. Mount
// what it serves with [Server.Handle], then call [Server.Serve].
type Server struct {
	cfg       Config
	mux       *http.ServeMux
	authority *authority
	crossSite *http.CrossOriginProtection
	loopback  bool // set before the first request
}

// NewServer returns a server that is not listening yet.
func NewServer(cfg Config) *Server {
	cfg = cfg.withDefaults()
	s := &Server{
		cfg: cfg, mux: http.NewServeMux(), authority: newAuthority(cfg.Token, time.Now), crossSite: http.NewCrossOriginProtection(),
	}
	s.Handle("/session", Open, http.HandlerFunc(s.authority.serveSession))
	return s
}

// Handle mounts a handler. The pattern is one of [http.ServeMux]. A handler that streams moves its write deadline on with
// [http.ResponseController], and ends when its request's context does: that is when the server closes, too.
func (s *Server) Handle(pattern string, access Access, handler http.Handler) {
	s.mux.Handle(pattern, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if access == Open || access == Read && s.loopback {
			handler.ServeHTTP(w, r)
			return
		}
		if p := s.authority.prove(r); p != proved {
			refuse(w, p)
			return
		}
		handler.ServeHTTP(w, r)
	}))
}

func refuse(w http.ResponseWriter, p proof) {
	if p == exhausted {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many wrong tokens", http.StatusTooManyRequests)
		return
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="baler"`)
	http.Error(w, "the operators' token is missing or wrong", http.StatusUnauthorized)
}

// ServeHTTP refuses what must not get further, and passes on the rest.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	// What is mounted may replace these; a page sets its own policy.
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	if !s.cfg.Hosts.Allow(r.Host) {
		http.Error(w, "invalid host specified", http.StatusForbidden)
		return
	}
	// A browser says where a request that can change something comes from; nobody else has to.
	if err := s.crossSite.Check(r); err != nil {
		http.Error(w, "request of another origin", http.StatusForbidden)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, s.cfg.MaxBodyBytes)
	s.mux.ServeHTTP(w, r)
}

// Serve answers requests from the listener until ctx ends; it returns nil then, when all requests are done. It closes the
// listener. A server serves once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.loopback = OnLoopback(l.Addr())
	ctx, end := context.WithCancel(ctx)
	defer end()
	server := &http.Server{
		Handler:           s,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		TLSConfig:         s.cfg.TLS,
		ReadHeaderTimeout: s.cfg.ReadHeaderTimeout,
		ReadTimeout:       s.cfg.ReadTimeout,
		WriteTimeout:      s.cfg.WriteTimeout,
		IdleTimeout:       s.cfg.IdleTimeout,
		MaxHeaderBytes:    s.cfg.MaxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
	}
	closed := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(closed)
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.ShutdownTimeout)
		defer cancel()
		if server.Shutdown(patience) != nil {
			_ = server.Close() // nothing to do about a connection that fails to close
		}
	})
	limited, serve := LimitConnections(l, s.cfg.MaxConnections, s.cfg.MaxPerIP), server.Serve
	if s.cfg.TLS != nil {
		serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}
	err := serve(limited)
	end()
	<-closed
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("operators' server on %s: %w", l.Addr(), err)
}

// Probe reports on something, and whether it is well.
type Probe func(ctx context.Context) (report any, ok bool)

// ServeHTTP answers GET and HEAD with the report as JSON, and status 200 or 503.
func (p Probe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	report, ok := p(r.Context())
	status := http.StatusOK
	if !ok {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, status, report)
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"status":"unknown"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that does not listen any more is no failure
}
