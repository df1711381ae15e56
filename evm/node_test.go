package evm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"testing"

	"baler/evm"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"
)

// fakeNode answers state reads from an allocation. It fails as it is told to.
type fakeNode struct {
	mu       sync.Mutex
	alloc    types.GenesisAlloc
	batches  int
	requests map[string]int // by "method address [slot]"

	unknownFor int   // answer "header not found" to this many batches
	err        error // fail batches with it
	perCall    error // fail each request with it
	null       bool  // answer null
	gate       chan struct{}
	entered    chan struct{}
}

func newFakeNode(alloc types.GenesisAlloc) *fakeNode {
	return &fakeNode{alloc: alloc, requests: make(map[string]int)}
}

func (n *fakeNode) CallContext(context.Context, any, string, ...any) error {
	return errors.New("the package reads state in batches only")
}

// headerNotFound is geth's error for a block it does not have.
type headerNotFound struct{}

func (headerNotFound) Error() string  { return "header not found" }
func (headerNotFound) ErrorCode() int { return -32000 }

func (n *fakeNode) BatchCallContext(ctx context.Context, batch []rpc.BatchElem) error {
	if n.entered != nil {
		n.entered <- struct{}{}
	}
	if n.gate != nil {
		select {
		case <-n.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.batches++
	if n.err != nil {
		return n.err
	}
	for i := range batch {
		elem := &batch[i]
		switch {
		case n.unknownFor > 0:
			elem.Error = headerNotFound{}
		case n.perCall != nil:
			elem.Error = n.perCall
		case n.null:
			elem.Error = json.Unmarshal([]byte("null"), elem.Result)
		default:
			elem.Error = n.answer(elem)
		}
	}
	if n.unknownFor > 0 {
		n.unknownFor--
	}
	return nil
}

func (n *fakeNode) answer(elem *rpc.BatchElem) error {
	addr, ok := elem.Args[0].(common.Address)
	if !ok {
		return fmt.Errorf("the method %s does not exist", elem.Method)
	}
	account := n.alloc[addr]
	key := fmt.Sprintf("%s %s", elem.Method, addr)
	var result any
	switch elem.Method {
	case "eth_getBalance":
		balance := account.Balance
		if balance == nil {
			balance = new(big.Int)
		}
		result = (*hexutil.Big)(balance)
	case "eth_getTransactionCount":
		result = hexutil.Uint64(account.Nonce)
	case "eth_getCode":
		result = hexutil.Bytes(account.Code)
	case "eth_getStorageAt":
		slot := elem.Args[1].(common.Hash)
		key += " " + slot.Hex()
		result = account.Storage[slot]
	default:
		return fmt.Errorf("the method %s does not exist", elem.Method)
	}
	n.requests[key]++
	raw, err := json.Marshal(result)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, elem.Result)
}

func (n *fakeNode) askedTwice() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var twice []string
	for key, count := range n.requests {
		if count > 1 {
			twice = append(twice, key)
		}
	}
	return twice
}

func header(number uint64) *types.Header {
	excess, used := uint64(0), uint64(0)
	return &types.Header{
		Number: new(big.Int).SetUint64(number), Time: 1_700_000_000 + 12*number, GasLimit: 60_000_000, GasUsed: 30_000_000,
		BaseFee: big.NewInt(1_000_000_000), Difficulty: new(big.Int), ExcessBlobGas: &excess, BlobGasUsed: &used,
		ParentHash: common.Hash{31: 0x77},
	}
}

// newSource returns a source of the tests' chain. Over the fake node, which has no machine to run the loader's code, it
// reads by single requests.
func newSource(node evm.Node, opts evm.Options) *evm.Source {
	if _, fake := node.(*fakeNode); fake {
		opts.NoLoader = true
	}
	return evm.NewSource(node, evm.ChainConfigFor(1337), opts)
}

func address(n byte) common.Address { return common.Address{0: 0xc0, 19: n} }

func slotKey(n byte) common.Hash { return common.Hash{31: n} }

func mustView(t *testing.T, node evm.Node, opts evm.Options) *evm.View {
	t.Helper()
	return newSource(node, opts).View(header(100))
}
