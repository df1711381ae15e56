package node

import (
	"context"

	"baler/event"
	"baler/signer"

	"github.com/ethereum/go-ethereum/core/types"
)

// sign asks the worker's key for its signature, and says how that went.
func (w *worker) sign(ctx context.Context, tx *types.Transaction) (*types.Transaction, error) {
	return w.key.SignTx(signer.WithObserver(ctx, w.node.onSignature), tx, w.node.chainID())
}

func (n *Node) onSignature(call signer.Call) {
	n.sink(event.KeyUsed{
		Signer: call.Signer, Kind: string(call.Kind), Took: call.Took, Attempts: call.Attempts, Failed: string(call.Failure),
	})
}
