package pool

import (
	"testing"

	"baler/erc7562"
	"baler/rejection"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// The rules of ERC-7562 that are the pool's and bind operations to one another, each with what breaks it and what it
// allows; the rules on counts and reputation are in TestLimits, TestReputation and TestThrottle.
func TestRulesBetweenOperations(t *testing.T) {
	deposited := func(t *testing.T, wei uint64) *Pool {
		p := newPool(t)
		for n := range uint64(3) {
			p.SetDeposit(ep07.Address, *pm(n), *uint256.NewInt(wei))
		}
		return p
	}
	in := func(contract common.Address) change {
		return func(op *Operation) { op.AssociatedStorageIn = []common.Address{contract} }
	}
	by := func(a common.Address) change { return func(op *Operation) { op.Op.Sender = a } }
	to := func(n uint64) change {
		return func(op *Operation) { op.Op.Authorization = &types.SetCodeAuthorization{Address: address('d', n)} }
	}
	checkedBy := func(n uint64) change {
		return func(op *Operation) { op.Aggregator, op.Staked.Aggregator = address('a', n), true }
	}

	t.Run("EREP-010/a paymaster without deposit for one more breaks", func(t *testing.T) {
		p := deposited(t, 100)
		add(t, p, operation(1, paidBy(1, 60)))
		refused(t, p, operation(2, paidBy(1, 41)), rejection.PaymasterDepositLow, "")
	})
	t.Run("EREP-010/one whose deposit covers all is allowed", func(t *testing.T) {
		p := deposited(t, 100)
		add(t, p, operation(1, paidBy(1, 60)), operation(2, paidBy(1, 40)), operation(3, paidBy(2, 100)))
	})

	for _, role := range []struct {
		name string
		as   func(uint64) change
		who  common.Address
	}{
		{"factory", madeBy, *fac(1)},
		{"paymaster", func(n uint64) change { return paidBy(n, 1) }, *pm(1)},
		{"aggregator", checkedBy, address('a', 1)},
	} {
		t.Run("STO-040/a "+role.name+" that is an account of another breaks", func(t *testing.T) {
			p := deposited(t, 100)
			add(t, p, operation(1, by(role.who)))
			refused(t, p, operation(2, role.as(1)), rejection.OpcodeViolation, role.name)
		})
		t.Run("STO-040/an account that is another's "+role.name+" breaks", func(t *testing.T) {
			p := deposited(t, 100)
			add(t, p, operation(2, role.as(1)))
			refused(t, p, operation(1, by(role.who)), rejection.OpcodeViolation, "different entity")
		})
		t.Run("STO-040/a "+role.name+" of several operations is allowed", func(t *testing.T) {
			p := deposited(t, 100)
			add(t, p, operation(1, role.as(1)), operation(2, role.as(1)), operation(3))
		})
	}

	t.Run("STO-041/associated storage in another operation's account breaks", func(t *testing.T) {
		p := deposited(t, 100)
		add(t, p, operation(1))
		refused(t, p, operation(2, in(sender(1))), rejection.OpcodeViolation, "associated storage")
	})
	t.Run("STO-041/in its own account and in a contract that is none's is allowed", func(t *testing.T) {
		p := deposited(t, 100)
		add(t, p, operation(1), operation(2, in(sender(2))), operation(3, in(address('t', 1))))
	})

	t.Run("AUTH-040/another delegate of the same sender breaks", func(t *testing.T) {
		p := deposited(t, 100)
		add(t, p, operation(1, to(1)))
		refused(t, p, operation(1, nonce(1, 0), to(2)), rejection.OpcodeViolation, "delegation")
	})
	t.Run("AUTH-040/the same delegate again is allowed", func(t *testing.T) {
		p := deposited(t, 100)
		add(t, p, operation(1, to(1)), operation(1, nonce(1, 0), to(1)), operation(1, nonce(2, 0)), operation(2, to(2)))
	})
}

// Whose fault a failure is.
func TestRulesOfBlame(t *testing.T) {
	aggregator := address('a', 1)
	full := func(n uint64) *Operation {
		return operation(n, paidBy(1, 1), madeBy(1), func(op *Operation) {
			op.Aggregator, op.Staked = aggregator, Staked{Factory: true, Paymaster: true, Aggregator: true}
		})
	}
	for _, test := range []struct {
		name       string
		reason     Reason
		culprit    erc7562.Entity
		paymaster  Reputation
		aggregator uint64 // operations seen of it
		factory    Status
	}{
		{"EREP-015/an account's failure is not charged to the paymaster", ValidationFailed, erc7562.Sender, Reputation{OpsSeen: 0}, 0, OK},
		{"EREP-015/its own is", ValidationFailed, erc7562.Paymaster, Reputation{OpsSeen: 1}, 0, OK},
		{"EREP-016/a factory's failure is not charged to the aggregator", ValidationFailed, erc7562.Factory, Reputation{OpsSeen: 0}, 0, OK},
		{"EREP-016/its own is", ValidationFailed, erc7562.Aggregator, Reputation{OpsSeen: 1}, 1, OK},
		{"EREP-020/an account's failure in a bundle is its staked factory's", BundleFailed, erc7562.Sender, Reputation{OpsSeen: 0}, 0, Banned},
		{"EREP-020/a paymaster's is not", BundleFailed, erc7562.Paymaster, Reputation{OpsSeen: 10_000, Status: Banned}, 0, OK},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPool(t)
			p.SetDeposit(ep07.Address, *pm(1), *uint256.NewInt(100))
			op := full(1)
			add(t, p, op)
			if _, err := p.Remove(op.Hash, test.reason, test.culprit); err != nil {
				t.Fatal(err)
			}
			test.paymaster.Address = *pm(1)
			if have := p.ReputationOf(*pm(1)); have != test.paymaster {
				t.Errorf("paymaster: have %+v, want %+v", have, test.paymaster)
			}
			if have := p.ReputationOf(aggregator).OpsSeen; have != test.aggregator {
				t.Errorf("aggregator: have %d operations seen, want %d", have, test.aggregator)
			}
			if have := p.ReputationOf(*fac(1)).Status; have != test.factory {
				t.Errorf("factory: have %v, want %v", have, test.factory)
			}
			check(t, p)
		})
	}
}

