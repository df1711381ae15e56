// Package pool is the mempool of user operations: which operations wait, in which order they are offered to the
// bundle builders, and which builder holds which of them.
//
// In: operations that passed validation, what each block brought (head, mined operations, reorgs), claims of
// builders, reputation set by hand. Out: what each of these changed, as return values with typed reasons: there are
// no callbacks. It promises that the operations of one sender and nonce key are contiguous, that the operations of
// one sender are never held by two builders at once, that no paymaster's pending operations can cost more than its
// deposit was when the last of them came in, and that the rules of ERC-7562 on counts and reputation hold.
//
// It never validates an operation, reads no clock and does no I/O: time is the number and timestamp of the last
// head it was told about. A Pool has one writer and no locks; whoever shares it serialises the calls.
//
// # Order
//
// Operations are offered by effective priority fee at the next base fee, min(maxFee - baseFee, maxPriority), best
// first, and per sender by nonce. Only the first operation of each (EntryPoint, sender, nonce key), its lane's head,
// is a candidate. At a base fee an operation is limited by its priority fee or, above a base fee of its own, its turn, by
// its maximum fee. Heads stand in buckets of a hundred neighbours or so by turn, and each bucket keeps them in two orders, by
// priority fee and by maximum fee, neither of which depends on the base fee: at any one, all of a bucket are in the first order or all
// in the second, except for the bucket that it falls into. So a new base fee moves nothing. A selection merges the buckets from their
// best ends: it costs a look at each, and what it returns. The same structure over the lanes' last operations finds whom to evict.
package pool

