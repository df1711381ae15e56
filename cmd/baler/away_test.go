package main

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// A node that is away when a process begins is no wrong setting: every kind of process waits for it, says so to its probes, ends cleanly
// if it is told to, and begins when the node is there.
func TestANodeThatIsAwayAtTheStartIsWaitedFor(t *testing.T) {
	t.Parallel()
	chain := startChain(t, interval())
	_, keys := secrets(chain, 1)
	file := privateFile(t, keys[0])
	for name, args := range map[string][]string{
		"node":    {"--signer-private-key-file", file, "--rpc-addr=127.0.0.1:0", "--store=memory"},
		"pool":    {"--listen=127.0.0.1:0", "--store=memory"},
		"rpc":     {"--pool=http://127.0.0.1:1", "--rpc-addr=127.0.0.1:0"},
		"builder": {"--pool=http://127.0.0.1:1", "--signer-private-key-file", file},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			away := startFaultyNode(t, chain)
			away.fail(func(int, []nodeCall) treatment {
				return treatment{status: http.StatusServiceUnavailable, body: "starting"}
			})
			args = append([]string{name, "--node-http", away.url, "--admin-addr=127.0.0.1:0", "--log-format=json"}, args...)
			p := startProgram(t, nil, args...)
			checkWaitsForItsNode(t, p, "HTTP status 503")
			away.fail(nil)
			p.logged(t, "baler is running")
			if code := p.stop(t, syscall.SIGTERM); code != exitOK {
				t.Errorf("have exit code %d, want %d", code, exitOK)
			}
		})
	}
	for name, nodes := range map[string][]string{
		"nobody listens":         {"--node-http=http://127.0.0.1:1"},
		"nobody at any of two":   {"--node-http=http://127.0.0.1:1,http://127.0.0.1:2"},
		"no WebSocket, but HTTP": {"--node-http=" + chain.HTTPURL(), "--node-ws=ws://127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProgram(t, nil, append([]string{"node", "--signer-private-key-file", file, "--rpc-addr=127.0.0.1:0", "--log-format=json"}, nodes...)...)
			checkWaitsForItsNode(t, p, "connection refused")
			if code := p.stop(t, syscall.SIGTERM); code != exitOK {
				t.Errorf("have exit code %d, want %d", code, exitOK)
			}
		})
	}
}

// checkWaitsForItsNode waits until the process does, and asks its probes.
func checkWaitsForItsNode(t *testing.T, p *program, why string) {
	t.Helper()
	line := p.logged(t, "this process waits for its node")
	if text, _ := line["why"].(string); !strings.Contains(text, why) {
		t.Errorf("have %q, want %q in it", text, why)
	}
	probes, _ := line["probes"].(string)
	for path, want := range map[string]int{"/livez": http.StatusOK, "/readyz": http.StatusServiceUnavailable, "/health": http.StatusServiceUnavailable} {
		status, text := asked(t, http.MethodGet, probes+path, "", "")
		if status != want || (status != http.StatusOK) != strings.Contains(text, "waits for the node: --node_") {
			t.Errorf("%s: have status %d, %s, want %d", path, status, text, want)
		}
	}
}
