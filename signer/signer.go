// Package signer holds the keys that sign bundle transactions.
//
// In: an unsigned transaction. Out: the same transaction, signed for a chain. A key never leaves this package: not in
// a log line, an error, or a value that prints. It never decides what is signed.
package signer

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
)

// Signer signs transactions of any type with one key.
type Signer interface {
	// Address is the account the key controls.
	Address() common.Address
	// SignTx returns the transaction signed for the chain. It may take a network round trip.
	SignTx(ctx context.Context, tx *types.Transaction, chainID *big.Int) (*types.Transaction, error)
}

// Errors of [ParsePrivateKeys]. They name the key by its position and never hold it.
var (
	ErrNoKeys       = errors.New("no signer private key given")
	ErrBadKey       = errors.New("not a 32-byte secp256k1 private key in hex")
	ErrDuplicateKey = errors.New("given twice; two senders must not share a key")
)

// PrivateKey is a [Signer] over a raw key in memory.
type PrivateKey struct {
	key     *ecdsa.PrivateKey
	address common.Address
}

// NewPrivateKey wraps a key.
func NewPrivateKey(key *ecdsa.PrivateKey) *PrivateKey {
	return &PrivateKey{key: key, address: crypto.PubkeyToAddress(key.PublicKey)}
}

// ParsePrivateKeys reads hex keys, with or without 0x, in the order given.
func ParsePrivateKeys(hexKeys []string) ([]Signer, error) {
	if len(hexKeys) == 0 {
		return nil, ErrNoKeys
	}
	signers := make([]Signer, 0, len(hexKeys))
	position := make(map[common.Address]int, len(hexKeys))
	for i, text := range hexKeys {
		key, err := crypto.HexToECDSA(strings.TrimPrefix(strings.TrimSpace(text), "0x"))
		if err != nil {
			// The library's error may quote a character of the key, so it is not wrapped.
			return nil, fmt.Errorf("signer private key %d: %w", i+1, ErrBadKey)
		}
		s := NewPrivateKey(key)
		if first, taken := position[s.address]; taken {
			return nil, fmt.Errorf("signer private keys %d and %d: %w", first, i+1, ErrDuplicateKey)
		}
		position[s.address] = i + 1
		signers = append(signers, s)
	}
	return signers, nil
}

// Address implements [Signer].
func (s *PrivateKey) Address() common.Address { return s.address }

// SignTx implements [Signer].
func (s *PrivateKey) SignTx(_ context.Context, tx *types.Transaction, chainID *big.Int) (*types.Transaction, error) {
	signed, err := types.SignTx(tx, types.LatestSignerForChainID(chainID), s.key)
	if err != nil {
		return nil, fmt.Errorf("sign transaction of %s: %w", s.address, err)
	}
	return signed, nil
}

// String prints the address: a key in a struct that is logged must not show.
func (s *PrivateKey) String() string { return s.address.Hex() }

// GoString is what %#v prints; without it the key's fields would show.
func (s *PrivateKey) GoString() string { return "signer.PrivateKey(" + s.address.Hex() + ")" }
