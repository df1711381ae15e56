package node

import (
	"context"
	"errors"

	"baler/entrypoint"
	"baler/event"
	"baler/pool"
	"baler/proposer"
	"baler/rpc"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// The pool may be in another process than the bundle senders and the JSON-RPC edge. These are the ports between them. In one
// process the node itself is behind them; otherwise package remote is, with the same promises.
//
// Every error that is not named here and is no *rejection.Rejection means that nothing is known of what came of the call: whoever
// called asks again, or goes without. All calls may be repeated.

var (
	// ErrUnreachable: no process that serves the pool answers. It may be wrapped.
	ErrUnreachable = errors.New("the pool cannot be reached")
	// ErrNotResumed: the process that serves the pool knows nothing of the builder's claims. The builder resumes, and asks again.
	ErrNotResumed = errors.New("the pool does not know what the builder holds")
)

// BuilderPool is what bundle senders need of the pool. A builder's name is its key's address.
type BuilderPool interface {
	// EntryPoints lists the EntryPoints with operations that may be bundled now.
	EntryPoints(ctx context.Context) ([]entrypoint.EntryPoint, error)
	// Candidates is [pool.Pool.Candidates]. What it offers is shared: nobody changes it. ErrNotResumed.
	Candidates(ctx context.Context, q pool.Query) (Offer, error)
	// Held lists the operations that the builder has claimed.
	Held(ctx context.Context, builder string) ([]common.Hash, error)
	// Release gives claimed operations back.
	Release(ctx context.Context, builder string, operations []common.Hash) error
	// Claim is [pool.Pool.Claim]: it returns the operations that the builder does not get. ErrNotResumed.
	Claim(ctx context.Context, builder string, operations []common.Hash, until uint64) (refused []common.Hash, err error)
	// ExtendClaim is [pool.Pool.ExtendClaim]: it returns the operations that the builder does not have. ErrNotResumed.
	ExtendClaim(ctx context.Context, builder string, operations []common.Hash, until uint64) (missing []common.Hash, err error)

	// Resume says that the builder begins or goes on, and that its transactions hold these operations: those that may be mined, and
	// those whose blocks a reorg may still take back, or this pool may not have seen. They are claimed for it, those that are not in
	// the pool when a reorg brings them back; whatever else it had is free.
	Resume(ctx context.Context, builder string, operations []common.Hash, until uint64) error
	// Leave says that the builder ends. What its transactions hold, as with Resume, stays claimed until a block.
	Leave(ctx context.Context, builder string, operations []common.Hash, until uint64) error
	// Revive says that a transaction of the builder waits that holds these operations: a reorg has un-mined it, or the pool did not know.
	Revive(ctx context.Context, builder string, operations []common.Hash, until uint64) error

	// Operations returns those of the operations that are in the pool.
	Operations(ctx context.Context, hashes []common.Hash) ([]*pool.Operation, error)
	// Remove takes out what the proposer found invalid at a head, if that still is the head of the pool; it reports whether it was.
	Remove(ctx context.Context, head common.Hash, removals []proposer.Removal) (applied bool, err error)
	// Drop takes operations out that made bundle after bundle fail.
	Drop(ctx context.Context, operations []common.Hash) error
	// Convict takes an operation out that made a mined bundle revert. If it is gone, the entity to blame loses its reputation
	// nevertheless; operation is as it was in the pool, nil: not known.
	Convict(ctx context.Context, removal proposer.Removal, operation *pool.Operation) error
	// Throttle limits entities that use what the EntryPoint's own simulation has found to make bundles smaller.
	Throttle(ctx context.Context, entities []common.Address) error

	// Tell says what happened, in order. The pool's process remembers it as if it had happened there.
	Tell(ctx context.Context, events []event.Event) error
	// Untold reports whether something that was to be told has not been heard yet. It waits for nothing.
	Untold() bool
	// Attend takes orders until the context ends or the way to the pool breaks; it returns why. process names the one that attends.
	Attend(ctx context.Context, process string, take func(Order) error) error
	// Answer says what came of an order.
	Answer(ctx context.Context, answer OrderAnswer) error
}

// Offer is what the pool has for a builder.
type Offer struct {
	// Head is the pool's head when it made the offer; zero: it is between two.
	Head common.Hash
	// BundleSize is how many operations bundles have had of late, where that is followed.
	BundleSize uint64
	Operations []*pool.Operation
}

// OrderKind is what a builder is asked for.
type OrderKind uint8

// The kinds of orders.
const (
	OrderMode    OrderKind = iota + 1 // set the bundling mode; there is no answer
	OrderSendNow                      // send a bundle now, by one of the builder's keys
	OrderResume                       // every builder says what it holds; the first order of each attendance
)

// Order is something that the pool's process asks of a process with bundle senders.
type Order struct {
	ID   uint64
	Kind OrderKind
	Auto bool // OrderMode: send bundles by itself
}

// OrderAnswer is what came of an order to send a bundle.
type OrderAnswer struct {
	ID      uint64
	Hash    common.Hash // of the transaction
	Failed  string      // why none was sent; empty: one was
	Nothing bool        // because there was nothing to send
}

// EdgePool is what the JSON-RPC edge needs of the process that has the pool. Refusals are *rejection.Rejection.
type EdgePool interface {
	// Precheck applies the refusals that cost no validation. received says that the operation has just come in from a client.
	Precheck(ctx context.Context, op *pool.Operation, received bool) (Standing, error)
	// Lane says what is before a nonce.
	Lane(ctx context.Context, entryPoint, sender common.Address, nonce uint256.Int) (Standing, error)
	// Admit takes a validated operation in and returns when it is durable. deposit is what its paymaster has at the EntryPoint,
	// in wei; nil: it has none. An operation that is there already is admitted.
	Admit(ctx context.Context, op *pool.Operation, deposit *uint256.Int) error
	// Tell says what happened, as for [BuilderPool].
	Tell(ctx context.Context, events []event.Event) error

	// What follows is answered as [rpc.Backend], [rpc.BalerBackend], [rpc.DebugBackend] and [rpc.Watcher] promise.

	UserOperationByHash(ctx context.Context, hash common.Hash) (*rpc.OperationInfo, error)
	UserOperationReceipt(ctx context.Context, hash common.Hash) (*rpc.OperationReceipt, error)
	rpc.BalerBackend
	rpc.DebugBackend
	rpc.Watcher
}

// Standing is how the pool sees an operation that is not in it.
type Standing struct {
	Known bool // it is there
	// Ahead is the number of pending operations of the same sender and nonce key before it.
	Ahead uint64
	// Head is the pool's head; zero: it is between two.
	Head common.Hash
	// BundleSize is as in [Offer].
	BundleSize uint64
}
