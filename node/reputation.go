package node

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/event"
	"baler/pool"
	"baler/rejection"
	"baler/rpc"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
)

// ClearMempool implements [rpc.DebugBackend].
func (n *Node) ClearMempool(_ context.Context, ep *entrypoint.EntryPoint) error {
	n.pool.do(func(p *pool.Pool) (removed []pool.Removed) {
		if ep == nil {
			return p.Clear()
		}
		// From the last nonce to the first, so that each leaves for its own sake and not for its predecessor's.
		for _, op := range slices.Backward(p.Dump(ep.Address)) {
			gone, err := p.Remove(op.Hash, pool.Cleared, erc7562.NoEntity)
			if err == nil {
				removed = append(removed, gone...)
			}
		}
		return removed
	})
	return nil
}

// ClearReputation implements [rpc.DebugBackend].
func (n *Node) ClearReputation(context.Context) error {
	n.pool.look(func(p *pool.Pool) { p.ClearReputation() })
	return nil
}

// SetReputation implements [rpc.DebugBackend].
func (n *Node) SetReputation(_ context.Context, entries []rpc.Reputation) error {
	list := make([]pool.Reputation, len(entries))
	for i, e := range entries {
		list[i] = pool.Reputation{Address: e.Address, OpsSeen: e.OpsSeen, OpsIncluded: e.OpsIncluded}
	}
	n.pool.do(func(p *pool.Pool) []pool.Removed { return p.SetReputation(list) })
	return nil
}

// DumpReputation implements [rpc.DebugBackend].
func (n *Node) DumpReputation(context.Context) ([]rpc.Reputation, error) {
	var list []rpc.Reputation
	n.pool.look(func(p *pool.Pool) {
		for _, r := range p.DumpReputation() {
			list = append(list, rpc.Reputation{
				Address: r.Address, OpsSeen: r.OpsSeen, OpsIncluded: r.OpsIncluded, Status: r.Status.String(),
			})
		}
	})
	return list, nil
}

// StakeStatus implements [rpc.DebugBackend].
func (n *Node) StakeStatus(ctx context.Context, ep entrypoint.EntryPoint, address common.Address) (*rpc.StakeStatus, error) {
	infos, err := n.deposits(ctx, ep, []common.Address{address})
	if err != nil {
		return nil, err
	}
	info := infos[address]
	return &rpc.StakeStatus{
		Address: address, Stake: info.Stake, UnstakeDelaySec: uint64(info.UnstakeDelaySec), Staked: n.enough(info),
	}, nil
}

// enough applies SREP-010 of ERC-7562.
func (n *Node) enough(info entrypoint.DepositInfo) bool {
	limits := &n.config.Pool
	return info.Staked && !info.Stake.Lt(&limits.MinStake) && uint64(info.UnstakeDelaySec) >= limits.MinUnstakeDelay
}

// deposits reads what accounts have at the EntryPoint at the head, in one batch.
func (n *Node) deposits(ctx context.Context, ep entrypoint.EntryPoint, accounts []common.Address) (map[common.Address]entrypoint.DepositInfo, error) {
	at := n.head.Load()
	if at == nil {
		return nil, errNotReady
	}
	view := n.source.View(at.header)
	keys := make([]common.Hash, 0, 2*len(accounts))
	for _, account := range accounts {
		keys = append(keys, entrypoint.DepositSlot(ep.Version, account), entrypoint.StakeSlot(ep.Version, account))
	}
	if err := view.Prefetch(ctx, nil, map[common.Address][]common.Hash{ep.Address: keys}); err != nil {
		return nil, fmt.Errorf("deposits: %w", err)
	}
	infos := make(map[common.Address]entrypoint.DepositInfo, len(accounts))
	for _, account := range accounts {
		deposit, err := view.Storage(ctx, ep.Address, entrypoint.DepositSlot(ep.Version, account))
		if err != nil {
			return nil, fmt.Errorf("deposit of %s: %w", account, err)
		}
		stake, err := view.Storage(ctx, ep.Address, entrypoint.StakeSlot(ep.Version, account))
		if err != nil {
			return nil, fmt.Errorf("stake of %s: %w", account, err)
		}
		infos[account] = entrypoint.ParseDepositSlots(ep.Version, deposit, stake)
	}
	return infos, nil
}

