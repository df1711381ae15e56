package estimation

import (
	"context"
	"maps"

	"baler/datafee"
	"baler/entrypoint"
	"baler/evm"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// prepare returns the overrides of the estimation's runs: the caller's, the delegation of op's EIP-7702 tuple, and the
// payer's deposit. A paymaster's covers any cost. A sender's covers none: whether a deposit covers the prefund depends on
// the limits and fees the operation will have in the end, and paying takes more gas than not paying, so that is what
// the estimate is for. Deposits are overridden, not written by the run, because a slot that the transaction has written
// before costs less to write.
//
// What the quote needs is read in the same round trip.
func (e *Estimator) prepare(
	ctx context.Context, head *types.Header, ep entrypoint.EntryPoint,
	op *userop.UserOperation, overrides evm.Overrides, quote *datafee.Quote,
) (evm.Overrides, error) {
	if err := overrides.Validate(); err != nil {
		return nil, rejection.New(rejection.InvalidFields, "%s", err)
	}
	prepared := maps.Clone(overrides)
	if prepared == nil {
		prepared = make(evm.Overrides)
	}
	if err := delegate(e.source, op, prepared); err != nil {
		return nil, err
	}

	payer := op.Sender
	if op.Paymaster != nil {
		payer = *op.Paymaster
	}
	slot := entrypoint.DepositSlot(ep.Version, payer)
	first := &evm.ReadSet{
		Accounts: map[common.Address]evm.AccountRead{op.Sender: {}, ep.Address: {}, entrypoint.SenderCreator(ep.Version): {}, payer: {}},
		Slots: map[evm.Slot]common.Hash{
			{Account: ep.Address, Key: slot}: {},
			{Account: ep.Address, Key: entrypoint.NonceSlot(ep.Version, op.Sender, op.NonceKey())}: {},
		},
	}
	if op.Factory != nil && !op.IsEIP7702() {
		first.Accounts[*op.Factory] = evm.AccountRead{}
	}
	view := e.source.View(head)
	if err := view.PrefetchReads(ctx, []*evm.ReadSet{first, e.cfg.DataFees.Reads()}, quote.Questions()...); err != nil {
		return nil, err
	}

	word, overridden := storage(prepared[ep.Address], slot)
	if !overridden {
		var err error
		if word, err = view.Storage(ctx, ep.Address, slot); err != nil {
			return nil, err
		}
	}
	deposit := entrypoint.ParseDepositSlots(ep.Version, word, common.Hash{}).Deposit
	switch ample := amplePaymasterDeposit(); {
	case op.Paymaster != nil && deposit.Lt(&ample):
		deposit = ample
	case op.Paymaster == nil && !deposit.IsZero():
		deposit = *uint256.NewInt(1) // as good as none, but to change it is no dearer than it is
	default:
		return prepared, nil
	}
	prepared[ep.Address] = withStorage(prepared[ep.Address], slot, entrypoint.WithDeposit(ep.Version, word, deposit))
	return prepared, nil
}

// amplePaymasterDeposit is 2^100 wei, over a trillion ether, and leaves room for refunds in v0.6's 112 bits.
func amplePaymasterDeposit() uint256.Int {
	var wei uint256.Int
	wei.Lsh(uint256.NewInt(1), 100)
	return wei
}

// delegate overrides the sender's code as op's EIP-7702 tuple will set it, as if the sender had signed it (ERC-7769).
func delegate(source *evm.Source, op *userop.UserOperation, overrides evm.Overrides) error {
	auth := op.Authorization
	if auth == nil {
		return nil
	}
	if chainID := source.Config().ChainID; !auth.ChainID.IsZero() && auth.ChainID.CmpBig(chainID) != 0 {
		return rejection.New(rejection.InvalidFields, "eip7702Auth.chainId: have %s, want %s or 0", auth.ChainID.Dec(), chainID)
	}
	account := overrides[op.Sender]
	if account.Code != nil {
		return nil
	}
	account.Code = types.AddressToDelegation(auth.Address)
	overrides[op.Sender] = account
	return nil
}

// storage returns the overridden value of a slot, if it is overridden.
func storage(account evm.Override, slot common.Hash) (common.Hash, bool) {
	if account.State != nil {
		return account.State[slot], true
	}
	value, ok := account.StateDiff[slot]
	return value, ok
}

// withStorage returns the override with one slot changed; the caller's maps are left alone.
func withStorage(account evm.Override, slot, value common.Hash) evm.Override {
	which := &account.StateDiff
	if account.State != nil {
		which = &account.State
	}
	changed := maps.Clone(*which)
	if changed == nil {
		changed = make(map[common.Hash]common.Hash)
	}
	changed[slot] = value
	*which = changed
	return account
}
