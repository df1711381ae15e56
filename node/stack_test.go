package node_test

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"baler/bundlesender"
	"baler/chain"
	"baler/devchain"
	"baler/entrypoint"
	"baler/entrypoint/artifacts"
	"baler/event"
	"baler/node"
	"baler/pool"
	"baler/proposer"
	balerrpc "baler/rpc"
	"baler/signer"
	"baler/txsender"
	"baler/userop"

	"github.com/ethereum/go-ethereum/accounts"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
)

// stack is a chain without automatic mining, a node on it in manual bundling mode, and its JSON-RPC server.
type stack struct {
	chain  *devchain.Chain
	eth    *ethclient.Client
	node   *node.Node
	client *rpc.Client // of the bundler, over WebSocket
	config node.Config
	sink   event.Sink // nil: nobody listens
	funds  *ecdsa.PrivateKey
	nonce  uint64 // of the funding key
	owners atomic.Uint64
}

func startStack(t *testing.T, changes ...func(*node.Config)) *stack {
	t.Helper()
	return startStackOn(t, devchain.Config{Mining: devchain.Manual}, changes...)
}

// startStackOn is startStack on a chain of one's own choice.
func startStackOn(t *testing.T, chain devchain.Config, changes ...func(*node.Config)) *stack {
	t.Helper()
	embedded, err := devchain.Start(t.Context(), chain)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := embedded.Close(); err != nil {
			t.Errorf("chain: %v", err)
		}
	})
	s := &stack{chain: embedded, eth: ethclient.NewClient(embedded.Client()), funds: embedded.Keys()[5]}
	heads := dial(t, embedded.WSURL())
	s.config = node.Config{
		ChainID: embedded.ChainID(), EntryPoints: []entrypoint.EntryPoint{entrypoint.Canonical(userop.V07), entrypoint.Canonical(userop.V06)},
		Signers:        []signer.Signer{signer.NewPrivateKey(embedded.Keys()[0]), signer.NewPrivateKey(embedded.Keys()[1])},
		MinPriorityFee: *uint256.NewInt(1e9), LookupBlocks: 1000, HistorySize: 1000,
		Pool: pool.DefaultConfig(), Proposer: proposer.DefaultConfig(), Sender: bundlesender.DefaultConfig(),
	}
	s.config.Sender.Manual = true
	for _, change := range changes {
		change(&s.config)
	}
	s.serve(t, dial(t, embedded.HTTPURL()), heads)
	return s
}

func dial(t *testing.T, url string) *chain.Client {
	t.Helper()
	client, err := chain.Dial(t.Context(), url, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// serve runs the node and its server until the test's end.
func (s *stack) serve(t *testing.T, client, heads *chain.Client) {
	t.Helper()
	var err error
	log := slog.New(slog.DiscardHandler)
	if s.sink == nil {
		s.sink = func(event.Event) {}
	}
	if s.node, err = node.New(s.config, client, heads, txsender.NewRaw(client), s.sink, log); err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 2)
	go func() { ended <- s.node.Run(ctx) }()
	server := balerrpc.NewServer(s.node, balerrpc.Config{Debug: s.node, Baler: s.node, Watch: s.node, Logger: log})
	go func() { ended <- server.Serve(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		for range cap(ended) {
			if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("node or server: %v", err)
			}
		}
	})
	select {
	case <-s.node.Started():
	case <-time.After(waiting):
		t.Fatalf("the node has not started within %s", waiting)
	}
	if s.client, err = rpc.DialContext(t.Context(), "ws://"+listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
}

// waiting is how long a test waits for what must happen.
const waiting = 20 * time.Second

// eventually waits until check finds nothing wrong.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waiting)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-ticker.C:
		}
	}
}

// call calls the bundler; an error fails the test.
func (s *stack) call(t *testing.T, result any, method string, args ...any) {
	t.Helper()
	if err := s.client.CallContext(t.Context(), result, method, args...); err != nil {
		t.Fatalf("%s: %v", method, err)
	}
}

