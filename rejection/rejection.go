// Package rejection says why an operation was refused, in the terms of ERC-7769.
//
// Prechecks, validation and the pool produce a *Rejection; the RPC surface turns its Kind into the JSON-RPC error
// code. It is pure and depends on nothing of Baler.
package rejection

import (
	"fmt"

	"github.com/ethereum/go-ethereum/common"
)

// Kind is the class of a refusal; its value is the JSON-RPC error code of ERC-7769.
type Kind int

// The refusals of ERC-7769, eth_sendUserOperation, and those other bundlers share.
const (
	InvalidFields       Kind = -32602 // invalid UserOperation struct or fields
	EntryPointRejected  Kind = -32500 // rejected by the EntryPoint during account creation or validation
	PaymasterRejected   Kind = -32501 // rejected by the paymaster's validatePaymasterUserOp
	OpcodeViolation     Kind = -32502 // ERC-7562 rule violated
	OutOfTimeRange      Kind = -32503 // expired, or expires too soon, or not yet valid
	Throttled           Kind = -32504 // an entity is throttled or banned
	StakeTooLow         Kind = -32505 // an entity's stake or unstake delay is too low
	UnsupportedSigAggr  Kind = -32506 // signature aggregator not supported
	InvalidSignature    Kind = -32507 // the account's signature check failed
	PaymasterDepositLow Kind = -32508 // paymaster balance can't cover all pending operations
	ExecutionReverted   Kind = -32521 // the operation's call reverts (estimation)
)

// Rejection is a refusal as an error. Message goes to the user unchanged; Data is the error's `data` member.
type Rejection struct {
	Kind    Kind
	Message string
	Data    Data
}

// Data carries what ERC-7769 asks for beside the message. Empty fields are left out of the JSON.
type Data struct {
	Paymaster           *common.Address `json:"paymaster,omitempty"`
	Factory             *common.Address `json:"factory,omitempty"`
	Sender              *common.Address `json:"sender,omitempty"`
	Aggregator          *common.Address `json:"aggregator,omitempty"`
	ValidUntil          string          `json:"validUntil,omitempty"` // 0x-quantity, seconds or block number
	ValidAfter          string          `json:"validAfter,omitempty"`
	MinimumStake        string          `json:"minimumStake,omitempty"`        // 0x-quantity, wei
	MinimumUnstakeDelay string          `json:"minimumUnstakeDelay,omitempty"` // 0x-quantity, seconds
	Rule                string          `json:"rule,omitempty"`                // ERC-7562 rule id
	RevertData          string          `json:"revertData,omitempty"`          // 0x-bytes the contract reverted with
}

// Error implements error.
func (r *Rejection) Error() string { return r.Message }

// New returns a rejection with a formatted message and no data.
func New(kind Kind, format string, args ...any) *Rejection {
	return &Rejection{Kind: kind, Message: fmt.Sprintf(format, args...)}
}
