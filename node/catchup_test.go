package node_test

import (
	"fmt"
	"testing"
	"time"

	"baler/devchain"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
)

// blind is a bundler that looks for new blocks by itself once in an hour.
func blind(t *testing.T, mining devchain.Mode) *stack {
	t.Helper()
	s := startStackOn(t, devchain.Config{Mining: mining})
	b := &stack{chain: s.chain, eth: s.eth, config: s.config, funds: s.funds}
	b.config.Follow.PollInterval = time.Hour
	b.serve(t, dial(t, s.chain.HTTPURL()), nil)
	return b
}

// What a wallet has done in a block that the bundler has not seen counts: the node is asked before a refusal.
func TestAnOperationIsNotRefusedForAnOldHead(t *testing.T) {
	t.Parallel()
	s := blind(t, devchain.Manual)
	a := s.account(t, userop.V07, true) // funded and deployed in a block to come
	if _, err := s.chain.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	var gas map[string]hexutil.Uint64
	s.call(t, &gas, "eth_estimateUserOperationGas", a.op(t), a.ep.Address)
	a.send(t, a.op(t))
}

// On a chain that mines at once, the receipt is there when the bundle has been asked for.
func TestABundleAskedForByHandIsSettledWhereTheChainMinesAtOnce(t *testing.T) {
	t.Parallel()
	s := blind(t, devchain.OnDemand)
	a := s.account(t, userop.V07, true)
	eventually(t, "the account is there", func() error {
		nonce, err := s.eth.NonceAt(t.Context(), crypto.PubkeyToAddress(s.funds.PublicKey), nil)
		if err == nil && nonce != s.nonce {
			err = fmt.Errorf("have nonce %d, want %d", nonce, s.nonce)
		}
		return err
	})
	for range 3 {
		hash := a.send(t, a.op(t))
		var tx common.Hash
		s.call(t, &tx, "debug_bundler_sendBundleNow")
		var receipt *struct {
			UserOpHash common.Hash
			Success    bool
		}
		s.call(t, &receipt, "eth_getUserOperationReceipt", hash)
		if receipt == nil || receipt.UserOpHash != hash || !receipt.Success {
			t.Fatalf("have receipt %+v, want that of %s", receipt, hash)
		}
		if left := s.mempool(t, a.ep); len(left) != 0 {
			t.Fatalf("have %v in the pool, want nothing", left)
		}
	}
}
