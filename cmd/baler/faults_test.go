package main

import (
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"baler/devchain"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// faultOperations is how many operations the tests with faults send in all. `make faults` sets BALER_FAULT_OPS to 500 for each
// of the four senders.
func faultOperations(t *testing.T) int {
	t.Helper()
	text := os.Getenv("BALER_FAULT_OPS")
	if text == "" {
		return 60
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("BALER_FAULT_OPS: %v", err)
	}
	return n
}

// faulted is a bundler with four senders, its faulty node and wallets that send.
type faulted struct {
	*lives
	node *faultyNode
	now  *program
	rng  *rand.Rand // under mu
	mu   sync.Mutex
	hits atomic.Int64 // faults so far
}

// chance is true in so many of a hundred cases.
func (f *faulted) chance(percent int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rng.IntN(100) < percent
}

// faultySenders is the number of bundle senders in these tests.
const faultySenders = 4

// startFaulted starts them, with more flags for the bundler if there are any. Heads come over WebSocket past the faults, or by polling through them.
func startFaulted(t *testing.T, operations int, polls bool, more ...string) *faulted {
	t.Helper()
	chain := startChain(t, interval())
	node := startFaultyNode(t, chain)
	accounts, bundle := max(12, operations/40), max(4, operations/100)
	flags := append([]string{fmt.Sprintf("--max-bundle-size=%d", bundle)}, more...)
	if !polls {
		flags = append(flags, "--node-ws", chain.WSURL())
	}
	l, list := newLives(t, chain, node.url, faultySenders, accounts, flags...)
	f := &faulted{lives: l, node: node, rng: rand.New(rand.NewPCG(4337, 7769))}
	f.now = l.start(t)
	f.traffic = startTraffic(t, l.w, list, operations)
	f.traffic.reach(t, f.now.serves())
	return f
}

// reborn kills the bundler and starts it again.
func (f *faulted) reborn(t *testing.T) {
	t.Helper()
	f.now.kill()
	f.now = f.start(t)
}

// delivered waits until the wallets have sent all they have.
func (f *faulted) delivered(t *testing.T, operations int) {
	t.Helper()
	f.traffic.wallets.Wait()
	if have := len(f.traffic.promised()); have > operations || !t.Failed() && have == 0 {
		t.Errorf("have %d operations acknowledged, want at most %d", have, operations)
	}
}

// Four senders, a node or a chain that misbehaves: no operation is lost or doubled, no nonce is left out, and the
// journal can be repeated.
func TestFaultsLoseNothing(t *testing.T) {
	t.Parallel()
	operations := faultOperations(t)
	for name, test := range map[string]struct {
		polls  bool
		fault  func(t *testing.T, f *faulted) // before the wallets have finished
		revert bool                           // bundles may revert: a reorg puts them into another order than they were made in
		need   int64                          // faults that must have happened for the test to mean something
	}{
		"lost answers": {need: 3, fault: func(_ *testing.T, f *faulted) {
			f.node.fail(func(_ int, calls []nodeCall) treatment {
				if calls[0].transaction() == nil || !f.chance(60) {
					return treatment{}
				}
				f.hits.Add(1)
				return treatment{cut: true}
			})
		}},
		"dropped transactions": {need: 3, fault: func(t *testing.T, f *faulted) {
			f.node.fail(func(_ int, calls []nodeCall) treatment {
				if calls[0].transaction() == nil || !f.chance(60) {
					return treatment{}
				}
				return treatment{after: func(tx *types.Transaction) { f.drop(t, tx) }}
			})
		}},
		"foreign transactions with the same nonce": {need: 3, fault: func(t *testing.T, f *faulted) {
			f.node.fail(func(_ int, calls []nodeCall) treatment {
				tx := calls[0].transaction()
				if tx == nil || !f.chance(50) {
					return treatment{}
				}
				if f.chance(50) { // the foreign one was there first
					f.foreign(t, tx)
					return treatment{}
				}
				return treatment{after: func(tx *types.Transaction) { f.foreign(t, tx) }} // it replaces ours
			})
		}},
		"reorgs of three blocks": {revert: true, fault: func(t *testing.T, f *faulted) {
			for n := range 3 {
				f.reorg(t, (n+1)*operations/6)
			}
		}},
		"reorgs of three blocks that forget the transactions, and a kill": {revert: true, need: 2, fault: func(t *testing.T, f *faulted) {
			for n := range 2 {
				f.forget(t, (n+1)*operations/6, func() {})
				f.reborn(t)
			}
		}},
		"a kill, and a reorg before the restart": {revert: true, need: 2, fault: func(t *testing.T, f *faulted) {
			for n := range 2 {
				f.forget(t, (n+1)*operations/6, f.now.kill)
				f.now = f.start(t)
			}
		}},
		"a node that is five blocks behind now and then, and a kill while it is": {polls: true, need: 20, fault: func(t *testing.T, f *faulted) {
			lags := func(nth int, _ []nodeCall) treatment {
				if nth/30%2 == 1 {
					return treatment{}
				}
				f.hits.Add(1)
				return treatment{behind: 5}
			}
			f.node.fail(lags)
			f.traffic.accepted(t, operations/3)
			f.node.fail(func(int, []nodeCall) treatment { return treatment{behind: 5} })
			f.reborn(t)
			f.traffic.accepted(t, 2*operations/3)
			f.node.fail(lags)
		}},
		"a node that answers 429, 500 and nonsense": {polls: true, need: 50, fault: func(_ *testing.T, f *faulted) {
			f.node.fail(func(nth int, _ []nodeCall) treatment {
				if nth > 300 || !f.chance(30) {
					return treatment{}
				}
				f.hits.Add(1)
				return []treatment{
					{status: 429, body: "too many requests"},
					{status: 500, body: "internal error"},
					{body: `{"jsonrpc":"2.0","id":1,"resu`},
					{body: `{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"internal error"}}`},
				}[nth%4]
			})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFaulted(t, operations, test.polls)
			test.fault(t, f)
			f.delivered(t, operations)
			f.node.fail(nil)
			found := f.traffic.settled(t, faultySenders)
			if have := f.hits.Load(); have < test.need {
				t.Errorf("have %d faults, want at least %d", have, test.need)
			}
			if found.reverted > 0 && !test.revert {
				t.Errorf("have %d bundles reverted, want none", found.reverted)
			}
			taken := len(f.now.logs("bundle sender: nonce used by another transaction"))
			t.Logf("%d faults: %+v, %d nonces taken", f.hits.Load(), found, taken)
			if taken > 0 && found.empty == 0 { // every transaction of the keys is ours
				t.Errorf("have %d alerts that another program used a nonce, want none", taken)
			}
			f.end(t, f.now)
		})
	}
}

// drop makes the node forget a transaction.
func (f *faulted) drop(t *testing.T, tx *types.Transaction) {
	switch err := f.w.chain.Drop(tx.Hash()); {
	case err == nil:
		f.hits.Add(1)
	case !errors.Is(err, devchain.ErrNotInPool): // mined, or refused
		t.Error(err)
	}
}

// foreign is another program with our key: it sends its own transaction at our nonce, and pays more.
func (f *faulted) foreign(t *testing.T, ours *types.Transaction) {
	from := senderOf(ours)
	for _, key := range f.w.chain.Keys()[:faultySenders] {
		if addressOf(key) != from {
			continue
		}
		double := func(fee *big.Int) *big.Int { return new(big.Int).Lsh(fee, 1) }
		tx, err := types.SignNewTx(key, types.LatestSignerForChainID(ours.ChainId()), &types.DynamicFeeTx{
			ChainID: ours.ChainId(), Nonce: ours.Nonce(), GasTipCap: double(ours.GasTipCap()), GasFeeCap: double(ours.GasFeeCap()),
			Gas: 21_000, To: new(addressOf(f.w.chain.Keys()[spareKey])), Value: big.NewInt(1),
		})
		if err != nil {
			t.Error(err)
			return
		}
		if err := f.w.eth.SendTransaction(t.Context(), tx); err == nil { // else the nonce is used, or the fees were raised
			f.hits.Add(1)
		}
	}
}

// reorgDepth is how many blocks leave the chain.
const reorgDepth = 3

// reorg waits until so many operations are mined, and takes the last three blocks back. Their transactions return to the
// node's pool.
func (f *faulted) reorg(t *testing.T, mined int) {
	t.Helper()
	reaches(t, "operations mined", mined, f.traffic.mined)
	chain := f.w.chain
	chain.Hold(nil)
	if _, err := chain.ReplaceBranch(t.Context(), chain.Head().Number.Uint64()-reorgDepth, reorgDepth+1); err != nil {
		t.Fatal(err)
	}
	chain.Release()
}

// forget waits until so many operations are mined, some of them in the last three blocks, and takes these back; nobody
// knows their transactions any more. Something may happen before, when no more blocks are made.
func (f *faulted) forget(t *testing.T, mined int, before func()) {
	t.Helper()
	reaches(t, "operations mined", mined, f.traffic.mined)
	chain := f.w.chain
	var orphans []common.Hash
	var parent uint64
	eventually(t, "bundles in the last three blocks", func() error {
		chain.SetAutoMine(false)
		parent = chain.Head().Number.Uint64() - reorgDepth
		if orphans = f.bundlesSince(t, parent); len(orphans) == 0 {
			chain.SetAutoMine(true)
			return errors.New("have none")
		}
		return nil
	})
	before()
	if err := chain.Reorg(t.Context(), parent); err != nil {
		t.Fatal(err)
	}
	for _, hash := range orphans {
		if err := chain.Drop(hash); err != nil && !errors.Is(err, devchain.ErrNotInPool) {
			t.Fatal(err)
		}
	}
	f.hits.Add(int64(len(orphans)))
	chain.SetAutoMine(true)
}

// bundlesSince returns the bundle senders' transactions in the blocks after the parent.
func (f *faulted) bundlesSince(t *testing.T, parent uint64) (hashes []common.Hash) {
	t.Helper()
	ours := make(map[common.Address]bool)
	for _, key := range f.w.chain.Keys()[:faultySenders] {
		ours[addressOf(key)] = true
	}
	for number := parent + 1; number <= f.w.chain.Head().Number.Uint64(); number++ {
		block, err := f.w.eth.BlockByNumber(t.Context(), new(big.Int).SetUint64(number))
		if err != nil {
			t.Fatal(err)
		}
		for _, tx := range block.Transactions() {
			if ours[senderOf(tx)] {
				hashes = append(hashes, tx.Hash())
			}
		}
	}
	return hashes
}

// The process is killed at random moments: while the node has a call of it, or just before it gets the answer.
func TestKillsAtRandomMomentsLoseNothing(t *testing.T) {
	t.Parallel()
	const kills = 15
	f := startFaulted(t, 0, false)
	for n := range kills {
		f.mu.Lock()
		at := 5 + f.rng.IntN(100)
		f.mu.Unlock()
		p, hangUp := f.now, f.chance(50)
		f.node.fail(func(nth int, _ []nodeCall) treatment {
			if nth == at {
				_ = p.cmd.Process.Signal(syscall.SIGKILL)
				f.hits.Add(1)
			}
			return treatment{cut: hangUp && nth == at}
		})
		p.dies(t)
		f.node.fail(nil)
		if n%5 == 4 {
			f.replay(t)
		}
		f.now = f.start(t)
	}
	f.traffic.accepted(t, max(300, faultOperations(t)))
	found := f.traffic.settled(t, faultySenders)
	if found.reverted > 0 {
		t.Errorf("have %d bundles reverted, want none: no rival is here", found.reverted)
	}
	t.Logf("%d kills: %+v", f.hits.Load(), found)
	f.end(t, f.now)
}
