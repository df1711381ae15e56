package evm_test

import (
	"context"
	"errors"
	"math/big"
	"slices"
	"sync"
	"testing"

	"baler/devchain"
	"baler/evm"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/core/vm/program"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

// countingNode is a real node whose round trips are counted and whose answers can be spoilt.
type countingNode struct {
	evm.Node
	mu       sync.Mutex
	trips    int
	requests map[string]int
	spoil    func(elem *rpc.BatchElem)
}

func (n *countingNode) BatchCallContext(ctx context.Context, batch []rpc.BatchElem) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.trips++
	if err := n.Node.BatchCallContext(ctx, batch); err != nil {
		return err
	}
	for i := range batch {
		n.requests[batch[i].Method]++
		if addr, ok := batch[i].Args[0].(common.Address); ok {
			n.requests[batch[i].Method+" "+addr.Hex()]++
		}
		if n.spoil != nil {
			n.spoil(&batch[i])
		}
	}
	return nil
}

func (n *countingNode) reset() {
	n.trips, n.requests = 0, make(map[string]int)
}

func newCountingNode(inner evm.Node) *countingNode {
	return &countingNode{Node: inner, requests: make(map[string]int)}
}

// loaderAlloc is accounts of every kind: contracts with storage, a delegated one, plain ones with and without a nonce, one
// with a nonce and nothing else.
func loaderAlloc() types.GenesisAlloc {
	alloc := types.GenesisAlloc{
		address(0x80): {Balance: big.NewInt(1), Code: types.AddressToDelegation(address(0x90)), Nonce: 4, Storage: map[common.Hash]common.Hash{slotKey(1): slotKey(9)}},
		address(0x81): {Balance: big.NewInt(77)},
		address(0x82): {Balance: big.NewInt(78), Nonce: 6},
		address(0x83): {Nonce: 7},
	}
	for i := byte(0x90); i < 0xa0; i++ {
		storage := make(map[common.Hash]common.Hash)
		for key := range byte(8) {
			storage[slotKey(key)] = common.Hash{0: i, 31: key + 1}
		}
		alloc[address(i)] = types.Account{
			Balance: big.NewInt(int64(i) - 0x90), Nonce: uint64(i), Storage: storage,
			Code: program.New().Push(i).Op(vm.STOP).Bytes(),
		}
	}
	return alloc
}

func startLoaderChain(t *testing.T) (*devchain.Chain, *rpc.Client) {
	t.Helper()
	chain, err := devchain.Start(t.Context(), devchain.Config{Mining: devchain.Manual, Alloc: loaderAlloc()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := chain.Close(); err != nil {
			t.Error(err)
		}
	})
	node, err := rpc.DialContext(t.Context(), chain.HTTPURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Close)
	return chain, node
}

// teach makes the source find out what its node can do.
func teach(ctx context.Context, source *evm.Source, head *types.Header) error {
	return source.View(head).Prefetch(ctx, []common.Address{address(0x90)}, map[common.Address][]common.Hash{address(0x90): {slotKey(1)}})
}

// reading is everything a view says of some accounts and slots.
type reading struct {
	Balances map[common.Address]string
	Codes    map[common.Address]string
	Nonces   map[common.Address]uint64
	Slots    map[evm.Slot]common.Hash
}

func readAll(ctx context.Context, view *evm.View, accounts []common.Address, slots map[common.Address][]common.Hash) (reading, error) {
	r := reading{map[common.Address]string{}, map[common.Address]string{}, map[common.Address]uint64{}, map[evm.Slot]common.Hash{}}
	if err := view.Prefetch(ctx, accounts, slots); err != nil {
		return r, err
	}
	var errs []error
	for _, addr := range accounts {
		balance, err := view.Balance(ctx, addr)
		errs = append(errs, err)
		code, err := view.Code(ctx, addr)
		errs = append(errs, err)
		nonce, err := view.Nonce(ctx, addr)
		errs = append(errs, err)
		r.Balances[addr], r.Codes[addr], r.Nonces[addr] = balance.Dec(), hexutil.Encode(code), nonce
	}
	for addr, keys := range slots {
		for _, key := range keys {
			value, err := view.Storage(ctx, addr, key)
			errs = append(errs, err)
			r.Slots[evm.Slot{Account: addr, Key: key}] = value
		}
	}
	return r, errors.Join(errs...)
}

