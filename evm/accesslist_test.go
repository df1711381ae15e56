package evm_test

import (
	"errors"
	"fmt"
	"math/big"
	"testing"

	"baler/devchain"
	"baler/evm"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/core/vm/program"
	"github.com/ethereum/go-ethereum/rpc"
)

// The access list of a call brings all that it reads, however deep it is hidden, in two round trips.
func TestPrefetchCallFindsWhatACallReads(t *testing.T) {
	// Each contract calls the one named in its slot 0: 0xd0 → 0xd1 → ... → 0xd7.
	code := program.New().Push(0).Push(0).Push(0).Push(0).Push(0).Op(vm.SLOAD, vm.GAS, vm.STATICCALL, vm.STOP).Bytes()
	alloc := types.GenesisAlloc{}
	for i := byte(0xd0); i < 0xd8; i++ {
		next := address(i + 1)
		alloc[address(i)] = types.Account{Balance: new(big.Int), Code: code, Storage: map[common.Hash]common.Hash{{}: common.BytesToHash(next[:])}}
	}
	chain, err := devchain.Start(t.Context(), devchain.Config{Mining: devchain.Manual, Alloc: alloc})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := chain.Close(); err != nil {
			t.Error(err)
		}
	})
	client, err := rpc.DialContext(t.Context(), chain.HTTPURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	for _, has := range []bool{true, false} {
		t.Run(fmt.Sprintf("eth_createAccessList %t", has), func(t *testing.T) {
			node := newCountingNode(client)
			node.spoil = func(e *rpc.BatchElem) {
				if e.Method == "eth_createAccessList" && !has {
					e.Error = errors.New("the method eth_createAccessList does not exist")
				}
			}
			source := evm.NewSource(node, chain.ChainConfig(), evm.Options{})
			msg := evm.Message{From: address(0xff), To: address(0xd0), Gas: 1_000_000}
			guess := []*evm.ReadSet{{Accounts: map[common.Address]evm.AccountRead{msg.From: {}, msg.To: {}}}}
			run := func() {
				t.Helper()
				if _, err := chain.Mine(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				view := source.View(chain.Head())
				if err := view.PrefetchCall(t.Context(), guess, msg); err != nil {
					t.Fatal(err)
				}
				if err := view.Execute(t.Context(), evm.RunOptions{}, func(r *evm.Run) error {
					_, _, err := r.Call(msg.From, msg.To, nil, nil, msg.Gas, nil)
					return err
				}); err != nil {
					t.Fatal(err)
				}
			}
			run()
			if has && node.trips != 2 {
				t.Errorf("have %d round trips, want 2", node.trips)
			}
			if !has && node.trips <= 3 {
				t.Errorf("have %d round trips, want the call's depth", node.trips)
			}
			for range 10 {
				run()
			}
			if asked := node.requests["eth_createAccessList"]; !has && asked != 5 {
				t.Errorf("a node that does not have it was asked %d times, want 5", asked)
			}
		})
	}
}
