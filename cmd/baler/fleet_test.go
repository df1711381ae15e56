package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"

	"baler/devchain"
	"baler/internal/redistest"
	"baler/userop"
)

// fleetSenders is how many keys the processes of a fleet share.
const fleetSenders = 2

// fleet is several `baler node` with one pool and the same keys, each with a way of its own to Redis and to the chain.
type fleet struct {
	chain   *devchain.Chain
	redis   *redistest.Server
	log     *sentLog
	members []*member
	stalls  []time.Duration // from each trouble to the moment at which operations are taken again
}

type member struct {
	name    string
	way     *redistest.Proxy
	node    string
	program *program
	url     string // where it was last heard to serve
}

func (f *fleet) start(t *testing.T, m *member) {
	t.Helper()
	env, _ := secrets(f.chain, fleetSenders)
	m.program = startProgram(t, []string{env}, "node", "--node-http", m.node, "--rpc-addr", "127.0.0.1:0", "--rpc-debug", "--log-format=json",
		"--log-level=info", "--store=redis", "--redis-url", "redis://"+m.way.Addr, "--lease-ttl=4s", "--lease-margin=1s")
}

func startFleet(t *testing.T, chain *devchain.Chain, size int) *fleet {
	t.Helper()
	f := &fleet{chain: chain, redis: redistest.Start(t), log: &sentLog{}}
	for i := range size {
		m := &member{name: string(rune('a' + i)), way: redistest.NewProxy(t, f.redis.Addr)}
		m.node = f.log.node(t, chain, m.name)
		f.start(t, m)
		f.members = append(f.members, m)
	}
	return f
}

// serving returns a member that says it takes operations; nil: none does.
func (f *fleet) serving(t *testing.T) *member {
	t.Helper()
	for _, m := range f.members {
		running := m.program.logs("baler is running")
		if m.program.running() != nil || len(running) == 0 {
			continue
		}
		m.url, _ = running[len(running)-1]["rpc"].(string)
		if ready(t.Context(), m.url) {
			return m
		}
	}
	return nil
}

// goesOn directs the traffic to whoever serves until more operations are delivered than before, or all are.
func (f *fleet) goesOn(t *testing.T, traffic *traffic, now *member, all int) *member {
	t.Helper()
	before := traffic.done()
	eventually(t, "operations are acknowledged again", func() error {
		if have := traffic.done(); have > before || have == all {
			return nil
		}
		m := f.serving(t)
		if m == nil {
			return errors.New("no process of the fleet serves")
		}
		if m != now {
			now = m
			traffic.w.reach(t, m.url)
			traffic.reach(t, m.url)
		}
		return fmt.Errorf("%s serves, have %d delivered", m.name, traffic.done())
	})
	return now
}

func ready(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", http.NoBody)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// trouble does something to the member that serves. What it returns ends it.
func (f *fleet) trouble(t *testing.T, kind int, m *member) (what string, end func()) {
	t.Helper()
	switch kind {
	case 0:
		m.program.kill()
		return "kill -9", func() { f.start(t, m) }
	case 1:
		m.program.signal(t, syscall.SIGSTOP)
		return "SIGSTOP", func() { m.program.signal(t, syscall.SIGCONT) }
	case 2:
		m.way.Cut()
		return "cut off from Redis", m.way.Heal
	default:
		f.redis.Kill(t)
		f.redis.Run(t)
		return "restart of Redis", func() {}
	}
}

// Operations are sent while a seeded script kills, stops and cuts off the process that serves, and restarts Redis: every operation that
// was acknowledged is mined once, the keys are used by one process at a time, and the books are those of the chain.
func TestAFleetInTroubleLosesNothing(t *testing.T) {
	t.Parallel()
	operations := faultOperations(t)
	f := startFleet(t, startChain(t, interval()), 3)
	w := chainOnly(f.chain)
	now := f.settles(t, w, nil)
	accounts := w.deployedAccounts(t, userop.V07, 16)
	traffic := startTraffic(t, w, accounts, operations)
	traffic.reach(t, now.url)
	random := rand.New(rand.NewPCG(7, 7))
	var story []string
	var order []int
	const rounds, kinds = 2, 4
	for i := range rounds * kinds {
		traffic.delivered(t, (i+1)*operations/(rounds*kinds+1))
		if i%kinds == 0 {
			order = random.Perm(kinds)
		}
		what, end := f.trouble(t, order[i%kinds], now)
		began := time.Now()
		next := f.goesOn(t, traffic, now, operations)
		stall := time.Since(began)
		f.stalls = append(f.stalls, stall)
		story = append(story, fmt.Sprintf("%s of %s: %s takes operations after %s", what, now.name, next.name, stall.Round(10*time.Millisecond)))
		end()
		now = next
	}
	traffic.wallets.Wait()
	now = f.settles(t, w, now)
	found := traffic.settled(t, fleetSenders)
	w.checkBooks(t, fleetSenders)
	if quiet := int(traffic.quiet.Load()); found.operations+quiet != operations {
		t.Errorf("have %d operations acknowledged and %d mined whose answer was lost, want %d in all", found.operations, quiet, operations)
	}
	for _, key := range f.chain.Keys()[:fleetSenders] {
		if turns := f.log.turns(addressOf(key)); len(turns) > rounds*kinds+1 {
			t.Errorf("key %s went from process to process %d times in %d troubles: %v", addressOf(key), len(turns)-1, rounds*kinds, turns)
		}
	}
	for _, line := range story {
		t.Log(line)
	}
	t.Logf("%d operations in %d bundles, %d of them reverted; longest stall %s; %s serves at the end", found.operations, found.bundles,
		found.reverted, slices.Max(f.stalls).Round(10*time.Millisecond), now.name)
}

// settles waits until one process serves that has both keys, and makes it the one that is asked.
func (f *fleet) settles(t *testing.T, w *world, now *member) *member {
	t.Helper()
	eventually(t, "a process of the fleet has all keys", func() error {
		m := f.serving(t)
		if m == nil {
			return errors.New("no process of the fleet serves")
		}
		if m != now || w.url != m.url {
			now = m
			w.reach(t, m.url)
		}
		if have := len(w.health(t).Senders); have != fleetSenders {
			return fmt.Errorf("%s has %d keys", m.name, have)
		}
		return nil
	})
	return now
}
