package validation_test

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"

	"baler/devchain"
	"baler/entrypoint"
	"baler/erc7562"
	"baler/evm"
	"baler/rejection"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
)

// What the table of behaviours and scenarios cannot say: other ways to deploy, two entities at once, delegated entities.
func TestRulesOfDeploymentAndEntities(t *testing.T) {
	w := newRuleWorld(t, userop.Versions()...)
	newAccount := func(v userop.Version, factory, sender common.Address, data []byte) *userop.UserOperation {
		op := w.bareOperation(v, sender)
		op.Factory, op.FactoryData = &factory, data
		return op
	}
	// another stands for the factory through which a factory creates: its account is the sender then.
	by := func(other common.Address) []byte {
		return append(selector("createBy(address)"), addressWord(other)...)
	}
	withBoth := func(v userop.Version, staked bool, ofPaymaster, ofSender []step) *userop.UserOperation {
		op := w.bareOperation(v, ruleAccount)
		op.Signature = encodeSteps(ofSender...)
		paymaster := rulePaymaster
		if staked {
			paymaster = stakedRulePaymaster
		}
		withPaymaster(op, paymaster, ofPaymaster)
		return op
	}
	slot := common.BigToHash(common.Big3)
	cases := []struct {
		name     string
		op       func(v userop.Version) *userop.UserOperation
		want     expected
		entity   erc7562.Entity
		versions []userop.Version // nil: all
	}{
		{"OP-031/the factory creates by a utility contract", func(v userop.Version) *userop.UserOperation {
			return newAccount(v, stakedRuleFactory, w.created(ruleFactory), by(ruleFactory))
		}, allowed, 0, nil},
		{"OP-031/an unstaked factory creates by a utility contract", func(v userop.Version) *userop.UserOperation {
			return newAccount(v, ruleFactory, w.created(stakedRuleFactory), by(stakedRuleFactory))
		}, allowed, 0, nil},
		{"OP-031/the factory creates something else beside", func(v userop.Version) *userop.UserOperation {
			op := w.bareOperation(v, w.created(ruleFactory))
			w.withFactory(op, ruleFactory, []step{do(int(vm.CREATE2), common.Address{}, 0, tiny...)})
			return op
		}, expected{"OP-031", erc7562.Factory}, erc7562.Factory, nil},
		{"OP-011/an unstaked factory creates by CREATE", func(v userop.Version) *userop.UserOperation {
			return newAccount(v, ruleFactory, w.createdByNonce(ruleFactory), selector("createByNonce()"))
		}, expected{"OP-011", erc7562.Factory}, erc7562.Factory, nil},
		{"EREP-060/a staked factory creates by CREATE", func(v userop.Version) *userop.UserOperation {
			return newAccount(v, stakedRuleFactory, w.createdByNonce(stakedRuleFactory), selector("createByNonce()"))
		}, allowed, 0, nil},
		{"STO-021/the account uses the paymaster's storage", func(v userop.Version) *userop.UserOperation {
			return withBoth(v, true, nil, []step{run(stakedRulePaymaster, at(vm.SLOAD, slot))})
		}, expected{rule: "STO-021"}, erc7562.Sender, nil},
		{"STO-021/the account uses its associated storage in the paymaster", func(v userop.Version) *userop.UserOperation {
			return withBoth(v, true, nil, []step{run(stakedRulePaymaster, at(vm.SLOAD, common.BytesToHash(ruleAccount[:])))})
		}, expected{rule: "STO-021"}, erc7562.Sender, nil},
		{"STO-033/a staked paymaster reads the factory's storage", func(v userop.Version) *userop.UserOperation {
			op := w.bareOperation(v, w.created(stakedRuleFactory))
			w.withFactory(op, stakedRuleFactory, nil)
			withPaymaster(op, stakedRulePaymaster, []step{run(stakedRuleFactory, at(vm.SLOAD, slot))})
			return op
		}, expected{rule: "STO-033"}, erc7562.Paymaster, nil},
		{"STO-031/another's paymaster is a contract like others", func(v userop.Version) *userop.UserOperation {
			return withBoth(v, true, []step{run(rulePaymaster, at(vm.SLOAD, slot))}, nil)
		}, allowed, 0, nil},
		{"AUTH-020/a delegated paymaster", func(v userop.Version) *userop.UserOperation {
			op := w.bareOperation(v, ruleAccount)
			withPaymaster(op, delegatedPaymaster, nil)
			return op
		}, expected{rule: "AUTH-020"}, erc7562.Paymaster, nil},
		{"AUTH-020/a delegated factory", func(v userop.Version) *userop.UserOperation {
			return newAccount(v, delegatedFactory, w.created(delegatedFactory), append(selector("create(bytes,bytes)"), make([]byte, 128)...))
		}, expected{rule: "AUTH-020"}, erc7562.Factory, nil},
		{"AUTH-030/a delegated sender uses itself", func(v userop.Version) *userop.UserOperation {
			op := w.bareOperation(v, delegatedAccount)
			op.Signature = encodeSteps(run(delegatedAccount, at(vm.SSTORE, slot)))
			return op
		}, allowed, 0, nil},
		{"OP-011/a delegated sender's initialisation is the sender's", func(v userop.Version) *userop.UserOperation {
			return newAccount(v, userop.EIP7702Marker, delegatedAccount, runData(do(int(vm.TIMESTAMP), common.Address{}, 0)))
		}, expected{rule: "OP-011"}, erc7562.Sender, []userop.Version{userop.V08, userop.V09}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			versions := c.versions
			if versions == nil {
				versions = userop.Versions()
			}
			for _, v := range versions {
				t.Run(v.String(), func(t *testing.T) {
					op := c.op(v)
					a := actors{self: op.Sender}
					switch c.entity {
					case erc7562.Factory:
						a.self = *op.Factory
					case erc7562.Paymaster:
						a.self = *op.Paymaster
					default:
					}
					here := w.outcome(t, w.v, op)
					here.check(t, c.want, scenario{entity: c.entity}, a)
					if diff := cmp.Diff(here, w.outcome(t, w.traced, op)); diff != "" {
						t.Errorf("local EVM and tracing differ (-local +traced):\n%s", diff)
					}
				})
			}
		})
	}
}

