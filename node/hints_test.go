package node

import (
	"context"
	"math/big"
	"testing"

	"baler/proposer"
	"baler/txsender"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// plain is a sender that makes no use of hints.
type plain struct{ txsender.Sender }

// curious is one that does.
type curious struct{ plain }

func (curious) SendHinted(context.Context, *types.Transaction, txsender.Hints) txsender.Answer {
	return txsender.Answer{}
}

// Hints are as large as what a whole bundle relies on, and stay as long as its transaction.
func TestOnlySendersThatUseHintsGetThem(t *testing.T) {
	t.Parallel()
	w := &worker{node: &Node{}}
	w.node.head.Store(&head{header: &types.Header{Number: big.NewInt(7)}})
	account, slot := common.Address{1}, common.Hash{2}
	bundle := &proposer.Bundle{Conditions: proposer.Conditions{TimeMax: 9, Known: proposer.Storage{account: {slot: {3}}}}}
	if have := w.hints(bundle, route{sender: plain{}}); have.KnownAccounts != nil || have.MaxBlock != 0 {
		t.Errorf("have %+v for a plain sender, want none", have)
	}
	if have := w.hints(bundle, route{sender: curious{}}); have.TimeMax != 9 || have.MaxBlock != 8 || have.KnownAccounts[account].Slots[slot] != (common.Hash{3}) {
		t.Errorf("have %+v for one that uses them", have)
	}
}
