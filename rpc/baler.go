package rpc

import (
	"context"
	"encoding/json"

	"baler/entrypoint"
	"baler/gas"
	"baler/profit"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/holiman/uint256"
)

// BalerBackend is what the baler namespace asks of the bundler, and with it the methods of other bundlers that clients
// call by name. Errors are as for [Backend].
type BalerBackend interface {
	// UserOperationStatus says where an operation is now. An unknown one is [StateNotFound], not an error.
	UserOperationStatus(ctx context.Context, hash common.Hash) (*OperationStatus, error)

	// UserOperationTimeline returns what happened to an operation, oldest first; nil if nothing is remembered of it.
	UserOperationTimeline(ctx context.Context, hash common.Hash) ([]TimelineEntry, error)

	// GasPrice returns what an operation must offer for the next block, and what it should.
	GasPrice(ctx context.Context) (*GasPrice, error)

	// ExplainUserOperation returns an operation's whole story, past and expected. An unknown one is [StateNotFound].
	ExplainUserOperation(ctx context.Context, hash common.Hash) (*Explanation, error)

	// Profit returns what bundles cost and earned.
	Profit(ctx context.Context, q profit.Query) (*profit.Report, error)

	// DropUserOperation takes the pending operation with the sender and nonce of request out of the pool, provided
	// that request is an operation without effect which the account accepts. It returns the hash of what it took out;
	// nil if nothing with this sender and nonce is pending. [ErrInFlight]: it is in a bundle on its way.
	DropUserOperation(ctx context.Context, ep entrypoint.EntryPoint, request *userop.UserOperation) (*common.Hash, error)
}

// OperationState is where an operation is.
type OperationState string

// The states of an operation.
const (
	StateNotFound  OperationState = "not_found" // never seen, or forgotten
	StateRejected  OperationState = "rejected"  // refused at the door
	StatePending   OperationState = "pending"   // it waits in the pool
	StateBundled   OperationState = "bundled"   // chosen for a bundle that is being sent
	StateSubmitted OperationState = "submitted" // in a transaction that the node has accepted
	StateIncluded  OperationState = "included"  // mined
	StateFailed    OperationState = "failed"    // mined, but its own call reverted
	StateDropped   OperationState = "dropped"   // it left the pool without being mined
)

// OperationStatus is the answer of baler_getUserOperationStatus.
type OperationStatus struct {
	State       OperationState
	Transaction *common.Hash // of the bundle that holds it: submitted, included, failed
	Block       *uint64      // included, failed
	Reason      string       // why it is not further; empty: nothing to say
}

// TimelineEntry is one thing that happened to an operation. What has no value is left out of the JSON.
type TimelineEntry struct {
	At    int64  // unix milliseconds
	Block uint64 // the head then, or the block it is about
	Event string

	Reason string // in words, with its numbers
	Cause  string // the reason without its numbers: one of a closed set for each event
	Code   int    // JSON-RPC error code of a refusal
	Rule   string // id of the ERC-7562 rule that it breaks

	Have, Want *uint256.Int
	About      *common.Address
	Other      *common.Hash

	Signer      *common.Address // of the bundle
	Transaction *common.Hash
	Nonce       *uint64 // of the transaction
	Fees        *gas.Fees
	Success     *bool
	GasUsed     *uint256.Int
	GasCost     *uint256.Int // wei

	// The same thing, with other numbers at most, happened Times in a row, the last time at LastAt: the entry holds the
	// last numbers. Zero: once.
	Times     int
	LastAt    int64
	LastBlock uint64
}

// GasPrice is the answer of baler_getUserOperationGasPrice, in wei per gas.
type GasPrice struct {
	Block    uint64      // the head it was computed at
	BaseFee  uint256.Int // of the next block
	Required gas.Fees    // the least with which an operation is taken into a bundle for the next block

	// Slow, Standard and Fast still reach what is required after the base fee has risen as steeply as it can for 1, 3
	// and 6 blocks.
	Slow, Standard, Fast gas.Fees
}

