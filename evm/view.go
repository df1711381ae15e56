package evm

import (
	"context"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// Slot is one storage slot of one contract.
type Slot struct {
	Account common.Address
	Key     common.Hash
}

// account is the readable part of an account. codeHash is the hash of no bytes if there is no code.
type account struct {
	balance  uint256.Int
	nonce    uint64
	codeHash common.Hash
	code     []byte
}

// entry is a value that is being read or has been read. Its fields are set before done is closed.
type entry[T any] struct {
	done  chan struct{}
	value T
	err   error
}

// View is the state after one block, read as it is needed and kept while the view lives. It is safe for concurrent use.
type View struct {
	source *Source
	hash   common.Hash
	header *types.Header

	mu       sync.Mutex
	accounts map[common.Address]*entry[account]
	slots    map[Slot]*entry[common.Hash]
	stats    Stats
}

// Stats counts what a view asked of the node.
type Stats struct {
	RoundTrips int // batches sent, one after the other or not
	Requests   int // single JSON-RPC requests in them
}

// Hash returns the block hash every read is pinned to.
func (v *View) Hash() common.Hash { return v.hash }

// Header returns the view's header. It must not be changed.
func (v *View) Header() *types.Header { return v.header }

// Stats returns what the view has asked of the node so far.
func (v *View) Stats() Stats {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.stats
}

// Prefetch reads the accounts (balance, nonce, code) and slots that are not known yet, in one batch.
func (v *View) Prefetch(ctx context.Context, accounts []common.Address, slots map[common.Address][]common.Hash) error {
	var want keys
	want.accounts = accounts
	for addr, keys := range slots {
		for _, key := range keys {
			want.slots = append(want.slots, Slot{addr, key})
		}
	}
	return v.load(ctx, want)
}

// Balance returns an account's balance in wei.
func (v *View) Balance(ctx context.Context, addr common.Address) (uint256.Int, error) {
	a, err := v.account(ctx, addr)
	return a.balance, err
}

// Nonce returns an account's transaction nonce.
func (v *View) Nonce(ctx context.Context, addr common.Address) (uint64, error) {
	a, err := v.account(ctx, addr)
	return a.nonce, err
}

// Code returns an account's code, which must not be changed. For an EIP-7702 account it is the delegation.
func (v *View) Code(ctx context.Context, addr common.Address) ([]byte, error) {
	a, err := v.account(ctx, addr)
	return a.code, err
}

// Storage returns the value of a slot.
func (v *View) Storage(ctx context.Context, addr common.Address, key common.Hash) (common.Hash, error) {
	if err := v.load(ctx, keys{slots: []Slot{{addr, key}}}); err != nil {
		return common.Hash{}, err
	}
	value, _ := v.knownSlot(Slot{addr, key})
	return value, nil
}

func (v *View) account(ctx context.Context, addr common.Address) (account, error) {
	if err := v.load(ctx, keys{accounts: []common.Address{addr}}); err != nil {
		return account{}, err
	}
	a, _ := v.knownAccount(addr)
	return a, nil
}

// knownAccount returns an account that has been read already.
func (v *View) knownAccount(addr common.Address) (account, bool) {
	v.mu.Lock()
	e, ok := v.accounts[addr]
	v.mu.Unlock()
	return settled(e, ok)
}

// knownSlot returns a slot that has been read already.
func (v *View) knownSlot(slot Slot) (common.Hash, bool) {
	v.mu.Lock()
	e, ok := v.slots[slot]
	v.mu.Unlock()
	return settled(e, ok)
}

func settled[T any](e *entry[T], ok bool) (T, bool) {
	var none T
	if !ok {
		return none, false
	}
	select {
	case <-e.done:
		return e.value, e.err == nil
	default:
		return none, false
	}
}

// keys is a set of things to read.
type keys struct {
	accounts []common.Address
	slots    []Slot
}

func (k keys) len() int { return len(k.accounts) + len(k.slots) }

// load makes sure that all keys are known. What another caller reads already is waited for; the rest is read here, in
// one batch. If the other caller fails, for its own reasons (its context ended), its share is read again.
func (v *View) load(ctx context.Context, want keys) error {
	for want.len() > 0 {
		mine, accounts, slots, waits := v.claim(want)
		if err := v.fetch(ctx, mine, accounts, slots); err != nil {
			return err
		}
		want = keys{}
		for _, w := range waits {
			select {
			case <-w.done():
			case <-ctx.Done():
				return v.fail(ctx.Err())
			}
			if w.failed() {
				want.accounts = append(want.accounts, w.keys.accounts...)
				want.slots = append(want.slots, w.keys.slots...)
			}
		}
	}
	return nil
}

// pending is one key that another caller is reading.
type pending struct {
	keys    keys
	account *entry[account]
	slot    *entry[common.Hash]
}

func (p pending) done() <-chan struct{} {
	if p.account != nil {
		return p.account.done
	}
	return p.slot.done
}

func (p pending) failed() bool {
	if p.account != nil {
		return p.account.err != nil
	}
	return p.slot.err != nil
}

// claim splits keys into those the caller must read now, with their new entries, and those others are reading.
func (v *View) claim(want keys) (mine keys, accounts []*entry[account], slots []*entry[common.Hash], waits []pending) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, addr := range want.accounts {
		if e, ok := v.accounts[addr]; ok {
			if _, known := settled(e, true); !known {
				waits = append(waits, pending{keys: keys{accounts: []common.Address{addr}}, account: e})
			}
			continue
		}
		e := &entry[account]{done: make(chan struct{})}
		v.accounts[addr] = e
		mine.accounts, accounts = append(mine.accounts, addr), append(accounts, e)
	}
	for _, slot := range want.slots {
		if e, ok := v.slots[slot]; ok {
			if _, known := settled(e, true); !known {
				waits = append(waits, pending{keys: keys{slots: []Slot{slot}}, slot: e})
			}
			continue
		}
		e := &entry[common.Hash]{done: make(chan struct{})}
		v.slots[slot] = e
		mine.slots, slots = append(mine.slots, slot), append(slots, e)
	}
	// A key that stands twice in want has its own entry in waits: it is ours and settled by the time it is waited for.
	return mine, accounts, slots, waits
}

// fetch reads the claimed keys and settles their entries. Entries that failed are forgotten before they are settled,
// so that the next caller tries again.
func (v *View) fetch(ctx context.Context, mine keys, accounts []*entry[account], slots []*entry[common.Hash]) error {
	if mine.len() == 0 {
		return nil
	}
	gotAccounts, gotSlots, stats, err := v.source.read(ctx, v, mine)
	if err != nil {
		err = v.fail(err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stats.RoundTrips += stats.RoundTrips
	v.stats.Requests += stats.Requests
	for i, e := range accounts {
		if e.err = err; err != nil {
			delete(v.accounts, mine.accounts[i])
		} else {
			e.value = gotAccounts[i]
		}
		close(e.done)
	}
	for i, e := range slots {
		if e.err = err; err != nil {
			delete(v.slots, mine.slots[i])
		} else {
			e.value = gotSlots[i]
		}
		close(e.done)
	}
	return err
}

func (v *View) fail(err error) error {
	if IsStateError(err) {
		return err
	}
	return &StateError{Block: v.hash, Err: err}
}
