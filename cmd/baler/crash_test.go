package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"baler/devchain"
	"baler/userop"

	"github.com/ethereum/go-ethereum/core/types"
)

// dieAt makes the program die: "bundle relayed:2" is at the second time it passes the boundary "bundle relayed".
const dieAt = "DIE_AT"

// runAsProgram is main, with a death foreseen.
func runAsProgram() {
	boundary, times, mortal := strings.Cut(os.Getenv(dieAt), ":")
	if !mortal {
		main()
	}
	left, err := strconv.ParseInt(times, 10, 64)
	if err != nil {
		panic(err)
	}
	var passed atomic.Int64
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], console{out: os.Stdout, err: os.Stderr, boundary: func(name string) {
		if name == boundary && passed.Add(1) == left {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // nothing happens after it
		}
	}}))
}

// lives is one bundler with one data directory through all its deaths.
type lives struct {
	w       *world
	node    string // URL
	dir     string
	senders int
	flags   []string
	traffic *traffic
}

// newLives makes accounts with a first life of the bundler, which ends in peace.
func newLives(t *testing.T, chain *devchain.Chain, node string, senders, accounts int, flags ...string) (*lives, []*account) {
	t.Helper()
	l := &lives{w: chainOnly(chain), node: node, dir: t.TempDir(), senders: senders, flags: flags}
	first := l.start(t)
	var list []*account
	for i, v := range []userop.Version{userop.V06, userop.V07, userop.V09} {
		list = append(list, l.w.deployedAccounts(t, v, (accounts+2-i)/3)...)
	}
	if code := first.stop(t, syscall.SIGTERM); code != exitOK {
		t.Fatalf("have exit code %d after SIGTERM, want %d", code, exitOK)
	}
	return l, list
}

// start begins a life, and returns when the bundler serves, or has died before that.
func (l *lives) start(t *testing.T, env ...string) *program {
	t.Helper()
	keys, _ := secrets(l.w.chain, l.senders)
	args := []string{"node", "--node-http", l.node, "--rpc-addr", "127.0.0.1:0", "--rpc-debug", "--log-format=json", "--log-level=info"}
	if !slices.Contains(l.flags, "--store=redis") {
		args = append(args, "--data-dir", l.dir)
	}
	p := startProgram(t, append(env, keys), append(args, l.flags...)...)
	eventually(t, "the bundler serves", func() error {
		url, alive := p.serves(), p.running() == nil
		switch {
		case url != "":
			l.w.reach(t, url)
			if l.traffic != nil {
				l.traffic.reach(t, url)
			}
			return nil
		case alive:
			return errors.New("it does not yet")
		case !p.killed():
			t.Fatal(p.running())
		}
		return nil
	})
	return p
}

// serves returns the URL at which the program serves, "" if it does not yet.
func (p *program) serves() string {
	for _, entry := range p.logs("baler is running") {
		url, _ := entry["rpc"].(string)
		return url
	}
	return ""
}

// logs returns the lines of the JSON log with the message.
func (p *program) logs(message string) (entries []map[string]any) {
	for _, line := range p.stderr.lines() {
		var entry map[string]any
		if strings.Contains(line, message) && json.Unmarshal([]byte(line), &entry) == nil && entry["msg"] == message {
			entries = append(entries, entry)
		}
	}
	return entries
}

// killed says whether the program was ended by kill -9.
func (p *program) killed() bool {
	select {
	case <-p.done:
		status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
		return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
	default:
		return false
	}
}

// dies waits until the program has ended by its own kill -9.
func (p *program) dies(t *testing.T) {
	t.Helper()
	code := p.wait(t)
	if !p.killed() {
		t.Fatalf("have exit code %d, want a death by SIGKILL", code)
	}
}

// resumed says whether this life found live transactions in its journal.
func (p *program) resumed() bool {
	return len(p.logs("resuming live transactions from the journal")) > 0
}

// end stops the last life, and repeats its journal. It returns the timeline.
func (l *lives) end(t *testing.T, p *program) string {
	t.Helper()
	if code := p.stop(t, syscall.SIGTERM); code != exitOK {
		t.Errorf("have exit code %d after SIGTERM, want %d", code, exitOK)
	}
	return l.replay(t)
}

// replay is `baler replay`, which must find no difference.
func (l *lives) replay(t *testing.T) string {
	t.Helper()
	code, out, errs := replayed(t, replayCommand{File: l.dir})
	if code != exitOK || errs != "" {
		t.Errorf("replay: have exit code %d: %s", code, errs)
	}
	return out
}

// The process is killed at each boundary, at the first, the second and the fifth time it comes there, and started again on
// what it left, while wallets go on sending.
func TestAProcessKilledAtAnyBoundaryLosesNothing(t *testing.T) {
	t.Parallel()
	passes := []int{1, 2, 5}
	for name, test := range map[string]struct {
		boundaries []string
		resumes    map[string]bool // signed transactions are in the journal
		hold       bool            // every second nonce can be cancelled only
		flags      []string
	}{
		"of an operation and its bundle": {
			boundaries: []string{
				"operation pooled", "operation kept", "bundle proposed", "step written", "bundle signed", "bundle journaled", "bundle relayed",
				"operation mined", "transaction mined",
			},
			resumes: map[string]bool{"bundle journaled": true, "bundle relayed": true},
			flags:   []string{"--max-bundle-size=4"},
		},
		"of a cancellation": {
			boundaries: []string{"cancellation signed", "cancellation journaled", "cancellation relayed"},
			resumes:    map[string]bool{"cancellation signed": true, "cancellation journaled": true, "cancellation relayed": true},
			hold:       true,
			flags:      []string{"--max-bundle-size=4", "--max-replacement-underpriced-blocks=1", "--min-priority-fee-per-gas=5000000000"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const senders = 2
			chain := startChain(t, interval())
			l, accounts := newLives(t, chain, chain.HTTPURL(), senders, 9, append(test.flags, "--node-ws", chain.WSURL())...)
			if test.hold {
				chain.Hold(func(tx *types.Transaction) bool { return len(tx.Data()) > 0 && tx.Nonce()%2 == 0 })
			}
			l.traffic = startTraffic(t, l.w, accounts, 0)
			resumed := make(map[string]bool) // a life that followed a death at this boundary went on with its transactions
			before := ""
			for _, boundary := range test.boundaries {
				for _, pass := range passes {
					p := l.start(t, fmt.Sprintf("%s=%s:%d", dieAt, boundary, pass))
					p.dies(t)
					resumed[before] = resumed[before] || p.resumed()
					before = boundary
					l.replay(t) // as the death left it
				}
			}
			if test.hold {
				chain.Release()
			}
			p := l.start(t)
			for boundary := range test.resumes { // not each time: what was replaced may be mined, and finish the nonce
				if !resumed[boundary] {
					t.Errorf("after the deaths at %q no transaction was resumed", boundary)
				}
			}
			l.traffic.accepted(t, len(l.traffic.promised())+20) // it works still
			found := l.traffic.settled(t, senders)
			l.w.checkBooks(t, senders) // of all lives
			if found.reverted > 0 {
				t.Errorf("have %d bundles reverted, want none: no rival is here", found.reverted)
			}
			t.Logf("%d lives: %+v", len(passes)*len(test.boundaries)+1, found)
			l.end(t, p)
		})
	}
}
