package main

import (
	"errors"
	"sync/atomic"
	"testing"

	"baler/entrypoint"
	"baler/event"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// refusal texts of nodes: one that the table of node answers knows, and one that it does not.
var (
	errKnownRefusal   = errors.New("address already reserved: by policy")
	errUnheardRefusal = errors.New("this transaction is not to our liking")
)

// poisonGate refuses bundles that hold an operation of the poisoned account, and every transaction while it is shut.
type poisonGate struct {
	poison  atomic.Pointer[common.Address]
	shut    atomic.Bool
	refusal error
}

func (g *poisonGate) check(raw []byte) error {
	tx := new(types.Transaction)
	if err := tx.UnmarshalBinary(raw); err != nil {
		return err
	}
	if g.shut.Load() {
		return g.refusal
	}
	poison := g.poison.Load()
	if poison == nil || len(tx.Data()) == 0 {
		return nil
	}
	ops, _, err := entrypoint.DecodeBundle(userop.V07, tx.Data())
	if err != nil {
		return err
	}
	for _, op := range ops {
		if op.Sender == *poison {
			return g.refusal
		}
	}
	return nil
}

func TestAPoisonedOperationIsIsolatedAndRemoved(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		refusal error
		size    int // of the first bundle
		most    int // bundles refused before the first is taken: as many as it takes to halve the first to one
	}{
		{"the node says that it refuses", errKnownRefusal, 32, 6},
		{"nobody knows what the node says", errUnheardRefusal, 16, 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			gate := &poisonGate{refusal: test.refusal}
			c := startContest(t, gate.check, "--num-signers=1")
			accounts := c.deployedAccounts(t, userop.V07, test.size+8)
			poisoned, others, later := accounts[0], accounts[1:test.size], accounts[test.size:]
			call := c.count(t)
			gate.poison.Store(&poisoned.address)
			// The best paying one is in the first half of every bundle.
			culprit := c.send(t, poisoned, call, fees(400, 40))
			var healthy []common.Hash
			for _, a := range others {
				healthy = append(healthy, c.send(t, a, call))
			}

			// Others keep coming, or nobody could tell the operation from a provider that refuses everything.
			for blocks := 0; c.events.removedReason(culprit) == ""; blocks++ {
				if blocks == 300 {
					t.Fatal("the poisoned operation is not removed")
				}
				next := later[blocks%len(later)]
				if last := len(healthy) - len(later); last < len(others) || c.events.isMined(healthy[last]) {
					healthy = append(healthy, c.send(t, next, call, fees(200, 20)))
				}
				c.block(t)
			}
			for range 40 {
				if len(c.mempool(t, poisoned.ep)) == 0 {
					break
				}
				c.block(t)
			}
			c.checkOnceEach(t, healthy)
			if r := c.receiptOf(t, culprit); r != nil {
				t.Errorf("the poisoned operation was mined in %s", r.Receipt.TxHash)
			}
			for _, hash := range healthy {
				if reason := c.events.removedReason(hash); reason != "" {
					t.Errorf("healthy operation %s was removed: %s", hash, reason)
				}
			}
			if have := c.refusedBeforeAccepted(); have > test.most {
				t.Errorf("have %d bundles refused before the first accepted one, want at most %d", have, test.most)
			}
			t.Logf("removed at block %d: %q; %d bundles refused before the first accepted, %d in all, %d accepted",
				c.chain.Head().Number, c.events.removedReason(culprit), c.refusedBeforeAccepted(), c.answered(refusedOnes), c.answered(acceptedOnes))
		})
	}
}

func acceptedOnes(e event.BundleSent) bool { return e.Answer == "accepted" }
func refusedOnes(e event.BundleSent) bool  { return e.Answer != "accepted" }

// answered counts the bundles sent whose answer was such.
func (c *contest) answered(such func(event.BundleSent) bool) (n int) {
	c.events.mu.Lock()
	defer c.events.mu.Unlock()
	for _, s := range c.events.sent {
		if s.Operations > 0 && such(s) {
			n++
		}
	}
	return n
}

// refusedBeforeAccepted counts the bundles refused before the first accepted one.
func (c *contest) refusedBeforeAccepted() int {
	c.events.mu.Lock()
	defer c.events.mu.Unlock()
	for i, s := range c.events.sent {
		if acceptedOnes(s) {
			return i
		}
	}
	return len(c.events.sent)
}

func TestANodeThatRefusesEverythingCostsNoOperation(t *testing.T) {
	t.Parallel()
	for _, refusal := range []error{errKnownRefusal, errUnheardRefusal} {
		t.Run(refusal.Error(), func(t *testing.T) {
			t.Parallel()
			gate := &poisonGate{refusal: refusal}
			c := startContest(t, gate.check, "--num-signers=2")
			accounts := c.deployedAccounts(t, userop.V07, 20)
			gate.shut.Store(true)
			hashes := c.sendOneEach(t, accounts)
			for range 20 {
				c.block(t)
			}
			if have := c.answered(acceptedOnes); have != 0 {
				t.Fatalf("have %d bundles accepted, want none", have)
			}
			gate.shut.Store(false)
			blocks := 0
			for ; len(c.mempool(t, accounts[0].ep)) > 0; blocks++ {
				if blocks == 60 {
					t.Fatal("operations wait 60 blocks after the node takes bundles again")
				}
				c.block(t)
			}
			c.checkOnceEach(t, hashes)
			c.checkSigners(t, 2)
			for _, hash := range hashes {
				if reason := c.events.removedReason(hash); reason != "" {
					t.Errorf("operation %s was removed: %s", hash, reason)
				}
			}
			t.Logf("all mined %d blocks after the node takes bundles again", blocks)
		})
	}
}
