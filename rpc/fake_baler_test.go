package rpc

import (
	"context"
	"fmt"
	"math/big"
	"sync"

	"baler/entrypoint"
	"baler/gas"
	"baler/profit"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// Hashes of operations in each state, besides those that were sent.
var (
	hashBundled  = common.Hash{31: 0xb0}
	hashInBundle = common.Hash{31: 0xb1}
	hashRejected = common.Hash{31: 0xb2}
	hashDropped  = common.Hash{31: 0xb3}
	hashFailed   = common.Hash{31: 0xb4}
	hashInternal = common.Hash{31: 0xe3}
)

// UserOperationStatus knows what was sent, and one operation in each other state.
func (f *fakeBackend) UserOperationStatus(_ context.Context, hash common.Hash) (*OperationStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if info := f.ops[hash]; info != nil {
		if info.Mined == nil {
			return &OperationStatus{State: StatePending, Reason: "max fee too low: have 4, want 1000000007"}, nil
		}
		return &OperationStatus{State: StateIncluded, Transaction: &info.Mined.TransactionHash, Block: &info.Mined.BlockNumber}, nil
	}
	tx, block := common.Hash{0xcc}, uint64(7)
	switch hash {
	case hashBundled:
		return &OperationStatus{State: StateBundled}, nil
	case hashInBundle:
		return &OperationStatus{State: StateSubmitted, Transaction: &tx}, nil
	case hashRejected:
		return &OperationStatus{State: StateRejected, Reason: "AA25 invalid account nonce"}, nil
	case hashDropped:
		return &OperationStatus{State: StateDropped, Reason: "expired"}, nil
	case hashFailed:
		return &OperationStatus{State: StateFailed, Transaction: &tx, Block: &block, Reason: "its call reverted: no funds"}, nil
	case hashInternal:
		return nil, fmt.Errorf("read receipt: %w", errSecret)
	}
	return &OperationStatus{State: StateNotFound}, nil
}

// UserOperationTimeline tells the same story of every operation that was sent.
func (f *fakeBackend) UserOperationTimeline(_ context.Context, hash common.Hash) ([]TimelineEntry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ops[hash] == nil {
		return nil, nil
	}
	const at = 1_700_000_000_000
	signer, tx, nonce, success := common.Address{0x51}, common.Hash{0xcc}, uint64(3), true
	fees := gas.Fees{MaxFee: *uint256.NewInt(2_000_000_000), MaxPriority: *uint256.NewInt(1_000_000_000)}
	return []TimelineEntry{
		{At: at, Block: 5, Event: "received"},
		{At: at + 2, Block: 5, Event: "added"},
		{
			At: at + 10, Block: 5, Event: "skipped", Reason: "max fee too low: have 4, want 7", Cause: "max fee too low", Signer: &signer,
			Have: uint256.NewInt(4), Want: uint256.NewInt(7), Times: 2, LastAt: at + 1010, LastBlock: 6,
		},
		{At: at + 2000, Block: 6, Event: "bundled", Signer: &signer, Fees: &fees},
		{At: at + 2004, Block: 6, Event: "sent", Cause: "accepted", Signer: &signer, Transaction: &tx, Nonce: &nonce, Fees: &fees},
		{
			At: at + 3000, Block: 7, Event: "mined", Transaction: &tx, Success: &success,
			GasUsed: uint256.NewInt(100_000), GasCost: uint256.NewInt(150_000_000_000_000),
		},
	}, nil
}

// GasPrice is a market of 1 gwei base fee and 1 gwei priority fee.
func (f *fakeBackend) GasPrice(context.Context) (*GasPrice, error) {
	fees := func(maxFee, priority uint64) gas.Fees {
		return gas.Fees{MaxFee: *uint256.NewInt(maxFee), MaxPriority: *uint256.NewInt(priority)}
	}
	return &GasPrice{
		Block: 7, BaseFee: *uint256.NewInt(1_000_000_000), Required: fees(2_270_000_000, 1_000_000_000),
		Slow: fees(2_428_750_000, 1_000_000_000), Standard: fees(2_908_261_719, 1_100_000_000), Fast: fees(3_824_679_000, 1_250_000_000),
	}, nil
}

// ExplainUserOperation tells the same story of every operation that was sent; a pending one is expected at block 9.
func (f *fakeBackend) ExplainUserOperation(ctx context.Context, hash common.Hash) (*Explanation, error) {
	status, err := f.UserOperationStatus(ctx, hash)
	if err != nil {
		return nil, err
	}
	e := &Explanation{Status: status}
	if e.Timeline, err = f.UserOperationTimeline(ctx, hash); err != nil || status.State != StatePending {
		return e, err
	}
	price, err := f.GasPrice(ctx)
	if err != nil {
		return nil, err
	}
	earliest := price.Block + 2
	e.Expected = &Expectation{
		Block: price.Block, BaseFee: price.BaseFee, Required: price.Required,
		Offers: gas.Fees{MaxFee: *uint256.NewInt(2_000_000_000), MaxPriority: *uint256.NewInt(1_000_000_000)}, HighestBaseFee: uint256.NewInt(787_401_575),
		EarliestBlock: &earliest, Predecessors: 1, PayingMore: 3,
		Waits: []string{"its max fee is too low for the next block: have 2000000000, want 2270000000 wei per gas"},
	}
	return e, nil
}

// Profit is that of one bundle and one cancellation.
func (f *fakeBackend) Profit(_ context.Context, q profit.Query) (*profit.Report, error) {
	signer := common.Address{0x51}
	books := profit.NewBooks(10)
	books.Add(profit.Entry{
		Transaction: common.Hash{0xcc}, Block: 7, BlockHash: common.Hash{0xb7}, Time: 1_795_600_000, Signer: signer, EntryPoint: f.EntryPoints()[0].Address,
		Kind: profit.Bundle, Operations: 3, GasLimit: 400_000, GasUsed: 300_000, ChargedGas: 330_000,
		Cost: *uint256.NewInt(310_000), L1Fee: *uint256.NewInt(10_000), Earned: *uint256.NewInt(340_000), Expected: big.NewInt(29_000),
	})
	books.Add(profit.Entry{
		Transaction: common.Hash{0xcd}, Block: 9, BlockHash: common.Hash{0xb9}, Time: 1_795_600_024, Signer: signer,
		Kind: profit.Cancellation, GasLimit: 21_000, GasUsed: 21_000, Cost: *uint256.NewInt(42_000),
	})
	return books.Report(q), nil
}

// DropUserOperation takes out what was sent with the nonce. A nonce that the fake refuses is refused here too.
func (f *fakeBackend) DropUserOperation(_ context.Context, _ entrypoint.EntryPoint, request *userop.UserOperation) (*common.Hash, error) {
	if err := f.verdict(request); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	hash := common.BigToHash(request.Nonce.ToBig())
	info := f.ops[hash]
	switch {
	case info == nil:
		return nil, nil //nolint:nilnil // the interface says so
	case info.Mined != nil:
		return nil, fmt.Errorf("%w: transaction %s", ErrInFlight, info.Mined.TransactionHash)
	}
	f.ops[hash].Mined = &Inclusion{} // gone, as far as the pool is concerned
	return &hash, nil
}

// fakeDebug is the state behind the debug methods on reputation.
type fakeDebug struct {
	mu         sync.Mutex
	reputation []Reputation
}

func (f *fakeBackend) ClearMempool(_ context.Context, ep *entrypoint.EntryPoint) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for hash, info := range f.ops {
		if ep == nil || info.EntryPoint == ep.Address {
			delete(f.ops, hash)
		}
	}
	kept := f.order[:0]
	for _, hash := range f.order {
		if f.ops[hash] != nil {
			kept = append(kept, hash)
		}
	}
	f.order = kept
	return nil
}

