package erc7562

import (
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// auth020: an account with EIP-7702 delegation can't be another entity than the sender.
func auth020(j *judgement) {
	for _, e := range [...]Entity{Factory, Paymaster, Aggregator} {
		if p := j.s.party(e); p.present() && p.Delegated {
			j.entity("AUTH-020", e, NoEntity, "is an account with EIP-7702 delegation, which only a sender may be")
		}
	}
}

// auth030: an account with EIP-7702 delegation may be accessed only if it is the sender.
func auth030(j *judgement) {
	for i := range j.r.Codes {
		use := &j.r.Codes[i]
		if use.Delegated && use.Address != j.s.Sender.Address {
			j.breaks("AUTH-030", int(use.Frame), Verdict{Contract: use.Address}, "accessed %s, an account with EIP-7702 delegation", use.Address)
		}
	}
}

// erep040: an aggregator must be staked.
func erep040(j *judgement) {
	if j.s.Aggregator.present() && !j.s.Aggregator.Staked {
		j.entity("EREP-040", Aggregator, Aggregator, "is not staked")
	}
}

// erep050: an unstaked paymaster may not return a context.
func erep050(j *judgement) {
	if j.s.Paymaster.present() && !j.s.Paymaster.Staked && j.s.ContextSize > 0 {
		j.entity("EREP-050", Paymaster, Paymaster, "returned a context of %d bytes and is not staked", j.s.ContextSize)
	}
}

// CodeUnchanged is COD-010: between the first and the second validation the code hash of no address visited may
// change. Addresses that only one of the two visited are not compared. It returns nil, or the verdict on the lowest
// address that changed.
func CodeUnchanged(s *Subject, first, second CodeHashes) *Verdict {
	at := slices.IndexFunc(first, func(before CodeHash) bool {
		now, visited := second.Of(before.Account)
		return visited && now != before.Hash
	})
	if at < 0 {
		return nil
	}
	changed, before := first[at].Account, first[at].Hash
	now, _ := second.Of(changed)
	v := &Verdict{Rule: "COD-010", Entity: Sender, Address: s.Sender.Address, Contract: changed}
	for _, e := range [...]Entity{Factory, Paymaster, Aggregator} {
		if p := s.party(e); p.is(changed) {
			v.Entity, v.Address, v.Contract = e, p.Address, common.Address{}
		}
	}
	v.Detail = fmt.Sprintf("the code of %s changed since the first validation: have hash %s, want %s", changed, now, before)
	return v
}

// ContextUnchanged is EREP-055: the size of a paymaster's context may not change between an operation's validation and the
// creation of a bundle with it. Sizes are in bytes. It returns nil, or the verdict on the paymaster.
func ContextUnchanged(paymaster common.Address, before, now int) *Verdict {
	if before == now {
		return nil
	}
	return &Verdict{
		Rule: "EREP-055", Entity: Paymaster, Address: paymaster,
		Detail: fmt.Sprintf("paymaster %s returned a context of another size than before: have %d bytes, want %d", paymaster, now, before),
	}
}

// GasReduced is EREP-070: it reports whether an entity's validation used over 10 % less gas in the creation of a bundle than
// in the second validation, for which a staked entity is throttled. Both figures must be free of what depends on the
// operations before it in the bundle: warm accounts and slots cost less.
func GasReduced(second, bundle uint64) bool { return bundle < second-second/10 }

// StakeLimits say what makes an entity a staked one.
type StakeLimits struct {
	MinStake        uint256.Int // MIN_STAKE_VALUE, wei
	MinUnstakeDelay uint64      // MIN_UNSTAKE_DELAY, seconds
}

// Staked is SREP-010: an entity is staked if it has at least MIN_STAKE_VALUE locked, with an unstake delay of at least
// MIN_UNSTAKE_DELAY.
func (l StakeLimits) Staked(locked bool, stake *uint256.Int, unstakeDelay uint64) bool {
	return locked && !stake.Lt(&l.MinStake) && unstakeDelay >= l.MinUnstakeDelay
}
