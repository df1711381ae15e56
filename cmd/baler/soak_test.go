package main

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"baler/devchain"
	"baler/internal/redistest"
	"baler/store"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"golang.org/x/sys/unix"
)

// soakTime is how long faults follow each other in `make test`; `make soak` sets BALER_SOAK.
const soakTime = 15 * time.Second

// soakSettings reads BALER_SOAK (a duration), BALER_SOAK_SEED, and BALER_SOAK_FAULTS (a regular expression: only these faults). The
// same seed gives the same script of faults.
func soakSettings(t *testing.T) (lasts time.Duration, seed uint64, only *regexp.Regexp) {
	t.Helper()
	lasts, seed = soakTime, 1
	only, err := regexp.Compile(os.Getenv("BALER_SOAK_FAULTS"))
	if err != nil {
		t.Fatalf("BALER_SOAK_FAULTS: %v", err)
	}
	if text := os.Getenv("BALER_SOAK"); text != "" {
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatalf("BALER_SOAK: %v", err)
		}
	}
	if text := os.Getenv("BALER_SOAK_SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("BALER_SOAK_SEED: %v", err)
		}
	}
	return lasts, seed, only
}

// soak is a bundler under load through a script of faults.
type soak struct {
	*faulted
	script *rand.Rand // the script's choices alone: the faults' own dice are the node's
	done   map[string]int
	redis  *redistest.Server // nil: the store is embedded
}

// fault is a line of the script: it happens, and is over when it returns.
type fault struct {
	name string
	do   func(s *soak, t *testing.T)
}

func soakFaults() []fault {
	during := func(name string, treat func(s *soak) func(int, []nodeCall) treatment) fault {
		return fault{name, func(s *soak, t *testing.T) {
			s.node.fail(treat(s))
			s.pass(t, 500, 4000)
			s.node.fail(nil)
		}}
	}
	sending := func(percent int, how treatment) func(s *soak) func(int, []nodeCall) treatment {
		return func(s *soak) func(int, []nodeCall) treatment {
			return func(_ int, calls []nodeCall) treatment {
				if len(calls) == 0 || calls[0].transaction() == nil || !s.chance(percent) {
					return treatment{}
				}
				return how
			}
		}
	}
	each := func(percent int, how ...treatment) func(s *soak) func(int, []nodeCall) treatment {
		return func(s *soak) func(int, []nodeCall) treatment {
			return func(nth int, _ []nodeCall) treatment {
				if !s.chance(percent) {
					return treatment{}
				}
				return how[nth%len(how)]
			}
		}
	}
	return []fault{
		during("lost answers", sending(60, treatment{cut: true})),
		during("requests that arrive twice", each(50, treatment{twice: true})),
		during("lost answers of all kinds", each(20, treatment{cut: true})),
		during("rate limit", each(40, treatment{status: 429, body: "too many requests"})),
		during("malformed JSON", each(30, treatment{body: `{"jsonrpc":"2.0","id":1,"resu`}, treatment{body: "<html>"}, treatment{status: 500})),
		during("a node that lags", each(100, treatment{behind: 5})),
		during("an unreachable node", each(100, treatment{gone: true})),
		{"a node that restarts with an empty pool", (*soak).restartNode},
		{"reorg", (*soak).anyReorg},
		{"kill -9", func(s *soak, t *testing.T) { s.reborn(t) }},
		{"kill -9 while the node is gone", func(s *soak, t *testing.T) {
			s.node.fail(func(int, []nodeCall) treatment { return treatment{gone: true} })
			s.now.kill()
			s.pass(t, 100, 1000)
			s.node.fail(nil)
			s.now = s.start(t)
		}},
		{"SIGSTOP", (*soak).pause},
		{"clock jump of the chain", func(s *soak, t *testing.T) {
			s.w.chain.AdvanceTime(time.Duration(s.script.IntN(3600)) * time.Second)
			s.pass(t, 100, 1000)
		}},
	}
}

