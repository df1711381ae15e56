package node

import (
	"context"
	"fmt"
	"sync"

	"baler/event"
	"baler/funding"
	"baler/gas"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// smallBundleGas is about what a bundle of one simple operation takes. A key that does not pay for that much sends nothing.
const smallBundleGas = 300_000

// balances are the keys' balances at the last block at which somebody asked for them. Bundle senders read theirs when they
// propose; an idle one reads nothing, so whoever shows balances reads them: once for a block, for all keys in one round trip.
type balances struct {
	reading sync.Mutex // of one reader; others take what was read before

	mu sync.Mutex
	at common.Hash
	by map[common.Address]uint256.Int
}

// Balances returns the balances of the keys that are held here, in wei, as far as they could be read.
func (n *Node) Balances(ctx context.Context) map[common.Address]uint256.Int {
	at := n.head.Load()
	b := &n.balances
	if at != nil && !b.read(at.header.Hash()) && b.reading.TryLock() {
		defer b.reading.Unlock()
		if by := n.readBalances(ctx, at); by != nil {
			b.mu.Lock()
			b.at, b.by = at.header.Hash(), by
			b.mu.Unlock()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.by // is not changed any more
}

// read reports whether the balances at a block are there.
func (b *balances) read(block common.Hash) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.by != nil && b.at == block
}

// readBalances reads all balances at a head, and tells of them; nil if the node does not answer.
func (n *Node) readBalances(ctx context.Context, at *head) map[common.Address]uint256.Int {
	workers := n.keys.all()
	keys := make([]common.Address, len(workers))
	for i, w := range workers {
		keys[i] = w.key.Address()
	}
	list, err := funding.Balances(ctx, n.chain, at.header.Hash(), keys)
	if err != nil {
		return nil
	}
	by := make(map[common.Address]uint256.Int, len(keys))
	for i, key := range keys {
		by[key] = list[i]
		n.sink(event.BalanceSeen{Signer: key, Balance: list[i], Block: at.number()})
	}
	return by
}

// bundleCost is what a bundle of so much gas may cost at the next base fee, in wei.
func (n *Node) bundleCost(at *head, bundleGas uint64) uint256.Int {
	c := &n.config.Proposer
	fees := gas.BundleFees(at.baseFee, n.config.MinPriorityFee, gas.Fees{}, c.BaseFeeOverheadPercent, c.PriorityFeeOverheadPercent)
	return gas.Cost(bundleGas, fees.MaxFee)
}

// checkFunds: every key pays for a bundle. None says that no key does, so that nothing can be sent. A balance that cannot be
// read is no verdict: the check of the head says what is wrong then.
func (n *Node) checkFunds(ctx context.Context) (none bool, err error) {
	at := n.head.Load()
	if at == nil {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	cost := n.bundleCost(at, smallBundleGas)
	rich := 0
	for key, balance := range n.Balances(ctx) {
		switch {
		case !balance.Lt(&cost):
			rich++
		case err == nil:
			err = fmt.Errorf("the key of bundle sender %s has %s wei: a bundle of one operation may cost %s", key, balance.Dec(), cost.Dec())
		}
	}
	return err != nil && rich == 0, err
}
