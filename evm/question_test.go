package evm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"baler/evm"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"
)

// askedNode answers a call with its arguments, after it has not known the block some times.
type askedNode struct {
	*fakeNode
	unknown int
	err     error
	calls   int
}

func (n *askedNode) CallContext(_ context.Context, result any, method string, args ...any) error {
	n.calls++
	if n.calls <= n.unknown {
		return headerNotFound{}
	}
	if n.err != nil {
		return n.err
	}
	raw, err := json.Marshal(fmt.Sprint(method, args))
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, result)
}

// A single request is pinned to the view's block too, and sent again to a load-balanced provider that lags.
func TestAskingIsPinnedAndPatient(t *testing.T) {
	refused := errors.New("execution reverted")
	for name, test := range map[string]struct {
		unknown int
		err     error
		calls   int
		want    error
	}{
		"at once":          {calls: 1},
		"known later":      {unknown: 2, calls: 3},
		"never known":      {unknown: 9, calls: 3, want: headerNotFound{}},
		"refused, for one": {err: refused, calls: 1, want: refused},
	} {
		t.Run(name, func(t *testing.T) {
			node := &askedNode{fakeNode: newFakeNode(nil), unknown: test.unknown, err: test.err}
			waits := 0
			view := evm.NewSource(node, evm.ChainConfigFor(1337), evm.Options{Attempts: 3, Wait: func(context.Context, int) error {
				waits++
				return nil
			}}).View(header(7))
			var answer string
			err := view.Ask(t.Context(), &answer, "eth_some", "first", "last")
			if !errors.Is(err, test.want) || node.calls != test.calls || waits != test.calls-1 {
				t.Errorf("have %v after %d calls and %d waits, want %v after %d", err, node.calls, waits, test.want, test.calls)
			}
			if want := fmt.Sprintf("eth_some[first {%s} last]", view.Hash()); err == nil && answer != want {
				t.Errorf("have %q, want %q", answer, want)
			}
		})
	}
}

// A question costs no round trip of its own, and one that fails does not fail the read.
func TestQuestionsTravelWithAReadAndDoNotFailIt(t *testing.T) {
	node := newFakeNode(testAlloc())
	view := mustView(t, node, evm.Options{})
	var balance, nothing json.RawMessage
	good := evm.NewQuestion(&balance, "eth_getBalance", address(1))
	bad := evm.NewQuestion(&nothing, "eth_noSuchMethod", "x")
	if !errors.Is(good.Err, evm.ErrNotAsked) {
		t.Errorf("before: have %v, want %v", good.Err, evm.ErrNotAsked)
	}
	reads := &evm.ReadSet{Accounts: map[common.Address]evm.AccountRead{address(2): {}}}
	if err := view.PrefetchReads(t.Context(), []*evm.ReadSet{reads}, good, bad); err != nil {
		t.Fatal(err)
	}
	if node.batches != 1 || good.Err != nil || len(balance) == 0 || bad.Err == nil {
		t.Errorf("have %d batches, %v (%s) and %v, want one, an answer and an error", node.batches, good.Err, balance, bad.Err)
	}
	// All is known, and only the question is left to ask.
	if err := view.PrefetchReads(t.Context(), []*evm.ReadSet{reads}, evm.NewQuestion(&balance, "eth_getBalance", address(1))); err != nil || node.batches != 2 {
		t.Errorf("have %v after %d batches, want 2", err, node.batches)
	}
}

var _ evm.Node = (*rpc.Client)(nil)
