package evm_test

import (
	"maps"
	"math/big"
	"testing"

	"baler/evm"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

func TestCompare(t *testing.T) {
	base := types.GenesisAlloc{
		address(1): {Balance: big.NewInt(5), Nonce: 2, Code: []byte{1}, Storage: map[common.Hash]common.Hash{slotKey(1): slotKey(1)}},
		address(2): {Balance: big.NewInt(5)},
	}
	code := common.BytesToHash(common.FromHex("0x5fe7f977e71dba2ea1a68e21057beebb9be2ac30c6410aa38d4f3fbe41dcffd2"))
	reads := &evm.ReadSet{
		Accounts: map[common.Address]evm.AccountRead{
			address(1): {CodeHash: code, Nonce: 2, NonceUsed: true},
			address(2): {CodeHash: types.EmptyCodeHash, Balance: *uint256.NewInt(5), BalanceUsed: true},
			address(3): {CodeHash: types.EmptyCodeHash, Empty: true},
		},
		Slots: map[evm.Slot]common.Hash{{Account: address(1), Key: slotKey(1)}: slotKey(1)},
	}
	compare := func(alloc types.GenesisAlloc, tolerate func(evm.Slot, common.Hash, common.Hash) bool) evm.Comparison {
		t.Helper()
		view := newSource(newFakeNode(alloc), evm.Options{}).View(header(100))
		if have := view.Compare(reads, tolerate); have != evm.Unknown {
			t.Errorf("before anything is read: have %v, want Unknown", have)
		}
		if err := view.PrefetchReads(t.Context(), []*evm.ReadSet{reads}); err != nil {
			t.Fatal(err)
		}
		if stats := view.Stats(); stats.RoundTrips != 1 {
			t.Errorf("have %d round trips, want 1", stats.RoundTrips)
		}
		return view.Compare(reads, tolerate)
	}
	if have := compare(base, nil); have != evm.Same {
		t.Errorf("unchanged: have %v, want Same", have)
	}
	changes := map[string]func(types.GenesisAlloc){
		"nonce":   func(a types.GenesisAlloc) { x := a[address(1)]; x.Nonce++; a[address(1)] = x },
		"code":    func(a types.GenesisAlloc) { x := a[address(1)]; x.Code = []byte{2}; a[address(1)] = x },
		"slot":    func(a types.GenesisAlloc) { x := a[address(1)]; x.Storage = nil; a[address(1)] = x },
		"balance": func(a types.GenesisAlloc) { a[address(2)] = types.Account{Balance: big.NewInt(6)} },
		"gone":    func(a types.GenesisAlloc) { delete(a, address(2)) },
		"there":   func(a types.GenesisAlloc) { a[address(3)] = types.Account{Balance: big.NewInt(1)} },
	}
	for name, change := range changes {
		alloc := types.GenesisAlloc{}
		maps.Copy(alloc, base)
		change(alloc)
		if have := compare(alloc, nil); have != evm.Changed {
			t.Errorf("%s: have %v, want Changed", name, have)
		}
		tolerated := compare(alloc, func(slot evm.Slot, was, is common.Hash) bool {
			return slot.Account == address(1) && was == slotKey(1) && is == common.Hash{}
		})
		if want := name == "slot"; want != (tolerated == evm.Same) {
			t.Errorf("%s, tolerating the slot: have %v", name, tolerated)
		}
	}
	// What does not matter: the balance of what is only called, the nonce of what does not create.
	alloc := types.GenesisAlloc{address(1): base[address(1)], address(2): {Balance: big.NewInt(5), Nonce: 9}}
	other := alloc[address(1)]
	other.Balance = big.NewInt(1_000)
	alloc[address(1)] = other
	if have := compare(alloc, nil); have != evm.Same {
		t.Errorf("what does not matter: have %v, want Same", have)
	}
}

// Code that has been there for long cannot have changed: an account that was only called is not read again for it.
func TestCompareDoesNotReadSettledCode(t *testing.T) {
	alloc := types.GenesisAlloc{address(1): {Code: []byte{1}}, address(2): {Code: types.AddressToDelegation(address(1))}}
	node := newFakeNode(alloc)
	source := newSource(node, evm.Options{Settlement: 10})
	reads, err := source.View(header(100)).Including(t.Context(), &evm.ReadSet{}, []common.Address{address(1), address(2)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for number, want := range map[uint64]int{109: 2, 110: 1} {
		clear(node.requests)
		view := source.View(header(number))
		if err := view.PrefetchReads(t.Context(), []*evm.ReadSet{reads}); err != nil {
			t.Fatal(err)
		}
		if have := node.requests["eth_getCode "+address(1).String()] + node.requests["eth_getCode "+address(2).String()]; have != want {
			t.Errorf("block %d: have %d codes read, want %d", number, have, want)
		}
		if have := view.Compare(reads, nil); have != evm.Same {
			t.Errorf("block %d: have %v, want Same", number, have)
		}
	}
	// A balance that mattered is read all the same.
	used := reads.Accounts[address(1)]
	used.BalanceUsed, used.Balance = true, *uint256.NewInt(1)
	reads.Accounts[address(1)] = used
	view := source.View(header(200))
	if err := view.PrefetchReads(t.Context(), []*evm.ReadSet{reads}); err != nil {
		t.Fatal(err)
	}
	if have := view.Compare(reads, nil); have != evm.Changed {
		t.Errorf("a balance that differs: have %v, want Changed", have)
	}
}
