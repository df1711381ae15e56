package validation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"baler/entrypoint"
	"baler/evm"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"
)

// Disagreement is a difference between what the local EVM and the node's say of the same call on the same state: the
// chain's rules are not those that the local EVM has, or the node lies.
type Disagreement struct {
	BlockHash   common.Hash
	BlockNumber uint64
	EntryPoint  common.Address
	Ops         []common.Hash // the operations that were run
	What        string        // outcome, return data, gas used or logs
	Local, Node string        // what either says
	AskedAt     string        // which of several nodes was asked; empty: not known
}

// String says it in one line.
func (d Disagreement) String() string {
	return fmt.Sprintf("block %d: %s: have %s locally, %s at the node", d.BlockNumber, d.What, d.Local, d.Node)
}

// selfCheck decides which operations are run at the node too, and knows how. It is safe for concurrent use.
type selfCheck struct {
	passed   atomic.Bool   // a first comparison was made
	count    atomic.Uint64 // operations since
	simulate atomic.Int32  // whether the node has eth_simulateV1: 0 not known, 1 yes, -1 no
}

// due reports whether the operation that was just validated is to be compared: the first one ever, then one in every.
func (c *selfCheck) due(every int) bool {
	if every < 0 {
		return false
	}
	return !c.passed.Load() || c.count.Add(1)%uint64(every) == 0
}

// checkSample compares an operation that has just passed with what the node says of it, if its turn has come. It reports
// whether the result is void, because validation has now been given to the node's tracer. The node's trouble with the
// comparison is none of the operation's: another one will be compared.
func (v *Validator) checkSample(ctx context.Context, head *types.Header, ep entrypoint.EntryPoint, op *userop.UserOperation) bool {
	if v.tracing.Load() || !v.check.due(v.cfg.SampleEvery) {
		return false
	}
	if _, err := v.SelfCheck(ctx, head, ep, op); err != nil {
		return false
	}
	return v.tracing.Load()
}

// SelfCheck runs the operation's whole handleOps on the state of the head's block here and at the node, and returns how
// the two differ, nil if they don't: in return data, gas and logs where the node has eth_simulateV1, in success and
// return data where it has eth_call alone. A disagreement is reported to Config.OnDisagreement too, and with
// [TracingFallback] validation is the node's tracer's from then on. An error is the node's trouble.
//
// [Validator.Validate] does this by itself for the first operation that passes and for one in Config.SampleEvery.
func (v *Validator) SelfCheck(ctx context.Context, head *types.Header, ep entrypoint.EntryPoint, op *userop.UserOperation) (*Disagreement, error) {
	view := v.source.View(head)
	d, err := v.compareWithNode(ctx, view, v.message(ep, op))
	if err != nil {
		return nil, fmt.Errorf("self-check: %w", err)
	}
	v.check.passed.Store(true)
	if d.What == "" {
		if v.cfg.OnAgreement != nil {
			v.cfg.OnAgreement(d.AskedAt, head.Number.Uint64())
		}
		return nil, nil
	}
	d = v.disagree(view, ep, []*userop.UserOperation{op}, d)
	return &d, nil
}

// disagree reports a disagreement, and draws the consequences: the node is asked for every bundle from now on; what the local
// EVM said so far is forgotten, and what it would say is no longer asked, if the node can trace.
func (v *Validator) disagree(view *evm.View, ep entrypoint.EntryPoint, ops []*userop.UserOperation, d Disagreement) Disagreement {
	d.BlockHash, d.BlockNumber, d.EntryPoint = view.Hash(), view.Header().Number.Uint64(), ep.Address
	d.Local, d.Node = shortened(d.Local), shortened(d.Node)
	for _, op := range ops {
		d.Ops = append(d.Ops, op.Hash(ep.Address, v.chainID, op.Delegate()))
	}
	v.bundleChecks.disagreed()
	if v.cfg.Tracing == TracingFallback {
		v.tracing.Store(true)
		v.memo.forget()
	}
	if v.cfg.OnDisagreement != nil {
		v.cfg.OnDisagreement(d)
	}
	return d
}

// Tracing reports whether operations are validated by the node's tracer.
func (v *Validator) Tracing() bool { return v.tracing.Load() }

