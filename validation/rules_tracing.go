package validation

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/evm"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/holiman/uint256"
)

// traceOptions are the third argument of debug_traceCall.
type traceOptions struct {
	Tracer         string                    `json:"tracer"`
	StateOverrides map[common.Address]diff   `json:"stateOverrides,omitempty"`
	BlockOverrides map[string]hexutil.Uint64 `json:"blockOverrides"`
}

type diff struct {
	StateDiff map[common.Hash]common.Hash `json:"stateDiff"`
}

// simulateByTracing runs handleOps at the node, by debug_traceCall with geth's erc7562Tracer, and replays the frames of
// the answer into the trace and the record that a local run would have filled. The node runs the operation to its end;
// what comes after validation is not looked at.
//
// What the EntryPoint measured with GAS is not in such a trace: see tracedGas.
func (v *Validator) simulateByTracing(ctx context.Context, view *evm.View, ep entrypoint.EntryPoint, bundled alone, run evm.RunOptions) (*simulation, error) {
	op := bundled.op
	root, err := traceCall(ctx, view, call{
		From: v.cfg.Beneficiary, To: ep.Address, Gas: hexutil.Uint64(v.cfg.SimulationGas),
		Input:          bundled.calldata(ep, v.cfg.Beneficiary),
		Authorizations: run.Authorizations,
	}, run)
	if err != nil {
		return nil, err
	}
	delegated, err := delegations(ctx, view, root)
	if err != nil {
		return nil, err
	}
	t := bundled.trace(ep, v.cfg.Beneficiary)
	t.record, t.traced = v.rules.tracer(), true
	t.record.Reset(nil, entities(op)...)
	replay := replay{t: t, delegated: delegated}
	replay.call(root, 0)
	t.record.Hashed(root.Keccak)
	t.reached = t.executing > 0
	reads, err := readsOf(ctx, view, ep, op, root, t.record)
	if err != nil {
		v.rules.release(t.record)
		return nil, err
	}
	cfg := v.source.Config()
	return &simulation{
		trace: t, reads: reads, number: run.Block.Number, time: run.Block.Time,
		rules: cfg.Rules(new(big.Int).SetUint64(run.Block.Number), cfg.TerminalTotalDifficulty != nil, run.Block.Time),
		ret:   root.Output, failed: root.Err, created: replay.created,
	}, nil
}

func traceCall(ctx context.Context, view *evm.View, msg call, run evm.RunOptions) (*erc7562.Call, error) {
	options := traceOptions{
		Tracer: "erc7562Tracer",
		BlockOverrides: map[string]hexutil.Uint64{
			"number": hexutil.Uint64(run.Block.Number), "time": hexutil.Uint64(run.Block.Time),
		},
	}
	for addr, override := range run.Overrides {
		if options.StateOverrides == nil {
			options.StateOverrides = make(map[common.Address]diff, len(run.Overrides))
		}
		options.StateOverrides[addr] = diff{override.StateDiff}
	}
	var answer json.RawMessage
	if err := view.Ask(ctx, &answer, "debug_traceCall", msg, options); err != nil {
		return nil, fmt.Errorf("debug_traceCall: %w", err)
	}
	return erc7562.DecodeTrace(answer)
}

// delegations finds out which of the accounts that the trace met with 23 bytes of code are delegated (EIP-7702).
func delegations(ctx context.Context, view *evm.View, root *erc7562.Call) (func(common.Address) bool, error) {
	met := root.Delegations()
	if err := view.Prefetch(ctx, met, nil); err != nil {
		return nil, err
	}
	delegated := make(map[common.Address]bool, len(met))
	for _, addr := range met {
		code, err := view.Code(ctx, addr)
		if err != nil {
			return nil, err
		}
		_, delegated[addr] = types.ParseDelegation(code)
	}
	return func(addr common.Address) bool { return delegated[addr] }, nil
}

// replay feeds the frames of a node's trace to a handleOpsTrace, in the order they were made.
type replay struct {
	t         *handleOpsTrace
	delegated func(common.Address) bool
	created   []common.Address
}

// call replays a frame. It reports whether the rest of the trace is of interest: validation ends with the first
// operation that is executed.
func (r *replay) call(c *erc7562.Call, depth int) {
	if r.t.executing > 0 && depth > 0 {
		return
	}
	r.t.onEnter(depth, byte(c.Type), c.From, c.To, c.Input, c.Gas, c.Value)
	if r.t.record.Open() {
		r.t.record.Observe(c, r.delegated)
	}
	for _, inner := range c.Calls {
		r.call(inner, depth+1)
	}
	if (c.Type == vm.CREATE || c.Type == vm.CREATE2) && c.Err == nil && len(c.Output) > 0 {
		r.created = append(r.created, c.To)
	}
	r.t.onExit(depth, c.Output, c.GasUsed, c.Err, c.Err != nil)
}