// SREP-010: a stake below the minimum, or one that is free too soon, is none. The refusal says how much it takes.
func TestStakeLimits(t *testing.T) {
	w := newRuleWorld(t, userop.V07)
	s := scenarios[7] // staked paymaster: 1 ETH for one day
	a := w.actors(userop.V07, s)
	op := w.operation(userop.V07, s, a, []step{at(vm.SLOAD, common.Hash{})})
	cases := []struct {
		name   string
		change func(*erc7562.StakeLimits)
		staked bool
	}{
		{"just enough", func(*erc7562.StakeLimits) {}, true},
		{"one wei too little", func(l *erc7562.StakeLimits) { l.MinStake.AddUint64(&l.MinStake, 1) }, false},
		{"one second too short", func(l *erc7562.StakeLimits) { l.MinUnstakeDelay++ }, false},
	}
	for _, c := range cases {
		t.Run("SREP-010/"+c.name, func(t *testing.T) {
			cfg := ruleConfig()
			cfg.Stakes = erc7562.StakeLimits{MinStake: *uint256.NewInt(1e18), MinUnstakeDelay: 86_400}
			c.change(&cfg.Stakes)
			_, err := validation.New(w.v.Source(), cfg).Validate(t.Context(), w.head(), entrypoint.Canonical(userop.V07), op, validation.Options{})
			if c.staked {
				if err != nil {
					t.Errorf("have %v, want it to be allowed", err)
				}
				return
			}
			refused := refusedAs(t, err, rejection.StakeTooLow, "STO-031: paymaster "+stakedRulePaymaster.Hex())
			d := refused.Data
			if d.Rule != "STO-031" || d.Paymaster == nil || *d.Paymaster != stakedRulePaymaster ||
				d.MinimumStake != cfg.Stakes.MinStake.Hex() || !strings.HasPrefix(d.MinimumUnstakeDelay, "0x1518") {
				t.Errorf("have data %+v, want the rule, the paymaster and the minimum", d)
			}
		})
	}
}

