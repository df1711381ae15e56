package main

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"testing"

	"baler/devchain"
	"baler/entrypoint"
	"baler/userop"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

func TestAHundredOperationsAreIncludedOnceEach(t *testing.T) {
	t.Parallel()
	for _, senders := range []int{2, 4} {
		t.Run(fmt.Sprintf("%d senders", senders), func(t *testing.T) { // one after the other: each is work enough
			w := startWorld(t, devchain.Config{Mining: devchain.Interval, BlockTime: 3 * blockTime}, fmt.Sprintf("--num-signers=%d", senders), "--max-bundle-size=8")
			var accounts []*account
			for i, v := range userop.Versions() {
				accounts = append(accounts, w.deployedAccounts(t, v, []int{4, 7, 7, 7}[i])...)
			}
			hashes := make([][]common.Hash, len(accounts))
			var wallets sync.WaitGroup
			for i, a := range accounts {
				wallets.Go(func() {
					for range 4 {
						hashes[i] = append(hashes[i], a.send(t, a.op(t, w.count(t))))
					}
				})
			}
			wallets.Wait()
			w.checkOnceEach(t, slices.Concat(hashes...))
			for _, a := range accounts {
				if have := w.counted(t, a); have != 4 {
					t.Errorf("account %s of v%s: have %d calls, want 4", a.address, a.ep.Version, have)
				}
			}
			busy := w.checkSigners(t, senders)
			found := w.checkBooks(t, senders)
			if have := found.Total.Operations; have < 100 || found.Total.Reverted > 0 || len(found.Days) != 1 {
				t.Errorf("have books %+v, want all operations in bundles of one day", found.Total)
			}
			for _, b := range found.Bundles {
				if b.Expected == nil || b.Kind != "bundle" {
					t.Errorf("bundle %s: have %+v, want what was expected of it", b.TransactionHash, b)
				}
			}
			if busy < 2 {
				t.Errorf("have bundles of %d senders, want the load shared", busy)
			}
		})
	}
}

// checkOnceEach waits until all operations are mined, and checks on the chain that each is there once, and succeeded.
func (w *world) checkOnceEach(t *testing.T, hashes []common.Hash) {
	t.Helper()
	for _, hash := range hashes {
		if r := w.awaitReceipt(t, hash); !r.Success {
			t.Errorf("operation %s failed", hash)
		}
	}
	events := w.events(t)
	for _, hash := range hashes {
		switch found := events[hash]; {
		case len(found) != 1:
			t.Errorf("operation %s: have %d events on the chain, want one", hash, len(found))
		case w.receiptOf(t, hash).Receipt.TxHash != found[0].TxHash:
			t.Errorf("operation %s: the bundler names another transaction than %s", hash, found[0].TxHash)
		}
	}
	for _, v := range userop.Versions() {
		if left := w.mempool(t, entrypoint.Canonical(v)); len(left) != 0 {
			t.Errorf("have %v in the mempool of v%s, want nothing", left, v)
		}
	}
}

// events returns the UserOperationEvents of the canonical chain by operation.
func (w *world) events(t *testing.T) map[common.Hash][]types.Log {
	t.Helper()
	logs, err := w.eth.FilterLogs(t.Context(), ethereum.FilterQuery{
		FromBlock: new(big.Int), Topics: [][]common.Hash{{entrypoint.TopicUserOperationEvent}},
	})
	if err != nil {
		t.Fatal(err)
	}
	events := make(map[common.Hash][]types.Log)
	for _, log := range logs {
		events[log.Topics[1]] = append(events[log.Topics[1]], log)
	}
	return events
}

// checkSigners checks that the nonces of the bundle senders' transactions follow each other along the chain, and returns
// how many of the senders have sent any.
func (w *world) checkSigners(t *testing.T, senders int) (busy int) {
	t.Helper()
	next := make(map[common.Address]uint64)
	for _, key := range w.chain.Keys()[:senders] {
		next[addressOf(key)] = 0
	}
	signer := types.LatestSignerForChainID(new(big.Int).SetUint64(w.chain.ChainID()))
	for number := range w.chain.Head().Number.Uint64() + 1 {
		block, err := w.eth.BlockByNumber(t.Context(), new(big.Int).SetUint64(number))
		if err != nil {
			t.Fatal(err)
		}
		for _, tx := range block.Transactions() {
			from, err := types.Sender(signer, tx)
			if err != nil {
				t.Fatal(err)
			}
			want, ours := next[from]
			if !ours {
				continue
			}
			if tx.Nonce() != want {
				t.Errorf("signer %s: have nonce %d in block %d, want %d", from, tx.Nonce(), number, want)
			}
			next[from] = want + 1
		}
	}
	for _, n := range next {
		if n > 0 {
			busy++
		}
	}
	return busy
}

