package node_test

import (
	"math/big"
	"testing"

	"baler/userop"

	"github.com/ethereum/go-ethereum/core/vm"
)

// The attacks of this file are bounded in what they cost the bundler: simulations that earn nothing, and gas of bundles
// that revert, of which there is none. The bounds are checked; docs/benchmarks.md has the figures, and how to print them.

// A storage write that makes every operation of a staked paymaster invalid at once wastes what ERC-7562 lets the paymaster
// have: it is throttled when 10 × THROTTLING_SLACK operations were seen and none included.
func TestMassInvalidationByOneStorageWrite(t *testing.T) {
	t.Parallel()
	a := newAttack(t, 10, 400)
	a.stakeAndDeposit(t, 50e9*1e8)
	a.begin()
	reads := steps(t, do(vm.STATICCALL, lever, 0, nil)) // allowed for a staked entity (STO-033)
	for _, wallet := range a.evil {
		a.offer(t, a.operation(wallet, paid(reads), pays(2)))
	}
	a.others(t)
	a.transact(t, lever, 0, []byte{1}) // the write
	a.mine(t, 1)
	a.served(t, 3)
	h := a.report(t, "400 operations of a staked paymaster, invalid after one storage write")
	if h.accepted != 110 || h.refused["throttled or banned"] != 290 {
		t.Errorf("have %d accepted and %v refused, want 110 and the rest throttled", h.accepted, h.refused)
	}
	if most := uint64(2*h.accepted + len(a.honest)); h.simulations > most {
		t.Errorf("have %d simulations, want at most %d: each operation twice, the honest ones once", h.simulations, most)
	}
	// A bundle looks at THROTTLED_ENTITY_BUNDLE_COUNT of them, and the rest leave after THROTTLED_ENTITY_LIVE_BLOCKS.
	a.mine(t, 11)
	if left := a.mempool(t, a.ep); len(left) != 0 {
		t.Errorf("have %d operations left in the pool, want none", len(left))
	}
}

// A paymaster that takes its deposit away when its operations wait makes them fail, each once.
func TestAPaymasterIsDrained(t *testing.T) {
	t.Parallel()
	a := newAttack(t, 10, 60)
	cost := a.operation(a.evil[0], paid(nil), pays(2)).MaxCost()
	deposit := cost.Uint64() * 50
	a.stakeAndDeposit(t, int64(deposit)) //nolint:gosec // below 2^63
	a.begin()
	for _, wallet := range a.evil {
		a.offer(t, a.operation(wallet, paid(nil), pays(2)))
	}
	a.others(t)
	a.orders(t, do(vm.CALL, a.ep.Address, 0, call("withdrawTo(address,uint256)", big.NewInt(1), new(big.Int).SetUint64(deposit))))
	a.mine(t, 1)
	a.served(t, 3)
	h := a.report(t, "60 operations of a paymaster that takes its deposit back")
	if h.accepted != 50 || h.refused["deposit"] != 10 {
		t.Errorf("have %d accepted and %v refused, want as many as the deposit pays for", h.accepted, h.refused)
	}
	if most := uint64(2*h.accepted + len(a.honest)); h.simulations > most {
		t.Errorf("have %d simulations, want at most %d", h.simulations, most)
	}
}

// Operations that pass alone and fail together fail once, in a run of the whole bundle, and their paymaster is banned.
func TestOperationsThatFailOnlyTogether(t *testing.T) {
	t.Parallel()
	a := newAttack(t, 10, 100)
	a.stakeAndDeposit(t, 50e9*1e8)
	a.begin()
	once := steps(t, do(vm.DELEGATECALL, onlyFirst, 0, nil))
	for _, wallet := range a.evil {
		a.offer(t, a.operation(wallet, paid(once), pays(2)))
	}
	a.others(t)
	a.served(t, 3)
	h := a.report(t, "100 operations that pass alone and fail together")
	if most := uint64(h.accepted + len(a.honest)); h.simulations > most {
		t.Errorf("have %d simulations, want at most %d: each operation once", h.simulations, most)
	}
	if have := a.reputation(t)[evilPaymaster]; have.Status != "banned" {
		t.Errorf("have %+v, want the paymaster banned (GREP-040)", have)
	}
	if left := a.mempool(t, a.ep); len(left) != 0 {
		t.Errorf("have %d operations left in the pool, want none of a banned paymaster", len(left))
	}
}

