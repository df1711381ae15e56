package validation

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"baler/datafee"
	"baler/entrypoint"
	"baler/erc7562"
	"baler/evm"
	"baler/gas"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

// ErrNoEntryPoint says that the contract at the EntryPoint's address is none.
var ErrNoEntryPoint = errors.New("no EntryPoint")

// Validator validates operations of one chain. It is safe for concurrent use.
type Validator struct {
	source  *evm.Source
	chainID uint64
	cfg     Config
	hints   *hints
	lately  *lately
	rules   ruleTables
	tracing atomic.Bool // simulate by the node's tracer
	memo    *memo
	check   selfCheck

	bundleChecks bundleChecks
}

// New returns a validator over the source's chain.
func New(source *evm.Source, cfg Config) *Validator {
	v := &Validator{
		source:  source,
		chainID: source.Config().ChainID.Uint64(),
		cfg:     cfg.withDefaults(),
		hints:   newHints(),
		lately:  newLately(),
		rules:   newRuleTables(),
		memo:    newMemo(),
	}
	v.tracing.Store(cfg.Tracing == TracingAlways)
	return v
}

// Source returns the state the validator runs on.
func (v *Validator) Source() *evm.Source { return v.source }

// Options vary one validation.
type Options struct {
	// NonceAhead is how many operations of the same sender and nonce key come before this one and are not mined yet: it
	// is validated as if they were, as far as the nonce goes. What else they would change (they may create the account)
	// is not there.
	NonceAhead uint64
	// Block is the block the operation is meant for; nil: the one after the head, a second later.
	Block *evm.Block
	// First is the result of the operation's first validation, if this is a later one: the code that both visited must
	// be the same (ERC-7562, COD-010). Only its CodeHashes are looked at.
	First *Result
}

// Validate validates one operation on the state of the head's block. A refusal is a *[Refusal], in which errors.As finds
// the *rejection.Rejection; any other error is not about the operation.
func (v *Validator) Validate(ctx context.Context, head *types.Header, ep entrypoint.EntryPoint, op *userop.UserOperation, opts Options) (*Result, error) {
	view := v.source.View(head)
	key := v.memo.key(ep, op)
	if res, err := v.recall(ctx, view, key, ep, op, opts); res != nil || err != nil {
		return res, err
	}
	if err := v.cfg.Precheck(op, ep, v.chainID); err != nil {
		return nil, asError(err)
	}
	quote := v.quote(ep, op)
	if err := v.prefetch(ctx, view, ep, op, quote); err != nil {
		return nil, fmt.Errorf("validate: %w", err)
	}
	f, err := v.facts(ctx, view, ep, op, quote)
	if err != nil {
		return nil, fmt.Errorf("validate: %w", err)
	}
	if len(f.entryPointCode) == 0 {
		return nil, fmt.Errorf("validate: %w at %s", ErrNoEntryPoint, ep.Address)
	}
	if err := v.cfg.checkFacts(op, f); err != nil {
		return nil, asError(err)
	}
	sim, bundled, err := v.run(ctx, view, ep, op, opts)
	if refused := asRefusal(err); refused != nil {
		return nil, refused
	}
	if err != nil {
		return nil, fmt.Errorf("validate: %w", err)
	}
	defer v.rules.release(sim.trace.record)
	res := &Result{
		ReadSet: sim.reads, Created: sim.created, DataGas: f.dataGas, BlockHash: view.Hash(), BlockNumber: head.Number.Uint64(),
	}
	bundled.describe(sim, res)
	if res.Aggregator != (common.Address{}) {
		if f.aggregatorCode, err = view.Code(ctx, res.Aggregator); err != nil {
			return nil, fmt.Errorf("validate: %w", err)
		}
	}
	if err := v.stakes(ctx, view, ep, op, res); err != nil {
		return nil, fmt.Errorf("validate: %w", err)
	}
	if err := v.judge(ep, op, bundled, sim, res); err != nil {
		return nil, asError(err)
	}
	if err := v.applyRules(ep, op, f, sim, opts.First, res); err != nil {
		return nil, asError(err)
	}
	v.learn(ep, op, sim.reads)
	res.Hash = op.Hash(ep.Address, v.chainID, delegateOf(op, f.senderCode))
	res.Accessed = accessed(ep, op, res.Aggregator, v.cfg.Beneficiary, sim.reads)
	if res.Aggregator == (common.Address{}) && v.checkSample(ctx, head, ep, op) {
		return v.Validate(ctx, head, ep, op, opts)
	}
	if err := v.remember(ctx, view, key, ep, op, opts, res); err != nil {
		return nil, fmt.Errorf("validate: %w", err)
	}
	return res, nil
}

