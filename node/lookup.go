package node

import (
	"context"
	"encoding/json"
	"fmt"

	"baler/entrypoint"
	"baler/pool"
	"baler/rpc"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
)

// UserOperationByHash implements [rpc.Backend].
func (n *Node) UserOperationByHash(ctx context.Context, hash common.Hash) (*rpc.OperationInfo, error) {
	if info := n.pending(hash); info != nil {
		return info, nil
	}
	mined, err := n.find(ctx, hash)
	if err != nil || mined == nil {
		return nil, err
	}
	op, err := n.history.operation(hash, *mined)
	if err != nil {
		return nil, err
	}
	if op == nil {
		if op, err = n.readOperation(ctx, hash, mined); err != nil || op == nil {
			return nil, err
		}
	}
	return &rpc.OperationInfo{Op: op, EntryPoint: mined.entryPoint, Mined: &mined.inclusion}, nil
}

func (n *Node) pending(hash common.Hash) *rpc.OperationInfo {
	var waiting *pool.Operation
	n.pool.look(func(p *pool.Pool) { waiting = p.Get(hash) })
	if waiting == nil {
		return nil
	}
	return &rpc.OperationInfo{Op: waiting.Op, EntryPoint: waiting.EntryPoint.Address}
}

// find returns where an operation was mined: from the history, or else from the chain's logs. Nil: it was not, as far
// back as is looked.
func (n *Node) find(ctx context.Context, hash common.Hash) (*minedOperation, error) {
	if mined, ok := n.history.get(hash); ok {
		return &mined, nil
	}
	if stored, err := n.storedMined(hash); err != nil || stored != nil {
		return stored, err
	}
	at := n.head.Load()
	if at == nil {
		return nil, errNotReady
	}
	if n.pending(hash) != nil {
		return nil, nil
	}
	oldest := at.number() - min(at.number(), n.config.LookupBlocks)
	logs, err := n.chain.LogsSince(ctx, oldest, n.entryPointAddresses(), []common.Hash{entrypoint.TopicUserOperationEvent}, []common.Hash{hash})
	if err != nil {
		return nil, fmt.Errorf("look for operation %s in the logs: %w", hash, err)
	}
	if len(logs) == 0 {
		return nil, nil
	}
	log := logs[len(logs)-1]
	mined := minedOperation{entryPoint: log.Address, inclusion: rpc.Inclusion{
		BlockNumber: log.BlockNumber, BlockHash: log.BlockHash, TransactionHash: log.TxHash,
	}}
	return &mined, nil
}

// readOperation reads an operation that was never in our pool from the calldata of its bundle. Nil: the transaction is
// no plain call of the EntryPoint.
func (n *Node) readOperation(ctx context.Context, hash common.Hash, mined *minedOperation) (*userop.UserOperation, error) {
	var tx *struct {
		Input hexutil.Bytes   `json:"input"`
		To    *common.Address `json:"to"`
	}
	if err := n.chain.CallContext(ctx, &tx, "eth_getTransactionByHash", mined.inclusion.TransactionHash); err != nil {
		return nil, err
	}
	ep, ok := n.entryPoint(mined.entryPoint)
	if tx == nil || tx.To == nil || !ok || *tx.To != ep.Address {
		return nil, nil
	}
	ops, _, err := entrypoint.DecodeBundle(ep.Version, tx.Input)
	if err != nil {
		n.log.Info("a foreign bundle was not understood", "tx", mined.inclusion.TransactionHash, "err", err)
		return nil, nil
	}
	for _, op := range ops {
		delegate := op.Delegate()
		if op.IsEIP7702() {
			code, err := n.chain.Code(ctx, mined.inclusion.BlockHash, op.Sender)
			if err != nil {
				return nil, fmt.Errorf("code of %s: %w", op.Sender, err)
			}
			delegate, _ = types.ParseDelegation(code)
		}
		if op.Hash(ep.Address, n.config.ChainID, delegate) == hash {
			return op, nil
		}
	}
	return nil, nil
}

func (n *Node) entryPoint(address common.Address) (entrypoint.EntryPoint, bool) {
	for _, ep := range n.config.EntryPoints {
		if ep.Address == address {
			return ep, true
		}
	}
	return entrypoint.EntryPoint{}, false
}

// UserOperationReceipt implements [rpc.Backend].
func (n *Node) UserOperationReceipt(ctx context.Context, hash common.Hash) (*rpc.OperationReceipt, error) {
	mined, err := n.find(ctx, hash)
	if err != nil || mined == nil {
		return nil, err
	}
	var raw json.RawMessage
	if err := n.chain.CallContext(ctx, &raw, "eth_getTransactionReceipt", mined.inclusion.TransactionHash); err != nil {
		return nil, err
	}
	var receipt *types.Receipt
	if err := json.Unmarshal(raw, &receipt); err != nil {
		return nil, fmt.Errorf("receipt of %s: %w", mined.inclusion.TransactionHash, err)
	}
	if receipt == nil { // a reorg came between
		return nil, nil
	}
	for _, op := range entrypoint.SplitLogs(receipt.Logs, mined.entryPoint) {
		if op.Event.UserOpHash != hash {
			continue
		}
		return &rpc.OperationReceipt{
			UserOpHash: hash, EntryPoint: mined.entryPoint, Sender: op.Event.Sender, Nonce: op.Event.Nonce, Paymaster: op.Event.Paymaster,
			ActualGasCost: op.Event.ActualGasCost, ActualGasUsed: op.Event.ActualGasUsed, Success: op.Event.Success,
			Reason: op.Reason(), Logs: op.Logs, Receipt: raw,
		}, nil
	}
	return nil, nil
}
