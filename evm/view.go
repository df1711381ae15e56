package evm

import (
	"context"
	"errors"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

// Slot is one storage slot of one contract.
type Slot struct {
	Account common.Address
	Key     common.Hash
}

// account is the readable part of an account. codeHash is the hash of no bytes if there is no code.
type account struct {
	balance    uint256.Int
	nonce      uint64 // if nonceKnown; else it is read when a run asks for it
	nonceKnown bool
	empty      bool // no balance, no nonce, no code (EIP-161)
	codeHash   common.Hash
	code       []byte
}

// View is the state after one block, read as it is needed and kept while the view lives. It is safe for concurrent use.
type View struct {
	source *Source
	hash   common.Hash
	header *types.Header

	mu       sync.Mutex
	accounts table[common.Address, account]
	nonces   table[common.Address, uint64]
	slots    table[Slot, common.Hash]
	stats    Stats
	gather   gather
}

// Stats counts what a view asked of the node.
type Stats struct {
	RoundTrips int // batches sent, one after the other or not
	Requests   int // single JSON-RPC requests in them
}

func (s *Stats) add(more Stats) {
	s.RoundTrips += more.RoundTrips
	s.Requests += more.Requests
}

// Hash returns the block hash every read is pinned to.
func (v *View) Hash() common.Hash { return v.hash }

// Header returns the view's header. It must not be changed.
func (v *View) Header() *types.Header { return v.header }

// Config returns the fork rules of the view's chain. They must not be changed.
func (v *View) Config() *params.ChainConfig { return v.source.cfg }

// Stats returns what the view has asked of the node so far.
func (v *View) Stats() Stats {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.stats
}

// Prefetch reads the accounts (balance and code) and slots that are not known yet, in one round trip: see
// [Source] for how. Nonces come along where they cost nothing; see [View.Nonce].
func (v *View) Prefetch(ctx context.Context, accounts []common.Address, slots map[common.Address][]common.Hash) error {
	want := keys{accounts: accounts}
	for addr, keys := range slots {
		for _, key := range keys {
			want.slots = append(want.slots, Slot{addr, key})
		}
	}
	return v.load(ctx, want, nil)
}

// Balance returns an account's balance in wei.
func (v *View) Balance(ctx context.Context, addr common.Address) (uint256.Int, error) {
	a, err := v.account(ctx, addr)
	return a.balance, err
}

// Nonce returns an account's transaction nonce.
func (v *View) Nonce(ctx context.Context, addr common.Address) (uint64, error) {
	if nonce, ok := v.knownNonce(addr); ok {
		return nonce, nil
	}
	if err := v.load(ctx, keys{nonces: []common.Address{addr}}, nil); err != nil {
		return 0, err
	}
	nonce, _ := v.knownNonce(addr)
	return nonce, nil
}

// Code returns an account's code, which must not be changed. For an EIP-7702 account it is the delegation.
func (v *View) Code(ctx context.Context, addr common.Address) ([]byte, error) {
	a, err := v.account(ctx, addr)
	return a.code, err
}

// Storage returns the value of a slot.
func (v *View) Storage(ctx context.Context, addr common.Address, key common.Hash) (common.Hash, error) {
	if value, ok := v.knownSlot(Slot{addr, key}); ok {
		return value, nil
	}
	if err := v.load(ctx, keys{slots: []Slot{{addr, key}}}, nil); err != nil {
		return common.Hash{}, err
	}
	value, _ := v.knownSlot(Slot{addr, key})
	return value, nil
}

func (v *View) account(ctx context.Context, addr common.Address) (account, error) {
	if a, ok := v.knownAccount(addr); ok {
		return a, nil
	}
	if err := v.load(ctx, keys{accounts: []common.Address{addr}}, nil); err != nil {
		return account{}, err
	}
	a, _ := v.knownAccount(addr)
	return a, nil
}

// knownAccount returns an account that has been read already.
func (v *View) knownAccount(addr common.Address) (account, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.accounts.known(addr)
}

// knownNonce returns a nonce that has been read already, with the account or alone.
func (v *View) knownNonce(addr common.Address) (uint64, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.lockedNonce(addr)
}

func (v *View) lockedNonce(addr common.Address) (uint64, bool) {
	if a, ok := v.accounts.known(addr); ok && a.nonceKnown {
		return a.nonce, true
	}
	return v.nonces.known(addr)
}

// knownSlot returns a slot that has been read already.
func (v *View) knownSlot(slot Slot) (common.Hash, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.slots.known(slot)
}

// keys is a set of things to read.
type keys struct {
	accounts []common.Address
	nonces   []common.Address
	slots    []Slot
}

func (k keys) len() int { return len(k.accounts) + len(k.nonces) + len(k.slots) }

func (k *keys) append(more keys) {
	k.accounts = append(k.accounts, more.accounts...)
	k.nonces = append(k.nonces, more.nonces...)
	k.slots = append(k.slots, more.slots...)
}

// claims are the entries of the keys that one caller reads.
type claims struct {
	done     chan struct{} // closed when all are settled
	keys     keys
	accounts []*entry[account]
	nonces   []*entry[uint64]
	slots    []*entry[common.Hash]
}

// pending is one key that another caller is reading.
type pending struct {
	keys   keys
	done   <-chan struct{}
	failed func() bool
}

// load makes sure that all keys are known. What another caller reads already is waited for; the rest is read here, in
// one round trip, in which the questions travel too. If the other caller fails, for its own reasons (its context ended),
// its share is read again.
func (v *View) load(ctx context.Context, want keys, questions []*Question) error {
	for want.len() > 0 || len(questions) > 0 {
		mine, waits := v.claim(want)
		switch err := v.fetch(ctx, mine, questions); {
		case errors.Is(err, errLeader):
			continue
		case err != nil:
			return err
		}
		want, questions = keys{}, nil
		for _, w := range waits {
			select {
			case <-w.done:
			case <-ctx.Done():
				return v.fail(ctx.Err())
			}
			if w.failed() {
				want.append(w.keys)
			}
		}
	}
	return nil
}

// claim splits keys into those the caller must read now, with their new entries, and those others are reading.
func (v *View) claim(want keys) (mine claims, waits []pending) {
	v.mu.Lock()
	defer v.mu.Unlock()
	mine.done = make(chan struct{})
	for _, addr := range want.accounts {
		switch e, state := v.accounts.claim(addr, mine.done); state {
		case entryMine:
			mine.keys.accounts, mine.accounts = append(mine.keys.accounts, addr), append(mine.accounts, e)
		case entryOthers:
			waits = append(waits, pending{keys{accounts: []common.Address{addr}}, e.done, e.failed})
		case entryKnown:
		}
	}
	for _, addr := range want.nonces {
		if _, ok := v.lockedNonce(addr); ok {
			continue
		}
		switch e, state := v.nonces.claim(addr, mine.done); state {
		case entryMine:
			mine.keys.nonces, mine.nonces = append(mine.keys.nonces, addr), append(mine.nonces, e)
		case entryOthers:
			waits = append(waits, pending{keys{nonces: []common.Address{addr}}, e.done, e.failed})
		case entryKnown:
		}
	}
	for _, slot := range want.slots {
		switch e, state := v.slots.claim(slot, mine.done); state {
		case entryMine:
			mine.keys.slots, mine.slots = append(mine.keys.slots, slot), append(mine.slots, e)
		case entryOthers:
			waits = append(waits, pending{keys{slots: []Slot{slot}}, e.done, e.failed})
		case entryKnown:
		}
	}
	return mine, waits
}

func (v *View) fail(err error) error {
	if IsStateError(err) {
		return err
	}
	return &StateError{Block: v.hash, Err: err}
}
