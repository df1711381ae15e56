package node

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"baler/bundlesender"
	"baler/entrypoint"
	"baler/evm"
	"baler/pool"
	"baler/rpc"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

var (
	_ rpc.Backend      = (*Node)(nil)
	_ rpc.DebugBackend = (*Node)(nil)
)

// errNotReady is the bundler's own trouble: no head has been seen yet.
var errNotReady = errors.New("no block seen yet")

// ChainID implements [rpc.Backend].
func (n *Node) ChainID() uint64 { return n.config.ChainID }

// EntryPoints implements [rpc.Backend].
func (n *Node) EntryPoints() []entrypoint.EntryPoint { return n.config.EntryPoints }

// EstimateUserOperationGas implements [rpc.Backend].
func (n *Node) EstimateUserOperationGas(ctx context.Context, ep entrypoint.EntryPoint, op *userop.UserOperation,
	given userop.Given, overrides rpc.StateOverrides,
) (*rpc.GasEstimate, error) {
	at := n.head.Load()
	if at == nil {
		return nil, errNotReady
	}
	assumed := stateOverrides(overrides)
	if err := n.assumeMined(ctx, ep, op, assumed); err != nil {
		return nil, err
	}
	estimate, err := n.estimator.EstimateUserOperationGas(ctx, at.header, ep, op, given, assumed)
	if err != nil && n.outdated(ctx, err) {
		estimate, err = n.estimator.EstimateUserOperationGas(ctx, n.head.Load().header, ep, op, given, assumed)
	}
	if err != nil {
		return nil, err
	}
	answer := &rpc.GasEstimate{
		PreVerificationGas: estimate.PreVerificationGas, VerificationGasLimit: estimate.VerificationGasLimit, CallGasLimit: estimate.CallGasLimit,
	}
	if op.Paymaster != nil && ep.Version.Packed() {
		answer.PaymasterVerificationGasLimit = &estimate.PaymasterVerificationGasLimit
		answer.PaymasterPostOpGasLimit = &estimate.PaymasterPostOpGasLimit
	}
	return answer, nil
}

// assumeMined overrides the sender's nonce where pending operations come before this one: it is estimated as if they
// were mined, as it is validated.
func (n *Node) assumeMined(ctx context.Context, ep entrypoint.EntryPoint, op *userop.UserOperation, overrides evm.Overrides) error {
	var ahead uint64
	if n.config.RemoteEdge != nil {
		lane, err := n.config.RemoteEdge.Lane(ctx, ep.Address, op.Sender, op.Nonce)
		if err != nil {
			return err
		}
		ahead = lane.Ahead
		n.books.setSize(lane.BundleSize)
	} else {
		ahead = n.ahead(ep.Address, op.Sender, op.Nonce)
	}
	override := overrides[ep.Address]
	if ahead == 0 || override.State != nil {
		return nil
	}
	diff := maps.Clone(override.StateDiff)
	if diff == nil {
		diff = make(map[common.Hash]common.Hash, 1)
	}
	sequence := uint256.NewInt(op.NonceSequence())
	diff[entrypoint.NonceSlot(ep.Version, op.Sender, op.NonceKey())] = sequence.Bytes32()
	override.StateDiff = diff
	overrides[ep.Address] = override
	return nil
}

func stateOverrides(wire rpc.StateOverrides) evm.Overrides {
	overrides := make(evm.Overrides, len(wire))
	for address, o := range wire {
		override := evm.Override{Balance: o.Balance, Nonce: o.Nonce, State: o.State, StateDiff: o.StateDiff}
		if o.Code != nil {
			override.Code = append([]byte{}, *o.Code...) // not nil: an override to no code is one
		}
		overrides[address] = override
	}
	return overrides
}

// SendBundleNow implements [rpc.DebugBackend]. The senders are asked in turn, those that wait for nothing first, until
// one has sent a bundle.
//
// The newest block is the one to build on. On a chain that mines at once the answer comes when the bundle is mined and
// settled: whoever asked reads the receipts next.
func (n *Node) SendBundleNow(ctx context.Context) (common.Hash, error) {
	n.catchUp(ctx)
	if n.desk.orders != nil {
		answer, err := n.orderBundle(ctx)
		if err == nil {
			n.awaitMined(ctx, answer.Hash)
		}
		return answer.Hash, err
	}
	idle, busy := n.idleFirst()
	return n.sendBy(ctx, append(idle, busy...))
}

// sendBy asks bundle senders one after the other, until one has sent a bundle.
func (n *Node) sendBy(ctx context.Context, workers []*worker) (common.Hash, error) {
	last := errNoSender
	for _, w := range workers {
		answer := make(chan manualAnswer, 1)
		w.inbox.post(message{call: answer})
		select {
		case <-ctx.Done():
			return common.Hash{}, ctx.Err()
		case a := <-answer:
			if a.err == nil {
				n.awaitMined(ctx, a.hash)
				return a.hash, nil
			}
			last = a.err
		case <-w.ended: // its key was lost or drained
		}
	}
	if nothing, ok := errors.AsType[*bundlesender.NothingError](last); ok && nothing.Reason != bundlesender.ProposerError {
		return common.Hash{}, fmt.Errorf("%w: %s", rpc.ErrNothingToSend, nothing.Reason)
	}
	return common.Hash{}, fmt.Errorf("send bundle: %w", last)
}

// idleFirst returns the workers from the next in turn on: those in Building, and those that wait for a transaction.
func (n *Node) idleFirst() (idle, busy []*worker) {
	workers := n.keys.all()
	turn := int(n.next.Add(1) - 1)
	for i := range workers {
		w := workers[(turn+i)%len(workers)]
		if w.current().State == bundlesender.Building {
			idle = append(idle, w)
		} else {
			busy = append(busy, w)
		}
	}
	return idle, busy
}

// SetBundlingMode implements [rpc.DebugBackend].
func (n *Node) SetBundlingMode(_ context.Context, auto bool) error {
	if n.desk.orders != nil {
		n.desk.orders.setMode(auto)
	}
	n.keys.setMode(auto)
	return nil
}

// DumpMempool implements [rpc.DebugBackend].
func (n *Node) DumpMempool(_ context.Context, ep entrypoint.EntryPoint) ([]*userop.UserOperation, error) {
	var ops []*userop.UserOperation
	n.pool.look(func(p *pool.Pool) {
		for _, op := range p.Dump(ep.Address) {
			ops = append(ops, op.Op)
		}
	})
	return ops, nil
}

// ClearState implements [rpc.DebugBackend].
func (n *Node) ClearState(context.Context) error {
	n.pool.do(func(p *pool.Pool) []pool.Removed {
		removed := p.Clear()
		p.ClearReputation()
		return removed
	})
	return nil
}