// AddUserOperations implements [rpc.DebugBackend]: the operations are taken for valid, for ever, at any nonce. The pool's
// own limits (counts, reputation, deposits) hold, because the pool could not keep its promises without.
func (n *Node) AddUserOperations(ctx context.Context, ep entrypoint.EntryPoint, ops []*userop.UserOperation) error {
	at := n.head.Load()
	if at == nil {
		return errNotReady
	}
	entities := make(map[common.Address]struct{})
	for _, op := range ops {
		for _, address := range entitiesOf(op) {
			entities[address] = struct{}{}
		}
	}
	infos, err := n.deposits(ctx, ep, slices.Collect(maps.Keys(entities)))
	if err != nil {
		return err
	}
	for i, op := range ops {
		hash, err := n.operationHash(ctx, at, ep, op)
		if err != nil {
			return err
		}
		if err := n.addUnchecked(ctx, at, ep, op, hash, infos); err != nil {
			return fmt.Errorf("userOps[%d]: %w", i, err)
		}
	}
	return nil
}

func entitiesOf(op *userop.UserOperation) []common.Address {
	all := []common.Address{op.Sender}
	if op.Factory != nil && !op.IsEIP7702() {
		all = append(all, *op.Factory)
	}
	if op.Paymaster != nil {
		all = append(all, *op.Paymaster)
	}
	return all
}

// stake fills in which of the operation's entities are staked.
func (n *Node) stake(op *pool.Operation, infos map[common.Address]entrypoint.DepositInfo) {
	op.Staked.Sender = n.enough(infos[op.Op.Sender])
	if f := op.Op.Factory; f != nil && !op.Op.IsEIP7702() {
		op.Staked.Factory = n.enough(infos[*f])
	}
	if pm := op.Op.Paymaster; pm != nil {
		op.Staked.Paymaster = n.enough(infos[*pm])
	}
}

func (n *Node) addUnchecked(ctx context.Context, at *head, ep entrypoint.EntryPoint, op *userop.UserOperation, hash common.Hash,
	infos map[common.Address]entrypoint.DepositInfo,
) error {
	admitted := &pool.Operation{
		Op: op, Hash: hash, EntryPoint: ep, Prefund: op.MaxCost(), AddedBlock: at.number(), AddedTime: at.header.Time,
	}
	n.stake(admitted, infos)
	var added pool.Added
	var err error
	n.pool.look(func(p *pool.Pool) {
		if op.Paymaster != nil {
			p.SetDeposit(ep.Address, *op.Paymaster, infos[*op.Paymaster].Deposit)
		}
		admitted.NonceAhead = p.Predecessors(ep.Address, op.Sender, op.Nonce)
		if added, err = p.Add(admitted); err == nil {
			n.toItsBuilder(p, hash)
		}
	})
	if err != nil {
		return n.rejected(admitted, err)
	}
	n.pool.report(added.Removed)
	if added.Known {
		return nil
	}
	if err := n.keep(ctx, admitted); err != nil {
		return err
	}
	n.sink(event.OperationAdded{Hash: hash, EntryPoint: ep.Address, Sender: op.Sender, Nonce: op.Nonce, Replaced: added.Replaced})
	return nil
}

// SetConfiguration implements [rpc.DebugBackend]. ERC-7769 does not have the method, but the bundler test suite calls it
// before it tests preVerificationGas. How much of that is asked for is fixed when the bundler starts: the validator, the
// estimator and what they have memoised agree on it. So a setting may be confirmed, and is refused if it is another.
func (n *Node) SetConfiguration(_ context.Context, settings map[string]uint64) error {
	fixed := map[string]uint64{
		"expectedBundleSize": max(n.config.Validation.PreVerification.BundleSize, 1),
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		value, known := fixed[name]
		if !known {
			return rejection.New(rejection.InvalidFields, "setting %q: unknown, want one of %v", name, slices.Sorted(maps.Keys(fixed)))
		}
		if settings[name] != value {
			return rejection.New(rejection.InvalidFields, "%s: have %d, want %d: it is chosen when the bundler starts", name, settings[name], value)
		}
	}
	return nil
}
