package main

import (
	"errors"
	"fmt"
	"math/big"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"baler/devchain"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
)

// secrets are the bundle senders' keys, as settings.
func secrets(chain *devchain.Chain, n int) (env string, keys []string) {
	for _, key := range chain.Keys()[:n] {
		keys = append(keys, hexutil.Encode(crypto.FromECDSA(key)))
	}
	return "BALER_SIGNER_PRIVATE_KEYS=" + strings.Join(keys, ","), keys
}

// startNode runs `baler node` as a process of its own, and returns when it serves.
func startNode(t *testing.T, chain *devchain.Chain, nodeHTTP string, flags ...string) (*program, string) {
	t.Helper()
	env, _ := secrets(chain, 2)
	p := startProgram(t, []string{env}, append([]string{
		"node", "--node-http", nodeHTTP, "--rpc-addr", "127.0.0.1:0", "--rpc-debug", "--log-format=json", "--log-level=debug",
	}, flags...)...)
	ready := p.logged(t, "baler is running")
	url, _ := ready["rpc"].(string)
	return p, url
}

func TestTheNodeRunsAsAProcess(t *testing.T) {
	t.Parallel()
	for name, subscribe := range map[string]bool{"heads by polling": false, "heads by WebSocket": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			chain := startChain(t, interval())
			var flags []string
			if subscribe {
				flags = []string{"--node-ws", chain.WSURL()}
			}
			p, url := startNode(t, chain, chain.HTTPURL(), flags...)
			w := newWorld(t, chain, url)
			for _, v := range userop.Versions() {
				a := w.newAccounts(t, v, 1)[0]
				op := a.op(t, w.count(t))
				r := a.run(t, op)
				w.checkMined(t, a, op, r)
			}
			if code := p.stop(t, syscall.SIGTERM); code != exitOK {
				t.Errorf("have exit code %d after SIGTERM, want %d", code, exitOK)
			}
			_, keys := secrets(chain, 2)
			for _, key := range keys {
				if all := p.stdout.String() + p.stderr.String(); strings.Contains(all, strings.TrimPrefix(key, "0x")) {
					t.Error("the output shows a private key")
				}
			}
		})
	}
}

func TestAKilledNodeServesAgainAfterARestart(t *testing.T) {
	t.Parallel()
	chain := startChain(t, interval())
	p, url := startNode(t, chain, chain.HTTPURL())
	w := newWorld(t, chain, url)
	accounts := w.deployedAccounts(t, userop.V08, 8)
	before := w.sendOneEach(t, accounts[:4])
	w.checkOnceEach(t, before)

	// In the middle: operations are accepted, and bundles wait in the node's pool.
	pool := w.watchPool(t)
	chain.Hold(nil)
	during := w.sendOneEach(t, accounts[4:])
	pool.await(t, 1)
	p.kill()
	height := chain.Head().Number.Uint64()
	chain.Release()
	eventually(t, "the chain goes on", func() error {
		if have := chain.Head().Number.Uint64(); have < height+3 {
			return fmt.Errorf("have block %d", have)
		}
		return nil
	})

	p, url = startNode(t, chain, chain.HTTPURL())
	w.reach(t, url)
	// What was mined before is known without a memory of it.
	for _, hash := range before {
		if r := w.receiptOf(t, hash); r == nil || !r.Success {
			t.Errorf("operation %s: have no receipt after the restart", hash)
		}
	}
	for _, a := range accounts {
		a.nonce = w.chainNonce(t, a) // an operation of the killed process is mined, or lost
	}
	after := w.sendOneEach(t, accounts)
	w.checkOnceEach(t, slices.Concat(before, after))
	events := w.events(t)
	for _, hash := range during {
		if n := len(events[hash]); n > 1 {
			t.Errorf("operation %s of the killed process: have %d events, want at most one", hash, n)
		}
	}
	w.checkSigners(t, 2)
	if code := p.stop(t, syscall.SIGTERM); code != exitOK {
		t.Errorf("have exit code %d, want %d", code, exitOK)
	}
}

