package node

import (
	"context"
	"errors"
	"slices"

	"baler/entrypoint"
	"baler/pool"
	"baler/proposer"
	"baler/rejection"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// What was mined is told by logs, and a node may fail to give them, give them late, or give none of a block that has some,
// when the node behind a provider's address is another one each time. The chain's nonce is the truth: an operation whose
// nonce is used leaves the pool, whatever was told.

const (
	// doubtBlocks is after how many blocks an operation that waits is doubted.
	doubtBlocks = 16
	// doubtLanes is how many lanes' nonces are read at one head for doubt alone, and doubtScan how many are looked at for that.
	doubtLanes, doubtScan = 16, 1024
)

// withheld reports whether the block has operations by its bloom filter, though the node says that it has none.
func (n *Node) withheld(header *types.Header, logs []types.Log) bool {
	return len(logs) == 0 && types.BloomLookup(header.Bloom, entrypoint.TopicUserOperationEvent) &&
		slices.ContainsFunc(n.entryPointAddresses(), func(a common.Address) bool { return types.BloomLookup(header.Bloom, a) })
}

// lanes returns all lanes.
func (n *Node) lanes() (lanes []pool.Lane) {
	n.pool.look(func(p *pool.Pool) { lanes, _ = p.Lanes(pool.Cursor{}, p.Len()) })
	return lanes
}

// doubtful returns some of the lanes that have waited long, others each time.
func (n *Node) doubtful(at *head) (lanes []pool.Lane) {
	n.pool.look(func(p *pool.Pool) { lanes, n.doubt = p.Lanes(n.doubt, doubtScan) })
	lanes = slices.DeleteFunc(lanes, func(l pool.Lane) bool { return l.Since+doubtBlocks > at.number() })
	return lanes[:min(len(lanes), doubtLanes)]
}

// reconcile reads the nonces of lanes, in one batch, and takes out what is below them. What of it the chain's logs have after
// all is told as mined. Nothing is done if what was read has not the last word any more when it is there.
func (n *Node) reconcile(ctx context.Context, at *head, lanes []pool.Lane, last func() bool) {
	if len(lanes) == 0 {
		return
	}
	slots := make(map[common.Address][]common.Hash)
	for _, l := range lanes {
		slots[l.EntryPoint.Address] = append(slots[l.EntryPoint.Address], entrypoint.NonceSlot(l.EntryPoint.Version, l.Sender, l.Key))
	}
	view := n.source.View(at.header)
	if err := view.Prefetch(ctx, nil, slots); err != nil {
		if ctx.Err() == nil {
			n.log.Warn("nonces of pending operations could not be read", "err", err)
		}
		return
	}
	used := make(map[pool.Lane]uint256.Int)
	var dead []common.Hash
	for _, l := range lanes {
		word, err := view.Storage(ctx, l.EntryPoint.Address, entrypoint.NonceSlot(l.EntryPoint.Version, l.Sender, l.Key))
		if err != nil {
			continue // it was prefetched; the next time asks again
		}
		next := new(uint256.Int).SetBytes32(word[:])
		if l.First.LtUint64(next.Uint64()) {
			nonce := l.Key
			nonce.Lsh(&nonce, 64)
			used[l] = *nonce.Or(&nonce, next)
			n.pool.look(func(p *pool.Pool) { dead = append(dead, p.Below(l.EntryPoint.Address, l.Sender, used[l])...) })
		}
	}
	if logs := n.lookFor(ctx, at, dead); last() {
		n.announce(n.settleLogs(logs))
	}
	for l, nonce := range used {
		n.pool.do(func(p *pool.Pool) []pool.Removed {
			if !last() {
				return nil
			}
			return p.SetNonce(l.EntryPoint.Address, l.Sender, nonce, at.number())
		})
	}
}

// lookFor returns the events of operations, as far as the node has them.
func (n *Node) lookFor(ctx context.Context, at *head, hashes []common.Hash) (found []types.Log) {
	for some := range slices.Chunk(hashes, maxTopics) {
		logs, err := n.chain.LogsSince(ctx, at.number()-min(at.number(), n.config.LookupBlocks), n.entryPointAddresses(),
			[]common.Hash{entrypoint.TopicUserOperationEvent}, some)
		if err != nil {
			n.log.Warn("operations whose nonce is used could not be looked for", "operations", len(some), "err", err)
			continue
		}
		found = append(found, logs...)
	}
	return found
}

// outlived takes out operations that the second validation refused because their nonce is used: they did not fail, and nobody
// is to blame.
func (n *Node) outlived(ctx context.Context, removals []proposer.Removal, moves uint64) {
	var lanes []pool.Lane
	n.pool.look(func(p *pool.Pool) {
		for _, r := range removals {
			if r.Rejection == nil || r.Rejection.Kind != rejection.EntryPointRejected || entrypoint.AACode(r.Rejection.Message) != "AA25" {
				continue
			}
			if op := p.Get(r.Hash); op != nil {
				lanes = append(lanes, p.LaneOf(op))
			}
		}
	})
	n.reconcile(ctx, n.head.Load(), lanes, func() bool { return n.still(moves) })
}

// unblock takes dead operations out of an operation's way, if the pool refused it for its nonce.
func (n *Node) unblock(ctx context.Context, op *pool.Operation, err error, moves uint64) {
	r, refused := errors.AsType[*rejection.Rejection](err)
	if !refused || entrypoint.AACode(r.Message) != "AA25" {
		return
	}
	var lane pool.Lane
	n.pool.look(func(p *pool.Pool) { lane = p.LaneOf(op) })
	n.reconcile(ctx, n.head.Load(), []pool.Lane{lane}, func() bool { return n.still(moves) })
}
