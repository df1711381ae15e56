package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"baler/devchain"
	"baler/internal/redistest"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
)

// sentLog remembers which process sent which transaction, in the order in which they came.
type sentLog struct {
	mu   sync.Mutex
	sent []sentTx
}

type sentTx struct {
	process string
	from    common.Address
	nonce   uint64
	hash    common.Hash
}

// node is the way of a process to the chain, on which the log listens.
func (l *sentLog) node(t *testing.T, chain *devchain.Chain, process string) string {
	t.Helper()
	way := startFaultyNode(t, chain)
	way.fail(func(_ int, calls []nodeCall) treatment {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, call := range calls {
			if tx := call.transaction(); tx != nil {
				l.sent = append(l.sent, sentTx{process, senderOf(tx), tx.Nonce(), tx.Hash()})
			}
		}
		return treatment{}
	})
	return way.url
}

// turns returns for a key which processes sent with it, one after the other.
func (l *sentLog) turns(key common.Address) (turns []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, tx := range l.sent {
		if tx.from == key {
			turns = append(turns, tx.process)
		}
	}
	return slices.Compact(turns)
}

// leasingNode runs `baler node` with a key that it leases.
func leasingNode(t *testing.T, chain *devchain.Chain, node, redis string, flags ...string) *program {
	t.Helper()
	env, _ := secrets(chain, 1)
	return startProgram(t, []string{env}, append([]string{
		"node", "--node-http", node, "--rpc-addr", "127.0.0.1:0", "--rpc-debug", "--log-format=json", "--log-level=debug", "--store=memory",
		"--redis-url", "redis://" + redis, "--lease-ttl=4s", "--lease-margin=1s",
	}, flags...)...)
}

func urlOf(t *testing.T, p *program) string {
	t.Helper()
	url, _ := p.logged(t, "baler is running")["rpc"].(string)
	return url
}

// awaitLog waits for the nth log line with a message.
func awaitLog(t *testing.T, p *program, message string, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("log line %q, %d times", message, n), func() error {
		if have := strings.Count(p.stderr.String(), `"msg":"`+message+`"`); have < n {
			return fmt.Errorf("have %d", have)
		}
		return nil
	})
}

// Whatever happens to the process that holds a key: at no moment do two processes sign with it, what it had in flight is taken over
// by the next holder, and every operation that is in flight is included once.
func TestAKeyIsUsedByOneProcessAtATime(t *testing.T) {
	t.Parallel()
	const givenUp = "a key was given up"
	for name, trouble := range map[string]struct {
		begin func(t *testing.T, a *program, way *redistest.Proxy) // the holder can't hold the key any more
		end   func(t *testing.T, a *program, way *redistest.Proxy) // it finds out; nil: it is dead
	}{
		"kill -9": {begin: func(_ *testing.T, a *program, _ *redistest.Proxy) { a.kill() }},
		"clean stop": {begin: func(t *testing.T, a *program, _ *redistest.Proxy) {
			if code := a.stop(t, syscall.SIGTERM); code != exitOK {
				t.Errorf("have exit code %d, want %d", code, exitOK)
			}
		}},
		"stopped for longer than its lease": {
			begin: func(t *testing.T, a *program, _ *redistest.Proxy) { a.signal(t, syscall.SIGSTOP) },
			end:   func(t *testing.T, a *program, _ *redistest.Proxy) { a.signal(t, syscall.SIGCONT) },
		},
		"cut off from Redis": {
			begin: func(_ *testing.T, _ *program, way *redistest.Proxy) { way.Cut() },
			end:   func(_ *testing.T, _ *program, way *redistest.Proxy) { way.Heal() },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, chain, log := redistest.Start(t), startChain(t, interval()), &sentLog{}
			key := addressOf(chain.Keys()[0])
			way := redistest.NewProxy(t, server.Addr)
			a := leasingNode(t, chain, log.node(t, chain, "a"), way.Addr)
			w := newWorld(t, chain, urlOf(t, a))
			accounts := w.deployedAccounts(t, userop.V07, 4)
			w.checkOnceEach(t, []common.Hash{accounts[0].send(t, accounts[0].op(t, w.count(t)))}) // a has the key
			b := leasingNode(t, chain, log.node(t, chain, "b"), server.Addr)
			urlOfB := urlOf(t, b)

			pool := w.watchPool(t)
			chain.Hold(nil)
			inFlight := accounts[1].send(t, accounts[1].op(t, w.count(t)))
			pool.await(t, 1)
			trouble.begin(t, a, way)
			awaitLog(t, b, "resuming live transactions from the journal", 1)
			chain.Release()
			w.reach(t, urlOfB)
			hashes := []common.Hash{inFlight, accounts[2].send(t, accounts[2].op(t, w.count(t)))}
			w.checkOnceEach(t, hashes)
			if trouble.end != nil {
				trouble.end(t, a, way)
				awaitLog(t, a, givenUp, 1)
				hashes = append(hashes, accounts[3].send(t, accounts[3].op(t, w.count(t))))
				w.checkOnceEach(t, hashes)
				if code := b.stop(t, syscall.SIGTERM); code != exitOK { // it gives the key back
					t.Errorf("have exit code %d, want %d", code, exitOK)
				}
				w.reach(t, urlOf(t, a))
				w.checkOnceEach(t, []common.Hash{accounts[0].send(t, accounts[0].op(t, w.count(t)))})
			}
			want := []string{"a", "b", "a"}
			if trouble.end == nil {
				want = want[:2]
			}
			if have := log.turns(key); !slices.Equal(have, want) {
				t.Errorf("the key was used in turn by %v, want %v", have, want)
			}
			w.checkSigners(t, 1)
		})
	}
}