// A throttled entity is limited in the pool, in a bundle and in time; one that is not, isn't.
func TestRulesOfThrottling(t *testing.T) {
	st := staked(Staked{Paymaster: true})
	filled := func(t *testing.T, seen uint64) *Pool {
		p := newPool(t)
		p.SetDeposit(ep07.Address, *pm(1), *uint256.NewInt(1e9))
		p.SetReputation([]Reputation{{Address: *pm(1), OpsSeen: seen}})
		for i := range uint64(4) {
			add(t, p, operation(i, paidBy(1, 1), st, func(op *Operation) { op.AddedBlock = 100 }))
		}
		return p
	}
	t.Run("GREP-020/a fifth operation of a throttled entity breaks", func(t *testing.T) {
		refused(t, filled(t, 110), operation(9, paidBy(1, 1), st), rejection.Throttled, "throttled")
	})
	t.Run("GREP-020/a fifth of one that is not is allowed", func(t *testing.T) {
		add(t, filled(t, 100), operation(9, paidBy(1, 1), st))
	})
	t.Run("GREP-020/after ten blocks those of a throttled entity leave", func(t *testing.T) {
		p := filled(t, 110)
		if removed := p.Head(Head{Number: 111, Timestamp: 1_100, BaseFee: *uint256.NewInt(10)}); len(removed) != 4 || removed[0].Reason != ThrottledTooLong {
			t.Errorf("have %v removed, want all four", removed)
		}
		check(t, p)
	})
	t.Run("GREP-020/those of one that is not stay", func(t *testing.T) {
		if removed := filled(t, 100).Head(Head{Number: 111, Timestamp: 1_100, BaseFee: *uint256.NewInt(10)}); len(removed) != 0 {
			t.Errorf("have %v removed, want none", removed)
		}
	})
}
