package entrypoint

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// OperationLogs is what one operation left in the receipt of its bundle.
type OperationLogs struct {
	Event UserOperationEvent
	// Logs are those that the operation's execution emitted, in order, its UserOperationEvent last. Logs of the
	// validation phase, which all operations of a bundle go through first, are not among them. A slice of the
	// receipt's logs.
	Logs []*types.Log
	// RevertReason is what the operation's call reverted with (nil if it did not, or without data).
	RevertReason []byte
	// PostOpRevertReason is what the paymaster's postOp reverted with (v0.7 and later).
	PostOpRevertReason []byte
}

// Reason returns why the operation failed: its own revert data, or else that of postOp; nil if there is none.
func (o *OperationLogs) Reason() []byte {
	if o.RevertReason != nil {
		return o.RevertReason
	}
	return o.PostOpRevertReason
}

// SplitLogs returns what each operation left in the receipt of a transaction, in order of execution, in one pass.
//
// An operation's logs begin after the EntryPoint's BeforeExecution (or SignatureAggregatorChanged, which v0.6 emits
// after the validation of aggregated operations), or after the previous operation's UserOperationEvent. Only events
// emitted by the EntryPoint itself are believed; malformed ones are none of its own and count as ordinary logs.
func SplitLogs(logs []*types.Log, entryPoint common.Address) []OperationLogs {
	var operations []OperationLogs
	var current OperationLogs
	start := 0
	for i, log := range logs {
		if log.Address != entryPoint || len(log.Topics) == 0 {
			continue
		}
		switch log.Topics[0] {
		case TopicBeforeExecution, TopicSignatureAggregatorChanged:
			start, current = i+1, OperationLogs{}
		case TopicUserOperationRevertReason:
			if e, err := ParseUserOperationRevertReason(log); err == nil {
				current.RevertReason = e.Reason
			}
		case TopicPostOpRevertReason:
			if e, err := ParsePostOpRevertReason(log); err == nil {
				current.PostOpRevertReason = e.Reason
			}
		case TopicUserOperationEvent:
			event, err := ParseUserOperationEvent(log)
			if err != nil {
				continue
			}
			current.Event = event
			current.Logs = logs[start : i+1 : i+1]
			operations = append(operations, current)
			start, current = i+1, OperationLogs{}
		}
	}
	return operations
}
