package main

import (
	"math/big"
	"slices"
	"testing"

	"baler/devchain"
	"baler/entrypoint"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
)

func TestManualModeSendsWhenAsked(t *testing.T) {
	t.Parallel()
	w := startWorld(t, devchain.Config{Mining: devchain.Manual}, "--num-signers=1")
	w.setMode(t, "manual")
	a := w.deployedAccounts(t, userop.V08, 1)[0]

	if tx := w.sendBundleNow(t); tx != (common.Hash{}) {
		t.Errorf("nothing to send: have %s, want the zero hash", tx)
	}
	hash := a.send(t, a.op(t, w.count(t)))
	w.mine(t, 3)
	if w.receiptOf(t, hash) != nil {
		t.Fatal("a bundle was sent though nobody asked for it")
	}
	tx := w.sendBundleNow(t)
	if !w.chain.InPool(tx) {
		t.Errorf("transaction %s is not at the node", tx)
	}
	w.mine(t, 1)
	if r := w.awaitReceipt(t, hash); r.Receipt.TxHash != tx || !r.Success {
		t.Errorf("have transaction %s, success %v, want %s, true", r.Receipt.TxHash, r.Success, tx)
	}

	// Back in auto mode a new block is enough.
	w.setMode(t, "auto")
	hash = a.send(t, a.op(t, w.count(t)))
	eventually(t, "mined in auto mode", func() error {
		w.mine(t, 1)
		if w.receiptOf(t, hash) == nil {
			return errNotMined
		}
		return nil
	})
	if r := w.refused(t, "debug_bundler_setBundlingMode", "sometimes"); r.code != -32602 {
		t.Errorf("have %d %q, want -32602", r.code, r.message)
	}
}

func (w *world) setMode(t *testing.T, mode string) {
	t.Helper()
	var answer string
	w.call(t, &answer, "debug_bundler_setBundlingMode", mode)
	if answer != "ok" {
		t.Errorf("debug_bundler_setBundlingMode: have %q, want ok", answer)
	}
}

func (w *world) sendBundleNow(t *testing.T) common.Hash {
	t.Helper()
	var tx common.Hash
	w.call(t, &tx, "debug_bundler_sendBundleNow")
	return tx
}

func TestSendersInManualModeSendDisjointBundles(t *testing.T) {
	t.Parallel()
	w := startWorld(t, devchain.Config{Mining: devchain.Manual}, "--num-signers=3", "--bundling-mode=manual", "--max-bundle-size=3")
	accounts := w.deployedAccounts(t, userop.V07, 9)
	var hashes []common.Hash
	for _, a := range accounts {
		hashes = append(hashes, a.send(t, a.op(t, w.count(t))))
	}
	signers := make(map[common.Address]bool)
	seen := make(map[common.Hash]bool)
	for range 3 {
		tx, pending, err := w.eth.TransactionByHash(t.Context(), w.sendBundleNow(t))
		if err != nil || !pending {
			t.Fatalf("the bundle is not pending at the node: %v", err)
		}
		from, err := types.Sender(types.LatestSignerForChainID(tx.ChainId()), tx)
		if err != nil {
			t.Fatal(err)
		}
		signers[from] = true
		ops, _, err := entrypoint.DecodeBundle(userop.V07, tx.Data())
		if err != nil || len(ops) != 3 {
			t.Errorf("have %d operations in a bundle (%v), want 3", len(ops), err)
		}
		for _, op := range ops {
			hash := op.Hash(entrypoint.Canonical(userop.V07).Address, w.chain.ChainID(), common.Address{})
			if seen[hash] || !slices.Contains(hashes, hash) {
				t.Errorf("operation %s is in two bundles, or was never sent", hash)
			}
			seen[hash] = true
		}
	}
	if len(signers) != 3 {
		t.Errorf("have bundles of %d senders, want 3", len(signers))
	}
	w.mine(t, 1)
	for _, hash := range hashes {
		if r := w.awaitReceipt(t, hash); !r.Success {
			t.Errorf("operation %s failed", hash)
		}
	}
	if left := w.mempool(t, accounts[0].ep); len(left) != 0 {
		t.Errorf("have %v in the mempool, want nothing", left)
	}
}