// asError returns the refusal in an error as such, so that callers meet one type.
func asError(err error) error {
	if refused := asRefusal(err); refused != nil {
		return refused
	}
	return err
}

func delegateOf(op *userop.UserOperation, senderCode []byte) common.Address {
	if op.Authorization != nil {
		return op.Authorization.Address
	}
	delegate, _ := types.ParseDelegation(senderCode)
	return delegate
}

// implementationSlot is where proxies keep the address of their code (ERC-1967).
func implementationSlot() common.Hash {
	return common.HexToHash("0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc")
}

// guess returns what the operation's validation will surely or probably read: its entities, their words in the
// EntryPoint, and what validations with the same entities read before.
func (v *Validator) guess(ep entrypoint.EntryPoint, op *userop.UserOperation) guess {
	g := newGuess()
	g.account(ep.Address)
	if op.Factory != nil {
		g.account(entrypoint.SenderCreator(ep.Version))
	}
	g.account(v.cfg.Beneficiary)
	g.account(op.Sender)
	g.slot(op.Sender, implementationSlot())
	g.slot(ep.Address, entrypoint.NonceSlot(ep.Version, op.Sender, op.NonceKey()))
	if op.Authorization != nil {
		g.account(op.Authorization.Address)
	}
	for _, entity := range entities(op) {
		g.account(entity)
		g.slot(ep.Address, entrypoint.DepositSlot(ep.Version, entity))
		g.slot(ep.Address, entrypoint.StakeSlot(ep.Version, entity))
		v.hints.add(entity, op.Sender, g)
	}
	v.hints.add(ep.Address, op.Sender, g)
	g.join(guess{v.cfg.DataFees.Reads()})
	return g
}

// entities returns the operation's sender, factory and paymaster.
func entities(op *userop.UserOperation) []common.Address {
	all := []common.Address{op.Sender}
	if op.Factory != nil && !op.IsEIP7702() {
		all = append(all, *op.Factory)
	}
	if op.Paymaster != nil {
		all = append(all, *op.Paymaster)
	}
	return all
}

func (v *Validator) learn(ep entrypoint.EntryPoint, op *userop.UserOperation, reads *evm.ReadSet) {
	sure := newGuess()
	sure.account(op.Sender)
	sure.slot(ep.Address, entrypoint.NonceSlot(ep.Version, op.Sender, op.NonceKey()))
	for _, entity := range entities(op) {
		sure.account(entity)
		sure.slot(ep.Address, entrypoint.DepositSlot(ep.Version, entity))
		sure.slot(ep.Address, entrypoint.StakeSlot(ep.Version, entity))
	}
	v.hints.learn(reads, op.Sender, append(entities(op)[1:], ep.Address), sure)
}

func (v *Validator) facts(ctx context.Context, view *evm.View, ep entrypoint.EntryPoint, op *userop.UserOperation, quote *datafee.Quote) (facts, error) {
	var f facts
	var err error
	if f.entryPointCode, err = view.Code(ctx, ep.Address); err != nil {
		return f, err
	}
	if f.senderCode, err = view.Code(ctx, op.Sender); err != nil {
		return f, err
	}
	if op.Authorization != nil {
		if f.senderNonce, err = view.Nonce(ctx, op.Sender); err != nil {
			return f, err
		}
	}
	if op.Factory != nil && !op.IsEIP7702() {
		if f.factoryCode, err = view.Code(ctx, *op.Factory); err != nil {
			return f, err
		}
	}
	if op.Paymaster != nil {
		if f.paymasterCode, err = view.Code(ctx, *op.Paymaster); err != nil {
			return f, err
		}
	}
	if f.nextBaseFee, err = gas.NextBaseFee(v.source.Config(), view.Header()); err != nil {
		return f, err
	}
	cost, err := quote.Cost(ctx, view)
	price := gas.Fees{MaxFee: op.MaxFeePerGas, MaxPriority: op.MaxPriorityFeePerGas}.EffectivePrice(f.nextBaseFee)
	f.dataGas = cost.At(price, gas.TransactionGas(op, v.cfg.PreVerification.Required(op, gas.VerificationLimits(op))))
	return f, err
}

