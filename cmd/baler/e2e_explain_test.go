package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// explained is `baler explain HASH`.
func (w *world) explained(t *testing.T, hash common.Hash, flags ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	args := append([]string{"explain", hash.Hex(), "--url", w.url}, flags...)
	if code := run(context.WithoutCancel(t.Context()), args, console{out: &out, err: &errs}); code != exitOK {
		t.Fatalf("have exit code %d: %s", code, &errs)
	}
	return out.String()
}

// An operation that waits for the base fee to fall is told at which it will be taken; then the chain is brought there, one wei
// above and exactly.
func TestExplainTellsAtWhichBaseFeeAnOperationIsTaken(t *testing.T) {
	t.Parallel()
	w := startWorld(t, manual(), "--bundling-mode=manual", "--num-signers=1")
	list := w.deployedAccounts(t, userop.V08, 1)
	w.chain.SetBaseFee(gwei(20))
	w.mine(t, 1)
	hash := list[0].send(t, list[0].op(t, w.count(t), fees(21, 2)))
	second := list[0].send(t, list[0].op(t, w.count(t), fees(21, 2)))
	var sent common.Hash
	w.call(t, &sent, "debug_bundler_sendBundleNow")
	if sent != (common.Hash{}) {
		t.Fatalf("have bundle %s, want the operation to wait", sent)
	}
	var answer struct {
		Expected struct {
			HighestBaseFee *hexutil.Big    `json:"highestBaseFee"`
			EarliestBlock  *hexutil.Uint64 `json:"earliestBlock"`
			BlockNumber    hexutil.Uint64  `json:"blockNumber"`
		} `json:"expected"`
	}
	if err := json.Unmarshal([]byte(w.explained(t, hash, "--json")), &answer); err != nil {
		t.Fatal(err)
	}
	highest := answer.Expected.HighestBaseFee.ToInt()
	text := w.explained(t, hash)
	for _, want := range []string{
		"pending", "received", "added", "skipped", "max fee too low", "waits: its max fee is too low for the next block", "waits: left out last time",
		fmt.Sprintf("taken at a base fee of %v or less: from block %d on at the earliest", highest, uint64(*answer.Expected.EarliestBlock)),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("have no %q in:\n%s", want, text)
		}
	}
	if text := w.explained(t, second); !strings.Contains(text, "waits: 1 operations of its sender come before it") {
		t.Errorf("have no word of the operation before it in:\n%s", text)
	}
	// EIP-1559: an empty block takes an eighth off, so this one's base fee makes the next one's.
	w.mine(t, int(uint64(*answer.Expected.EarliestBlock)-uint64(answer.Expected.BlockNumber))-2)
	w.call(t, &sent, "debug_bundler_sendBundleNow")
	if sent != (common.Hash{}) {
		t.Fatalf("a block before it is due: have bundle %s", sent)
	}
	w.mine(t, 1)
	w.bundleNow(t)
	text = w.explained(t, hash)
	if !strings.HasPrefix(text, "included in ") || !strings.Contains(text, "mined") || strings.Contains(text, "waits") {
		t.Errorf("have, after it is mined:\n%s", text)
	}
	if highest.Cmp(big.NewInt(0)) <= 0 || highest.Cmp(gwei(21)) >= 0 {
		t.Errorf("have highest base fee %v, want less than the max fee", highest)
	}
}
