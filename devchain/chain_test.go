package devchain

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"math/big"
	"testing"
	"time"

	"baler/entrypoint/artifacts"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"
)

// testChain is a chain under test with a typed client over real HTTP.
type testChain struct {
	*Chain
	t   *testing.T
	eth *ethclient.Client
}

// startChain starts a chain that the test's end closes.
func startChain(t *testing.T, cfg Config) *testChain {
	t.Helper()
	chain, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := chain.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	client, err := ethclient.DialContext(t.Context(), chain.HTTPURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &testChain{Chain: chain, t: t, eth: client}
}

// tx is what a test says about a transaction; the rest has defaults.
type tx struct {
	key   *ecdsa.PrivateKey
	nonce uint64
	tip   int64 // gwei; 0 means 1
	cap   int64 // gwei; 0 means 100
	to    common.Address
	value *big.Int
	data  []byte
	gas   uint64 // 0 means 21,000
	auth  []types.SetCodeAuthorization
}

func gwei(n int64) *big.Int { return new(big.Int).Mul(big.NewInt(n), big.NewInt(1e9)) }

func (c *testChain) sign(x tx) *types.Transaction {
	c.t.Helper()
	if x.tip == 0 {
		x.tip = 1
	}
	if x.cap == 0 {
		x.cap = 100
	}
	if x.gas == 0 {
		x.gas = 21_000
	}
	if x.value == nil {
		x.value = new(big.Int)
	}
	id := new(big.Int).SetUint64(c.ChainID())
	var inner types.TxData = &types.DynamicFeeTx{
		ChainID: id, Nonce: x.nonce, GasTipCap: gwei(x.tip), GasFeeCap: gwei(x.cap), Gas: x.gas, To: &x.to, Value: x.value, Data: x.data,
	}
	if len(x.auth) > 0 {
		inner = &types.SetCodeTx{
			ChainID: toUint256(id), Nonce: x.nonce, GasTipCap: toUint256(gwei(x.tip)), GasFeeCap: toUint256(gwei(x.cap)),
			Gas: x.gas, To: x.to, Value: toUint256(x.value), Data: x.data, AuthList: x.auth,
		}
	}
	signed, err := types.SignNewTx(x.key, types.LatestSignerForChainID(id), inner)
	if err != nil {
		c.t.Fatal(err)
	}
	return signed
}

// send signs and sends over HTTP.
func (c *testChain) send(x tx) common.Hash {
	c.t.Helper()
	signed := c.sign(x)
	if err := c.eth.SendTransaction(c.t.Context(), signed); err != nil {
		c.t.Fatalf("send: %v", err)
	}
	return signed.Hash()
}

// mine makes n blocks and returns the last one.
func (c *testChain) mine(n int) *types.Block {
	c.t.Helper()
	blocks, err := c.Mine(c.t.Context(), n)
	if err != nil {
		c.t.Fatal(err)
	}
	return blocks[len(blocks)-1]
}

// receipt returns the receipt, nil if the transaction is not mined.
func (c *testChain) receipt(hash common.Hash) *types.Receipt {
	c.t.Helper()
	receipt, err := c.eth.TransactionReceipt(c.t.Context(), hash)
	if err != nil {
		if errors.Is(err, ethereum.NotFound) {
			return nil
		}
		c.t.Fatal(err)
	}
	return receipt
}

// call calls a method of an artifact's contract at the latest block and decodes the answer.
func (c *testChain) call(artifact string, to common.Address, method string, args ...any) []any {
	c.t.Helper()
	out, err := c.tryCall(artifact, to, method, args...)
	if err != nil {
		c.t.Fatalf("%s of %s: %v", method, artifact, err)
	}
	return out
}

func (c *testChain) tryCall(artifact string, to common.Address, method string, args ...any) ([]any, error) {
	c.t.Helper()
	a := c.artifact(artifact)
	input, err := a.ABI.Pack(method, args...)
	if err != nil {
		c.t.Fatal(err)
	}
	ret, err := c.eth.CallContract(c.t.Context(), ethereum.CallMsg{To: &to, Data: input}, nil)
	if err != nil {
		return nil, err
	}
	return a.ABI.Unpack(method, ret)
}

func (c *testChain) artifact(name string) *artifacts.Artifact {
	c.t.Helper()
	a, err := artifacts.Load(name)
	if err != nil {
		c.t.Fatal(err)
	}
	return a
}

// heads subscribes to new heads over WebSocket.
func (c *testChain) heads() <-chan *types.Header {
	c.t.Helper()
	ws, err := ethclient.DialContext(c.t.Context(), c.WSURL())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(ws.Close)
	heads := make(chan *types.Header, 256)
	sub, err := ws.SubscribeNewHead(c.t.Context(), heads)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(sub.Unsubscribe)
	return heads
}

// next waits for the next head; the deadline only ends a test that would hang.
func (c *testChain) next(heads <-chan *types.Header) *types.Header {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	select {
	case head := <-heads:
		return head
	case <-ctx.Done():
		c.t.Fatal("no new head came")
		return nil
	}
}
