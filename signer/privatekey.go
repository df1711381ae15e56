package signer

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
)

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
	kind    Kind // where it came from
}

// NewPrivateKey wraps a key.
func NewPrivateKey(key *ecdsa.PrivateKey) *PrivateKey {
	return &PrivateKey{key: key, address: crypto.PubkeyToAddress(key.PublicKey), kind: KindPrivateKey}
}

// ParsePrivateKeys reads hex keys, with or without 0x, in the order given.
func ParsePrivateKeys(hexKeys []string) ([]Signer, error) {
	if len(hexKeys) == 0 {
		return nil, ErrNoKeys
	}
	signers := make([]Signer, 0, len(hexKeys))
	for i, text := range hexKeys {
		key, err := crypto.HexToECDSA(strings.TrimPrefix(strings.TrimSpace(text), "0x"))
		if err != nil {
			// The library's error may quote a character of the key, so it is not wrapped.
			return nil, fmt.Errorf("signer private key %d: %w", i+1, ErrBadKey)
		}
		signers = append(signers, NewPrivateKey(key))
	}
	return signers, distinct("signer private keys", signers)
}

// distinct refuses a list in which two signers are one account.
func distinct(what string, signers []Signer) error {
	position := make(map[common.Address]int, len(signers))
	for i, s := range signers {
		if first, taken := position[s.Address()]; taken {
			return fmt.Errorf("%s %d and %d: %w", what, first, i+1, ErrDuplicateKey)
		}
		position[s.Address()] = i + 1
	}
	return nil
}

// Address implements [Signer].
func (s *PrivateKey) Address() common.Address { return s.address }

// SignTx implements [Signer].
func (s *PrivateKey) SignTx(ctx context.Context, tx *types.Transaction, chainID *big.Int) (*types.Transaction, error) {
	call, began := Call{Signer: s.address, Kind: s.kind, Attempts: 1}, time.Now()
	signed, err := signDigest(tx, chainID, s.address, func(digest common.Hash) ([]byte, error) { return crypto.Sign(digest[:], s.key) })
	if call.Took = time.Since(began); err != nil {
		call.Failure = Refused
	}
	tell(ctx, call)
	return signed, err
}

// String prints the address: a key in a struct that is logged must not show.
func (s *PrivateKey) String() string { return s.address.Hex() }

// GoString is what %#v prints; without it the key's fields would show.
func (s *PrivateKey) GoString() string { return "signer.PrivateKey(" + s.address.Hex() + ")" }
