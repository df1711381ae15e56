package validation

import (
	"slices"
	"strconv"
	"sync"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/evm"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
)

// ruleTables keeps what the rules of ERC-7562 need for every operation: tracers to use again, and what each fork
// defines. It is safe for concurrent use.
type ruleTables struct {
	tracers *sync.Pool
	forks   *sync.Map // params.Rules -> *fork
}

// fork is what the rules need to know of a fork of the chain.
type fork struct {
	assigned    erc7562.Opcodes
	precompiles []common.Address
}

func newRuleTables() ruleTables {
	return ruleTables{tracers: &sync.Pool{New: func() any { return new(erc7562.Tracer) }}, forks: new(sync.Map)}
}

// tracer returns a tracer to be released after use.
func (t ruleTables) tracer() *erc7562.Tracer {
	tracer, ok := t.tracers.Get().(*erc7562.Tracer)
	if !ok {
		return new(erc7562.Tracer)
	}
	return tracer
}

// maxKept is how many accesses a tracer may have room for to be kept: a hostile operation's is left to the collector.
const maxKept = 1_024

func (t ruleTables) release(tracer *erc7562.Tracer) {
	if cap(tracer.Accesses) <= maxKept && cap(tracer.Frames) <= maxKept && cap(tracer.Codes) <= maxKept {
		t.tracers.Put(tracer)
	}
}

// fork returns the opcodes and precompiled contracts under the rules.
func (t ruleTables) fork(rules params.Rules) *fork {
	if known, ok := t.forks.Load(rules); ok {
		if f, ok := known.(*fork); ok {
			return f
		}
	}
	f := &fork{precompiles: vm.ActivePrecompiles(rules)}
	f.assigned.Add(vm.STOP)
	if table, err := vm.LookupInstructionSet(rules); err == nil {
		for op, operation := range table {
			if operation.HasCost() {
				f.assigned.Add(vm.OpCode(op))
			}
		}
	}
	t.forks.Store(rules, f)
	return f
}

// applyRules judges what validation did by the rules of ERC-7562 and completes the result with it.
func (v *Validator) applyRules(ep entrypoint.EntryPoint, op *userop.UserOperation, f facts, sim *simulation, first, res *Result) error {
	subject := v.subject(ep, op, f, sim, res)
	judgement := erc7562.Judge(&sim.trace.record.Record, subject)
	res.AssociatedStorageIn, res.Verdicts = judgement.AssociatedIn, judgement.Verdicts
	res.Environment = sim.trace.record.Environment() || sim.trace.traced && sim.trace.record.Balances()
	res.CodeHashes = codeHashes(sim.reads)
	if first != nil {
		if changed := erc7562.CodeUnchanged(subject, first.CodeHashes, res.CodeHashes); changed != nil {
			res.Verdicts = append(res.Verdicts, changed)
		}
	}
	if v.cfg.Unsafe || len(res.Verdicts) == 0 {
		return nil
	}
	return v.refuseVerdicts(res.Verdicts)
}

func (v *Validator) subject(ep entrypoint.EntryPoint, op *userop.UserOperation, f facts, sim *simulation, res *Result) *erc7562.Subject {
	fork := v.rules.fork(sim.rules)
	s := &erc7562.Subject{
		EntryPoint:   ep.Address,
		Sender:       v.party(&res.Sender, nil),
		SenderExists: len(f.senderCode) > 0 || op.Authorization != nil,
		ContextSize:  res.ContextSize,
		Assigned:     &fork.assigned,
		Precompiles:  fork.precompiles,
	}
	if len(v.cfg.Precompiles) > 0 {
		s.Precompiles = slices.Concat(v.cfg.Precompiles, fork.precompiles)
	}
	if res.Factory != nil {
		s.Factory = v.party(res.Factory, f.factoryCode)
	}
	if res.Paymaster != nil {
		s.Paymaster = v.party(res.Paymaster, f.paymasterCode)
	}
	if res.AggregatorStake != nil {
		s.Aggregator = v.party(res.AggregatorStake, f.aggregatorCode)
	}
	return s
}

func (v *Validator) party(info *StakeInfo, code []byte) erc7562.Party {
	_, delegated := types.ParseDelegation(code)
	return erc7562.Party{
		Address:   info.Address,
		Staked:    v.cfg.Stakes.Staked(info.Staked, &info.Stake, info.UnstakeDelaySec),
		Delegated: delegated,
	}
}

// codeHashes returns the code hashes of the accounts read. An account without code, delegation included, has the hash of
// no bytes; one that does not exist has it too, so that a deployment in between is a change.
func codeHashes(reads *evm.ReadSet) erc7562.CodeHashes {
	hashes := make([]erc7562.CodeHash, 0, len(reads.Accounts))
	for addr, account := range reads.Accounts {
		hashes = append(hashes, erc7562.CodeHash{Account: addr, Hash: account.CodeHash})
	}
	return erc7562.CodeHashesOf(hashes)
}

// refuseVerdicts refuses an operation for the first of its broken rules: with -32505 if it is one that a stake would
// have allowed, with -32502 if not (ERC-7769).
func (v *Validator) refuseVerdicts(verdicts []*erc7562.Verdict) *Refusal {
	verdict := verdicts[0]
	r := rejection.New(rejection.OpcodeViolation, "%s", verdict.Error())
	blamed, address := verdict.Entity, verdict.Address
	if verdict.Needs != erc7562.NoEntity {
		r.Kind = rejection.StakeTooLow
		r.Data.MinimumStake = v.cfg.Stakes.MinStake.Hex()
		r.Data.MinimumUnstakeDelay = "0x" + strconv.FormatUint(v.cfg.Stakes.MinUnstakeDelay, 16)
		blamed, address = verdict.Needs, verdict.NeedsAddress
	}
	r.Data.Rule = string(verdict.Rule)
	switch blamed {
	case erc7562.Sender:
		r.Data.Sender = &address
	case erc7562.Factory:
		r.Data.Factory = &address
	case erc7562.Paymaster:
		r.Data.Paymaster = &address
	case erc7562.Aggregator:
		r.Data.Aggregator = &address
	case erc7562.NoEntity:
	}
	return &Refusal{Rejection: r, Entity: verdict.Entity, Address: verdict.Address, Verdicts: verdicts}
}
