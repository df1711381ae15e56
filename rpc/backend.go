package rpc

import (
	"context"
	"encoding/json"
	"errors"

	"baler/entrypoint"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// Backend is what the eth namespace asks of the bundler behind it.
//
// A refusal by the bundler's rules is a *rejection.Rejection (it may be wrapped); the client sees its code, message and
// data. Any other error is the bundler's own trouble: the client sees "internal error" and the log holds the cause.
// The context ends when the client is gone, the call's time is over, or the server is closed.
type Backend interface {
	// ChainID returns the id of EIP-155.
	ChainID() uint64

	// EntryPoints returns the EntryPoints served, the preferred one first.
	EntryPoints() []entrypoint.EntryPoint

	// SendUserOperation admits the operation into the pool and returns its hash once it is accepted.
	SendUserOperation(ctx context.Context, ep entrypoint.EntryPoint, op *userop.UserOperation) (common.Hash, error)

	// EstimateUserOperationGas returns gas limits for the operation; given says which of its fields the client set.
	// Overrides may be nil.
	EstimateUserOperationGas(ctx context.Context, ep entrypoint.EntryPoint, op *userop.UserOperation,
		given userop.Given, overrides StateOverrides) (*GasEstimate, error)

	// UserOperationByHash returns the operation, pending or mined; nil and no error if it is unknown.
	UserOperationByHash(ctx context.Context, hash common.Hash) (*OperationInfo, error)

	// UserOperationReceipt returns the receipt of a mined operation; nil and no error if it is unknown or pending.
	UserOperationReceipt(ctx context.Context, hash common.Hash) (*OperationReceipt, error)
}

// DebugBackend is what the debug namespace asks of the bundler. Errors are as for [Backend].
type DebugBackend interface {
	// SendBundleNow builds a bundle and submits it; it returns the transaction's hash once the bundle is submitted, and on
	// a chain that mines at once, once it is mined; or [ErrNothingToSend].
	SendBundleNow(ctx context.Context) (common.Hash, error)

	// SetBundlingMode switches between sending bundles by itself (auto) and only on SendBundleNow.
	SetBundlingMode(ctx context.Context, auto bool) error

	// DumpMempool returns the pool's operations for the EntryPoint.
	DumpMempool(ctx context.Context, ep entrypoint.EntryPoint) ([]*userop.UserOperation, error)

	// ClearState empties the pool and forgets the reputation of all entities.
	ClearState(ctx context.Context) error

	// ClearMempool takes every operation of the EntryPoint out of the pool; nil: of all EntryPoints.
	ClearMempool(ctx context.Context, ep *entrypoint.EntryPoint) error

	// ClearReputation forgets the reputation of all entities.
	ClearReputation(ctx context.Context) error

	// SetReputation sets the counters of addresses; their Status is computed.
	SetReputation(ctx context.Context, entries []Reputation) error

	// DumpReputation returns all that is known, by address.
	DumpReputation(ctx context.Context) ([]Reputation, error)

	// StakeStatus returns what an address has staked at the EntryPoint.
	StakeStatus(ctx context.Context, ep entrypoint.EntryPoint, address common.Address) (*StakeStatus, error)

	// AddUserOperations puts operations into the pool without validating them, in order. The first that the pool
	// refuses for its limits ends it.
	AddUserOperations(ctx context.Context, ep entrypoint.EntryPoint, ops []*userop.UserOperation) error

	// SetConfiguration changes settings of a running bundler, all or none.
	SetConfiguration(ctx context.Context, settings map[string]uint64) error
}

// Reputation is what is known of one address (ERC-7562). It is the same at all EntryPoints.
type Reputation struct {
	Address     common.Address
	OpsSeen     uint64
	OpsIncluded uint64
	Status      string // ok, throttled, banned
}

// StakeStatus is an address' stake at one EntryPoint.
type StakeStatus struct {
	Address         common.Address
	Stake           uint256.Int // wei
	UnstakeDelaySec uint64
	Staked          bool // enough, and locked for long enough
}

// ErrInFlight is why an operation cannot be dropped. It may be wrapped with the particulars: the client reads the whole
// text.
var ErrInFlight = errors.New("the operation is in a bundle on its way")

// ErrNothingToSend is why no bundle was submitted: the client is answered the zero hash. It may be wrapped with the reason.
var ErrNothingToSend = errors.New("nothing to send")

// GasEstimate is the answer of eth_estimateUserOperationGas, in units of gas.
type GasEstimate struct {
	PreVerificationGas   uint64
	VerificationGasLimit uint64
	CallGasLimit         uint64

	// The paymaster's limits are nil for an operation without a paymaster, and for v0.6, which has none.
	PaymasterVerificationGasLimit *uint64
	PaymasterPostOpGasLimit       *uint64
}

// OperationInfo is an operation and the place of its inclusion.
type OperationInfo struct {
	Op         *userop.UserOperation
	EntryPoint common.Address

	Mined *Inclusion // nil: the operation waits in the pool
}

// Inclusion is the bundle transaction that holds an operation.
type Inclusion struct {
	BlockNumber     uint64
	BlockHash       common.Hash
	TransactionHash common.Hash
}

// OperationReceipt is the answer of eth_getUserOperationReceipt.
type OperationReceipt struct {
	UserOpHash common.Hash
	EntryPoint common.Address
	Sender     common.Address
	Nonce      uint256.Int
	Paymaster  common.Address // zero: the account paid

	ActualGasCost uint256.Int // wei
	ActualGasUsed uint256.Int // gas
	Success       bool
	Reason        []byte // what the call reverted with; nil: it did not revert, or reverted with nothing

	Logs    []*types.Log    // this operation's own logs
	Receipt json.RawMessage // the bundle's transaction receipt, as the node gave it
}
