package main

import (
	"fmt"
	"math/big"
	"strings"
	"testing"

	"baler/aggregator"
	"baler/aggregator/bls"
	"baler/devchain"
	"baler/entrypoint"
	"baler/entrypoint/artifacts"
	"baler/gas"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
)

// blsAccounts returns deployed accounts with BLS keys and 10 ETH each. They leave their signatures to the aggregator of
// the development chain unless they sign alone.
func (w *world) blsAccounts(t *testing.T, v userop.Version, n int) []*account {
	t.Helper()
	contracts := w.chain.Contracts()
	factory, agg := contracts.BLSAccountFactories[v], contracts.BLSAggregators[v]
	suffix := ""
	if v == userop.V06 {
		suffix = "V06"
	}
	artifact, err := artifacts.Load("shared/BLSAccount" + suffix + ".json")
	if err != nil {
		t.Fatal(err)
	}
	list := make([]*account, n)
	for i := range list {
		w.mu.Lock()
		number := w.next
		w.next++
		w.mu.Unlock()
		key, err := bls.SecretKeyFromSeed(fmt.Appendf(nil, "a secret that belongs to account %d of a test", number))
		if err != nil {
			t.Fatal(err)
		}
		public := key.PublicKey().Bytes()
		var words [4]*big.Int
		for i := range words {
			words[i] = new(big.Int).SetBytes(public[i*32 : (i+1)*32])
		}
		init, err := artifact.InitCode(entrypoint.Canonical(v).Address, agg, words)
		if err != nil {
			t.Fatal(err)
		}
		a := &account{w: w, ep: entrypoint.Canonical(v), bls: &key}
		a.address = crypto.CreateAddress2(factory, common.Hash{}, crypto.Keccak256(init))
		w.pay(t, factory, new(big.Int), pack(t, "shared/BLSAccountFactory"+suffix+".json", "createAccount", new(big.Int), words))
		w.pay(t, a.address, ether(10), nil)
		list[i] = a
	}
	w.awaitTransaction(t, w.pay(t, addressOf(w.funds), new(big.Int), nil))
	for _, a := range list {
		if code, err := w.eth.CodeAt(t.Context(), a.address, nil); err != nil || len(code) == 0 {
			t.Fatalf("account %s is not deployed: %v", a.address, err)
		}
	}
	return list
}

// signByBLS signs with the account's BLS key: for the aggregator, or alone.
func (a *account) signByBLS(t *testing.T, op *userop.UserOperation) {
	t.Helper()
	if a.signsAlone {
		signature := a.bls.Sign([32]byte(a.hash(t, op))).Bytes()
		op.Signature = append([]byte{1}, signature[:]...)
		return
	}
	domain := aggregator.BLSDomain{
		Aggregator: a.w.chain.Contracts().BLSAggregators[a.ep.Version], EntryPoint: a.ep.Address, ChainID: a.w.chain.ChainID(),
	}
	signature := a.bls.Sign(domain.Message(op, a.bls.PublicKey())).Bytes()
	op.Signature = signature[:]
}

// estimateAs estimates with a dummy signature that looks like the account's.
func (w *world) estimateAs(t *testing.T, a *account, op *userop.UserOperation) estimate {
	t.Helper()
	fields := question(t, op)
	fields["signature"] = hexutil.Encode(op.Signature)
	var e estimate
	w.call(t, &e, "eth_estimateUserOperationGas", fields, a.ep.Address)
	return e
}

// offers sets the preVerificationGas.
func offers(gas uint64) change {
	return func(op *userop.UserOperation) { op.PreVerificationGas = gas }
}

// moreVerification raises the limit for validation.
func moreVerification(gas uint64) change {
	return func(op *userop.UserOperation) { op.VerificationGasLimit += gas }
}

// bundleNow has a bundle sent and mined, and returns its transaction and receipt.
func (w *world) bundleNow(t *testing.T) (*types.Transaction, *types.Receipt) {
	t.Helper()
	var hash common.Hash
	w.call(t, &hash, "debug_bundler_sendBundleNow")
	w.mine(t, 1)
	tx, _, err := w.eth.TransactionByHash(t.Context(), hash)
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := w.eth.TransactionReceipt(t.Context(), hash)
	if err != nil {
		t.Fatal(err)
	}
	if receipt.Status != types.ReceiptStatusSuccessful {
		t.Fatalf("bundle %s reverted", hash)
	}
	return tx, receipt
}

