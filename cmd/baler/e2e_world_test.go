package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"sync"
	"testing"
	"time"

	"baler/devchain"
	"baler/entrypoint"
	"baler/userop"

	"github.com/alecthomas/kong"
	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/rpc"
)

// blockTime is short, so that many blocks pass in a test.
const blockTime = 100 * time.Millisecond

// world is a chain and a bundler as a user sees them.
type world struct {
	chain   *devchain.Chain
	eth     *ethclient.Client // of the chain
	url     string            // of the bundler
	bundler *rpc.Client
	others  []string // operators' servers of the bundler's other processes, which see the chain themselves

	mu    sync.Mutex // of the funding key's nonce
	funds *ecdsa.PrivateKey
	nonce uint64
	next  int // number of the next account
}

// Keys of the chain that are not the bundler's.
const (
	fundsKey = signerKeys
	rivalKey = signerKeys + 1
	spareKey = signerKeys + 2
)

// startChain starts a chain for a test.
func startChain(t *testing.T, cfg devchain.Config) *devchain.Chain {
	t.Helper()
	cfg.FundedKeys = signerKeys + 10
	chain, err := devchain.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := chain.Close(); err != nil {
			t.Errorf("chain: %v", err)
		}
	})
	return chain
}

// newWorld puts a bundler's URL beside a chain.
func newWorld(t *testing.T, chain *devchain.Chain, url string) *world {
	t.Helper()
	w := &world{chain: chain, eth: ethclient.NewClient(chain.Client()), funds: chain.Keys()[fundsKey]}
	w.reach(t, url)
	return w
}

// reach makes the bundler at the URL the one that is talked to.
func (w *world) reach(t *testing.T, url string) {
	t.Helper()
	client, err := rpc.DialContext(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	w.url, w.bundler = url, client
}

// startWorld starts a chain and, in this process, a bundler with `baler dev`'s settings and the given flags. In a test that
// TestInThreeProcesses runs, the bundler is in three processes.
func startWorld(t *testing.T, cfg devchain.Config, flags ...string) *world {
	t.Helper()
	if inParts(t) {
		return startWorldInParts(t, cfg, flags...)
	}
	settings := devSettings(t, flags...)
	cfg.FundedKeys = signerKeys + 10
	logs := &output{}
	log := slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	// The stack ends by its own Close at the end of the test, not with the test's context before that.
	st, err := startStack(context.WithoutCancel(t.Context()), stackSettings{
		chain: cfg, entryPoints: settings.entryPointSettings, bundler: settings.bundlerSettings,
	}, console{}, log)
	if err != nil {
		t.Fatalf("start: %v\n%s", err, logs.tail())
	}
	t.Cleanup(func() {
		if err := st.close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", logs.tail())
		}
	})
	return newWorld(t, st.chain, st.bundler.url)
}

// devSettings reads flags as the program does.
func devSettings(t *testing.T, flags ...string) devCommand {
	t.Helper()
	var line cli
	parser, err := newParser(&line, kong.Exit(func(int) { t.Error("the flags ask for help") }))
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"dev", "--rpc-addr", "127.0.0.1:0", "--num-signers", "2", "--rpc-debug"}, flags...)
	if _, err := parser.Parse(hyphenate(args)); err != nil {
		t.Fatal(err)
	}
	return line.Dev
}

// interval is a chain that makes a block every blockTime.
func interval() devchain.Config {
	return devchain.Config{Mining: devchain.Interval, BlockTime: blockTime}
}

// call calls the bundler; a refusal fails the test.
func (w *world) call(t *testing.T, result any, method string, args ...any) {
	t.Helper()
	if err := w.bundler.CallContext(t.Context(), result, method, args...); err != nil {
		t.Fatalf("%s: %v (data %v)", method, err, dataOf(err))
	}
}

func dataOf(err error) any {
	if detailed, ok := errors.AsType[rpc.DataError](err); ok {
		return detailed.ErrorData()
	}
	return nil
}

// refusal is an error as a client sees it.
type refusal struct {
	code    int
	message string
	data    map[string]any
}

// refused calls the bundler and returns its refusal; an answer fails the test.
func (w *world) refused(t *testing.T, method string, args ...any) refusal {
	t.Helper()
	var result json.RawMessage
	err := w.bundler.CallContext(t.Context(), &result, method, args...)
	if err == nil {
		t.Fatalf("%s: have the answer %s, want a refusal", method, result)
	}
	answer, ok := errors.AsType[rpc.Error](err)
	if !ok {
		t.Fatalf("%s: have %v, want a JSON-RPC error", method, err)
	}
	data, _ := dataOf(err).(map[string]any)
	return refusal{answer.ErrorCode(), answer.Error(), data}
}