func TestARestartWhileATransactionWaitsTakesTheNonceOver(t *testing.T) {
	t.Parallel()
	chain := startChain(t, interval())
	p, url := startNode(t, chain, chain.HTTPURL(), "--num-signers=1")
	w := newWorld(t, chain, url)
	accounts := w.deployedAccounts(t, userop.V07, 2)
	pool := w.watchPool(t)
	chain.Hold(nil)
	accounts[0].send(t, accounts[0].op(t, w.count(t), fees(100, 20)))
	left := pool.await(t, 1)
	p.kill()

	_, url = startNode(t, chain, chain.HTTPURL(), "--num-signers=1")
	w.reach(t, url)
	hash := accounts[1].send(t, accounts[1].op(t, w.count(t), fees(200, 40)))
	height := chain.Head().Number.Uint64()
	eventually(t, "some blocks without the old transaction", func() error {
		if have := chain.Head().Number.Uint64(); have < height+3 {
			return fmt.Errorf("have block %d", have)
		}
		return nil
	})
	chain.Release()
	w.checkOnceEach(t, []common.Hash{hash})
	w.checkSigners(t, 1)
	if left.Nonce() != 0 {
		t.Errorf("have nonce %d in the killed process's transaction, want 0", left.Nonce())
	}
}

func TestTheBundlerRecoversWhenItsNodeWasAway(t *testing.T) {
	t.Parallel()
	for name, subscribe := range map[string]bool{"heads by polling": false, "heads by WebSocket": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			chain := startChain(t, interval())
			between := startProxy(t, chain.HTTPURL(), 0)
			var flags []string
			if subscribe {
				flags = []string{"--node-ws", between.through(chain.WSURL())}
			}
			p, url := startNode(t, chain, between.through(chain.HTTPURL()), flags...)
			w := newWorld(t, chain, url)
			accounts := w.deployedAccounts(t, userop.V09, 3)
			w.synced(t)
			first := w.sendOneEach(t, accounts)
			w.checkOnceEach(t, first)

			second := w.sendOneEach(t, accounts) // pending, or just on their way
			between.fallSilent()
			height := chain.Head().Number.Uint64()
			eventually(t, "the chain goes on without the bundler", func() error {
				if have := chain.Head().Number.Uint64(); have < height+20 {
					return fmt.Errorf("have block %d", have)
				}
				return p.running()
			})
			if have := w.health(t).Head; have > height+2 {
				t.Errorf("the bundler sees block %d through a node that does not answer", have)
			}
			between.comeBack()
			w.synced(t)
			w.checkOnceEach(t, slices.Concat(first, second))
			third := w.sendOneEach(t, accounts)
			w.checkOnceEach(t, slices.Concat(first, second, third))
			w.checkSigners(t, 2)
			if code := p.stop(t, syscall.SIGTERM); code != exitOK {
				t.Errorf("have exit code %d, want %d", code, exitOK)
			}
		})
	}
}

// With a node far away a proposal takes longer than a block: heads and mined operations come while it is made.
func TestAFarNodeLosesNoOperation(t *testing.T) {
	t.Parallel()
	chain := startChain(t, interval())
	between := startProxy(t, chain.HTTPURL(), blockTime/4)
	p, url := startNode(t, chain, between.through(chain.HTTPURL()), "--node-ws", between.through(chain.WSURL()))
	w := newWorld(t, chain, url)
	accounts := slices.Concat(w.deployedAccounts(t, userop.V07, 3), w.deployedAccounts(t, userop.V08, 3))
	var hashes []common.Hash
	for range 4 { // consecutive nonces of each
		hashes = append(hashes, w.sendOneEach(t, accounts)...)
	}
	w.checkOnceEach(t, hashes)
	w.checkSigners(t, 2)
	for _, line := range p.stderr.lines() {
		if strings.Contains(line, "operation removed") || strings.Contains(line, "revived") {
			t.Errorf("want no operation lost, and no reorg: %s", line)
		}
	}
}

func TestTheNodeEndsWhileItsNodeIsAway(t *testing.T) {
	t.Parallel()
	chain := startChain(t, interval())
	between := startProxy(t, chain.HTTPURL(), 0)
	p, url := startNode(t, chain, between.through(chain.HTTPURL()))
	w := newWorld(t, chain, url)
	a := w.newAccounts(t, userop.V07, 1)[0]
	w.synced(t)
	a.send(t, a.op(t, w.count(t)))
	between.fallSilent()
	if code := p.stop(t, os.Interrupt); code != exitOK {
		t.Errorf("have exit code %d, want %d", code, exitOK)
	}
}