// refused calls the bundler, which must refuse with the code and a message that holds the text.
func (s *stack) refused(t *testing.T, code int, text, method string, args ...any) {
	t.Helper()
	var result json.RawMessage
	err := s.client.CallContext(t.Context(), &result, method, args...)
	answer, ok := errors.AsType[rpc.Error](err)
	if !ok {
		t.Fatalf("%s: have answer %s, error %v, want a refusal", method, result, err)
	}
	if answer.ErrorCode() != code || !strings.Contains(answer.Error(), text) {
		t.Errorf("%s: have %d %q, want %d with %q", method, answer.ErrorCode(), answer.Error(), code, text)
	}
}

// sendsNothing asks for a bundle though there is nothing to bundle.
func (s *stack) sendsNothing(t *testing.T) {
	t.Helper()
	var tx common.Hash
	if s.call(t, &tx, "debug_bundler_sendBundleNow"); tx != (common.Hash{}) {
		t.Errorf("have transaction %s, want none", tx)
	}
}

// mine makes blocks and waits until the node has seen them.
func (s *stack) mine(t *testing.T, n int) {
	t.Helper()
	if _, err := s.chain.Mine(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	want := s.chain.Head().Number.Uint64()
	eventually(t, "the node sees the head", func() error {
		report, _ := s.node.Health(t.Context())
		if health, ok := report.(node.Health); !ok || health.Head < want {
			return fmt.Errorf("have %+v, want head %d", report, want)
		}
		return nil
	})
}

// transact sends a transaction from the funding key.
func (s *stack) transact(t *testing.T, to common.Address, wei int64, data []byte) {
	t.Helper()
	id := new(big.Int).SetUint64(s.chain.ChainID())
	tx, err := types.SignNewTx(s.funds, types.LatestSignerForChainID(id), &types.DynamicFeeTx{
		ChainID: id, Nonce: s.nonce, GasTipCap: big.NewInt(1e9), GasFeeCap: big.NewInt(1e11), Gas: 1_000_000, To: &to,
		Value: big.NewInt(wei), Data: data,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.eth.SendTransaction(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	s.nonce++
}

// account is a SimpleAccount of v0.7 or v0.6.
type account struct {
	s       *stack
	ep      entrypoint.EntryPoint
	owner   *ecdsa.PrivateKey
	address common.Address
	factory []byte // call that creates it; nil: it is there

	delegation *types.SetCodeAuthorization // by EIP-7702, with its first operation; nil: none
	nonce      uint64
}

// accounts returns accounts with 1 ETH each, deployed or to be deployed by their first operation.
func (s *stack) accounts(t *testing.T, v userop.Version, n int, deployed bool) []*account {
	t.Helper()
	list := make([]*account, n)
	for i := range list {
		list[i] = s.account(t, v, deployed)
	}
	s.mine(t, 1)
	return list
}

// account returns an account like those of accounts, as of the next block.
func (s *stack) account(t *testing.T, v userop.Version, deployed bool) *account {
	t.Helper()
	factory := s.chain.Contracts().AccountFactories[v]
	a := &account{s: s, ep: entrypoint.Canonical(v), owner: s.newOwner(t)}
	address := ownerOf(a)
	var answer hexutil.Bytes
	call := map[string]any{"to": factory, "data": hexutil.Bytes(pack(t, "SimpleAccountFactory", "getAddress", address, new(big.Int)))}
	if err := s.chain.Client().CallContext(t.Context(), &answer, "eth_call", call, "latest"); err != nil {
		t.Fatal(err)
	}
	a.address = common.BytesToAddress(answer)
	a.factory = pack(t, "SimpleAccountFactory", "createAccount", address, new(big.Int))
	s.transact(t, a.address, 1e18, nil)
	if deployed {
		s.transact(t, factory, 0, a.factory)
		a.factory = nil
	}
	return a
}

// delegating returns a key with 1 ETH that will delegate to a Simple7702Account with its first operation.
func (s *stack) delegating(t *testing.T) *account {
	t.Helper()
	a := &account{s: s, ep: entrypoint.Canonical(userop.V08), owner: s.newOwner(t)}
	a.address = ownerOf(a)
	authorization, err := types.SignSetCode(a.owner, types.SetCodeAuthorization{
		ChainID: *uint256.NewInt(s.chain.ChainID()), Address: s.chain.Contracts().Simple7702Accounts[userop.V08],
	})
	if err != nil {
		t.Fatal(err)
	}
	a.delegation = &authorization
	s.transact(t, a.address, 1e18, nil)
	s.mine(t, 1)
	return a
}

func (s *stack) newOwner(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	owner, err := crypto.ToECDSA(crypto.Keccak256(fmt.Appendf(nil, "owner %d", s.owners.Add(1))))
	if err != nil {
		t.Fatal(err)
	}
	return owner
}

// op returns the account's next operation, which calls the counter, signed after the changes.
func (a *account) op(t *testing.T, changes ...func(*userop.UserOperation)) *userop.UserOperation {
	t.Helper()
	op := &userop.UserOperation{
		Version: a.ep.Version, Sender: a.address, Nonce: *uint256.NewInt(a.nonce), CallData: a.call(t, "count"),
		CallGasLimit: 100_000, VerificationGasLimit: 100_000, PreVerificationGas: 100_000,
		MaxFeePerGas: *uint256.NewInt(20e9), MaxPriorityFeePerGas: *uint256.NewInt(2e9),
	}
	if a.factory != nil {
		op.Factory, op.FactoryData = new(a.s.chain.Contracts().AccountFactories[a.ep.Version]), a.factory
		op.VerificationGasLimit = 450_000
	}
	if a.delegation != nil {
		op.Factory, op.Authorization = new(userop.EIP7702Marker), a.delegation
		op.PreVerificationGas += 50_000
	}
	for _, change := range changes {
		change(op)
	}
	return a.signed(t, op)
}

// drop makes an operation one that drops another.
func drop(op *userop.UserOperation) {
	op.CallData, op.CallGasLimit, op.PreVerificationGas = nil, 0, 0
	op.MaxFeePerGas, op.MaxPriorityFeePerGas = uint256.Int{}, uint256.Int{}
}

func (a *account) signed(t *testing.T, op *userop.UserOperation) *userop.UserOperation {
	t.Helper()
	hash := a.hash(op)
	digest := accounts.TextHash(hash[:])
	if a.ep.Version >= userop.V08 {
		digest = hash[:]
	}
	signature, err := crypto.Sign(digest, a.owner)
	if err != nil {
		t.Fatal(err)
	}
	signature[64] += 27
	op.Signature = signature
	return op
}

func (a *account) hash(op *userop.UserOperation) common.Hash {
	return op.Hash(a.ep.Address, a.s.chain.ChainID(), op.Delegate())
}

// send sends an operation that must be accepted.
func (a *account) send(t *testing.T, op *userop.UserOperation) common.Hash {
	t.Helper()
	var hash common.Hash
	a.s.call(t, &hash, "eth_sendUserOperation", op, a.ep.Address)
	a.nonce++
	return hash
}

// call is the account's call of a method of the counter.
func (a *account) call(t *testing.T, method string, args ...any) []byte {
	t.Helper()
	return pack(t, "SimpleAccount", "execute", a.s.chain.Contracts().Counter, new(big.Int), pack(t, "Counter", method, args...))
}

func pack(t *testing.T, contract, method string, args ...any) []byte {
	t.Helper()
	path := "v0.8/" + contract + ".json" // the methods used here are the same in every version
	if contract == "Counter" {
		path = "shared/Counter.json"
	}
	artifact, err := artifacts.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := artifact.ABI.Pack(method, args...)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func ownerOf(a *account) common.Address { return crypto.PubkeyToAddress(a.owner.PublicKey) }
