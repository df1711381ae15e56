package node_test

import (
	"encoding/json"
	"strings"
	"testing"

	"baler/entrypoint"
	"baler/userop"
)

// A node that gives no logs of a block, though it has them or has none at all, keeps no dead operation in the pool.
func TestOperationsAreTakenOutByTheChainsNonceWhateverTheLogsSay(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		hides  func(query string) bool
		status string
	}{
		"logs of a block are withheld": {func(query string) bool { return strings.Contains(query, "blockHash") }, "included"},
		"all logs are withheld":        {func(string) bool { return true }, "dropped"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startStack(t)
			liar := &stack{chain: s.chain, eth: s.eth, config: s.config, funds: s.funds}
			liar.serve(t, dial(t, withholding(t, s.chain.HTTPURL(), test.hides)), dial(t, s.chain.WSURL()))
			liar.owners.Store(100)
			a := liar.accounts(t, userop.V07, 1, true)[0]
			first := a.send(t, a.op(t))
			second := a.send(t, a.op(t))
			liar.sendBundle(t)
			liar.mine(t, 1)
			if have := liar.mempool(t, a.ep); len(have) != 1 || have[0] != second {
				t.Errorf("have %v in the pool, want the second operation only, %s", have, second)
			}
			have := liar.becomes(t, first, test.status, map[string]string{"included": "included", "dropped": "rejected"}[test.status])
			if test.status == "dropped" && (have.Reason == nil || *have.Reason != "nonce used by another operation") {
				t.Errorf("have reason %v", have.Reason)
			}
			// The other one is as good as ever, and its paymaster, if it had one, would not be to blame for anything.
			liar.sendBundle(t)
			liar.mine(t, 1)
			if have := liar.mempool(t, a.ep); len(have) != 0 {
				t.Errorf("have %v in the pool, want nothing", have)
			}
		})
	}
}

// An operation that the second validation refuses for a used nonce did not fail: nobody is to blame, and it is told so.
func TestAUsedNonceIsNobodysFailure(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	a := s.accounts(t, userop.V07, 1, true)[0]
	// Bundled by somebody else while nothing waits here, so that nobody looks at the block's logs.
	s.transact(t, a.ep.Address, 0, entrypoint.EncodeHandleOps(a.ep.Version, []*userop.UserOperation{a.op(t)}, ownerOf(a)))
	s.mine(t, 1)
	dead := a.op(t, func(op *userop.UserOperation) { op.CallGasLimit++ })
	s.call(t, nil, "debug_bundler_addUserOps", []any{dead}, a.ep.Address)
	s.sendsNothing(t)
	if have := s.becomes(t, a.hash(dead), "dropped", "rejected"); have.Reason == nil || *have.Reason != "nonce used by another operation" {
		t.Errorf("have %+v, want that its nonce is used", have)
	}
}

// A dead operation that nobody told of is not in the way of the account's next one.
func TestADeadOperationIsNotInTheWay(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	a := s.accounts(t, userop.V07, 1, true)[0]
	bundle := []*userop.UserOperation{a.op(t)}
	a.nonce++
	bundle = append(bundle, a.op(t))
	s.transact(t, a.ep.Address, 0, entrypoint.EncodeHandleOps(a.ep.Version, bundle, ownerOf(a)))
	s.mine(t, 1) // while nothing waits here, so that nobody looks at the block's logs
	a.nonce = 0
	dead := a.op(t, func(op *userop.UserOperation) { op.CallGasLimit++ })
	s.call(t, nil, "debug_bundler_addUserOps", []any{dead}, a.ep.Address)
	a.nonce = 2
	next := a.send(t, a.op(t))
	if have := s.mempool(t, a.ep); len(have) != 1 || have[0] != next {
		t.Errorf("have %v in the pool, want %s alone", have, next)
	}
}

// withholding is a node that answers some queries for logs with none. It returns its URL.
func withholding(t *testing.T, node string, hides func(query string) bool) string {
	t.Helper()
	return instead(t, node, func(body []byte) string {
		var call struct {
			ID     json.RawMessage
			Method string
			Params json.RawMessage
		}
		if json.Unmarshal(body, &call) != nil || call.Method != "eth_getLogs" || !hides(string(call.Params)) {
			return ""
		}
		return `{"jsonrpc":"2.0","id":` + string(call.ID) + `,"result":[]}`
	})
}