// diskFaults are those of a store that is a file of the process.
func diskFaults() []fault { return []fault{{"disk full", (*soak).fillDisk}} }

// redisFaults are those of a store in Redis. Its leases end meanwhile, and the process waits for them again.
func redisFaults() []fault {
	return []fault{
		{"Redis restarts with its data", func(s *soak, t *testing.T) {
			s.redis.Kill(t)
			s.redis.Run(t)
		}},
		{"Redis gone", func(s *soak, t *testing.T) {
			s.redis.Kill(t)
			s.pass(t, 500, 6000)
			s.redis.Run(t)
		}},
		{"Redis hangs", func(s *soak, t *testing.T) {
			s.redis.Pause(t)
			s.pass(t, 500, 6000)
			s.redis.Resume(t)
		}},
	}
}

// pass lets time go by, some milliseconds between the bounds: as many of the chain's blocks.
func (s *soak) pass(t *testing.T, least, most int) {
	t.Helper()
	blocks := uint64(least+s.script.IntN(most-least))/uint64(blockTime.Milliseconds()) + 1
	until := s.w.chain.Head().Number.Uint64() + blocks
	eventually(t, fmt.Sprintf("%d blocks", blocks), func() error {
		if have := s.w.chain.Head().Number.Uint64(); have < until {
			return fmt.Errorf("have block %d, want %d", have, until)
		}
		return nil
	})
}

// restartNode is a node that comes back without what waited in its pool.
func (s *soak) restartNode(t *testing.T) {
	s.node.fail(func(int, []nodeCall) treatment { return treatment{gone: true} })
	defer s.node.fail(nil)
	chain := s.w.chain
	var content map[string]map[string]map[string]*types.Transaction
	if err := chain.Client().CallContext(t.Context(), &content, "txpool_content"); err != nil {
		t.Fatal(err)
	}
	for _, accounts := range content {
		for _, txs := range accounts {
			for _, tx := range txs {
				if err := chain.Drop(tx.Hash()); err != nil && !errors.Is(err, devchain.ErrNotInPool) {
					t.Fatal(err)
				}
			}
		}
	}
	s.pass(t, 200, 2000)
}

// anyReorg takes up to six blocks back; their transactions return to the pool, or are forgotten.
func (s *soak) anyReorg(t *testing.T) {
	depth := 1 + s.script.Uint64N(6)
	chain := s.w.chain
	forgets := s.script.IntN(2) == 0
	if !forgets {
		if _, err := chain.ReplaceBranch(t.Context(), chain.Head().Number.Uint64()-depth, int(depth)+1); err != nil { //nolint:gosec // at most six
			t.Fatal(err)
		}
		return
	}
	chain.SetAutoMine(false)
	defer chain.SetAutoMine(true)
	parent := chain.Head().Number.Uint64() - depth
	orphans := s.bundlesSince(t, parent)
	if err := chain.Reorg(t.Context(), parent); err != nil {
		t.Fatal(err)
	}
	for _, hash := range orphans {
		if err := chain.Drop(hash); err != nil && !errors.Is(err, devchain.ErrNotInPool) {
			t.Fatal(err)
		}
	}
}

// pause stops the process as a debugger or a full host does, and lets it go on.
func (s *soak) pause(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		if err := s.now.cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if signal == syscall.SIGSTOP {
			s.pass(t, 500, 5000)
		}
	}
}