// inTurn runs a test for each EntryPoint, one after the other.
func inTurn(t *testing.T, test func(t *testing.T, v userop.Version)) {
	t.Helper()
	for _, v := range userop.Versions() {
		t.Run("v"+v.String(), func(t *testing.T) { test(t, v) })
	}
}

// manual is a chain whose blocks are made by the test.
func manual() devchain.Config { return devchain.Config{Mining: devchain.Manual, GasLimit: 60_000_000} }

// wantSuccess checks that the operations are mined in the transaction, and succeeded.
func (w *world) wantSuccess(t *testing.T, tx *types.Transaction, hashes ...common.Hash) {
	t.Helper()
	for _, hash := range hashes {
		if r := w.awaitReceipt(t, hash); !r.Success || r.Receipt.TxHash != tx.Hash() {
			t.Errorf("operation %s: have success %v in %s, want success in %s", hash, r.Success, r.Receipt.TxHash, tx.Hash())
		}
	}
}

// Twenty accounts leave their signatures to an aggregator; the same twenty then sign each alone. Each time one bundle holds
// them all.
func TestAnAggregatedBundleOfTwentyOperationsIsMined(t *testing.T) {
	t.Parallel()
	w := startWorld(t, manual(), "--bundling-mode=manual", "--num-signers=1")
	inTurn(t, func(t *testing.T, v userop.Version) {
		const n = 20
		list := w.blsAccounts(t, v, n)
		spent := make(map[bool]uint64)
		for _, alone := range []bool{false, true} {
			var hashes []common.Hash
			var asked estimate
			for i, a := range list {
				a.signsAlone = alone
				op := a.op(t, w.count(t))
				if i == 0 {
					asked = w.estimateAs(t, a, op)
				}
				// How long a message takes to hash to the curve differs by the message.
				hashes = append(hashes, a.send(t, a.op(t, w.count(t), asked.exactly(), moreVerification(20_000))))
			}
			tx, receipt := w.bundleNow(t)
			w.wantSuccess(t, tx, hashes...)
			groups, _, err := entrypoint.DecodeHandleAggregatedOps(v, tx.Data())
			switch {
			case !alone && (err != nil || len(groups) != 1 || len(groups[0].Ops) != n || len(groups[0].Signature) != bls.SignatureSize):
				t.Errorf("have %d groups (%v), want one of %d operations with one signature", len(groups), err, n)
			case alone && err == nil:
				t.Error("have handleAggregatedOps for accounts that sign alone")
			}
			spent[alone] = receipt.GasUsed / n
			t.Logf("v%v, each signs alone %v: %d gas an operation, limit %d of %d used, preVerificationGas %d", v, alone,
				receipt.GasUsed/n, tx.Gas(), receipt.GasUsed, uint64(asked.PreVerificationGas))
		}
		if spent[false] >= spent[true] {
			t.Errorf("have %d gas an operation with one signature and %d with one each, want less", spent[false], spent[true])
		}
		found := w.checkBooks(t, 1)
		if strings.HasPrefix(found.Total.Profit, "-") {
			t.Errorf("have a loss of %s wei, want every bundle to pay", found.Total.Profit)
		}
	})
}

// One bundle holds operations of an aggregator, of accounts that check their own signatures, and of a second aggregator that
// is served by asking its contract.
func TestOneBundleServesSeveralAggregatorsAndNone(t *testing.T) {
	t.Parallel()
	w := startWorld(t, manual(), "--bundling-mode=manual", "--num-signers=1")
	inTurn(t, func(t *testing.T, v userop.Version) {
		var hashes []common.Hash
		mixed := append(w.blsAccounts(t, v, 3), w.deployedAccounts(t, v, 3)...)
		for i := range 3 {
			for _, a := range []*account{mixed[i], mixed[3+i]} {
				hashes = append(hashes, a.send(t, a.op(t, w.count(t), offers(400_000))))
			}
		}
		tx, _ := w.bundleNow(t)
		w.wantSuccess(t, tx, hashes...)
		groups, _, err := entrypoint.DecodeHandleAggregatedOps(v, tx.Data())
		if err != nil || len(groups) != 2 || len(groups[0].Ops) != 3 || len(groups[1].Ops) != 3 {
			t.Fatalf("have groups %v (%v), want two of three operations each", groups, err)
		}
		for _, a := range mixed {
			if have := w.counted(t, a); have != 1 {
				t.Errorf("account %s: have %d calls, want 1", a.address, have)
			}
		}
	})
}

