package main

import (
	"errors"
	"fmt"
	"testing"

	"baler/chain"
	"baler/userop"
)

// A bundle is mined while no pool is there, and its builder dies too when the bundle is out of a reorg's reach: it could tell nobody. The
// pool's books have it all the same when both are there again.
func TestABundleThatNobodyCouldBeToldOfIsInTheBooks(t *testing.T) {
	t.Parallel()
	f, w := wholeSplitFleet(t)
	a := w.deployedAccounts(t, userop.V07, 1)[0]
	w.awaitReceipt(t, a.send(t, a.op(t, w.count(t))))
	w.checkBooks(t, splitKeys)

	f.chain.Hold(nil)
	hash := a.send(t, a.op(t, w.count(t)))
	eventually(t, "the bundle is sent", func() error {
		if have := w.status(t, hash); have.Status != "submitted" {
			return fmt.Errorf("have %+v", have)
		}
		return nil
	})
	for _, pool := range f.pools {
		pool.program.kill()
	}
	f.chain.Release()
	mined := f.chain.Head().Number.Uint64() + chain.ReorgDepth + 10
	eventually(t, "the bundle is out of a reorg's reach", func() error {
		if have := f.chain.Head().Number.Uint64(); have < mined {
			return fmt.Errorf("have block %d, want %d", have, mined)
		}
		return nil
	})
	f.restart(t)
	f.whole(t, w)
	w.awaitReceipt(t, hash)
	w.checkBooks(t, splitKeys)
}

// A reorg takes a bundle back while no pool is there, and its builder dies too. The pool's books have it no more when both are there again,
// and once when it is mined again.
func TestABundleWhoseEndNobodyCouldBeToldLeavesTheBooks(t *testing.T) {
	t.Parallel()
	f, w := wholeSplitFleet(t)
	a := w.deployedAccounts(t, userop.V07, 1)[0]
	w.awaitReceipt(t, a.send(t, a.op(t, w.count(t))))
	parent := f.chain.Head().Number.Uint64()
	hash := a.send(t, a.op(t, w.count(t)))
	w.awaitReceipt(t, hash)
	w.checkBooks(t, splitKeys)

	for _, pool := range f.pools {
		pool.program.kill()
	}
	f.chain.Hold(nil)
	if err := f.chain.Reorg(t.Context(), parent); err != nil {
		t.Fatal(err)
	}
	f.chain.SetAutoMine(true)
	eventually(t, "its builder sees that the bundle is taken back", func() error {
		for _, p := range f.all {
			if p.command == "builder" && len(p.program.logs("bundle un-mined by a reorg")) > 0 {
				return nil
			}
		}
		return errors.New("none does")
	})
	f.restart(t)
	f.whole(t, w)
	w.checkBooks(t, splitKeys)
	f.chain.Release()
	w.awaitReceipt(t, hash)
	w.checkBooks(t, splitKeys)
}

// restart kills the builders and starts them and the pools, which are dead.
func (f *splitFleet) restart(t *testing.T) {
	t.Helper()
	for _, p := range f.all {
		if p.command == "builder" {
			p.program.kill()
		}
		if p.command != "rpc" {
			p.start(t)
		}
	}
}
