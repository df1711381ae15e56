package main

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// shutGate takes no transaction of one account, and remembers whose bundles had which accounts' operations.
type shutGate struct {
	t *testing.T

	mu    sync.Mutex
	shut  common.Address
	users map[common.Address][]common.Address // senders of operations -> signers
}

func (g *shutGate) check(raw []byte) error {
	tx := new(types.Transaction)
	if err := tx.UnmarshalBinary(raw); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	signer := senderOf(tx)
	if signer == g.shut {
		return errors.New("transaction underpriced") // says nothing of the operations
	}
	for _, op := range bundled(g.t, tx) {
		if users := g.users[op.Sender]; !slices.Contains(users, signer) {
			g.users[op.Sender] = append(users, signer)
		}
	}
	return nil
}

func (g *shutGate) shutFor(signer common.Address) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = signer
}

// A bundle reverts because of a transaction before it. A reorg takes both back, without that transaction the bundle does what it was made
// for: until then no other key may have its operations, even if the key itself cannot send them again for a while.
func TestAReorgOfABundleThatRevertedLeavesItsOperationsToItsSender(t *testing.T) {
	t.Parallel()
	gate := &shutGate{t: t, users: make(map[common.Address][]common.Address)}
	c := startContest(t, gate.check, "--num-signers=2")
	accounts := c.deployedAccounts(t, userop.V07, 6)
	culprit := accounts[2]
	c.pay(t, addressOf(culprit.owner), ether(1), nil)
	c.block(t)
	keys := []common.Address{addressOf(c.chain.Keys()[0]), addressOf(c.chain.Keys()[1])}
	c.chain.Hold(func(tx *types.Transaction) bool { return slices.Contains(keys, senderOf(tx)) })
	var hashes []common.Hash
	for _, a := range accounts {
		hashes = append(hashes, c.send(t, a, c.count(t), fees(400, 20)))
	}
	c.block(t)
	before := c.chain.Head().Number.Uint64()
	gate.mu.Lock()
	users := gate.users[culprit.address]
	gate.mu.Unlock()
	if len(users) != 1 {
		t.Fatalf("have the operation in bundles of %v, want one key", users)
	}
	balance, err := c.eth.BalanceAt(t.Context(), culprit.address, nil)
	if err != nil {
		t.Fatal(err)
	}
	sabotage := c.ahead(t, culprit.owner, culprit.address, execute(t, addressOf(culprit.owner), balance, nil))
	gate.shutFor(users[0])
	c.chain.Release()
	c.block(t)
	reverted := c.revertedOnce(t)
	if len(reverted.Hashes) != len(accounts) {
		t.Fatalf("have %d operations in the reverted bundle, want %d", len(reverted.Hashes), len(accounts))
	}
	for range 3 { // the other key would have had them here
		c.block(t)
	}

	if err := c.chain.Reorg(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	if err := c.chain.Drop(sabotage); err != nil {
		t.Fatal(err)
	}
	gate.shutFor(common.Address{})
	for range 6 { // the new branch has to be longer
		c.block(t)
	}
	c.checkOnceEach(t, hashes)
	gate.mu.Lock()
	defer gate.mu.Unlock()
	for sender, signers := range gate.users {
		if len(signers) != 1 {
			t.Errorf("an operation of %s was in bundles of %v, want one key", sender, signers)
		}
	}
}
