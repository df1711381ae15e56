package validation

import (
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
	slots    []evm.Slot
}

const (
	maxHints       = 10_000 // entities
	maxHintEntries = 64     // accounts and slots per entity
)

func newHints() *hints { return &hints{lru.NewCache[common.Address, hint](maxHints)} }

// guess collects prefetchable keys without duplicates.
type guess struct {
	accounts map[common.Address]struct{}
	slots    map[evm.Slot]struct{}
}

func newGuess() guess {
	return guess{make(map[common.Address]struct{}), make(map[evm.Slot]struct{})}
}

func (g guess) account(addr common.Address) { g.accounts[addr] = struct{}{} }
func (g guess) slot(addr common.Address, key common.Hash) {
	g.slots[evm.Slot{Account: addr, Key: key}] = struct{}{}
}

func (g guess) prefetchable() ([]common.Address, map[common.Address][]common.Hash) {
	accounts := make([]common.Address, 0, len(g.accounts))
	for addr := range g.accounts {
		accounts = append(accounts, addr)
	}
	slots := make(map[common.Address][]common.Hash)
	for slot := range g.slots {
		slots[slot.Account] = append(slots[slot.Account], slot.Key)
	}
	return accounts, slots
}

// add adds what is known of an entity to a guess.
func (h *hints) add(entity common.Address, g guess) {
	known, ok := h.byEntity.Get(entity)
	if !ok {
		return
	}
	for _, addr := range known.accounts {
		g.account(addr)
	}
	for _, slot := range known.slots {
		g.slot(slot.Account, slot.Key)
	}
}

// learn files a read set: all of it under its sender, and what does not belong to the sender under the other entities,
// which will meet other senders. skip tells what is guessed anyway.
func (h *hints) learn(reads *evm.ReadSet, sender common.Address, others []common.Address, skip guess) {
	var own, shared hint
	for addr := range reads.Accounts {
		if _, known := skip.accounts[addr]; known {
			continue
		}
		own.accounts = append(own.accounts, addr)
		shared.accounts = append(shared.accounts, addr)
	}
	for slot := range reads.Slots {
		if _, known := skip.slots[slot]; known {
			continue
		}
		own.slots = append(own.slots, slot)
		if slot.Account != sender {
			shared.slots = append(shared.slots, slot)
		}
	}
	h.keep(sender, own)
	for _, entity := range others {
		h.keep(entity, shared)
	}
}

func (h *hints) keep(entity common.Address, k hint) {
	k.accounts = k.accounts[:min(len(k.accounts), maxHintEntries)]
	k.slots = k.slots[:min(len(k.slots), maxHintEntries)]
	if len(k.accounts)+len(k.slots) > 0 {
		h.byEntity.Add(entity, k)
	}
}
