package main

import (
	"fmt"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// books is the answer of baler_getProfit.
type books struct {
	Total   bookSum `json:"total"`
	Signers []struct {
		Signer common.Address `json:"signer"`
		bookSum
	} `json:"signers"`
	Days    []bookSum `json:"days"`
	Bundles []struct {
		TransactionHash common.Hash    `json:"transactionHash"`
		Kind            string         `json:"kind"`
		Profit          string         `json:"profit"`
		Expected        *string        `json:"expected"`
		GasLimit        hexutil.Uint64 `json:"gasLimit"`
		GasUsed         hexutil.Uint64 `json:"gasUsed"`
		ChargedGas      hexutil.Uint64 `json:"chargedGas"`
	} `json:"bundles"`
}

type bookSum struct {
	Profit        string         `json:"profit"`
	Bundles       hexutil.Uint64 `json:"bundles"`
	Reverted      hexutil.Uint64 `json:"reverted"`
	Cancellations hexutil.Uint64 `json:"cancellations"`
	Operations    hexutil.Uint64 `json:"operations"`
	GasLimit      hexutil.Uint64 `json:"gasLimit"`
	GasUsed       hexutil.Uint64 `json:"gasUsed"`
	ChargedGas    hexutil.Uint64 `json:"chargedGas"`
}

// checkBooks compares the books with the balances: each bundle sender takes its bundles' fees itself and does nothing else,
// so what its account has more or less than at the beginning is its profit.
func (w *world) checkBooks(t *testing.T, senders int) books {
	t.Helper()
	var have books
	eventually(t, "the books are those of the chain", func() error {
		have = books{}
		w.call(t, &have, "baler_getProfit", map[string]any{"bundles": 1000})
		booked := make(map[common.Address]string)
		for _, s := range have.Signers {
			booked[s.Signer] = s.Profit
		}
		sum := new(big.Int)
		for _, key := range w.chain.Keys()[:senders] {
			signer := addressOf(key)
			profit := w.gained(t, signer)
			sum.Add(sum, profit)
			if text, ok := booked[signer]; text != profit.String() && (ok || profit.Sign() != 0) {
				return fmt.Errorf("signer %s: have profit %q, want %v", signer, text, profit)
			}
		}
		if have.Total.Profit != sum.String() {
			return fmt.Errorf("have total profit %s, want %v", have.Total.Profit, sum)
		}
		return nil
	})
	return have
}

// gained is how much more an account has than when the chain began, in wei.
func (w *world) gained(t *testing.T, account common.Address) *big.Int {
	t.Helper()
	now, err := w.eth.BalanceAt(t.Context(), account, nil)
	if err != nil {
		t.Fatal(err)
	}
	before, err := w.eth.BalanceAt(t.Context(), account, new(big.Int))
	if err != nil {
		t.Fatal(err)
	}
	return now.Sub(now, before)
}