func TestAReorgLosesNoOperation(t *testing.T) {
	t.Parallel()
	const depth = 3
	for _, test := range []struct {
		name  string
		reorg func(t *testing.T, w *world, parent uint64)
	}{
		{"to a branch that has the transactions later", func(t *testing.T, w *world, parent uint64) {
			w.chain.Hold(nil)
			if _, err := w.chain.ReplaceBranch(t.Context(), parent, depth+1); err != nil {
				t.Fatal(err)
			}
			w.synced(t)
			w.chain.Release()
		}},
		{"to a branch that has the transactions at once", func(t *testing.T, w *world, parent uint64) {
			if _, err := w.chain.ReplaceBranch(t.Context(), parent, depth+1); err != nil {
				t.Fatal(err)
			}
		}},
		{"that forgets the transactions", func(t *testing.T, w *world, parent uint64) {
			ours := w.transactionsAfter(t, parent)
			if err := w.chain.Reorg(t.Context(), parent); err != nil {
				t.Fatal(err)
			}
			for _, hash := range ours {
				// The bundler may have sent it again already: then it is in the pool, and dropped there.
				if err := w.chain.Drop(hash); err != nil {
					t.Fatal(err)
				}
			}
			w.chain.SetAutoMine(true)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := startWorld(t, interval())
			accounts := append(w.deployedAccounts(t, userop.V07, 5), w.deployedAccounts(t, userop.V09, 4)...)
			settled := w.sendOneEach(t, accounts)
			w.checkOnceEach(t, settled)
			orphaned := w.sendOneEach(t, accounts)
			first := ^uint64(0)
			for _, hash := range orphaned {
				first = min(first, w.awaitReceipt(t, hash).Receipt.BlockNumber.Uint64())
			}
			parent := first - 1
			eventually(t, "deep enough", func() error {
				if have := w.chain.Head().Number.Uint64(); have < parent+depth {
					return fmt.Errorf("have head %d, want %d", have, parent+depth)
				}
				return nil
			})
			before := w.chain.Head()
			parent = max(parent, before.Number.Uint64()-min(before.Number.Uint64(), devchain.MaxReorgDepth/2)) // a busy machine was slow to see them all
			test.reorg(t, w, parent)
			eventually(t, "the new branch is the longer one", func() error {
				if have := w.chain.Head().Number; have.Cmp(before.Number) <= 0 {
					return fmt.Errorf("have head %d, want more than %d", have, before.Number)
				}
				return nil
			})
			w.synced(t)
			eventually(t, "operations are on the new branch", func() error {
				for _, hash := range orphaned {
					if r := w.receiptOf(t, hash); r == nil || !w.canonical(t, r) {
						return fmt.Errorf("operation %s: %w", hash, errNotMined)
					}
				}
				return nil
			})
			more := w.sendOneEach(t, accounts) // and life goes on
			w.checkOnceEach(t, slices.Concat(settled, orphaned, more))
			w.checkSigners(t, 2)
		})
	}
}

func (w *world) sendOneEach(t *testing.T, accounts []*account) []common.Hash {
	t.Helper()
	var hashes []common.Hash
	for _, a := range accounts {
		hashes = append(hashes, a.send(t, a.op(t, w.count(t))))
	}
	return hashes
}

// canonical reports whether the receipt's block is on the chain.
func (w *world) canonical(t *testing.T, r *receipt) bool {
	t.Helper()
	header, err := w.eth.HeaderByNumber(t.Context(), r.Receipt.BlockNumber)
	if err != nil {
		if errors.Is(err, ethereum.NotFound) {
			return false
		}
		t.Fatal(err)
	}
	return header.Hash() == r.Receipt.BlockHash
}

func (w *world) transactionsAfter(t *testing.T, parent uint64) []common.Hash {
	t.Helper()
	var hashes []common.Hash
	w.chain.SetAutoMine(false)
	for number := parent + 1; number <= w.chain.Head().Number.Uint64(); number++ {
		block, err := w.eth.BlockByNumber(t.Context(), new(big.Int).SetUint64(number))
		if err != nil {
			t.Fatal(err)
		}
		for _, tx := range block.Transactions() {
			hashes = append(hashes, tx.Hash())
		}
	}
	return hashes
}

