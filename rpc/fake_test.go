package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"

	"baler/entrypoint"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// fakeBackend is a bundler without rules. The operation's nonce chooses what it says, so that a wire script can ask
// for every answer; everything accepted is kept, and mined by sendBundleNow.
type fakeBackend struct {
	mu    sync.Mutex
	ops   map[common.Hash]*OperationInfo
	order []common.Hash
	auto  bool
	debug fakeDebug

	entered chan struct{} // non-nil: UserOperationReceipt says that it was called …
	release chan struct{} // … and waits for this or its context
}

func newFakeBackend() *fakeBackend {
	return &fakeBackend{ops: make(map[common.Hash]*OperationInfo)}
}

const fakeChainID = 1337

func (f *fakeBackend) ChainID() uint64 { return fakeChainID }

func (f *fakeBackend) EntryPoints() []entrypoint.EntryPoint {
	return []entrypoint.EntryPoint{entrypoint.Canonical(userop.V07), entrypoint.Canonical(userop.V06)}
}

// Nonces that the fake refuses.
const (
	nonceRejected = 0xe1
	nonceDeposit  = 0xe2
	nonceInternal = 0xe3
	noncePanic    = 0xe4
	nonceWrapped  = 0xe5
)

var errSecret = errors.New("dial tcp 10.1.2.3:8545: password=hunter2")

func (f *fakeBackend) verdict(op *userop.UserOperation) error {
	switch op.Nonce.Uint64() {
	case nonceRejected:
		return rejection.New(rejection.EntryPointRejected, "AA25 invalid account nonce")
	case nonceDeposit:
		r := rejection.New(rejection.PaymasterDepositLow, "AA31 paymaster deposit too low")
		r.Data.Paymaster = &common.Address{0xaa}
		r.Data.MinimumStake = "0x1"
		return r
	case nonceInternal:
		return fmt.Errorf("read account: %w", errSecret)
	case noncePanic:
		panic(errSecret)
	case nonceWrapped:
		return fmt.Errorf("intake: %w", rejection.New(rejection.InvalidSignature, "AA24 signature error"))
	}
	return nil
}

func (f *fakeBackend) SendUserOperation(_ context.Context, ep entrypoint.EntryPoint, op *userop.UserOperation) (common.Hash, error) {
	if err := f.verdict(op); err != nil {
		return common.Hash{}, err
	}
	hash := common.BigToHash(op.Nonce.ToBig())
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ops[hash] = &OperationInfo{Op: op, EntryPoint: ep.Address}
	f.order = append(f.order, hash)
	return hash, nil
}

// EstimateUserOperationGas answers with numbers that tell what it was given.
func (f *fakeBackend) EstimateUserOperationGas(_ context.Context, ep entrypoint.EntryPoint, op *userop.UserOperation,
	given userop.Given, overrides StateOverrides,
) (*GasEstimate, error) {
	if err := f.verdict(op); err != nil {
		return nil, err
	}
	e := &GasEstimate{PreVerificationGas: 50_000, VerificationGasLimit: 100_000, CallGasLimit: uint64(len(overrides))}
	if given.CallGasLimit {
		e.CallGasLimit = op.CallGasLimit
	}
	if op.Paymaster != nil && ep.Version.Packed() {
		verification, postOp := uint64(30_000), uint64(0)
		e.PaymasterVerificationGasLimit, e.PaymasterPostOpGasLimit = &verification, &postOp
	}
	return e, nil
}

func (f *fakeBackend) UserOperationByHash(_ context.Context, hash common.Hash) (*OperationInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops[hash], nil
}

func (f *fakeBackend) UserOperationReceipt(ctx context.Context, hash common.Hash) (*OperationReceipt, error) {
	if f.entered != nil {
		f.entered <- struct{}{}
		select {
		case <-f.release:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	info := f.ops[hash]
	if info == nil || info.Mined == nil {
		return nil, nil //nolint:nilnil // the interface says so
	}
	return &OperationReceipt{
		UserOpHash: hash, EntryPoint: info.EntryPoint, Sender: info.Op.Sender, Nonce: info.Op.Nonce,
		ActualGasCost: *uint256.NewInt(1_000_000_000), ActualGasUsed: *uint256.NewInt(100_000),
		Success: info.Op.Nonce.Uint64() != 2, Reason: reasonFor(info.Op),
		Logs: []*types.Log{{
			Address: info.EntryPoint, Topics: []common.Hash{hash}, BlockNumber: 7, TxHash: info.Mined.TransactionHash,
			BlockHash: info.Mined.BlockHash, Index: 3,
		}},
		Receipt: json.RawMessage(`{"transactionHash":"` + info.Mined.TransactionHash.Hex() + `","status":"0x1"}`),
	}, nil
}

func reasonFor(op *userop.UserOperation) []byte {
	if op.Nonce.Uint64() == 2 {
		return []byte{0x08, 0xc3, 0x79, 0xa0}
	}
	return nil
}

func (f *fakeBackend) SendBundleNow(context.Context) (common.Hash, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	sent := false
	for _, hash := range f.order {
		if info := f.ops[hash]; info.Mined == nil {
			f.ops[hash] = &OperationInfo{Op: info.Op, EntryPoint: info.EntryPoint, Mined: &Inclusion{
				BlockNumber: 7, BlockHash: common.Hash{0xb1}, TransactionHash: common.Hash{0xcc},
			}}
			sent = true
		}
	}
	if !sent {
		return common.Hash{}, fmt.Errorf("%w: the pool is empty", ErrNothingToSend)
	}
	return common.Hash{0xcc}, nil
}

func (f *fakeBackend) SetBundlingMode(_ context.Context, auto bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.auto = auto
	return nil
}

func (f *fakeBackend) DumpMempool(_ context.Context, ep entrypoint.EntryPoint) ([]*userop.UserOperation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ops []*userop.UserOperation
	for _, hash := range f.order {
		if info := f.ops[hash]; info.Mined == nil && info.EntryPoint == ep.Address {
			ops = append(ops, info.Op)
		}
	}
	return ops, nil
}

func (f *fakeBackend) ClearState(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ops, f.order = make(map[common.Hash]*OperationInfo), nil
	return nil
}

// testServer is a server on a loopback port for the length of a test.
type testServer struct {
	*Server
	url  string // http://127.0.0.1:port
	done chan error
}

func serve(t testing.TB, backend Backend, cfg Config) *testServer {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a listener of the test
	if err != nil {
		t.Fatal(err)
	}
	s := &testServer{NewServer(backend, cfg), "http://" + l.Addr().String(), make(chan error, 1)}
	go func() { s.done <- s.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-s.done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}
