package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"baler/entrypoint"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/txpool"
	"github.com/ethereum/go-ethereum/core/types"
)

// quietRelay is a private RPC, or a sequencer that takes conditional transactions: what it is given reaches the node only when
// the next block is made, so that no rival sees it before. Of each nonce it keeps the newest.
type quietRelay struct {
	url string

	mu      sync.Mutex
	down    bool
	c       *contest
	waiting map[common.Address]map[uint64]*types.Transaction
	sent    map[common.Hash]bool
	unbound []string // transactions whose conditions do not hold their operations' nonces
}

func startQuietRelay(t *testing.T) *quietRelay {
	t.Helper()
	r := &quietRelay{waiting: make(map[common.Address]map[uint64]*types.Transaction), sent: make(map[common.Hash]bool)}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// ServeHTTP implements http.Handler.
func (r *quietRelay) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	var call nodeCall
	body, err := io.ReadAll(request.Body)
	if err != nil || json.Unmarshal(body, &call) != nil || len(call.Params) == 0 {
		http.Error(w, "not a call", http.StatusBadRequest)
		return
	}
	var raw hexutil.Bytes
	tx := new(types.Transaction)
	if json.Unmarshal(call.Params[0], &raw) != nil || tx.UnmarshalBinary(raw) != nil {
		http.Error(w, "not a transaction", http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		http.Error(w, "down", http.StatusBadGateway)
		return
	}
	if call.Method == "eth_sendRawTransactionConditional" {
		r.checkConditions(tx, call.Params[1])
	}
	from := senderOf(tx)
	if r.waiting[from] == nil {
		r.waiting[from] = make(map[uint64]*types.Transaction)
	}
	r.waiting[from][tx.Nonce()] = tx
	r.sent[tx.Hash()] = true
	_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%q}`, call.ID, tx.Hash())
}

// checkConditions checks that the transaction is bound to the nonce of each of its operations: it is one that a rival uses up.
func (r *quietRelay) checkConditions(tx *types.Transaction, options json.RawMessage) {
	var given struct {
		KnownAccounts map[common.Address]map[common.Hash]common.Hash `json:"knownAccounts"`
	}
	ops, _, err := entrypoint.DecodeBundle(userop.V07, tx.Data())
	if err == nil {
		err = json.Unmarshal(options, &given)
	}
	if err != nil {
		r.unbound = append(r.unbound, err.Error())
		return
	}
	for _, op := range ops {
		slot := entrypoint.NonceSlot(userop.V07, op.Sender, op.NonceKey())
		if have, ok := given.KnownAccounts[*tx.To()][slot]; !ok || have != common.BigToHash(op.Nonce.ToBig()) {
			r.unbound = append(r.unbound, fmt.Sprintf("%s: nonce slot of %s: have %s", tx.Hash(), op.Sender, have))
		}
	}
}

// deliver gives the node what waits, but for some that no builder takes into this block.
func (r *quietRelay) deliver(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	head := r.c.chain.Head().Hash()
	for from, byNonce := range r.waiting {
		next, err := r.c.eth.NonceAt(t.Context(), from, nil)
		if err != nil {
			t.Fatal(err)
		}
		for nonce, tx := range byNonce {
			if nonce < next {
				delete(byNonce, nonce)
				continue
			}
			if draw("no builder", append(head.Bytes(), tx.Hash().Bytes()...)) < 30 {
				continue
			}
			// One that comes after what the bundler sent the usual way for the same nonce is too cheap: the node has the better one.
			err := r.c.eth.SendTransaction(t.Context(), tx)
			if err != nil && (err.Error() != txpool.ErrReplaceUnderpriced.Error() || !r.c.events.isOutInPublic(from, nonce)) {
				t.Errorf("a private transaction is refused: %v", err)
			}
			delete(byNonce, nonce)
		}
	}
}

// Operations that a rival was seen to take go where it does not see them: hardly another bundle reverts, and none that went
// there.
func TestRacedOperationsGoWhereNoRivalSeesThem(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"private", "conditional"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			relay := startQuietRelay(t)
			c := startContest(t, nil, "--num-signers=2", "--max-priority-fee-per-gas=1000000000",
				"--raced-tx-sender-kind="+kind, "--raced-tx-sender-url="+relay.url)
			relay.c = c
			c.beforeBlock = func() { relay.deliver(t) }
			r := newRival(c, 20, byBundle)
			hashes := c.contend(t, c.deployedAccounts(t, userop.V07, racedAccounts()), racedEach, r)
			c.checkOnceEach(t, hashes)
			c.checkSigners(t, 2)

			quiet, reverted := 0, 0
			c.events.mu.Lock()
			relay.mu.Lock()
			for _, wrong := range relay.unbound {
				t.Errorf("conditions: %s", wrong)
			}
			for _, m := range c.events.mined {
				switch {
				case !m.Success && relay.sent[m.Tx]:
					t.Errorf("bundle %s went where no rival sees it, and reverted", m.Tx)
				case !m.Success:
					reverted++
				case relay.sent[m.Tx]:
					quiet++
				}
			}
			relay.mu.Unlock()
			c.events.mu.Unlock()
			if quiet == 0 || reverted == 0 || quiet < 2*reverted {
				t.Errorf("have %d bundles mined by the quiet way and %d reverted, want some of both, and far more of the former", quiet, reverted)
			}
			t.Logf("%d bundles by the quiet way; %v", quiet, c.figures())
		})
	}
}

// A relay that is down holds up nothing: after some tries every second bundle goes the usual way.
func TestRacedOperationsAreMinedThoughTheirRelayIsDown(t *testing.T) {
	t.Parallel()
	relay := startQuietRelay(t)
	relay.down = true
	c := startContest(t, nil, "--num-signers=1", "--max-priority-fee-per-gas=1000000000",
		"--raced-tx-sender-kind=private", "--raced-tx-sender-url="+relay.url)
	r := newRival(c, 20, byBundle)
	hashes := c.contend(t, c.deployedAccounts(t, userop.V07, 10), 1, r)
	c.checkOnceEach(t, hashes)
	c.checkSigners(t, 1)
	if raced := c.events.byRoute("raced"); raced == 0 {
		t.Error("no bundle went by the route for raced operations")
	}
	t.Logf("%v", c.figures())
}
