package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"baler/devchain"
	"baler/internal/redistest"
	"baler/userop"
)

// splitKeys is how many keys the two builders of a split fleet share, two each.
const splitKeys = 4

// splitFleet is a pool with a standby, two JSON-RPC edges and two builders, with one Redis and a chain. Each has a way of its own to
// whatever it needs.
type splitFleet struct {
	chain *devchain.Chain
	redis *redistest.Server
	log   *sentLog
	all   []*fleetPart
	pools []*fleetPart
}

// fleetPart is one process of a split fleet.
type fleetPart struct {
	name, command string
	args          []string
	env           []string
	program       *program
	url           string             // where it answers /readyz, and JSON-RPC if it is an edge
	ways          []*redistest.Proxy // to Redis, or to the pools
}

func (p *fleetPart) start(t *testing.T) {
	t.Helper()
	p.program = startProgram(t, p.env, append([]string{p.command}, p.args...)...)
}

func startSplitFleet(t *testing.T, chain *devchain.Chain) *splitFleet {
	t.Helper()
	f := &splitFleet{chain: chain, redis: redistest.Start(t), log: &sentLog{}}
	keys, _ := secrets(chain, splitKeys)
	env := []string{"BALER_REMOTE_TOKEN=" + partsToken}
	base := []string{"--log-format=json", "--log-level=info"}
	var listens []string
	for _, name := range []string{"pool a", "pool b"} {
		way := redistest.NewProxy(t, f.redis.Addr)
		listen, operators := loopbackPort(t), loopbackPort(t)
		listens = append(listens, listen)
		f.pools = append(f.pools, &fleetPart{name: name, command: "pool", env: env, url: "http://" + operators, ways: []*redistest.Proxy{way}, args: append([]string{
			"--node-http", chain.HTTPURL(), "--node-ws", chain.WSURL(), "--listen", listen, "--admin-addr", operators, "--store=redis", "--redis-url", "redis://" + way.Addr,
		}, base...)})
	}
	toPools := func() (urls string, ways []*redistest.Proxy) {
		for _, listen := range listens {
			way := redistest.NewProxy(t, listen)
			ways, urls = append(ways, way), urls+",http://"+way.Addr
		}
		return urls[1:], ways
	}
	f.all = slices.Clone(f.pools)
	for _, name := range []string{"rpc a", "rpc b"} {
		urls, ways := toPools()
		at := loopbackPort(t)
		f.all = append(f.all, &fleetPart{name: name, command: "rpc", env: env, url: "http://" + at, ways: ways, args: append([]string{
			"--node-http", chain.HTTPURL(), "--node-ws", chain.WSURL(), "--rpc-addr", at, "--rpc-debug", "--pool", urls,
		}, base...)})
	}
	for _, name := range []string{"builder a", "builder b"} {
		urls, ways := toPools()
		way, operators := redistest.NewProxy(t, f.redis.Addr), loopbackPort(t)
		f.all = append(f.all, &fleetPart{name: name, command: "builder", env: append([]string{keys}, env...), url: "http://" + operators, ways: append(ways, way), args: append([]string{
			"--node-http", f.log.node(t, chain, name), "--admin-addr", operators, "--pool", urls, "--num-signers=2",
			"--redis-url", "redis://" + way.Addr, "--lease-ttl=4s", "--lease-margin=1s",
		}, base...)})
	}
	for _, p := range f.all {
		p.start(t)
	}
	return f
}

func loopbackPort(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", redistest.FreePort(t))
}

// edges returns where JSON-RPC is served.
func (f *splitFleet) edges() (urls []string) {
	for _, p := range f.all {
		if p.command == "rpc" {
			urls = append(urls, p.url)
		}
	}
	return urls
}

// leader returns the pool that serves; nil: none does.
func (f *splitFleet) leader(t *testing.T) *fleetPart {
	t.Helper()
	for _, p := range f.pools {
		if ready(t.Context(), p.url) {
			return p
		}
	}
	return nil
}

// whole waits until every process does what it is there for: one pool serves and the other stands by, edges and builders are ready
// and reach the pool, and the builders have all keys.
func (f *splitFleet) whole(t *testing.T, w *world) {
	t.Helper()
	eventually(t, "the fleet is whole", func() error {
		leads, senders := 0, 0
		for _, p := range f.all {
			if err := p.program.running(); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			if ready(t.Context(), p.url) {
				if p.command == "pool" {
					leads++
				}
			} else if p.command != "pool" {
				return fmt.Errorf("%s is not ready", p.name)
			}
			if p.command == "builder" {
				report := w.healthAt(t, p.url)
				senders += len(report.Senders)
				if strings.Contains(report.Status, "pool") {
					return fmt.Errorf("%s: %s", p.name, report.Status)
				}
			}
		}
		if leads != 1 || senders != splitKeys {
			return fmt.Errorf("%d pools lead and the builders have %d keys, want 1 and %d", leads, senders, splitKeys)
		}
		return nil
	})
}

