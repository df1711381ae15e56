// Package event is what happens in Baler, as values: logs, metrics, the live page and tests all read these.
//
// It holds the types and nothing else. Whoever does something says so once, through a [Sink].
package event

import (
	"time"

	"baler/gas"
	"baler/profit"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// Event is one thing that happened. The set is closed.
//
//sumtype:decl
type Event interface{ event() }

// Sink takes events. It must not block.
type Sink func(Event)

// HeadSeen: a block joined the canonical chain.
type HeadSeen struct {
	Number  uint64
	Hash    common.Hash
	Removed int // blocks that left the canonical chain before it
}

// OperationReceived: an operation came in; nothing has been checked yet.
type OperationReceived struct {
	Hash       common.Hash
	EntryPoint common.Address
	Sender     common.Address
	Nonce      uint256.Int
}

// OperationAdded: an operation was accepted into the pool.
type OperationAdded struct {
	Hash       common.Hash
	EntryPoint common.Address
	Sender     common.Address
	Nonce      uint256.Int
	Replaced   *common.Hash // the operation it took the place of
}

// OperationRejected: an operation was refused at the door.
type OperationRejected struct {
	Hash       common.Hash
	EntryPoint common.Address
	Sender     common.Address
	Code       int // JSON-RPC error code
	Message    string
	Rule       string // id of the ERC-7562 rule that it breaks; empty: none in particular
}

// OperationValidated: an operation was simulated, or what is remembered of it was looked at.
type OperationValidated struct {
	Hash   common.Hash
	Stage  string // "admission": when it came in; "proposal": for a bundle
	Result string // "valid", "refused", "failed" (the node's trouble)
	Took   time.Duration
}

// OperationSkipped: an operation stays in the pool, but was left out of a bundle.
type OperationSkipped struct {
	Hash   common.Hash
	Signer common.Address
	Reason string // the whole of it, in words
	Cause  string // the reason without the particulars; one of a closed set

	// The particulars, where the cause has them.
	Have, Want uint256.Int    // in the cause's unit
	About      common.Address // the sender, paymaster or contract it is about
	Other      common.Hash    // the operation that is in the way
}

// OperationRemoved: an operation left the pool without being mined.
type OperationRemoved struct {
	Hash   common.Hash
	Reason string // the whole of it, in words
	Cause  string // the reason without the particulars; one of a closed set
	Code   int    // JSON-RPC error code of the refusal behind it; 0: there is none
	Rule   string // id of the ERC-7562 rule that it breaks; empty: none in particular
}

// BundleProposed: operations were chosen for a bundle; it is about to be signed and sent.
type BundleProposed struct {
	Signer         common.Address
	EntryPoint     common.Address
	Hashes         []common.Hash // of the operations, in order
	GasLimit       uint64
	Fees           gas.Fees
	ExpectedProfit uint256.Int // wei
}

// OperationsReleased: a bundle that held these operations is given up; those still in the pool wait for another.
type OperationsReleased struct {
	Signer common.Address
	Hashes []common.Hash
}

// OperationMined: an operation is in a block, whoever bundled it.
type OperationMined struct {
	Hash    common.Hash
	Tx      common.Hash
	Block   uint64
	Success bool
	GasUsed uint256.Int // gas
	GasCost uint256.Int // wei
}

// OperationRevived: the block that held an operation left the canonical chain; it waits in the pool again.
type OperationRevived struct{ Hash common.Hash }

// SenderMoved: a bundle sender changed its state.
type SenderMoved struct {
	Signer   common.Address
	From, To string
	Cause    string
	Block    uint64
}

// BundleSent: a transaction was submitted, and this is how the node answered.
type BundleSent struct {
	Signer         common.Address
	EntryPoint     common.Address
	Tx             common.Hash
	Nonce          uint64
	Operations     int           // 0: a cancellation
	Hashes         []common.Hash // of the operations, in order
	GasLimit       uint64
	Fees           gas.Fees
	ExpectedProfit uint256.Int // wei
	Answer         string      // class of the node's answer
	Text           string      // the node's own words, where it refused
	Route          string      // "raced": by the route for operations that rivals take; "": the usual one
}

// BundleMined: a transaction of ours is in a block.
type BundleMined struct {
	Signer     common.Address
	Tx         common.Hash
	Block      uint64
	Operations int
	Success    bool
	GasUsed    uint64
	Cost       uint256.Int // wei the signer paid, for data on another chain too
	Earned     uint256.Int // wei the EntryPoint collected from the operations

	// Entry is the same in the words of the books.
	Entry profit.Entry
}

// BundleReverted: a transaction of ours is in a block and did nothing but cost its gas.
type BundleReverted struct {
	Signer     common.Address
	Tx         common.Hash
	Block      uint64
	Operations int
	Hashes     []common.Hash // of the operations, in order
	Cause      string        // rival: …, own transaction: …, unknown: …, out of gas, or what the EntryPoint says
	Culprits   []common.Hash // operations found guilty
}

// BundleUnmined: the block that held a transaction of ours left the canonical chain; it waits again. Block is 0 where the books did not
// have it.
type BundleUnmined struct {
	Signer common.Address
	Tx     common.Hash
	Block  uint64  // that it was in
	Nonce  *uint64 // nil: not known
}

// KeyUsed: a key has signed a transaction, or could not.
type KeyUsed struct {
	Signer   common.Address
	Kind     string        // of the key: where it is kept
	Took     time.Duration // with all attempts and the waits between them
	Attempts int           // at whoever keeps it, over the network; 1 in this process
	Failed   string        // why it could not, one of a closed set; empty: it has signed
}

// LeaseMoved: the right to use a key was won or lost.
type LeaseMoved struct {
	Signer common.Address
	Held   bool   // by this process, from now on
	Fence  uint64 // number of the holding: a later one is higher
	Cause  string // one of a closed set
}

// BalanceSeen: a key's balance was read.
type BalanceSeen struct {
	Signer  common.Address
	Balance uint256.Int // wei
	Block   uint64
}

// NodeAsked: one round trip to a node has ended.
type NodeAsked struct {
	Endpoint string         // scheme and host
	Methods  map[string]int // JSON-RPC calls in it, by method
	Took     time.Duration
	Result   string // "ok", "failed" (no answer), or "http 429" and the like
}

// CallServed: a JSON-RPC call of a client was answered.
type CallServed struct {
	Method string
	Code   int // JSON-RPC error code; 0: it was answered with a result
	Took   time.Duration
}

// PoolAsked: a call between the processes of a bundler has ended.
type PoolAsked struct {
	Side   string // "asked": by this process; "served": by this process
	Method string
	Result string // one of a closed set: "ok", "failed" (the pool's own answer), or what went wrong on the way
	Took   time.Duration
}

// FundsMoved: a transaction that moves funds between the bundler's keys is in a block.
type FundsMoved struct {
	From     common.Address
	Tx       common.Hash
	Block    uint64
	Accounts int         // that got something; 0: it has only freed its nonce
	Amount   uint256.Int // wei
	Cost     uint256.Int // wei the payer paid for gas
	Success  bool
}

// Alert: something needs a person.
type Alert struct {
	Signer common.Address
	Kind   string
	Text   string
}

func (HeadSeen) event()           {}
func (OperationReceived) event()  {}
func (BundleProposed) event()     {}
func (OperationsReleased) event() {}
func (OperationAdded) event()     {}
func (OperationRejected) event()  {}
func (OperationSkipped) event()   {}
func (OperationRemoved) event()   {}
func (OperationMined) event()     {}
func (OperationRevived) event()   {}
func (SenderMoved) event()        {}
func (BundleSent) event()         {}
func (BundleMined) event()        {}
func (BundleReverted) event()     {}
func (BundleUnmined) event()      {}
func (Alert) event()              {}
func (OperationValidated) event() {}
func (KeyUsed) event()            {}
func (FundsMoved) event()         {}
func (LeaseMoved) event()         {}
func (BalanceSeen) event()        {}
func (NodeAsked) event()          {}
func (CallServed) event()         {}
func (PoolAsked) event()          {}
