package node

import (
	"crypto/ecdsa"
	"math/big"
	"testing"

	"baler/bundlesender"
	"baler/chain"
	"baler/devchain"
	"baler/rpc"
	"baler/signer"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"
)

// What another key of ours mined, after a reorg or an answer that was lost, no rival has taken.
func TestOnlyWhatNoneOfOurKeysMinedARivalHas(t *testing.T) {
	t.Parallel()
	c, err := devchain.Start(t.Context(), devchain.Config{Mining: devchain.Manual})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("chain: %v", err)
		}
	})
	client, err := chain.Dial(t.Context(), c.HTTPURL(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	eth := ethclient.NewClient(c.Client())
	transact := func(key *ecdsa.PrivateKey) common.Hash {
		t.Helper()
		id := new(big.Int).SetUint64(c.ChainID())
		tx, err := types.SignNewTx(key, types.LatestSignerForChainID(id), &types.DynamicFeeTx{
			ChainID: id, GasTipCap: big.NewInt(1e9), GasFeeCap: big.NewInt(1e11), Gas: 21_000, To: new(common.Address),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := eth.SendTransaction(t.Context(), tx); err != nil {
			t.Fatal(err)
		}
		return tx.Hash()
	}
	ours, theirs := transact(c.Keys()[1]), transact(c.Keys()[2])
	if _, err := c.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	n := &Node{chain: client, history: newHistory(10, nil), keys: &keyring{wanted: []signer.Signer{
		signer.NewPrivateKey(c.Keys()[0]), signer.NewPrivateKey(c.Keys()[1]),
	}}}
	w := &worker{node: n, machine: bundlesender.New(bundlesender.DefaultConfig())}
	here := common.Hash{9}
	bundle := []common.Hash{{1}, {2}, {3}, {4}, {5}}
	for i, tx := range []common.Hash{ours, theirs, here, {99}} { // the fifth is not mined
		n.history.add(bundle[i], minedOperation{inclusion: rpc.Inclusion{TransactionHash: tx}})
	}
	taken, err := w.takenByRivals(t.Context(), bundle, here)
	if err != nil || len(taken) != 1 || !taken[bundle[1]] {
		t.Errorf("have %v taken, error %v, want the second alone", taken, err)
	}
}
