package main

import (
	"crypto/ecdsa"
	"math/big"
	"slices"
	"strings"
	"testing"

	"baler/devchain"
	"baler/event"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// ahead sends a transaction that stands before our bundles in the next block.
func (c *contest) ahead(t *testing.T, key *ecdsa.PrivateKey, to common.Address, data []byte) common.Hash {
	t.Helper()
	account := addressOf(key)
	nonce, err := c.eth.PendingNonceAt(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	chainID := new(big.Int).SetUint64(c.chain.ChainID())
	tx, err := types.SignNewTx(key, types.LatestSignerForChainID(chainID), &types.DynamicFeeTx{
		ChainID: chainID, Nonce: nonce, GasTipCap: gwei(50), GasFeeCap: gwei(1000), Gas: 500_000, To: &to, Value: new(big.Int), Data: data,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.eth.SendTransaction(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	return tx.Hash()
}

// revertedOnce returns the one bundle that reverted.
func (c *contest) revertedOnce(t *testing.T) event.BundleReverted {
	t.Helper()
	c.events.mu.Lock()
	defer c.events.mu.Unlock()
	if len(c.events.reverted) != 1 {
		t.Fatalf("have %d reverted bundles, want one", len(c.events.reverted))
	}
	return c.events.reverted[0]
}

// An operation passes every simulation, and a transaction that stands before its bundle in the block takes away what its
// validation needs. The bundle reverts; why must be found, and only the culprit may suffer.
func TestABundleThatRevertsOnChainIsExplained(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		sponsored bool
		sabotage  func(t *testing.T, c *contest, culprit *account) common.Hash
		cause     string
	}{
		{"the account's owner empties it", false, func(t *testing.T, c *contest, culprit *account) common.Hash {
			t.Helper()
			c.pay(t, addressOf(culprit.owner), ether(1), nil)
			c.block(t)
			balance, err := c.eth.BalanceAt(t.Context(), culprit.address, nil)
			if err != nil {
				t.Fatal(err)
			}
			return c.ahead(t, culprit.owner, culprit.address, execute(t, addressOf(culprit.owner), balance, nil))
		}, "AA21"},
		{"the paymaster's owner withdraws its deposit", true, func(t *testing.T, c *contest, _ *account) common.Hash {
			t.Helper()
			return c.ahead(t, devchain.OwnerKey(), c.chain.Contracts().Paymasters[userop.V07],
				pack(t, "v0.7/VerifyingPaymaster.json", "withdrawTo", addressOf(devchain.OwnerKey()), ether(1000)))
		}, "AA31"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := startContest(t, nil, "--num-signers=1")
			accounts := c.deployedAccounts(t, userop.V07, 6)
			culprit := accounts[2]
			// Nothing is mined before the sabotage is in place.
			ours := addressOf(c.chain.Keys()[0])
			signer := types.LatestSignerForChainID(new(big.Int).SetUint64(c.chain.ChainID()))
			c.chain.Hold(func(tx *types.Transaction) bool {
				from, err := types.Sender(signer, tx)
				return err == nil && from == ours
			})
			var healthy []common.Hash
			var guilty common.Hash
			for _, a := range accounts {
				op := a.op(t, c.count(t), fees(400, 20))
				if a != culprit {
					healthy = append(healthy, a.send(t, op))
					continue
				}
				if test.sponsored {
					a.sponsored(0, 0)(op)
					a.sign(t, op)
				}
				guilty = a.send(t, op)
			}
			c.block(t)
			sabotage := test.sabotage(t, c, culprit)
			c.chain.Release()
			c.block(t)
			if r, err := c.eth.TransactionReceipt(t.Context(), sabotage); err != nil || r.Status != types.ReceiptStatusSuccessful {
				t.Fatalf("the transaction ahead of the bundle failed: %v", err)
			}

			reverted := c.revertedOnce(t)
			if !strings.Contains(reverted.Cause, test.cause) {
				t.Errorf("have cause %q, want one with %s", reverted.Cause, test.cause)
			}
			if !slices.Equal(reverted.Culprits, []common.Hash{guilty}) {
				t.Errorf("have culprits %v, want %v", reverted.Culprits, guilty)
			}
			if reverted.Operations != len(accounts) {
				t.Errorf("have %d operations in the reverted bundle, want %d", reverted.Operations, len(accounts))
			}
			c.block(t) // the next bundle has all the others
			c.checkOnceEach(t, healthy)
			if r := c.receiptOf(t, guilty); r != nil {
				t.Errorf("the guilty operation was mined in %s", r.Receipt.TxHash)
			}
			if c.events.removedReason(guilty) == "" {
				t.Error("the guilty operation was not removed")
			}
			if f := c.figures(); f.bundles != 2 || f.reverted != 1 {
				t.Errorf("have %v, want one reverted bundle and one with all the healthy operations", f)
			}
			if !test.sponsored {
				return
			}
			// GREP-040: the paymaster is banned, whoever else it would pay for.
			next := accounts[0]
			op := next.op(t, c.count(t), fees(400, 20))
			next.sponsored(0, 0)(op)
			next.sign(t, op)
			if have := next.refused(t, op); have.code != -32504 {
				t.Errorf("have code %d (%s) for another operation of the paymaster, want -32504", have.code, have.message)
			}
		})
	}
}
