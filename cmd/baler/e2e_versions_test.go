package main

import (
	"bytes"
	"encoding/json"
	"math/big"
	"slices"
	"testing"

	"baler/entrypoint"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/google/go-cmp/cmp"
)

// eachVersion runs a test for every EntryPoint version, all at the same time on one chain with one bundler. The test that
// calls it is not parallel itself: its chain would go on making blocks while its versions wait for their turn.
func eachVersion(t *testing.T, w *world, test func(t *testing.T, v userop.Version)) {
	t.Helper()
	for _, v := range userop.Versions() {
		t.Run("v"+v.String(), func(t *testing.T) {
			t.Parallel()
			test(t, v)
		})
	}
}

func TestOperationsOfEveryVersionAreMined(t *testing.T) {
	w := startWorld(t, interval())
	eachVersion(t, w, func(t *testing.T, v userop.Version) {
		a := w.newAccounts(t, v, 1)[0]

		t.Run("deployed by its factory", func(t *testing.T) {
			op := a.op(t, w.count(t))
			r := a.run(t, op)
			w.checkMined(t, a, op, r)
			if !r.Success || w.counted(t, a) != 1 {
				t.Errorf("have success %v and %d calls of the counter, want true and 1", r.Success, w.counted(t, a))
			}
			if code, err := w.eth.CodeAt(t.Context(), a.address, nil); err != nil || len(code) == 0 {
				t.Errorf("the account has no code after its first operation (%v)", err)
			}
		})
		t.Run("plain call", func(t *testing.T) {
			op := a.op(t, w.count(t))
			r := a.run(t, op)
			w.checkMined(t, a, op, r)
			if !r.Success || w.counted(t, a) != 2 {
				t.Errorf("have success %v and %d calls of the counter, want true and 2", r.Success, w.counted(t, a))
			}
			if !slices.ContainsFunc(r.Logs, func(l *types.Log) bool { return l.Address == w.chain.Contracts().Counter }) {
				t.Error("the receipt's logs lack the counter's event")
			}
		})
		t.Run("sponsored", func(t *testing.T) {
			poor := w.counterfactual(t, v) // owns nothing
			op := poor.op(t, w.count(t), poor.sponsored(0, 0))
			r := poor.run(t, op)
			w.checkMined(t, poor, op, r)
			if want := w.chain.Contracts().Paymasters[v]; !r.Success || r.Paymaster != want || w.counted(t, poor) != 1 {
				t.Errorf("have success %v, paymaster %s, %d calls, want true, %s, 1", r.Success, r.Paymaster, w.counted(t, poor), want)
			}
		})
		t.Run("failing call", func(t *testing.T) {
			op := a.op(t, w.fail(t, "no luck today"))
			r := a.run(t, op)
			w.checkMined(t, a, op, r)
			if reason := entrypoint.RevertReason(r.Reason); r.Success || reason != "no luck today" {
				t.Errorf("have success %v, reason %q, want false, \"no luck today\"", r.Success, reason)
			}
		})
		if left := w.mempool(t, a.ep); len(left) != 0 {
			t.Errorf("have %v left in the mempool, want nothing", left)
		}
	})
}

// counted is how often the account has called the counter, as the contract says.
func (w *world) counted(t *testing.T, a *account) int64 {
	t.Helper()
	answer := w.read(t, w.chain.Contracts().Counter, pack(t, "shared/Counter.json", "counters", a.address))
	return new(big.Int).SetBytes(answer).Int64()
}

// checkMined compares what the bundler says about a mined operation with what the chain says.
func (w *world) checkMined(t *testing.T, a *account, op *userop.UserOperation, r *receipt) {
	t.Helper()
	onChain, err := w.eth.TransactionReceipt(t.Context(), r.Receipt.TxHash)
	if err != nil {
		t.Fatalf("the bundle's transaction: %v", err)
	}
	if diff := cmp.Diff(asJSON(t, onChain), asJSON(t, r.Receipt)); diff != "" {
		t.Errorf("the bundle's receipt is not the chain's (-chain +bundler):\n%s", diff)
	}
	at := slices.IndexFunc(onChain.Logs, func(l *types.Log) bool {
		return entrypoint.IsEvent(l, a.ep.Address, entrypoint.TopicUserOperationEvent) && l.Topics[1] == r.UserOpHash
	})
	if at < 0 {
		t.Fatalf("the chain has no UserOperationEvent of %s in the bundle", r.UserOpHash)
	}
	event, err := entrypoint.ParseUserOperationEvent(onChain.Logs[at])
	if err != nil {
		t.Fatal(err)
	}
	have := []any{
		r.EntryPoint, r.Sender, r.Nonce.ToInt().String(), r.Paymaster, r.ActualGasCost.ToInt().String(), r.ActualGasUsed.ToInt().String(), r.Success,
	}
	want := []any{
		a.ep.Address, op.Sender, op.Nonce.Dec(), event.Paymaster, event.ActualGasCost.Dec(), event.ActualGasUsed.Dec(), event.Success,
	}
	if !slices.Equal(have, want) {
		t.Errorf("have receipt %v, want %v", have, want)
	}
	// The operation's own logs are a row of the bundle's, up to its UserOperationEvent, and hold no other operation's.
	if len(r.Logs) == 0 || len(r.Logs) > at+1 {
		t.Fatalf("have %d logs, want 1 to %d", len(r.Logs), at+1)
	}
	if diff := cmp.Diff(asJSON(t, onChain.Logs[at+1-len(r.Logs):at+1]), asJSON(t, r.Logs)); diff != "" {
		t.Errorf("the logs are not the chain's (-chain +bundler):\n%s", diff)
	}
	for _, log := range r.Logs[:len(r.Logs)-1] {
		if entrypoint.IsEvent(log, a.ep.Address, entrypoint.TopicUserOperationEvent) || entrypoint.IsEvent(log, a.ep.Address, entrypoint.TopicBeforeExecution) {
			t.Errorf("the logs hold another operation's: %v", log)
		}
	}
	w.checkInformation(t, a, op, r)
}

