package main

import (
	"crypto/ecdsa"
	"encoding/binary"
	"math/big"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"

	"baler/entrypoint"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
)

// rival watches the node's pool for our bundles, and takes some of their operations into bundles of its own: mostly into
// one that pays more and so stands before ours in the block, which makes all of ours revert; sometimes into an earlier
// block than ours.
type rival struct {
	c       *contest
	key     *ecdsa.PrivateKey
	nonce   uint64
	percent uint64
	taste   taste
	shown   map[common.Hash]map[common.Hash]bool // operation -> our transactions that it was seen in
	taken   map[common.Hash]bool                 // operations in its bundles
	ours    map[common.Address]bool
}

// taste is what decides whether a rival takes an operation that it has seen so many times before.
type taste func(op *userop.UserOperation, hash common.Hash, before int) []byte

// byOperation: chance decides once for each operation, as for a rival that has some of the operations in its own pool.
func byOperation(_ *userop.UserOperation, hash common.Hash, _ int) []byte { return hash[:] }

// byBundle: chance decides anew whenever an operation is seen in a new bundle.
func byBundle(_ *userop.UserOperation, hash common.Hash, before int) []byte {
	return append(hash[:], byte(before))
}

// byAccount: chance decides once for each account, as for wallets that send their operations to both bundlers.
func byAccount(op *userop.UserOperation, _ common.Hash, _ int) []byte { return op.Sender[:] }

func newRival(c *contest, percent uint64, taste taste) *rival {
	r := &rival{
		c: c, key: c.chain.Keys()[rivalKey], percent: percent, taste: taste,
		shown: make(map[common.Hash]map[common.Hash]bool), taken: make(map[common.Hash]bool), ours: make(map[common.Address]bool),
	}
	for _, key := range c.chain.Keys()[:signerKeys] {
		r.ours[addressOf(key)] = true
	}
	return r
}

// draw is a number below 100 that follows from the seed and the bytes.
func draw(seed string, b []byte) uint64 {
	return binary.BigEndian.Uint64(crypto.Keccak256([]byte(seed), b)) % 100
}

// wants reports whether the rival takes the operation now that it sees it in the transaction.
func (r *rival) wants(op *userop.UserOperation, hash, tx common.Hash) bool {
	if r.taken[hash] || r.shown[hash][tx] {
		return false
	}
	if r.shown[hash] == nil {
		r.shown[hash] = make(map[common.Hash]bool)
	}
	before := len(r.shown[hash])
	r.shown[hash][tx] = true
	r.taken[hash] = draw("taken", r.taste(op, hash, before)) < r.percent
	return r.taken[hash]
}

// strike takes what it wants of the bundles that wait, and returns the hashes of those of our transactions that the next
// block must not have, because the rival is a block earlier.
func (r *rival) strike(t *testing.T) (late map[common.Hash]bool) {
	t.Helper()
	late = make(map[common.Hash]bool)
	var loot []*userop.UserOperation
	for _, tx := range r.waiting(t) {
		ops, _, err := entrypoint.DecodeBundle(userop.V07, tx.Data())
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range ops {
			hash := op.Hash(entrypoint.Canonical(userop.V07).Address, r.c.chain.ChainID(), common.Address{})
			if !r.wants(op, hash, tx.Hash()) {
				continue
			}
			loot = append(loot, op)
			if draw("earlier", hash[:]) < 10 {
				late[tx.Hash()] = true
			}
		}
	}
	if len(loot) > 0 {
		r.send(t, loot)
	}
	return late
}

// waiting lists our bundles in the node's pool, in the order of their hashes.
func (r *rival) waiting(t *testing.T) []*types.Transaction {
	t.Helper()
	var content struct {
		Pending map[common.Address]map[string]*types.Transaction
	}
	if err := r.c.chain.Client().CallContext(t.Context(), &content, "txpool_content"); err != nil {
		t.Fatal(err)
	}
	var txs []*types.Transaction
	for from, byNonce := range content.Pending {
		for _, tx := range byNonce {
			if r.ours[from] && *tx.To() == entrypoint.Canonical(userop.V07).Address {
				txs = append(txs, tx)
			}
		}
	}
	slices.SortFunc(txs, func(a, b *types.Transaction) int { return a.Hash().Cmp(b.Hash()) })
	return txs
}

