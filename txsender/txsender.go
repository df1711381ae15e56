// Package txsender submits signed transactions to nodes and relays, and says in one vocabulary what they answered.
//
// In: a signed transaction and, where the kind of sender makes use of them, hints (what the bundle relies on, until when it
// makes sense). Out: an [Answer]. Kinds: raw (a plain node, or several with a shared [Health]), conditional (ERC-7796),
// flashbots (Protect), bloxroute (Polygon) and private (any private RPC); [New] chooses. What nodes answer is one table,
// answers.toml, each row with the source it was read in.
//
// It promises one attempt a call at each endpoint it asks, bounded in time and size; that what is not understood is called
// [Unknown], never a failure, and is logged once with its text; that no error, answer or log line holds a URL's path, a key
// or a header. It never resends: that is the bundle sender's decision. It runs no goroutine that outlives a call.
package txsender

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
)

// Sender submits transactions over one kind of API. Its methods may be called from any goroutine.
//
// A sender may implement more: [Hinted], [StatusReporter], [Canceller], io.Closer.
type Sender interface {
	// Send submits the transaction once. The answer's class is never empty.
	Send(ctx context.Context, tx *types.Transaction) Answer
	// Cancellation says how a pending transaction of this sender is taken back.
	Cancellation() Cancellation
}

// Hinted is a sender that makes use of hints.
type Hinted interface {
	Sender
	// SendHinted is Send with hints. Send is SendHinted without.
	SendHinted(ctx context.Context, tx *types.Transaction, hints Hints) Answer
}

// Send submits the transaction with its hints, which a sender that has no use for them does not see.
func Send(ctx context.Context, sender Sender, tx *types.Transaction, hints Hints) Answer {
	if hinted, ok := sender.(Hinted); ok {
		return hinted.SendHinted(ctx, tx, hints)
	}
	return sender.Send(ctx, tx)
}

// Hints are what the sender of a transaction knows about it. The zero value is no hint; zero numbers set no bound.
type Hints struct {
	// KnownAccounts is the state the transaction relies on (validation's read set).
	KnownAccounts KnownAccounts
	// BlockMin and BlockMax are the first and last block it may be in.
	BlockMin, BlockMax uint64
	// TimeMin and TimeMax are the first and last timestamp of a block it may be in, in seconds.
	TimeMin, TimeMax uint64
	// MaxBlock is the last block for which a relay should try to include it.
	MaxBlock uint64
}

// Conditional reports whether the hints hold a condition.
func (h Hints) Conditional() bool {
	return h.KnownAccounts.slots() > 0 || h.BlockMin != 0 || h.BlockMax != 0 || h.TimeMin != 0 || h.TimeMax != 0
}

// Cancellation is the shape of a cancellation.
type Cancellation int

// The cancellations the seed names.
const (
	Hard Cancellation = iota // a transaction with the same nonce has to be mined instead
	Soft                     // the relay forgets it on request; nothing goes on chain
)

// StatusReporter is a sender whose relay says what became of a transaction.
type StatusReporter interface {
	// Status asks the relay. It fails if the relay does not answer or answers what is not documented.
	Status(ctx context.Context, hash common.Hash) (Status, error)
}

// Canceller is a sender whose relay forgets transactions on request (its Cancellation is Soft).
type Canceller interface {
	// Cancel asks the relay to forget these transactions. done says that none of them is being submitted any more; the block
	// under construction may still hold one. Not done without an error: the relay refuses (one is mined, say).
	Cancel(ctx context.Context, hashes []common.Hash) (done bool, err error)
}

// Status is what a relay says about a transaction.
type Status struct {
	State  RelayState
	Detail string // why, where the relay says so
}

// RelayState is the state of a transaction at a relay.
type RelayState string

// The states of the status API of Flashbots Protect.
const (
	RelayPending   RelayState = "PENDING"   // received, and on its way into a block
	RelayIncluded  RelayState = "INCLUDED"  // on chain
	RelayFailed    RelayState = "FAILED"    // given up: not on chain within its blocks
	RelayCancelled RelayState = "CANCELLED" // on our request
	RelayUnknown   RelayState = "UNKNOWN"   // not received, or not yet registered
)

// Gone reports whether the relay has stopped submitting the transaction: it was dropped, and may be replaced at once.
// Unknown is not Gone: the relay answers so for a moment after it took a transaction.
func (s Status) Gone() bool { return s.State == RelayFailed || s.State == RelayCancelled }

// Caller sends one JSON-RPC request.
type Caller interface {
	CallContext(ctx context.Context, result any, method string, args ...any) error
}

const sendRawTransaction = "eth_sendRawTransaction"

// Raw submits a transaction as the only argument of a method: eth_sendRawTransaction at a plain node, or another one of
// that form at a private RPC.
type Raw struct {
	node   Caller
	method string
	origin string
	odd    *oddities
}

// NewRaw returns a sender over a node.
func NewRaw(node Caller) *Raw { return &Raw{node: node, method: sendRawTransaction, origin: "node"} }

// Cancellation implements [Sender]: a public mempool forgets nothing on request.
func (*Raw) Cancellation() Cancellation { return Hard }

// Send implements [Sender].
func (r *Raw) Send(ctx context.Context, tx *types.Transaction) Answer {
	raw, err := tx.MarshalBinary()
	if err != nil {
		return unencodable(err)
	}
	var hash common.Hash
	err = r.node.CallContext(ctx, &hash, r.method, hexutil.Bytes(raw))
	return r.odd.answer(r.origin, err, hash, tx.Hash())
}

func unencodable(err error) Answer {
	return Answer{Class: Rejected, Text: fmt.Sprintf("encode transaction: %v", err), Reach: NotSent}
}

// frees reports whether the transaction only uses up its nonce: nothing sent to oneself.
func frees(tx *types.Transaction, signer types.Signer) bool {
	if tx.To() == nil || len(tx.Data()) > 0 || tx.Value().Sign() != 0 {
		return false
	}
	from, err := types.Sender(signer, tx)
	return err == nil && from == *tx.To()
}
