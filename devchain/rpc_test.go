package devchain

import (
	"encoding/json"
	"math/big"
	"testing"

	"baler/userop"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
)

// TestForksAreMainnetsOfToday compares the hand-written fork list with the one go-ethereum ships for mainnet: a fork that
// mainnet has must be active here, and no other.
func TestForksAreMainnetsOfToday(t *testing.T) {
	have, want := ChainConfig(1), params.MainnetChainConfig
	for name, fork := range map[string][2]*uint64{
		"shanghai": {have.ShanghaiTime, want.ShanghaiTime}, "cancun": {have.CancunTime, want.CancunTime},
		"prague": {have.PragueTime, want.PragueTime}, "osaka": {have.OsakaTime, want.OsakaTime},
		"bpo1": {have.BPO1Time, want.BPO1Time}, "bpo2": {have.BPO2Time, want.BPO2Time},
		"bpo3": {have.BPO3Time, want.BPO3Time}, "bpo4": {have.BPO4Time, want.BPO4Time}, "bpo5": {have.BPO5Time, want.BPO5Time},
		"amsterdam": {have.AmsterdamTime, want.AmsterdamTime}, "bogota": {have.BogotaTime, want.BogotaTime}, "ubt": {have.UBTTime, want.UBTTime},
	} {
		if (fork[0] == nil) != (fork[1] == nil) {
			t.Errorf("%s: active here %v, on mainnet %v", name, fork[0] != nil, fork[1] != nil)
		}
		if fork[0] != nil && *fork[0] != 0 {
			t.Errorf("%s: have time %d, want 0", name, *fork[0])
		}
	}
	haveBlobs, _ := json.Marshal(have.BlobScheduleConfig)
	wantBlobs, _ := json.Marshal(want.BlobScheduleConfig)
	if string(haveBlobs) != string(wantBlobs) {
		t.Errorf("blob schedule: have %s, want %s", haveBlobs, wantBlobs)
	}
	if have.DepositContractAddress != want.DepositContractAddress {
		t.Errorf("deposit contract: have %v, want %v", have.DepositContractAddress, want.DepositContractAddress)
	}
}

// TestNodeAnswersLikeAnyNode uses what a bundler uses of a node on blocks of our own builder.
func TestNodeAnswersLikeAnyNode(t *testing.T) {
	c := startChain(t, Config{Mining: Manual})
	ctx := t.Context()
	if id, err := c.eth.ChainID(ctx); err != nil || id.Uint64() != DefaultChainID {
		t.Errorf("eth_chainId: have %v (%v)", id, err)
	}
	if progress, err := c.eth.SyncProgress(ctx); err != nil || progress != nil {
		t.Errorf("eth_syncing: have %v (%v), want false", progress, err)
	}
	count, err := c.artifact("shared/Counter.json").ABI.Pack("count")
	if err != nil {
		t.Fatal(err)
	}
	hash := c.send(tx{key: Key(0), to: c.Contracts().Counter, data: count, gas: 100_000})

	pending, isPending, err := c.eth.TransactionByHash(ctx, hash)
	if err != nil || !isPending || pending.Hash() != hash {
		t.Errorf("eth_getTransactionByHash of a pending one: pending %v (%v)", isPending, err)
	}
	if n, err := c.eth.PendingNonceAt(ctx, addressOf(Key(0))); err != nil || n != 1 {
		t.Errorf("pending nonce: have %d (%v), want 1", n, err)
	}
	if n, err := c.eth.PendingTransactionCount(ctx); err != nil || n != 1 {
		t.Errorf("pending block: have %d transactions (%v), want 1", n, err)
	}
	counters, _ := c.artifact("shared/Counter.json").ABI.Pack("total")
	at := c.Contracts().Counter
	ret, err := c.eth.PendingCallContract(ctx, ethereum.CallMsg{To: &at, Data: counters})
	if err != nil || new(big.Int).SetBytes(ret).Int64() != 1 {
		t.Errorf("eth_call on pending: have %x (%v), want 1", ret, err)
	}

	block := c.mine(1)
	logs, err := c.eth.FilterLogs(ctx, ethereum.FilterQuery{FromBlock: big.NewInt(0), Addresses: []common.Address{at}})
	if err != nil || len(logs) != 1 || logs[0].TxHash != hash || logs[0].BlockHash != block.Hash() {
		t.Errorf("eth_getLogs: have %v (%v), want the one log of %v", logs, err, hash)
	}
	byHash, err := c.eth.FilterLogs(ctx, ethereum.FilterQuery{BlockHash: new(block.Hash()), Addresses: []common.Address{at}})
	if err != nil || len(byHash) != 1 {
		t.Errorf("eth_getLogs by block hash: have %d (%v), want 1", len(byHash), err)
	}
	receipt := c.receipt(hash)
	if receipt == nil || receipt.BlockHash != block.Hash() || len(receipt.Logs) != 1 || receipt.GasUsed != block.GasUsed() {
		t.Errorf("eth_getTransactionReceipt: have %+v", receipt)
	}
	got, err := c.eth.BlockByHash(ctx, block.Hash())
	if err != nil || got.Hash() != block.Hash() || got.Header().RequestsHash == nil {
		t.Errorf("eth_getBlockByHash: have %v (%v)", got, err)
	}
	for _, tag := range []string{"safe", "finalized", "earliest"} {
		var head *types.Header
		if err := c.Client().CallContext(ctx, &head, "eth_getBlockByNumber", tag, false); err != nil || head == nil {
			t.Errorf("eth_getBlockByNumber(%s): have %v (%v)", tag, head, err)
		}
	}
	if tip, err := c.eth.SuggestGasTipCap(ctx); err != nil || tip.Sign() <= 0 {
		t.Errorf("eth_maxPriorityFeePerGas: have %v (%v)", tip, err)
	}
	var proof map[string]any
	if err := c.Client().CallContext(ctx, &proof, "eth_getProof", at, []string{}, "latest"); err != nil {
		t.Errorf("eth_getProof: %v", err)
	}
	var status map[string]hexutil.Uint
	if err := c.Client().CallContext(ctx, &status, "txpool_status"); err != nil || status["pending"] != 0 {
		t.Errorf("txpool_status: have %v (%v), want nothing pending", status, err)
	}
}

