package main

import (
	"fmt"
	"testing"

	"baler/entrypoint"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
)

// whyReverted says what the chain knows of a bundle that failed: where it stands, and what running it again there ends with.
func (w *world) whyReverted(t *testing.T, tx *types.Transaction, receipt *types.Receipt) string {
	t.Helper()
	var frame struct {
		Error  string        `json:"error"`
		Output hexutil.Bytes `json:"output"`
	}
	err := w.chain.Client().CallContext(t.Context(), &frame, "debug_traceTransaction", tx.Hash(), map[string]any{
		"tracer": "callTracer", "tracerConfig": map[string]any{"onlyTopCall": true},
	})
	if err != nil {
		t.Fatal(err)
	}
	ops := bundled(t, tx)
	culprit := fmt.Sprintf("%d operations", len(ops))
	if at := culpritOf(entrypoint.DecodeRevert(frame.Output)); at < uint64(len(ops)) {
		op := ops[at]
		hash := op.Hash(*tx.To(), w.chain.ChainID(), op.Delegate())
		culprit += fmt.Sprintf(", the operation %s of %s with nonce %s", hash, op.Sender, op.Nonce.Dec())
		for _, log := range w.events(t)[hash] {
			culprit += fmt.Sprintf(" (mined in block %d, transaction %d)", log.BlockNumber, log.TxIndex)
		}
	}
	return fmt.Sprintf("block %d, transaction %d: %s of %s with nonce %d, %d of %d gas: %s %s; %s", receipt.BlockNumber, receipt.TransactionIndex,
		tx.Hash(), senderOf(tx), tx.Nonce(), receipt.GasUsed, tx.Gas(), frame.Error, entrypoint.DecodeRevert(frame.Output), culprit)
}

// shares names the operations of a reverted bundle that were mined before, in a transaction of another of these keys: an operation is in live
// transactions of one key at a time, so there must be none.
func (w *world) shares(t *testing.T, tx *types.Transaction, receipt *types.Receipt, keys map[common.Address]bool) (list []string) {
	t.Helper()
	events := w.events(t)
	for _, op := range bundled(t, tx) {
		hash := op.Hash(*tx.To(), w.chain.ChainID(), op.Delegate())
		for _, log := range events[hash] {
			other, _, err := w.eth.TransactionByHash(t.Context(), log.TxHash)
			if err != nil {
				t.Fatal(err)
			}
			first := log.BlockNumber < receipt.BlockNumber.Uint64() || log.BlockNumber == receipt.BlockNumber.Uint64() && log.TxIndex < receipt.TransactionIndex
			if by := senderOf(other); first && keys[by] && by != senderOf(tx) {
				list = append(list, fmt.Sprintf("operation %s is in %s of %s (nonce %d, block %s), which reverted, and was mined in %s of %s (nonce %d, block %d)\n%s",
					hash, tx.Hash(), senderOf(tx), tx.Nonce(), receipt.BlockNumber, other.Hash(), by, other.Nonce(), log.BlockNumber, w.explained(t, hash)))
			}
		}
	}
	return list
}

// bundled returns the operations of a transaction; none, if it calls no EntryPoint.
func bundled(t *testing.T, tx *types.Transaction) []*userop.UserOperation {
	t.Helper()
	for _, v := range userop.Versions() {
		if *tx.To() != entrypoint.Canonical(v).Address {
			continue
		}
		ops, _, err := entrypoint.DecodeBundle(v, tx.Data())
		if err != nil {
			t.Fatal(err)
		}
		return ops
	}
	return nil
}

// culpritOf returns the operation that the EntryPoint names, or a number that no bundle reaches.
func culpritOf(r entrypoint.Revert) uint64 {
	switch r := r.(type) {
	case entrypoint.FailedOp:
		return r.OpIndex
	case entrypoint.FailedOpWithRevert:
		return r.OpIndex
	default:
		return 1 << 62
	}
}
