package rpc

import (
	"context"
	"encoding/json"

	"baler/entrypoint"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// ethAPI is the eth namespace of ERC-7769. go-ethereum's rpc server finds its methods by reflection:
// SendUserOperation is eth_sendUserOperation.
type ethAPI struct {
	backend Backend
	calls   *calls
}

// ChainId is eth_chainId.
func (a *ethAPI) ChainId() hexutil.Uint64 { //nolint:revive // the method's name on the wire is eth_chainId
	return hexutil.Uint64(a.backend.ChainID())
}

// SupportedEntryPoints is eth_supportedEntryPoints.
func (a *ethAPI) SupportedEntryPoints() []common.AddressEIP55 {
	supported := a.backend.EntryPoints()
	addresses := make([]common.AddressEIP55, len(supported))
	for i, ep := range supported {
		addresses[i] = common.AddressEIP55(ep.Address)
	}
	return addresses
}

// SendUserOperation is eth_sendUserOperation.
func (a *ethAPI) SendUserOperation(ctx context.Context, raw json.RawMessage, entryPoint entryPointParam) (common.Hash, error) {
	return do(ctx, a.calls, "eth_sendUserOperation", func(ctx context.Context) (common.Hash, error) {
		ep, err := findEntryPoint(a.backend, common.Address(entryPoint))
		if err != nil {
			return common.Hash{}, err
		}
		op, err := userop.Decode(raw, ep.Version)
		if err != nil {
			return common.Hash{}, invalidParams("%s", err)
		}
		if err := a.calls.limits.sender(op.Sender); err != nil {
			return common.Hash{}, err
		}
		return a.backend.SendUserOperation(ctx, ep, op)
	})
}

// EstimateUserOperationGas is eth_estimateUserOperationGas; the state override set may be left out.
func (a *ethAPI) EstimateUserOperationGas(ctx context.Context, raw json.RawMessage, entryPoint entryPointParam,
	overrides *StateOverrides,
) (*GasEstimate, error) {
	return do(ctx, a.calls, "eth_estimateUserOperationGas", func(ctx context.Context) (*GasEstimate, error) {
		ep, err := findEntryPoint(a.backend, common.Address(entryPoint))
		if err != nil {
			return nil, err
		}
		op, given, err := userop.DecodePartial(raw, ep.Version)
		if err != nil {
			return nil, invalidParams("%s", err)
		}
		if err := a.calls.limits.sender(op.Sender); err != nil {
			return nil, err
		}
		var assumed StateOverrides
		if overrides != nil {
			assumed = *overrides
		}
		return a.backend.EstimateUserOperationGas(ctx, ep, op, given, assumed)
	})
}

// GetUserOperationByHash is eth_getUserOperationByHash; the answer is null for an unknown hash.
func (a *ethAPI) GetUserOperationByHash(ctx context.Context, hash hashParam) (*OperationInfo, error) {
	return do(ctx, a.calls, "eth_getUserOperationByHash", func(ctx context.Context) (*OperationInfo, error) {
		return a.backend.UserOperationByHash(ctx, common.Hash(hash))
	})
}

// GetUserOperationReceipt is eth_getUserOperationReceipt; the answer is null until the operation is mined.
func (a *ethAPI) GetUserOperationReceipt(ctx context.Context, hash hashParam) (*OperationReceipt, error) {
	return do(ctx, a.calls, "eth_getUserOperationReceipt", func(ctx context.Context) (*OperationReceipt, error) {
		return a.backend.UserOperationReceipt(ctx, common.Hash(hash))
	})
}

func findEntryPoint(b Backend, address common.Address) (entrypoint.EntryPoint, error) {
	supported := b.EntryPoints()
	for _, ep := range supported {
		if ep.Address == address {
			return ep, nil
		}
	}
	return entrypoint.EntryPoint{}, unsupportedEntryPoint(address, supported)
}
