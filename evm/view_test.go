package evm_test

import (
	"context"
	"errors"
	"math/big"
	"sync"
	"testing"

	"baler/evm"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

func testAlloc() types.GenesisAlloc {
	return types.GenesisAlloc{
		address(1): {
			Balance: big.NewInt(7), Nonce: 3, Code: []byte{0x60, 0x01},
			Storage: map[common.Hash]common.Hash{slotKey(1): {31: 0xab}},
		},
		address(2): {Balance: big.NewInt(9)},
	}
}

func TestReadsAreOneBatchAndHappenOnce(t *testing.T) {
	node := newFakeNode(testAlloc())
	view := mustView(t, node, evm.Options{})
	err := view.Prefetch(t.Context(), []common.Address{address(1), address(2), address(1)},
		map[common.Address][]common.Hash{address(1): {slotKey(1), slotKey(2)}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		balance, err := view.Balance(t.Context(), address(1))
		if err != nil || balance != *uint256.NewInt(7) {
			t.Errorf("balance: have %s, %v, want 7", balance.Dec(), err)
		}
		if nonce, err := view.Nonce(t.Context(), address(1)); err != nil || nonce != 3 {
			t.Errorf("nonce: have %d, %v, want 3", nonce, err)
		}
		if code, err := view.Code(t.Context(), address(1)); err != nil || len(code) != 2 {
			t.Errorf("code: have %x, %v, want 2 bytes", code, err)
		}
		if code, err := view.Code(t.Context(), address(2)); err != nil || len(code) != 0 {
			t.Errorf("code: have %x, %v, want none", code, err)
		}
		if value, err := view.Storage(t.Context(), address(1), slotKey(1)); err != nil || value != (common.Hash{31: 0xab}) {
			t.Errorf("slot: have %s, %v, want 0xab", value, err)
		}
	}
	if node.batches != 1 || len(node.askedTwice()) != 0 {
		t.Errorf("have %d batches, twice %v, want one batch and nothing twice", node.batches, node.askedTwice())
	}
	if stats := view.Stats(); stats.RoundTrips != 1 || stats.Requests != 8 {
		t.Errorf("stats: have %+v, want 1 round trip of 8 requests", stats)
	}
}

func TestViewsOfOneBlockAreOne(t *testing.T) {
	source := newSource(newFakeNode(testAlloc()), evm.Options{Views: 2})
	first := source.View(header(1))
	if source.View(header(1)) != first {
		t.Error("two views of one block differ")
	}
	source.View(header(2))
	source.View(header(3))
	if source.View(header(1)) == first {
		t.Error("have the view of a block that should have been dropped")
	}
}

func TestLargeReadsAreSplit(t *testing.T) {
	node := newFakeNode(testAlloc())
	view := mustView(t, node, evm.Options{BatchSize: 10})
	keys := make([]common.Hash, 25)
	for i := range keys {
		keys[i] = slotKey(byte(i))
	}
	if err := view.Prefetch(t.Context(), nil, map[common.Address][]common.Hash{address(1): keys}); err != nil {
		t.Fatal(err)
	}
	if node.batches != 3 {
		t.Errorf("have %d batches, want 3 of at most 10", node.batches)
	}
}

// Concurrent readers of the same values cause one read.
func TestConcurrentReadsAreShared(t *testing.T) {
	node := newFakeNode(testAlloc())
	node.gate, node.entered = make(chan struct{}), make(chan struct{}, 100)
	view := mustView(t, node, evm.Options{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if value, err := view.Storage(t.Context(), address(1), slotKey(1)); err != nil || value != (common.Hash{31: 0xab}) {
				t.Errorf("slot: have %s, %v, want 0xab", value, err)
			}
		})
	}
	<-node.entered
	close(node.gate)
	wg.Wait()
	if node.batches != 1 {
		t.Errorf("have %d batches, want 1", node.batches)
	}
}

// A reader that waits for another one's read is not hurt when that one gives up: it reads by itself.
func TestAReaderSurvivesAnotherOnesCancellation(t *testing.T) {
	node := newFakeNode(testAlloc())
	node.gate, node.entered = make(chan struct{}), make(chan struct{}, 100)
	view := mustView(t, node, evm.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := view.Storage(ctx, address(1), slotKey(1)); !errors.Is(err, context.Canceled) || !evm.IsStateError(err) {
			t.Errorf("cancelled: have %v, want a state error with context.Canceled", err)
		}
	})
	<-node.entered // the first one is reading
	wg.Go(func() {
		if value, err := view.Storage(t.Context(), address(1), slotKey(1)); err != nil || value != (common.Hash{31: 0xab}) {
			t.Errorf("slot: have %s, %v, want 0xab", value, err)
		}
	})
	cancel()
	<-node.entered // the second one reads by itself
	close(node.gate)
	wg.Wait()
}