// poolWatch collects the transactions that enter the node's pool.
type poolWatch struct {
	mu  sync.Mutex
	txs []*types.Transaction
}

// watchPool collects the transactions of the bundle senders.
func (w *world) watchPool(t *testing.T) *poolWatch {
	t.Helper()
	p := &poolWatch{}
	arrived := make(chan *types.Transaction, 256)
	sub, err := w.chain.Client().EthSubscribe(t.Context(), arrived, "newPendingTransactions", true)
	if err != nil {
		t.Fatal(err)
	}
	us := make(map[common.Address]bool)
	for _, key := range w.chain.Keys()[:signerKeys] {
		us[addressOf(key)] = true
	}
	signer := types.LatestSignerForChainID(new(big.Int).SetUint64(w.chain.ChainID()))
	var group sync.WaitGroup
	group.Go(func() {
		for {
			select {
			case tx := <-arrived:
				if from, err := types.Sender(signer, tx); err == nil && us[from] {
					p.mu.Lock()
					p.txs = append(p.txs, tx)
					p.mu.Unlock()
				}
			case <-sub.Err():
				return
			}
		}
	})
	t.Cleanup(func() {
		sub.Unsubscribe()
		group.Wait()
	})
	return p
}

// await waits for the nth transaction, from 1.
func (p *poolWatch) await(t *testing.T, n int) *types.Transaction {
	t.Helper()
	var tx *types.Transaction
	eventually(t, fmt.Sprintf("transaction %d of the bundle senders", n), func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.txs) < n {
			return fmt.Errorf("have %d", len(p.txs))
		}
		tx = p.txs[n-1]
		return nil
	})
	return tx
}

func TestAStuckTransactionIsReplaced(t *testing.T) {
	t.Parallel()
	w := startWorld(t, interval(), "--num-signers=1")
	a := w.deployedAccounts(t, userop.V07, 1)[0]
	pool := w.watchPool(t)
	w.chain.Hold(nil)
	hash := a.send(t, a.op(t, w.count(t), fees(2000, 100)))
	stuck := pool.await(t, 1)
	w.chain.SetBaseFee(gwei(200))
	w.chain.Release()
	w.checkOnceEach(t, []common.Hash{hash})

	mined, _, err := w.eth.TransactionByHash(t.Context(), w.receiptOf(t, hash).Receipt.TxHash)
	if err != nil {
		t.Fatal(err)
	}
	if mined.Hash() == stuck.Hash() || mined.Nonce() != stuck.Nonce() {
		t.Fatalf("have transaction %s of nonce %d, want a replacement of %s of nonce %d", mined.Hash(), mined.Nonce(), stuck.Hash(), stuck.Nonce())
	}
	pool.mu.Lock()
	defer pool.mu.Unlock()
	for i, tx := range pool.txs[1:] {
		before := pool.txs[i]
		if tx.Nonce() != before.Nonce() {
			t.Errorf("transaction %d has nonce %d, want %d", i+1, tx.Nonce(), before.Nonce())
		}
		if !tenPercentMore(tx.GasFeeCap(), before.GasFeeCap()) || !tenPercentMore(tx.GasTipCap(), before.GasTipCap()) {
			t.Errorf("transaction %d has fees %v and %v, want 10%% more than %v and %v",
				i+1, tx.GasFeeCap(), tx.GasTipCap(), before.GasFeeCap(), before.GasTipCap())
		}
	}
}

func tenPercentMore(have, before *big.Int) bool {
	want := new(big.Int).Mul(before, big.NewInt(11))
	return new(big.Int).Mul(have, big.NewInt(10)).Cmp(want) >= 0
}

