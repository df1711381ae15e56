package evm

import (
	"context"
	"errors"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/triedb"
)

// reader is one run's window on a view: it applies overrides, records what is read, and in a speculative run notes
// what is missing instead of reading it. It implements state.Reader. Only one goroutine uses it.
type reader struct {
	ctx         context.Context
	view        *View
	overrides   Overrides
	codes       map[common.Hash][]byte // of overridden accounts
	speculative bool
	missing     keys
	missingSet  map[any]struct{}
	unsure      map[common.Address]struct{} // accounts given with a nonce of 1 for want of the true one
	reads       ReadSet
	err         error // the first failed read; every later one fails the same way
	stop        func()
}

func newReader(ctx context.Context, v *View, overrides Overrides, speculative bool) *reader {
	r := &reader{
		ctx: ctx, view: v, overrides: overrides, speculative: speculative,
		reads: ReadSet{Accounts: make(map[common.Address]AccountRead), Slots: make(map[Slot]common.Hash)},
	}
	if speculative {
		r.missingSet = make(map[any]struct{})
	}
	return r
}

// fail records the first error and stops the run.
func (r *reader) fail(err error) error {
	if r.err == nil {
		r.err = r.view.fail(err)
		if r.stop != nil {
			r.stop()
		}
	}
	return r.err
}

// miss notes a value that a speculative run lacks. The run goes on with a zero: what it goes on to read is mostly
// what it would read with the real value too, and its result is thrown away.
func (r *reader) miss(key any, note func()) {
	if _, ok := r.missingSet[key]; ok {
		return
	}
	r.missingSet[key] = struct{}{}
	note()
}

// budget fails the run once it has read too much.
func (r *reader) budget() error {
	if r.reads.Len()+len(r.missingSet) >= r.view.source.opts.MaxReads {
		return r.fail(ErrTooManyReads)
	}
	return nil
}

// Account implements state.StateReader. A nonce that is not known is given as 1, which no run gets to see: see nonce.
func (r *reader) Account(addr common.Address) (*types.StateAccount, error) {
	if r.err != nil {
		return nil, r.err
	}
	a, err := r.account(addr)
	if err != nil {
		return nil, err
	}
	if a.nonceKnown && a.nonce == 0 && a.balance.IsZero() && a.codeHash == types.EmptyCodeHash {
		return nil, nil // EIP-161: empty is absent
	}
	if !a.nonceKnown {
		a.nonce = 1
		if r.unsure == nil {
			r.unsure = make(map[common.Address]struct{})
		}
		r.unsure[addr] = struct{}{}
	}
	return &types.StateAccount{
		Nonce:    a.nonce,
		Balance:  a.balance.Clone(),
		Root:     types.EmptyRootHash, // never read: storage comes from Storage
		CodeHash: a.codeHash.Bytes(),
	}, nil
}

func (r *reader) account(addr common.Address) (account, error) {
	override := r.overrides[addr]
	if override.whole() {
		a := override.apply(account{})
		r.keepCode(a)
		return a, nil
	}
	a, ok := r.view.knownAccount(addr)
	if !ok {
		if err := r.budget(); err != nil {
			return account{}, err
		}
		if r.speculative {
			r.miss(addr, func() { r.missing.accounts = append(r.missing.accounts, addr) })
			a = override.apply(account{codeHash: types.EmptyCodeHash, nonceKnown: true})
			r.keepCode(a)
			return a, nil
		}
		var err error
		if a, err = r.view.account(r.ctx, addr); err != nil {
			return account{}, r.fail(err)
		}
	}
	if !a.nonceKnown {
		var err error
		if a.nonce, a.nonceKnown, err = r.lateNonce(addr, override); err != nil {
			return account{}, err
		}
	}
	r.reads.Accounts[addr] = AccountRead{CodeHash: a.codeHash, Empty: a.empty}
	a = override.apply(a)
	r.keepCode(a)
	return a, nil
}

// lateNonce returns the nonce of an account that was read without it, if it is known by now. A run that is not
// speculative reads it at once: it has no second chance.
func (r *reader) lateNonce(addr common.Address, override Override) (uint64, bool, error) {
	if nonce, ok := r.view.knownNonce(addr); ok || r.speculative || override.Nonce != nil {
		return nonce, ok, nil
	}
	nonce, err := r.view.Nonce(r.ctx, addr)
	if err != nil {
		return 0, false, r.fail(err)
	}
	return nonce, true, nil
}

