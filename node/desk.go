package node

import (
	"context"
	"fmt"
	"slices"

	"baler/chain"
	"baler/entrypoint"
	"baler/event"
	"baler/pool"
	"baler/profit"
	"baler/proposer"

	"github.com/ethereum/go-ethereum/common"
)

// desk is this process's pool, as bundle senders use it: those of this process directly, those of others over the network.
type desk struct {
	node     *Node
	register *register // of other processes' builders; nil: the builders are this process's
	orders   *orders   // nil as well
}

var _ BuilderPool = (*desk)(nil)

// BuilderPool returns the pool for bundle senders in other processes.
func (n *Node) BuilderPool() BuilderPool { return n.desk }

// settled returns the hash of the head with which the pool agrees; zero: a step of the chain is being taken in.
func (n *Node) settled() common.Hash {
	moves, at := n.moves.Load(), n.head.Load()
	if at == nil || !n.still(moves) {
		return common.Hash{}
	}
	return at.header.Hash()
}

// EntryPoints implements [BuilderPool].
func (d *desk) EntryPoints(ctx context.Context) (list []entrypoint.EntryPoint, err error) {
	if err := d.register.complete(ctx, d.node); err != nil {
		return nil, err
	}
	d.node.pool.look(func(p *pool.Pool) { list = p.EntryPoints() })
	return list, nil
}

// Candidates implements [BuilderPool].
func (d *desk) Candidates(ctx context.Context, q pool.Query) (offer Offer, err error) {
	if err := d.register.complete(ctx, d.node); err != nil {
		return Offer{}, err
	}
	err = d.register.forBuilder(q.Builder, func() {
		d.node.pool.look(func(p *pool.Pool) {
			offer.Head = d.node.settled()
			offer.Operations = p.Candidates(q)
		})
	})
	offer.BundleSize = d.node.books.estimateSize()
	return offer, err
}

// Held implements [BuilderPool].
func (d *desk) Held(_ context.Context, builder string) (hashes []common.Hash, err error) {
	d.node.pool.look(func(p *pool.Pool) { hashes = p.Held(builder) })
	return hashes, nil
}

// Release implements [BuilderPool].
func (d *desk) Release(_ context.Context, builder string, operations []common.Hash) error {
	d.node.pool.look(func(p *pool.Pool) { p.Release(builder, operations) })
	return nil
}

// Claim implements [BuilderPool].
func (d *desk) Claim(_ context.Context, builder string, operations []common.Hash, until uint64) (refused []common.Hash, err error) {
	err = d.register.forBuilder(builder, func() {
		d.node.pool.look(func(p *pool.Pool) { refused = p.Claim(builder, operations, until) })
	})
	return refused, err
}

// ExtendClaim implements [BuilderPool].
func (d *desk) ExtendClaim(_ context.Context, builder string, operations []common.Hash, until uint64) (missing []common.Hash, err error) {
	err = d.register.forBuilder(builder, func() {
		d.node.pool.look(func(p *pool.Pool) { missing = p.ExtendClaim(builder, operations, until) })
	})
	return missing, err
}

// Resume implements [BuilderPool].
func (d *desk) Resume(ctx context.Context, builder string, operations []common.Hash, until uint64) error {
	if err := d.register.ready(); err != nil {
		return err
	}
	d.node.left.back(builder)
	d.node.hold(builder, operations, until)
	return d.register.came(ctx, d.node, builder)
}

// Leave implements [BuilderPool].
func (d *desk) Leave(ctx context.Context, builder string, operations []common.Hash, until uint64) error {
	if err := d.register.ready(); err != nil {
		return err
	}
	d.node.left.gone(builder)
	d.node.hold(builder, operations, until)
	return d.register.went(ctx, d.node, builder)
}

// hold makes these operations all that a builder has claimed. Those that are not in the pool are the builder's when they come back.
func (n *Node) hold(builder string, operations []common.Hash, until uint64) {
	n.pool.look(func(p *pool.Pool) {
		p.ReleaseAll(builder)
		refused := p.Carry(builder, operations, until)
		mined := slices.DeleteFunc(slices.Clone(refused), func(op common.Hash) bool { return p.Get(op) != nil })
		n.carriers.follow(builder, mined, n.head.Load().number()+chain.ReorgDepth)
	})
}