// With shards each key bundles the accounts with uint160(sender) mod num_shards == its index, and nobody else does.
func TestShardsDivideTheAccountsAmongTheKeys(t *testing.T) {
	t.Parallel()
	w := startWorld(t, devchain.Config{Mining: devchain.Manual}, "--num-signers=2", "--bundling-mode=manual", "--num_shards=3", "--shard_index=1")
	shardOf := make(map[common.Address]uint64) // of the keys
	for i, key := range w.chain.Keys()[:2] {
		shardOf[crypto.PubkeyToAddress(key.PublicKey)] = 1 + uint64(i)
	}
	accounts := w.deployedAccounts(t, userop.V07, 12)
	perShard := make(map[uint64]int)
	for _, a := range accounts {
		perShard[shard(a.address, 3)]++
		a.send(t, a.op(t, w.count(t)))
	}
	for range 2 {
		tx, _, err := w.eth.TransactionByHash(t.Context(), w.sendBundleNow(t))
		if err != nil {
			t.Fatal(err)
		}
		from, err := types.Sender(types.LatestSignerForChainID(tx.ChainId()), tx)
		if err != nil {
			t.Fatal(err)
		}
		ops, _, err := entrypoint.DecodeBundle(userop.V07, tx.Data())
		if err != nil || len(ops) != perShard[shardOf[from]] {
			t.Errorf("have %d operations (%v), want all %d of shard %d", len(ops), err, perShard[shardOf[from]], shardOf[from])
		}
		for _, op := range ops {
			if have := shard(op.Sender, 3); have != shardOf[from] {
				t.Errorf("an operation of %s, shard %d, in a bundle of shard %d", op.Sender, have, shardOf[from])
			}
		}
	}
	w.mine(t, 1)
	if left := w.mempool(t, accounts[0].ep); len(left) != perShard[0] {
		t.Errorf("have %d operations left, want the %d of the shard that is served elsewhere", len(left), perShard[0])
	}
	if tx := w.sendBundleNow(t); tx != (common.Hash{}) {
		t.Errorf("have bundle %s of another's shard, want none", tx)
	}
}

// shard is uint160(account) mod n, by another way than the pool's.
func shard(account common.Address, n int64) uint64 {
	return new(big.Int).Mod(account.Big(), big.NewInt(n)).Uint64()
}

func TestClearStateEmptiesTheMempool(t *testing.T) {
	t.Parallel()
	w := startWorld(t, interval(), "--bundling-mode=manual")
	a := w.deployedAccounts(t, userop.V09, 1)[0]
	op := a.op(t, w.count(t))
	hash := a.send(t, op)
	var answer string
	if w.call(t, &answer, "debug_bundler_clearState"); answer != "ok" {
		t.Errorf("have %q, want ok", answer)
	}
	if left := w.mempool(t, a.ep); len(left) != 0 {
		t.Errorf("have %v in the mempool, want nothing", left)
	}
	var info any
	if w.call(t, &info, "eth_getUserOperationByHash", hash); info != nil {
		t.Errorf("have %v, want null", info)
	}
	if again := a.send(t, op); again != hash {
		t.Errorf("have %s, want the operation to be taken again as %s", again, hash)
	}
}

func TestDebugMethodsAreAbsentUnlessAskedFor(t *testing.T) {
	t.Parallel()
	w := startWorld(t, interval(), "--rpc-debug=false")
	for _, method := range []string{
		"debug_bundler_sendBundleNow", "debug_bundler_setBundlingMode", "debug_bundler_dumpMempool", "debug_bundler_clearState",
	} {
		if r := w.refused(t, method); r.code != -32601 {
			t.Errorf("%s: have %d %q, want -32601", method, r.code, r.message)
		}
	}
}

func TestWebSocketServesTheSame(t *testing.T) {
	t.Parallel()
	w := startWorld(t, interval())
	overHTTP := w.url
	w.reach(t, "ws"+overHTTP[len("http"):])
	w.url = overHTTP
	a := w.newAccounts(t, userop.V07, 1)[0]
	e := w.estimate(t, a, a.op(t, w.count(t)))
	op := a.op(t, w.count(t), e.exactly())
	w.checkMined(t, a, op, a.run(t, op))
}