func TestOperationsOfAggregatorsAreRefusedAtTheDoor(t *testing.T) {
	t.Parallel()
	contracts, err := devchain.DefaultContracts()
	if err != nil {
		t.Fatal(err)
	}
	served, other := userop.V07, userop.V08
	w := startWorld(t, manual(), "--bundling-mode=manual",
		fmt.Sprintf("--aggregator=%s:contract:%s:95000:75000:64", served, contracts.BLSAggregators[served]))

	t.Run("-32506 unknown aggregator", func(t *testing.T) {
		a := w.blsAccounts(t, other, 1)[0]
		for _, refused := range []refusal{
			a.refused(t, a.op(t, w.count(t), offers(400_000))),
			w.refused(t, "eth_estimateUserOperationGas", a.op(t, w.count(t)), a.ep.Address),
		} {
			if refused.code != -32506 || !strings.EqualFold(fmt.Sprint(refused.data["aggregator"]), contracts.BLSAggregators[other].Hex()) {
				t.Errorf("have %+v, want -32506 and the aggregator", refused)
			}
		}
	})
	t.Run("-32507 wrong signature", func(t *testing.T) {
		a := w.blsAccounts(t, served, 1)[0]
		op := a.op(t, w.count(t), offers(400_000))
		for name, signature := range map[string][]byte{
			"of another operation": a.op(t, w.count(t), offers(400_001)).Signature, "no point": make([]byte, 63), "nothing": {},
		} {
			op.Signature = signature
			if refused := a.refused(t, op); refused.code != -32507 {
				t.Errorf("%s: have %+v, want -32507", name, refused)
			}
		}
		hash := a.send(t, a.op(t, w.count(t), offers(400_000)))
		tx, _ := w.bundleNow(t)
		w.wantSuccess(t, tx, hash)
	})
	t.Run("too little for the aggregator's check", func(t *testing.T) {
		a := w.blsAccounts(t, served, 1)[0]
		want := uint64(w.estimateAs(t, a, a.op(t, w.count(t))).PreVerificationGas)
		refused := a.refused(t, a.op(t, w.count(t), offers(want/2)))
		if refused.code != -32602 || !strings.HasPrefix(refused.message, "preVerificationGas") {
			t.Errorf("have %+v, want -32602 about preVerificationGas", refused)
		}
	})
}

// An operation may offer its share of a group of the expected size. It waits, and says why, until so many are there.
func TestAnOperationThatSharesTheCheckWaitsForItsGroup(t *testing.T) {
	t.Parallel()
	const expected = 4
	w := startWorld(t, manual(), "--bundling-mode=manual", "--num-signers=1", fmt.Sprintf("--aggregator-expected-operations=%d", expected))
	v := userop.V07
	list := w.blsAccounts(t, v, expected)
	share := uint64(w.estimateAs(t, list[0], list[0].op(t, w.count(t))).PreVerificationGas)
	saved := aggregator.BLSGas().Share(1) - aggregator.BLSGas().Share(expected)
	// The estimate leaves room for a signature that changes; the least is what one bundled alone must offer, less what is shared.
	bundled := list[0].op(t, w.count(t), offers(share))
	bundled.Signature = nil
	least := gas.PreVerification{}.RequiredAggregated(gas.Aggregated{Op: bundled, VerificationGasUsed: 40_000}, aggregator.BLSGas(), 1) - saved + 8_000
	var hashes []common.Hash
	for i, a := range list {
		hashes = append(hashes, a.send(t, a.op(t, w.count(t), offers(least))))
		if i == expected-1 {
			break
		}
		var sent common.Hash
		w.call(t, &sent, "debug_bundler_sendBundleNow")
		if sent != (common.Hash{}) {
			t.Fatalf("with %d of %d: have bundle %s, want nothing to send", i+1, expected, sent)
		}
		var status struct{ Status, Reason string }
		w.call(t, &status, "baler_getUserOperationStatus", hashes[0])
		if status.Status != "pending" || !strings.HasPrefix(status.Reason, "too few operations share its aggregator's check") {
			t.Errorf("with %d of %d: have %+v, want it waiting for company", i+1, expected, status)
		}
	}
	tx, _ := w.bundleNow(t)
	w.wantSuccess(t, tx, hashes...)
}