// With Unsafe the operation goes on, and what it broke is in the result with everything else.
func TestUnsafe(t *testing.T) {
	w := newRuleWorld(t, userop.V07)
	cfg := ruleConfig()
	cfg.Unsafe = true
	a := w.actors(userop.V07, scenarios[0])
	op := w.operation(userop.V07, scenarios[0], a, []step{do(int(vm.TIMESTAMP), common.Address{}, 0), run(ruleTarget, at(vm.SLOAD, common.Hash{}))})
	res, err := validation.New(w.v.Source(), cfg).Validate(t.Context(), w.head(), entrypoint.Canonical(userop.V07), op, validation.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var rules []erc7562.Rule
	for _, v := range res.Verdicts {
		rules = append(rules, v.Rule)
	}
	if diff := cmp.Diff([]erc7562.Rule{"OP-011", "STO-021"}, rules); diff != "" {
		t.Errorf("verdicts (-want +have):\n%s", diff)
	}
	if !res.Environment {
		t.Error("have a result that does not depend on its block, want it to")
	}
	if _, read := res.ReadSet.Slot(ruleTarget, common.Hash{}); !read || len(res.Accessed) != 1 {
		t.Errorf("have %d reads and accessed %v, want the slot in the former and the target in the latter", res.ReadSet.Len(), res.Accessed)
	}
}

// COD-010: code that both validations visited must be the same.
func TestCodeChangedSinceFirstValidation(t *testing.T) {
	w := newRuleWorld(t, userop.V07)
	s := scenarios[6]
	a := w.actors(userop.V07, s)
	op := w.operation(userop.V07, s, a, []step{do(int(vm.CALL), bare["chainid"].address, 0)})
	ep := entrypoint.Canonical(userop.V07)
	first, err := w.v.Validate(t.Context(), w.head(), ep, op, validation.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("COD-010/nothing changed is allowed", func(t *testing.T) {
		if _, err := w.v.Validate(t.Context(), w.head(), ep, op, validation.Options{First: first}); err != nil {
			t.Errorf("have %v", err)
		}
	})
	for _, visited := range []struct {
		name    string
		address common.Address
		entity  erc7562.Entity
	}{
		{"a library", bare["chainid"].address, erc7562.Sender},
		{"the paymaster", rulePaymaster, erc7562.Paymaster},
		{"the sender", ruleAccount, erc7562.Sender},
	} {
		t.Run("COD-010/"+visited.name+" breaks", func(t *testing.T) {
			before := *first
			before.CodeHashes = erc7562.CodeHashesOf([]erc7562.CodeHash{{Account: nowhere, Hash: common.Hash{1}}, {Account: visited.address, Hash: common.Hash{2}}})
			_, err := w.v.Validate(t.Context(), w.head(), ep, op, validation.Options{First: &before})
			refused := refusedAs(t, err, rejection.OpcodeViolation, "COD-010: the code of "+visited.address.Hex())
			if refused.Entity != visited.entity || refused.Data.Rule != "COD-010" {
				t.Errorf("have %v and rule %q, want %v and COD-010", refused.Entity, refused.Data.Rule, visited.entity)
			}
		})
	}
}

// Where geth's tracer sees less than the opcodes tell. The local EVM is the default for a reason; these are the known
// differences, and a change of geth that ends one of them ends it here.
func TestWhatGethsTracerDoesNotSee(t *testing.T) {
	w := newRuleWorld(t, userop.V07)
	a := w.actors(userop.V07, scenarios[0])
	op := w.operation(userop.V07, scenarios[0], a, []step{do(int(vm.CALL), bare["gas return"].address, 0)})
	w.outcome(t, w.v, op).check(t, expected{rule: "OP-012"}, scenarios[0], a)
	w.outcome(t, w.traced, op).check(t, allowed, scenarios[0], a)

	// A storage opcode on an empty stack crashes the tracer: the node's trouble, not a verdict.
	op = w.operation(userop.V07, scenarios[0], a, []step{do(stepTryCall, bare["underflow"].address, 30_000)})
	w.outcome(t, w.v, op).check(t, allowed, scenarios[0], a)
	_, err := w.traced.Validate(t.Context(), w.head(), entrypoint.Canonical(userop.V07), op, validation.Options{})
	if refused, ok := errors.AsType[*validation.Refusal](err); err == nil || ok {
		t.Errorf("have %v (refusal %v), want the node's error", err, refused)
	}
}

// Refusals by the EntryPoint, time ranges and read sets are the same by tracing. What was read is what a local run
// would have read, but for values that no frame of the trace names.
func TestTracedValidation(t *testing.T) {
	f := newFixture(t, validation.Config{})
	traced := validation.New(f.all(), validation.Config{Tracing: validation.TracingAlways})
	for _, v := range userop.Versions() {
		ep := entrypoint.Canonical(v)
		a, fresh := f.deployed(v, 1), f.account(v, 2)
		f.fund(fresh.address)
		broken := f.sign(f.op(a))
		broken.Signature = broken.Signature[:10]
		late := f.op(a)
		late.Nonce.AddUint64(&late.Nonce, 1)
		cases := map[string]*userop.UserOperation{
			"plain":         f.sign(f.op(a)),
			"sponsored":     f.sign(f.sponsored(f.op(a), f.head().Time+1_000, 1)),
			"creating":      f.sign(creating(fresh, f.op(fresh))),
			"bad signature": f.signWith(f.op(a), f.chain.Keys()[5]),
			"reverting":     broken,
			"late nonce":    f.sign(late),
			"expired":       f.sign(f.sponsored(f.op(a), f.head().Time-10, 0)),
		}
		if v != userop.V06 {
			key := f.chain.Keys()[2+int(v)]
			cases["delegating"] = f.signHash(f.delegated(v, key), key)
		}
		for name, op := range cases {
			t.Run(v.String()+"/"+name, func(t *testing.T) {
				for _, ahead := range []uint64{0, 1} {
					here, hereErr := f.v.Validate(t.Context(), f.head(), ep, op, validation.Options{NonceAhead: ahead})
					there, thereErr := traced.Validate(t.Context(), f.head(), ep, op, validation.Options{NonceAhead: ahead})
					if diff := cmp.Diff(hereErr, thereErr); diff != "" {
						t.Fatalf("refusals differ (-local +traced):\n%s", diff)
					}
					if hereErr != nil {
						continue
					}
					compareTraced(t, here, there)
				}
			})
		}
	}
}

// compareTraced compares results, gas to within some hundred.
func compareTraced(t *testing.T, here, there *validation.Result) {
	t.Helper()
	for _, gas := range []struct {
		name       string
		have, want uint64
		tolerated  uint64
	}{
		{"verification gas", there.VerificationGasUsed, here.VerificationGasUsed, 700},
		{"paymaster verification gas", there.PaymasterVerificationGasUsed, here.PaymasterVerificationGasUsed, 700},
		{"gas before execution", there.PreOpGas, here.PreOpGas, 2_000},
	} {
		if gas.have+gas.tolerated < gas.want || gas.want+gas.tolerated < gas.have {
			t.Errorf("%s: have %d, want %d within %d", gas.name, gas.have, gas.want, gas.tolerated)
		}
	}
	for slot, value := range here.ReadSet.Slots {
		if have, read := there.ReadSet.Slots[slot]; !read || have != value {
			t.Errorf("slot %v: have %v (%t), want %v", slot, have, read, value)
		}
	}
	for addr, account := range here.ReadSet.Accounts {
		have, read := there.ReadSet.Accounts[addr]
		if !read && account.CodeHash != types.EmptyCodeHash {
			t.Errorf("account %s was not read", addr)
		}
		if account.BalanceUsed && (!have.BalanceUsed || have.Balance != account.Balance) {
			t.Errorf("balance of %s: have %+v, want %+v", addr, have, account)
		}
		if read && (have.CodeHash != account.CodeHash || have.Empty != account.Empty) {
			t.Errorf("account %s: have %+v, want %+v", addr, have, account)
		}
	}
	same := func(r *validation.Result) validation.Result {
		c := *r
		c.ReadSet, c.CodeHashes, c.PreOpGas, c.VerificationGasUsed, c.PaymasterVerificationGasUsed = nil, nil, 0, 0, 0
		c.OwnGas = validation.EntityGas{}
		return c
	}
	if diff := cmp.Diff(same(here), same(there)); diff != "" {
		t.Errorf("results differ (-local +traced):\n%s", diff)
	}
}

// A node that has no debug namespace, or another tracer behind the name, is an error of the node.
func TestTracingNeedsTheTracer(t *testing.T) {
	f := newFixture(t, validation.Config{})
	a := f.deployed(userop.V07, 1)
	op := f.sign(f.op(a))
	for _, answer := range []string{`{}`, `null`, `{"type":"CALL","from":"0x0000000000000000000000000000000000000000","calls":[]}`} {
		node := tracerAnswering{f.node, answer}
		v := validation.New(evm.NewSource(node, f.chain.ChainConfig(), evm.Options{}), validation.Config{Tracing: validation.TracingAlways})
		if _, err := v.Validate(t.Context(), f.head(), a.entryPoint, op, validation.Options{}); !errors.Is(err, erc7562.ErrTrace) {
			t.Errorf("answer %s: have %v, want %v", answer, err, erc7562.ErrTrace)
		}
	}
}

// tracerAnswering answers debug_traceCall itself.
type tracerAnswering struct {
	evm.Node

	answer string
}

func (n tracerAnswering) CallContext(ctx context.Context, result any, method string, args ...any) error {
	if method != "debug_traceCall" {
		return n.Node.CallContext(ctx, result, method, args...)
	}
	return json.Unmarshal([]byte(n.answer), result)
}

// The contracts of the development chain keep the rules: a paymaster that is a token and gives a context (staked, so that
// it may use its own storage), for an account that exists and for a new one.
func TestTokenPaymasterKeepsTheRules(t *testing.T) {
	f := newFixture(t, validation.Config{})
	a, fresh := f.deployed(userop.V07, 1), f.account(userop.V07, 2)
	token := f.chain.Contracts().TokenPaymaster
	for _, holder := range []common.Address{a.address, fresh.address} {
		mint := append(append(selector("mintTokens(address,uint256)"), addressWord(holder)...), common.MaxHash[:]...)
		mint[4+32] = 0 // a 256th of all there can be
		f.sendAs(devchain.OwnerKey(), token, mint)
	}
	for name, op := range map[string]*userop.UserOperation{"existing": f.op(a), "new": creating(fresh, f.op(fresh))} {
		t.Run(name, func(t *testing.T) {
			op.Paymaster, op.PaymasterVerificationGasLimit, op.PaymasterPostOpGasLimit = &token, 200_000, 100_000
			res, err := f.validate(f.sign(op))
			if err != nil {
				t.Fatal(err)
			}
			if res.ContextSize == 0 || len(res.AssociatedStorageIn) != 0 {
				t.Errorf("have a context of %d bytes and associated storage in %v, want one and none", res.ContextSize, res.AssociatedStorageIn)
			}
		})
	}
	op := f.op(a)
	op.Paymaster, op.PaymasterVerificationGasLimit, op.PaymasterPostOpGasLimit = &token, 200_000, 100_000
	dear := validation.New(f.v.Source(), validation.Config{Stakes: erc7562.StakeLimits{MinStake: *uint256.NewInt(11e18)}})
	_, err := dear.Validate(t.Context(), f.head(), a.entryPoint, f.sign(op), validation.Options{})
	refusedAs(t, err, rejection.StakeTooLow, "EREP-050: paymaster")
}

// sendAs mines a call by the key's account, which need not be one of the funded keys.
func (f *fixture) sendAs(key *ecdsa.PrivateKey, to common.Address, data []byte) {
	f.t.Helper()
	f.sendTx(types.MustSignNewTx(key, types.LatestSigner(f.chain.ChainConfig()), &types.DynamicFeeTx{
		ChainID: f.chain.ChainConfig().ChainID, Nonce: f.txCount(crypto.PubkeyToAddress(key.PublicKey)), To: &to, Data: data,
		Gas: 500_000, GasFeeCap: big.NewInt(100 * params.GWei), GasTipCap: big.NewInt(params.GWei),
	}))
}
