package validation_test

import (
	"bytes"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"baler/devchain"
	"baler/entrypoint"
	"baler/entrypoint/artifacts"
	"baler/erc7562"
	"baler/evm"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
)

// The numbers of contracts/rules/Steps.sol beyond opcodes.
const (
	stepSizeIsZero = 0x100 + iota
	stepTryCall
	stepMappedLoad
	stepMappedStore
	stepMappedTLoad
	stepMappedTStore
	stepHash
	stepContext
	stepRevert
	stepDig
	stepManyLoads
	stepManyTStores
	stepManyHashes
	stepUnless
	stepAggregator
)

// step is one Step of contracts/rules/Steps.sol.
type step struct {
	Op     *big.Int
	Target common.Address
	Value  *big.Int
	Data   []byte
}

// do is a step with a value that fits a word of Go.
func do(op int, target common.Address, value uint64, data ...byte) step {
	return step{big.NewInt(int64(op)), target, new(big.Int).SetUint64(value), data}
}

// at is a step on a storage slot.
func at(op vm.OpCode, slot common.Hash) step {
	return step{big.NewInt(int64(op)), common.Address{}, slot.Big(), make([]byte, 32)}
}

// run is a call of the target's run(steps).
func run(target common.Address, steps ...step) step {
	return do(int(vm.CALL), target, 0, runData(steps...)...)
}

var (
	stepsType = mustType("tuple[]", []abi.ArgumentMarshaling{
		{Name: "op", Type: "uint256"}, {Name: "target", Type: "address"}, {Name: "value", Type: "uint256"}, {Name: "data", Type: "bytes"},
	})
	bytesType = mustType("bytes", nil)
)

func mustType(name string, components []abi.ArgumentMarshaling) abi.Type {
	t, err := abi.NewType(name, "", components)
	if err != nil {
		panic(err)
	}
	return t
}

func packArguments(types []abi.Type, values ...any) []byte {
	var arguments abi.Arguments
	for _, t := range types {
		arguments = append(arguments, abi.Argument{Type: t})
	}
	packed, err := arguments.Pack(values...)
	if err != nil {
		panic(err)
	}
	return packed
}

// encodeSteps is steps as the test contracts take them; no steps are no bytes.
func encodeSteps(steps ...step) []byte {
	if len(steps) == 0 {
		return nil
	}
	return packArguments([]abi.Type{stepsType}, steps)
}

func runData(steps ...step) []byte {
	return append(selector("run(bytes)"), packArguments([]abi.Type{bytesType}, encodeSteps(steps...))...)
}

// Where the test contracts stand.
var (
	ruleAccount          = common.HexToAddress("0x7562000000000000000000000000000000000a01")
	stakedRuleAccount    = common.HexToAddress("0x7562000000000000000000000000000000000a02")
	ruleFactory          = common.HexToAddress("0x7562000000000000000000000000000000000f01")
	stakedRuleFactory    = common.HexToAddress("0x7562000000000000000000000000000000000f02")
	rulePaymaster        = common.HexToAddress("0x7562000000000000000000000000000000000b01")
	stakedRulePaymaster  = common.HexToAddress("0x7562000000000000000000000000000000000b02")
	ruleAggregator       = common.HexToAddress("0x7562000000000000000000000000000000000901")
	stakedRuleAggregator = common.HexToAddress("0x7562000000000000000000000000000000000902")
	delegatedAggregator  = common.HexToAddress("0x7562000000000000000000000000000000000d04") // to the code of ruleAggregator
	ruleTarget           = common.HexToAddress("0x7562000000000000000000000000000000000c01")
	delegatedAccount     = common.HexToAddress("0x7562000000000000000000000000000000000d01") // to the code of ruleAccount
	delegatedFactory     = common.HexToAddress("0x7562000000000000000000000000000000000d02") // to the code of ruleFactory
	delegatedPaymaster   = common.HexToAddress("0x7562000000000000000000000000000000000d03") // to the code of rulePaymaster
	nowhere              = common.HexToAddress("0x7562000000000000000000000000000000000e01") // no code
)

// bare is code that Solidity has no word for, by its name, each at an address of its own.
var bare = map[string]struct {
	address common.Address
	code    []byte
}{
	"unassigned":   {common.HexToAddress("0x75620000000000000000000000000000000000c1"), []byte{0x0c}},
	"invalid":      {common.HexToAddress("0x75620000000000000000000000000000000000c2"), []byte{0xfe}},
	"selfdestruct": {common.HexToAddress("0x75620000000000000000000000000000000000c3"), []byte{0x30, 0xff}},
	"timestamp":    {common.HexToAddress("0x75620000000000000000000000000000000000c4"), []byte{0x42, 0x50, 0x00}},
	"chainid":      {common.HexToAddress("0x75620000000000000000000000000000000000c5"), []byte{0x46, 0x50, 0x33, 0x50, 0x34, 0x50, 0x3d, 0x50, 0x00}},
	// RETURN(GAS, 0): geth's tracer forgets what came before RETURN.
	"gas return": {common.HexToAddress("0x75620000000000000000000000000000000000c6"), []byte{0x5f, 0x5a, 0xf3}},
	// 1,048,576 bytes of zeros; a loop; calls of itself.
	"return bomb": {common.HexToAddress("0x75620000000000000000000000000000000000c8"), common.FromHex("0x621000005ff3")},
	"revert bomb": {common.HexToAddress("0x75620000000000000000000000000000000000c9"), common.FromHex("0x621000005ffd")},
	"loop":        {common.HexToAddress("0x75620000000000000000000000000000000000ca"), common.FromHex("0x5b5f56")},
	"recursion":   {common.HexToAddress("0x75620000000000000000000000000000000000cb"), common.FromHex("0x5f5f5f5f5f305af100")},
	"underflow":   {common.HexToAddress("0x75620000000000000000000000000000000000c7"), []byte{0x54}},
}

