package evm

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
)

// accessLists is what is known of the node's eth_createAccessList. It is safe for concurrent use.
type accessLists struct {
	failures atomic.Int32 // in a row
}

// maxListFailures is how many failures in a row end the asking for access lists: the node does not have the method, or
// wants the sender to pay.
const maxListFailures = 5

// accessListMessage is the transaction object of eth_createAccessList.
type accessListMessage struct {
	From           common.Address               `json:"from"`
	To             common.Address               `json:"to"`
	Gas            hexutil.Uint64               `json:"gas"`
	Input          hexutil.Bytes                `json:"input"`
	Authorizations []types.SetCodeAuthorization `json:"authorizationList,omitempty"`
}

// PrefetchCall is [View.PrefetchReads], with all that the message is going to read: the node is asked for the message's access
// list in the round trip of the read, and what the list names besides is read in a second one. So a run of the message
// finds its state in two round trips, three if its reads depend on what the block after the view's has. Where the node has
// no eth_createAccessList it is the plain PrefetchReads.
func (v *View) PrefetchCall(ctx context.Context, sets []*ReadSet, m Message, questions ...*Question) error {
	var want keys
	for _, set := range sets {
		v.keysToCompare(set, &want)
	}
	return v.loadCall(ctx, want, m, questions)
}

// loadCall reads the keys, and in a second round trip what the node says that the message reads besides.
func (v *View) loadCall(ctx context.Context, want keys, m Message, questions []*Question) error {
	lists := &v.source.lists
	if lists.failures.Load() >= maxListFailures {
		return v.load(ctx, want, questions)
	}
	var answer struct {
		AccessList types.AccessList `json:"accessList"`
	}
	list := NewQuestion(&answer, "eth_createAccessList", accessListMessage{
		From: m.From, To: m.To, Gas: hexutil.Uint64(m.Gas), Input: m.Data, Authorizations: m.Authorizations,
	})
	if err := v.load(ctx, want, slices.Concat(questions, []*Question{list})); err != nil {
		return err
	}
	if !list.Answered() {
		lists.failures.Add(1)
		return nil
	}
	lists.failures.Store(0)
	return v.load(ctx, v.listed(answer.AccessList), nil)
}

// listed returns the keys that an access list names, at most as many as a run may read.
func (v *View) listed(list types.AccessList) keys {
	// No list names precompiled contracts, but a call of one looks whether there is an account.
	want := keys{accounts: []common.Address{{19: 1}, {19: 2}, {19: 4}, {19: 5}, {18: 1}}}
	left := v.source.opts.MaxReads
	for _, tuple := range list {
		if left -= 1 + len(tuple.StorageKeys); left < 0 {
			break
		}
		want.accounts = append(want.accounts, tuple.Address)
		for _, key := range tuple.StorageKeys {
			want.slots = append(want.slots, Slot{tuple.Address, key})
		}
	}
	return want
}
