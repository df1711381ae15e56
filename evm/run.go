package evm

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

// RunOptions say what a run is a run of. The zero value: a transaction of nobody, at no gas price, in the block after
// the view's header, on the chain's state as it is.
type RunOptions struct {
	Overrides Overrides
	Block     *Block         // nil: AfterHeader
	Origin    common.Address // tx.origin, warm from the start
	GasPrice  *uint256.Int   // tx.gasprice in wei, nil: zero. Only code sees it; nobody pays

	// Authorizations are applied before the first call, as a type-4 transaction's would be: one that is not valid is
	// skipped, a valid one raises its authority's nonce and sets the delegation (EIP-7702).
	Authorizations []types.SetCodeAuthorization

	// Message is what [View.Execute] asks the node about when its first round has missed something, so that the second
	// read finds the rest: see [View.PrefetchCall]. Nil: it is not asked.
	Message *Message
}

// Run is one transaction in the making: writable state over a view, with the access list, transient storage and refund
// counter of one transaction. It is used by one goroutine.
type Run struct {
	view     *View
	reader   *reader
	state    *state.StateDB
	block    vm.BlockContext
	tx       vm.TxContext
	rules    params.Rules
	machine  *vm.EVM // the one executing now, or nil
	aside    *vm.EVM // the one that runs what is quiet meanwhile, or nil
	quiet    []common.Address
	swift    common.Address
	asleep   *tracing.Hooks // what the machine gets back as soon as its code uses the state; nil: it has its hooks
	stopped  bool
	accesses func(Access) // told of slots that are touched
	stateGas uint64
}

// NewRun returns a run over the view. Values that are not known yet are read when they are needed, one by one; see
// [View.Execute] for fewer round trips.
func (v *View) NewRun(ctx context.Context, opts RunOptions) (*Run, error) {
	return v.newRun(ctx, opts, false)
}

// Execute calls fn with a fresh run until fn's run has found all the state it read, and returns fn's error then.
//
// In the first rounds missing values are taken as zero and noted; after each they are read in one batch, and fn starts
// over. A round that missed something decides nothing, whatever fn returned. So fn must be able to run again, and must
// leave behind only what its last round found. After Options.MaxRounds fn's reads go to the node one by one.
func (v *View) Execute(ctx context.Context, opts RunOptions, fn func(*Run) error) error {
	for round := range v.source.opts.MaxRounds {
		run, err := v.newRun(ctx, opts, true)
		if err != nil {
			return err
		}
		err = fn(run)
		if run.reader.err != nil {
			return run.reader.err
		}
		if run.reader.missing.len() == 0 {
			return err
		}
		if round == 0 && opts.Message != nil {
			err = v.loadCall(ctx, run.reader.missing, *opts.Message, nil)
		} else {
			err = v.load(ctx, run.reader.missing, nil)
		}
		if err != nil {
			return err
		}
	}
	run, err := v.newRun(ctx, opts, false)
	if err != nil {
		return err
	}
	err = fn(run)
	if run.reader.err != nil {
		return run.reader.err
	}
	return err
}

func (v *View) newRun(ctx context.Context, opts RunOptions, speculative bool) (*Run, error) {
	if err := opts.Overrides.Validate(); err != nil {
		return nil, err
	}
	reader := newReader(ctx, v, opts.Overrides, speculative)
	db, err := newState(reader)
	if err != nil {
		return nil, err
	}
	cfg := v.source.cfg
	block := AfterHeader(cfg, v.header)
	if opts.Block != nil {
		block = *opts.Block
	}
	r := &Run{view: v, reader: reader, state: db}
	reader.stop = r.Stop
	r.block = r.blockContext(block)
	r.rules = cfg.Rules(r.block.BlockNumber, r.block.Random != nil, r.block.Time)
	r.tx = vm.TxContext{Origin: opts.Origin, GasPrice: opts.GasPrice}
	if r.tx.GasPrice == nil {
		r.tx.GasPrice = new(uint256.Int)
	}
	db.Prepare(r.rules, opts.Origin, block.Coinbase, nil, vm.ActivePrecompiles(r.rules), nil)
	for i := range opts.Authorizations {
		r.authorize(&opts.Authorizations[i])
	}
	if reader.err != nil {
		return nil, reader.err
	}
	return r, nil
}

