package redistest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// StartReplica starts a server that follows a master, and returns when it has caught up.
func StartReplica(tb testing.TB, master *Server, args ...string) *Server {
	tb.Helper()
	host, port, _ := strings.Cut(master.Addr, ":")
	s := Start(tb, append([]string{"--replicaof", host, port, "--repl-diskless-sync-delay", "0"}, args...)...)
	client := s.Client(tb)
	await(tb, "the replica follows", func() error {
		info, err := client.Info(tb.Context(), "replication").Result()
		if err == nil && !strings.Contains(info, "master_link_status:up") {
			err = fmt.Errorf("have %q", info)
		}
		return err
	})
	return s
}

// StartSentinel starts a Sentinel that watches a master with its replicas, and promotes one of them half a second after the master has
// gone silent. It returns its address when it knows them all. The name is what it calls the master.
func StartSentinel(tb testing.TB, name string, master *Server, replicas int) (addr string) {
	tb.Helper()
	host, port, _ := strings.Cut(master.Addr, ":")
	addr = "127.0.0.1:" + strconv.Itoa(FreePort(tb))
	_, own, _ := strings.Cut(addr, ":")
	path := filepath.Join(tb.TempDir(), "sentinel.conf")
	settings := fmt.Sprintf(`port %s
bind 127.0.0.1
dir %s
sentinel monitor %[3]s %s %s 1
sentinel down-after-milliseconds %[3]s 500
sentinel failover-timeout %[3]s 10000
`, own, filepath.Dir(path), name, host, port)
	if err := os.WriteFile(path, []byte(settings), 0o600); err != nil {
		tb.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(tb.Context()), "redis-server", path, "--sentinel")
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		tb.Fatalf("redis-server --sentinel: %v (scripts/install-test-deps.sh installs it)", err)
	}
	tb.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			tb.Error(err)
		}
		_ = cmd.Wait() // it was killed
	})
	client := redis.NewSentinelClient(&redis.Options{Addr: addr})
	tb.Cleanup(func() { _ = client.Close() })
	await(tb, "the sentinel knows the master and its replicas", func() error {
		state, err := client.Master(tb.Context(), name).Result()
		if err == nil && (state["flags"] != "master" || state["num-slaves"] != strconv.Itoa(replicas)) {
			err = fmt.Errorf("have %v", state)
		}
		return err
	})
	return addr
}

// await tries until there is no error any more.
func await(tb testing.TB, what string, try func() error) {
	tb.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(20 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%s: %v", what, err)
		}
	}
}
