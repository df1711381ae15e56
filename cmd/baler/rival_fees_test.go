package main

import (
	"math/big"
	"testing"

	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// Somebody pays 200 gwei in every block of a quiet chain, and has another transaction that waits; our own bundles are all the
// rest that is mined. None of it is a market: bundles go on offering the least, all of them earn, and nobody's operation is
// priced out.
func TestNobodyTalksTheFeesUp(t *testing.T) {
	t.Parallel()
	c := startContest(t, nil, "--num-signers=2")
	accounts := c.deployedAccounts(t, userop.V07, 8)
	dear := func(nonce uint64) *types.Transaction {
		chainID := new(big.Int).SetUint64(c.chain.ChainID())
		tx, err := types.SignNewTx(c.chain.Keys()[rivalKey], types.LatestSignerForChainID(chainID), &types.DynamicFeeTx{
			ChainID: chainID, Nonce: nonce, GasTipCap: gwei(200), GasFeeCap: gwei(1000), Gas: 21_000, To: &common.Address{7}, Value: big.NewInt(1),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.eth.SendTransaction(t.Context(), tx); err != nil {
			t.Fatal(err)
		}
		return tx
	}
	const rounds = 14 // more than the blocks that the oracle reads
	waits := dear(rounds)
	c.chain.Hold(func(tx *types.Transaction) bool { return tx.Hash() == waits.Hash() })
	var hashes []common.Hash
	for round := range uint64(rounds) {
		dear(round)
		for i, a := range accounts {
			if i%4 == int(round%4) { // every bundle has two operations
				hashes = append(hashes, c.send(t, a, c.count(t), fees(30, 2)))
			}
		}
		c.block(t)
	}
	for range 10 {
		c.block(t)
	}
	c.checkOnceEach(t, hashes)
	c.events.mu.Lock()
	defer c.events.mu.Unlock()
	for _, sent := range c.events.sent {
		if most := gwei(1); sent.Fees.MaxPriority.ToBig().Cmp(most) > 0 {
			t.Errorf("have a bundle with a priority fee of %v wei, want no more than the least of the settings", sent.Fees.MaxPriority.ToBig())
		}
	}
	for _, mined := range c.events.mined {
		if mined.Operations > 0 && mined.Earned.Lt(&mined.Cost) {
			t.Errorf("have a bundle that cost %v wei and earned %v", mined.Cost.ToBig(), mined.Earned.ToBig())
		}
	}
}