func (r *Run) blockContext(b Block) vm.BlockContext {
	ctx := vm.BlockContext{
		CanTransfer:      canTransfer,
		Transfer:         core.Transfer,
		GetHash:          r.blockHash,
		Coinbase:         b.Coinbase,
		GasLimit:         b.GasLimit,
		BlockNumber:      new(big.Int).SetUint64(b.Number),
		Time:             b.Time,
		Difficulty:       b.Difficulty,
		BaseFee:          b.BaseFee,
		BlobBaseFee:      b.BlobBaseFee,
		CostPerStateByte: params.CostPerStateByte,
	}
	if ctx.Difficulty == nil {
		ctx.Difficulty = new(big.Int)
	}
	if ctx.Difficulty.Sign() == 0 {
		ctx.Random = &b.Random
	}
	return ctx
}

// canTransfer is core.CanTransfer, except that nothing can always be transferred: a creation without value does not depend
// on its creator's balance.
func canTransfer(db vm.StateDB, addr common.Address, amount *uint256.Int) bool {
	return amount.IsZero() || core.CanTransfer(db, addr, amount)
}

// blockHash serves BLOCKHASH: the last two hashes from the header, older ones from the history contract's storage
// (EIP-2935), which is pinned to the view's block like every other read.
func (r *Run) blockHash(number uint64) common.Hash {
	head := r.view.header.Number.Uint64()
	switch {
	case number > head:
		return common.Hash{}
	case number == head:
		return r.view.hash
	case number+1 == head:
		return r.view.header.ParentHash
	}
	key := common.BigToHash(new(big.Int).SetUint64(number % params.HistoryServeWindow))
	hash, err := r.reader.Storage(params.HistoryStorageAddress, key)
	if err != nil {
		return common.Hash{} // the run fails with the read
	}
	if _, read := r.reader.reads.Slot(params.HistoryStorageAddress, key); read && hash == (common.Hash{}) {
		_ = r.reader.fail(fmt.Errorf("hash of block %d: %w", number, errNoHistory))
	}
	return hash
}

var errNoHistory = errors.New("the chain has no EIP-2935 history for it")

// authorize applies one EIP-7702 tuple by the rules of the EIP's "Behavior" section; an invalid one changes nothing.
func (r *Run) authorize(auth *types.SetCodeAuthorization) {
	if !auth.ChainID.IsZero() && auth.ChainID.CmpBig(r.view.source.cfg.ChainID) != 0 {
		return
	}
	if auth.Nonce+1 == 0 {
		return
	}
	authority, err := auth.Authority()
	if err != nil {
		return
	}
	db := r.tracked(r.state)
	db.AddAddressToAccessList(authority)
	code := db.GetCode(authority)
	if _, delegated := types.ParseDelegation(code); len(code) != 0 && !delegated {
		return
	}
	if db.GetNonce(authority) != auth.Nonce {
		return
	}
	if db.Exist(authority) {
		db.AddRefund(params.CallNewAccountGas - params.TxAuthTupleGas)
	}
	db.SetNonce(authority, auth.Nonce+1, tracing.NonceChangeAuthorization)
	if auth.Address == (common.Address{}) {
		db.SetCode(authority, nil, tracing.CodeChangeAuthorizationClear)
		return
	}
	db.SetCode(authority, types.AddressToDelegation(auth.Address), tracing.CodeChangeAuthorization)
}