func TestARestartOfRedisStopsNobodyForLong(t *testing.T) {
	t.Parallel()
	server, chain, log := redistest.Start(t), startChain(t, interval()), &sentLog{}
	a := leasingNode(t, chain, log.node(t, chain, "a"), server.Addr, "--lease-ttl=20s")
	w := newWorld(t, chain, urlOf(t, a))
	accounts := w.deployedAccounts(t, userop.V07, 2)
	w.checkOnceEach(t, []common.Hash{accounts[0].send(t, accounts[0].op(t, w.count(t)))})
	pool := w.watchPool(t)
	chain.Hold(nil)
	inFlight := accounts[1].send(t, accounts[1].op(t, w.count(t)))
	pool.await(t, 1)
	server.Kill(t)
	server.Run(t)
	chain.Release()
	next := accounts[0].send(t, accounts[0].op(t, w.count(t)))
	w.checkOnceEach(t, []common.Hash{inFlight, next})
	if strings.Contains(a.stderr.String(), "a key was given up") {
		t.Error("the key was given up, though its lease and journal were on the disk")
	}
	w.checkSigners(t, 1)
}

// A key is drained by an operator: it finishes, and another process takes it.
func TestAnOperatorDrainsAKey(t *testing.T) {
	t.Parallel()
	server, chain, log := redistest.Start(t), startChain(t, interval()), &sentLog{}
	key := addressOf(chain.Keys()[0])
	a := leasingNode(t, chain, log.node(t, chain, "a"), server.Addr, "--admin-addr=127.0.0.1:0", "--admin-token=0123456789abcdef")
	w := newWorld(t, chain, urlOf(t, a))
	operators, _ := a.logged(t, "baler is running")["operators"].(string)
	accounts := w.deployedAccounts(t, userop.V07, 2)
	hashes := []common.Hash{accounts[0].send(t, accounts[0].op(t, w.count(t)))}
	w.checkOnceEach(t, hashes)
	b := leasingNode(t, chain, log.node(t, chain, "b"), server.Addr)
	w.reach(t, urlOf(t, b))

	drain := func(key common.Address) *program {
		p := startProgram(t, []string{"BALER_ADMIN_TOKEN=0123456789abcdef"}, "admin", "drain", key.Hex(), "--admin-url", operators)
		p.wait(t)
		return p
	}
	if p := drain(key); p.cmd.ProcessState.ExitCode() != exitOK || !strings.Contains(p.stdout.String(), key.Hex()+" is free") {
		t.Errorf("have %q, %q, want that the key is free", p.stdout.String(), p.stderr.String())
	}
	if p := drain(common.Address{1}); p.cmd.ProcessState.ExitCode() != exitFailed || !strings.Contains(p.stderr.String(), "this process has no key") {
		t.Errorf("have %q, want that there is no such key", p.stderr.String())
	}
	hashes = append(hashes, accounts[1].send(t, accounts[1].op(t, w.count(t))))
	w.checkOnceEach(t, hashes)
	if have := log.turns(key); !slices.Equal(have, []string{"a", "b"}) {
		t.Errorf("the key was used in turn by %v, want a and then b", have)
	}
	for _, c := range []struct {
		process *program
		moves   []string // of the key, each with the number of the holding
	}{{a, []string{"true 1 taken", "false 1 drained"}}, {b, []string{"true 2 taken"}}} {
		var moves []string
		for _, line := range c.process.loggedAll("lease moved") {
			moves = append(moves, fmt.Sprint(line["held"], " ", line["fence"], " ", line["cause"]))
		}
		if !slices.Equal(moves, c.moves) {
			t.Errorf("the leases moved %q, want %q", moves, c.moves)
		}
	}
}

func (p *program) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}
