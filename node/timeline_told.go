package node

import (
	"baler/event"
	"baler/pool"
	"baler/proposer"
	"baler/rejection"

	"github.com/ethereum/go-ethereum/common"
)

// What the core decided, as events: its typed reasons with their numbers.

func skippedBy(signer common.Address, s proposer.Skip) event.OperationSkipped {
	return event.OperationSkipped{
		Hash: s.Hash, Signer: signer, Reason: s.String(), Cause: s.Reason.String(), Have: s.Have, Want: s.Want, About: s.About, Other: s.Other,
	}
}

func proposedBy(signer common.Address, b *proposer.Bundle) event.BundleProposed {
	e := event.BundleProposed{
		Signer: signer, EntryPoint: b.EntryPoint.Address, Hashes: b.Hashes(), GasLimit: b.GasLimit, Fees: b.Fees,
	}
	if profit := b.ExpectedProfit(); profit.Sign() > 0 {
		e.ExpectedProfit.SetFromBig(profit)
	}
	return e
}

// removedFor is an operation that left the pool; refused is the refusal behind it, if there is one.
func removedFor(r pool.Removed, refused *rejection.Rejection) event.OperationRemoved {
	e := event.OperationRemoved{Hash: r.Operation.Hash, Cause: r.Reason.String(), Reason: r.Reason.String()}
	if refused != nil {
		e.Reason += ": " + refused.Message
		e.Code, e.Rule = int(refused.Kind), refused.Data.Rule
	}
	return e
}
