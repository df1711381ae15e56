package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"baler/edge"
	"baler/internal/redistest"
	"baler/store"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/redis/go-redis/v9"
)

// hiccup is a Redis that does not answer the first times that something is read from it.
type hiccup struct {
	redis.Hook
	command string
	left    atomic.Int64
}

func (h *hiccup) DialHook(next redis.DialHook) redis.DialHook { return next }
func (h *hiccup) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *hiccup) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == h.command && h.left.Add(-1) >= 0 {
			return fmt.Errorf("read: %w", os.ErrDeadlineExceeded)
		}
		return next(ctx, cmd)
	}
}

// A process that has just got the pool, and whose Redis then does not answer while it reads what is in it, goes on standing by.
func TestAProcessStandsByWhileThePoolCannotBeRead(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	t.Cleanup(func() { _ = client.Close() })
	silent := &hiccup{command: "hscan"}
	silent.left.Store(2)
	client.AddHook(silent)
	settings := leaseSettings{PoolTTL: time.Second}
	settings.RedisKeep = time.Minute
	probes := func(context.Context, *slog.Logger) (*edge.Server, net.Listener, error) { return nil, nil, nil }
	served := errors.New("it serves")
	err := settings.standBy(t.Context(), client, store.Meta{ChainID: 1}, slog.New(slog.DiscardHandler), kept{}, probes, func(k kept) error {
		if k.store == nil || !k.lease.Valid() {
			t.Errorf("have store %v and lease %v, want both", k.store, k.lease)
		}
		return served
	})
	if !errors.Is(err, served) || silent.left.Load() >= 0 {
		t.Errorf("have %v after %d of 2 failures, want that it serves", err, 2-silent.left.Load())
	}
}

// Of the processes that are given a pool in Redis one serves it. When that one is gone another goes on with all that it accepted.
func TestAStandbyTakesThePoolOver(t *testing.T) {
	t.Parallel()
	const refused = 3
	for name, trouble := range map[string]struct {
		begin func(t *testing.T, a *program, way *redistest.Proxy) // the process can't hold the pool any more
		end   func(t *testing.T, a *program, way *redistest.Proxy) // it finds out; nil: it is dead
	}{
		"kill -9": {begin: func(_ *testing.T, a *program, _ *redistest.Proxy) { a.kill() }},
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
			way := redistest.NewProxy(t, server.Addr)
			a := leasingNode(t, chain, log.node(t, chain, "a"), way.Addr, "--store=redis")
			w := newWorld(t, chain, urlOf(t, a))
			busy := startFaultyNode(t, chain)
			b := leasingNode(t, chain, busy.url, server.Addr, "--store=redis")
			awaitLog(t, b, "this process stands by", 1)
			checkStandsBy(t, b)
			b.signal(t, syscall.SIGHUP) // it goes on, and reads its settings again once it serves
			accounts := w.deployedAccounts(t, userop.V07, 12)
			before := w.sendOneEach(t, accounts[:2])
			w.checkOnceEach(t, before)

			pool := w.watchPool(t)
			chain.Hold(nil)
			accepted := w.sendOneEach(t, accounts[2:10])
			pool.await(t, 1)
			// Just when the pool becomes free the next process' node has no answers for it.
			var refusals atomic.Int64
			busy.fail(func(_ int, calls []nodeCall) treatment {
				asks := slices.ContainsFunc(calls, func(c nodeCall) bool { return c.Method == "eth_chainId" || c.Method == "eth_config" })
				if !asks || refusals.Add(1) > refused {
					return treatment{}
				}
				return treatment{status: http.StatusTooManyRequests, body: "too many requests"}
			})
			trouble.begin(t, a, way)
			began := time.Now()
			w.reach(t, urlOf(t, b))
			t.Logf("served again after %s", time.Since(began).Round(10*time.Millisecond))
			if have := refusals.Load(); have < refused {
				t.Errorf("the node has refused %d requests, want %d", have, refused)
			}
			awaitLog(t, b, "settings reloaded", 1)
			for _, hash := range accepted {
				var known map[string]any
				w.call(t, &known, "eth_getUserOperationByHash", hash)
				if known == nil {
					t.Errorf("operation %s was accepted and is not known any more", hash)
				}
			}
			for _, hash := range before {
				if r := w.receiptOf(t, hash); r == nil || !r.Success {
					t.Errorf("operation %s: have no receipt", hash)
				}
			}
			chain.Release()
			accepted = append(accepted, w.sendOneEach(t, accounts[10:])...)
			w.checkOnceEach(t, accepted)
			if trouble.end != nil {
				trouble.end(t, a, way)
				awaitLog(t, a, "another process may serve the pool now", 1)
				if code := b.stop(t, syscall.SIGTERM); code != exitOK {
					t.Errorf("have exit code %d, want %d", code, exitOK)
				}
				eventually(t, "the first process serves again", func() error {
					if n := strings.Count(a.stderr.String(), `"msg":"baler is running"`); n < 2 {
						return fmt.Errorf("it has served %d times", n)
					}
					return nil
				})
				urls := a.logs("baler is running")
				url, _ := urls[len(urls)-1]["rpc"].(string)
				w.reach(t, url)
				w.checkOnceEach(t, append(accepted, w.sendOneEach(t, accounts[:1])...))
			}
			checkReverts(t, w, addressOf(chain.Keys()[0]))
			w.checkSigners(t, 1)
		})
	}
}

// checkStandsBy asks a process that waits how it is: it lives, and wants no operations.
func checkStandsBy(t *testing.T, p *program) {
	t.Helper()
	probes, _ := p.logged(t, "this process stands by")["probes"].(string)
	for path, want := range map[string]int{"/livez": http.StatusOK, "/readyz": http.StatusServiceUnavailable} {
		if status, text := asked(t, http.MethodGet, probes+path, "", ""); status != want {
			t.Errorf("%s: have status %d, %s, want %d", path, status, text, want)
		}
	}
}

// checkReverts checks that no bundle of a key was mined and failed.
func checkReverts(t *testing.T, w *world, keys ...common.Address) {
	t.Helper()
	ours := make(map[common.Address]bool)
	for _, key := range keys {
		ours[key] = true
	}
	for _, hash := range w.transactionsAfter(t, 0) {
		tx, _, err := w.eth.TransactionByHash(t.Context(), hash)
		if err != nil {
			t.Fatal(err)
		}
		if receipt := w.awaitTransaction(t, hash); ours[senderOf(tx)] && receipt.Status == 0 {
			t.Errorf("bundle %s was mined and failed", hash)
		}
	}
}
