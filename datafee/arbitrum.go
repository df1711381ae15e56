package datafee

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"baler/evm"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rpc"
)

// nodeInterface is no contract: an Arbitrum node answers calls of it by itself.
var nodeInterface = common.HexToAddress("0x00000000000000000000000000000000000000C8")

// arbitrumAnswer is what the node says of a transaction.
type arbitrumAnswer struct{ output hexutil.Bytes }

// callMessage is the transaction object of eth_call.
type callMessage struct {
	To    common.Address `json:"to"`
	Input hexutil.Bytes  `json:"input"`
}

// authorizationBytes is about what an EIP-7702 tuple adds to a transaction: NodeInterface is asked about calldata alone,
// and gets so many bytes more.
const authorizationBytes = 130

// nodeInterfaceCall is NodeInterface.gasEstimateL1Component(to, contractCreation, data): the gas that the transaction pays
// for its data.
func nodeInterfaceCall(tx Transaction) callMessage {
	input := crypto.Keccak256([]byte("gasEstimateL1Component(address,bool,bytes)"))[:4]
	input = append(input, common.LeftPadBytes(tx.To[:], 32)...)
	input = append(input, make([]byte, 32)...)
	data := slices.Clip(tx.Data)
	for i := range tx.Authorizations {
		data = append(data, filler(authorizationBytes, byte(i))...)
	}
	rest := abiBytes(data)
	rest[31] = 96 // it is the third argument
	return callMessage{To: nodeInterface, Input: append(input, rest...)}
}

func (q *Quote) arbitrumCost(ctx context.Context, view *evm.View) (Cost, error) {
	question := q.questions[0]
	if !question.Answered() {
		question.Err = view.Ask(ctx, question.Result, question.Method, question.Args...)
	}
	if _, refused := errors.AsType[rpc.Error](question.Err); refused {
		return Cost{}, fmt.Errorf("%w at %s: gasEstimateL1Component: %w", ErrNoOracle, nodeInterface, question.Err)
	} else if question.Err != nil {
		return Cost{}, fmt.Errorf("gasEstimateL1Component: %w", question.Err)
	}
	output := q.arbitrum.output
	if len(output) != 96 { // gasEstimateForL1, baseFee, l1BaseFeeEstimate
		return Cost{}, fmt.Errorf("%w at %s: gasEstimateL1Component: have %d bytes, want 96", ErrNoOracle, nodeInterface, len(output))
	}
	var estimate uint64
	for _, b := range output[:32] {
		if bits.LeadingZeros64(estimate) < 8 {
			return Cost{}, fmt.Errorf("%w at %s: gasEstimateL1Component: have %#x gas, want 64 bits", ErrNoOracle, nodeInterface, []byte(output[:32]))
		}
		estimate = estimate<<8 | uint64(b)
	}
	return Cost{Gas: estimate}, nil
}