// simulation is one run of an operation's validation, in the local EVM or at the node.
type simulation struct {
	trace        *handleOpsTrace
	reads        *evm.ReadSet
	rules        params.Rules // of the block it ran in
	number, time uint64       // of that block
	ret          []byte       // what the EntryPoint reverted with
	failed       error        // the EVM's error of the EntryPoint's frame
	created      []common.Address
}

// simulate runs handleOps with the one operation, up to the end of its validation.
func (v *Validator) simulate(ctx context.Context, view *evm.View, ep entrypoint.EntryPoint, bundled alone, opts Options) (*simulation, error) {
	op := bundled.op
	run := evm.RunOptions{Origin: v.cfg.Beneficiary, Block: opts.Block}
	if !v.hints.knows(op.Sender) {
		run.Message = new(v.validation(ep, op))
	}
	if op.Authorization != nil {
		run.Authorizations = []types.SetCodeAuthorization{*op.Authorization}
	}
	if opts.NonceAhead > 0 {
		overrides, err := nonceAhead(ctx, view, ep, op, opts.NonceAhead)
		if err != nil {
			return nil, err
		}
		run.Overrides = overrides
	}
	run.Block = v.blockFor(view, opts)
	simulate := v.simulateHere
	if v.tracing.Load() {
		simulate = v.simulateByTracing
	}
	sim, err := simulate(ctx, view, ep, bundled, run)
	if err != nil {
		return nil, err
	}
	if sim.failed == nil && !sim.trace.reached {
		return nil, fmt.Errorf("%w at %s: handleOps returned without validating", ErrNoEntryPoint, ep.Address)
	}
	return sim, nil
}

// blockFor returns the block that the operation is simulated in.
func (v *Validator) blockFor(view *evm.View, opts Options) *evm.Block {
	if opts.Block != nil {
		return opts.Block
	}
	return new(evm.AfterHeader(v.source.Config(), view.Header()))
}

// simulateHere runs the operation's validation in the local EVM.
func (v *Validator) simulateHere(ctx context.Context, view *evm.View, ep entrypoint.EntryPoint, bundled alone, run evm.RunOptions) (*simulation, error) {
	data := bundled.calldata(ep, v.cfg.Beneficiary)
	var sim simulation
	record := v.rules.tracer()
	err := view.Execute(ctx, run, func(r *evm.Run) error {
		t := bundled.trace(ep, v.cfg.Beneficiary)
		t.stop, t.stateGas = r.Stop, r.StateGas
		t.record = record
		record.Reset(r.State().GetCode, entities(bundled.op)...)
		ret, _, err := r.Call(v.cfg.Beneficiary, ep.Address, nil, data, v.cfg.SimulationGas, t.hooks())
		if evm.IsStateError(err) {
			return err
		}
		number, now := r.Block()
		sim = simulation{
			trace: t, reads: r.ReadSet(), rules: r.Rules(), number: number, time: now,
			ret: ret, failed: err, created: t.createdContracts(r),
		}
		return nil
	})
	if err != nil {
		v.rules.release(record)
		return nil, err
	}
	return &sim, nil
}

// nonceAhead overrides the sender's nonce in the EntryPoint as if the next n operations of its key were mined.
func nonceAhead(ctx context.Context, view *evm.View, ep entrypoint.EntryPoint, op *userop.UserOperation, n uint64) (evm.Overrides, error) {
	slot := entrypoint.NonceSlot(ep.Version, op.Sender, op.NonceKey())
	word, err := view.Storage(ctx, ep.Address, slot)
	if err != nil {
		return nil, err
	}
	sequence := new(uint256.Int).SetBytes32(word[:])
	sequence.AddUint64(sequence, n)
	return evm.Overrides{ep.Address: {StateDiff: map[common.Hash]common.Hash{slot: sequence.Bytes32()}}}, nil
}

