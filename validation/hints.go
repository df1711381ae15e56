package validation

import (
	"maps"

	"baler/evm"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
)

// hints remembers what validations read, per entity, as a guess of what the next one will read: a guess that is right
// saves a round trip, a wrong one costs a few bytes. It is safe for concurrent use and bounded.
type hints struct {
	byEntity *lru.Cache[common.Address, hint]
}

// hint is what to read together with an entity.
type hint struct {
	accounts []common.Address
	nonces   []common.Address // of the accounts, those whose nonce matters too
	slots    []evm.Slot
	own      []common.Hash // slots of whoever the sender is: accounts of one kind keep their owner in the same place
}

const (
	maxHints       = 10_000 // entities
	maxHintEntries = 64     // accounts and slots per entity
	maxOwnHints    = 8      // slots of whoever the sender is
)

func newHints() *hints { return &hints{lru.NewCache[common.Address, hint](maxHints)} }

// guess is a read set without values.
type guess struct{ reads *evm.ReadSet }

func newGuess() guess {
	return guess{&evm.ReadSet{Accounts: make(map[common.Address]evm.AccountRead), Slots: make(map[evm.Slot]common.Hash)}}
}

// join adds another guess.
func (g guess) join(other guess) {
	for addr, read := range other.reads.Accounts {
		if read.NonceUsed {
			g.nonce(addr)
		} else {
			g.account(addr)
		}
	}
	maps.Copy(g.reads.Slots, other.reads.Slots)
}

func (g guess) account(addr common.Address) {
	if _, ok := g.reads.Accounts[addr]; !ok {
		g.reads.Accounts[addr] = evm.AccountRead{}
	}
}

func (g guess) nonce(addr common.Address) { g.reads.Accounts[addr] = evm.AccountRead{NonceUsed: true} }

func (g guess) slot(addr common.Address, key common.Hash) {
	g.reads.Slots[evm.Slot{Account: addr, Key: key}] = common.Hash{}
}

// knows reports whether something has been learnt of an entity.
func (h *hints) knows(entity common.Address) bool { return h.byEntity.Contains(entity) }

// add adds what is known of an entity to a guess about an operation of the sender.
func (h *hints) add(entity, sender common.Address, g guess) {
	known, ok := h.byEntity.Get(entity)
	if !ok {
		return
	}
	for _, addr := range known.accounts {
		g.account(addr)
	}
	for _, addr := range known.nonces {
		g.nonce(addr)
	}
	for _, slot := range known.slots {
		g.slot(slot.Account, slot.Key)
	}
	for _, key := range known.own {
		g.slot(sender, key)
	}
}

// learn files a read set: all of it under its sender, and what does not belong to the sender under the other entities,
// which will meet other senders; of the sender's own slots they learn the keys. skip tells what is guessed anyway.
func (h *hints) learn(reads *evm.ReadSet, sender common.Address, others []common.Address, skip guess) {
	var own, shared hint
	for addr, read := range reads.Accounts {
		if read.NonceUsed {
			own.nonces = append(own.nonces, addr)
			if addr != sender {
				shared.nonces = append(shared.nonces, addr)
			}
		}
		if _, known := skip.reads.Accounts[addr]; known {
			continue
		}
		own.accounts = append(own.accounts, addr)
		shared.accounts = append(shared.accounts, addr)
	}
	for slot := range reads.Slots {
		if _, known := skip.reads.Slots[slot]; known {
			continue
		}
		own.slots = append(own.slots, slot)
		if slot.Account != sender {
			shared.slots = append(shared.slots, slot)
		} else {
			shared.own = append(shared.own, slot.Key)
		}
	}
	h.keep(sender, own)
	for _, entity := range others {
		h.keep(entity, shared)
	}
}

func (h *hints) keep(entity common.Address, k hint) {
	k.accounts = k.accounts[:min(len(k.accounts), maxHintEntries)]
	k.nonces = k.nonces[:min(len(k.nonces), maxHintEntries)]
	k.slots = k.slots[:min(len(k.slots), maxHintEntries)]
	k.own = k.own[:min(len(k.own), maxOwnHints)]
	if len(k.accounts)+len(k.nonces)+len(k.slots)+len(k.own) > 0 {
		h.byEntity.Add(entity, k)
	}
}

// lately is what whole bundles read beyond what their operations' validations do: the accounts that the calls reach, the
// block's coinbase. What the last ones read the next one is likely to read too. It is safe for concurrent use and bounded.
type lately struct {
	accounts *lru.Cache[common.Address, struct{}]
	slots    *lru.Cache[evm.Slot, struct{}]
}

// maxLately is how many accounts, and how many slots, are read with each pool for the sake of the next bundle.
const maxLately = 128

func newLately() *lately {
	return &lately{lru.NewCache[common.Address, struct{}](maxLately), lru.NewCache[evm.Slot, struct{}](maxLately)}
}

// add adds what bundles read lately to a guess.
func (l *lately) add(g guess) {
	for _, addr := range l.accounts.Keys() {
		g.account(addr)
	}
	for _, slot := range l.slots.Keys() {
		g.slot(slot.Account, slot.Key)
	}
}

// learn files what a bundle read, except for what was guessed from its operations.
func (l *lately) learn(reads *evm.ReadSet, guessed guess) {
	for addr := range reads.Accounts {
		if _, known := guessed.reads.Accounts[addr]; !known {
			l.accounts.Add(addr, struct{}{})
		}
	}
	for slot := range reads.Slots {
		if _, known := guessed.reads.Slots[slot]; !known {
			l.slots.Add(slot, struct{}{})
		}
	}
}