func (r *rival) send(t *testing.T, ops []*userop.UserOperation) {
	t.Helper()
	chainID := new(big.Int).SetUint64(r.c.chain.ChainID())
	to := entrypoint.Canonical(userop.V07).Address
	tx, err := types.SignNewTx(r.key, types.LatestSignerForChainID(chainID), &types.DynamicFeeTx{
		ChainID: chainID, Nonce: r.nonce, GasTipCap: gwei(50), GasFeeCap: gwei(1000), Gas: 600_000 * uint64(len(ops)),
		To: &to, Value: new(big.Int), Data: entrypoint.EncodeHandleOps(userop.V07, ops, addressOf(r.key)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.c.eth.SendTransaction(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	r.nonce++
}

// contend lets accounts send operations, the next when the last is mined, while the rival takes its part, until all are
// mined. It returns their hashes.
func (c *contest) contend(t *testing.T, accounts []*account, each int, r *rival) []common.Hash {
	t.Helper()
	var all []common.Hash
	last := make([]common.Hash, len(accounts)) // zero: may send
	left := make([]int, len(accounts))
	call := c.count(t)
	for i := range left {
		left[i] = each
	}
	for blocks := 0; ; blocks++ {
		if blocks == 100*each*len(accounts) {
			t.Fatal("operations are not mined")
		}
		var wallets sync.WaitGroup
		sent := make([]bool, len(accounts))
		for i, a := range accounts {
			if last[i] != (common.Hash{}) && !c.events.isMined(last[i]) || left[i] == 0 {
				continue
			}
			left[i]--
			sent[i] = true
			wallets.Go(func() { last[i] = c.send(t, a, call, fees(200, 20)) })
		}
		wallets.Wait()
		for i := range accounts {
			if sent[i] {
				all = append(all, last[i])
			}
		}
		if len(all) == each*len(accounts) && !slices.ContainsFunc(all, func(h common.Hash) bool { return !c.events.isMined(h) }) {
			return all
		}
		late := r.strike(t)
		c.chain.Hold(func(tx *types.Transaction) bool { return late[tx.Hash()] })
		c.block(t)
		c.chain.Release()
	}
}

// racedEach is how many operations each account sends in a contest.
const racedEach = 4

// racedAccounts is how many accounts send operations in a contest; RIVAL_ACCOUNTS says more, for the figures in
// docs/benchmarks.md.
func racedAccounts() int {
	if n, err := strconv.Atoi(os.Getenv("RIVAL_ACCOUNTS")); err == nil {
		return n
	}
	return 50
}

func TestARivalTakesOurOperations(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		percent uint64
		taste   taste
	}{
		{"5 percent of the operations", 5, byOperation},
		{"20 percent of the operations", 20, byOperation},
		{"20 percent of the operations of every bundle", 20, byBundle},
		{"all operations of 20 percent of the accounts", 20, byAccount},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := startContest(t, nil, "--num-signers=2", "--max-priority-fee-per-gas=1000000000")
			r := newRival(c, test.percent, test.taste)
			hashes := c.contend(t, c.deployedAccounts(t, userop.V07, racedAccounts()), racedEach, r)

			for _, hash := range hashes {
				if reason := c.events.removedReason(hash); reason != "" {
					t.Errorf("operation %s was removed: %s", hash, reason)
				}
			}
			c.checkOnceEach(t, hashes)
			c.checkSigners(t, 2)
			c.checkRival(t, r)
			if found := c.checkBooks(t, 2); found.Total.Reverted == 0 {
				t.Error("have no reverted bundle in the books, want them charged")
			}
			t.Logf("%v", c.figures())
		})
	}
}

// checkRival checks that the rival has mined operations that we answer for, and that we mined the others.
func (c *contest) checkRival(t *testing.T, r *rival) {
	t.Helper()
	theirs := 0
	for hash, taken := range r.taken {
		if !taken {
			continue
		}
		tx, _, err := c.eth.TransactionByHash(t.Context(), c.receiptOf(t, hash).Receipt.TxHash)
		if err != nil {
			t.Fatal(err)
		}
		from, err := types.Sender(types.LatestSignerForChainID(tx.ChainId()), tx)
		if err != nil {
			t.Fatal(err)
		}
		if from == addressOf(r.key) {
			theirs++
		}
	}
	if f := c.figures(); theirs == 0 || f.total != theirs+f.ours {
		t.Errorf("have %d operations mined by the rival and %d by us, want %d together", theirs, f.ours, f.total)
	}
}