func TestANodeThatDoesNotKnowTheBlockYetIsAskedAgain(t *testing.T) {
	node := newFakeNode(testAlloc())
	var waits []int
	view := mustView(t, node, evm.Options{Attempts: 3, Wait: func(_ context.Context, attempt int) error {
		waits = append(waits, attempt)
		return nil
	}})
	node.unknownFor = 2
	if _, err := view.Balance(t.Context(), address(1)); err != nil {
		t.Fatal(err)
	}
	if len(waits) != 2 || waits[0] != 1 || waits[1] != 2 {
		t.Errorf("waits: have %v, want 1, 2", waits)
	}
	node.unknownFor = 3
	if _, err := view.Balance(t.Context(), address(2)); !evm.IsStateError(err) {
		t.Errorf("after three attempts: have %v, want a state error", err)
	}
}

// Whatever goes wrong in a read is an error, and the next read tries again.
func TestFailedReads(t *testing.T) {
	transport := errors.New("connection refused")
	perCall := errors.New("rate limited")
	for name, broken := range map[string]func(*fakeNode){
		"transport":   func(n *fakeNode) { n.err = transport },
		"one request": func(n *fakeNode) { n.perCall = perCall },
		"null":        func(n *fakeNode) { n.null = true },
	} {
		t.Run(name, func(t *testing.T) {
			node := newFakeNode(testAlloc())
			broken(node)
			view := mustView(t, node, evm.Options{})
			if _, err := view.Balance(t.Context(), address(1)); !evm.IsStateError(err) {
				t.Errorf("account: have %v, want a state error", err)
			}
			if _, err := view.Storage(t.Context(), address(1), slotKey(1)); !evm.IsStateError(err) {
				t.Errorf("slot: have %v, want a state error", err)
			}
			node.err, node.perCall, node.null = nil, nil, false
			if balance, err := view.Balance(t.Context(), address(1)); err != nil || balance != *uint256.NewInt(7) {
				t.Errorf("afterwards: have %s, %v, want 7", balance.Dec(), err)
			}
		})
	}
}

// Code that was there long enough is not asked for again; a delegation, which may change, always is.
func TestSettledCodeIsNotReadAgain(t *testing.T) {
	alloc := testAlloc()
	alloc[address(3)] = types.Account{Code: types.AddressToDelegation(address(1))}
	node := newFakeNode(alloc)
	source := newSource(node, evm.Options{Settlement: 10})
	read := func(number uint64) {
		t.Helper()
		for _, addr := range []common.Address{address(1), address(3)} {
			if _, err := source.View(header(number)).Code(t.Context(), addr); err != nil {
				t.Fatal(err)
			}
		}
	}
	count := func(addr common.Address) int { return node.requests["eth_getCode "+addr.String()] }
	read(100)
	read(109)
	if have := count(address(1)); have != 2 {
		t.Errorf("before settlement: have %d reads, want 2", have)
	}
	read(110)
	read(200)
	if have := count(address(1)); have != 2 {
		t.Errorf("after settlement: have %d reads, want 2", have)
	}
	if have := count(address(3)); have != 4 {
		t.Errorf("delegation: have %d reads, want 4", have)
	}
}