import (
	"errors"
	"fmt"
	"math"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// Operation is a validated user operation with what validation found out. The pool and its readers share it: it is
// never changed after Add.
type Operation struct {
	Op         *userop.UserOperation
	Hash       common.Hash
	EntryPoint entrypoint.EntryPoint

	// ValidAfter and ValidUntil are the time range both account and paymaster agreed to: unix seconds, or block
	// numbers if ValidityInBlocks (v0.9). A ValidUntil of zero means for ever.
	ValidAfter, ValidUntil uint64
	ValidityInBlocks       bool

	Aggregator          common.Address // zero: none
	Prefund             uint256.Int    // wei: the most the operation may cost its payer
	VerificationGasUsed uint64         // gas the validation used
	Staked              Staked

	// NonceAhead is the number of pending operations of the same sender and nonce key the operation was validated
	// behind: the chain's sequence was its own minus this.
	NonceAhead uint64

	// AssociatedStorageIn lists the contracts in which validation used storage associated with the account or a
	// staked entity (STO-041).
	AssociatedStorageIn []common.Address

	// CodeHashes are those of all code that the first validation visited: the second refuses an operation whose entities
	// have changed theirs (COD-010).
	CodeHashes erc7562.CodeHashes

	AddedBlock uint64 // number of the head it was validated at
	AddedTime  uint64 // timestamp of that head, unix seconds
}

// Staked says which entities of an operation have the stake and unstake delay of ERC-7562 (SREP-010).
type Staked struct {
	Sender, Factory, Paymaster, Aggregator bool
}

// Reason is why an operation left the pool.
type Reason uint8

// The reasons for which operations leave.
const (
	Mined              Reason = iota + 1 // it was included
	NonceUsed                            // another operation with its nonce, or a later one, was included
	Replaced                             // an operation with the same sender and nonce and higher fees came
	Expired                              // its time range ended
	TooOld                               // it waited longer than the pool keeps operations
	ThrottledTooLong                     // an entity of it is throttled and it waited THROTTLED_ENTITY_LIVE_BLOCKS (GREP-020)
	EntityBanned                         // an entity of it was banned (GREP-010)
	Evicted                              // it paid least and the pool was full
	ValidationFailed                     // it failed the second validation
	BundleFailed                         // it failed the validation of a whole bundle
	PredecessorRemoved                   // an operation with a lower nonce left without being mined
	Dropped                              // somebody asked for it
	Cleared                              // the pool was cleared
)

// String returns the reason in words.
func (r Reason) String() string {
	switch r {
	case Mined:
		return "mined"
	case NonceUsed:
		return "nonce used by another operation"
	case Replaced:
		return "replaced"
	case Expired:
		return "expired"
	case TooOld:
		return "too long in the pool"
	case ThrottledTooLong:
		return "too long in the pool for a throttled entity"
	case EntityBanned:
		return "entity banned"
	case Evicted:
		return "evicted"
	case ValidationFailed:
		return "second validation failed"
	case BundleFailed:
		return "bundle validation failed"
	case PredecessorRemoved:
		return "operation with a lower nonce removed"
	case Dropped:
		return "dropped"
	case Cleared:
		return "pool cleared"
	default:
		return fmt.Sprintf("reason %d", uint8(r))
	}
}

// Removed is an operation that left the pool.
type Removed struct {
	Operation *Operation
	Reason    Reason
}

// Added is what Add did.
type Added struct {
	Known    bool         // the identical operation was there already; nothing changed
	Replaced *common.Hash // the operation with the same sender and nonce that it replaced
	Removed  []Removed    // what left because of it: the replaced operation, the evicted ones
}

// Head is the chain's latest block, and the base fee of the block to come.
type Head struct {
	Number    uint64
	Timestamp uint64      // unix seconds
	BaseFee   uint256.Int // of the next block, wei per gas
}

// ErrUnknown says that no pending operation has the hash.
var ErrUnknown = errors.New("no such operation in the pool")

// Pool holds the pending operations. Create it with New.
type Pool struct {
	config  Config
	listed  map[common.Address]listing
	head    Head
	arrival uint64 // counts operations; breaks ties in every order, oldest first

	ops        map[common.Hash]*entry
	lanes      map[laneKey]*lane
	accounts   map[common.Address]*account
	paymasters map[paymasterKey]*paymaster
	standings  map[common.Address]*standing
	throttled  map[common.Address]struct{}
	changed    map[common.Address]struct{} // standings that ChangedReputation has not told yet

	markets map[common.Address]*market // by EntryPoint: lanes whose first operation is valid now
	waiting [2]*sorted                 // lanes' first operations that are not valid yet, by ValidAfter, per clock
	expiry  [2]*sorted                 // all operations that end, by the last moment they are valid, per clock
	tails   ranking                    // lanes' last operations, to evict from
	bytes   uint64

	tokens  map[common.Hash]*entry // claims: the hash a builder claimed -> the operation that stands there now
	held    map[common.Address]*account
	flights map[common.Hash]flight // operations in transactions of builders that do not hold their senders

	history history
}

// The clocks a time range may be on.
const (
	bySeconds = iota
	byBlocks
)

// entry is an operation's place in the pool.
type entry struct {
	*Operation
	lane    *lane
	seq     uint64 // nonce sequence
	arrival uint64
	size    uint64
	expires [2]uint64 // last moment it may stay, per clock; never: for ever
	maxFee  uint64    // wei per gas, saturated: no fee above 18 ETH per gas is told apart
	tip     uint64    // wei per gas, saturated
	waits   bool      // it stands in waiting
	tokens  []common.Hash
}

type laneKey struct {
	entryPoint, sender common.Address
	key                [24]byte // upper 192 bits of the nonce
}

// lane is the run of operations with one EntryPoint, sender and nonce key: sequences are contiguous.
type lane struct {
	laneKey
	account *account
	entries []*entry
}

func (l *lane) first() *entry { return l.entries[0] }
func (l *lane) last() *entry  { return l.entries[len(l.entries)-1] }

// account is an address in any role of a pending operation.
type account struct {
	address    common.Address
	lanes      []*lane
	sent       int                 // pending operations it is the sender of
	refs       map[*entry]struct{} // pending operations it is factory, paymaster or aggregator of
	authorized int                 // pending operations of it that carry an EIP-7702 tuple
	delegate   common.Address      // of those tuples (AUTH-040: all the same)
	staked     bool                // as of the newest operation that names it
	claim      claim
}

type paymasterKey struct{ entryPoint, paymaster common.Address }

type paymaster struct {
	deposit  uint256.Int
	reserved uint256.Int // sum of the prefunds of its pending operations
	count    int
}

// New returns an empty pool.
func New(config Config) *Pool {
	p := &Pool{
		config: config,
		listed: lists(config.Allow, config.Block),
	}
	p.reset()
	p.standings = make(map[common.Address]*standing)
	p.throttled = make(map[common.Address]struct{})
	p.changed = make(map[common.Address]struct{})
	return p
}

// reset forgets every operation and what is derived from them.
func (p *Pool) reset() {
	p.ops = make(map[common.Hash]*entry)
	p.lanes = make(map[laneKey]*lane)
	p.accounts = make(map[common.Address]*account)
	p.paymasters = make(map[paymasterKey]*paymaster)
	p.markets = make(map[common.Address]*market)
	p.waiting = [2]*sorted{newSorted(), newSorted()}
	p.expiry = [2]*sorted{newSorted(), newSorted()}
	p.tails = ranking{}
	p.bytes = 0
	p.tokens = make(map[common.Hash]*entry)
	p.held = make(map[common.Address]*account)
	p.flights = make(map[common.Hash]flight)
	p.history = newHistory()
}

// Get returns the pending operation with the hash, or nil.
func (p *Pool) Get(hash common.Hash) *Operation {
	if e := p.ops[hash]; e != nil {
		return e.Operation
	}
	return nil
}

// Len returns the number of pending operations.
func (p *Pool) Len() int { return len(p.ops) }

// Predecessors returns how many pending operations stand directly before the nonce in its lane: the operation is to
// be validated as if these were mined.
func (p *Pool) Predecessors(entryPoint, sender common.Address, nonce uint256.Int) uint64 {
	l := p.lanes[newLaneKey(entryPoint, sender, &nonce)]
	if l == nil {
		return 0
	}
	first, seq := l.first().seq, nonce[0]
	if seq < first || seq-first > uint64(len(l.entries)) {
		return 0
	}
	return seq - first
}

// SetDeposit tells the pool what a paymaster has deposited at an EntryPoint, in wei. The pool knows of no deposit
// until it is told: call it before Add of an operation with that paymaster. Operations that a lower deposit no longer
// covers stay; the proposer passes over them.
func (p *Pool) SetDeposit(entryPoint, address common.Address, amount uint256.Int) {
	k := paymasterKey{entryPoint, address}
	if p.paymasters[k] == nil {
		p.paymasters[k] = new(paymaster)
	}
	p.paymasters[k].deposit = amount
}

// Remove takes an operation out, and with it those that follow it in its lane unless it was mined. The culprit
// decides what the failure does to the reputation of its entities. It returns what left, in nonce order, then
// operations that left because an entity was banned.
func (p *Pool) Remove(hash common.Hash, reason Reason, culprit erc7562.Entity) ([]Removed, error) {
	e := p.ops[hash]
	if e == nil {
		return nil, fmt.Errorf("%w: %v", ErrUnknown, hash)
	}
	banned := p.judge(e, reason, culprit)
	removed := p.cut(e, reason, culprit)
	if banned != (common.Address{}) {
		removed = append(removed, p.purge(banned)...)
	}
	return removed, nil
}

// Clear takes every operation out and forgets claims and deposits; reputation stays. It returns what left, oldest
// first.
func (p *Pool) Clear() []Removed {
	removed := make([]Removed, 0, len(p.ops))
	for _, e := range p.oldestFirst() {
		p.settle(e.Operation, Cleared, erc7562.NoEntity)
		removed = append(removed, Removed{e.Operation, Cleared})
	}
	p.reset()
	return removed
}

// Stats are counts for telemetry.
type Stats struct {
	Operations  int
	Bytes       uint64
	Lanes       int
	Waiting     int // lanes whose first operation is not valid yet
	Held        int // senders held by a builder
	Claimed     int // operations claimed
	EntryPoints map[common.Address]int
}

// Stats counts what the pool holds.
func (p *Pool) Stats() Stats {
	s := Stats{
		Operations:  len(p.ops),
		Bytes:       p.bytes,
		Lanes:       len(p.lanes),
		Waiting:     p.waiting[bySeconds].Len() + p.waiting[byBlocks].Len(),
		Held:        len(p.held),
		EntryPoints: make(map[common.Address]int),
	}
	for _, l := range p.lanes {
		s.EntryPoints[l.entryPoint] += len(l.entries)
	}
	for _, e := range p.tokens {
		if e != nil {
			s.Claimed++
		}
	}
	return s
}

func newLaneKey(entryPoint, sender common.Address, nonce *uint256.Int) laneKey {
	k := laneKey{entryPoint: entryPoint, sender: sender}
	b := nonce.Bytes32()
	copy(k.key[:], b[:24])
	return k
}

// saturate returns x, or the largest 64-bit number if x is larger.
func saturate(x *uint256.Int) uint64 {
	if !x.IsUint64() {
		return math.MaxUint64
	}
	return x.Uint64()
}

func reject(kind rejection.Kind, data rejection.Data, format string, args ...any) *rejection.Rejection {
	r := rejection.New(kind, format, args...)
	r.Data = data
	return r
}
