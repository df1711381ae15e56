package main

import (
	"strings"
	"testing"

	"baler/userop"
)

// Twelve accounts send again and again; each time one bundle holds them all. Asked for a bundle of one, each pays for 21,000
// gas of which it uses a twelfth; asked for what bundles have had of late, it pays less, and with an overhead that is not the
// ERC's but what the EntryPoint of the version really takes, for little more than it uses. No bundle makes a loss.
func TestPreVerificationGasFollowsTheLoad(t *testing.T) {
	t.Parallel()
	const n = 12
	charged := make(map[string]float64)
	for _, size := range []string{"1", "auto", "auto --pre-verification-overhead-gas=33000"} {
		w := startWorld(t, manual(), append([]string{"--bundling-mode=manual", "--num-signers=1"},
			strings.Fields("--pvg-expected-bundle-size="+size)...)...)
		list := w.deployedAccounts(t, userop.V08, n)
		first := w.estimate(t, list[0], list[0].op(t, w.count(t)))
		for range 3 {
			asked := w.estimate(t, list[0], list[0].op(t, w.count(t)))
			for _, a := range list {
				a.send(t, a.op(t, w.count(t), asked.exactly()))
			}
			w.bundleNow(t)
		}
		last := w.estimate(t, list[0], list[0].op(t, w.count(t)))
		newest := w.checkBooks(t, 1).Bundles[0]
		if newest.Profit[0] == '-' {
			t.Errorf("size %s: have a loss of %s wei", size, newest.Profit)
		}
		charged[size] = float64(newest.ChargedGas) / float64(newest.GasUsed)
		t.Logf("size %s: preVerificationGas %d at first, %d in the end; charged %.3f of what is used, limit %.3f of it", size,
			first.PreVerificationGas, last.PreVerificationGas, charged[size], float64(newest.GasLimit)/float64(newest.GasUsed))
		if saved := int64(first.PreVerificationGas) - int64(last.PreVerificationGas); size != "1" && saved != 21_000-21_000/n {
			t.Errorf("have %d gas less asked for with bundles of %d, want %d", saved, n, 21_000-21_000/n)
		}
		w.mine(t, 51) // nothing is bundled any more
		if have := w.estimate(t, list[0], list[0].op(t, w.count(t))); have.PreVerificationGas != first.PreVerificationGas {
			t.Errorf("size %s: have preVerificationGas %d after 50 blocks without a bundle, want %d again", size, have.PreVerificationGas, first.PreVerificationGas)
		}
	}
	for size, share := range charged {
		if share < 1 || size != "1" && share >= charged["1"] {
			t.Errorf("size %s: have %.3f of the gas used charged, %.3f for a size of 1, want less, and all of it", size, share, charged["1"])
		}
	}
}
