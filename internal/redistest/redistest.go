// Package redistest starts a real redis-server for a test.
//
// In: a test. Out: a server of its own on a free port of the loopback interface, which writes every change to its disk before it
// answers, and which the test can stop, kill, hold up and start again. It ends with the test. A machine without redis-server fails
// the test (scripts/install-test-deps.sh installs it). It never talks to a server that it did not start.
package redistest

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is a redis-server.
type Server struct {
	Addr string

	dir  string
	args []string
	cmd  *exec.Cmd
}

// Start starts a server. More arguments are redis-server's own, such as "--maxmemory", "100mb".
func Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	s := &Server{Addr: "127.0.0.1:" + strconv.Itoa(FreePort(tb)), dir: tb.TempDir(), args: args}
	s.Run(tb)
	tb.Cleanup(func() {
		if s.cmd != nil {
			s.Kill(tb)
		}
	})
	return s
}

// FreePort returns a port of the loopback address that nobody listens on just now.
func FreePort(tb testing.TB) int {
	tb.Helper()
	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer listener.Close()
	address, err := net.ResolveTCPAddr("tcp", listener.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	return address.Port
}

// Run starts the server again, with what it had on its disk, and returns when it answers.
func (s *Server) Run(tb testing.TB) {
	tb.Helper()
	_, port, _ := strings.Cut(s.Addr, ":")
	s.run(tb, append([]string{"--port", port, "--appendonly", "yes"}, s.args...))
}

func (s *Server) run(tb testing.TB, args []string) {
	tb.Helper()
	args = append([]string{"--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--appendfsync", "always"}, args...)
	s.cmd = exec.CommandContext(context.WithoutCancel(tb.Context()), "redis-server", args...)
	var said strings.Builder
	s.cmd.Stdout, s.cmd.Stderr = &said, &said
	if err := s.cmd.Start(); err != nil {
		tb.Fatalf("redis-server: %v (scripts/install-test-deps.sh installs it)", err)
	}
	client := s.Client(tb)
	for deadline := time.Now().Add(30 * time.Second); ; {
		err := client.Ping(tb.Context()).Err()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.Kill(tb)
			tb.Fatalf("redis-server does not answer: %v\n%s", err, said.String())
		}
		<-time.After(10 * time.Millisecond)
	}
}

// Forget drops what a server that does not run has on its disk.
func (s *Server) Forget(tb testing.TB) {
	tb.Helper()
	if err := os.RemoveAll(filepath.Join(s.dir, "appendonlydir")); err != nil {
		tb.Fatal(err)
	}
}

// Copy returns a copy (an RDB) of what the running server has.
func (s *Server) Copy(tb testing.TB) []byte {
	tb.Helper()
	if err := s.Client(tb).Save(tb.Context()).Err(); err != nil {
		tb.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(s.dir, copyName))
	if err != nil {
		tb.Fatal(err)
	}
	return file
}

// Restore starts a server that does not run with a copy instead of what it has on its disk. It follows docs/operations.md: a server that
// is to write a log of changes does not read an RDB, so it begins without one, and is told to write it then.
func (s *Server) Restore(tb testing.TB, file []byte) {
	tb.Helper()
	s.Forget(tb)
	if err := os.WriteFile(filepath.Join(s.dir, copyName), file, 0o600); err != nil {
		tb.Fatal(err)
	}
	_, port, _ := strings.Cut(s.Addr, ":")
	s.run(tb, append([]string{"--port", port, "--appendonly", "no"}, s.args...))
	client := s.Client(tb)
	if err := client.ConfigSet(tb.Context(), "appendonly", "yes").Err(); err != nil {
		tb.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; <-time.After(10 * time.Millisecond) {
		info, err := client.Info(tb.Context(), "persistence").Result()
		if err == nil && strings.Contains(info, "aof_rewrite_in_progress:0") && strings.Contains(info, "aof_rewrite_scheduled:0") {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("redis-server does not write its log of changes: %v\n%s", err, info)
		}
	}
}

// copyName is what redis-server calls an RDB.
const copyName = "dump.rdb"

// Client is a client for the test's own looks at what is there.
func (s *Server) Client(tb testing.TB) *redis.Client {
	tb.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.Addr})
	tb.Cleanup(func() {
		if err := client.Close(); err != nil {
			tb.Error(err)
		}
	})
	return client
}

// Kill ends the server at once, and waits for its end.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		tb.Error(err)
	}
	_ = s.cmd.Wait() // it was killed
	s.cmd = nil
}

// Pause holds the server up: it keeps its connections and answers nothing.
func (s *Server) Pause(tb testing.TB) { tb.Helper(); s.signal(tb, syscall.SIGSTOP) }

// Resume lets it go on.
func (s *Server) Resume(tb testing.TB) { tb.Helper(); s.signal(tb, syscall.SIGCONT) }

func (s *Server) signal(tb testing.TB, sig syscall.Signal) {
	tb.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		tb.Fatal(err)
	}
}