// balerAPI is the baler namespace.
type balerAPI struct {
	backend Backend
	baler   BalerBackend
	calls   *calls
}

// GetUserOperationStatus is baler_getUserOperationStatus.
func (a *balerAPI) GetUserOperationStatus(ctx context.Context, hash hashParam) (*OperationStatus, error) {
	return do(ctx, a.calls, "baler_getUserOperationStatus", func(ctx context.Context) (*OperationStatus, error) {
		return a.baler.UserOperationStatus(ctx, common.Hash(hash))
	})
}

// GetUserOperationTimeline is baler_getUserOperationTimeline; the answer is null for an operation nothing is known of.
func (a *balerAPI) GetUserOperationTimeline(ctx context.Context, hash hashParam) ([]TimelineEntry, error) {
	return do(ctx, a.calls, "baler_getUserOperationTimeline", func(ctx context.Context) ([]TimelineEntry, error) {
		return a.baler.UserOperationTimeline(ctx, common.Hash(hash))
	})
}

// GetUserOperationGasPrice is baler_getUserOperationGasPrice.
func (a *balerAPI) GetUserOperationGasPrice(ctx context.Context) (*GasPrice, error) {
	return do(ctx, a.calls, "baler_getUserOperationGasPrice", a.baler.GasPrice)
}

// DropUserOperation is baler_dropUserOperation; the answer is null if nothing with that sender and nonce is pending.
func (a *balerAPI) DropUserOperation(ctx context.Context, raw json.RawMessage, entryPoint entryPointParam) (*common.Hash, error) {
	return do(ctx, a.calls, "baler_dropUserOperation", func(ctx context.Context) (*common.Hash, error) {
		ep, err := findEntryPoint(a.backend, common.Address(entryPoint))
		if err != nil {
			return nil, err
		}
		op, err := userop.Decode(raw, ep.Version)
		if err != nil {
			return nil, invalidParams("%s", err)
		}
		if err := withoutEffect(op); err != nil {
			return nil, err
		}
		return a.baler.DropUserOperation(ctx, ep, op)
	})
}

// withoutEffect refuses a drop request that somebody could bundle, or that would do something.
func withoutEffect(op *userop.UserOperation) error {
	switch {
	case len(op.CallData) > 0:
		return invalidParams("callData: have %d bytes, want none: an operation that drops another has no effect", len(op.CallData))
	case op.CallGasLimit != 0:
		return invalidParams("callGasLimit: have %d, want 0", op.CallGasLimit)
	case op.PreVerificationGas != 0:
		return invalidParams("preVerificationGas: have %d, want 0", op.PreVerificationGas)
	case !op.MaxFeePerGas.IsZero():
		return invalidParams("maxFeePerGas: have %s, want 0", op.MaxFeePerGas.Dec())
	case !op.MaxPriorityFeePerGas.IsZero():
		return invalidParams("maxPriorityFeePerGas: have %s, want 0", op.MaxPriorityFeePerGas.Dec())
	case op.Paymaster != nil:
		return invalidParams("paymaster: have %s, want none", op.Paymaster.Hex())
	default:
		return nil
	}
}

// MarshalJSON writes all members, null where there is no value.
func (s *OperationStatus) MarshalJSON() ([]byte, error) {
	if s == nil {
		return []byte(nullJSON), nil
	}
	wire := struct {
		Status          OperationState  `json:"status"`
		TransactionHash *common.Hash    `json:"transactionHash"`
		BlockNumber     *hexutil.Uint64 `json:"blockNumber"`
		Reason          *string         `json:"reason"`
	}{Status: s.State, TransactionHash: s.Transaction, BlockNumber: (*hexutil.Uint64)(s.Block)}
	if s.Reason != "" {
		wire.Reason = &s.Reason
	}
	return json.Marshal(wire)
}

// MarshalJSON writes times as numbers of milliseconds and everything of the chain as quantities.
func (e TimelineEntry) MarshalJSON() ([]byte, error) {
	wire := e.wire()
	return json.Marshal(wire)
}

