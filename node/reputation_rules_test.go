package node_test

import (
	"math/big"
	"testing"

	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
)

// The accounts' signature, or the paymaster's data, makes them pull the lever in their own storage: they fail as soon as
// somebody has written to it.
func (a *attack) pulls(t *testing.T) []byte {
	t.Helper()
	return steps(t, do(vm.DELEGATECALL, lever, 0, nil))
}

// breaks writes to the lever in an entity's storage.
func (a *attack) breaks(t *testing.T, entity common.Address) {
	t.Helper()
	program := steps(t, do(vm.SSTORE, common.Address{}, 0, nil))
	a.transact(t, entity, 0, append(call("run(bytes)"), arguments(t, "bytes", nil, program)...))
	a.mine(t, 1)
}

// stakes lets an account stake, as its owner may.
func (a *attack) stakes(t *testing.T, account common.Address) {
	t.Helper()
	program := steps(t, do(vm.CALL, a.ep.Address, params.Ether, call("addStake(uint32)", big.NewInt(86_400))))
	a.transact(t, account, 0, append(call("run(bytes)"), arguments(t, "bytes", nil, program)...))
	a.mine(t, 1)
}

// wants compares the counters of entities.
func (a *attack) wants(t *testing.T, when string, seen map[common.Address]uint64) {
	t.Helper()
	have := a.reputation(t)
	for address, want := range seen {
		if uint64(have[address].OpsSeen) != want {
			t.Errorf("%s: have opsSeen %d of %s, want %d", when, uint64(have[address].OpsSeen), address, want)
		}
	}
}

// EREP-015 of ERC-7562 on the chain: a paymaster is not charged for what an account does.
func TestAPaymasterIsNotChargedForItsAccounts(t *testing.T) {
	t.Parallel()
	a := newAttack(t, 0, 2)
	a.stakeAndDeposit(t, params.Ether)
	entry := map[string]any{"address": evilPaymaster, "opsSeen": 5, "opsIncluded": 2} // numbers, as some clients write them
	a.call(t, nil, "debug_bundler_setReputation", []any{entry}, a.ep.Address)
	for _, wallet := range a.evil {
		a.offer(t, a.operation(wallet, paid(nil), func(op *userop.UserOperation) { op.Signature = a.pulls(t) }))
	}
	a.wants(t, "admitted", map[common.Address]uint64{evilPaymaster: 7})
	a.breaks(t, a.evil[0])
	a.block(t)
	a.wants(t, "one failed, one was mined", map[common.Address]uint64{evilPaymaster: 6})
	if have := a.reputation(t)[evilPaymaster]; have.OpsIncluded != 3 || have.Status != "ok" {
		t.Errorf("have %+v, want 3 included", have)
	}
}

// EREP-030 of ERC-7562 on the chain: a staked account answers for its paymaster.
func TestAStakedAccountAnswersForItsPaymaster(t *testing.T) {
	t.Parallel()
	for name, staked := range map[string]bool{"staked": true, "not staked": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAttack(t, 0, 1)
			account := a.evil[0]
			a.transact(t, a.ep.Address, params.Ether, call("depositTo(address)", evilPaymaster.Big()))
			a.mine(t, 1)
			admitted, failed := map[common.Address]uint64{account: 0, evilPaymaster: 1}, map[common.Address]uint64{account: 0, evilPaymaster: 1}
			if staked {
				a.stakes(t, account)
				admitted[account] = 1
				failed = map[common.Address]uint64{account: 1, evilPaymaster: 0}
			}
			if !a.offer(t, a.operation(account, paid(nil))) {
				t.Fatalf("refused: %v", a.harm.refused)
			}
			a.wants(t, "admitted", admitted)
			a.orders(t, do(vm.CALL, a.ep.Address, 0, call("withdrawTo(address,uint256)", big.NewInt(1), big.NewInt(params.Ether))))
			a.mine(t, 1)
			a.sendsNothing(t)
			a.wants(t, "the paymaster has no deposit any more", failed)
			if left := a.mempool(t, a.ep); len(left) != 0 {
				t.Errorf("have %v in the pool, want nothing", left)
			}
		})
	}
}

// GREP-050 of ERC-7562 on the wire: a replacement moves what its operation was charged to.
func TestAReplacementMovesTheCharge(t *testing.T) {
	t.Parallel()
	a := newAttack(t, 0, 1)
	a.transact(t, a.ep.Address, params.Ether, call("depositTo(address)", evilPaymaster.Big()))
	a.mine(t, 1)
	for i, test := range []struct {
		paid func(*userop.UserOperation)
		want uint64
	}{{paid(nil), 1}, {paid(nil), 1}, {pays(9), 0}} {
		price := 2.0 + float64(i)
		if !a.offer(t, a.operation(a.evil[0], pays(price), test.paid)) {
			t.Fatalf("refused: %v", a.harm.refused)
		}
		if have, listed := a.reputation(t)[evilPaymaster]; uint64(have.OpsSeen) != test.want || !listed {
			t.Errorf("after operation %d: have %+v, listed %v, want %d seen", i, have, listed, test.want)
		}
	}
}
