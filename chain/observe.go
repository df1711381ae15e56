package chain

import (
	"context"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
)

// Observation is what a block says about one key and its transactions.
type Observation struct {
	Nonce    uint64                   // of the account, after the block
	Receipts map[common.Hash]*Receipt // of those transactions that are mined
	Known    map[common.Hash]bool     // the node still knows the transaction, mined or pending
}

// Observe asks in one round trip for the account's nonce after the block and for each transaction's receipt. Only about those that have
// none it asks in a second one whether the node knows them: most have one at the first head after they were sent, and a
// bundle's answer is as long as the bundle.
func (c *Client) Observe(ctx context.Context, block common.Hash, account common.Address, transactions []common.Hash) (*Observation, error) {
	var nonce hexutil.Uint64
	receipts := make([]*Receipt, len(transactions))
	batch := []rpc.BatchElem{{Method: "eth_getTransactionCount", Args: []any{account, AtHash(block)}, Result: &nonce}}
	for i, hash := range transactions {
		batch = append(batch, rpc.BatchElem{Method: "eth_getTransactionReceipt", Args: []any{hash}, Result: &receipts[i]})
	}
	if err := c.askAll(ctx, batch); err != nil {
		return nil, err
	}
	o := &Observation{Nonce: uint64(nonce), Receipts: map[common.Hash]*Receipt{}, Known: map[common.Hash]bool{}}
	var missing []common.Hash
	for i, hash := range transactions {
		if receipts[i] == nil {
			missing = append(missing, hash)
			continue
		}
		o.Receipts[hash], o.Known[hash] = receipts[i], true
	}
	if err := c.askKnown(ctx, missing, o.Known); err != nil {
		return nil, err
	}
	return o, nil
}

// askKnown notes which of the transactions the node knows.
func (c *Client) askKnown(ctx context.Context, transactions []common.Hash, known map[common.Hash]bool) error {
	answers := make([]*struct {
		Hash common.Hash `json:"hash"`
	}, len(transactions))
	batch := make([]rpc.BatchElem, len(transactions))
	for i, hash := range transactions {
		batch[i] = rpc.BatchElem{Method: "eth_getTransactionByHash", Args: []any{hash}, Result: &answers[i]}
	}
	if err := c.askAll(ctx, batch); err != nil {
		return err
	}
	for i, hash := range transactions {
		known[hash] = answers[i] != nil
	}
	return nil
}

// askAll sends a batch of which every request must be answered.
func (c *Client) askAll(ctx context.Context, batch []rpc.BatchElem) error {
	if err := c.BatchCallContext(ctx, batch); err != nil {
		return err
	}
	for _, element := range batch {
		if element.Error != nil {
			return c.clean(element.Method, element.Error)
		}
	}
	return nil
}

// ChainID asks the node for the chain's id (EIP-155).
func (c *Client) ChainID(ctx context.Context) (uint64, error) {
	var id hexutil.Uint64
	if err := c.CallContext(ctx, &id, "eth_chainId"); err != nil {
		return 0, err
	}
	return uint64(id), nil
}

// Code returns the code at an address after a block; the zero hash stands for the latest block.
func (c *Client) Code(ctx context.Context, block common.Hash, account common.Address) ([]byte, error) {
	var at any = "latest"
	if block != (common.Hash{}) {
		at = AtHash(block)
	}
	var code hexutil.Bytes
	if err := c.CallContext(ctx, &code, "eth_getCode", account, at); err != nil {
		return nil, err
	}
	return code, nil
}

// Balance returns an account's balance after a block, in wei.
func (c *Client) Balance(ctx context.Context, block common.Hash, account common.Address) (*uint256.Int, error) {
	var balance hexutil.U256
	if err := c.CallContext(ctx, &balance, "eth_getBalance", account, AtHash(block)); err != nil {
		return nil, err
	}
	return (*uint256.Int)(&balance), nil
}

// LogsOf returns the logs of one block that match the addresses and topics (as eth_getLogs has them).
func (c *Client) LogsOf(ctx context.Context, block common.Hash, addresses []common.Address, topics ...[]common.Hash) ([]types.Log, error) {
	return c.logs(ctx, map[string]any{"blockHash": block, "address": addresses, "topics": topics})
}

// LogsSince returns the matching logs from a block's number up to the latest block.
func (c *Client) LogsSince(ctx context.Context, block uint64, addresses []common.Address, topics ...[]common.Hash) ([]types.Log, error) {
	return c.logs(ctx, map[string]any{"fromBlock": hexutil.Uint64(block), "toBlock": "latest", "address": addresses, "topics": topics})
}

func (c *Client) logs(ctx context.Context, filter map[string]any) ([]types.Log, error) {
	var logs []types.Log
	if err := c.CallContext(ctx, &logs, "eth_getLogs", filter); err != nil {
		return nil, err
	}
	return logs, nil
}

// AtHash pins a state request to a block by its hash, as EIP-1898 writes it.
func AtHash(block common.Hash) map[string]any { return map[string]any{"blockHash": block} }