// An operation that pays for its bundle, but not for a replacement of it, must not block the nonce for ever.
func TestATransactionNobodyPaysToReplaceIsCancelled(t *testing.T) {
	t.Parallel()
	w := startWorld(t, interval(), "--num-signers=1", "--max-replacement-underpriced-blocks=2",
		"--min-priority-fee-per-gas=2000000000")
	a := w.deployedAccounts(t, userop.V07, 1)[0]
	pool := w.watchPool(t)
	us := addressOf(w.chain.Keys()[0])
	signer := types.LatestSignerForChainID(new(big.Int).SetUint64(w.chain.ChainID()))
	// Bundles of nonce 0 are never mined.
	w.chain.Hold(func(tx *types.Transaction) bool {
		from, err := types.Sender(signer, tx)
		return err == nil && from == us && tx.Nonce() == 0 && *tx.To() != us
	})
	hash := a.send(t, a.op(t, w.count(t), fees(4, 2)))
	pool.await(t, 1)
	w.checkOnceEach(t, []common.Hash{hash})
	w.checkSigners(t, 1)
	mined, _, err := w.eth.TransactionByHash(t.Context(), w.receiptOf(t, hash).Receipt.TxHash)
	if err != nil || mined.Nonce() == 0 {
		t.Fatalf("have the operation in a transaction of nonce %d (%v), want one after the cancellation", mined.Nonce(), err)
	}
	pool.mu.Lock()
	defer pool.mu.Unlock()
	if !slices.ContainsFunc(pool.txs, func(tx *types.Transaction) bool {
		receipt, err := w.eth.TransactionReceipt(t.Context(), tx.Hash())
		return err == nil && receipt.Status == types.ReceiptStatusSuccessful &&
			*tx.To() == us && tx.Nonce() == 0 && len(tx.Data()) == 0 && tx.Value().Sign() == 0
	}) {
		t.Errorf("no cancellation of nonce 0 was mined; sent were %d transactions", len(pool.txs))
	}
}

func TestADroppedTransactionIsSentAgain(t *testing.T) {
	t.Parallel()
	w := startWorld(t, interval(), "--num-signers=1")
	a := w.deployedAccounts(t, userop.V08, 1)[0]
	pool := w.watchPool(t)
	w.chain.Hold(nil)
	hash := a.send(t, a.op(t, w.count(t)))
	if err := w.chain.Drop(pool.await(t, 1).Hash()); err != nil {
		t.Fatal(err)
	}
	w.chain.Release()
	w.checkOnceEach(t, []common.Hash{hash})
	next := a.send(t, a.op(t, w.count(t)))
	w.checkOnceEach(t, []common.Hash{hash, next})
	w.checkSigners(t, 1)
}

func TestARivalMinesOneOfOurOperations(t *testing.T) {
	t.Parallel()
	for name, replaced := range map[string]bool{"and our bundle reverts": false, "and our bundle is replaced before it is mined": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := startWorld(t, interval(), "--num-signers=1")
			accounts := w.deployedAccounts(t, userop.V07, 3)
			pool := w.watchPool(t)
			us := addressOf(w.chain.Keys()[0])
			var first common.Hash // of our transactions, once it is known
			var mu sync.Mutex
			w.chain.Hold(func(tx *types.Transaction) bool {
				mu.Lock()
				defer mu.Unlock()
				from, err := types.Sender(types.LatestSignerForChainID(tx.ChainId()), tx)
				return err == nil && from == us && (first == common.Hash{} || tx.Hash() == first)
			})
			var hashes []common.Hash
			for _, a := range accounts {
				hashes = append(hashes, a.send(t, a.op(t, w.count(t), fees(100, 20)))) // enough for many replacements
			}
			ours := pool.await(t, 1)
			mu.Lock()
			first = ours.Hash()
			mu.Unlock()
			ops, _, err := entrypoint.DecodeBundle(userop.V07, ours.Data())
			if err != nil {
				t.Fatal(err)
			}
			w.chain.SetAutoMine(replaced) // else both are mined in one block, the rival's first: it pays more
			rival := w.chain.Keys()[rivalKey]
			theirs := w.transact(t, rival, 0, accounts[0].ep.Address, new(big.Int),
				entrypoint.EncodeHandleOps(userop.V07, ops[:1], addressOf(rival)))
			if !replaced {
				w.chain.Release()
			}
			if r := w.awaitTransaction(t, theirs); r.Status != types.ReceiptStatusSuccessful {
				t.Fatal("the rival's bundle failed")
			}
			w.chain.SetAutoMine(true)
			w.checkOnceEach(t, hashes)
			at := slices.IndexFunc(accounts, func(a *account) bool { return a.address == ops[0].Sender })
			if r := w.receiptOf(t, hashes[at]); r.Receipt.TxHash != theirs {
				t.Errorf("have transaction %s for the rival's operation, want the rival's %s", r.Receipt.TxHash, theirs)
			}
			// The soak's checker, were the rival one of our keys.
			if found := w.outcome(t, rivalKey+1); len(found.shared) != found.reverted || (found.reverted > 0) == replaced {
				t.Errorf("have %d reverted bundles with %v in two keys' transactions, want one with each reverted bundle", found.reverted, found.shared)
			}
			w.checkSigners(t, 1)
		})
	}
}
