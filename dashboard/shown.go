package dashboard

import (
	"context"
	"errors"

	"baler/gas"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// Bundler is what the page needs to know of the bundler. The calls are made while somebody looks at the page, a few times a
// second at most; they must not wait for long.
type Bundler interface {
	// Chain says which chain is served; it is the same for the whole life of the process.
	Chain() Chain

	// Head returns the newest block and what it asks of operations; false before the first.
	Head(ctx context.Context) (Head, bool)

	// Senders returns every bundle sender, always in the same order.
	Senders(ctx context.Context) []Sender

	// Mempool returns what waits in the pool, in no order.
	Mempool() Mempool

	// Endpoints returns the nodes and relays that the bundler talks to.
	Endpoints(ctx context.Context) []Endpoint

	// Operation returns everything that is known of an operation; nil if nothing is.
	Operation(ctx context.Context, hash common.Hash) (*Operation, error)

	// OperationsOf returns the operations of an account that are remembered, the newest first, as many as the limit.
	OperationsOf(account common.Address, limit int) []common.Hash

	// Books returns the transactions of ours that are mined and remembered, oldest first and as many as the limit, and the
	// sums over all that ever were.
	Books(limit int) ([]Earning, Totals)
}

// Operator is what an operator can do from the page. An error is told to the operator in its own words.
type Operator interface {
	// Pause lets a sender propose no bundle, or lets it go on.
	Pause(ctx context.Context, signer common.Address, paused bool) error

	// CancelNow frees a sender's nonce of what waits there.
	CancelNow(ctx context.Context, signer common.Address) error

	// DrainKey lets a sender finish what it has out, and takes it out of service.
	DrainKey(ctx context.Context, signer common.Address) error

	// Ban gives an entity the reputation of one that made bundles fail (ERC-7562, BANNED), and takes its operations out of
	// the pool. It returns how many.
	Ban(ctx context.Context, entity common.Address) (removed int, err error)
}

// ErrNotFound says that what an operator named is not there.
var ErrNotFound = errors.New("not found")

// Chain is the chain that is served.
type Chain struct {
	ID          uint64       `json:"id"`
	MaxHeadAge  int64        `json:"maxHeadAge"` // milliseconds from which a head is stale
	EntryPoints []EntryPoint `json:"entryPoints"`
}

// EntryPoint is one that is served.
type EntryPoint struct {
	Version string         `json:"version"`
	Address common.Address `json:"address"`
}

// Head is the newest block.
type Head struct {
	Number   uint64      `json:"number"`
	Hash     common.Hash `json:"hash"`
	Seen     int64       `json:"seen"` // when this process saw it, unix milliseconds
	BaseFee  Wei         `json:"baseFee"`
	Required *Fees       `json:"required,omitempty"` // the least that an operation must offer; nil: not known now
}

// Sender is one bundle sender.
type Sender struct {
	Signer           common.Address `json:"signer"`
	State            string         `json:"state"`
	Since            uint64         `json:"since"` // block
	Cause            string         `json:"cause"` // of the last row of the table that applied
	Paused           bool           `json:"paused"`
	Draining         bool           `json:"draining"`
	Auto             bool           `json:"auto"`
	Nonce            *uint64        `json:"nonce"` // nil: not known yet
	FeeIncreases     uint64         `json:"feeIncreases"`
	CancelIncreases  uint64         `json:"cancelIncreases"`
	UnderpricedSince *uint64        `json:"underpricedSince,omitempty"` // block
	Until            uint64         `json:"until"`                      // block, in Pending and CancelPending
	InFlight         string         `json:"inFlight"`
	BackingOff       bool           `json:"backingOff"`
	Held             int            `json:"held"` // operations
	Balance          *Wei           `json:"balance"`
	LowBalance       bool           `json:"lowBalance"` // it pays for no bundle of the largest size any more
	Attempts         []Attempt      `json:"attempts"`
	Journal          []JournalLine  `json:"journal"` // newest last
}

// Attempt is one transaction that may be mined at the sender's nonce.
type Attempt struct {
	ID         uint64      `json:"id"`
	Kind       string      `json:"kind"`
	Nonce      uint64      `json:"nonce"`
	Hash       common.Hash `json:"hash"`
	Fees       Fees        `json:"fees"`
	GasLimit   uint64      `json:"gasLimit"`
	Block      uint64      `json:"block"`
	Operations int         `json:"operations"`
	Status     string      `json:"status"`
	Abandoned  bool        `json:"abandoned"`
	Hit        bool        `json:"hit"`
}

// JournalLine is one step of a sender.
type JournalLine struct {
	Block   uint64   `json:"block"`
	State   string   `json:"state"`
	Text    string   `json:"text"`
	Follows []string `json:"follows,omitempty"`
}

// Mempool is what waits in the pool.
type Mempool struct {
	Operations []Waiting
	Bytes      uint64
	BaseFee    uint256.Int  // of the next block, wei per gas
	Required   *gas.Fees    // nil: not known now
	Reputation []Reputation // of those that have one
}

// Waiting is one operation in the pool.
type Waiting struct {
	Hash               common.Hash
	EntryPoint         common.Address
	Sender             common.Address
	Paymaster, Factory *common.Address
	Fees               gas.Fees
	AddedTime          uint64 // unix seconds
	NotYetValid        bool
	Holder             string // the sender that has it; empty: none
	Skipped            string // why it was left out of a bundle last, one of a closed set; empty: it was not
	Reason             string // the same with its numbers
}

// Reputation is an entity's record (ERC-7562).
type Reputation struct {
	Address  common.Address
	Seen     uint64
	Included uint64
	Status   string
}

// Endpoint is a node or relay.
type Endpoint struct {
	Name      string   `json:"name"` // without credentials
	Role      string   `json:"role"`
	Status    string   `json:"status"` // ok, or what is wrong
	Well      bool     `json:"well"`
	Circuit   string   `json:"circuit,omitempty"` // of several: closed, open or half-open
	Head      uint64   `json:"head"`
	HeadSeen  int64    `json:"headSeen"` // unix milliseconds; 0: no head is known
	LatencyMS *float64 `json:"latencyMs,omitempty"`
	Requests  uint64   `json:"requests"`
	Errors    uint64   `json:"errors"`
	LastError string   `json:"lastError,omitempty"`
	Evm       string   `json:"evm,omitempty"`       // what the local EVM and the node say of each other
	EvmAgrees *bool    `json:"evmAgrees,omitempty"` // nil: they have not been compared

	AgreedHead uint64 `json:"agreedHead,omitempty"` // of several endpoints: the block that they agree on
}

// Operation is everything that is known of one operation.
type Operation struct {
	Hash        common.Hash     `json:"hash"`
	State       string          `json:"state"`
	Reason      string          `json:"reason,omitempty"`
	Rule        string          `json:"rule,omitempty"` // of ERC-7562
	RuleTitle   string          `json:"ruleTitle,omitempty"`
	EntryPoint  *common.Address `json:"entryPoint,omitempty"`
	Sender      *common.Address `json:"sender,omitempty"`
	Nonce       string          `json:"nonce,omitempty"`
	Paymaster   *common.Address `json:"paymaster,omitempty"`
	Factory     *common.Address `json:"factory,omitempty"`
	Fees        *Fees           `json:"fees,omitempty"`
	CallData    string          `json:"callData,omitempty"` // its beginning
	CallDataLen int             `json:"callDataLength,omitempty"`
	Transaction *common.Hash    `json:"transaction,omitempty"`
	Block       *uint64         `json:"block,omitempty"`
	Story       []Chapter       `json:"story"` // oldest first
}

// Chapter is one thing that happened to an operation.
type Chapter struct {
	At          int64           `json:"at"` // unix milliseconds
	Block       uint64          `json:"block"`
	Event       string          `json:"event"`
	Reason      string          `json:"reason,omitempty"`
	Cause       string          `json:"cause,omitempty"`
	Code        int             `json:"code,omitempty"`
	Signer      *common.Address `json:"signer,omitempty"`
	Transaction *common.Hash    `json:"transaction,omitempty"`
	Nonce       *uint64         `json:"nonce,omitempty"`
	Fees        *Fees           `json:"fees,omitempty"`
	Success     *bool           `json:"success,omitempty"`
	GasUsed     string          `json:"gasUsed,omitempty"`
	GasCost     *Wei            `json:"gasCost,omitempty"`
	Other       *common.Hash    `json:"other,omitempty"`
	Times       int             `json:"times,omitempty"` // it happened so often in a row, last at LastAt
	LastAt      int64           `json:"lastAt,omitempty"`
	LastBlock   uint64          `json:"lastBlock,omitempty"`
}

// Earning is a transaction of ours in a block.
type Earning struct {
	Transaction common.Hash
	Signer      common.Address
	EntryPoint  common.Address
	Reverted    bool
	Cancels     bool
	Block       uint64
	Time        uint64 // of the block, unix seconds
	Operations  int
	GasLimit    uint64
	GasUsed     uint64
	Cost        uint256.Int // wei
	Earned      uint256.Int // wei
}

// Totals are sums over mined transactions.
type Totals struct {
	Bundles       uint64 `json:"bundles"` // not reverted
	Reverted      uint64 `json:"reverted"`
	Cancellations uint64 `json:"cancellations"`
	Operations    uint64 `json:"operations"`
	Earned        Wei    `json:"earned"`
	Cost          Wei    `json:"cost"`
}

// Wei is an amount in wei; in JSON a decimal string, which a script can read without losing digits.
type Wei uint256.Int

// WeiOf returns the amount.
func WeiOf(x *uint256.Int) Wei { return Wei(*x) }

// MarshalText implements [encoding.TextMarshaler].
func (w Wei) MarshalText() ([]byte, error) {
	x := uint256.Int(w)
	return []byte(x.Dec()), nil
}

// Fees are in wei per gas.
type Fees struct {
	Max      Wei `json:"max"`
	Priority Wei `json:"priority"`
}

// FeesOf returns the fees.
func FeesOf(f gas.Fees) Fees { return Fees{Wei(f.MaxFee), Wei(f.MaxPriority)} }
