package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/ethereum/go-ethereum/common"
)

// Operations of two prices are bundled under the default policy. Replayed, the same policy bundles all of them again, and one
// that asks for much more the dear ones only.
func TestWhatifReplaysTheHistoryUnderAnotherPolicy(t *testing.T) {
	t.Parallel()
	chain := startChain(t, interval())
	l, accounts := newLives(t, chain, chain.HTTPURL(), 1, 6, "--node-ws", chain.WSURL(), "--max-priority-fee-per-gas=1000000000", "--min-priority-fee-per-gas=1000000000")
	p := l.start(t)
	var hashes []common.Hash
	for i, a := range accounts {
		tip := int64(2) // twice the bundle's 1 gwei
		if i%2 == 0 {
			tip = 20
		}
		hashes = append(hashes, a.send(t, a.op(t, l.w.count(t), fees(200, tip))))
	}
	l.w.checkOnceEach(t, hashes)
	if code := p.stop(t, syscall.SIGTERM); code != exitOK {
		t.Fatalf("have exit code %d after SIGTERM, want %d", code, exitOK)
	}
	var out, errs bytes.Buffer
	args := []string{"whatif", "--from-history", l.dir, "--priority-fee-mode-value", "0,900,10000"}
	if code := run(context.WithoutCancel(t.Context()), args, console{out: &out, err: &errs}); code != exitOK {
		t.Fatalf("have exit code %d: %s", code, &errs)
	}
	operations := make(map[string]string)
	for line := range strings.Lines(out.String()) {
		if name, rest, ok := strings.Cut(strings.TrimSpace(strings.ReplaceAll(line, "as it was", "as_it_was")), " "); ok {
			operations[name] = strings.Fields(rest)[2]
		}
	}
	for name, want := range map[string]int{
		"as_it_was": len(accounts), "priority_fee_increase_percent=0": len(accounts),
		"priority_fee_increase_percent=900": (len(accounts) + 1) / 2, "priority_fee_increase_percent=10000": 0,
	} {
		if operations[name] != fmt.Sprint(want) {
			t.Errorf("%s: have %q operations bundled, want %d, in\n%s", name, operations[name], want, out.String())
		}
	}
	t.Logf("\n%s", out.String())
}
