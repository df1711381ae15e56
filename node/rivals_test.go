package node_test

import (
	"fmt"
	"testing"

	"baler/node"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// Operations that a transaction of our own mined instead of the one they were in were taken by no rival: bundles stay as large.
func TestAReplacedBundleIsNoRivalsDoing(t *testing.T) {
	t.Parallel()
	s := startStack(t, func(c *node.Config) {
		c.Signers = c.Signers[:1]
		c.Sender.Manual, c.Sender.MaxBlocksToWaitForMine = false, 1
	})
	accounts := s.accounts(t, userop.V07, 8, true)
	s.call(t, nil, "debug_bundler_setBundlingMode", "manual")
	round := func() (hashes []common.Hash) {
		for _, a := range accounts {
			hashes = append(hashes, a.send(t, a.op(t)))
		}
		return hashes
	}
	hashes := round()
	first := s.sendBundle(t)
	s.chain.Hold(func(tx *types.Transaction) bool { return tx.Hash() == first })
	s.call(t, nil, "debug_bundler_setBundlingMode", "auto")
	eventually(t, "the bundle is replaced and mined", func() error {
		s.mine(t, 1)
		if have := s.status(t, hashes[0]); have.Status != "included" || *have.TransactionHash == first {
			return fmt.Errorf("have %v", have)
		}
		return nil
	})
	s.call(t, nil, "debug_bundler_setBundlingMode", "manual")
	hashes = round()
	second := s.sendBundle(t)
	s.mine(t, 1)
	for _, hash := range hashes {
		if have := s.becomes(t, hash, "included", "included"); *have.TransactionHash != second {
			t.Errorf("operation %s was mined in %s, want all in %s", hash, have.TransactionHash, second)
		}
	}
}
