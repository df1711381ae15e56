// Package signer holds the keys that sign bundle transactions, or reaches those who hold them.
//
// In: an unsigned transaction. Out: the same transaction, signed for a chain. The keys are of one kind: raw private keys, a
// BIP-39 mnemonic, encrypted keystore files, AWS KMS, or a remote signer that speaks Web3Signer's or Clef's JSON-RPC; [Open]
// chooses by a [Config].
//
// It promises that a signed transaction is the one asked for, signed by the account asked for, whoever made the signature;
// that every call ends; and that a key never leaves this package: not in a log line, an error, or a value that prints. It
// never decides what is signed, and keeps no record of it.
package signer

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// Signer signs transactions of any type with one key.
type Signer interface {
	// Address is the account the key controls.
	Address() common.Address
	// SignTx returns the transaction signed for the chain. It may take a network round trip.
	SignTx(ctx context.Context, tx *types.Transaction, chainID *big.Int) (*types.Transaction, error)
}

// Kind is a kind of keys.
type Kind string

// The kinds of keys.
const (
	KindPrivateKey Kind = "private_key"
	KindMnemonic   Kind = "mnemonic"
	KindKeystore   Kind = "keystore"
	KindKMS        Kind = "kms"
	KindRemote     Kind = "remote"
)

// Call is one signature that was asked for.
type Call struct {
	Signer   common.Address
	Kind     Kind
	Took     time.Duration // with all attempts and the waits between them
	Attempts int           // 1 for a key in this process
	Failure  Failure       // empty: signed
}

// observerKey is the context key of an observer.
type observerKey struct{}

// WithObserver returns a context in which every signature that is asked for is told to observe, which must not
// block. It travels with the call, so that whoever wraps a signer need not know of it.
func WithObserver(ctx context.Context, observe func(Call)) context.Context {
	return context.WithValue(ctx, observerKey{}, observe)
}

// tell hands a call to the context's observer.
func tell(ctx context.Context, call Call) {
	if observe, ok := ctx.Value(observerKey{}).(func(Call)); ok {
		observe(call)
	}
}

// Failure is why no signature came.
type Failure string

// The failures.
const (
	Throttled   Failure = "throttled"    // asked too often
	Denied      Failure = "denied"       // by the signer's own rules or rights
	TimedOut    Failure = "timed_out"    // no answer in time
	Unavailable Failure = "unavailable"  // not reached, or out of order
	Refused     Failure = "refused"      // the transaction itself cannot be signed
	WrongAnswer Failure = "wrong_answer" // an answer that is not the signature asked for
)

// Errors about signatures.
var (
	// ErrWrongSignature says that a signature was not made by the signer's key over this transaction.
	ErrWrongSignature = errors.New("the signature is not the signer's for this transaction")
	// ErrOtherChain says that a transaction names another chain than the one it is to be signed for.
	ErrOtherChain = errors.New("the transaction is for another chain")
)

// signDigest signs the transaction's hash with sign, which returns a signature [R || S || V] with V 0 or 1, and checks that
// the account's key made it.
func signDigest(tx *types.Transaction, chainID *big.Int, account common.Address, sign func(digest common.Hash) ([]byte, error)) (*types.Transaction, error) {
	if tx.Type() != types.LegacyTxType && tx.ChainId().Cmp(chainID) != 0 {
		return nil, fmt.Errorf("sign transaction of %s: %w: have %s, want %s", account, ErrOtherChain, tx.ChainId(), chainID)
	}
	rules := types.LatestSignerForChainID(chainID)
	signature, err := sign(rules.Hash(tx))
	if err != nil {
		return nil, fmt.Errorf("sign transaction of %s: %w", account, err)
	}
	signed, err := tx.WithSignature(rules, signature)
	if err != nil {
		return nil, fmt.Errorf("sign transaction of %s: %w", account, err)
	}
	if from, err := types.Sender(rules, signed); err != nil || from != account {
		return nil, fmt.Errorf("sign transaction of %s: %w", account, ErrWrongSignature)
	}
	return signed, nil
}
