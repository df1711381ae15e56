package main

import (
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"baler/devchain"
	"baler/entrypoint"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// manyPending is how many operations wait when the process is killed.
const (
	manyPending   = 5000
	manyAccounts  = 250
	keysPerSender = 5 // nonce keys; the rest are operations in a row
)

// A process that is killed with thousands of pending operations has them all again when it serves the next time, each once,
// in the same order, and with the reputation they had left.
func TestThousandsOfPendingOperationsSurviveAKill(t *testing.T) {
	t.Parallel()
	chain := startChain(t, devchain.Config{Mining: devchain.Manual})
	l := &lives{
		w: chainOnly(chain), node: chain.HTTPURL(), dir: t.TempDir(), senders: 2,
		flags: []string{"--bundling-mode=manual", fmt.Sprintf("--same_sender_mempool_count=%d", manyPending/manyAccounts)},
	}
	p := l.start(t)
	w := l.w
	accounts := w.deployedAccounts(t, userop.V07, manyAccounts)
	fresh := w.newAccounts(t, userop.V07, 1)[0] // its factory is counted when its operation comes in
	w.call(t, nil, "debug_bundler_setReputation", []standing{{Address: common.Address{0x99}.Hex(), OpsSeen: "0x78", OpsIncluded: "0x1"}})
	began := time.Now()
	sent := append(sendMany(t, w, accounts), fresh.send(t, fresh.op(t, w.count(t))))
	accepted := time.Since(began)
	pending := w.mempool(t, accounts[0].ep)
	if len(pending) != len(sent) {
		t.Fatalf("have %d operations pending, want %d", len(pending), len(sent))
	}
	reputation := w.dumpReputation(t)
	if len(reputation) != 2 || reputation[0].Status != "ok" && reputation[1].Status != "ok" {
		t.Fatalf("have reputations %v, want a throttled entity and the factory", reputation)
	}

	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	p.dies(t)
	began = time.Now()
	p = l.start(t)
	restarted := time.Since(began)
	restored := p.logs("operations restored")
	if len(restored) != 1 {
		t.Fatalf("have %v in the log, want one line on what was restored", restored)
	}
	took, _ := restored[0]["took"].(float64)
	t.Logf("%d operations accepted in %v; after kill -9 the next process serves in %v, of it %v to validate them again",
		len(sent), accepted.Round(time.Millisecond), restarted.Round(time.Millisecond), time.Duration(took).Round(time.Millisecond))

	after := w.mempool(t, accounts[0].ep)
	slices.SortFunc(sent, common.Hash.Cmp)
	sorted := slices.Clone(after)
	slices.SortFunc(sorted, common.Hash.Cmp)
	if !slices.Equal(sent, sorted) {
		t.Fatalf("have %d operations after the restart, %d of them different, want the %d that were acknowledged, each once",
			len(after), len(slices.Compact(sorted)), len(sent))
	}
	if have := w.dumpReputation(t); !slices.Equal(have, reputation) {
		t.Errorf("reputation:\nhave %v\nwant %v", have, reputation)
	}
	// A bundle of them is as good as it would have been.
	tx := w.sendBundleNow(t)
	w.mine(t, 1)
	mined := 0
	for hash, events := range w.events(t) {
		if _, ours := slices.BinarySearchFunc(sent, hash, common.Hash.Cmp); ours && len(events) == 1 && events[0].TxHash == tx {
			mined++
		}
	}
	if left := len(w.mempool(t, accounts[0].ep)); mined == 0 || left != len(sent)-mined {
		t.Errorf("have %d operations mined and %d left, want %d together", mined, left, len(sent))
	}
	l.end(t, p)
}

// sendMany sends the same number of operations of each account, and returns their hashes.
func sendMany(t *testing.T, w *world, accounts []*account) []common.Hash {
	t.Helper()
	var mu sync.Mutex
	var sent []common.Hash
	var senders sync.WaitGroup
	call := w.count(t)
	for share := range slices.Chunk(accounts, (len(accounts)+3)/4) {
		senders.Go(func() {
			for _, a := range share {
				for n := range uint64(manyPending / manyAccounts) {
					op := a.op(t, call, func(op *userop.UserOperation) {
						op.Nonce = uint256.Int{n / keysPerSender, n % keysPerSender}
					})
					var hash common.Hash
					if err := w.bundler.CallContext(t.Context(), &hash, "eth_sendUserOperation", op, a.ep.Address); err != nil {
						t.Errorf("operation %d of %s: %v", n, a.address, err)
						return
					}
					mu.Lock()
					sent = append(sent, hash)
					mu.Unlock()
				}
			}
		})
	}
	senders.Wait()
	return sent
}

// standing is an entry of debug_bundler_dumpReputation.
type standing struct {
	Address     string `json:"address"`
	OpsSeen     string `json:"opsSeen"`
	OpsIncluded string `json:"opsIncluded"`
	Status      string `json:"status,omitempty"`
}

func (w *world) dumpReputation(t *testing.T) []standing {
	t.Helper()
	var list []standing
	w.call(t, &list, "debug_bundler_dumpReputation", entrypoint.Canonical(userop.V07).Address)
	return list
}