func (f *fakeBackend) ClearReputation(context.Context) error {
	f.debug.mu.Lock()
	defer f.debug.mu.Unlock()
	f.debug.reputation = nil
	return nil
}

func (f *fakeBackend) SetReputation(_ context.Context, entries []Reputation) error {
	f.debug.mu.Lock()
	defer f.debug.mu.Unlock()
	for i := range entries {
		entries[i].Status = "ok"
		if entries[i].OpsSeen > 100 {
			entries[i].Status = "banned"
		}
	}
	f.debug.reputation = entries
	return nil
}

func (f *fakeBackend) DumpReputation(context.Context) ([]Reputation, error) {
	f.debug.mu.Lock()
	defer f.debug.mu.Unlock()
	return f.debug.reputation, nil
}

func (f *fakeBackend) StakeStatus(_ context.Context, ep entrypoint.EntryPoint, address common.Address) (*StakeStatus, error) {
	status := &StakeStatus{Address: address}
	if ep.Version == userop.V07 {
		status.Stake.SetUint64(1_000_000_000_000_000_000)
		status.UnstakeDelaySec, status.Staked = 86_400, true
	}
	return status, nil
}

func (f *fakeBackend) AddUserOperations(ctx context.Context, ep entrypoint.EntryPoint, ops []*userop.UserOperation) error {
	for i, op := range ops {
		if _, err := f.SendUserOperation(ctx, ep, op); err != nil {
			return fmt.Errorf("userOps[%d]: %w", i, err)
		}
	}
	return nil
}

func (f *fakeBackend) SetConfiguration(_ context.Context, settings map[string]uint64) error {
	for name, value := range settings {
		if name != "expectedBundleSize" || value != 1 {
			return rejection.New(rejection.InvalidFields, "setting %q: have %d, want expectedBundleSize 1", name, value)
		}
	}
	return nil
}

// fakeWatcher gives every subscription the same notices, and closes the channel of those that are to fall behind.
type fakeWatcher struct {
	notices []Notice
	lose    bool
	fails   error

	mu      sync.Mutex
	topics  []Topic
	stopped int
}

func (w *fakeWatcher) Watch(_ context.Context, topic Topic) (<-chan Notice, func(), error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fails != nil {
		return nil, nil, w.fails
	}
	w.topics = append(w.topics, topic)
	notices := make(chan Notice, len(w.notices))
	for _, n := range w.notices {
		notices <- n
	}
	if w.lose {
		close(notices)
	}
	return notices, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.stopped++
	}, nil
}

func (w *fakeWatcher) ended() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stopped
}
