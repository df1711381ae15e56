package main

import (
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"baler/devchain"
	"baler/entrypoint"
	"baler/entrypoint/artifacts"
	"baler/userop"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/crypto"
)

// step is one Step of contracts/rules/Steps.sol: what a RuleAccount or a RulePaymaster does.
type step struct {
	Op     *big.Int
	Target common.Address
	Value  *big.Int
	Data   []byte
}

func does(op vm.OpCode, target common.Address, value *big.Int, data ...byte) step {
	return step{big.NewInt(int64(op)), target, value, data}
}

// stepsOf is steps as the contracts take them.
func stepsOf(t *testing.T, steps ...step) []byte {
	t.Helper()
	list, err := abi.NewType("tuple[]", "", []abi.ArgumentMarshaling{
		{Name: "op", Type: "uint256"}, {Name: "target", Type: "address"}, {Name: "value", Type: "uint256"}, {Name: "data", Type: "bytes"},
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := abi.Arguments{{Type: list}}.Pack(steps)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// runs is a call of a rule contract's run(steps).
func runs(t *testing.T, steps ...step) []byte {
	t.Helper()
	data, err := ruleArtifact(t, "RuleAccount").ABI.Pack("run", stepsOf(t, steps...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// ruleContract is an account of the first block with a rule contract's code and money.
func ruleContract(t *testing.T, name string, wei *big.Int) types.Account {
	t.Helper()
	return types.Account{Code: ruleArtifact(t, name).DeployedBytecode, Balance: wei, Nonce: 1}
}

// ruleArtifact is a contract of contracts/rules.
func ruleArtifact(t *testing.T, name string) *artifacts.Artifact {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "validation", "testdata", "rules", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	a := new(artifacts.Artifact)
	if err := json.Unmarshal(raw, a); err != nil {
		t.Fatal(err)
	}
	return a
}

// ruleAccount is an account that checks no signature: it does what stands there.
func (w *world) ruleAccount(address common.Address, signature []byte) *account {
	return &account{w: w, ep: entrypoint.Canonical(userop.V07), address: address, program: &signature}
}

// thousand is who sends what in TestOfAThousandOperationsEveryValidOneIsMined.
type thousand struct {
	plain, emptied, touching, paid, unpaid []*account
	poor, ruined                           common.Address // paymasters
}

func numbered(role byte, n int) common.Address {
	return common.BytesToAddress(crypto.Keccak256([]byte{role, byte(n)}))
}

// The accounts: 200 of 5 operations each.
const (
	plainAccounts    = 160
	emptiedAccounts  = 20 // 10 %: their money is gone between the two simulations
	touchingAccounts = 10 // 5 %: each looks at another one of them in its validation
	paidAccounts     = 5  // 5 % share draining paymasters: one is left with enough for some operations at a time,
	unpaidAccounts   = 5  // one with too little for any
	operationsEach   = 5
)

// cast makes the chain's first block with all the special accounts.
func (c *thousand) cast(t *testing.T) types.GenesisAlloc {
	t.Helper()
	c.poor, c.ruined = numbered('p', 0), numbered('p', 1)
	alloc := types.GenesisAlloc{c.poor: ruleContract(t, "RulePaymaster", ether(10)), c.ruined: ruleContract(t, "RulePaymaster", ether(10))}
	for role, n := range map[byte]int{'e': emptiedAccounts, 't': touchingAccounts, 'a': paidAccounts, 'u': unpaidAccounts} {
		for i := range n {
			alloc[numbered(role, i)] = ruleContract(t, "RuleAccount", ether(10))
		}
	}
	return alloc
}

// act gives every account its part.
func (c *thousand) act(t *testing.T, w *world) {
	t.Helper()
	c.plain = w.deployedAccounts(t, userop.V07, plainAccounts)
	for i := range emptiedAccounts {
		c.emptied = append(c.emptied, w.ruleAccount(numbered('e', i), nil))
	}
	for i := range touchingAccounts {
		looks := stepsOf(t, does(vm.EXTCODESIZE, numbered('t', (i+1)%touchingAccounts), new(big.Int)))
		c.touching = append(c.touching, w.ruleAccount(numbered('t', i), looks))
	}
	for i := range paidAccounts {
		c.paid = append(c.paid, w.ruleAccount(numbered('a', i), nil))
	}
	for i := range unpaidAccounts {
		c.unpaid = append(c.unpaid, w.ruleAccount(numbered('u', i), nil))
	}
	for _, paymaster := range []common.Address{c.poor, c.ruined} {
		w.pay(t, entrypoint.Canonical(userop.V07).Address, ether(5), pack(t, "v0.7/EntryPoint.json", "depositTo", paymaster))
	}
	w.awaitTransaction(t, w.pay(t, addressOf(w.funds), new(big.Int), nil))
}

// paidByRules lets a RulePaymaster pay.
func paidByRules(paymaster common.Address) change {
	return func(op *userop.UserOperation) {
		op.Paymaster, op.PaymasterVerificationGasLimit, op.PaymasterPostOpGasLimit = &paymaster, 40_000, 1
	}
}

// lean sets limits close to what the operations of the test need.
func lean(op *userop.UserOperation) {
	op.CallGasLimit, op.VerificationGasLimit, op.PreVerificationGas = 60_000, 100_000, 60_000
}

// send sends all operations of some accounts, and returns their hashes.
func (c *thousand) send(t *testing.T, w *world, list []*account, changes ...change) []common.Hash {
	t.Helper()
	hashes := make([][]common.Hash, len(list))
	var wallets sync.WaitGroup
	for part := range 4 { // more than there are processors changes nothing
		wallets.Go(func() {
			for i := part; i < len(list); i += 4 {
				call := w.count(t)
				if list[i].program != nil {
					call = nil // it has no way to call
				}
				for range operationsEach {
					var hash common.Hash
					op := list[i].op(t, call, append([]change{lean}, changes...)...)
					w.call(t, &hash, "eth_sendUserOperation", op, list[i].ep.Address)
					list[i].nonce++
					hashes[i] = append(hashes[i], hash)
				}
			}
		})
	}
	wallets.Wait()
	return slices.Concat(hashes...)
}

// drain takes the money of accounts and paymasters away.
func (c *thousand) drain(t *testing.T, w *world) {
	t.Helper()
	sink := common.Address{0x51}
	for _, a := range c.emptied {
		w.pay(t, a.address, new(big.Int), runs(t, does(vm.CALL, sink, ether(10))))
	}
	ep := entrypoint.Canonical(userop.V07).Address
	for paymaster, left := range map[common.Address]*big.Int{c.poor: gwei(250_000_000), c.ruined: gwei(1_000_000)} {
		withdraw := pack(t, "v0.7/EntryPoint.json", "withdrawTo", sink, new(big.Int).Sub(ether(5), left))
		w.pay(t, paymaster, new(big.Int), runs(t, does(vm.CALL, ep, new(big.Int), withdraw...)))
	}
	w.awaitTransaction(t, w.pay(t, addressOf(w.funds), new(big.Int), nil))
}

// A thousand operations of 200 accounts wait. Between their first and their second simulation 10 % become invalid, the
// paymasters of 5 % are drained, and 5 % look at each other's senders.
func TestOfAThousandOperationsEveryValidOneIsMined(t *testing.T) {
	t.Parallel()
	const senders = 4
	c := new(thousand)
	w := startWorld(t, devchain.Config{Mining: devchain.Manual, GasLimit: 120_000_000, Alloc: c.cast(t)},
		fmt.Sprintf("--num-signers=%d", senders), "--bundling-mode=manual", "--same-sender-mempool-count=5", "--same-unstaked-entity-mempool-count=1000")
	c.act(t, w)
	valid := slices.Concat(c.send(t, w, c.plain), c.send(t, w, c.touching), c.send(t, w, c.paid, paidByRules(c.poor)))
	emptied, unpaid := c.send(t, w, c.emptied), c.send(t, w, c.unpaid, paidByRules(c.ruined))
	if have := w.health(t).Operations; have != 1000 {
		t.Fatalf("have %d operations waiting, want 1000", have)
	}
	before := w.chain.Head().Number.Uint64()
	c.drain(t, w)

	var mode string
	w.call(t, &mode, "debug_bundler_setBundlingMode", "auto")
	eventually(t, "nothing waits any more", func() error {
		w.mine(t, 1)
		return w.atRest(t, senders)
	})
	events := w.events(t)
	for _, hash := range valid {
		if have := len(events[hash]); have != 1 {
			t.Errorf("valid operation %s: have %d events on the chain, want one; its status is %+v", hash, have, w.status(t, hash))
		}
	}
	for code, hashes := range map[string][]common.Hash{"AA23": emptied, "AA31": unpaid} {
		for _, hash := range hashes {
			s := w.status(t, hash)
			if len(events[hash]) != 0 || s.Status != "dropped" || s.Reason == "" {
				t.Errorf("invalid operation %s: have %d events, %+v, want it out with its reason", hash, len(events[hash]), s)
			}
		}
		if s := w.status(t, hashes[0]); !strings.Contains(s.Reason, code) {
			t.Errorf("have %q, want the reason %s", s.Reason, code)
		}
	}
	found, sums := w.outcome(t, senders), w.checkBooks(t, senders)
	if found.reverted != 0 || found.empty != 0 {
		t.Errorf("have %+v, want no bundle reverted or cancelled", found)
	}
	t.Logf("1,000 operations, %d valid: %d bundles in %d blocks, none reverted; gas limit %.2f of what is used, charged %.2f of what is used",
		len(valid), found.bundles, w.chain.Head().Number.Uint64()-before,
		float64(sums.Total.GasLimit)/float64(sums.Total.GasUsed), float64(sums.Total.ChargedGas)/float64(sums.Total.GasUsed))
}

// operationStatus is the answer of baler_getUserOperationStatus.
type operationStatus struct{ Status, Reason string }

func (w *world) status(t *testing.T, hash common.Hash) operationStatus {
	t.Helper()
	var s operationStatus
	w.call(t, &s, "baler_getUserOperationStatus", hash)
	return s
}
