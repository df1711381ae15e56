package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"baler/chain"
	"baler/funding"
	"baler/signer"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// Funding keeps the bundle senders' keys in funds. The zero value does not.
type Funding struct {
	Key       signer.Signer // pays, and is none of the bundle senders'
	Below, To uint256.Int   // wei: a key with less than Below gets what it lacks to To
	Every     uint64        // blocks between looks at the balances
}

// treasury runs the payer of a node: as long as this process holds the funding key.
type treasury struct {
	node  *Node
	plan  *funding.TopUp
	payer atomic.Pointer[funding.Payer]
}

// check says what is wrong with the settings.
func (f Funding) check(signers []signer.Signer) error {
	switch {
	case f.Key == nil:
		return nil
	case slices.ContainsFunc(signers, func(s signer.Signer) bool { return s.Address() == f.Key.Address() }):
		return fmt.Errorf("%w: the funding key %s is a bundle sender's too", ErrConfig, f.Key.Address())
	case f.Below.IsZero() || f.To.Lt(&f.Below):
		return fmt.Errorf("%w: keys are to be funded below %s to %s wei, want more than 0, and no less", ErrConfig, f.Below.Dec(), f.To.Dec())
	}
	return nil
}

func newTreasury(n *Node) *treasury {
	config := n.config.Funding
	if config.Key == nil {
		return nil
	}
	return &treasury{node: n, plan: &funding.TopUp{
		Node: n.chain, Accounts: n.usedKeys, Below: config.Below, To: config.To, Every: config.Every,
	}}
}

// usedKeys are the accounts of the keys that are to be used on.
func (n *Node) usedKeys() []common.Address {
	var accounts []common.Address
	for _, key := range n.keys.states() {
		if !key.Draining {
			accounts = append(accounts, key.Key)
		}
	}
	return accounts
}

// heads tells the payer of a step of the chain.
func (t *treasury) heads(update *chain.Update) {
	if t == nil {
		return
	}
	if payer := t.payer.Load(); payer != nil {
		payer.Head(update)
	}
}

// ask makes the balances looked at with the next block.
func (t *treasury) ask() {
	if t != nil {
		t.plan.Ask()
	}
}

// run pays until the context ends. fail is told if the journal cannot be written.
func (t *treasury) run(ctx context.Context, fail context.CancelCauseFunc) {
	holder := t.node.keys.holder
	for ctx.Err() == nil {
		err := t.hold(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case holder == nil && err != nil:
			fail(fmt.Errorf("funding: %w", err))
			return
		case err != nil && !errors.Is(err, ErrKeyTaken):
			t.node.log.Warn("the funding key was given up; it is tried again", "payer", t.node.config.Funding.Key.Address(), "err", err)
		}
		_ = pause(ctx, keyPause)
	}
}

// hold holds the funding key and pays with it until the context ends, the key is lost, or its journal fails.
func (t *treasury) hold(ctx context.Context) error {
	key := t.node.config.Funding.Key
	held := &HeldKey{Signer: key, Store: t.node.config.Store}
	if holder := t.node.keys.holder; holder != nil {
		var err error
		if held, err = holder.Hold(ctx, key); err != nil {
			return err
		}
	}
	h := &holding{HeldKey: held, ended: make(chan error, 1)}
	h.begin(ctx, t.node)
	return errors.Join(t.pay(ctx, held), h.end(ctx))
}

func (t *treasury) pay(ctx context.Context, held *HeldKey) error {
	n := t.node
	journal, err := held.Store.Journal(held.Signer.Address())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	valid := func() bool { return true }
	if held.Lease != nil {
		valid = held.Lease.Valid
		watched := make(chan struct{})
		defer func() { <-watched }()
		go func() {
			defer close(watched)
			select {
			case <-held.Lease.Lost():
				cancel()
			case <-ctx.Done():
			}
		}()
		defer cancel()
	}
	payer := funding.New(funding.Config{
		ChainID: n.chainID(), Rules: n.config.Rules, Key: held.Signer, Journal: journal, Chain: n.chain, Relay: n.usual.sender, Plan: t.plan,
		Machine: n.config.Sender, MinPriorityFee: n.config.MinPriorityFee, MaxPriorityFee: n.config.MaxPriorityFee,
		BaseFeeOverheadPercent: n.config.Proposer.BaseFeeOverheadPercent, MaxFeePerGas: n.config.Proposer.MaxFeePerGas,
		Valid: valid, Sink: n.sink, Log: n.log, Boundary: n.config.Boundary,
	})
	if at := n.head.Load(); at != nil {
		payer.Head(&chain.Update{Head: at.header, Gap: true, Last: true})
	}
	t.payer.Store(payer)
	defer t.payer.Store(nil)
	return payer.Run(ctx)
}