// judge turns a simulation into a result or a refusal.
func (v *Validator) judge(ep entrypoint.EntryPoint, op *userop.UserOperation, bundled alone, sim *simulation, res *Result) error {
	t := sim.trace
	account, paymaster, dataErr := validationDataOf(ep.Version, op, t.perOp[0])
	if account.HasAggregator() && account.Aggregator != res.Aggregator {
		return refuseAggregator(op, account.Aggregator)
	}
	if !t.reached {
		_, refused := t.refuse(sim.ret)
		if t.last.part == partSignatures {
			return wrongForAggregator(op, res.Aggregator, refused.Message)
		}
		switch entrypoint.AACode(refused.Message) {
		case "AA22":
			withRange(refused.Rejection, account)
			refused.Range = account
		case "AA32":
			withRange(refused.Rejection, paymaster)
			refused.Range = paymaster
		}
		return refused
	}
	if dataErr != nil {
		return blame(rejection.New(rejection.EntryPointRejected, "%v", dataErr), op, erc7562.Sender)
	}
	both, err := entrypoint.Intersect(account, paymaster)
	if err != nil {
		return blame(rejection.New(rejection.OutOfTimeRange, "%v", err), op, erc7562.Sender)
	}
	if err := checkRange(op, both, sim.number, sim.time, v.cfg.ExpirySlack, v.cfg.ExpiryBlockSlack); err != nil {
		return err
	}
	res.ValidAfter, res.ValidUntil, res.InBlocks = both.ValidAfter, both.ValidUntil, both.Blocks
	res.Prefund = op.MaxCost()
	res.FactoryGasUsed, res.AccountGasUsed = t.perOp[0].factoryGas, t.perOp[0].accountGas
	res.PaymasterGasUsed = t.perOp[0].paymasterGas
	res.OwnGas = t.perOp[0].own
	res.ContextSize = contextSize(t.perOp[0])
	used := t.gasUsed(ep.Version, op)
	if t.traced {
		used = tracedGas(op, &t.perOp[0], &res.Sender.Deposit)
	}
	res.VerificationGasUsed, res.PaymasterVerificationGasUsed = used.verification, used.paymaster
	res.PreOpGas = used.preOp + op.PreVerificationGas
	return v.checkMeasured(op, bundled, res)
}

// checkMeasured applies the limits that need to know what validation used.
func (v *Validator) checkMeasured(op *userop.UserOperation, bundled alone, res *Result) error {
	if err := v.cfg.Limits.ContextSize(op, res.ContextSize); err != nil {
		return fromRule(err, rejection.OpcodeViolation)
	}
	if err := v.cfg.Limits.GasSlack(op, res.VerificationGasUsed, res.PaymasterVerificationGasUsed); err != nil {
		return fromRule(err, rejection.EntryPointRejected)
	}
	used := res.VerificationGasUsed + res.PaymasterVerificationGasUsed
	return offersPreVerificationGas(op, bundled.preVerificationGas(v.cfg.PreVerification, used, res.SignatureGas), res.DataGas)
}

// validationDataOf decodes what validateUserOp and validatePaymasterUserOp returned, as far as they were called.
func validationDataOf(v userop.Version, op *userop.UserOperation, t opTrace) (account, paymaster entrypoint.ValidationData, err error) {
	if t.accountOutput != nil {
		word, err := entrypoint.DecodeUint256(t.accountOutput)
		if err != nil {
			return account, paymaster, fmt.Errorf("validateUserOp: %w", err)
		}
		account = entrypoint.ParseValidationData(v, word)
	}
	if op.Paymaster != nil && t.paymasterOutput != nil {
		_, word, err := entrypoint.DecodeValidatePaymasterUserOp(t.paymasterOutput)
		if err != nil {
			return account, paymaster, err
		}
		paymaster = entrypoint.ParseValidationData(v, word)
	}
	return account, paymaster, nil
}

func contextSize(t opTrace) int {
	context, _, err := entrypoint.DecodeValidatePaymasterUserOp(t.paymasterOutput)
	if t.paymasterOutput == nil || err != nil {
		return 0
	}
	return len(context)
}

// accessed returns the accounts a validation touched beside the operation's own entities, the EntryPoint, its helper,
// the simulated bundler and the precompiled contracts.
func accessed(ep entrypoint.EntryPoint, op *userop.UserOperation, aggregator, beneficiary common.Address, reads *evm.ReadSet) []common.Address {
	known := map[common.Address]bool{ep.Address: true, entrypoint.SenderCreator(ep.Version): true, aggregator: true, beneficiary: true}
	for _, entity := range entities(op) {
		known[entity] = true
	}
	var others []common.Address
	for addr := range reads.Accounts {
		if !known[addr] && !isPrecompile(addr) {
			others = append(others, addr)
		}
	}
	sortAddresses(others)
	return others
}

// isPrecompile reports whether the address is in the range where EIPs put precompiled contracts (EIP-1352, and P256 at
// 0x100).
func isPrecompile(addr common.Address) bool {
	n := new(uint256.Int).SetBytes20(addr[:])
	return n.LtUint64(0x10000)
}
