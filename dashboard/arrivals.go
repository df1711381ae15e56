package dashboard

import (
	"baler/event"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// arrivalsKept is how many operations that came in are remembered by their account.
const arrivalsKept = 20_000

// arrival is what is known of an operation that came in, whatever became of it.
type arrival struct {
	hash       common.Hash
	entryPoint common.Address
	sender     common.Address
	nonce      uint256.Int
}

// arrivals are the operations that came in last, the refused ones too: the newest overwrite the oldest. It is not safe for
// concurrent use.
type arrivals struct {
	ring []arrival
	next int
	full bool
	at   map[common.Hash]int
}

func newArrivals(size int) *arrivals {
	return &arrivals{ring: make([]arrival, size), at: make(map[common.Hash]int)}
}

func (a *arrivals) hear(e event.Event) {
	switch e := e.(type) {
	case event.OperationReceived:
		a.put(arrival{hash: e.Hash, entryPoint: e.EntryPoint, sender: e.Sender, nonce: e.Nonce})
	case event.OperationAdded: // after a restart nothing was received
		a.put(arrival{hash: e.Hash, entryPoint: e.EntryPoint, sender: e.Sender, nonce: e.Nonce})
	default: // about no new operation
	}
}

func (a *arrivals) put(came arrival) {
	if _, known := a.at[came.hash]; known {
		return
	}
	if a.full {
		delete(a.at, a.ring[a.next].hash)
	}
	a.ring[a.next], a.at[came.hash] = came, a.next
	if a.next++; a.next == len(a.ring) {
		a.next, a.full = 0, true
	}
}

// find returns an operation that came in; false if it is not remembered.
func (a *arrivals) find(hash common.Hash) (arrival, bool) {
	at, known := a.at[hash]
	if !known {
		return arrival{}, false
	}
	return a.ring[at], true
}

// of returns the operations of an account, the newest first.
func (a *arrivals) of(account common.Address, limit int) []common.Hash {
	var hashes []common.Hash
	for i := range a.ring {
		at := (a.next - 1 - i + 2*len(a.ring)) % len(a.ring)
		if !a.full && at >= a.next || len(hashes) == limit {
			break
		}
		if a.ring[at].sender == account {
			hashes = append(hashes, a.ring[at].hash)
		}
	}
	return hashes
}