// nonceAsked notes that a run depends on an account's nonce. A speculative run that does not know it is to be repeated.
func (r *reader) nonceAsked(addr common.Address) {
	read, ok := r.reads.Accounts[addr]
	if !ok || read.NonceUsed || r.overrides[addr].Nonce != nil {
		return // it was overridden, or the account has only been missed so far
	}
	nonce, known := r.view.knownNonce(addr)
	if _, unsure := r.unsure[addr]; r.speculative && (unsure || !known) {
		// Somebody may have read it meanwhile: the state of this run has the 1 all the same.
		r.miss(nonceOf(addr), func() { r.missing.nonces = append(r.missing.nonces, addr) })
		return
	}
	read.Nonce, read.NonceUsed = nonce, true
	r.reads.Accounts[addr] = read
}

// nonceOf is the key of a missing nonce.
type nonceOf common.Address

// balanceAsked notes that a run depends on an account's balance.
func (r *reader) balanceAsked(addr common.Address) {
	read, ok := r.reads.Accounts[addr]
	if !ok || read.BalanceUsed || r.overrides[addr].Balance != nil {
		return
	}
	a, _ := r.view.knownAccount(addr)
	read.Balance, read.BalanceUsed = a.balance, true
	r.reads.Accounts[addr] = read
}

// keepCode makes an account's code findable by its hash for as long as the run lives, whatever the source's cache
// drops meanwhile.
func (r *reader) keepCode(a account) {
	if len(a.code) == 0 {
		return
	}
	if r.codes == nil {
		r.codes = make(map[common.Hash][]byte)
	}
	r.codes[a.codeHash] = a.code
}

// Storage implements state.StateReader.
func (r *reader) Storage(addr common.Address, key common.Hash) (common.Hash, error) {
	if r.err != nil {
		return common.Hash{}, r.err
	}
	if override, ok := r.overrides[addr]; ok {
		if value, ok := override.slot(key); ok {
			return value, nil
		}
	}
	slot := Slot{addr, key}
	value, ok := r.view.knownSlot(slot)
	if !ok {
		if err := r.budget(); err != nil {
			return common.Hash{}, err
		}
		if r.speculative {
			r.miss(slot, func() { r.missing.slots = append(r.missing.slots, slot) })
			return common.Hash{}, nil
		}
		var err error
		if value, err = r.view.Storage(r.ctx, addr, key); err != nil {
			return common.Hash{}, r.fail(err)
		}
	}
	r.reads.Slots[slot] = value
	return value, nil
}

// Code implements state.ContractCodeReader.
func (r *reader) Code(_ common.Address, hash common.Hash) []byte { return r.codes[hash] }

// CodeSize implements state.ContractCodeReader.
func (r *reader) CodeSize(addr common.Address, hash common.Hash) int { return len(r.Code(addr, hash)) }

// Has implements state.ContractCodeReader.
func (r *reader) Has(addr common.Address, hash common.Hash) bool { return r.CodeSize(addr, hash) > 0 }

// noTrie is the state.Database of a run: there is no trie here, all reads go through the reader and nothing is ever
// committed. Its methods exist for the interface; each answers with an error.
type noTrie struct{}

var errNoTrie = errors.New("evm: a run's state has no trie")

func (noTrie) Type() state.DatabaseType                     { return state.TypeMPT }
func (noTrie) Reader(common.Hash) (state.Reader, error)     { return nil, errNoTrie }
func (noTrie) Iteratee(common.Hash) (state.Iteratee, error) { return nil, errNoTrie }
func (noTrie) OpenTrie(common.Hash) (state.Trie, error)     { return nil, errNoTrie }
func (noTrie) TrieDB() *triedb.Database                     { return nil }
func (noTrie) Commit(*state.StateUpdate) error              { return errNoTrie }
func (noTrie) OpenStorageTrie(common.Hash, common.Address, common.Hash, state.Trie) (state.Trie, error) {
	return nil, errNoTrie
}

// newState returns a fresh writable state over the reader.
func newState(r *reader) (*state.StateDB, error) {
	return state.NewWithReader(types.EmptyRootHash, noTrie{}, r)
}