// Revive implements [BuilderPool].
func (d *desk) Revive(_ context.Context, builder string, operations []common.Hash, until uint64) error {
	d.node.pool.look(func(p *pool.Pool) { p.Carry(builder, operations, until) })
	return nil
}

// Operations implements [BuilderPool].
func (d *desk) Operations(_ context.Context, hashes []common.Hash) (found []*pool.Operation, err error) {
	d.node.pool.look(func(p *pool.Pool) {
		for _, hash := range hashes {
			if op := p.Get(hash); op != nil {
				found = append(found, op)
			}
		}
	})
	return found, nil
}

// Remove implements [BuilderPool].
func (d *desk) Remove(ctx context.Context, head common.Hash, removals []proposer.Removal) (applied bool, err error) {
	n := d.node
	moves := n.moves.Load()
	if now := n.settled(); now == (common.Hash{}) || now != head {
		return false, nil
	}
	n.outlived(ctx, removals, moves)
	n.pool.remove(removals)
	return true, nil
}

// Drop implements [BuilderPool].
func (d *desk) Drop(_ context.Context, operations []common.Hash) error {
	for _, hash := range operations {
		var removed []pool.Removed
		d.node.pool.look(func(p *pool.Pool) { removed, _ = p.Remove(hash, pool.Dropped, 0) }) // gone already: nothing to do
		for _, r := range removed {
			d.node.sink(event.OperationRemoved{
				Hash: r.Operation.Hash, Cause: r.Reason.String(), Reason: "bundles with it were refused again and again",
			})
		}
	}
	return nil
}

// Convict implements [BuilderPool].
func (d *desk) Convict(_ context.Context, removal proposer.Removal, operation *pool.Operation) error {
	var gone bool
	d.node.pool.look(func(p *pool.Pool) { gone = p.Get(removal.Hash) == nil })
	if !gone {
		d.node.pool.remove([]proposer.Removal{removal})
		return nil
	}
	if operation != nil {
		d.node.pool.do(func(p *pool.Pool) []pool.Removed { return p.Blame(operation, removal.Culprit) })
	}
	return nil
}

// Throttle implements [BuilderPool].
func (d *desk) Throttle(_ context.Context, entities []common.Address) error {
	d.node.pool.do(func(p *pool.Pool) []pool.Removed {
		for _, entity := range entities {
			p.Throttle(entity)
		}
		return nil
	})
	return nil
}

// Tell implements [BuilderPool]. What another process's transaction has earned goes into the books here, and out of them when its block
// leaves the chain. Both are told by events, whose order the chain's is: a call beside them could strike what was entered after it.
// A pool that has just begun has not read back its books yet: it is told again.
func (d *desk) Tell(ctx context.Context, events []event.Event) error {
	if err := d.register.ready(); err != nil {
		return err
	}
	books := false
	var heard []event.Event
	for _, e := range events {
		switch e := e.(type) {
		case event.BundleMined:
			d.node.enter(e.Entry)
			books = true
		case event.BundleUnmined:
			books = true
			if _, struck := d.node.strike(e.Tx); !struck {
				continue // nobody here has heard that it was mined
			}
		default: // about other things
		}
		heard = append(heard, e)
	}
	if books { // whoever tells it forgets it when this returns
		if err := d.node.config.Store.Flush(ctx); err != nil {
			return fmt.Errorf("books: %w", err)
		}
	}
	for _, e := range heard {
		d.node.told(e)
	}
	return nil
}

// Untold implements [BuilderPool].
func (d *desk) Untold() bool { return false }

// enter puts an entry of another process into the books, unless it is there.
func (n *Node) enter(e profit.Entry) {
	if n.books.has(e.Transaction, e.BlockHash) {
		return
	}
	n.own.add(e.Block, e.GasUsed)
	n.book(&e, n.head.Load())
}