// post sends a body as it is and returns the answer's body.
func (w *world) post(t *testing.T, body string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// health is GET /health.
type health struct {
	Status     string `json:"status"`
	Head       uint64 `json:"head"`
	Operations int    `json:"operations"`
	Senders    []struct {
		Signer common.Address `json:"signer"`
		State  string         `json:"state"`
	} `json:"senders"`
}

func (w *world) health(t *testing.T) health {
	t.Helper()
	return w.healthAt(t, w.url)
}

func (w *world) healthAt(t *testing.T, url string) health {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/health", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var report health
	if err := json.NewDecoder(response.Body).Decode(&report); err != nil {
		t.Fatal(err)
	}
	return report
}

// synced waits until the bundler has seen the block that is the chain's head now.
func (w *world) synced(t *testing.T) {
	t.Helper()
	want := w.chain.Head().Number.Uint64()
	eventually(t, "the bundler sees the head", func() error {
		if have := w.health(t).Head; have < want {
			return fmt.Errorf("have head %d, want %d", have, want)
		}
		for _, url := range w.others {
			if have := w.healthAt(t, url).Head; have < want {
				return fmt.Errorf("%s: have head %d, want %d", url, have, want)
			}
		}
		return nil
	})
}

// mine makes blocks, and waits until the bundler has seen them.
func (w *world) mine(t *testing.T, n int) {
	t.Helper()
	if _, err := w.chain.Mine(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	w.synced(t)
}

// mempool returns the hashes of the pending operations, as debug_bundler_dumpMempool shows them.
func (w *world) mempool(t *testing.T, ep entrypoint.EntryPoint) []common.Hash {
	t.Helper()
	var raw []json.RawMessage
	w.call(t, &raw, "debug_bundler_dumpMempool", ep.Address)
	hashes := make([]common.Hash, 0, len(raw))
	for _, text := range raw {
		op, err := userop.Decode(text, ep.Version)
		if err != nil {
			t.Fatalf("dumpMempool: %v in %s", err, text)
		}
		hashes = append(hashes, op.Hash(ep.Address, w.chain.ChainID(), w.delegateOf(t, op)))
	}
	return hashes
}

func (w *world) delegateOf(t *testing.T, op *userop.UserOperation) common.Address {
	t.Helper()
	if op.Authorization != nil {
		return op.Authorization.Address
	}
	code, err := w.eth.CodeAt(t.Context(), op.Sender, nil)
	if err != nil {
		t.Fatal(err)
	}
	delegate, _ := types.ParseDelegation(code)
	return delegate
}

// read calls a contract at the latest block.
func (w *world) read(t *testing.T, to common.Address, data []byte) []byte {
	t.Helper()
	answer, err := w.eth.CallContract(t.Context(), ethereum.CallMsg{To: &to, Data: data}, nil)
	if err != nil {
		t.Fatalf("call %s: %v", to, err)
	}
	return answer
}

// pay sends a transaction from the funding key.
func (w *world) pay(t *testing.T, to common.Address, wei *big.Int, data []byte) common.Hash {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	hash := w.transact(t, w.funds, w.nonce, to, wei, data)
	w.nonce++
	return hash
}

// transact sends a transaction that any base fee of these tests lets through.
func (w *world) transact(t *testing.T, key *ecdsa.PrivateKey, nonce uint64, to common.Address, wei *big.Int, data []byte) common.Hash {
	t.Helper()
	const gasLimit = 2_000_000
	chainID := new(big.Int).SetUint64(w.chain.ChainID())
	tx, err := types.SignNewTx(key, types.LatestSignerForChainID(chainID), &types.DynamicFeeTx{
		ChainID: chainID, Nonce: nonce, GasTipCap: gwei(2), GasFeeCap: gwei(1000), Gas: gasLimit, To: &to, Value: wei, Data: data,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.eth.SendTransaction(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	return tx.Hash()
}

// awaitTransaction waits until a transaction is mined and the bundler has seen its block; on a chain without automatic
// mining it makes the block.
func (w *world) awaitTransaction(t *testing.T, hash common.Hash) *types.Receipt {
	t.Helper()
	if !w.chain.AutoMine() {
		w.mine(t, 1)
	}
	var receipt *types.Receipt
	eventually(t, "transaction mined", func() (err error) {
		receipt, err = w.eth.TransactionReceipt(t.Context(), hash)
		return err
	})
	w.synced(t)
	return receipt
}

// receipt is the answer of eth_getUserOperationReceipt.
type receipt struct {
	UserOpHash    common.Hash    `json:"userOpHash"`
	EntryPoint    common.Address `json:"entryPoint"`
	Sender        common.Address `json:"sender"`
	Nonce         *hexutil.Big   `json:"nonce"`
	Paymaster     common.Address `json:"paymaster"`
	ActualGasCost *hexutil.Big   `json:"actualGasCost"`
	ActualGasUsed *hexutil.Big   `json:"actualGasUsed"`
	Success       bool           `json:"success"`
	Reason        hexutil.Bytes  `json:"reason"`
	Logs          []*types.Log   `json:"logs"`
	Receipt       *types.Receipt `json:"receipt"`
}

// errNotMined is why a test goes on waiting.
var errNotMined = errors.New("not mined")

// receiptOf returns the operation's receipt, nil while there is none.
func (w *world) receiptOf(t *testing.T, hash common.Hash) *receipt {
	t.Helper()
	var r *receipt
	w.call(t, &r, "eth_getUserOperationReceipt", hash)
	return r
}

// awaitReceipt waits until the operation is mined.
func (w *world) awaitReceipt(t *testing.T, hash common.Hash) *receipt {
	t.Helper()
	var r *receipt
	eventually(t, "operation "+hash.Hex()+" mined", func() error {
		if r = w.receiptOf(t, hash); r == nil {
			return errNotMined
		}
		return nil
	})
	return r
}

// information is the answer of eth_getUserOperationByHash.
type information struct {
	UserOperation   json.RawMessage `json:"userOperation"`
	EntryPoint      common.Address  `json:"entryPoint"`
	BlockNumber     *hexutil.Uint64 `json:"blockNumber"`
	BlockHash       *common.Hash    `json:"blockHash"`
	TransactionHash *common.Hash    `json:"transactionHash"`
}

func gwei(n int64) *big.Int { return new(big.Int).Mul(big.NewInt(n), big.NewInt(1e9)) }

func ether(n int64) *big.Int { return new(big.Int).Mul(big.NewInt(n), big.NewInt(1e18)) }

func addressOf(key *ecdsa.PrivateKey) common.Address { return crypto.PubkeyToAddress(key.PublicKey) }