// fillDisk lets the store write no further than to the middle of its file. The bundler has to stop by itself: what it
// cannot write down it must not do. It starts again when there is room.
func (s *soak) fillDisk(t *testing.T) {
	info, err := os.Stat(filepath.Join(s.dir, store.FileName))
	if err != nil {
		t.Fatal(err)
	}
	limit := unix.Rlimit{Cur: uint64(info.Size()) / 2, Max: unix.RLIM_INFINITY} //nolint:gosec // a size
	if err := unix.Prlimit(s.now.cmd.Process.Pid, unix.RLIMIT_FSIZE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	if code := s.now.wait(t); code != exitFailed {
		t.Errorf("disk full: have exit code %d, want %d", code, exitFailed)
	}
	s.now = s.start(t)
}

// A bundler with four senders under load, and whatever may happen to it, its node, its disk or its Redis, one thing after the
// other: at the end every operation that it acknowledged is mined once, no nonce is left out, its books are those of the chain to
// the wei, and its journal can be repeated. Who says so reads the chain and the wallets' own notes.
func TestSoak(t *testing.T) {
	t.Parallel()
	t.Run("embedded store", func(t *testing.T) {
		t.Parallel()
		s := &soak{faulted: startFaulted(t, 0, true)}
		s.run(t, slices.Concat(soakFaults(), clockFaults(), diskFaults()))
		s.end(t, s.now)
	})
	t.Run("store in Redis", func(t *testing.T) {
		t.Parallel()
		redis := redistest.Start(t)
		s := &soak{redis: redis, faulted: startFaulted(t, 0, true, "--store=redis", "--redis-url", "redis://"+redis.Addr,
			"--lease-ttl=4s", "--lease-margin=1s", "--rpc-addr", freeAddress(t))}
		s.run(t, slices.Concat(soakFaults(), clockFaults(), redisFaults()))
		if code := s.now.stop(t, syscall.SIGTERM); code != exitOK {
			t.Errorf("have exit code %d after SIGTERM, want %d", code, exitOK)
		}
	})
}

// run plays the script, and checks what is left.
func (s *soak) run(t *testing.T, faults []fault) {
	t.Helper()
	lasts, seed, only := soakSettings(t)
	s.script, s.done = rand.New(rand.NewPCG(seed, 7562)), make(map[string]int)
	faults = slices.DeleteFunc(faults, func(f fault) bool { return !only.MatchString(f.name) })
	if len(faults) == 0 {
		t.Logf("no fault is called %q here", only)
		return
	}
	auditor := audit{missing: make(map[common.Hash]absent)}
	var order []int // each fault once before any comes again
	for end := time.Now().Add(lasts); time.Now().Before(end) && !t.Failed(); {
		if len(order) == 0 {
			order = s.script.Perm(len(faults))
		}
		next := faults[order[0]]
		order = order[1:]
		accepted := len(s.traffic.promised())
		t.Logf("block %d, %d acknowledged, %d mined: %s", s.w.chain.Head().Number, accepted, s.traffic.mined(), next.name)
		next.do(s, t)
		s.done[next.name]++
		s.pass(t, 200, 2000)
		auditor.look(t, s.w, faultySenders)
	}
	s.node.fail(nil)
	s.traffic.accepted(t, len(s.traffic.promised())+10) // it still serves
	found := s.traffic.settled(t, faultySenders)
	books := s.w.checkBooks(t, faultySenders)
	for _, name := range slices.Sorted(maps.Keys(s.done)) {
		t.Logf("%3d × %s", s.done[name], name)
	}
	for _, failure := range found.failures {
		t.Logf("reverted: %s", failure)
	}
	for _, finding := range found.shared {
		t.Errorf("in two keys' live transactions: %s", finding)
	}
	t.Logf("blocks from the acknowledgement to the operation's own: p50 %d, p99 %d, most %d, whatever was wrong meanwhile",
		found.waited(0.5), found.waited(0.99), found.waited(1))
	t.Logf("seed %d, %s: %d operations acknowledged, each mined once; %d bundles, %d reverted, %d operations in two keys' live transactions, %d without operations; profit %s wei, to the wei",
		seed, lasts, found.operations, found.bundles, found.reverted, len(found.shared), found.empty, books.Total.Profit)
}

// freeAddress is where nobody listens now: a process that stands by and serves again does so at one address.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
