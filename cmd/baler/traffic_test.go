package main

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"baler/devchain"
	"baler/entrypoint"
	"baler/userop"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/rpc"
)

// window is how many operations of one account are on their way at once: SAME_SENDER_MEMPOOL_COUNT is 4.
const window = 3

// traffic is wallets that send operations, whatever becomes of the bundler. What it acknowledged is its promise, and is
// never sent again; what it did not is sent until it is.
type traffic struct {
	w       *world
	bundler atomic.Pointer[[]*rpc.Client] // each asked in turn, until one answers
	turn    atomic.Uint64
	begun   atomic.Int64       // operations that wallets have taken on
	quota   *atomic.Int64      // how many they may take on by now; nil: all
	quiet   atomic.Int64       // operations that were mined although nobody acknowledged them: the answer was lost
	stop    context.CancelFunc // no more operations
	wallets sync.WaitGroup
	ctx     context.Context //nolint:containedctx // of the watcher, which ends with the test

	mu    sync.Mutex
	acked []common.Hash
	at    []uint64             // the chain's head when each was acknowledged
	seen  map[common.Hash]bool // in some block, that a reorg may have taken back
}

// startTraffic lets every account send so many operations, one after the other; most is their sum, 0: until it is stopped.
func startTraffic(t *testing.T, w *world, accounts []*account, most int) *traffic {
	t.Helper()
	return startPacedTraffic(t, w, accounts, most, nil)
}

// startPacedTraffic is startTraffic with a quota that the test raises.
func startPacedTraffic(t *testing.T, w *world, accounts []*account, most int, quota *atomic.Int64) *traffic {
	t.Helper()
	sending, stop := context.WithCancel(t.Context())
	tr := &traffic{w: w, quota: quota, stop: stop, ctx: t.Context(), seen: make(map[common.Hash]bool)}
	var watcher sync.WaitGroup
	watching, unwatch := context.WithCancel(context.WithoutCancel(t.Context()))
	watcher.Go(func() { tr.watch(watching) })
	t.Cleanup(func() {
		stop()
		tr.wallets.Wait()
		unwatch()
		watcher.Wait()
	})
	for i, a := range accounts {
		share := most / len(accounts)
		if i < most%len(accounts) {
			share++
		}
		tr.wallets.Go(func() { tr.wallet(sending, t, a, share, most == 0) })
	}
	return tr
}

