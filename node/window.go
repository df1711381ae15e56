package node

import (
	"context"

	"baler/event"
	"baler/pool"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// window is this process's pool as the JSON-RPC edge in another process uses it.
type window struct{ *Node }

var _ EdgePool = window{}

// EdgePool returns the pool for JSON-RPC edges in other processes.
func (n *Node) EdgePool() EdgePool { return window{n} }

// standing completes what the pool says of an operation.
func (w window) standing(known bool, ahead uint64) Standing {
	return Standing{Known: known, Ahead: ahead, Head: w.settled(), BundleSize: w.books.estimateSize()}
}

// Precheck implements [EdgePool].
func (w window) Precheck(ctx context.Context, op *pool.Operation, received bool) (Standing, error) {
	if err := w.desk.register.ready(); err != nil {
		return Standing{}, err
	}
	if received {
		w.told(event.OperationReceived{Hash: op.Hash, EntryPoint: op.EntryPoint.Address, Sender: op.Op.Sender, Nonce: op.Op.Nonce})
	}
	asked := *op
	for range judgements {
		moves := w.moves.Load()
		known, err := w.precheck(ctx, &asked, (*pool.Pool).Precheck, moves)
		switch {
		case known:
			return w.standing(true, 0), w.kept(ctx, op.Hash)
		case err == nil:
			return w.standing(false, asked.NonceAhead), nil
		case w.still(moves) && !w.outdated(ctx, err):
			return Standing{}, err
		}
		w.awaitStep(ctx)
	}
	return w.standing(false, asked.NonceAhead), nil // the chain moves fast: Admit has the last word
}

// Lane implements [EdgePool].
func (w window) Lane(_ context.Context, entryPoint, sender common.Address, nonce uint256.Int) (Standing, error) {
	if err := w.desk.register.ready(); err != nil {
		return Standing{}, err
	}
	return w.standing(false, w.ahead(entryPoint, sender, nonce)), nil
}

// Admit implements [EdgePool].
func (w window) Admit(ctx context.Context, op *pool.Operation, deposit *uint256.Int) error {
	if err := w.desk.register.ready(); err != nil {
		return err
	}
	return w.admit(ctx, op, deposit, door{add: (*pool.Pool).Add, keep: w.keep})
}

// Tell implements [EdgePool].
func (w window) Tell(ctx context.Context, events []event.Event) error {
	return w.desk.Tell(ctx, events)
}
