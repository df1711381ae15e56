package devchain

import (
	"fmt"
	"maps"
	"math/big"

	"baler/entrypoint/artifacts"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

// creationGas is the gas of each call while the genesis state is built; the largest creation takes about 6 million.
const creationGas = 1_000_000_000

// genesisBuilder runs creations and calls in an empty state and remembers what they touched. It starts a chain in
// milliseconds with the state that a first block of transactions would have left.
type genesisBuilder struct {
	state   *state.StateDB
	evm     *vm.EVM
	rules   params.Rules
	owner   common.Address
	touched map[common.Address]map[common.Hash]struct{} // accounts and their written slots
}

// newGenesisBuilder returns a builder over an empty state under the rules at genesis. Calls come from the owner key.
func newGenesisBuilder(cfg *params.ChainConfig, genesisTime uint64) (*genesisBuilder, error) {
	db, err := state.New(types.EmptyRootHash, state.NewDatabaseForTesting())
	if err != nil {
		return nil, fmt.Errorf("devchain: genesis state: %w", err)
	}
	b := &genesisBuilder{
		state:   db,
		rules:   cfg.Rules(new(big.Int), true, genesisTime),
		owner:   addressOf(OwnerKey()),
		touched: make(map[common.Address]map[common.Hash]struct{}),
	}
	hooks := &tracing.Hooks{
		OnBalanceChange: func(a common.Address, _, _ *big.Int, _ tracing.BalanceChangeReason) { b.touch(a) },
		OnNonceChange:   func(a common.Address, _, _ uint64) { b.touch(a) },
		OnCodeChange:    func(a common.Address, _ common.Hash, _ []byte, _ common.Hash, _ []byte) { b.touch(a) },
		OnStorageChange: func(a common.Address, slot, _, _ common.Hash) { b.touch(a)[slot] = struct{}{} },
	}
	block := vm.BlockContext{
		CanTransfer: core.CanTransfer,
		Transfer:    core.Transfer,
		GetHash:     func(uint64) common.Hash { return common.Hash{} },
		BlockNumber: new(big.Int),
		Time:        genesisTime,
		Difficulty:  new(big.Int),
		BaseFee:     new(big.Int),
		BlobBaseFee: big.NewInt(1),
		GasLimit:    creationGas,
		Random:      new(common.Hash), // after the merge
	}
	b.evm = vm.NewEVM(block, state.NewHookedState(db, hooks), cfg, vm.Config{})
	db.SetBalance(b.owner, toUint256(ether(10*keyBalance)), tracing.BalanceIncreaseGenesisBalance)
	b.touch(b.owner)
	return b, nil
}

func (b *genesisBuilder) touch(a common.Address) map[common.Hash]struct{} {
	slots, ok := b.touched[a]
	if !ok {
		slots = make(map[common.Hash]struct{})
		b.touched[a] = slots
	}
	return slots
}

// put sets code and nonce of an account that is not created by code.
func (b *genesisBuilder) put(a common.Address, nonce uint64, code []byte) {
	b.state.SetNonce(a, nonce, tracing.NonceChangeGenesis)
	b.state.SetCode(a, code, tracing.CodeChangeGenesis)
	b.touch(a)
}

// code returns the code of an account.
func (b *genesisBuilder) code(a common.Address) []byte { return b.state.GetCode(a) }

// hasCode reports whether the account is a contract.
func (b *genesisBuilder) hasCode(a common.Address) bool { return b.state.GetCodeSize(a) > 0 }

// create deploys an artifact from the owner's account (CREATE).
func (b *genesisBuilder) create(name string, args ...any) (common.Address, error) {
	init, err := initCode(name, args)
	if err != nil {
		return common.Address{}, err
	}
	b.prepare(nil)
	_, made, _, err := b.evm.Create(b.owner, init, vm.NewGasBudget(creationGas, 0), new(uint256.Int))
	if err != nil {
		return common.Address{}, fmt.Errorf("devchain: create %s: %w", name, err)
	}
	b.state.Finalise(b.rules)
	return made, nil
}

// create2 deploys an artifact through the deterministic deployer.
func (b *genesisBuilder) create2(name string, salt common.Hash, args ...any) (common.Address, error) {
	init, err := initCode(name, args)
	if err != nil {
		return common.Address{}, err
	}
	to := deployerAddress
	b.prepare(&to)
	input := append(salt.Bytes(), init...)
	ret, _, err := b.evm.Call(b.owner, to, input, vm.NewGasBudget(creationGas, 0), new(uint256.Int))
	if err != nil {
		return common.Address{}, fmt.Errorf("devchain: create2 %s: %w", name, err)
	}
	b.state.Finalise(b.rules)
	want := crypto.CreateAddress2(to, salt, crypto.Keccak256(init))
	if have := common.BytesToAddress(ret); have != want || !b.hasCode(want) {
		return common.Address{}, fmt.Errorf("devchain: create2 %s: have %v, want code at %v", name, have, want)
	}
	return want, nil
}

// call calls a method of an artifact's contract from the owner's account, with a value in wei.
func (b *genesisBuilder) call(name string, to common.Address, value *big.Int, method string, args ...any) error {
	a, err := artifacts.Load(name)
	if err != nil {
		return err
	}
	input, err := a.ABI.Pack(method, args...)
	if err != nil {
		return fmt.Errorf("devchain: encode %s of %s: %w", method, name, err)
	}
	b.prepare(&to)
	ret, _, err := b.evm.Call(b.owner, to, input, vm.NewGasBudget(creationGas, 0), toUint256(value))
	if err != nil {
		return fmt.Errorf("devchain: call %s of %s: %w (%x)", method, name, err, ret)
	}
	b.state.Finalise(b.rules)
	return nil
}

// prepare starts a new transaction's access list and transient storage.
func (b *genesisBuilder) prepare(to *common.Address) {
	b.state.Prepare(b.rules, b.owner, common.Address{}, to, vm.ActivePrecompiles(b.rules), nil)
}

// alloc returns the state as a genesis allocation, the owner with the balance of a funded key.
func (b *genesisBuilder) alloc() types.GenesisAlloc {
	b.state.SetBalance(b.owner, toUint256(ether(keyBalance)), tracing.BalanceIncreaseGenesisBalance)
	alloc := make(types.GenesisAlloc, len(b.touched))
	for a, slots := range b.touched {
		account := types.Account{
			Nonce:   b.state.GetNonce(a),
			Balance: b.state.GetBalance(a).ToBig(),
			Code:    b.state.GetCode(a),
			Storage: make(map[common.Hash]common.Hash),
		}
		for slot := range maps.Keys(slots) {
			if value := b.state.GetState(a, slot); value != (common.Hash{}) {
				account.Storage[slot] = value
			}
		}
		alloc[a] = account
	}
	return alloc
}

// initCode loads an artifact and appends its constructor's arguments. Arguments beyond what the constructor takes are
// an error; the EntryPoint argument of a v0.8 contract without a constructor is not passed by the callers.
func initCode(name string, args []any) ([]byte, error) {
	a, err := artifacts.Load(name)
	if err != nil {
		return nil, err
	}
	return a.InitCode(args...)
}