func shortened(s string) string {
	const most = 400
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// nodeOutcome is what a call did.
type nodeOutcome struct {
	ok      bool
	data    []byte
	gasUsed uint64
	logs    []*types.Log
}

// compareWithNode runs a message here and at the node, and says which node that was. What differs is in What, Local and Node;
// What is empty if nothing does.
func (v *Validator) compareWithNode(ctx context.Context, view *evm.View, msg evm.Message) (d Disagreement, err error) {
	asking, answerer := v.answerer(ctx)
	block := evm.AfterHeader(v.source.Config(), view.Header())
	theirs, err := v.simulateAtNode(asking, view, msg, block)
	full := err == nil
	if errors.Is(err, errNoSimulate) {
		block = evm.AtHeader(v.source.Config(), view.Header())
		theirs, err = callNode(asking, view, msg)
	}
	d.AskedAt = answerer()
	if err != nil {
		return d, err
	}
	ours, err := runMessage(ctx, view, msg, block)
	if err != nil {
		return d, err
	}
	switch {
	case ours.ok != theirs.ok:
		d.What, d.Local, d.Node = "outcome", outcomeText(ours), outcomeText(theirs)
	case !bytes.Equal(ours.data, theirs.data):
		d.What, d.Local, d.Node = "return data", hexutil.Encode(ours.data), hexutil.Encode(theirs.data)
	case full && ours.gasUsed != theirs.gasUsed:
		d.What, d.Local, d.Node = "gas used", fmt.Sprint(ours.gasUsed), fmt.Sprint(theirs.gasUsed)
	case full && !slices.EqualFunc(ours.logs, theirs.logs, sameLog):
		d.What, d.Local, d.Node = "logs", logsText(ours.logs), logsText(theirs.logs)
	}
	return d, nil
}

// answerer prepares a context to ask the node with, and tells afterwards which of several it was.
func (v *Validator) answerer(ctx context.Context) (asking context.Context, answerer func() string) {
	if v.cfg.Answerer == nil {
		return ctx, func() string { return "" }
	}
	return v.cfg.Answerer(ctx)
}

func outcomeText(o nodeOutcome) string {
	if o.ok {
		return "success"
	}
	return "revert " + entrypoint.RevertReason(o.data)
}

func sameLog(a, b *types.Log) bool {
	return a.Address == b.Address && slices.Equal(a.Topics, b.Topics) && bytes.Equal(a.Data, b.Data)
}

func logsText(logs []*types.Log) string {
	var text []byte
	for _, log := range logs {
		text = fmt.Appendf(text, "[%s %v %x]", log.Address, log.Topics, log.Data)
	}
	return string(text)
}

func runMessage(ctx context.Context, view *evm.View, msg evm.Message, block evm.Block) (nodeOutcome, error) {
	var o nodeOutcome
	opts := evm.RunOptions{Block: &block, Origin: msg.From, Overrides: evm.Overrides{msg.From: {Nonce: new(uint64)}}}
	err := view.Execute(ctx, opts, func(r *evm.Run) error {
		outcome, err := r.Apply(msg, nil)
		if err != nil {
			return err
		}
		o = nodeOutcome{ok: outcome.Err == nil, data: outcome.Return, gasUsed: outcome.GasUsed, logs: outcome.Logs}
		return nil
	})
	return o, err
}

func callOf(msg evm.Message) call {
	return call{From: msg.From, To: msg.To, Gas: hexutil.Uint64(msg.Gas), Input: msg.Data, Authorizations: msg.Authorizations}
}

// callNode runs a message by eth_call.
func callNode(ctx context.Context, view *evm.View, msg evm.Message) (nodeOutcome, error) {
	var ret hexutil.Bytes
	err := view.Ask(ctx, &ret, "eth_call", callOf(msg))
	if err == nil {
		return nodeOutcome{ok: true, data: ret}, nil
	}
	if data, reverted := revertData(err); reverted {
		return nodeOutcome{data: data}, nil
	}
	return nodeOutcome{}, fmt.Errorf("eth_call: %w", err)
}

// errNoSimulate says that the node has no eth_simulateV1.
var errNoSimulate = errors.New("no eth_simulateV1")

// simulated is a block in the answer of eth_simulateV1.
type simulatedBlock struct {
	Calls []struct {
		ReturnData hexutil.Bytes  `json:"returnData"`
		GasUsed    hexutil.Uint64 `json:"gasUsed"`
		Status     hexutil.Uint64 `json:"status"`
		Logs       []*struct {
			Address common.Address `json:"address"`
			Topics  []common.Hash  `json:"topics"`
			Data    hexutil.Bytes  `json:"data"`
		} `json:"logs"`
		Error *struct {
			Data hexutil.Bytes `json:"data"`
		} `json:"error"`
	} `json:"calls"`
}

// simulateAtNode runs a message by eth_simulateV1, in a block like the local one.
func (v *Validator) simulateAtNode(ctx context.Context, view *evm.View, msg evm.Message, block evm.Block) (nodeOutcome, error) {
	if v.check.simulate.Load() < 0 {
		return nodeOutcome{}, errNoSimulate
	}
	overrides := map[string]any{
		"number": hexutil.EncodeUint64(block.Number), "time": hexutil.EncodeUint64(block.Time), "gasLimit": hexutil.Uint64(block.GasLimit),
		"feeRecipient": block.Coinbase, "prevRandao": block.Random,
	}
	if block.BaseFee != nil {
		overrides["baseFeePerGas"] = (*hexutil.Big)(block.BaseFee)
	}
	request := map[string]any{"blockStateCalls": []any{map[string]any{"blockOverrides": overrides, "calls": []any{callOf(msg)}}}}
	var blocks []simulatedBlock
	err := view.Ask(ctx, &blocks, "eth_simulateV1", request)
	if answered, ok := errors.AsType[rpc.Error](err); ok && !evm.IsUnknownBlock(err) {
		v.check.simulate.CompareAndSwap(0, -1)
		return nodeOutcome{}, fmt.Errorf("%w: %w", errNoSimulate, answered)
	}
	if err != nil {
		return nodeOutcome{}, fmt.Errorf("eth_simulateV1: %w", err)
	}
	if len(blocks) != 1 || len(blocks[0].Calls) != 1 {
		return nodeOutcome{}, fmt.Errorf("eth_simulateV1: have %d blocks, want one with one call", len(blocks))
	}
	v.check.simulate.Store(1)
	c := blocks[0].Calls[0]
	o := nodeOutcome{ok: c.Status == 1, data: c.ReturnData, gasUsed: uint64(c.GasUsed)}
	if !o.ok && len(o.data) == 0 && c.Error != nil {
		o.data = c.Error.Data
	}
	for _, log := range c.Logs {
		if log != nil {
			o.logs = append(o.logs, &types.Log{Address: log.Address, Topics: log.Topics, Data: log.Data})
		}
	}
	return o, nil
}