// wholeSplitFleet starts a fleet on a chain of its own, and returns when it is whole, with its first edge as the bundler that is asked.
func wholeSplitFleet(t *testing.T) (*splitFleet, *world) {
	t.Helper()
	f := startSplitFleet(t, startChain(t, interval()))
	w := chainOnly(f.chain)
	w.reach(t, f.edges()[0])
	f.whole(t, w)
	return f, w
}

// trouble does something to a process. What it returns ends it.
func (f *splitFleet) trouble(t *testing.T, random *rand.Rand, kind int, p *fleetPart) (what string, end func()) {
	t.Helper()
	switch kind {
	case 0:
		p.program.kill()
		return "kill -9", func() { p.start(t) }
	case 1:
		p.program.signal(t, syscall.SIGSTOP)
		return "SIGSTOP", func() { p.program.signal(t, syscall.SIGCONT) }
	}
	ways, from := p.ways, "Redis"
	if p.command != "pool" { // the pools come first, then a builder's way to Redis
		ways, from = p.ways[:2], "the pools"
		if len(p.ways) > 2 && random.IntN(2) == 0 {
			ways, from = p.ways[2:], "Redis"
		}
	}
	for _, way := range ways {
		way.Cut()
	}
	return "cut off from " + from, func() {
		for _, way := range ways {
			way.Heal()
		}
	}
}

// Operations are sent to both edges while a seeded script kills, stops and cuts off the processes of a split fleet, one at a time: every
// operation that was acknowledged is mined once, the keys are used by one process at a time, and the pool's books are those of the chain.
func TestASplitFleetInTroubleLosesNothing(t *testing.T) {
	t.Parallel()
	operations := faultOperations(t)
	f, w := wholeSplitFleet(t)
	accounts := w.deployedAccounts(t, userop.V07, 16)
	quota := new(atomic.Int64)
	traffic := startPacedTraffic(t, w, accounts, operations, quota)
	traffic.reach(t, f.edges()...)
	random := rand.New(rand.NewPCG(11, 11))
	rounds := 6 // each kind of process once, and the leading pool twice
	if operations > 500 {
		rounds = 24
	}
	roles := []string{"leader", "builder", "rpc", "leader", "builder", "standby"}
	var story []string
	var stalls, failovers []time.Duration
	share := operations / (rounds + 1)
	for i := range rounds {
		quota.Add(int64(share - share/2))
		traffic.delivered(t, int(quota.Load()))
		victim := f.pick(t, random, roles[i%len(roles)])
		leads := victim == f.leader(t)
		before := traffic.done()
		what, end := f.trouble(t, random, (i+i/3)%3, victim)
		began := time.Now()
		quota.Add(int64(share / 2))
		eventually(t, "operations are acknowledged again", func() error {
			if traffic.done() > before {
				return nil
			}
			return errors.New("none is")
		})
		stall := time.Since(began)
		stalls = append(stalls, stall)
		if leads {
			failovers = append(failovers, stall)
		}
		traffic.delivered(t, before+min(share/2, 12)) // without one that is mined in between, if need be
		end()
		f.whole(t, w)
		story = append(story, fmt.Sprintf("%s of %s: operations are taken after %s, the fleet is whole after %s", what, victim.name,
			stall.Round(10*time.Millisecond), time.Since(began).Round(10*time.Millisecond)))
	}
	quota.Store(int64(operations))
	traffic.wallets.Wait()
	found := traffic.settled(t, splitKeys)
	w.checkBooks(t, splitKeys)
	if quiet := int(traffic.quiet.Load()); found.operations+quiet != operations {
		t.Errorf("have %d operations acknowledged and %d mined whose answer was lost, want %d in all", found.operations, quiet, operations)
	}
	for _, key := range f.chain.Keys()[:splitKeys] {
		if turns := f.log.turns(addressOf(key)); len(turns) > rounds+1 {
			t.Errorf("key %s went from process to process %d times in %d troubles: %v", addressOf(key), len(turns)-1, rounds, turns)
		}
	}
	for _, line := range story {
		t.Log(line)
	}
	t.Logf("%d operations in %d bundles, %d of them reverted; longest stall %s, pools taken over after %v", found.operations, found.bundles,
		found.reverted, slices.Max(stalls).Round(10*time.Millisecond), failovers)
}

// pick chooses the process that gets into trouble.
func (f *splitFleet) pick(t *testing.T, random *rand.Rand, role string) *fleetPart {
	t.Helper()
	var some []*fleetPart
	leader := f.leader(t)
	for _, p := range f.all {
		switch {
		case p.command == role, role == "leader" && p == leader, role == "standby" && p.command == "pool" && p != leader:
			some = append(some, p)
		}
	}
	return some[random.IntN(len(some))]
}
