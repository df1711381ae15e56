package node

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"baler/lease"
	"baler/signer"
	"baler/store"

	"github.com/ethereum/go-ethereum/common"
)

// LeasedKeys holds keys by leases in Redis, each with its journal beside the lease: whoever holds a key next goes on with
// its live transactions.
type LeasedKeys struct {
	Leases  *lease.Leases
	Meta    store.Meta
	Options store.Options
}

// keyName is what the lease of a key is called.
func keyName(key common.Address) string { return "key:" + strings.ToLower(key.Hex()) }

var _ KeyHolder = (*LeasedKeys)(nil)

// Hold implements [KeyHolder].
func (l *LeasedKeys) Hold(ctx context.Context, key signer.Signer) (*HeldKey, error) {
	held, err := l.Leases.Acquire(ctx, keyName(key.Address()))
	if _, taken := errors.AsType[*lease.HeldError](err); taken || errors.Is(err, lease.ErrYoung) {
		return nil, fmt.Errorf("%w: %w", ErrKeyTaken, err)
	}
	if err != nil {
		return nil, err
	}
	kept, err := store.OpenTable(ctx, held, l.Meta, l.Options)
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
		defer cancel()
		return nil, errors.Join(err, held.Release(ctx))
	}
	return &HeldKey{Signer: key, Store: kept, Lease: held, Fence: held.Token(), Release: held.Release}, nil
}

// InFlight implements [KeyHolder].
func (l *LeasedKeys) InFlight(ctx context.Context, key common.Address) (live, mined []common.Hash, err error) {
	pairs, err := l.Leases.Look(ctx, keyName(key))
	if err != nil {
		return nil, nil, err
	}
	kept, err := store.Look(pairs)
	if err != nil {
		return nil, nil, err
	}
	journal, err := kept.Journal(key)
	if err != nil {
		return nil, nil, err
	}
	return journal.InFlight()
}
