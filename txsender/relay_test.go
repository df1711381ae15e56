package txsender

import (
	"context"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"baler/devchain"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
)

// chainFor starts an embedded chain with a chain id, whose blocks are made by mine.
func chainFor(t *testing.T, chainID uint64) *devchain.Chain {
	t.Helper()
	chain, err := devchain.Start(t.Context(), devchain.Config{ChainID: chainID, Mining: devchain.Manual})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := chain.Close(); err != nil {
			t.Error(err)
		}
	})
	return chain
}

// bundleTx is a signed transaction of the chain's first key that calls the counter.
func bundleTx(t *testing.T, chain *devchain.Chain, nonce uint64) *types.Transaction {
	t.Helper()
	to := chain.Contracts().Counter
	return signed(t, chain, &types.DynamicFeeTx{
		Nonce: nonce, GasTipCap: big.NewInt(1e9), GasFeeCap: big.NewInt(10e9), Gas: 100_000, To: &to, Data: crypto.Keccak256([]byte("count()"))[:4],
	})
}

// cancelTx uses up a nonce.
func cancelTx(t *testing.T, chain *devchain.Chain, nonce uint64) *types.Transaction {
	t.Helper()
	to := crypto.PubkeyToAddress(devchain.Key(0).PublicKey)
	return signed(t, chain, &types.DynamicFeeTx{Nonce: nonce, GasTipCap: big.NewInt(2e9), GasFeeCap: big.NewInt(20e9), Gas: 21_000, To: &to})
}

