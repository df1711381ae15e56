package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/big"
	"time"

	"baler/devchain"
	"baler/entrypoint/artifacts"
	"baler/load"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"
)

// Workloads: what an operation does.
const (
	light = "light" // one wei goes to an account that exists: about 50,000 gas with its share of the bundle
	heavy = "heavy" // transfersEach token transfers to holders that are new, in one executeBatch: about 390,000 gas
)

// transfersEach is how many transfers a heavy operation makes.
const transfersEach = 12

// tokensEach is what each account has of the token, enough for more operations than it ever sends.
const tokensEach = 1_000_000

// tokens are heavy operations' calls: of the token on the development chain, and of the accounts that move it.
type tokens struct {
	token   common.Address
	erc20   *abi.ABI
	account *abi.ABI
}

func newTokens(contracts devchain.Contracts) (t tokens, err error) {
	t.token = contracts.TokenPaymaster
	for into, name := range map[**abi.ABI]string{
		&t.erc20:   fmt.Sprintf("v%s/LegacyTokenPaymaster.json", benchVersion),
		&t.account: fmt.Sprintf("v%s/SimpleAccount.json", benchVersion),
	} {
		a, err := artifacts.Load(name)
		if err != nil {
			return t, err
		}
		*into = &a.ABI
	}
	return t, nil
}

// transfer returns the call data of one transfer.
func (t tokens) transfer(to common.Address, amount int64) []byte {
	data, err := t.erc20.Pack("transfer", to, big.NewInt(amount))
	if err != nil {
		panic(err) // the types are the ABI's
	}
	return data
}

// outfit is how an account gets its tokens from Multicall3.
func (t tokens) outfit(account common.Address) (common.Address, []byte) {
	return t.token, t.transfer(account, tokensEach)
}

// call is a heavy operation: each account pays holders that nobody has paid before.
func (t tokens) call(account common.Address, nonce uint64) []byte {
	targets, calls := make([]common.Address, transfersEach), make([][]byte, transfersEach)
	seed := binary.BigEndian.AppendUint64(account.Bytes(), nonce)
	for i := range transfersEach {
		targets[i] = t.token
		calls[i] = t.transfer(common.BytesToAddress(crypto.Keccak256(append(seed, byte(i)))), 1)
	}
	data, err := t.account.Pack("executeBatch", targets, []*big.Int{}, calls)
	if err != nil {
		panic(err) // the types are the ABI's
	}
	return data
}

// mint makes tokens for so many accounts, and gives them to who hands them out.
func (t tokens) mint(ctx context.Context, nodeURL string, to common.Address, accounts int) error {
	client, err := ethclient.DialContext(ctx, nodeURL)
	if err != nil {
		return err
	}
	defer client.Close()
	chainID, err := client.ChainID(ctx)
	if err != nil {
		return err
	}
	owner := devchain.OwnerKey()
	data, err := t.erc20.Pack("mintTokens", to, big.NewInt(int64(accounts)*tokensEach))
	if err != nil {
		return err
	}
	from := crypto.PubkeyToAddress(owner.PublicKey)
	nonce, err := client.PendingNonceAt(ctx, from)
	if err != nil {
		return err
	}
	gas, err := client.EstimateGas(ctx, ethereum.CallMsg{From: from, To: &t.token, Data: data})
	if err != nil {
		return fmt.Errorf("mint tokens: %w", err)
	}
	tx, err := types.SignNewTx(owner, types.LatestSignerForChainID(chainID), &types.DynamicFeeTx{
		ChainID: chainID, Nonce: nonce, To: &t.token, Data: data, Gas: gas * 2, GasFeeCap: big.NewInt(100e9), GasTipCap: big.NewInt(1e9),
	})
	if err != nil {
		return err
	}
	if err := client.SendTransaction(ctx, tx); err != nil {
		return fmt.Errorf("mint tokens: %w", err)
	}
	for {
		receipt, err := client.TransactionReceipt(ctx, tx.Hash())
		switch {
		case err == nil && receipt.Status == types.ReceiptStatusSuccessful:
			return nil
		case err == nil:
			return fmt.Errorf("mint tokens: transaction %s failed", tx.Hash())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// equip says what a fleet's accounts need for the workload.
func (t tokens) equip(ctx context.Context, cfg *load.FleetConfig) error {
	cfg.Outfit = t.outfit
	return t.mint(ctx, cfg.NodeURL, cfg.Multicall3, cfg.Accounts)
}
