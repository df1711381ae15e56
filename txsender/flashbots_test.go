package txsender

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"baler/devchain"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
)

// authKey is the key of the tests' requests to the relay.
const authKey Secret = "0x4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"

const authAddress = "0x2c7536E3605D9C16a7a3D7b1898e529396a65c23"

// protect is Flashbots Protect: it takes transactions that come signed, says what became of them and forgets them on
// request of who sent them.
type protect struct {
	*relay
	states map[common.Hash]RelayState
	owners map[common.Hash]string
}

func newProtect(t *testing.T, chain *devchain.Chain) *protect {
	p := &protect{states: make(map[common.Hash]RelayState), owners: make(map[common.Hash]string)}
	p.relay = newRelay(t, func(x exchange) (int, string) {
		if x.Verb == http.MethodGet {
			return p.status(strings.TrimPrefix(x.Path, "/tx/"))
		}
		owner, err := whoSigned(x)
		if err != nil {
			return http.StatusForbidden, fmt.Sprintf(`{"error":{"code":-32600,"message":%q}}`, err)
		}
		switch x.Method {
		case "eth_sendPrivateTransaction":
			var params []struct{ Tx string }
			if err := json.Unmarshal(x.Params, &params); err != nil || len(params) != 1 {
				t.Errorf("have params %s", x.Params)
				return http.StatusBadRequest, `{"error":"bad request"}`
			}
			return forward(t, chain, params[0].Tx, func(hash common.Hash) string {
				p.states[hash], p.owners[hash] = RelayPending, owner
				return quoted(hash)
			})
		case "eth_cancelPrivateTransaction":
			var params []struct{ TxHash common.Hash }
			if err := json.Unmarshal(x.Params, &params); err != nil || len(params) != 1 {
				t.Errorf("have params %s", x.Params)
				return http.StatusBadRequest, `{"error":"bad request"}`
			}
			hash := params[0].TxHash
			cancelled := p.states[hash] == RelayPending && p.owners[hash] == owner
			if cancelled {
				p.states[hash] = RelayCancelled
				if err := chain.Drop(hash); err != nil {
					t.Error(err)
				}
			}
			return http.StatusOK, fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"result":%t}`, cancelled)
		default:
			return http.StatusOK, `{"error":{"code":-32601,"message":"unknown method"}}`
		}
	})
	return p
}

func (p *protect) status(hash string) (int, string) {
	state, known := p.states[common.HexToHash(hash)]
	if !known {
		state = RelayUnknown
	}
	return http.StatusOK, fmt.Sprintf(`{"status":"%s","hash":"%s","maxBlockNumber":25,"transaction":{"from":""},"fastMode":true,"seenInMempool":false}`, state, hash)
}

// whoSigned recovers the signer of a request by EIP-191, written out, and compares it with the address that the header claims.
func whoSigned(x exchange) (string, error) {
	claimed, signature, found := strings.Cut(x.Header.Get("X-Flashbots-Signature"), ":")
	if !found {
		return "", fmt.Errorf("have header %q, want address:signature", x.Header.Get("X-Flashbots-Signature"))
	}
	raw, err := hexutil.Decode(signature)
	if err != nil {
		return "", err
	}
	message := "0x" + common.Bytes2Hex(crypto.Keccak256([]byte(x.Body)))
	digest := crypto.Keccak256(fmt.Appendf(nil, "\x19Ethereum Signed Message:\n%d%s", len(message), message))
	key, err := crypto.SigToPub(digest, raw)
	if err != nil {
		return "", err
	}
	if have := crypto.PubkeyToAddress(*key).Hex(); have != claimed {
		return "", fmt.Errorf("have signer %s, want %s", have, claimed)
	}
	return claimed, nil
}

func (p *protect) sender(t *testing.T, chain *devchain.Chain, change func(*Config)) Sender {
	config := Config{
		Kind: KindFlashbots, ChainID: chain.ChainID(), Node: chain.Client(), URLs: []Secret{Secret(p.URL)},
		FlashbotsAuthKey: authKey, FlashbotsStatusURL: Secret(p.URL + "/tx"),
	}
	if change != nil {
		change(&config)
	}
	return mustNew(t, config)
}

func TestFlashbotsProtectIncludesABundle(t *testing.T) {
	chain := chainFor(t, 1)
	relay := newProtect(t, chain)
	sender := relay.sender(t, chain, func(c *Config) {
		c.FlashbotsFast, c.FlashbotsBuilders = true, []string{"flashbots", "beaverbuild.org"}
	})
	tx := bundleTx(t, chain, 0)
	mustTake(t, Send(t.Context(), sender, tx, Hints{MaxBlock: 0xcd23a0}))
	asked := relay.only(t)
	want := `{"jsonrpc":"2.0","id":1,"method":"eth_sendPrivateTransaction","params":[{"tx":"` + rawHex(t, tx) +
		`","maxBlockNumber":"0xcd23a0","preferences":{"fast":true,"privacy":{"builders":["flashbots","beaverbuild.org"]}}}]}`
	if asked.Body != want {
		t.Errorf("have body\n%s, want\n%s", asked.Body, want)
	}
	if who, err := whoSigned(asked); err != nil || who != authAddress {
		t.Errorf("signed by %s (%v), want %s", who, err, authAddress)
	}
	reporter := sender.(StatusReporter)
	if have, err := reporter.Status(t.Context(), tx.Hash()); err != nil || have.State != RelayPending || have.Gone() {
		t.Errorf("have status %v (%v), want pending", have, err)
	}
	if last := relay.requests()[1]; last.Verb != http.MethodGet || last.Path != "/tx/"+tx.Hash().Hex() {
		t.Errorf("have %s %s", last.Verb, last.Path)
	}
	mustMine(t, chain, tx)
}

func TestWithoutHintsTheRelaysOwnPreferencesHold(t *testing.T) {
	chain := chainFor(t, 1)
	relay := newProtect(t, chain)
	tx := bundleTx(t, chain, 0)
	mustTake(t, relay.sender(t, chain, nil).Send(t.Context(), tx))
	if want := `{"jsonrpc":"2.0","id":1,"method":"eth_sendPrivateTransaction","params":[{"tx":"` + rawHex(t, tx) + `"}]}`; relay.only(t).Body != want {
		t.Errorf("have body\n%s, want\n%s", relay.only(t).Body, want)
	}
}

func TestTheRelayForgetsWhatItIsAskedTo(t *testing.T) {
	chain := chainFor(t, 1)
	relay := newProtect(t, chain)
	sender := relay.sender(t, chain, nil)
	if sender.Cancellation() != Soft {
		t.Error("the relay forgets on request")
	}
	tx := bundleTx(t, chain, 0)
	mustTake(t, sender.Send(t.Context(), tx))
	never := common.Hash{7} // an answer was lost before the relay had it
	if done, err := sender.(Canceller).Cancel(t.Context(), []common.Hash{tx.Hash(), never}); err != nil || !done {
		t.Fatalf("have %t (%v), want done", done, err)
	}
	if want := `{"jsonrpc":"2.0","id":2,"method":"eth_cancelPrivateTransaction","params":[{"txHash":"` + tx.Hash().Hex() + `"}]}`; relay.requests()[1].Body != want {
		t.Errorf("have body\n%s, want\n%s", relay.requests()[1].Body, want)
	}
	if who, err := whoSigned(relay.requests()[1]); err != nil || who != authAddress {
		t.Errorf("signed by %s (%v), want %s", who, err, authAddress)
	}
	if have, err := sender.(StatusReporter).Status(t.Context(), tx.Hash()); err != nil || !have.Gone() {
		t.Errorf("have status %v (%v), want gone", have, err)
	}
	mustMine(t, chain) // nothing on chain, and the nonce is free
	next := bundleTx(t, chain, 0)
	if next.Hash() != tx.Hash() {
		t.Fatal("the same transaction has the same hash")
	}
}

func TestWhatIsIncludedCannotBeForgotten(t *testing.T) {
	chain := chainFor(t, 1)
	relay := newProtect(t, chain)
	sender := relay.sender(t, chain, nil)
	hash := common.Hash{1}
	for state, want := range map[RelayState]bool{
		RelayIncluded: false, RelayFailed: true, RelayUnknown: true, RelayCancelled: true,
	} {
		relay.states[hash] = state
		if done, err := sender.(Canceller).Cancel(t.Context(), []common.Hash{hash}); err != nil || done != want {
			t.Errorf("%s: have %t (%v), want %t", state, done, err, want)
		}
	}
	relay.states[hash], relay.owners[hash] = RelayPending, "another"
	if done, err := sender.(Canceller).Cancel(t.Context(), []common.Hash{hash}); err != nil || done {
		t.Errorf("sent by another key: have %t (%v), want not done", done, err)
	}
	relay.Close()
	if done, err := sender.(Canceller).Cancel(t.Context(), []common.Hash{hash}); err == nil || done {
		t.Errorf("relay gone: have %t without an error", done)
	}
}

func TestTheStatusIsReadAsDocumented(t *testing.T) {
	for body, want := range map[string]Status{
		`{"status":"PENDING"}`:   {RelayPending, ""},
		`{"status":"INCLUDED"}`:  {RelayIncluded, ""},
		`{"status":"CANCELLED"}`: {RelayCancelled, ""},
		`{"status":"UNKNOWN"}`:   {RelayUnknown, ""},
		`{"status":"FAILED","simError":"SimErrorExecutionReverted","revertReason":"AA25 invalid account nonce"}`: {
			RelayFailed, "SimErrorExecutionReverted AA25 invalid account nonce",
		},
	} {
		if have, err := decodeStatus(http.StatusOK, []byte(body)); err != nil || have != want {
			t.Errorf("%s: have %v (%v), want %v", body, have, err, want)
		}
	}
	for _, body := range []string{`{"status":"LOST"}`, `{}`, `[]`, ``, `<html>`} {
		if have, err := decodeStatus(http.StatusOK, []byte(body)); err == nil {
			t.Errorf("%q: have %v, want an error", body, have)
		}
	}
	if have, err := decodeStatus(http.StatusTooManyRequests, []byte(`{"status":"FAILED"}`)); err == nil {
		t.Errorf("HTTP status 429: have %v, want an error", have)
	}
}

// The relay's documentation signs with go-ethereum as the code does; this is the result for a key and a body that anyone can check
// with another library.
func TestTheSignatureOfAKnownBody(t *testing.T) {
	key, err := crypto.HexToECDSA(string(authKey[2:]))
	if err != nil {
		t.Fatal(err)
	}
	headers := make(http.Header)
	body := `{"jsonrpc":"2.0","method":"eth_getTransactionCount","params":["0xYOUR_ADDRESS","pending"],"id":1}`
	if err := (&Flashbots{key: key}).sign([]byte(body), headers); err != nil {
		t.Fatal(err)
	}
	if who, err := whoSigned(exchange{Header: headers, Body: body}); err != nil || who != authAddress {
		t.Errorf("signed by %s (%v)", who, err)
	}
	if who, err := whoSigned(exchange{Header: headers, Body: body + " "}); err == nil && who == authAddress {
		t.Error("the signature holds for another body")
	}
}
