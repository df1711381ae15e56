package rpc

import (
	"context"
	"encoding/json"
	"sync"

	"baler/gas"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
)

// Topic is what a subscription is about; it is the first parameter of baler_subscribe.
type Topic string

// The topics.
const (
	TopicOperations Topic = "operations" // each [OperationNotice]
	TopicBundles    Topic = "bundles"    // each [BundleNotice]
	TopicSenders    Topic = "senders"    // each [SenderNotice]
)

// Watcher is where subscriptions hear what happens.
type Watcher interface {
	// Watch returns what happens from now on. The channel's buffer is bounded and nobody waits for its reader: when it
	// is full, the channel is closed; so it is when the way to where things happen breaks, for nothing may be missed
	// silently. The context is for the asking alone. The caller calls stop when it listens no more; it may be called twice.
	Watch(ctx context.Context, topic Topic) (notices <-chan Notice, stop func(), err error)
}

// Notice is one notification of a subscription: an [OperationNotice], [BundleNotice] or [SenderNotice], or one of these as another
// process has written it, an [EncodedNotice].
type Notice interface {
	json.Marshaler
	notice()
}

// OperationNotice is one thing that happened to one operation.
type OperationNotice struct {
	Hash  common.Hash
	Entry TimelineEntry
}

// BundleNotice is one thing that happened to a bundle. Empty fields are left out of the JSON.
type BundleNotice struct {
	At    int64 // unix milliseconds
	Block uint64
	Event string // proposed, sent, refused, mined, reverted

	Signer      common.Address
	EntryPoint  *common.Address
	Transaction *common.Hash
	Nonce       *uint64
	Operations  []common.Hash
	Cancels     bool // a cancellation: it holds no operations
	GasLimit    *uint64
	GasUsed     *uint64
	Fees        *gas.Fees
	Expected    *uint256.Int // expected profit, wei
	Cost        *uint256.Int // wei
	Earned      *uint256.Int // wei
	Answer      string       // class of the node's answer
	Reason      string
}

// SenderNotice is a bundle sender that changed its state, or needs a person.
type SenderNotice struct {
	At       int64 // unix milliseconds
	Block    uint64
	Signer   common.Address
	From, To string // empty: an alert
	Cause    string
	Alert    string // its kind; empty: none
	Text     string
}

// EncodedNotice is a notification in JSON.
type EncodedNotice []byte

// MarshalJSON returns it.
func (n EncodedNotice) MarshalJSON() ([]byte, error) { return n, nil }

func (EncodedNotice) notice()   {}
func (OperationNotice) notice() {}
func (BundleNotice) notice()    {}
func (SenderNotice) notice()    {}

// MarshalJSON writes the entry as the timeline has it, with the operation's hash.
func (n OperationNotice) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		UserOpHash common.Hash `json:"userOpHash"`
		entryJSON
	}{n.Hash, n.Entry.wire()})
}

// MarshalJSON writes everything of the chain as quantities.
func (n BundleNotice) MarshalJSON() ([]byte, error) {
	wire := struct {
		At                   int64           `json:"at"`
		BlockNumber          hexutil.Uint64  `json:"blockNumber"`
		Event                string          `json:"event"`
		Signer               common.Address  `json:"signer"`
		EntryPoint           *common.Address `json:"entryPoint,omitempty"`
		TransactionHash      *common.Hash    `json:"transactionHash,omitempty"`
		Nonce                *hexutil.Uint64 `json:"nonce,omitempty"`
		UserOpHashes         []common.Hash   `json:"userOpHashes,omitempty"`
		Cancels              bool            `json:"cancels,omitempty"`
		GasLimit             *hexutil.Uint64 `json:"gasLimit,omitempty"`
		GasUsed              *hexutil.Uint64 `json:"gasUsed,omitempty"`
		MaxFeePerGas         *hexutil.U256   `json:"maxFeePerGas,omitempty"`
		MaxPriorityFeePerGas *hexutil.U256   `json:"maxPriorityFeePerGas,omitempty"`
		ExpectedProfit       *hexutil.U256   `json:"expectedProfit,omitempty"`
		Cost                 *hexutil.U256   `json:"cost,omitempty"`
		Earned               *hexutil.U256   `json:"earned,omitempty"`
		Answer               string          `json:"answer,omitempty"`
		Reason               string          `json:"reason,omitempty"`
	}{
		At: n.At, BlockNumber: hexutil.Uint64(n.Block), Event: n.Event, Signer: n.Signer, EntryPoint: n.EntryPoint,
		TransactionHash: n.Transaction, Nonce: (*hexutil.Uint64)(n.Nonce), UserOpHashes: n.Operations, Cancels: n.Cancels,
		GasLimit: (*hexutil.Uint64)(n.GasLimit), GasUsed: (*hexutil.Uint64)(n.GasUsed), ExpectedProfit: (*hexutil.U256)(n.Expected),
		Cost: (*hexutil.U256)(n.Cost), Earned: (*hexutil.U256)(n.Earned), Answer: n.Answer, Reason: n.Reason,
	}
	if n.Fees != nil {
		wire.MaxFeePerGas, wire.MaxPriorityFeePerGas = (*hexutil.U256)(&n.Fees.MaxFee), (*hexutil.U256)(&n.Fees.MaxPriority)
	}
	return json.Marshal(wire)
}

