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

// nodeRun is a run of the operations that are left by the node's eth_call at the view's block.
type nodeRun struct {
	kind   bundleKind
	spared bool // the node is not to be asked
	ask    func() error
	cancel context.CancelFunc // of a call that is under way; nil: none is
	wait   func()
	err    error // of that call, when it has ended

	answerer func() string // which of several nodes has answered
}

// startAtNode has the node run the operations that are left while they run here, if that can be, and else when it is waited for.
// If it is to be asked at all: see checked.
func (w *wholeBundle) startAtNode(ctx context.Context) (*nodeRun, error) {
	kind, err := w.kind()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	asking, answerer := w.v.answerer(ctx)
	msg := call{
		From: w.From, To: w.EntryPoint.Address, Gas: hexutil.Uint64(w.gasLimit()),
		Input:          w.calldata(),
		Authorizations: w.Authorizations,
	}
	r := &nodeRun{kind: kind, spared: !w.checked(kind), cancel: cancel, answerer: answerer, ask: func() error {
		var ret hexutil.Bytes
		return w.view.Ask(asking, &ret, "eth_call", msg)
	}}
	if beside := w.v.cfg.Beside; beside != nil && !r.spared {
		r.wait = beside(func() { r.err = r.ask() })
	}
	return r, nil
}

// answer waits for the end of the call.
func (r *nodeRun) answer() error {
	if r.wait == nil {
		return r.ask()
	}
	r.wait()
	return r.err
}

// end ends a call that nobody has waited for, because the run here has failed.
func (r *nodeRun) end() {
	if r.cancel != nil {
		r.cancel()
	}
	if r.wait != nil {
		r.wait()
	}
}

// askNode waits for the node's run of the operations that are left, if it is to be asked. It returns the operation that the
// node's EntryPoint refuses, if it refuses one. Since the local run has passed, that is a disagreement, except over time:
// the node's call runs in the head's block, the local one in the next.
func (w *wholeBundle) askNode(r *nodeRun, run bundleRun) (int, *Refusal, error) {
	if w.v.cfg.NodeCheck == NodeCheckNever || r.spared && !w.undecided(run) {
		w.v.bundleChecks.spared(r.kind)
		return 0, nil, nil
	}
	ops := w.ops()
	err := r.answer()
	if err == nil {
		w.v.bundleChecks.answered()
		if w.Block == nil {
			w.v.bundleChecks.agreed(r.kind)
		}
		return 0, nil, nil
	}
	data, reverted := revertData(err)
	if !reverted {
		return 0, nil, fmt.Errorf("eth_call of the bundle: %w", err)
	}
	w.v.bundleChecks.answered()
	disagree := func() {
		w.v.disagree(w.view, w.EntryPoint, ops, Disagreement{
			What: "outcome of a bundle", Local: "success", Node: entrypoint.RevertReason(data), AskedAt: r.answerer(),
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
