package node

import (
	"log/slog"
	"net/http/httptest"
	"testing"

	"baler/bundlesender"
	"baler/chain"
	"baler/event"
	"baler/gas"
	"baler/signer"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
)

// waitingNode is a node in whose pool one transaction of an account waits, with nonce 7.
type waitingNode struct{ hash common.Hash }

func (n waitingNode) GetTransactionCount(_ common.Address, block string) hexutil.Uint64 {
	if block == "pending" {
		return 8
	}
	return 7
}

func (n waitingNode) ContentFrom(common.Address) map[string]map[string]any {
	return map[string]map[string]any{"pending": {"7": map[string]any{
		"hash": n.hash, "nonce": hexutil.Uint64(7), "maxFeePerGas": (*hexutil.Big)(common.Big3), "maxPriorityFeePerGas": (*hexutil.Big)(common.Big1),
	}}}
}

// A head comes when the node has our bundle already, and the sender's loop has not yet heard what it is called. It is no other program's.
func TestABundleOnItsWayIsNoForeignTransaction(t *testing.T) {
	t.Parallel()
	hash := common.Hash{1: 1}
	server := rpc.NewServer()
	defer server.Stop()
	for _, name := range []string{"eth", "txpool"} {
		if err := server.RegisterName(name, waitingNode{hash}); err != nil {
			t.Fatal(err)
		}
	}
	web := httptest.NewServer(server)
	defer web.Close()
	client, err := chain.Dial(t.Context(), web.URL, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	key, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{
		node: &Node{chain: client, log: slog.New(slog.DiscardHandler), sink: func(event.Event) {}}, key: signer.NewPrivateKey(key),
		machine: bundlesender.New(bundlesender.DefaultConfig()),
	}
	fees := gas.Fees{MaxFee: *uint256.NewInt(3), MaxPriority: *uint256.NewInt(1)}
	w.machine.Step(bundlesender.Head{Number: 1, Hash: common.Hash{1}, Observation: &bundlesender.Observation{Nonce: 7}})
	w.machine.Step(bundlesender.BundleReady{Seq: 1, Fees: fees, GasLimit: 100_000, Operations: []common.Hash{{9}}})
	look := func(when string, looked bool) {
		t.Helper()
		w.lookForForeign(t.Context())
		if attempts := w.machine.Record().Attempts; len(attempts) != 1 || attempts[0].Kind != bundlesender.KindBundle {
			t.Fatalf("%s: have attempts %+v, want our bundle alone", when, attempts)
		}
		if w.looked != looked {
			t.Errorf("%s: have looked %v, want %v", when, w.looked, looked)
		}
	}
	look("on its way", false)
	w.machine.Step(bundlesender.Signed{Attempt: 1, Hash: hash, Fees: fees})
	w.machine.Step(bundlesender.Submitted{Attempt: 1, Hash: hash, Outcome: bundlesender.Accepted})
	look("sent", true)
}
