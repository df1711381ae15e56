// Package txsender submits signed transactions to nodes and relays, and says in one vocabulary what they answered.
//
// In: a signed transaction. Out: an [Answer]. It promises one attempt a call, bounded in time, and that what is not
// understood is called [Unknown], never a failure. It never resends: that is the bundle sender's decision.
package txsender

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"
)

// Sender submits transactions over one kind of API.
type Sender interface {
	// Send submits the transaction once. The answer's class is never empty.
	Send(ctx context.Context, tx *types.Transaction) Answer
	// Cancellation says how a pending transaction of this sender is taken back.
	Cancellation() Cancellation
}

// Cancellation is the shape of a cancellation.
type Cancellation int

// The cancellations the seed names.
const (
	Hard Cancellation = iota // a transaction with the same nonce has to be mined instead
	Soft                     // the relay forgets it on request; nothing goes on chain
)

// Caller sends one JSON-RPC request.
type Caller interface {
	CallContext(ctx context.Context, result any, method string, args ...any) error
}

// Raw submits with eth_sendRawTransaction to a plain node.
type Raw struct{ node Caller }

// NewRaw returns a sender over a node.
func NewRaw(node Caller) *Raw { return &Raw{node: node} }

// Cancellation implements [Sender]: a public mempool forgets nothing on request.
func (*Raw) Cancellation() Cancellation { return Hard }

// Send implements [Sender].
func (r *Raw) Send(ctx context.Context, tx *types.Transaction) Answer {
	raw, err := tx.MarshalBinary()
	if err != nil {
		return Answer{Rejected, fmt.Sprintf("encode transaction: %v", err)}
	}
	var hash common.Hash
	err = r.node.CallContext(ctx, &hash, "eth_sendRawTransaction", hexutil.Bytes(raw))
	return answer(err, hash, tx.Hash())
}

// answer classifies the outcome of a submission that returns the transaction's hash.
func answer(err error, have, want common.Hash) Answer {
	if err == nil {
		if have != want {
			// The node took something, but says it is not what we sent: look for ours before believing either.
			return Answer{Unknown, fmt.Sprintf("have transaction hash %s, want %s", have, want)}
		}
		return Answer{Accepted, ""}
	}
	if rpcError, ok := errors.AsType[rpc.Error](err); ok {
		return Answer{Classify(rpcError.ErrorCode(), rpcError.Error()), rpcError.Error()}
	}
	// No answer of the node: a timeout or a broken connection, before or after the transaction arrived.
	return Answer{Unknown, strings.TrimSpace(err.Error())}
}