// Call calls a contract from any address, as a frame at the top of the run's transaction: there is no intrinsic gas,
// no nonce, no fee and no refund. gas is the frame's gas, gasUsed what it used of it, before any refund. The callee
// becomes warm.
//
// err is the EVM's (vm.ErrExecutionReverted with the revert data in ret, vm.ErrOutOfGas, ...), or a state error
// (IsStateError), after which nothing is known and the run is over. A run that hooks stopped with [Run.Stop] returns
// no error.
func (r *Run) Call(from, to common.Address, value *uint256.Int, data []byte, gas uint64, hooks *tracing.Hooks) (ret []byte, gasUsed uint64, err error) {
	if err := r.begin(); err != nil {
		return nil, 0, err
	}
	if value == nil {
		value = new(uint256.Int)
	}
	machine, finish := r.evm(hooks)
	defer finish()
	r.state.AddAddressToAccessList(to)
	if delegate, ok := types.ParseDelegation(r.state.GetCode(to)); ok {
		r.state.AddAddressToAccessList(delegate)
	}
	budget := vm.NewGasBudget(gas, 0)
	ret, left, err := machine.Call(from, to, data, budget, value)
	if r.reader.err != nil {
		return nil, 0, r.reader.err
	}
	if ctxErr := r.reader.ctx.Err(); ctxErr != nil {
		return nil, 0, r.reader.fail(ctxErr)
	}
	if err := r.state.Error(); err != nil {
		return nil, 0, r.reader.fail(err)
	}
	return ret, left.Used(budget), err
}

// Message is a whole transaction.
type Message struct {
	From, To       common.Address
	Value          *uint256.Int // wei; nil: zero
	Data           []byte
	Gas            uint64
	MaxFee         *uint256.Int // wei per gas; nil: zero, then nothing is paid
	MaxPriority    *uint256.Int // wei per gas
	Authorizations []types.SetCodeAuthorization
}

// Outcome is what a transaction did.
type Outcome struct {
	GasUsed    uint64 // as the receipt would say: with intrinsic gas, refunds and the calldata floor
	MaxGasUsed uint64 // before refunds: what its gas limit must reach
	Return     []byte // return or revert data
	Err        error  // the EVM's error of the top frame, nil if it succeeded
	Logs       []*types.Log
}

// Apply executes a whole transaction: intrinsic gas, fees paid from the sender's balance, authorizations, refunds and
// the calldata floor of EIP-7623. The sender's nonce is not checked. It returns an error if the transaction could not be
// in a block at all (its sender can't pay, its gas limit is below the intrinsic gas) or if state could not be read
// (IsStateError). A revert is no error here: see Outcome.Err.
func (r *Run) Apply(m Message, hooks *tracing.Hooks) (*Outcome, error) {
	if err := r.begin(); err != nil {
		return nil, err
	}
	msg := &core.Message{
		To: &m.To, From: m.From, Value: orZero(m.Value), GasLimit: m.Gas, Data: m.Data,
		GasFeeCap: orZero(m.MaxFee), GasTipCap: orZero(m.MaxPriority),
		SetCodeAuthorizations: m.Authorizations,
	}
	if len(m.Authorizations) == 0 {
		msg.SetCodeAuthorizations = nil
	}
	msg.GasPrice = new(uint256.Int).Set(msg.GasFeeCap)
	if r.block.BaseFee != nil && !msg.GasFeeCap.IsZero() {
		price := new(uint256.Int).Add(uint256.MustFromBig(r.block.BaseFee), msg.GasTipCap)
		if price.Lt(msg.GasPrice) {
			msg.GasPrice = price
		}
	}
	msg.SkipNonceCheck().SkipEOACheck()

	machine, finish := r.evm(hooks)
	defer finish()
	result, err := core.ApplyMessage(machine, msg, nil)
	if r.reader.err != nil {
		return nil, r.reader.err
	}
	if ctxErr := r.reader.ctx.Err(); ctxErr != nil {
		return nil, r.reader.fail(ctxErr)
	}
	if dbErr := r.state.Error(); dbErr != nil {
		return nil, r.reader.fail(dbErr)
	}
	if err != nil {
		return nil, err
	}
	return &Outcome{
		GasUsed: result.UsedGas, MaxGasUsed: result.MaxUsedGas,
		Return: result.ReturnData, Err: result.Err, Logs: r.state.Logs(),
	}, nil
}

