package node_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"testing"

	"baler/devchain"
	"baler/entrypoint"
	"baler/entrypoint/artifacts"
	"baler/node"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

// The contracts of the attacks. The accounts and paymasters are those of contracts/rules: the signature of an account's
// operation and the data of a paymaster's are the steps of its validation.
var (
	evilPaymaster = common.HexToAddress("0xbad0000000000000000000000000000000000001")
	// lever reverts once anybody has called it with data. One such call is one storage write.
	lever = common.HexToAddress("0xbad0000000000000000000000000000000000002")
	// onlyFirst, delegatecalled, reverts the second time in a transaction.
	onlyFirst = common.HexToAddress("0xbad0000000000000000000000000000000000003")
)

const (
	leverCode     = "36600a575f54601057005b60015f55005b5f5ffd"
	onlyFirstCode = "5f5c600a5760015f5d005b5f5ffd"
)

// attack is a bundler with honest wallets and an attacker's, and what the attack costs the bundler.
type attack struct {
	*stack
	ep      entrypoint.EntryPoint
	honest  []common.Address
	evil    []common.Address
	harm    harm
	settled uint64 // simulations before the attack
}

// harm is what an attack did.
type harm struct {
	offered     int            // operations of the attacker
	accepted    int            // of these
	simulations uint64         // of single operations, the honest ones' among them
	bundles     int            // sent
	reverted    int            // of these
	gas         uint64         // of reverted bundles: nobody pays for it
	blocks      int            // until all honest operations were mined
	refused     map[string]int // of the attacker's operations, by reason
}

// newAttack starts a bundler on a chain with so many wallets.
func newAttack(t *testing.T, honest, evil int, changes ...func(*node.Config)) *attack {
	t.Helper()
	rich := new(big.Int).Mul(big.NewInt(100), big.NewInt(params.Ether))
	account, paymaster := ruleCode(t, "RuleAccount"), ruleCode(t, "RulePaymaster")
	alloc := types.GenesisAlloc{
		evilPaymaster: {Nonce: 1, Balance: rich, Code: paymaster},
		lever:         {Nonce: 1, Balance: new(big.Int), Code: common.FromHex(leverCode)},
		onlyFirst:     {Nonce: 1, Balance: new(big.Int), Code: common.FromHex(onlyFirstCode)},
	}
	wallets := func(first byte, n int) (list []common.Address) {
		for i := range n {
			var a common.Address
			a[0] = first
			binary.BigEndian.PutUint32(a[16:], uint32(i+1)) //nolint:gosec // a small number
			alloc[a] = types.Account{Nonce: 1, Balance: rich, Code: account}
			list = append(list, a)
		}
		return list
	}
	a := &attack{ep: entrypoint.Canonical(userop.V07), honest: wallets(0x90, honest), evil: wallets(0xe1, evil)}
	a.harm.refused = make(map[string]int)
	a.stack = startStackOn(t, devchain.Config{Mining: devchain.Manual, Alloc: alloc}, changes...)
	return a
}

