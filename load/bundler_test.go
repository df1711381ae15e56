package load

import (
	"context"
	"encoding/json"
	"log/slog"
	"math/big"
	"net"
	"sync"
	"testing"

	"baler/devchain"
	"baler/entrypoint"
	"baler/rejection"
	"baler/rpc"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"
)

// plainBundler is the simplest bundler there can be: it sends each operation in a handleOps of its own, unchecked.
// What a load proves with it is the load's own work: the operations it makes pass the real contracts.
type plainBundler struct {
	chain *devchain.Chain
	node  *ethclient.Client

	mu    sync.Mutex
	nonce uint64
	ops   map[common.Hash]plainOp

	verdict func(count int, op *userop.UserOperation) error // of the count-th call of send; nil: accept all
	calls   int
	lie     bool // answers receipts with transactions the node does not have
}

type plainOp struct {
	op *userop.UserOperation
	ep entrypoint.EntryPoint
	tx common.Hash
}

func startBundler(t *testing.T, chain *devchain.Chain) (*plainBundler, string) {
	t.Helper()
	b := &plainBundler{chain: chain, node: ethclient.NewClient(chain.Client()), ops: make(map[common.Hash]plainOp)}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a listener of the test
	if err != nil {
		t.Fatal(err)
	}
	server := rpc.NewServer(b, rpc.Config{Logger: slog.New(slog.DiscardHandler)})
	done := make(chan error, 1)
	go func() { done <- server.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-done; err != nil {
			t.Errorf("bundler: %v", err)
		}
	})
	return b, "http://" + l.Addr().String()
}

func (b *plainBundler) ChainID() uint64 { return b.chain.ChainID() }

func (b *plainBundler) EntryPoints() []entrypoint.EntryPoint {
	var all []entrypoint.EntryPoint
	for _, v := range userop.Versions() {
		all = append(all, entrypoint.Canonical(v))
	}
	return all
}

func (b *plainBundler) SendUserOperation(ctx context.Context, ep entrypoint.EntryPoint, op *userop.UserOperation) (common.Hash, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	if b.verdict != nil {
		if err := b.verdict(b.calls, op); err != nil {
			return common.Hash{}, err
		}
	}
	tx, err := types.SignNewTx(b.chain.Keys()[1], types.LatestSignerForChainID(new(big.Int).SetUint64(b.ChainID())), &types.DynamicFeeTx{
		ChainID: new(big.Int).SetUint64(b.ChainID()), Nonce: b.nonce, To: &ep.Address, Gas: 5_000_000,
		GasFeeCap: op.MaxFeePerGas.ToBig(), GasTipCap: op.MaxPriorityFeePerGas.ToBig(),
		Data: entrypoint.EncodeHandleOps(ep.Version, []*userop.UserOperation{op}, beneficiary(b.chain)),
	})
	if err != nil {
		return common.Hash{}, err
	}
	if err := b.node.SendTransaction(ctx, tx); err != nil {
		return common.Hash{}, err
	}
	b.nonce++
	hash := op.Hash(ep.Address, b.ChainID(), common.Address{})
	b.ops[hash] = plainOp{op, ep, tx.Hash()}
	return hash, nil
}

func (b *plainBundler) EstimateUserOperationGas(_ context.Context, ep entrypoint.EntryPoint, op *userop.UserOperation,
	_ userop.Given, _ rpc.StateOverrides,
) (*rpc.GasEstimate, error) {
	e := &rpc.GasEstimate{PreVerificationGas: 60_000, VerificationGasLimit: 100_000, CallGasLimit: 100_000}
	if op.Factory != nil {
		e.VerificationGasLimit = 450_000
	}
	if op.Paymaster != nil && ep.Version.Packed() {
		verification, postOp := uint64(100_000), uint64(0)
		e.PaymasterVerificationGasLimit, e.PaymasterPostOpGasLimit = &verification, &postOp
	}
	return e, nil
}

func (b *plainBundler) UserOperationByHash(context.Context, common.Hash) (*rpc.OperationInfo, error) {
	return nil, nil //nolint:nilnil // the interface says so
}

func (b *plainBundler) UserOperationReceipt(ctx context.Context, hash common.Hash) (*rpc.OperationReceipt, error) {
	b.mu.Lock()
	sent, ok := b.ops[hash]
	b.mu.Unlock()
	if !ok {
		return nil, nil //nolint:nilnil // the interface says so
	}
	var raw json.RawMessage
	if err := b.chain.Client().CallContext(ctx, &raw, "eth_getTransactionReceipt", sent.tx); err != nil {
		return nil, err
	}
	if string(raw) == "null" {
		return nil, nil //nolint:nilnil // the interface says so
	}
	if b.lie {
		raw = json.RawMessage(`{"transactionHash":"` + common.Hash{0xbb}.Hex() + `"}`)
	}
	return &rpc.OperationReceipt{UserOpHash: hash, EntryPoint: sent.ep.Address, Sender: sent.op.Sender, Success: true, Receipt: raw}, nil
}

// refuseFirst refuses the first n calls.
func refuseFirst(n int, r *rejection.Rejection) func(int, *userop.UserOperation) error {
	return func(count int, _ *userop.UserOperation) error {
		if count <= n {
			return r
		}
		return nil
	}
}

func beneficiary(chain *devchain.Chain) common.Address {
	return crypto.PubkeyToAddress(chain.Keys()[1].PublicKey)
}
