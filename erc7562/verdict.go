package erc7562

import (
	"fmt"

	"github.com/ethereum/go-ethereum/common"
)

// Entity is a party whose code or parameters a validation depends on.
type Entity uint8

// The entities of ERC-7562. The zero value is none of them.
const (
	NoEntity Entity = iota
	Sender
	Factory
	Paymaster
	Aggregator
)

// String returns the entity as ERC-7562 calls it.
func (e Entity) String() string {
	switch e {
	case NoEntity:
		return "none"
	case Sender:
		return "sender"
	case Factory:
		return "factory"
	case Paymaster:
		return "paymaster"
	case Aggregator:
		return "aggregator"
	default:
		return fmt.Sprintf("unknown(%d)", uint8(e))
	}
}

// Rule is a rule's id in the ERC, such as "LIM-010".
type Rule string

// Verdict is a broken rule. It is an error, so that rules can be called like checks; a kept rule is a nil error.
type Verdict struct {
	Rule     Rule
	Entity   Entity
	Address  common.Address // the entity's
	Contract common.Address // where it happened, if not in the entity itself
	Slot     *common.Hash   // the storage slot concerned, if any
	Opcode   byte           // the opcode concerned, if any
	Detail   string         // what was found and what the rule wants

	// Needs is the entity with whose stake the same would have been allowed (SREP-010), NoEntity if no stake would help.
	Needs        Entity
	NeedsAddress common.Address
}

// Error implements error: "LIM-010: ...".
func (v *Verdict) Error() string { return fmt.Sprintf("%s: %s", v.Rule, v.Detail) }
