package node

import (
	"context"
	"errors"
	"fmt"

	"baler/bundlesender"
	"baler/entrypoint"
	"baler/event"
	"baler/evm"
	"baler/pool"
	"baler/rejection"
	"baler/rpc"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
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

// SendUserOperation implements [rpc.Backend]: validation, then the pool.
func (n *Node) SendUserOperation(ctx context.Context, ep entrypoint.EntryPoint, op *userop.UserOperation) (common.Hash, error) {
	at := n.head.Load()
	if at == nil {
		return common.Hash{}, errNotReady
	}
	var ahead uint64
	n.pool.look(func(p *pool.Pool) { ahead = p.Predecessors(ep.Address, op.Sender, op.Nonce) })
	result, err := n.validator.inner.Validate(ctx, at.header, ep, op, validation.Options{NonceAhead: ahead})
	if err != nil {
		return common.Hash{}, n.rejected(ep, op, common.Hash{}, err)
	}
	admitted := &pool.Operation{
		Op: op, Hash: result.Hash, EntryPoint: ep,
		ValidAfter: result.ValidAfter, ValidUntil: result.ValidUntil, ValidityInBlocks: result.InBlocks,
		Aggregator: result.Aggregator, Prefund: result.Prefund, VerificationGasUsed: result.VerificationGasUsed,
		NonceAhead: ahead, AddedBlock: at.number(), AddedTime: at.header.Time,
		Staked: pool.Staked{
			Sender: n.staked(&result.Sender), Factory: n.staked(result.Factory), Paymaster: n.staked(result.Paymaster),
		},
	}
	var added pool.Added
	n.pool.look(func(p *pool.Pool) {
		if result.Paymaster != nil {
			p.SetDeposit(ep.Address, result.Paymaster.Address, result.Paymaster.Deposit)
		}
		added, err = p.Add(admitted)
	})
	if err != nil {
		return common.Hash{}, n.rejected(ep, op, result.Hash, err)
	}
	n.pool.report(added.Removed)
	if !added.Known {
		n.sink(event.OperationAdded{Hash: result.Hash, EntryPoint: ep.Address, Sender: op.Sender, Nonce: op.Nonce, Replaced: added.Replaced})
	}
	return result.Hash, nil
}

// staked applies SREP-010 of ERC-7562: at least MIN_STAKE_VALUE, locked for at least MIN_UNSTAKE_DELAY.
func (n *Node) staked(info *validation.StakeInfo) bool {
	limits := &n.config.Pool
	return info != nil && info.Staked && !info.Stake.Lt(&limits.MinStake) && info.UnstakeDelaySec >= limits.MinUnstakeDelay
}

// rejected reports a refusal, and passes the error on.
func (n *Node) rejected(ep entrypoint.EntryPoint, op *userop.UserOperation, hash common.Hash, err error) error {
	if r, ok := errors.AsType[*rejection.Rejection](err); ok {
		n.sink(event.OperationRejected{Hash: hash, EntryPoint: ep.Address, Sender: op.Sender, Code: int(r.Kind), Message: r.Message})
	}
	return err
}

// EstimateUserOperationGas implements [rpc.Backend].
func (n *Node) EstimateUserOperationGas(ctx context.Context, ep entrypoint.EntryPoint, op *userop.UserOperation,
	given userop.Given, overrides rpc.StateOverrides,
) (*rpc.GasEstimate, error) {
	at := n.head.Load()
	if at == nil {
		return nil, errNotReady
	}
	estimate, err := n.estimator.EstimateUserOperationGas(ctx, at.header, ep, op, given, stateOverrides(overrides))
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
func (n *Node) SendBundleNow(ctx context.Context) (common.Hash, error) {
	last := errNoSender
	for _, w := range n.idleFirst() {
		answer := make(chan manualAnswer, 1)
		w.inbox.post(message{call: answer})
		select {
		case <-ctx.Done():
			return common.Hash{}, ctx.Err()
		case a := <-answer:
			if a.err == nil {
				return a.hash, nil
			}
			last = a.err
		}
	}
	if nothing, ok := errors.AsType[*bundlesender.NothingError](last); ok && nothing.Reason != bundlesender.ProposerError {
		return common.Hash{}, rejection.New(rejection.InvalidFields, "%v", nothing)
	}
	return common.Hash{}, fmt.Errorf("send bundle: %w", last)
}

// idleFirst returns the workers from the next in turn on, those in Building before those that wait for a transaction.
func (n *Node) idleFirst() []*worker {
	turn := int(n.next.Add(1)-1) % len(n.workers)
	var idle, busy []*worker
	for i := range n.workers {
		w := n.workers[(turn+i)%len(n.workers)]
		if w.current().State == bundlesender.Building {
			idle = append(idle, w)
		} else {
			busy = append(busy, w)
		}
	}
	return append(idle, busy...)
}

// SetBundlingMode implements [rpc.DebugBackend].
func (n *Node) SetBundlingMode(_ context.Context, auto bool) error {
	for _, w := range n.workers {
		w.post(bundlesender.ModeSet{Auto: auto})
	}
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
		p.ClearReputation()
		return p.Clear()
	})
	return nil
}