// Whatever is read, the loader's calls answer what single requests answer, in one round trip.
func TestLoaderReadsWhatSingleRequestsRead(t *testing.T) {
	chain, client := startLoaderChain(t)
	head, c := chain.Head(), chain.Contracts()
	every := []common.Address{c.Counter, c.Multicall3, {19: 1}, address(0x55), chain.Head().Coinbase}
	for addr := range loaderAlloc() {
		every = append(every, addr)
	}
	slices.SortFunc(every, common.Address.Cmp)
	rapid.Check(t, func(t *rapid.T) {
		node := newCountingNode(client)
		byLoader := evm.NewSource(node, chain.ChainConfig(), evm.Options{})
		singly := evm.NewSource(client, chain.ChainConfig(), evm.Options{NoLoader: true})
		if err := teach(context.Background(), byLoader, head); err != nil {
			t.Fatal(err)
		}
		if !byLoader.LoaderWorks() || singly.LoaderWorks() {
			t.Fatalf("loader: have %t and %t, want it to work, and to be off", byLoader.LoaderWorks(), singly.LoaderWorks())
		}
		accounts := rapid.SliceOfNDistinct(rapid.SampledFrom(every), 5, 20, rapid.ID[common.Address]).Draw(t, "accounts")
		slots := make(map[common.Address][]common.Hash)
		for _, addr := range rapid.SliceOfN(rapid.SampledFrom(every), 0, 12).Draw(t, "contracts") {
			if addr == (common.Address{19: 1}) {
				continue // code at a precompiled contract's address never runs, so no run reads its slots
			}
			for _, key := range rapid.SliceOfN(rapid.ByteRange(0, 9), 1, 5).Draw(t, "keys") {
				slots[addr] = append(slots[addr], slotKey(key))
			}
		}
		node.reset()
		view := byLoader.View(head)
		if err := view.Prefetch(context.Background(), accounts, slots); err != nil {
			t.Fatal(err)
		}
		if node.trips > 1 || node.requests["eth_getStorageAt"]+node.requests["eth_getBalance"] != 0 {
			t.Errorf("have %d round trips of %v, want one, of calls", node.trips, node.requests)
		}
		have, err := readAll(context.Background(), view, accounts, slots)
		if err != nil {
			t.Fatal(err)
		}
		want, err := readAll(context.Background(), singly.View(head), accounts, slots)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("(-single requests +loader):\n%s", diff)
		}
	})
}