// ruleArtifact loads a test contract.
func ruleArtifact(t testing.TB, name string) *artifacts.Artifact {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "rules", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var a artifacts.Artifact
	if err := json.Unmarshal(raw, &a); err != nil {
		t.Fatal(err)
	}
	return &a
}

// ruleWorld is a chain with the test contracts, staked and funded at every EntryPoint.
type ruleWorld struct {
	*fixture

	accountInit []byte // creation code of RuleAccount
	traced      *validation.Validator
}

// ruleConfig leaves room for a factory that deploys its account, which takes more than MAX_VERIFICATION_GAS.
func ruleConfig() validation.Config {
	limits := erc7562.DefaultLimits()
	limits.MaxVerificationGas, limits.MaxUserOpSize = 8_000_000, 20_000
	return validation.Config{Limits: limits, Precompiles: []common.Address{foreignPrecompile}}
}

// foreignPrecompile stands for a precompiled contract of a chain that is not one of the ERC's.
var foreignPrecompile = common.BytesToAddress([]byte{0x64})

func ruleAlloc(t testing.TB) types.GenesisAlloc {
	t.Helper()
	rich := new(big.Int).Mul(big.NewInt(1_000), big.NewInt(params.Ether))
	alloc := types.GenesisAlloc{}
	for addr, name := range map[common.Address]string{
		ruleAccount: "RuleAccount", stakedRuleAccount: "RuleAccount", ruleFactory: "RuleFactory", stakedRuleFactory: "RuleFactory",
		rulePaymaster: "RulePaymaster", stakedRulePaymaster: "RulePaymaster", ruleTarget: "RuleTarget",
		ruleAggregator: "RuleAggregator", stakedRuleAggregator: "RuleAggregator",
	} {
		alloc[addr] = types.Account{Nonce: 1, Balance: rich, Code: ruleArtifact(t, name).DeployedBytecode}
	}
	for addr, to := range map[common.Address]common.Address{
		delegatedAccount: ruleAccount, delegatedFactory: ruleFactory, delegatedPaymaster: rulePaymaster,
		delegatedAggregator: ruleAggregator,
	} {
		alloc[addr] = types.Account{Nonce: 1, Balance: rich, Code: types.AddressToDelegation(to)}
	}
	for _, snippet := range bare {
		alloc[snippet.address] = types.Account{Nonce: 1, Balance: new(big.Int), Code: snippet.code}
	}
	return alloc
}

