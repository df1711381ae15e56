package chain

import (
	"context"
	"strconv"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
)

// PendingTransaction waits in the node's pool. Hash and fees are zero where the node does not tell them.
type PendingTransaction struct {
	Nonce       uint64
	Hash        common.Hash
	MaxFee      uint256.Int // wei per gas
	MaxPriority uint256.Int // wei per gas
}

// maxPending bounds how many transactions of one account are looked at.
const maxPending = 1024

// Pending returns the account's transactions that wait in the node's pool, by nonce. That there are some is told by
// eth_getTransactionCount; what they are, by txpool_contentFrom where the node has it.
func (c *Client) Pending(ctx context.Context, account common.Address) ([]PendingTransaction, error) {
	var latest, pending hexutil.Uint64
	batch := []rpc.BatchElem{
		{Method: "eth_getTransactionCount", Args: []any{account, "latest"}, Result: &latest},
		{Method: "eth_getTransactionCount", Args: []any{account, "pending"}, Result: &pending},
	}
	if err := c.BatchCallContext(ctx, batch); err != nil {
		return nil, err
	}
	for _, element := range batch {
		if element.Error != nil {
			return nil, c.clean(element.Method, element.Error)
		}
	}
	if pending <= latest {
		return nil, nil
	}
	var content struct {
		Pending map[string]struct {
			Hash        common.Hash   `json:"hash"`
			GasPrice    *hexutil.U256 `json:"gasPrice"`
			MaxFee      *hexutil.U256 `json:"maxFeePerGas"`
			MaxPriority *hexutil.U256 `json:"maxPriorityFeePerGas"`
		} `json:"pending"`
	}
	if err := c.CallContext(ctx, &content, "txpool_contentFrom", account); err != nil && !Answered(err) {
		return nil, err
	}
	var list []PendingTransaction
	for nonce := uint64(latest); nonce < uint64(pending) && len(list) < maxPending; nonce++ {
		tx := PendingTransaction{Nonce: nonce}
		if found, ok := content.Pending[strconv.FormatUint(nonce, 10)]; ok {
			tx.Hash = found.Hash
			tx.MaxFee, tx.MaxPriority = first(found.MaxFee, found.GasPrice), first(found.MaxPriority, found.GasPrice)
		}
		list = append(list, tx)
	}
	return list, nil
}

// first returns the first amount that is there: a legacy transaction's gas price is both of its fees.
func first(amounts ...*hexutil.U256) uint256.Int {
	for _, amount := range amounts {
		if amount != nil {
			return uint256.Int(*amount)
		}
	}
	return uint256.Int{}
}