// Ten thousand slots are one round trip of a few requests.
func TestLoaderReadsThousandsAtOnce(t *testing.T) {
	chain, client := startLoaderChain(t)
	node := newCountingNode(client)
	source := evm.NewSource(node, chain.ChainConfig(), evm.Options{})
	if err := teach(t.Context(), source, chain.Head()); err != nil {
		t.Fatal(err)
	}
	if _, err := chain.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	slots := make(map[common.Address][]common.Hash)
	for i := range 10_000 {
		addr := address(byte(0x90 + i%16))
		slots[addr] = append(slots[addr], common.BigToHash(big.NewInt(int64(i/16))))
	}
	var accounts []common.Address
	for i := range 5_000 {
		accounts = append(accounts, common.BigToAddress(big.NewInt(int64(1_000_000+i))))
	}
	node.reset()
	view := source.View(chain.Head())
	if err := view.Prefetch(t.Context(), nil, slots); err != nil {
		t.Fatal(err)
	}
	if node.trips != 1 || node.requests["eth_call"] > 3 {
		t.Errorf("slots: have %d round trips of %v, want one of at most 3 calls", node.trips, node.requests)
	}
	for i := byte(0x90); i < 0xa0; i++ {
		for key := range byte(10) {
			want := common.Hash{}
			if key < 8 {
				want = common.Hash{0: i, 31: key + 1}
			}
			if have, err := view.Storage(t.Context(), address(i), slotKey(key)); err != nil || have != want {
				t.Errorf("slot %d of %s: have %s, %v, want %s", key, address(i), have, err, want)
			}
		}
	}
	// Accounts that were met before need no request of their own.
	if err := source.View(chain.Head()).Prefetch(t.Context(), accounts, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := chain.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	node.reset()
	if err := source.View(chain.Head()).Prefetch(t.Context(), accounts, nil); err != nil {
		t.Fatal(err)
	}
	if node.trips != 1 || node.requests["eth_call"] > 2 || len(node.requests) != 1 {
		t.Errorf("accounts: have %d round trips of %v, want one of at most 2 calls", node.trips, node.requests)
	}
}

// The code of an account that is met for the first time is asked for in the same round trip, unless those before it had code that
// was known: then a code that nobody has met costs a second one.
func TestCodeThatIsLikeOthersIsNotAskedFor(t *testing.T) {
	chain, client := startLoaderChain(t)
	node := newCountingNode(client)
	source := evm.NewSource(node, chain.ChainConfig(), evm.Options{})
	if err := teach(t.Context(), source, chain.Head()); err != nil {
		t.Fatal(err)
	}
	read := func(trips, codes int, from byte, count int) {
		t.Helper()
		var accounts []common.Address
		for i := range count {
			accounts = append(accounts, address(from+byte(i)))
		}
		node.reset()
		view := source.View(chain.Head())
		if err := view.Prefetch(t.Context(), accounts, nil); err != nil {
			t.Fatal(err)
		}
		if node.trips != trips || node.requests["eth_getCode"] != codes {
			t.Errorf("accounts from %#x: have %d round trips of %v, want %d with %d times eth_getCode", from, node.trips, node.requests, trips, codes)
		}
		for _, addr := range accounts {
			if have, err := view.Code(t.Context(), addr); err != nil || !slices.Equal(have, loaderAlloc()[addr].Code) {
				t.Errorf("%s: have code %x, %v, want %x", addr, have, err, loaderAlloc()[addr].Code)
			}
		}
	}
	read(1, 3, 0x91, 3)   // code like that was never met
	read(1, 10, 0xa0, 10) // of plain accounts, time and again
	read(1, 0, 0xb0, 10)  // so it will be the same with these
	read(2, 3, 0x94, 3)   // and is not with these
	read(1, 3, 0x97, 3)   // of which there may be more
}

// A node that does not take the calls, or answers something else, is asked by single requests, and the values are the same.
func TestNodesThatDoNotTakeTheLoader(t *testing.T) {
	chain, client := startLoaderChain(t)
	refuse := errors.New("too many arguments, want at most 2")
	word := make(hexutil.Bytes, 32)
	for name, spoil := range map[string]func(elem *rpc.BatchElem){
		"refuses overrides": func(e *rpc.BatchElem) { e.Error = refuse },
		"ignores overrides": func(e *rpc.BatchElem) { *e.Result.(**hexutil.Bytes) = new(hexutil.Bytes) },
		"answers null":      func(e *rpc.BatchElem) { *e.Result.(**hexutil.Bytes) = nil },
		"lies": func(e *rpc.BatchElem) {
			answer := slices.Clone(**e.Result.(**hexutil.Bytes))
			answer[31]++
			*e.Result.(**hexutil.Bytes) = &answer
		},
		"answers too much": func(e *rpc.BatchElem) {
			answer := append(slices.Clone(**e.Result.(**hexutil.Bytes)), word...)
			*e.Result.(**hexutil.Bytes) = &answer
		},
	} {
		t.Run(name, func(t *testing.T) {
			node := newCountingNode(client)
			node.spoil = func(e *rpc.BatchElem) {
				if e.Method == "eth_call" {
					spoil(e)
				}
			}
			source := evm.NewSource(node, chain.ChainConfig(), evm.Options{})
			for i := range 5 { // the node is asked three times at most whether it has learnt it
				node.requests["eth_call"] = 0
				if _, err := chain.Mine(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				if err := teach(t.Context(), source, chain.Head()); err != nil {
					t.Fatal(err)
				}
				if source.LoaderWorks() || (i >= 3) != (node.requests["eth_call"] == 0) {
					t.Errorf("read %d: have %d calls, works %t", i, node.requests["eth_call"], source.LoaderWorks())
				}
			}
		})
	}
}

// A node that takes the calls and then no longer does costs a round trip more, never a wrong value.
func TestLoaderThatBreaksDown(t *testing.T) {
	chain, client := startLoaderChain(t)
	node := newCountingNode(client)
	source := evm.NewSource(node, chain.ChainConfig(), evm.Options{})
	if err := teach(t.Context(), source, chain.Head()); err != nil || !source.LoaderWorks() {
		t.Fatalf("have %v, works %t", err, source.LoaderWorks())
	}
	node.spoil = func(e *rpc.BatchElem) {
		if e.Method == "eth_call" {
			e.Error = errors.New("out of gas")
		}
	}
	if _, err := chain.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	read := func() {
		t.Helper()
		view := source.View(chain.Head())
		if err := view.Prefetch(t.Context(), []common.Address{address(0x91), address(0x92), address(0x93)}, map[common.Address][]common.Hash{address(0x94): {slotKey(2)}}); err != nil {
			t.Fatal(err)
		}
		if have, err := view.Storage(t.Context(), address(0x94), slotKey(2)); err != nil || have != (common.Hash{0: 0x94, 31: 3}) {
			t.Errorf("have %s, %v", have, err)
		}
	}
	node.reset()
	read()
	if node.trips != 2 || source.LoaderWorks() {
		t.Errorf("have %d round trips, works %t; want a second one, and the loader given up", node.trips, source.LoaderWorks())
	}
	node.spoil = nil
	if _, err := chain.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	read()
	if !source.LoaderWorks() {
		t.Error("the loader works again, but is not used")
	}
}

// A nonce is read when a run depends on it, and only then.
func TestNoncesAreReadWhenNeeded(t *testing.T) {
	chain, client := startLoaderChain(t)
	node := newCountingNode(client)
	source := evm.NewSource(node, chain.ChainConfig(), evm.Options{})
	if err := teach(t.Context(), source, chain.Head()); err != nil {
		t.Fatal(err)
	}
	if _, err := chain.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	view := source.View(chain.Head())
	create := returning(program.New().Push(0).Push(0).Push(0).Op(vm.CREATE))
	run := func(code []byte) *evm.ReadSet {
		t.Helper()
		var reads *evm.ReadSet
		opts := evm.RunOptions{Overrides: evm.Overrides{address(0x93): {Code: code}}}
		if err := view.Execute(t.Context(), opts, func(r *evm.Run) error {
			_, _, err := r.Call(address(0xff), address(0x93), nil, nil, 1_000_000, nil)
			reads = r.ReadSet()
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return reads
	}
	if err := view.Prefetch(t.Context(), []common.Address{address(0x93), address(0xff), address(0x91), address(0x82)}, nil); err != nil {
		t.Fatal(err)
	}
	node.reset()
	reads := run(returning(program.New().Push(address(0x82)).Op(vm.BALANCE)))
	nonces := "eth_getTransactionCount " + address(0x93).Hex()
	if node.requests[nonces] != 0 {
		t.Errorf("have %v, want no nonce asked for", node.requests)
	}
	want := evm.AccountRead{Balance: *uint256.NewInt(78), CodeHash: types.EmptyCodeHash, BalanceUsed: true}
	if diff := cmp.Diff(want, reads.Accounts[address(0x82)]); diff != "" {
		t.Errorf("balance (-want +have):\n%s", diff)
	}
	if have := reads.Accounts[address(0x93)]; have.NonceUsed || have.BalanceUsed || have.Empty {
		t.Errorf("the contract: have %+v, want neither balance nor nonce used", have)
	}
	reads = run(create)
	if node.requests[nonces] != 1 {
		t.Errorf("have %v, want one nonce asked for", node.requests)
	}
	if have := reads.Accounts[address(0x93)]; !have.NonceUsed || have.Nonce != 0x93 {
		t.Errorf("the creator: have %+v, want its nonce 0x93", have)
	}
}
