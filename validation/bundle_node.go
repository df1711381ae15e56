package validation

import (
	"context"
	"errors"
	"fmt"

	"baler/entrypoint"
	"baler/erc7562"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"
)

// call is the transaction object of eth_call. It names no fees: the balance of the sender then does not matter.
type call struct {
	From           common.Address               `json:"from"`
	To             common.Address               `json:"to"`
	Gas            hexutil.Uint64               `json:"gas"`
	Input          hexutil.Bytes                `json:"input"`
	Authorizations []types.SetCodeAuthorization `json:"authorizationList,omitempty"`
}

// askNode runs the operations that are left by the node's eth_call at the view's block. It returns the operation the
// node's EntryPoint refuses, if it refuses one. Since the local run has passed, that is a disagreement, except over time:
// the node's call runs in the head's block, the local one in the next.
func (w *wholeBundle) askNode(ctx context.Context, gasLimit uint64) (int, *Refusal, error) {
	ops := w.ops()
	msg := call{
		From: w.From, To: w.EntryPoint.Address, Gas: hexutil.Uint64(gasLimit),
		Input:          w.calldata(),
		Authorizations: w.Authorizations,
	}
	var ret hexutil.Bytes
	asking, answerer := w.v.answerer(ctx)
	err := w.view.Ask(asking, &ret, "eth_call", msg)
	if err == nil {
		return 0, nil, nil
	}
	data, reverted := revertData(err)
	if !reverted {
		return 0, nil, fmt.Errorf("eth_call of the bundle: %w", err)
	}
	disagree := func() {
		w.v.disagree(w.view, w.EntryPoint, ops, Disagreement{
			What: "outcome of a bundle", Local: "success", Node: entrypoint.RevertReason(data), AskedAt: answerer(),
		})
	}
	var index uint64
	switch revert := entrypoint.DecodeRevert(data).(type) {
	case entrypoint.FailedOp:
		index = revert.OpIndex
	case entrypoint.FailedOpWithRevert:
		index = revert.OpIndex
	default:
		disagree()
		return 0, nil, fmt.Errorf("%w: %s", ErrNodeDisagrees, revert)
	}
	if len(w.Groups) > 1 {
		// Up to v0.8 the EntryPoint counts within the group, and does not say which.
		disagree()
		return 0, nil, fmt.Errorf("%w: an operation of a bundle with aggregators: %s", ErrNodeDisagrees, entrypoint.RevertReason(data))
	}
	if index >= uint64(len(ops)) {
		disagree()
		return 0, nil, fmt.Errorf("%w: it blames operation %d of %d", ErrNodeDisagrees, index, len(ops))
	}
	refused := RefusalOf(ops[index], data, erc7562.Sender, true)
	switch entrypoint.AACode(refused.Message) {
	case "AA95":
		return 0, nil, fmt.Errorf("%w: %s", ErrBundleGas, refused.Message)
	case "AA22", "AA32":
	default:
		disagree()
	}
	return int(index), refused, nil
}

// revertData returns the revert data in a node's answer to eth_call.
func revertData(err error) ([]byte, bool) {
	var withData rpc.DataError
	if !errors.As(err, &withData) {
		return nil, false
	}
	text, ok := withData.ErrorData().(string)
	if !ok {
		return nil, false
	}
	data, err := hexutil.Decode(text)
	return data, err == nil
}
