package main

import (
	"context"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

const (
	// auditLag is how many blocks the books have time: a process that was killed enters what is missing in the heads after its start.
	auditLag = 100
	// auditPatience is for how many blocks more a transaction may be missing, while faults keep the process from the node.
	auditPatience = 200
)

// audit compares the books with the chain while the bundler runs. Which transaction is missing is known while the processes' logs still
// tell of it, and not only that the sums are short at the end.
type audit struct {
	next    uint64                 // block to look at
	missing map[common.Hash]absent // in the chain, and not in the books
}

// absent is a transaction that the books do not have.
type absent struct {
	what  string
	since uint64 // block at which that was seen
}

// look looks at the blocks that are old enough by now, and once more for what was missing.
func (a *audit) look(t *testing.T, w *world, senders int) {
	t.Helper()
	head := w.chain.Head().Number.Uint64()
	if head < a.next+auditLag {
		return
	}
	asking, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var have books
	if err := w.bundler.CallContext(asking, &have, "baler_getProfit", map[string]any{"bundles": 1000}); err != nil {
		return // it is away: the next look sees more
	}
	booked := make(map[common.Hash]bool)
	for _, b := range have.Bundles {
		booked[b.TransactionHash] = true
	}
	ours := make(map[common.Address]bool)
	for _, key := range w.chain.Keys()[:senders] {
		ours[addressOf(key)] = true
	}
	signer := types.LatestSignerForChainID(new(big.Int).SetUint64(w.chain.ChainID()))
	for ; a.next+auditLag <= head; a.next++ {
		block, err := w.eth.BlockByNumber(t.Context(), new(big.Int).SetUint64(a.next))
		if err != nil {
			t.Fatal(err)
		}
		for _, tx := range block.Transactions() {
			if from, err := types.Sender(signer, tx); err == nil && ours[from] && !booked[tx.Hash()] {
				a.missing[tx.Hash()] = absent{fmt.Sprintf("block %d, transaction %s of %s with nonce %d", a.next, tx.Hash(), from, tx.Nonce()), head}
			}
		}
	}
	for hash, x := range a.missing {
		switch {
		case booked[hash]:
			delete(a.missing, hash)
		case head > x.since+auditPatience:
			t.Errorf("the books do not have %s, seen at block %d and now at %d", x.what, x.since, head)
		}
	}
}
