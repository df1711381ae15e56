package aggregator

import (
	"context"
	"fmt"

	"baler/entrypoint"
	"baler/gas"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
)

// Contract serves an aggregator by asking the contract itself, whatever its signatures are. Each question is one
// eth_call.
type Contract struct {
	address common.Address
	version userop.Version
	cost    gas.Aggregation
	node    Node
}

// NewContract returns the aggregator at the address, for operations of the version. cost is what its check costs a
// bundle; nobody can ask a contract for that.
func NewContract(address common.Address, v userop.Version, cost gas.Aggregation, node Node) *Contract {
	return &Contract{address: address, version: v, cost: cost, node: node}
}

// Address implements [Aggregator].
func (c *Contract) Address() common.Address { return c.address }

// Gas implements [Aggregator].
func (c *Contract) Gas() gas.Aggregation { return c.cost }

// ValidateUserOpSignature implements [Aggregator].
func (c *Contract) ValidateUserOpSignature(ctx context.Context, block common.Hash, op *userop.UserOperation) ([]byte, error) {
	return c.ask(ctx, block, encodeValidateUserOpSignature(op))
}

// AggregateSignatures implements [Aggregator].
func (c *Contract) AggregateSignatures(ctx context.Context, block common.Hash, ops []*userop.UserOperation) ([]byte, error) {
	return c.ask(ctx, block, encodeAggregateSignatures(c.version, ops))
}

// ValidateSignatures implements [Aggregator].
func (c *Contract) ValidateSignatures(ctx context.Context, block common.Hash, ops []*userop.UserOperation, signature []byte) error {
	_, err := c.call(ctx, block, encodeValidateSignatures(c.version, ops, signature))
	return err
}

// ask calls a function that returns bytes.
func (c *Contract) ask(ctx context.Context, block common.Hash, input []byte) ([]byte, error) {
	ret, err := c.call(ctx, block, input)
	if err != nil {
		return nil, err
	}
	answer, ok := decodeBytes(ret)
	if !ok {
		return nil, fmt.Errorf("aggregator %s: it answers %d bytes that are no bytes value: it is not an aggregator at block %s", c.address, len(ret), block)
	}
	return answer, nil
}

// call calls the contract; a revert is a rejection.
func (c *Contract) call(ctx context.Context, block common.Hash, input []byte) ([]byte, error) {
	ret, err := call(ctx, c.node, block, c.address, input)
	if err == nil {
		return ret, nil
	}
	if data, ok := isRevert(err); ok {
		return nil, refuse(c.address, "%s", entrypoint.RevertReason(data))
	}
	return nil, fmt.Errorf("aggregator %s: %w", c.address, err)
}