func ruleCode(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile("../validation/testdata/rules/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var artifact artifacts.Artifact
	if err := json.Unmarshal(raw, &artifact); err != nil {
		t.Fatal(err)
	}
	return artifact.DeployedBytecode
}

// step is one Step of contracts/rules/Steps.sol.
type step struct {
	Op     *big.Int
	Target common.Address
	Value  *big.Int
	Data   []byte
}

func do(op vm.OpCode, target common.Address, wei int64, data []byte) step {
	return step{big.NewInt(int64(op)), target, big.NewInt(wei), data}
}

// steps encodes what a validation does.
func steps(t *testing.T, list ...step) []byte {
	t.Helper()
	return arguments(t, "tuple[]", []abi.ArgumentMarshaling{
		{Name: "op", Type: "uint256"}, {Name: "target", Type: "address"}, {Name: "value", Type: "uint256"}, {Name: "data", Type: "bytes"},
	}, list)
}

func arguments(t *testing.T, name string, components []abi.ArgumentMarshaling, value any) []byte {
	t.Helper()
	kind, err := abi.NewType(name, "", components)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := abi.Arguments{{Type: kind}}.Pack(value)
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

func call(signature string, words ...*big.Int) []byte {
	data := crypto.Keccak256([]byte(signature))[:4]
	for _, w := range words {
		data = append(data, common.LeftPadBytes(w.Bytes(), 32)...)
	}
	return data
}

// orders lets the paymaster do something, as its owner may.
func (a *attack) orders(t *testing.T, list ...step) {
	t.Helper()
	a.transact(t, evilPaymaster, 0, append(call("run(bytes)"), arguments(t, "bytes", nil, steps(t, list...))...))
}

// stakeAndDeposit makes the paymaster one that the rules trust.
func (a *attack) stakeAndDeposit(t *testing.T, wei int64) {
	t.Helper()
	a.orders(t, do(vm.CALL, a.ep.Address, params.Ether, call("addStake(uint32)", big.NewInt(86_400))))
	a.transact(t, a.ep.Address, wei, entrypoint.EncodeDepositTo(evilPaymaster))
	a.mine(t, 1)
}

// operation is one of a wallet.
func (a *attack) operation(wallet common.Address, changes ...func(*userop.UserOperation)) *userop.UserOperation {
	op := &userop.UserOperation{
		Version: a.ep.Version, Sender: wallet, CallGasLimit: 20_000, VerificationGasLimit: 150_000, PreVerificationGas: 100_000,
		MaxFeePerGas: *uint256.NewInt(20e9), MaxPriorityFeePerGas: *uint256.NewInt(2e9), Signature: []byte{},
	}
	for _, change := range changes {
		change(op)
	}
	return op
}

func nonce(key, sequence uint64) func(*userop.UserOperation) {
	return func(op *userop.UserOperation) { op.Nonce = uint256.Int{sequence, key} }
}

func pays(gwei float64) func(*userop.UserOperation) {
	return func(op *userop.UserOperation) {
		op.MaxFeePerGas, op.MaxPriorityFeePerGas = *uint256.NewInt(uint64(gwei * 10e9)), *uint256.NewInt(uint64(gwei * 1e9))
	}
}

// paid lets the paymaster do steps in its validation, and pay.
func paid(program []byte) func(*userop.UserOperation) {
	return func(op *userop.UserOperation) {
		op.Paymaster, op.PaymasterData = &evilPaymaster, program
		op.PaymasterVerificationGasLimit, op.PaymasterPostOpGasLimit = 150_000, 20_000
	}
}

// begin counts from here.
func (a *attack) begin() {
	stats := a.node.MemoStats()
	a.settled = stats.Misses + stats.Stale
}

// offer sends an operation of the attacker.
func (a *attack) offer(t *testing.T, op *userop.UserOperation) (accepted bool) {
	t.Helper()
	a.harm.offered++
	_, err := a.node.SendUserOperation(t.Context(), a.ep, op)
	if r, refused := errors.AsType[*rejection.Rejection](err); refused {
		reason := r.Data.Rule
		if reason == "" {
			reason = map[rejection.Kind]string{
				rejection.InvalidFields: "underpriced", rejection.EntryPointRejected: "nonce", rejection.Throttled: "throttled or banned",
				rejection.StakeTooLow: "too many", rejection.PaymasterDepositLow: "deposit", rejection.PaymasterRejected: "paymaster",
			}[r.Kind]
		}
		a.harm.refused[reason]++
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	a.harm.accepted++
	return true
}

// others lets every honest wallet send an operation; they pay less than the attacker's.
func (a *attack) others(t *testing.T) {
	t.Helper()
	for _, wallet := range a.honest {
		if _, err := a.node.SendUserOperation(t.Context(), a.ep, a.operation(wallet, pays(1.5))); err != nil {
			t.Fatalf("an honest operation is refused: %v", err)
		}
	}
}

// block sends a bundle, if there is one to send, and mines it.
func (a *attack) block(t *testing.T) {
	t.Helper()
	var tx common.Hash
	a.call(t, &tx, "debug_bundler_sendBundleNow")
	a.mine(t, 1)
	if tx == (common.Hash{}) {
		return
	}
	a.harm.bundles++
	receipt, err := a.eth.TransactionReceipt(t.Context(), tx)
	if err != nil {
		t.Fatal(err)
	}
	if receipt.Status != types.ReceiptStatusSuccessful {
		a.harm.reverted++
		a.harm.gas += receipt.GasUsed
	}
}

// served makes blocks until every honest operation is mined, so many at most.
func (a *attack) served(t *testing.T, most int) {
	t.Helper()
	for a.waiting(t) > 0 {
		if a.harm.blocks == most {
			t.Errorf("have %d honest operations left after %d blocks", a.waiting(t), most)
			return
		}
		a.block(t)
		a.harm.blocks++
	}
}

// waiting is how many honest wallets have not got their operation mined.
func (a *attack) waiting(t *testing.T) (n int) {
	t.Helper()
	for _, wallet := range a.honest {
		answer, err := a.eth.StorageAt(t.Context(), a.ep.Address, entrypoint.NonceSlot(a.ep.Version, wallet, uint256.Int{}), nil)
		if err != nil {
			t.Fatal(err)
		}
		if new(big.Int).SetBytes(answer).Sign() == 0 {
			n++
		}
	}
	return n
}

// report ends the count, and prints a line of docs/benchmarks.md.
func (a *attack) report(t *testing.T, name string) harm {
	t.Helper()
	stats := a.node.MemoStats()
	a.harm.simulations = stats.Misses + stats.Stale - a.settled
	h := a.harm
	t.Logf("| %s | %d | %d | %d | %d | %d | %d |", name, h.offered, h.accepted, h.simulations, h.bundles, h.reverted, h.blocks)
	t.Logf("refused: %v", h.refused)
	if h.reverted != 0 {
		t.Errorf("%d bundles reverted, which cost %d gas that nobody pays for", h.reverted, h.gas)
	}
	return h
}