func TestAMovedChainIsNotConfusedWithAnother(t *testing.T) {
	t.Parallel()
	chain := startChain(t, devchain.Config{Mining: devchain.Interval, BlockTime: blockTime, ChainID: 4242})
	_, url := startNode(t, chain, chain.HTTPURL())
	w := newWorld(t, chain, url)
	var id hexutil.Uint64
	if w.call(t, &id, "eth_chainId"); id != 4242 {
		t.Errorf("have chain id %d, want 4242", id)
	}
	for _, v := range []userop.Version{userop.V06, userop.V09} {
		a := w.newAccounts(t, v, 1)[0]
		a.nonce = 0
		if r := a.run(t, a.op(t, w.count(t))); !r.Success {
			t.Errorf("v%s: the operation failed on chain 4242", v)
		}
	}
	if balance, err := w.eth.BalanceAt(t.Context(), addressOf(chain.Keys()[0]), nil); err != nil || balance.Cmp(new(big.Int)) == 0 {
		t.Error(errors.Join(err, errors.New("the signer has no money")))
	}
}

// After a restart the node is behind the block at which an operation was admitted: its account is not there yet. That is no reason
// to take it out.
func TestARestartKeepsWhatANodeThatIsBehindCannotJudgeYet(t *testing.T) {
	t.Parallel()
	chain := startChain(t, interval())
	node := startFaultyNode(t, chain)
	l, _ := newLives(t, chain, node.url, 1, 1)
	p := l.start(t)
	var done string
	l.w.call(t, &done, "debug_bundler_setBundlingMode", "manual")
	before := chain.Head().Number.Uint64()
	young := l.w.deployedAccounts(t, userop.V07, 2)
	chain.SetAutoMine(false)
	hashes := make([]common.Hash, len(young))
	for i, a := range young {
		hashes[i] = a.send(t, a.op(t, l.w.count(t)))
	}
	p.kill()
	behind := chain.Head().Number.Uint64() - before
	node.fail(func(int, []nodeCall) treatment { return treatment{behind: behind} })
	chain.SetAutoMine(true)
	l.w.reach(t, l.start(t).serves())
	l.w.checkOnceEach(t, hashes)
}

// After a restart the node is behind what the bundler has seen before: in its state operations wait that are mined. They are
// not taken for lost, nor bundled once more.
func TestARestartWaitsForANodeThatIsBehind(t *testing.T) {
	t.Parallel()
	chain := startChain(t, interval())
	node := startFaultyNode(t, chain)
	l, accounts := newLives(t, chain, node.url, 2, 6)
	p := l.start(t)
	hashes := l.w.sendOneEach(t, accounts)
	l.w.checkOnceEach(t, hashes)
	chain.SetAutoMine(false)
	var newest uint64
	for _, hash := range hashes {
		newest = max(newest, l.w.receiptOf(t, hash).Receipt.BlockNumber.Uint64())
	}
	if code := p.stop(t, syscall.SIGTERM); code != exitOK { // all that it has seen is kept
		t.Errorf("have exit code %d, want %d", code, exitOK)
	}
	behind := chain.Head().Number.Uint64() - newest + 2
	node.fail(func(int, []nodeCall) treatment { return treatment{behind: behind} })
	keys, _ := secrets(chain, l.senders)
	waits := startProgram(t, []string{keys}, "node", "--node-http", l.node, "--rpc-addr", "127.0.0.1:0", "--rpc-debug", "--log-format=json", "--data-dir", l.dir,
		"--bundle-max-send-interval-millis=20") // the interval ends before there is a head
	waits.logged(t, "the node is behind what was seen before the start; waiting for it")
	if waits.serves() != "" {
		t.Error("the bundler serves with a node that is behind")
	}
	chain.SetAutoMine(true)
	eventually(t, "the bundler serves", func() error {
		if waits.serves() == "" {
			return errors.New("not yet")
		}
		return waits.running()
	})
	l.w.reach(t, waits.serves())
	node.fail(nil)
	second := l.w.sendOneEach(t, accounts)
	l.w.checkOnceEach(t, slices.Concat(hashes, second))
	if found := l.w.outcome(t, 2); found.reverted > 0 {
		t.Errorf("have %d bundles reverted, want none", found.reverted)
	}
	for _, line := range waits.stderr.lines() {
		if strings.Contains(line, "operation revived") {
			t.Errorf("a mined operation was taken for lost: %s", line)
		}
	}
}
