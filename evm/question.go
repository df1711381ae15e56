package evm

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/rpc"
)

// ErrNotAsked is the error of a [Question] that has not been asked yet.
var ErrNotAsked = errors.New("not asked yet")

// Question is a request about a view's block that travels in the round trip of a read, and whose failure does not matter
// to the read.
type Question struct {
	Method string
	Args   []any // without the block, which comes after the first
	Result any   // where the answer goes
	Err    error // what came of it
}

// NewQuestion returns a question that has not been asked.
func NewQuestion(result any, method string, args ...any) *Question {
	return &Question{Method: method, Args: args, Result: result, Err: fmt.Errorf("%s: %w", method, ErrNotAsked)}
}

// Answered reports whether the node has answered.
func (q *Question) Answered() bool { return q.Err == nil }

// withBlock puts the block between the first argument and the others.
func withBlock(args []any, at blockRef) []any {
	all := make([]any, 0, len(args)+1)
	all = append(all, args[:min(1, len(args))]...)
	all = append(all, at)
	return append(all, args[min(1, len(args)):]...)
}

func elemsOf(questions []*Question, at blockRef) []rpc.BatchElem {
	elems := make([]rpc.BatchElem, len(questions))
	for i, q := range questions {
		elems[i] = rpc.BatchElem{Method: q.Method, Args: withBlock(q.Args, at), Result: q.Result}
	}
	return elems
}

// answered takes what came of the questions' requests.
func answered(questions []*Question, elems []rpc.BatchElem) {
	for i, q := range questions {
		q.Err = elems[i].Error
	}
}

// Ask sends one request about the view's block, whose EIP-1898 reference comes after the first argument, and sends it again
// while the node does not know the block. Any other error is returned as it is.
func (v *View) Ask(ctx context.Context, result any, method string, args ...any) error {
	opts := v.source.opts
	all := withBlock(args, blockRef{v.hash})
	for attempt := 1; ; attempt++ {
		err := v.source.node.CallContext(ctx, result, method, all...)
		if err == nil || !IsUnknownBlock(err) || attempt >= opts.Attempts {
			return err
		}
		if err := opts.Wait(ctx, attempt); err != nil {
			return err
		}
	}
}
