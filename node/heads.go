package node

import (
	"context"
	"time"

	"baler/chain"
	"baler/entrypoint"
	"baler/event"
	"baler/pool"
	"baler/rpc"

	"github.com/cenkalti/backoff/v5"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// logsPatience is how long the logs of one block are asked for. Longer, and the block is gone or the node is: what the
// logs would have told is then read from the state.
const logsPatience = 20 * time.Second

// onUpdate takes one step of the chain: first the pool, then the senders, so that a bundle built at this head never
// holds an operation that the head has mined.
//
// An error is the end of the node: what it must keep could not be read back.
func (n *Node) onUpdate(ctx context.Context, update chain.Update) error {
	next, err := newHead(n.config, update.Head)
	if err != nil {
		n.log.Error("a head was not understood", "err", err)
		return nil
	}
	n.unmine(update.Removed)
	if n.interested() {
		logs, err := n.operationLogs(ctx, update.Head)
		if ctx.Err() != nil {
			return nil // the end, not the node's failure
		}
		if err != nil {
			n.log.Warn("logs of a block could not be read; the pool follows the nonces instead", "block", next.number(), "err", err)
			update.Gap = true
		}
		n.settleLogs(logs)
		if update.Gap {
			n.reconcile(ctx, next)
		}
	}
	n.head.Store(next)
	n.pool.do(func(p *pool.Pool) []pool.Removed {
		return p.Head(pool.Head{Number: next.number(), Timestamp: update.Head.Time, BaseFee: next.baseFee})
	})
	n.suspicion.forget(n.pool)
	n.sink(event.HeadSeen{Number: next.number(), Hash: update.Head.Hash(), Removed: len(update.Removed)})
	select {
	case <-n.started:
	default:
		if err := n.restore(ctx); err != nil {
			return err
		}
		close(n.started)
	}
	if next.number()%reputationBlocks == 0 {
		n.keepReputation()
	}
	for _, w := range n.workers {
		w.inbox.post(message{head: &update})
	}
	return nil
}

// interested reports whether a block's logs can matter: operations wait here, or were mined not long ago.
func (n *Node) interested() bool {
	var waiting int
	n.pool.look(func(p *pool.Pool) { waiting = p.Len() })
	return waiting > 0
}

// unmine takes back what the blocks that left the chain had settled.
func (n *Node) unmine(removed []*types.Header) {
	if len(removed) == 0 {
		return
	}
	lowest := removed[len(removed)-1].Number.Uint64()
	for _, header := range removed {
		n.history.unmine(header.Hash())
	}
	var revived []*pool.Operation
	n.pool.do(func(p *pool.Pool) (gone []pool.Removed) {
		revived, gone = p.Reorg(lowest-1, removed[0].Number.Uint64()+claimBlocks)
		return gone
	})
	n.forgetMined(removed, revived)
	for _, op := range revived {
		n.sink(event.OperationRevived{Hash: op.Hash})
	}
}

// operationLogs reads the UserOperationEvents of a block, and asks again while the node fails.
func (n *Node) operationLogs(ctx context.Context, block *types.Header) ([]types.Log, error) {
	return backoff.Retry(ctx, func() ([]types.Log, error) {
		return n.chain.LogsOf(ctx, block.Hash(), n.entryPointAddresses(), []common.Hash{entrypoint.TopicUserOperationEvent})
	}, backoff.WithMaxElapsedTime(logsPatience))
}

func (n *Node) entryPointAddresses() []common.Address {
	addresses := make([]common.Address, len(n.config.EntryPoints))
	for i, ep := range n.config.EntryPoints {
		addresses[i] = ep.Address
	}
	return addresses
}

// settleLogs takes mined operations out of the pool, whoever bundled them, and remembers where they are.
func (n *Node) settleLogs(logs []types.Log) {
	for i := range logs {
		log := &logs[i]
		mined, err := entrypoint.ParseUserOperationEvent(log)
		if err != nil {
			n.log.Warn("an operation event was not understood", "tx", log.TxHash, "err", err)
			continue
		}
		record := minedOperation{entryPoint: log.Address, inclusion: rpc.Inclusion{
			BlockNumber: log.BlockNumber, BlockHash: log.BlockHash, TransactionHash: log.TxHash,
		}}
		var ours *pool.Operation
		n.pool.do(func(p *pool.Pool) []pool.Removed {
			if ours = p.Get(mined.UserOpHash); ours != nil {
				record.op = ours.Op
			}
			return p.Mined(pool.Inclusion{
				EntryPoint: log.Address, Sender: mined.Sender, Nonce: mined.Nonce, Hash: mined.UserOpHash, Block: log.BlockNumber,
			})
		})
		n.history.add(mined.UserOpHash, record)
		n.rememberMined(mined.UserOpHash, record, ours)
		if record.op != nil {
			n.sink(event.OperationMined{
				Hash: mined.UserOpHash, Tx: log.TxHash, Block: log.BlockNumber, Success: mined.Success,
				GasUsed: mined.ActualGasUsed, GasCost: mined.ActualGasCost,
			})
		}
	}
}

// reconcile asks the state for every pending operation's nonce, in one batch: whatever logs were missed, the chain's
// nonce is the truth.
func (n *Node) reconcile(ctx context.Context, at *head) {
	type lane struct {
		ep     entrypoint.EntryPoint
		sender common.Address
		key    uint256.Int
	}
	lanes := make(map[lane]struct{})
	slots := make(map[common.Address][]common.Hash)
	n.pool.look(func(p *pool.Pool) {
		for _, ep := range n.config.EntryPoints {
			for _, op := range p.Dump(ep.Address) {
				l := lane{ep, op.Op.Sender, op.Op.NonceKey()}
				if _, known := lanes[l]; !known {
					lanes[l] = struct{}{}
					slots[ep.Address] = append(slots[ep.Address], entrypoint.NonceSlot(ep.Version, l.sender, l.key))
				}
			}
		}
	})
	view := n.source.View(at.header)
	if err := view.Prefetch(ctx, nil, slots); err != nil {
		n.log.Warn("nonces of pending operations could not be read", "err", err)
		return
	}
	for l := range lanes {
		word, err := view.Storage(ctx, l.ep.Address, entrypoint.NonceSlot(l.ep.Version, l.sender, l.key))
		if err != nil {
			continue // it was prefetched; the next gap asks again
		}
		nonce := l.key
		nonce.Lsh(&nonce, 64)
		nonce.Or(&nonce, new(uint256.Int).SetBytes(word[:]))
		n.pool.do(func(p *pool.Pool) []pool.Removed { return p.SetNonce(l.ep.Address, l.sender, nonce, at.number()) })
	}
}

// accounting is what a mined transaction cost and earned.
func (n *Node) accounting(key common.Address, receipt *types.Receipt, operations int) event.BundleMined {
	mined := event.BundleMined{
		Signer: key, Tx: receipt.TxHash, Block: receipt.BlockNumber.Uint64(), Operations: operations,
		Success: receipt.Status == types.ReceiptStatusSuccessful, GasUsed: receipt.GasUsed,
	}
	if receipt.EffectiveGasPrice != nil {
		price, _ := uint256.FromBig(receipt.EffectiveGasPrice)
		mined.Cost.Mul(price, uint256.NewInt(receipt.GasUsed))
	}
	for _, log := range receipt.Logs {
		if e, err := entrypoint.ParseUserOperationEvent(log); err == nil && n.serves(log.Address) {
			mined.Earned.Add(&mined.Earned, &e.ActualGasCost)
		}
	}
	return mined
}

func (n *Node) serves(address common.Address) bool {
	for _, ep := range n.config.EntryPoints {
		if ep.Address == address {
			return true
		}
	}
	return false
}