// readsOf returns what the traced validation read, with the values at the view's block, in one batch.
func readsOf(ctx context.Context, view *evm.View, ep entrypoint.EntryPoint, op *userop.UserOperation, root *erc7562.Call, record *erc7562.Tracer) (*evm.ReadSet, error) {
	reads := &evm.ReadSet{Accounts: make(map[common.Address]evm.AccountRead), Slots: make(map[evm.Slot]common.Hash)}
	for _, addr := range append(entities(op), ep.Address, entrypoint.SenderCreator(ep.Version)) {
		reads.Accounts[addr] = evm.AccountRead{}
	}
	code, err := view.Code(ctx, op.Sender)
	if err != nil {
		return nil, err
	}
	if delegate := delegateOf(op, code); delegate != (common.Address{}) {
		reads.Accounts[delegate] = evm.AccountRead{} // whose code is the sender's
	}
	for i := range record.Codes {
		reads.Accounts[record.Codes[i].Address] = evm.AccountRead{}
	}
	for i := range record.Frames {
		frame := &record.Frames[i]
		if _, known := reads.Accounts[frame.Storage]; !known {
			reads.Accounts[frame.Storage] = evm.AccountRead{}
		}
		if frame.HasValue || frame.Type == vm.CREATE || frame.Type == vm.CREATE2 {
			reads.Accounts[frame.From] = evm.AccountRead{BalanceUsed: true}
		}
		if frame.Opcodes.Has(vm.SELFBALANCE) {
			reads.Accounts[frame.Storage] = evm.AccountRead{BalanceUsed: true}
		}
	}
	for _, slot := range root.Slots() {
		reads.Slots[evm.Slot{Account: ep.Address, Key: slot}] = common.Hash{}
	}
	for _, access := range record.Accesses {
		if !access.Transient {
			reads.Slots[evm.Slot{Account: record.Frames[access.Frame].Storage, Key: access.Slot}] = common.Hash{}
		}
	}
	// Whether a nonce mattered is not in the trace: all of them do.
	for addr, account := range reads.Accounts {
		account.NonceUsed = true
		reads.Accounts[addr] = account
	}
	if err := view.PrefetchReads(ctx, []*evm.ReadSet{reads}); err != nil {
		return nil, err
	}
	return reads, fillIn(ctx, view, reads)
}

// fillIn sets the values of a read set that have been prefetched.
func fillIn(ctx context.Context, view *evm.View, reads *evm.ReadSet) error {
	for addr, account := range reads.Accounts {
		var err error
		if account.Balance, err = view.Balance(ctx, addr); err != nil {
			return err
		}
		if account.Nonce, err = view.Nonce(ctx, addr); err != nil {
			return err
		}
		code, err := view.Code(ctx, addr)
		if err != nil {
			return err
		}
		account.CodeHash = types.EmptyCodeHash
		if len(code) > 0 {
			account.CodeHash = crypto.Keccak256Hash(code)
		}
		account.Empty = len(code) == 0 && account.Nonce == 0 && account.Balance.IsZero()
		reads.Accounts[addr] = account
	}
	for slot := range reads.Slots {
		value, err := view.Storage(ctx, slot.Account, slot.Key)
		if err != nil {
			return err
		}
		reads.Slots[slot] = value
	}
	return nil
}

// overhead is what an EntryPoint itself uses for one operation, in gas, measured on operations of a new nonce key whose
// account pays from its deposit; TestTracedGas compares it with what the EntryPoint says.
type overhead struct {
	account       uint64 // counts against verificationGasLimit
	factory       uint64 // more, if there is a factory
	paymaster     uint64 // against paymasterVerificationGasLimit, if there is a paymaster (v0.6: verificationGasLimit)
	paidByAnother uint64 // less for the account then (v0.7 and later)
}

func overheadOf(v userop.Version) overhead {
	switch v {
	case userop.V06:
		return overhead{account: 35_130, factory: 5_770, paymaster: 5_000}
	case userop.V07:
		return overhead{account: 33_950, factory: 5_510, paymaster: 9_860, paidByAnother: 5_240}
	case userop.V08:
		return overhead{account: 34_400, factory: 5_660, paymaster: 9_600, paidByAnother: 5_160}
	case userop.V09:
		return overhead{account: 34_760, factory: 5_670, paymaster: 9_580, paidByAnother: 5_160}
	default:
		return overhead{}
	}
}

const (
	secondNonceLess = 17_100 // a nonce slot that is in use costs 2,900 to write, not 20,000 (EIP-2200)
	prepaidLess     = 2_800  // the account's payment has written the deposit's slot already
)

// tracedGas is gasUsed for a node's trace: the frames of the entities, and what the EntryPoint uses beside them. It is
// an estimate, good to some hundred gas: LIM-030 is judged by it, the limits themselves by the EntryPoint.
func tracedGas(op *userop.UserOperation, t *opTrace, deposit *uint256.Int) gasUse {
	o := overheadOf(op.Version)
	use := gasUse{verification: o.account + uint64(op.PackedSize())*12/25 + t.factoryGas + t.accountGas}
	if op.Factory != nil && !op.IsEIP7702() {
		use.verification += o.factory
	}
	if op.NonceSequence() > 0 {
		use.verification -= secondNonceLess
	}
	prefund := op.MaxCost()
	switch {
	case op.Paymaster == nil && deposit.Lt(&prefund):
		use.verification -= prepaidLess
	case op.Paymaster != nil && op.Version.Packed():
		use.verification -= o.paidByAnother
		use.paymaster = o.paymaster + uint64(op.PackedSize())/11 + t.paymasterGas
	case op.Paymaster != nil:
		use.verification += o.paymaster + t.paymasterGas
	}
	use.preOp = use.verification + use.paymaster
	return use
}