func signed(t *testing.T, chain *devchain.Chain, data *types.DynamicFeeTx) *types.Transaction {
	t.Helper()
	data.ChainID = new(big.Int).SetUint64(chain.ChainID())
	tx, err := types.SignNewTx(devchain.Key(0), types.LatestSignerForChainID(data.ChainID), data)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// mustMine makes one block and wants exactly these transactions in it.
func mustMine(t *testing.T, chain *devchain.Chain, want ...*types.Transaction) {
	t.Helper()
	blocks, err := chain.Mine(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	have := blocks[0].Transactions()
	if len(have) != len(want) {
		t.Fatalf("have %d transactions mined, want %d", len(have), len(want))
	}
	for i, tx := range want {
		if have[i].Hash() != tx.Hash() {
			t.Errorf("transaction %d: have %s mined, want %s", i, have[i].Hash(), tx.Hash())
		}
		var receipt *types.Receipt
		if err := chain.Client().CallContext(t.Context(), &receipt, "eth_getTransactionReceipt", tx.Hash()); err != nil || receipt.Status != 1 {
			t.Errorf("receipt of %s: %+v (%v)", tx.Hash(), receipt, err)
		}
	}
}

// exchange is one request that a relay received.
type exchange struct {
	Verb, Path string
	Header     http.Header
	Body       string
	Method     string
	Params     json.RawMessage
}

// relay is an HTTP server that behaves as a test wants and remembers what it was asked.
type relay struct {
	*httptest.Server

	mu    sync.Mutex
	asked []exchange
}

// newRelay starts a relay. answer returns the HTTP status and body for a request.
func newRelay(t *testing.T, answer func(exchange) (int, string)) *relay {
	t.Helper()
	r := new(relay)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Errorf("relay: read body: %v", err)
		}
		x := exchange{Verb: req.Method, Path: req.URL.RequestURI(), Header: req.Header, Body: string(body)}
		if len(body) > 0 {
			var call struct {
				Method string
				Params json.RawMessage
			}
			if err := json.Unmarshal(body, &call); err != nil {
				t.Errorf("relay: have body %q: %v", body, err)
			}
			x.Method, x.Params = call.Method, call.Params
		}
		r.mu.Lock()
		r.asked = append(r.asked, x)
		r.mu.Unlock()
		status, text := answer(x)
		if status == 0 { // take it and cut the connection
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(r.Close)
	return r
}

// requests returns what the relay was asked so far.
func (r *relay) requests() []exchange {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clip(r.asked)
}

// only returns the only request.
func (r *relay) only(t *testing.T) exchange {
	t.Helper()
	asked := r.requests()
	if len(asked) != 1 {
		t.Fatalf("the relay was asked %d times, want once: %+v", len(asked), asked)
	}
	return asked[0]
}

// forward puts a raw transaction into the chain's pool and returns the answer in the relay's words.
func forward(t *testing.T, chain *devchain.Chain, raw string, result func(hash common.Hash) string) (int, string) {
	var hash common.Hash
	err := chain.Client().CallContext(context.WithoutCancel(t.Context()), &hash, "eth_sendRawTransaction", raw)
	if err != nil {
		text, _ := json.Marshal(err.Error())
		return http.StatusOK, `{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":` + string(text) + `}}`
	}
	return http.StatusOK, `{"jsonrpc":"2.0","id":1,"result":` + result(hash) + `}`
}

func quoted(hash common.Hash) string { return `"` + hash.Hex() + `"` }

// first is the first positional argument.
func (x exchange) first(t *testing.T) string {
	var args []json.RawMessage
	var text string
	if err := json.Unmarshal(x.Params, &args); err != nil || len(args) == 0 || json.Unmarshal(args[0], &text) != nil {
		t.Errorf("relay: have params %s, want a text first", x.Params)
	}
	return text
}

func rawHex(t *testing.T, tx *types.Transaction) string {
	t.Helper()
	raw, err := tx.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return hexutil.Encode(raw)
}

func mustNew(t *testing.T, config Config) Sender {
	t.Helper()
	sender, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	if closer, ok := sender.(io.Closer); ok {
		t.Cleanup(func() {
			if err := closer.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return sender
}

func mustTake(t *testing.T, answer Answer) {
	t.Helper()
	if answer.Class != Accepted {
		t.Fatalf("have %+v, want accepted", answer)
	}
}

// plainNode is an endpoint that knows one method with the transaction as its first argument.
func plainNode(t *testing.T, chain *devchain.Chain, method string) *relay {
	return newRelay(t, func(x exchange) (int, string) {
		if x.Method != method {
			return http.StatusOK, `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"the method ` + x.Method + ` does not exist/is not available"}}`
		}
		return forward(t, chain, x.first(t), quoted)
	})
}

func TestRawOverTheNodeIsMined(t *testing.T) {
	chain := chainFor(t, 0)
	sender := mustNew(t, Config{Node: chain.Client()})
	tx := bundleTx(t, chain, 0)
	mustTake(t, sender.Send(t.Context(), tx))
	if again := sender.Send(t.Context(), tx); again.Class != AlreadyKnown {
		t.Errorf("sent again: have %+v, want already known", again)
	}
	mustMine(t, chain, tx)
	if late := sender.Send(t.Context(), cancelTx(t, chain, 0)); late.Class != NonceTooLow {
		t.Errorf("nonce used: have %+v, want nonce too low", late)
	}
}

func TestAPrivateRPCIsAskedInItsOwnMethod(t *testing.T) {
	chain := chainFor(t, 0)
	for nonce, method := range []string{"eth_sendPrivateRawTransaction", "eth_sendRawTransaction"} {
		rpc := plainNode(t, chain, method)
		config := Config{Kind: KindPrivate, Node: chain.Client(), URLs: []Secret{Secret(rpc.URL + "/fast?origin=baler")}, Authorization: "Bearer of-good-news"}
		if method == "eth_sendRawTransaction" {
			config.PrivateMethod = method
		}
		sender := mustNew(t, config)
		tx := bundleTx(t, chain, uint64(nonce))
		mustTake(t, Send(t.Context(), sender, tx, Hints{BlockMax: 9}))
		asked := rpc.only(t)
		if want := `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":["` + rawHex(t, tx) + `"]}`; asked.Body != want {
			t.Errorf("have body\n%s, want\n%s", asked.Body, want)
		}
		if asked.Verb != http.MethodPost || asked.Path != "/fast?origin=baler" || asked.Header.Get("Content-Type") != "application/json" ||
			asked.Header.Get("Authorization") != "Bearer of-good-news" {
			t.Errorf("have %s %s with %v", asked.Verb, asked.Path, asked.Header)
		}
		if sender.Cancellation() != Hard {
			t.Error("a private RPC forgets nothing on request")
		}
		mustMine(t, chain, tx)
	}
}

func TestBloxrouteHidesBundlesAndCancelsInPublic(t *testing.T) {
	chain := chainFor(t, 137)
	for nonce, form := range []string{`{"txHash":"%s"}`, `{"tx_hash":"%s"}`} {
		relay := newRelay(t, func(x exchange) (int, string) {
			var params struct{ Transaction string }
			if err := json.Unmarshal(x.Params, &params); err != nil || strings.HasPrefix(params.Transaction, "0x") {
				t.Errorf("have params %s, want a transaction without 0x", x.Params)
			}
			return forward(t, chain, "0x"+params.Transaction, func(hash common.Hash) string {
				text := hash.Hex()
				if strings.Contains(form, "_") {
					text = strings.TrimPrefix(text, "0x")
				}
				return strings.Replace(form, "%s", text, 1)
			})
		})
		sender := mustNew(t, Config{Kind: KindBloxroute, ChainID: 137, Node: chain.Client(), URLs: []Secret{Secret(relay.URL)}, Authorization: "c2VjcmV0LWhlYWRlcg=="})
		tx := bundleTx(t, chain, uint64(2*nonce))
		mustTake(t, sender.Send(t.Context(), tx))
		asked := relay.only(t)
		if want := `{"jsonrpc":"2.0","id":1,"method":"polygon_private_tx","params":{"transaction":"` + rawHex(t, tx)[2:] + `"}}`; asked.Body != want {
			t.Errorf("have body\n%s, want\n%s", asked.Body, want)
		}
		if have := asked.Header.Get("Authorization"); have != "c2VjcmV0LWhlYWRlcg==" {
			t.Errorf("have Authorization %q", have)
		}
		mustMine(t, chain, tx)

		cancel := cancelTx(t, chain, uint64(2*nonce+1))
		if sender.Cancellation() != Hard {
			t.Error("bloXroute forgets nothing on request")
		}
		mustTake(t, sender.Send(t.Context(), cancel))
		relay.only(t) // not asked again
		mustMine(t, chain, cancel)
	}
}

// refusesStaleState is an endpoint of conditional transactions that checks the slots against the chain.
func refusesStaleState(t *testing.T, chain *devchain.Chain) *relay {
	return newRelay(t, func(x exchange) (int, string) {
		var args []json.RawMessage
		var options struct {
			KnownAccounts map[common.Address]map[common.Hash]common.Hash
		}
		if err := json.Unmarshal(x.Params, &args); err != nil || len(args) != 2 || json.Unmarshal(args[1], &options) != nil {
			t.Errorf("have params %s, want a transaction and conditions", x.Params)
		}
		for address, slots := range options.KnownAccounts {
			for slot, want := range slots {
				var have common.Hash
				if err := chain.Client().CallContext(context.WithoutCancel(t.Context()), &have, "eth_getStorageAt", address, slot, "latest"); err != nil {
					t.Error(err)
				}
				if have != want {
					return http.StatusOK, `{"jsonrpc":"2.0","id":1,"error":{"code":-32003,"message":"Storage slot value condition not met"}}`
				}
			}
		}
		return forward(t, chain, x.first(t), quoted)
	})
}

func TestAConditionalBundleIsMinedWhileItsStateHoldsAndRefusedAfter(t *testing.T) {
	chain := chainFor(t, 0)
	sequencer := refusesStaleState(t, chain)
	sender := mustNew(t, Config{Kind: KindConditional, Node: chain.Client(), URLs: []Secret{Secret(sequencer.URL)}})
	counter := chain.Contracts().Counter
	// The counter counts each caller in a mapping at slot 0.
	caller := crypto.PubkeyToAddress(devchain.Key(0).PublicKey)
	slot := crypto.Keccak256Hash(common.LeftPadBytes(caller[:], 32), make([]byte, 32))
	hints := Hints{
		KnownAccounts: KnownAccounts{counter: {Slots: map[common.Hash]common.Hash{slot: {}}}},
		BlockMin:      1, BlockMax: 0x20, TimeMin: 0x10, TimeMax: 0xffffffffff,
	}
	tx := bundleTx(t, chain, 0)
	mustTake(t, Send(t.Context(), sender, tx, hints))
	want := `{"jsonrpc":"2.0","id":1,"method":"eth_sendRawTransactionConditional","params":["` + rawHex(t, tx) + `",` +
		`{"knownAccounts":{"` + strings.ToLower(counter.Hex()) + `":{"` + slot.Hex() + `":"` + common.Hash{}.Hex() + `"}},` +
		`"blockNumberMin":"0x1","blockNumberMax":"0x20","timestampMin":"0x10","timestampMax":"0xffffffffff"}]}`
	if have := sequencer.only(t).Body; have != want {
		t.Errorf("have body\n%s, want\n%s", have, want)
	}
	mustMine(t, chain, tx)

	if answer := Send(t.Context(), sender, bundleTx(t, chain, 1), hints); answer.Class != ConditionNotMet {
		t.Errorf("the counter has counted: have %+v, want condition not met", answer)
	}
	cancel := cancelTx(t, chain, 1)
	mustTake(t, Send(t.Context(), sender, cancel, Hints{})) // over the node: the sequencer's endpoint takes bundles only
	if have := len(sequencer.requests()); have != 2 {
		t.Errorf("the sequencer was asked %d times, want twice", have)
	}
	mustMine(t, chain, cancel)
}

func TestTheFallbackSurvivesADeadAndAForgetfulEndpoint(t *testing.T) {
	chain := chainFor(t, 0)
	dead := httptest.NewServer(nil)
	dead.Close()
	cuts := newRelay(t, func(x exchange) (int, string) { // takes the transaction, and the answer is lost
		forward(t, chain, x.first(t), quoted)
		return 0, ""
	})
	node := plainNode(t, chain, "eth_sendRawTransaction")
	health := NewHealth()
	sender := mustNew(t, Config{Node: chain.Client(), URLs: []Secret{Secret(dead.URL), Secret(cuts.URL), Secret(node.URL)}, Health: health})
	tx := bundleTx(t, chain, 0)
	if answer := sender.Send(t.Context(), tx); answer.Class != AlreadyKnown {
		t.Fatalf("have %+v, want already known", answer)
	}
	if cuts.only(t).Body == "" || node.only(t).Body == "" {
		t.Error("both endpoints must have been asked")
	}
	mustMine(t, chain, tx)
	for i, want := range []int{1, 1, 0} {
		name := []string{dead.URL, cuts.URL, node.URL}[i]
		for _, have := range health.Endpoints() {
			if have.Name == name && have.Failures != want {
				t.Errorf("%s: have %d failures, want %d", name, have.Failures, want)
			}
		}
	}
}

func TestAHedgedSenderDoesNotWaitForASilentEndpoint(t *testing.T) {
	chain := chainFor(t, 0)
	release := make(chan struct{})
	silent := newRelay(t, func(exchange) (int, string) {
		<-release
		return 0, ""
	})
	node := plainNode(t, chain, "eth_sendRawTransaction")
	sender := mustNew(t, Config{Node: chain.Client(), URLs: []Secret{Secret(silent.URL), Secret(node.URL)}, HedgeDelay: 1})
	tx := bundleTx(t, chain, 0)
	mustTake(t, sender.Send(t.Context(), tx))
	close(release)
	mustMine(t, chain, tx)
}