func newRuleWorld(t testing.TB, versions ...userop.Version) *ruleWorld {
	t.Helper()
	chain, err := devchain.Start(t.Context(), devchain.Config{Mining: devchain.Manual, Alloc: ruleAlloc(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := chain.Close(); err != nil {
			t.Error(err)
		}
	})
	node, err := rpc.DialContext(t.Context(), chain.HTTPURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Close)
	source := evm.NewSource(newPlainNode(node), chain.ChainConfig(), evm.Options{})
	tracing := ruleConfig()
	tracing.Tracing = validation.TracingAlways
	w := &ruleWorld{
		fixture: &fixture{
			t: t, chain: chain, node: node, owner: chain.Keys()[1],
			v: validation.New(source, ruleConfig()),
		},
		accountInit: ruleArtifact(t, "RuleAccount").Bytecode,
		traced:      validation.New(evm.NewSource(node, chain.ChainConfig(), evm.Options{}), tracing),
	}
	for _, v := range versions {
		w.fundEntities(v)
	}
	return w
}

// fundEntities stakes the entities that are to be staked, and deposits for all that pay.
func (w *ruleWorld) fundEntities(v userop.Version) {
	w.t.Helper()
	ep := entrypoint.Canonical(v).Address
	stake := append(selector("addStake(uint32)"), word(86_400)...)
	for _, entity := range []common.Address{stakedRuleAccount, stakedRuleFactory, stakedRulePaymaster, stakedRuleAggregator, delegatedAggregator} {
		w.send(entity, nil, runData(do(int(vm.CALL), ep, params.Ether, stake...)), 1_000_000)
	}
	for _, payer := range []common.Address{
		ruleAccount, stakedRuleAccount, rulePaymaster, stakedRulePaymaster, delegatedAccount, delegatedPaymaster,
		w.created(ruleFactory), w.created(stakedRuleFactory), w.createdByNonce(ruleFactory), w.createdByNonce(stakedRuleFactory),
		w.created(delegatedFactory),
	} {
		w.send(ep, big.NewInt(params.Ether), entrypoint.EncodeDepositTo(payer), 1_000_000)
	}
	for _, account := range []common.Address{w.created(ruleFactory), w.created(stakedRuleFactory)} {
		w.send(account, big.NewInt(params.Ether), nil, 100_000)
	}
}

// created is where a factory's create puts its account.
func (w *ruleWorld) created(factory common.Address) common.Address {
	return crypto.CreateAddress2(factory, common.Hash{}, crypto.Keccak256(w.accountInit))
}

func (w *ruleWorld) createdByNonce(factory common.Address) common.Address {
	return crypto.CreateAddress(factory, 1)
}

// scenario says who does the steps, and what the operation is like.
type scenario struct {
	name          string
	entity        erc7562.Entity
	staked        bool // the entity
	created       bool // the operation creates its account
	factoryStaked bool
}

// scenarios are all entities, staked and not, with and without a factory that is staked or not.
var scenarios = []scenario{
	{"sender", erc7562.Sender, false, false, false},
	{"staked sender", erc7562.Sender, true, false, false},
	{"new sender", erc7562.Sender, false, true, false},
	{"new sender of staked factory", erc7562.Sender, false, true, true},
	{"factory", erc7562.Factory, false, true, false},
	{"staked factory", erc7562.Factory, true, true, true},
	{"paymaster", erc7562.Paymaster, false, false, false},
	{"staked paymaster", erc7562.Paymaster, true, false, false},
	{"paymaster of new sender", erc7562.Paymaster, false, true, false},
	{"staked paymaster of new sender", erc7562.Paymaster, true, true, false},
	{"paymaster of new sender of staked factory", erc7562.Paymaster, false, true, true},
}

// actors are the addresses of an operation's entities.
type actors struct {
	entryPoint, sender, factory, paymaster, self common.Address
}

// actors returns who takes part in a scenario.
func (w *ruleWorld) actors(v userop.Version, s scenario) actors {
	a := actors{entryPoint: entrypoint.Canonical(v).Address, sender: ruleAccount}
	if s.created {
		a.factory = ruleFactory
		if s.factoryStaked {
			a.factory = stakedRuleFactory
		}
		a.sender = w.created(a.factory)
	} else if s.entity == erc7562.Sender && s.staked {
		a.sender = stakedRuleAccount
	}
	a.self = a.sender
	switch s.entity {
	case erc7562.Factory:
		a.self = a.factory
	case erc7562.Paymaster:
		a.paymaster = rulePaymaster
		if s.staked {
			a.paymaster = stakedRulePaymaster
		}
		a.self = a.paymaster
	default:
	}
	return a
}

// operation is the scenario's operation, in which its entity does the steps.
func (w *ruleWorld) operation(v userop.Version, s scenario, a actors, steps []step) *userop.UserOperation {
	op := w.bareOperation(v, a.sender)
	if s.created {
		w.withFactory(op, a.factory, nil)
	}
	switch s.entity {
	case erc7562.Factory:
		w.withFactory(op, a.factory, steps)
	case erc7562.Paymaster:
		withPaymaster(op, a.paymaster, steps)
	default:
		op.Signature = encodeSteps(steps...)
	}
	return op
}

func (w *ruleWorld) bareOperation(v userop.Version, sender common.Address) *userop.UserOperation {
	return &userop.UserOperation{
		Version: v, Sender: sender, CallGasLimit: 50_000, VerificationGasLimit: 6_000_000, PreVerificationGas: 500_000,
		MaxFeePerGas: *uint256.NewInt(3 * params.GWei), MaxPriorityFeePerGas: *uint256.NewInt(params.GWei),
	}
}

func (w *ruleWorld) withFactory(op *userop.UserOperation, factory common.Address, steps []step) {
	op.Factory = &factory
	op.FactoryData = append(selector("create(bytes,bytes)"),
		packArguments([]abi.Type{bytesType, bytesType}, encodeSteps(steps...), []byte{})...)
}

func withPaymaster(op *userop.UserOperation, paymaster common.Address, steps []step) {
	op.Paymaster, op.PaymasterData = &paymaster, encodeSteps(steps...)
	if op.Version.Packed() {
		op.PaymasterVerificationGasLimit, op.PaymasterPostOpGasLimit = 4_000_000, 50_000
	}
}

// slotOf is the slot of a mapping's entry for an address: keccak(address || index) + offset.
func slotOf(addr common.Address, index, offset uint64) common.Hash {
	n := new(big.Int).SetBytes(crypto.Keccak256(bytes.Join([][]byte{addressWord(addr), word(index)}, nil)))
	return common.BigToHash(n.Add(n, new(big.Int).SetUint64(offset)))
}
