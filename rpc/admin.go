package rpc

import (
	"context"
	"encoding/json"
	"net/http"

	"baler/gas"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// AdminBackend is what the admin namespace asks of the bundler. Errors are as for [Backend].
type AdminBackend interface {
	// Senders returns every bundle sender as it is now.
	Senders(ctx context.Context) ([]SenderStatus, error)
	// Keys returns the keys that the bundler may hold, and those that it still holds.
	Keys(ctx context.Context) ([]KeyStatus, error)
	// DrainKey lets a key finish its live transactions, without beginning new ones, and gives it back then. It does not wait: asked
	// again, it says how far the key is.
	DrainKey(ctx context.Context, key common.Address) (*KeyStatus, error)
}

// KeyStatus is where a key of the bundler stands.
type KeyStatus struct {
	Key      common.Address `json:"key"`
	Held     bool           `json:"held"`             // it is this process's, and has a bundle sender
	Draining bool           `json:"draining"`         // nothing new is begun with it, and it is not taken again
	Live     int            `json:"liveTransactions"` // that may be mined
}

// SenderStatus is one bundle sender.
type SenderStatus struct {
	Signer          common.Address
	State           string // Building, Pending, Cancelling, CancelPending, Stopped
	Since           uint64 // block
	Cause           string // why it is in the state
	Head            uint64 // the newest block it has acted on
	Auto            bool   // it sends bundles by itself
	Doing           string // what it waits for the answer of; empty: nothing
	BackingOff      bool
	Nonce           uint64
	FeeIncreases    uint64
	CancelIncreases uint64
	Until           uint64          // block until which it waits; 0: it does not
	Held            int             // operations that wait for it alone
	Attempts        []SenderAttempt // those that may be mined at the current nonce, oldest first
}

// SenderAttempt is one transaction that a sender has tried.
type SenderAttempt struct {
	Transaction common.Hash
	Kind        string // bundle, cancellation, foreign
	Status      string // sending, sent, unknown, dropped, refused, mined
	Nonce       uint64
	Block       uint64 // the head when it was tried
	Fees        gas.Fees
	Operations  []common.Hash
}

// MarshalJSON writes everything of the chain as quantities.
func (s SenderStatus) MarshalJSON() ([]byte, error) {
	attempts := s.Attempts
	if attempts == nil {
		attempts = []SenderAttempt{} // an empty array, not null
	}
	return json.Marshal(struct {
		Signer          common.Address  `json:"signer"`
		State           string          `json:"state"`
		Since           hexutil.Uint64  `json:"since"`
		Cause           string          `json:"cause"`
		Head            hexutil.Uint64  `json:"head"`
		Auto            bool            `json:"auto"`
		Doing           string          `json:"doing,omitempty"`
		BackingOff      bool            `json:"backingOff,omitempty"`
		Nonce           hexutil.Uint64  `json:"nonce"`
		FeeIncreases    hexutil.Uint64  `json:"feeIncreases"`
		CancelIncreases hexutil.Uint64  `json:"cancellationFeeIncreases"`
		Until           hexutil.Uint64  `json:"waitsUntil"`
		Held            int             `json:"held"`
		Attempts        []SenderAttempt `json:"attempts"`
	}{
		s.Signer, s.State, hexutil.Uint64(s.Since), s.Cause, hexutil.Uint64(s.Head), s.Auto, s.Doing, s.BackingOff, hexutil.Uint64(s.Nonce),
		hexutil.Uint64(s.FeeIncreases), hexutil.Uint64(s.CancelIncreases), hexutil.Uint64(s.Until), s.Held, attempts,
	})
}

// MarshalJSON writes everything of the chain as quantities.
func (a SenderAttempt) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Transaction common.Hash    `json:"transactionHash"`
		Kind        string         `json:"kind"`
		Status      string         `json:"status"`
		Nonce       hexutil.Uint64 `json:"nonce"`
		Block       hexutil.Uint64 `json:"blockNumber"`
		MaxFee      *hexutil.U256  `json:"maxFeePerGas"`
		MaxPriority *hexutil.U256  `json:"maxPriorityFeePerGas"`
		Operations  []common.Hash  `json:"userOpHashes,omitempty"`
	}{
		a.Transaction, a.Kind, a.Status, hexutil.Uint64(a.Nonce), hexutil.Uint64(a.Block),
		(*hexutil.U256)(&a.Fees.MaxFee), (*hexutil.U256)(&a.Fees.MaxPriority), a.Operations,
	})
}

// adminAPI is the admin namespace: for operators, on their own listener.
type adminAPI struct {
	admin AdminBackend
	calls *calls
}

// Senders is admin_senders.
func (a *adminAPI) Senders(ctx context.Context) ([]SenderStatus, error) {
	return do(ctx, a.calls, "admin_senders", a.admin.Senders)
}

// Keys is admin_keys.
func (a *adminAPI) Keys(ctx context.Context) ([]KeyStatus, error) {
	return do(ctx, a.calls, "admin_keys", a.admin.Keys)
}

// DrainKey is admin_drainKey.
func (a *adminAPI) DrainKey(ctx context.Context, key addressParam) (*KeyStatus, error) {
	return do(ctx, a.calls, "admin_drainKey", func(ctx context.Context) (*KeyStatus, error) {
		return a.admin.DrainKey(ctx, key.Address)
	})
}

// Handler answers POSTed calls on a listener of somebody else, who has looked at the host, the origin and who is
// calling. It answers until the server is closed; a server that only has a handler is closed by its owner.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.enter() {
			http.Error(w, "server is closing", http.StatusServiceUnavailable)
			return
		}
		defer s.requests.Done()
		s.serveCall(w, r)
	})
}