// MarshalJSON writes a move or an alert.
func (n SenderNotice) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		At          int64          `json:"at"`
		BlockNumber hexutil.Uint64 `json:"blockNumber"`
		Event       string         `json:"event"`
		Signer      common.Address `json:"signer"`
		From        string         `json:"from,omitempty"`
		To          string         `json:"to,omitempty"`
		Cause       string         `json:"cause,omitempty"`
		Alert       string         `json:"alert,omitempty"`
		Text        string         `json:"text,omitempty"`
	}{n.At, hexutil.Uint64(n.Block), senderEvent(n), n.Signer, n.From, n.To, n.Cause, n.Alert, n.Text})
}

func senderEvent(n SenderNotice) string {
	if n.Alert != "" {
		return "alert"
	}
	return "moved"
}

// lostNotice is the last notification of a subscription that may have missed something.
type lostNotice struct {
	Event string `json:"event"`
}

// streamsAPI holds the subscriptions of the baler namespace: go-ethereum's server makes its methods the first parameter
// of baler_subscribe.
type streamsAPI struct {
	server  *Server
	calls   *calls
	watcher Watcher

	mu     sync.Mutex
	total  int
	byPeer map[string]int // subscriptions of one connection
}

// Operations is baler_subscribe("operations").
func (a *streamsAPI) Operations(ctx context.Context) (*rpc.Subscription, error) {
	return a.subscribe(ctx, TopicOperations)
}

// Bundles is baler_subscribe("bundles").
func (a *streamsAPI) Bundles(ctx context.Context) (*rpc.Subscription, error) {
	return a.subscribe(ctx, TopicBundles)
}

// Senders is baler_subscribe("senders").
func (a *streamsAPI) Senders(ctx context.Context) (*rpc.Subscription, error) {
	return a.subscribe(ctx, TopicSenders)
}

func (a *streamsAPI) subscribe(ctx context.Context, topic Topic) (*rpc.Subscription, error) {
	notifier, ok := rpc.NotifierFromContext(ctx)
	if !ok {
		return nil, rpc.ErrNotificationsUnsupported
	}
	peer := rpc.PeerInfoFromContext(ctx).RemoteAddr
	if !a.admit(peer) {
		return nil, &callError{code: codeLimitExceeded, message: "too many subscriptions"}
	}
	if !a.server.enter() {
		a.leave(peer)
		return nil, &callError{code: codeServer, message: "server is closing"}
	}
	notices, stop, err := a.watch(ctx, topic)
	if err != nil {
		a.server.requests.Done()
		a.leave(peer)
		return nil, a.calls.fail("baler_subscribe", err)
	}
	subscription := notifier.CreateSubscription()
	go func() {
		defer a.server.requests.Done()
		defer a.leave(peer)
		defer stop()
		a.forward(notifier, subscription, notices)
	}()
	return subscription, nil
}

// watch asks for notices, for no longer than a call may take.
func (a *streamsAPI) watch(ctx context.Context, topic Topic) (<-chan Notice, func(), error) {
	ctx, cancel := context.WithTimeout(ctx, a.calls.timeout)
	defer cancel()
	defer context.AfterFunc(a.calls.stopped, cancel)() //nolint:contextcheck // the server's end is a second reason to end
	return a.watcher.Watch(ctx, topic)
}

// forward hands notices on until the client unsubscribes, its connection ends, the server closes, or the notices end, because it
// has not kept up or the way to them has broken: then it is told so, and nothing more.
func (a *streamsAPI) forward(notifier *rpc.Notifier, subscription *rpc.Subscription, notices <-chan Notice) {
	ended := subscription.Err()
	for {
		select {
		case <-ended: //nolint:errcheck // it says only that it is over
			return
		case <-a.server.stopped.Done():
			return
		case n, open := <-notices:
			if !open {
				_ = notifier.Notify(subscription.ID, lostNotice{"lost"}) // it may be gone
				return
			}
			if notifier.Notify(subscription.ID, n) != nil {
				return // the connection is closed
			}
		}
	}
}

// admit counts a subscription, unless there are too many.
func (a *streamsAPI) admit(peer string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.total >= a.server.cfg.MaxSubscriptions || a.byPeer[peer] >= a.server.cfg.MaxSubscriptionsPerConnection {
		return false
	}
	a.total++
	a.byPeer[peer]++
	return true
}

func (a *streamsAPI) leave(peer string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total--
	if a.byPeer[peer]--; a.byPeer[peer] == 0 {
		delete(a.byPeer, peer)
	}
}