func orZero(x *uint256.Int) *uint256.Int {
	if x == nil {
		return new(uint256.Int)
	}
	return x
}

// begin refuses to go on with a run that has failed.
func (r *Run) begin() error {
	if r.reader.err != nil {
		return r.reader.err
	}
	if err := r.reader.ctx.Err(); err != nil {
		return r.reader.fail(err)
	}
	r.stopped = false
	return nil
}

// evm returns a machine for one execution, tied to the run's context, and a function to call when it is over.
func (r *Run) evm(hooks *tracing.Hooks) (*vm.EVM, func()) {
	block := r.block
	var inner vm.StateDB = r.state
	if wantsStateHooks(hooks) {
		inner = state.NewHookedState(r.state, hooks)
	}
	db := r.tracked(inner)
	// NoBaseFee lets a message without fees through; the BASEFEE opcode and messages with fees are not affected.
	machine := vm.NewEVM(block, db, r.view.source.cfg, vm.Config{Tracer: hooks, NoBaseFee: true})
	machine.SetJumpDestCache(r.view.source.jumpDests)
	machine.SetPrecompiles(r.view.source.contracts.of(r.rules))
	machine.SetTxContext(r.tx)
	r.machine = machine
	r.aside = r.quieten(machine, hooks, db)
	release := context.AfterFunc(r.reader.ctx, r.cancel(machine, r.aside))
	return machine, func() {
		release()
		machine.Release()
		if r.aside != nil {
			r.aside.Release()
		}
		r.machine, r.aside, r.asleep = nil, nil, nil
	}
}

func wantsStateHooks(h *tracing.Hooks) bool {
	return h != nil && (h.OnLog != nil || h.OnBalanceChange != nil || h.OnNonceChange != nil || h.OnNonceChangeV2 != nil ||
		h.OnCodeChange != nil || h.OnCodeChangeV2 != nil || h.OnStorageChange != nil)
}

// Stop ends the call that is being executed: hooks call it when they have seen enough. The state stays as it is then,
// nothing is reverted.
func (r *Run) Stop() {
	r.stopped = true
	if r.machine != nil {
		r.cancel(r.machine, r.aside)()
	}
}

// cancel returns a function that ends what the machines execute.
func (r *Run) cancel(machine, aside *vm.EVM) func() {
	return func() {
		machine.Cancel()
		if aside != nil {
			aside.Cancel()
		}
	}
}

// Stopped reports whether the last call was ended by Stop.
func (r *Run) Stopped() bool { return r.stopped }

// Err returns the state error that ended the run, if one did.
func (r *Run) Err() error { return r.reader.err }

// State returns the run's state. Reads of it that miss the view go to the node; look at [Run.Err] after them.
func (r *Run) State() *state.StateDB { return r.state }

// Snapshot marks the state, for RevertTo.
func (r *Run) Snapshot() int { return r.state.Snapshot() }

// RevertTo undoes every change since the snapshot, warmth and transient storage included.
func (r *Run) RevertTo(snapshot int) { r.state.RevertToSnapshot(snapshot) }

// ReadSet returns what the run has read from the chain so far. It must not be changed.
func (r *Run) ReadSet() *ReadSet {
	reads := r.reader.reads // a copy, so that who keeps it does not keep the run
	return &reads
}

// Rules returns the fork rules in force in the run's block.
func (r *Run) Rules() params.Rules { return r.rules }

// Block returns the number and time (seconds) of the run's block.
func (r *Run) Block() (number, time uint64) { return r.block.BlockNumber.Uint64(), r.block.Time }
