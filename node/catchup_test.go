package node_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"baler/chain"
	"baler/devchain"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
)

// blind is a bundler that looks for new blocks by itself once in an hour, at one endpoint of the chain or at several.
func blind(t *testing.T, mining devchain.Mode, endpoints int) *stack {
	t.Helper()
	s := startStackOn(t, devchain.Config{Mining: mining})
	b := &stack{chain: s.chain, eth: s.eth, config: s.config, funds: s.funds}
	b.config.Follow.PollInterval = time.Hour
	if endpoints == 1 {
		b.serve(t, dial(t, s.chain.HTTPURL()), nil)
		return b
	}
	client, err := chain.DialSeveral(t.Context(), slices.Repeat([]string{s.chain.HTTPURL()}, endpoints), nil, chain.EndpointOptions{PollInterval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	b.serve(t, client, nil)
	return b
}

// What a wallet has done in a block that the bundler has not seen counts: the node is asked before a refusal.
func TestAnOperationIsNotRefusedForAnOldHead(t *testing.T) {
	t.Parallel()
	for _, endpoints := range []int{1, 3} {
		t.Run(fmt.Sprintf("endpoints=%d", endpoints), func(t *testing.T) {
			t.Parallel()
			s := blind(t, devchain.Manual, endpoints)
			a, b := s.account(t, userop.V07, true), s.account(t, userop.V07, true) // funded and deployed in a block to come
			if _, err := s.chain.Mine(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			var gas map[string]hexutil.Uint64
			s.call(t, &gas, "eth_estimateUserOperationGas", a.op(t), a.ep.Address)
			b.send(t, b.op(t))
		})
	}
}

// On a chain that mines at once, the receipt is there when the bundle has been asked for.
func TestABundleAskedForByHandIsSettledWhereTheChainMinesAtOnce(t *testing.T) {
	t.Parallel()
	s := blind(t, devchain.OnDemand, 1)
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
