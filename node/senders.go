package node

import (
	"context"

	"baler/rpc"
)

var _ rpc.AdminBackend = (*Node)(nil)

// Senders implements [rpc.AdminBackend].
func (n *Node) Senders(context.Context) ([]rpc.SenderStatus, error) {
	list := []rpc.SenderStatus{}
	for _, w := range n.keys.all() {
		list = append(list, w.described())
	}
	return list, nil
}

func (w *worker) described() rpc.SenderStatus {
	now := w.current()
	status := rpc.SenderStatus{
		Signer: w.key.Address(), State: now.State.String(), Since: now.Since, Cause: now.Cause, Head: now.Head, Auto: now.Auto,
		Doing: now.InFlight, BackingOff: now.BackingOff, Nonce: now.Nonce, FeeIncreases: now.FeeIncreases,
		CancelIncreases: now.CancelIncreases, Until: now.Until, Held: now.Held,
	}
	for _, a := range now.Attempts {
		status.Attempts = append(status.Attempts, rpc.SenderAttempt{
			Transaction: a.Hash, Kind: a.Kind.String(), Status: a.Status.String(), Nonce: a.Nonce, Block: a.Block, Fees: a.Fees, Operations: a.Operations,
		})
	}
	return status
}
