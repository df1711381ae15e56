package rpc

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// Reputation is kept for the chain, not for an EntryPoint: an entity that misbehaves at one of them is the same entity at
// the others. The EntryPoint that ERC-7769 has as a parameter may be left out; if it is given it must be one that is served.

// reputationParam is one entry of debug_bundler_setReputation.
type reputationParam struct {
	Address     addressParam `json:"address"`
	OpsSeen     counterParam `json:"opsSeen"`
	OpsIncluded counterParam `json:"opsIncluded"`
}

// Bundler_setReputation is debug_bundler_setReputation.
//
//nolint:revive // the name on the wire
func (a *debugAPI) Bundler_setReputation(ctx context.Context, entries []reputationParam, entryPoint *entryPointParam) (string, error) {
	return do(ctx, a.calls, "debug_bundler_setReputation", func(ctx context.Context) (string, error) {
		if err := a.served(entryPoint); err != nil {
			return "", err
		}
		list := make([]Reputation, len(entries))
		for i, e := range entries {
			if !e.Address.given {
				return "", invalidParams("reputation[%d].address: missing", i)
			}
			list[i] = Reputation{Address: e.Address.Address, OpsSeen: uint64(e.OpsSeen), OpsIncluded: uint64(e.OpsIncluded)}
		}
		return done, a.debug.SetReputation(ctx, list)
	})
}

// Bundler_dumpReputation is debug_bundler_dumpReputation.
//
//nolint:revive // the name on the wire
func (a *debugAPI) Bundler_dumpReputation(ctx context.Context, entryPoint *entryPointParam) ([]Reputation, error) {
	return do(ctx, a.calls, "debug_bundler_dumpReputation", func(ctx context.Context) ([]Reputation, error) {
		if err := a.served(entryPoint); err != nil {
			return nil, err
		}
		list, err := a.debug.DumpReputation(ctx)
		if err == nil && list == nil {
			list = []Reputation{} // an empty array, not null
		}
		return list, err
	})
}

// Bundler_clearReputation is debug_bundler_clearReputation.
//
//nolint:revive // the name on the wire
func (a *debugAPI) Bundler_clearReputation(ctx context.Context) (string, error) {
	return do(ctx, a.calls, "debug_bundler_clearReputation", func(ctx context.Context) (string, error) {
		return done, a.debug.ClearReputation(ctx)
	})
}

// Bundler_getStakeStatus is debug_bundler_getStakeStatus; without an EntryPoint it is the stake at the preferred one.
//
//nolint:revive // the name on the wire
func (a *debugAPI) Bundler_getStakeStatus(ctx context.Context, address addressParam, entryPoint *entryPointParam) (*StakeStatus, error) {
	return do(ctx, a.calls, "debug_bundler_getStakeStatus", func(ctx context.Context) (*StakeStatus, error) {
		ep := a.backend.EntryPoints()[0]
		if entryPoint != nil {
			var err error
			if ep, err = findEntryPoint(a.backend, common.Address(*entryPoint)); err != nil {
				return nil, err
			}
		}
		return a.debug.StakeStatus(ctx, ep, address.Address)
	})
}

// served refuses an EntryPoint that is given and not served.
func (a *debugAPI) served(entryPoint *entryPointParam) error {
	if entryPoint == nil {
		return nil
	}
	_, err := findEntryPoint(a.backend, common.Address(*entryPoint))
	return err
}

// MarshalJSON writes an entry of debug_bundler_dumpReputation.
func (r Reputation) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Address     common.AddressEIP55 `json:"address"`
		OpsSeen     hexutil.Uint64      `json:"opsSeen"`
		OpsIncluded hexutil.Uint64      `json:"opsIncluded"`
		Status      string              `json:"status"`
	}{common.AddressEIP55(r.Address), hexutil.Uint64(r.OpsSeen), hexutil.Uint64(r.OpsIncluded), r.Status})
}

// MarshalJSON writes the answer of debug_bundler_getStakeStatus. The method is not in ERC-7769; its two amounts are in
// decimal, as the public test suite of bundlers reads them.
func (s *StakeStatus) MarshalJSON() ([]byte, error) {
	if s == nil {
		return []byte(nullJSON), nil
	}
	type info struct {
		Address         common.AddressEIP55 `json:"addr"`
		Stake           string              `json:"stake"`
		UnstakeDelaySec string              `json:"unstakeDelaySec"`
	}
	return json.Marshal(struct {
		StakeInfo info `json:"stakeInfo"`
		IsStaked  bool `json:"isStaked"`
	}{info{common.AddressEIP55(s.Address), s.Stake.Dec(), strconv.FormatUint(s.UnstakeDelaySec, 10)}, s.Staked})
}