// checkInformation compares eth_getUserOperationByHash with the operation that was sent.
func (w *world) checkInformation(t *testing.T, a *account, op *userop.UserOperation, r *receipt) {
	t.Helper()
	var info *information
	w.call(t, &info, "eth_getUserOperationByHash", r.UserOpHash)
	switch {
	case info == nil:
		t.Fatal("eth_getUserOperationByHash knows nothing of a mined operation")
	case info.BlockNumber == nil || info.BlockHash == nil || info.TransactionHash == nil:
		t.Fatalf("have %+v, want the block and the transaction", info)
	case *info.BlockHash != r.Receipt.BlockHash, uint64(*info.BlockNumber) != r.Receipt.BlockNumber.Uint64(), *info.TransactionHash != r.Receipt.TxHash:
		t.Errorf("have block %s, transaction %s, want %s, %s", info.BlockHash, info.TransactionHash, r.Receipt.BlockHash, r.Receipt.TxHash)
	case info.EntryPoint != a.ep.Address:
		t.Errorf("have EntryPoint %s, want %s", info.EntryPoint, a.ep.Address)
	}
	sent, err := json.Marshal(op)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(asValue(t, sent), asValue(t, info.UserOperation)); diff != "" {
		t.Errorf("the operation is not the one sent (-sent +answered):\n%s", diff)
	}
}

func asJSON(t *testing.T, v any) any {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return asValue(t, raw)
}

func asValue(t *testing.T, raw []byte) any {
	t.Helper()
	var v any
	if err := json.NewDecoder(bytes.NewReader(raw)).Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return v
}

func TestAPendingOperationHasNoBlockYet(t *testing.T) {
	w := startWorld(t, interval(), "--bundling-mode=manual")
	eachVersion(t, w, func(t *testing.T, v userop.Version) {
		a := w.newAccounts(t, v, 1)[0]
		op := a.op(t, w.count(t))
		hash := a.send(t, op)
		var info map[string]any
		w.call(t, &info, "eth_getUserOperationByHash", hash)
		for _, field := range []string{"blockNumber", "blockHash", "transactionHash"} {
			if value, there := info[field]; !there || value != nil {
				t.Errorf("%s: have %v (there: %v), want null", field, value, there)
			}
		}
		if diff := cmp.Diff(asJSON(t, op), info["userOperation"]); diff != "" {
			t.Errorf("the operation is not the one sent (-sent +answered):\n%s", diff)
		}
		if r := w.receiptOf(t, hash); r != nil {
			t.Errorf("have a receipt of a pending operation: %+v", r)
		}
		if have := w.mempool(t, a.ep); !slices.Equal(have, []common.Hash{hash}) {
			t.Errorf("have mempool %v, want the operation", have)
		}
		// The same operation once more is the same operation.
		if again := a.send(t, op); again != hash {
			t.Errorf("have hash %s, want %s again", again, hash)
		}
		if have := w.mempool(t, a.ep); len(have) != 1 {
			t.Errorf("have mempool %v, want the operation once", have)
		}
	})
}

func TestUnknownOperationsAreNull(t *testing.T) {
	t.Parallel()
	w := startWorld(t, interval())
	for _, method := range []string{"eth_getUserOperationByHash", "eth_getUserOperationReceipt"} {
		var answer any
		w.call(t, &answer, method, common.HexToHash("0x1234"))
		if answer != nil {
			t.Errorf("%s: have %v, want null", method, answer)
		}
		if r := w.refused(t, method, "0x1234"); r.code != -32602 {
			t.Errorf("%s of half a hash: have %d %q, want -32602", method, r.code, r.message)
		}
	}
}