// reach is where the bundler is now; of several addresses each wallet tries another one when one does not answer.
func (tr *traffic) reach(t *testing.T, urls ...string) {
	t.Helper()
	clients := make([]*rpc.Client, len(urls))
	for i, url := range urls {
		client, err := rpc.DialContext(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		clients[i] = client
	}
	tr.bundler.Store(&clients)
}

// wallet is one account's share.
func (tr *traffic) wallet(sending context.Context, t *testing.T, a *account, share int, endless bool) {
	callData := tr.w.count(t)
	var sent []common.Hash
	for n := 0; n < share || endless; n++ {
		if !tr.room(sending, t, a, sent) {
			return
		}
		op := a.op(t, callData, fees(200, 5))
		hash := a.hash(t, op)
		if !tr.deliver(t, a, op, hash) {
			return
		}
		a.nonce++
		sent = append(sent, hash)
	}
}

// room waits until fewer operations of the account than the window holds are on their way. False: the traffic ends.
func (tr *traffic) room(sending context.Context, t *testing.T, a *account, sent []common.Hash) bool {
	ctx, cancel := context.WithTimeout(sending, patience)
	defer cancel()
	free := tr.until(ctx, func() bool { return tr.unseen(sent) < window && tr.allowed() })
	if !free && sending.Err() == nil {
		t.Errorf("account %s: have %d operations acknowledged and not mined in %v", a.address, tr.unseen(sent), patience)
	}
	return free
}

// allowed takes one operation off the quota.
func (tr *traffic) allowed() bool {
	if now := tr.begun.Add(1); tr.quota == nil || now <= tr.quota.Load() {
		return true
	}
	tr.begun.Add(-1)
	return false
}

// deliver sends an operation until it is acknowledged, or mined although nobody said so. False: patience ended.
func (tr *traffic) deliver(t *testing.T, a *account, op *userop.UserOperation, hash common.Hash) bool {
	ctx, cancel := context.WithTimeout(tr.ctx, patience)
	defer cancel()
	last := errors.New("no bundler")
	turn := tr.turn.Add(1)
	delivered := tr.until(ctx, func() bool {
		clients := tr.bundler.Load()
		if clients == nil {
			return false
		}
		client, enough := (*clients)[turn%uint64(len(*clients))], 10*time.Second
		if turn++; len(*clients) > 1 {
			enough = 2 * time.Second
		}
		call, cancel := context.WithTimeout(ctx, enough)
		defer cancel()
		var have common.Hash
		err := client.CallContext(call, &have, "eth_sendUserOperation", op, a.ep.Address)
		head := tr.w.chain.Head().Number.Uint64()
		tr.mu.Lock()
		defer tr.mu.Unlock()
		switch {
		case err != nil:
			if last = err; tr.seen[hash] {
				tr.quiet.Add(1)
			}
			return tr.seen[hash]
		case have != hash:
			t.Errorf("eth_sendUserOperation: have hash %s, want %s", have, hash)
		}
		tr.acked, tr.at = append(tr.acked, hash), append(tr.at, head)
		return true
	})
	if !delivered && tr.ctx.Err() == nil {
		t.Errorf("operation %s (account %s, nonce %d) was not accepted: %v", hash, a.address, a.nonce, last)
	}
	return delivered
}

// until looks at once and then again and again; false: the context ended first.
func (tr *traffic) until(ctx context.Context, done func() bool) bool {
	ticker := time.NewTicker(30 * time.Millisecond)
	defer ticker.Stop()
	for ctx.Err() == nil {
		if done() {
			return true
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
	return false
}

func (tr *traffic) unseen(hashes []common.Hash) (n int) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, hash := range hashes {
		if !tr.seen[hash] {
			n++
		}
	}
	return n
}

// mined returns how many operations have been in some block.
func (tr *traffic) mined() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return len(tr.seen)
}

// watch looks for operations in the newest blocks.
func (tr *traffic) watch(ctx context.Context) {
	const back = 30 // blocks
	var looked common.Hash
	tr.until(ctx, func() bool {
		newest := tr.w.chain.Head()
		if newest.Hash() == looked {
			return false
		}
		looked = newest.Hash()
		head := newest.Number.Int64()
		logs, err := tr.w.eth.FilterLogs(ctx, ethereum.FilterQuery{
			FromBlock: big.NewInt(max(0, head-back)), Topics: [][]common.Hash{{entrypoint.TopicUserOperationEvent}},
		})
		if err != nil {
			return false // the chain is closing, or a reorg came between
		}
		tr.mu.Lock()
		defer tr.mu.Unlock()
		for _, log := range logs {
			tr.seen[log.Topics[1]] = true
		}
		return false
	})
}

// reaches waits until a count that only grows is there. It has patience for each step of it, not for the whole.
func reaches(t *testing.T, what string, want int, count func() int) {
	t.Helper()
	for have := count(); have < want; have = count() {
		eventually(t, fmt.Sprintf("%d %s", want, what), func() error {
			if now := count(); now <= have {
				return fmt.Errorf("have %d, and no more", now)
			}
			return nil
		})
	}
}

// accepted waits until the bundler has acknowledged so many operations in all.
func (tr *traffic) accepted(t *testing.T, n int) {
	t.Helper()
	reaches(t, "operations acknowledged", n, func() int { return len(tr.promised()) })
}

// delivered waits until so many operations in all are acknowledged, or mined though the answer was lost.
func (tr *traffic) delivered(t *testing.T, n int) {
	t.Helper()
	reaches(t, "operations delivered", n, tr.done)
}

func (tr *traffic) done() int { return len(tr.promised()) + int(tr.quiet.Load()) }

// promised returns what the bundler has acknowledged.
func (tr *traffic) promised() []common.Hash {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return append([]common.Hash(nil), tr.acked...)
}

// outcome is what the chain says at the end.
type outcome struct {
	operations int      // acknowledged, each mined once
	waits      []uint64 // blocks from its acknowledgement to its own, of each, the shortest first
	bundles    int      // transactions of the bundle senders that hold operations
	reverted   int      // of these
	empty      int      // transactions without operations: cancellations, foreign ones
	failures   []string // why each of the reverted ones did
	shared     []string // operations of reverted ones that another bundle sender's transaction had mined before: both were live
}

// settled ends the traffic, waits until everything that was acknowledged is mined and nothing of ours waits any more, and checks
// the chain: each operation once, no gap in the nonces.
func (tr *traffic) settled(t *testing.T, senders int) outcome {
	t.Helper()
	tr.stop()
	tr.wallets.Wait()
	promised := tr.promised()
	reaches(t, "acknowledged operations mined", len(promised), func() int { return len(promised) - tr.unseen(promised) })
	eventually(t, "every acknowledged operation is mined", func() error { // what was seen once may have been reorged away since
		events, missing := tr.w.events(t), 0
		for _, hash := range promised {
			if len(events[hash]) == 0 {
				missing++
			}
		}
		if missing > 0 {
			return fmt.Errorf("have %d of %d missing", missing, len(promised))
		}
		return nil
	})
	eventually(t, "nothing waits any more", func() error { return tr.w.atRest(t, senders) })
	events := tr.w.events(t)
	for _, hash := range promised {
		if have := len(events[hash]); have != 1 {
			t.Errorf("operation %s: have %d events on the chain, want one", hash, have)
			continue
		}
		if r := tr.w.receiptOf(t, hash); r == nil || !r.Success || r.Receipt.TxHash != events[hash][0].TxHash {
			t.Errorf("operation %s: have receipt %+v, want the one of %s", hash, r, events[hash][0].TxHash)
		}
	}
	tr.w.checkSigners(t, senders)
	found := tr.w.outcome(t, senders)
	found.operations = len(promised)
	for i, hash := range promised { // nobody acknowledges any more
		if mined := events[hash]; len(mined) > 0 {
			found.waits = append(found.waits, mined[0].BlockNumber-min(mined[0].BlockNumber, tr.at[i]))
		}
	}
	slices.Sort(found.waits)
	return found
}

// waited is how many blocks a share of the operations waited at most.
func (o outcome) waited(share float64) uint64 {
	if len(o.waits) == 0 {
		return 0
	}
	return o.waits[int(share*float64(len(o.waits)-1))]
}

// atRest says what of the bundle senders still waits: in the bundler, or in the node's pool.
func (w *world) atRest(t *testing.T, senders int) error {
	t.Helper()
	for _, key := range w.chain.Keys()[:senders] {
		var content map[string]map[string]any
		if err := w.chain.Client().CallContext(t.Context(), &content, "txpool_contentFrom", addressOf(key)); err != nil {
			t.Fatal(err)
		}
		if have := len(content["pending"]) + len(content["queued"]); have > 0 {
			return fmt.Errorf("%d transactions of %s in the node's pool", have, addressOf(key))
		}
	}
	health := w.health(t)
	if health.Operations > 0 {
		return fmt.Errorf("%d operations in the mempool", health.Operations)
	}
	for _, sender := range health.Senders {
		if sender.State != "Building" {
			return fmt.Errorf("sender %s is in %s", sender.Signer, sender.State)
		}
	}
	return nil
}

// outcome counts the transactions of the bundle senders.
func (w *world) outcome(t *testing.T, senders int) outcome {
	t.Helper()
	ours := make(map[common.Address]bool)
	for _, key := range w.chain.Keys()[:senders] {
		ours[addressOf(key)] = true
	}
	var found outcome
	signer := types.LatestSignerForChainID(new(big.Int).SetUint64(w.chain.ChainID()))
	for number := range w.chain.Head().Number.Uint64() + 1 {
		block, err := w.eth.BlockByNumber(t.Context(), new(big.Int).SetUint64(number))
		if err != nil {
			t.Fatal(err)
		}
		for _, tx := range block.Transactions() {
			if from, err := types.Sender(signer, tx); err != nil || !ours[from] {
				continue
			}
			if len(tx.Data()) == 0 {
				found.empty++
				continue
			}
			found.bundles++
			receipt, err := w.eth.TransactionReceipt(t.Context(), tx.Hash())
			if err != nil {
				t.Fatal(err)
			}
			if receipt.Status == types.ReceiptStatusFailed {
				found.reverted++
				found.failures = append(found.failures, w.whyReverted(t, tx, receipt))
				found.shared = append(found.shared, w.shares(t, tx, receipt, ours)...)
			}
		}
	}
	return found
}

// chainOnly is a world whose bundler is not there yet.
func chainOnly(chain *devchain.Chain) *world {
	return &world{chain: chain, eth: ethclient.NewClient(chain.Client()), funds: chain.Keys()[fundsKey]}
}
