package evm

import (
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/holiman/uint256"
)

// Overrides is eth_call's state override set: what a run sees in place of the state at the view's block. Overridden
// values are not read from the node and are not part of a run's read set.
type Overrides map[common.Address]Override

// Override replaces parts of one account. Nil fields are left as they are on the chain.
type Override struct {
	Balance *uint256.Int // wei
	Nonce   *uint64
	Code    []byte // nil: unchanged; empty but not nil: no code

	State     map[common.Hash]common.Hash // the account's whole storage; excludes StateDiff
	StateDiff map[common.Hash]common.Hash // single slots
}

// Validate reports an account that has both a State and a StateDiff.
func (o Overrides) Validate() error {
	for addr, account := range o {
		if account.State != nil && account.StateDiff != nil {
			return fmt.Errorf("state override of %s: have both state and stateDiff, want one", addr)
		}
	}
	return nil
}

// slot returns the overridden value of a slot, if there is one.
func (o Override) slot(key common.Hash) (common.Hash, bool) {
	if o.State != nil {
		return o.State[key], true
	}
	value, ok := o.StateDiff[key]
	return value, ok
}

// apply returns the account as overridden.
func (o Override) apply(a account) account {
	if o.Balance != nil {
		a.balance = *o.Balance
	}
	if o.Nonce != nil {
		a.nonce, a.nonceKnown = *o.Nonce, true
	}
	if o.Code != nil {
		a.code, a.codeHash = o.Code, types.EmptyCodeHash
		if len(o.Code) > 0 {
			a.codeHash = crypto.Keccak256Hash(o.Code)
		}
	}
	return a
}

// whole reports whether nothing of the account's balance, nonce and code is left to read.
func (o Override) whole() bool { return o.Balance != nil && o.Nonce != nil && o.Code != nil }
