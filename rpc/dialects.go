package rpc

import (
	"context"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// Clients written for one bundler call methods of its own namespace. Those that many apps call are served here under
// their names and in their shapes, so that an app can change its bundler by changing a URL.

// pimlicoAPI is the pimlico namespace, as permissionless.js calls it.
type pimlicoAPI struct {
	baler BalerBackend
	calls *calls
}

// pimlicoGasPrice is the answer of pimlico_getUserOperationGasPrice.
type pimlicoGasPrice struct {
	Slow     feesJSON `json:"slow"`
	Standard feesJSON `json:"standard"`
	Fast     feesJSON `json:"fast"`
}

// GetUserOperationGasPrice is pimlico_getUserOperationGasPrice.
func (a *pimlicoAPI) GetUserOperationGasPrice(ctx context.Context) (*pimlicoGasPrice, error) {
	return do(ctx, a.calls, "pimlico_getUserOperationGasPrice", func(ctx context.Context) (*pimlicoGasPrice, error) {
		price, err := a.baler.GasPrice(ctx)
		if err != nil {
			return nil, err
		}
		return &pimlicoGasPrice{wireFees(&price.Slow), wireFees(&price.Standard), wireFees(&price.Fast)}, nil
	})
}

// pimlicoStatus is the answer of pimlico_getUserOperationStatus.
type pimlicoStatus struct {
	Status          string       `json:"status"`
	TransactionHash *common.Hash `json:"transactionHash"`
}

// GetUserOperationStatus is pimlico_getUserOperationStatus.
func (a *pimlicoAPI) GetUserOperationStatus(ctx context.Context, hash hashParam) (*pimlicoStatus, error) {
	return do(ctx, a.calls, "pimlico_getUserOperationStatus", func(ctx context.Context) (*pimlicoStatus, error) {
		status, err := a.baler.UserOperationStatus(ctx, common.Hash(hash))
		if err != nil {
			return nil, err
		}
		return &pimlicoStatus{pimlicoWord(status.State), status.Transaction}, nil
	})
}

// pimlicoWord translates a state by the documentation of pimlico_getUserOperationStatus: one refused at the door is not
// found there, one that left the pool is rejected, and one whose own call reverted is included (its receipt has the
// success). Their "failed" stands for a bundle that reverted: here its operations wait for another bundle, or are out.
func pimlicoWord(s OperationState) string {
	switch s {
	case StatePending, StateBundled:
		return "not_submitted"
	case StateSubmitted:
		return "submitted"
	case StateIncluded, StateFailed:
		return "included"
	case StateDropped:
		return "rejected"
	case StateNotFound, StateRejected:
		return "not_found"
	default:
		return "not_found"
	}
}

// rundlerAPI is the rundler namespace, as the clients of Alchemy's endpoints call it.
type rundlerAPI struct {
	baler BalerBackend
	calls *calls
}

// MaxPriorityFeePerGas is rundler_maxPriorityFeePerGas: the least maxPriorityFeePerGas that is accepted into a bundle now.
func (a *rundlerAPI) MaxPriorityFeePerGas(ctx context.Context) (*hexutil.U256, error) {
	return do(ctx, a.calls, "rundler_maxPriorityFeePerGas", func(ctx context.Context) (*hexutil.U256, error) {
		price, err := a.baler.GasPrice(ctx)
		if err != nil {
			return nil, err
		}
		return (*hexutil.U256)(&price.Required.MaxPriority), nil
	})
}

// rundlerGasPrice is the answer of rundler_getUserOperationGasPrice. The priority fee has two names: that of the bundler
// itself, and that of Alchemy's documentation.
type rundlerGasPrice struct {
	PriorityFee        *hexutil.U256  `json:"priorityFee"`
	CurrentPriorityFee *hexutil.U256  `json:"currentPriorityFee"`
	BaseFee            *hexutil.U256  `json:"baseFee"`
	BlockNumber        hexutil.Uint64 `json:"blockNumber"`
	Suggested          feesJSON       `json:"suggested"`
}

// GetUserOperationGasPrice is rundler_getUserOperationGasPrice; what it suggests is [GasPrice.Standard].
func (a *rundlerAPI) GetUserOperationGasPrice(ctx context.Context) (*rundlerGasPrice, error) {
	return do(ctx, a.calls, "rundler_getUserOperationGasPrice", func(ctx context.Context) (*rundlerGasPrice, error) {
		price, err := a.baler.GasPrice(ctx)
		if err != nil {
			return nil, err
		}
		return &rundlerGasPrice{
			PriorityFee: (*hexutil.U256)(&price.Required.MaxPriority), CurrentPriorityFee: (*hexutil.U256)(&price.Required.MaxPriority), BaseFee: (*hexutil.U256)(&price.BaseFee),
			BlockNumber: hexutil.Uint64(price.Block), Suggested: wireFees(&price.Standard),
		}, nil
	})
}
