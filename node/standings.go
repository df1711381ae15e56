package node

import (
	"context"
	"sync"
	"time"

	"baler/pool"
	"baler/store"
)

// standings keeps the entities' reputation over restarts, and ages it.
type standings struct {
	mu   sync.Mutex // what changed is handed to the store in the order in which it changed
	aged time.Time  // the last hour that was counted
}

// recallReputation reads back what was kept, and ages it by the hours that have passed meanwhile.
func (n *Node) recallReputation() {
	reputation, err := n.config.Store.Reputation()
	if err != nil {
		n.log.Error("some reputations could not be read, they begin anew", "err", err)
	}
	aged, err := n.config.Store.Aged()
	if err != nil {
		n.log.Error("when reputations were aged last could not be read", "err", err)
	}
	now := time.Now()
	if aged.IsZero() || aged.After(now) {
		aged = now
	}
	n.pool.do(func(p *pool.Pool) []pool.Removed {
		removed := p.SetReputation(reputation)
		_ = p.ChangedReputation() // it is what the store has
		return removed
	})
	n.standings.aged = aged
	n.age(now)
}

// age applies ERC-7562's hourly refresh for the whole hours that have passed.
func (n *Node) age(now time.Time) {
	hours := now.Sub(n.standings.aged) / time.Hour
	if hours > 0 {
		n.pool.look(func(p *pool.Pool) { p.Decay(uint64(hours)) })
	}
	n.standings.aged = n.standings.aged.Add(hours * time.Hour)
	n.keepReputation()
	n.enqueue(store.SetAged(n.standings.aged))
}

// ageReputation ages the reputations each hour, from the first head on.
func (n *Node) ageReputation(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-n.started:
	}
	for pause(ctx, time.Until(n.standings.aged.Add(time.Hour))) == nil {
		n.age(time.Now())
	}
}

// keepReputation hands what changed of the reputations to the store.
func (n *Node) keepReputation() {
	n.standings.mu.Lock()
	defer n.standings.mu.Unlock()
	n.enqueue(n.changedReputation()...)
}

// keepAccepted hands an accepted operation to the store, with what it changed of the reputations: that is durable, too, before it is
// acknowledged.
func (n *Node) keepAccepted(operation store.Write) (*store.Receipt, error) {
	n.standings.mu.Lock()
	defer n.standings.mu.Unlock()
	return n.config.Store.Accept(append(n.changedReputation(), operation)...)
}

// changedReputation is what changed of the reputations since it was asked last. The caller holds the standings' lock until the store has it.
func (n *Node) changedReputation() []store.Write {
	var changed []pool.Reputation
	n.pool.look(func(p *pool.Pool) { changed = p.ChangedReputation() })
	if len(changed) == 0 {
		return nil
	}
	return []store.Write{store.PutReputation(changed)}
}
