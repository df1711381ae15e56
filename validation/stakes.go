package validation

import (
	"context"
	"fmt"

	"baler/entrypoint"
	"baler/evm"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// stakes fills in what the operation's entities have at the EntryPoint.
func (v *Validator) stakes(ctx context.Context, view *evm.View, ep entrypoint.EntryPoint, op *userop.UserOperation, res *Result) error {
	var err error
	if res.Sender, err = stakeOf(ctx, view, ep, op.Sender); err != nil {
		return err
	}
	if op.Factory != nil && !op.IsEIP7702() {
		info, err := stakeOf(ctx, view, ep, *op.Factory)
		if err != nil {
			return err
		}
		res.Factory = &info
	}
	if op.Paymaster != nil {
		info, err := stakeOf(ctx, view, ep, *op.Paymaster)
		if err != nil {
			return err
		}
		res.Paymaster = &info
	}
	if res.Aggregator != (common.Address{}) {
		info, err := stakeOf(ctx, view, ep, res.Aggregator)
		if err != nil {
			return err
		}
		res.AggregatorStake = &info
	}
	return nil
}

func stakeOf(ctx context.Context, view *evm.View, ep entrypoint.EntryPoint, addr common.Address) (StakeInfo, error) {
	deposit, err := view.Storage(ctx, ep.Address, entrypoint.DepositSlot(ep.Version, addr))
	if err != nil {
		return StakeInfo{}, err
	}
	stake, err := view.Storage(ctx, ep.Address, entrypoint.StakeSlot(ep.Version, addr))
	if err != nil {
		return StakeInfo{}, err
	}
	info := entrypoint.ParseDepositSlots(ep.Version, deposit, stake)
	return StakeInfo{
		Address: addr, Deposit: info.Deposit, Staked: info.Staked, Stake: info.Stake,
		UnstakeDelaySec: uint64(info.UnstakeDelaySec),
	}, nil
}

// Deposits returns what accounts have deposited at the EntryPoint, in wei, on the state of the head's block.
func (v *Validator) Deposits(ctx context.Context, head *types.Header, ep entrypoint.EntryPoint, accounts []common.Address) (map[common.Address]uint256.Int, error) {
	view := v.source.View(head)
	keys := make([]common.Hash, 0, 2*len(accounts))
	for _, addr := range accounts {
		keys = append(keys, entrypoint.DepositSlot(ep.Version, addr), entrypoint.StakeSlot(ep.Version, addr))
	}
	if err := view.Prefetch(ctx, nil, map[common.Address][]common.Hash{ep.Address: keys}); err != nil {
		return nil, fmt.Errorf("deposits: %w", err)
	}
	deposits := make(map[common.Address]uint256.Int, len(accounts))
	for _, addr := range accounts {
		info, err := stakeOf(ctx, view, ep, addr)
		if err != nil {
			return nil, fmt.Errorf("deposits: %w", err)
		}
		deposits[addr] = info.Deposit
	}
	return deposits, nil
}
