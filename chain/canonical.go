package chain

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"
)

// Canonical returns, in one round trip, the hashes of the canonical blocks with these numbers, as the node sees the chain
// now. A block that it does not have, because it is behind or the chain has become shorter, has the zero hash.
func (c *Client) Canonical(ctx context.Context, numbers []uint64) ([]common.Hash, error) {
	if len(numbers) == 0 {
		return nil, nil
	}
	blocks := make([]*struct {
		Hash common.Hash `json:"hash"`
	}, len(numbers))
	batch := make([]rpc.BatchElem, len(numbers))
	for i, number := range numbers {
		batch[i] = rpc.BatchElem{Method: "eth_getBlockByNumber", Args: []any{hexutil.Uint64(number), false}, Result: &blocks[i]}
	}
	if err := c.BatchCallContext(ctx, batch); err != nil {
		return nil, err
	}
	hashes := make([]common.Hash, len(numbers))
	for i, element := range batch {
		if element.Error != nil {
			return nil, fmt.Errorf("block %d: %w", numbers[i], c.clean(element.Method, element.Error))
		}
		if blocks[i] != nil {
			hashes[i] = blocks[i].Hash
		}
	}
	return hashes, nil
}