// TestEveryStateStaysReadable reads the state of block 0 and 1 far behind the head, where a full node has pruned.
func TestEveryStateStaysReadable(t *testing.T) {
	c := startChain(t, Config{Mining: Manual})
	c.send(tx{key: Key(0), to: somebody, value: big.NewInt(5)})
	c.mine(200)
	for number, want := range []int64{0, 5} {
		have, err := c.eth.BalanceAt(t.Context(), somebody, big.NewInt(int64(number)))
		if err != nil || have.Int64() != want {
			t.Errorf("balance at block %d: have %v (%v), want %d", number, have, err, want)
		}
	}
}

// TestTracers asks for the traces that validation by a remote node uses.
func TestTracers(t *testing.T) {
	c := startChain(t, Config{Mining: Manual})
	c.mine(1)
	op := testOp{version: userop.V07, sender: common.HexToAddress("0x1234"), callData: []byte{1}}
	input, err := c.artifact("v0.7/EntryPoint.json").ABI.Pack("handleOps", []packedOp{op.abiValue().(packedOp)}, somebody)
	if err != nil {
		t.Fatal(err)
	}
	call := map[string]any{"from": addressOf(Key(0)), "to": c.Contracts().EntryPoints[userop.V07], "data": hexutil.Bytes(input)}
	for _, tracer := range []string{"erc7562Tracer", "callTracer", "prestateTracer"} {
		var trace map[string]any
		if err := c.Client().CallContext(t.Context(), &trace, "debug_traceCall", call, "latest", map[string]any{"tracer": tracer}); err != nil {
			t.Errorf("%s: %v", tracer, err)
			continue
		}
		if tracer == "erc7562Tracer" {
			if _, ok := trace["accessedSlots"]; !ok || trace["error"] == nil {
				t.Errorf("%s: have %v, want accessedSlots and the revert of an account that is not there", tracer, trace)
			}
		}
	}
}

// TestSendRefusesWhatGethRefuses: what geth's own eth_sendRawTransaction refuses is refused here with the same text.
func TestSendRefusesWhatGethRefuses(t *testing.T) {
	c := startChain(t, Config{Mining: Manual})
	send := func(raw []byte) string {
		var hash common.Hash
		err := c.Client().CallContext(t.Context(), &hash, "eth_sendRawTransaction", hexutil.Bytes(raw))
		if err == nil {
			return ""
		}
		return err.Error()
	}
	encode := func(tx *types.Transaction) []byte {
		raw, err := tx.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	legacy, err := types.SignNewTx(Key(0), types.HomesteadSigner{}, &types.LegacyTx{GasPrice: gwei(2), Gas: 21_000, To: &somebody})
	if err != nil {
		t.Fatal(err)
	}
	sent := c.sign(tx{key: Key(0), to: somebody})
	mined := c.sign(tx{key: Key(1), to: somebody})
	send(encode(mined))
	c.mine(1)
	send(encode(sent))
	for name, refusal := range map[string]struct {
		raw  []byte
		want string
	}{
		"garbage":      {[]byte{1, 2, 3}, "rlp: expected input list for types.AccessListTx"},
		"no chain id":  {encode(legacy), "only replay-protected (EIP-155) transactions allowed over RPC"},
		"already sent": {encode(sent), "already known"},
		"nonce used":   {encode(mined), "nonce too low: next nonce 1, tx nonce 0"},
		"too poor":     {encode(c.sign(tx{key: Key(2), to: somebody, value: ether(1_000_000)})), "insufficient funds for gas * price + value: balance 10000000000000000000000, tx cost 1000000002100000000000000, overshot 990000002100000000000000"},
		"gas over cap": {encode(c.sign(tx{key: Key(2), to: somebody, gas: params.MaxTxGas + 1})), "transaction gas limit too high (cap: 16777216, tx: 16777217)"},
	} {
		if have := send(refusal.raw); have != refusal.want {
			t.Errorf("%s: have %q, want %q", name, have, refusal.want)
		}
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		c, err := Start(b.Context(), Config{Mining: Manual})
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
