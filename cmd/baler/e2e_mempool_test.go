package main

import (
	"slices"
	"testing"

	"baler/devchain"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
)

func TestAnOperationIsReplacedByABetterPayingOne(t *testing.T) {
	w := startWorld(t, interval(), "--bundling-mode=manual", "--num-signers=1")
	replace := func(t *testing.T, v userop.Version) {
		a := w.deployedAccounts(t, v, 1)[0]
		first := a.send(t, a.op(t, w.count(t), fees(100, 10)))
		a.nonce--
		for _, low := range []change{fees(100, 10), fees(109, 11), fees(110, 10), fees(200, 10), fees(100, 11)} {
			other := a.op(t, w.fail(t, "other"), low)
			if r := a.refused(t, other); r.code != -32602 || !matches(r.message, "^replacement underpriced") {
				t.Errorf("have %d %q, want -32602, replacement underpriced", r.code, r.message)
			}
		}
		if have := w.mempool(t, a.ep); !slices.Equal(have, []common.Hash{first}) {
			t.Fatalf("have mempool %v, want the first operation %s", have, first)
		}
		second := a.send(t, a.op(t, w.count(t), fees(110, 11)))
		if have := w.mempool(t, a.ep); !slices.Equal(have, []common.Hash{second}) {
			t.Fatalf("have mempool %v, want the replacement %s", have, second)
		}
		var gone any
		w.call(t, &gone, "eth_getUserOperationByHash", first)
		if gone != nil {
			t.Errorf("have %v of the replaced operation, want null", gone)
		}
		eventually(t, "a bundle with the replacement", func() error {
			var tx common.Hash
			if err := w.bundler.CallContext(t.Context(), &tx, "debug_bundler_sendBundleNow"); err != nil && w.receiptOf(t, second) == nil {
				return err
			}
			if w.receiptOf(t, second) == nil {
				return errNotMined
			}
			return nil
		})
		if w.receiptOf(t, first) != nil || w.counted(t, a) != 1 {
			t.Errorf("have %d calls, want the replacement's only", w.counted(t, a))
		}
	}
	for _, v := range userop.Versions() { // one after the other: a bundle asked for by one could hold the others' operations
		t.Run("v"+v.String(), func(t *testing.T) { replace(t, v) })
	}
}

func TestOperationsInARowAreAllMined(t *testing.T) {
	w := startWorld(t, interval())
	eachVersion(t, w, func(t *testing.T, v userop.Version) {
		a := w.deployedAccounts(t, v, 1)[0]
		if r := a.refused(t, a.op(t, nil, nonce(0, a.nonce+1))); r.code != -32500 || !matches(r.message, "^AA25") {
			t.Errorf("a gap: have %d %q, want -32500 AA25", r.code, r.message)
		}
		var hashes []common.Hash
		for range 4 {
			hashes = append(hashes, a.send(t, a.op(t, w.count(t))))
		}
		var last uint64
		for i, hash := range hashes {
			r := w.awaitReceipt(t, hash)
			if !r.Success || r.Receipt.BlockNumber.Uint64() < last {
				t.Errorf("operation %d: have success %v in block %d after block %d", i, r.Success, r.Receipt.BlockNumber, last)
			}
			last = r.Receipt.BlockNumber.Uint64()
		}
		if have := w.counted(t, a); have != 4 {
			t.Errorf("have %d calls, want 4", have)
		}
	})
}

func TestAnUnstakedSenderHasFourPendingOperations(t *testing.T) {
	t.Parallel()
	w := startWorld(t, interval(), "--bundling-mode=manual")
	a := w.deployedAccounts(t, userop.V07, 1)[0]
	for range 4 {
		a.send(t, a.op(t, w.count(t)))
	}
	if r := a.refused(t, a.op(t, w.count(t))); r.code != -32505 {
		t.Errorf("the fifth operation: have %d %q, want -32505", r.code, r.message)
	}
	if have := w.mempool(t, a.ep); len(have) != 4 {
		t.Errorf("have mempool %v, want 4 operations", have)
	}
}

func TestNonceKeysOfOneAccountAreIndependent(t *testing.T) {
	w := startWorld(t, interval())
	eachVersion(t, w, func(t *testing.T, v userop.Version) {
		a := w.deployedAccounts(t, v, 1)[0]
		if r := a.refused(t, a.op(t, nil, nonce(9, 1))); r.code != -32500 || !matches(r.message, "^AA25") {
			t.Errorf("a key that begins at 1: have %d %q, want -32500 AA25", r.code, r.message)
		}
		var hashes []common.Hash
		for _, n := range []change{nonce(7, 0), nonce(1<<40, 0), nonce(7, 1), nonce(0, a.nonce)} {
			hashes = append(hashes, a.send(t, a.op(t, w.count(t), n)))
		}
		for _, hash := range hashes {
			if r := w.awaitReceipt(t, hash); !r.Success {
				t.Errorf("operation %s failed", hash)
			}
		}
		if have := w.counted(t, a); have != 4 {
			t.Errorf("have %d calls, want 4", have)
		}
	})
}

// An operation whose time soon begins waits for it, and what has ended leaves by itself.
func TestOperationsWaitForTheirTimeAndEndWithIt(t *testing.T) {
	t.Parallel()
	for _, v := range []userop.Version{userop.V06, userop.V07, userop.V09} {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			w := startWorld(t, devchain.Config{Mining: devchain.Manual}, "--num-signers=1", "--bundling-mode=manual")
			accounts := w.deployedAccounts(t, v, 3)
			begins := w.chain.Head().Time + 20
			waits := accounts[0].send(t, accounts[0].op(t, w.count(t), accounts[0].sponsored(0, begins)))
			now := accounts[2].send(t, accounts[2].op(t, w.count(t), fees(2, 1))) // pays less than the other two
			if r := w.refused(t, "eth_sendUserOperation", accounts[2].op(t, w.count(t), accounts[2].sponsored(0, begins+1000)), accounts[2].ep.Address); r.code != -32503 {
				t.Errorf("much too early: have %d %q, want -32503", r.code, r.message)
			}
			first := w.sendBundleNow(t)
			w.mine(t, 1)
			if tx := w.awaitReceipt(t, now).Receipt.TxHash; tx != first {
				t.Errorf("have the operation in %s, want it in %s", tx, first)
			}
			if w.receiptOf(t, waits) != nil {
				t.Fatal("an operation is mined before its time")
			}
			for w.chain.Head().Time <= begins {
				w.mine(t, 1)
			}
			w.sendBundleNow(t)
			w.mine(t, 1)
			if r := w.awaitReceipt(t, waits); !r.Success {
				t.Error("the operation that has waited failed")
			}

			ends := w.chain.Head().Time + 60
			leaves := accounts[1].send(t, accounts[1].op(t, w.count(t), accounts[1].sponsored(ends, 0)))
			for w.chain.Head().Time <= ends {
				w.mine(t, 1)
			}
			var status struct{ Status, Reason string }
			if w.call(t, &status, "baler_getUserOperationStatus", leaves); status.Status != "dropped" || status.Reason != "expired" {
				t.Errorf("have %+v, want it dropped because it expired", status)
			}
		})
	}
}