// entryJSON is a timeline entry on the wire.
type entryJSON struct {
	At                   int64           `json:"at"`
	BlockNumber          hexutil.Uint64  `json:"blockNumber"`
	Event                string          `json:"event"`
	Reason               string          `json:"reason,omitempty"`
	Cause                string          `json:"cause,omitempty"`
	Code                 int             `json:"code,omitempty"`
	Rule                 string          `json:"rule,omitempty"`
	Have                 *hexutil.U256   `json:"have,omitempty"`
	Want                 *hexutil.U256   `json:"want,omitempty"`
	About                *common.Address `json:"about,omitempty"`
	Other                *common.Hash    `json:"other,omitempty"`
	Signer               *common.Address `json:"signer,omitempty"`
	TransactionHash      *common.Hash    `json:"transactionHash,omitempty"`
	Nonce                *hexutil.Uint64 `json:"nonce,omitempty"`
	MaxFeePerGas         *hexutil.U256   `json:"maxFeePerGas,omitempty"`
	MaxPriorityFeePerGas *hexutil.U256   `json:"maxPriorityFeePerGas,omitempty"`
	Success              *bool           `json:"success,omitempty"`
	ActualGasUsed        *hexutil.U256   `json:"actualGasUsed,omitempty"`
	ActualGasCost        *hexutil.U256   `json:"actualGasCost,omitempty"`
	Times                int             `json:"times,omitempty"`
	LastAt               int64           `json:"lastAt,omitempty"`
	LastBlockNumber      *hexutil.Uint64 `json:"lastBlockNumber,omitempty"`
}

func (e *TimelineEntry) wire() entryJSON {
	w := entryJSON{
		At: e.At, BlockNumber: hexutil.Uint64(e.Block), Event: e.Event, Reason: e.Reason, Cause: e.Cause, Code: e.Code, Rule: e.Rule,
		Have: (*hexutil.U256)(e.Have), Want: (*hexutil.U256)(e.Want), About: e.About, Other: e.Other,
		Signer: e.Signer, TransactionHash: e.Transaction, Nonce: (*hexutil.Uint64)(e.Nonce), Success: e.Success,
		ActualGasUsed: (*hexutil.U256)(e.GasUsed), ActualGasCost: (*hexutil.U256)(e.GasCost),
	}
	if e.Fees != nil {
		w.MaxFeePerGas, w.MaxPriorityFeePerGas = (*hexutil.U256)(&e.Fees.MaxFee), (*hexutil.U256)(&e.Fees.MaxPriority)
	}
	if e.Times > 1 {
		w.Times, w.LastAt, w.LastBlockNumber = e.Times, e.LastAt, (*hexutil.Uint64)(&e.LastBlock)
	}
	return w
}

// feesJSON are fees on the wire, under the names of an operation's fields.
type feesJSON struct {
	MaxFeePerGas         *hexutil.U256 `json:"maxFeePerGas"`
	MaxPriorityFeePerGas *hexutil.U256 `json:"maxPriorityFeePerGas"`
}

func wireFees(f *gas.Fees) feesJSON {
	return feesJSON{(*hexutil.U256)(&f.MaxFee), (*hexutil.U256)(&f.MaxPriority)}
}

// MarshalJSON writes the prices as quantities.
func (p *GasPrice) MarshalJSON() ([]byte, error) {
	if p == nil {
		return []byte(nullJSON), nil
	}
	return json.Marshal(struct {
		Slow           feesJSON       `json:"slow"`
		Standard       feesJSON       `json:"standard"`
		Fast           feesJSON       `json:"fast"`
		Required       feesJSON       `json:"required"`
		CurrentBaseFee *hexutil.U256  `json:"currentBaseFee"`
		BlockNumber    hexutil.Uint64 `json:"blockNumber"`
	}{
		wireFees(&p.Slow), wireFees(&p.Standard), wireFees(&p.Fast), wireFees(&p.Required),
		(*hexutil.U256)(&p.BaseFee), hexutil.Uint64(p.Block),
	})
}