// An account that sends a thousand operations with all sorts of nonces gets SAME_SENDER_MEMPOOL_COUNT of them into the pool,
// and nothing is simulated for the others.
func TestNonceFlood(t *testing.T) {
	t.Parallel()
	a := newAttack(t, 10, 1)
	a.begin()
	for i := range uint64(1000) {
		a.offer(t, a.operation(a.evil[0], nonce(i/2, i%2*(i+1)), pays(2))) // new keys, and gaps in them
	}
	a.others(t)
	a.served(t, 1)
	h := a.report(t, "1,000 nonces and nonce keys of one account")
	if h.accepted != 4 || h.refused["too many"]+h.refused["nonce"] != 996 {
		t.Errorf("have %d accepted and %v refused, want 4", h.accepted, h.refused)
	}
	if most := uint64(8 + len(a.honest)); h.simulations > most {
		t.Errorf("have %d simulations, want at most %d", h.simulations, most)
	}
}

// A replacement that does not raise both fees by a tenth costs nothing. One that does costs a simulation, and a flood of
// them ends where the account cannot pay.
func TestReplacementFlood(t *testing.T) {
	t.Parallel()
	a := newAttack(t, 10, 1)
	a.begin()
	price := 2.0
	a.offer(t, a.operation(a.evil[0], pays(price)))
	for i := range 1000 {
		a.offer(t, a.operation(a.evil[0], pays(price*(1+float64(i%98+1)/1000))))
	}
	a.others(t)
	h := a.report(t, "1,000 replacements that raise the fees by less than 10 %")
	if most := uint64(1 + len(a.honest)); h.accepted != 1 || h.simulations > most {
		t.Errorf("have %d accepted, %d simulations, want 1 and at most %d", h.accepted, h.simulations, most)
	}
	a.harm.offered, a.harm.accepted = 0, 0
	a.begin()
	for range 1000 {
		price *= 1.101
		if !a.offer(t, a.operation(a.evil[0], pays(price))) {
			break
		}
	}
	a.served(t, 1)
	h = a.report(t, "replacements that raise them by 10 %, until an account with 100 ETH cannot pay")
	if h.accepted > 120 || h.simulations > uint64(h.offered+1) {
		t.Errorf("have %d accepted of %d, %d simulations, want a fee that ends it soon", h.accepted, h.offered, h.simulations)
	}
}

// An operation that names another's account as its paymaster or factory is refused and costs nothing. One whose validation
// looks at others' accounts keeps these out of its own bundle only.
func TestSenderCollisions(t *testing.T) {
	t.Parallel()
	a := newAttack(t, 10, 104)
	a.others(t)
	a.begin()
	for i, wallet := range a.evil[4:] {
		victim := a.honest[i%len(a.honest)]
		a.offer(t, a.operation(wallet, pays(2), func(op *userop.UserOperation) {
			if i%2 == 0 {
				op.Paymaster, op.PaymasterVerificationGasLimit = &victim, 50_000
			} else {
				op.Factory, op.FactoryData = &victim, []byte{}
			}
		}))
	}
	h := a.report(t, "100 operations with others' accounts as paymaster or factory")
	if h.accepted != 0 || h.refused["STO-040"] != 100 || h.simulations != 0 {
		t.Errorf("have %d accepted, %v refused, %d simulations, want all refused for STO-040 and nothing simulated", h.accepted, h.refused, h.simulations)
	}

	var look []step
	for _, victim := range a.honest {
		look = append(look, do(vm.EXTCODESIZE, victim, 0, nil))
	}
	a.harm = harm{refused: make(map[string]int)}
	a.begin()
	for _, wallet := range a.evil[:4] {
		a.offer(t, a.operation(wallet, pays(3), func(op *userop.UserOperation) {
			op.Signature, op.VerificationGasLimit = steps(t, look...), 300_000
		}))
	}
	a.served(t, 5)
	h = a.report(t, "4 better paying operations that look at all others' accounts")
	if h.accepted != 4 {
		t.Errorf("have %d accepted, %v refused, want 4", h.accepted, h.refused)
	}
	if most := uint64(4); h.simulations > most {
		t.Errorf("have %d simulations, want at most %d: one for each of the attacker's", h.simulations, most)
	}
}
