// Package node runs the pipeline: it is the shell around the pure core, and owns its goroutines.
//
// In: heads of the chain, operations from the RPC surface, calls of operators. Out: bundles on their way, and events
// that say what happened. Node.Run owns every goroutine: one follows the heads, one runs each bundle sender, and each
// effect that takes time runs under its sender; when Run returns all of them have ended.
//
// It decides nothing itself: validity is validation's, the choice the proposer's, and what happens to a transaction the
// bundle sender's.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"sync"
	"sync/atomic"
	"time"

	"baler/bundlesender"
	"baler/chain"
	"baler/entrypoint"
	"baler/estimation"
	"baler/event"
	"baler/evm"
	"baler/gas"
	"baler/pool"
	"baler/proposer"
	"baler/signer"
	"baler/store"
	"baler/txsender"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

// claimBlocks is how many blocks beyond the head a claim holds. A living builder prolongs its claims with every head it
// looks at; the time is long because one that is held up by its node for many short blocks still has its transactions out,
// and an operation in bundles of two keys makes one of them revert.
const claimBlocks = 1000

// Config is what the pipeline is made of.
type Config struct {
	ChainID     uint64
	Rules       *params.ChainConfig     // the chain's forks; nil: what is known of the chain id
	EntryPoints []entrypoint.EntryPoint // the preferred one first
	Signers     []signer.Signer         // one bundle sender each, as far as they can be held
	Keys        KeyHolder               // holds keys that other processes use too; nil: the keys are this process's alone
	MaxKeys     int                     // keys held at once; 0: all
	LeaseTTL    time.Duration           // where the pool is: for how long a key stays with a holder that is dead; 0: keys are not leased
	Beneficiary common.Address          // takes the fees; zero: each signer its own

	// PrivateRelay: transactions do not stand in a public mempool, so the node need not know them.
	PrivateRelay bool
	// Raced submits the bundles whose operations rivals take; nil: they go the usual way. RacedPrivate is PrivateRelay for it.
	Raced          txsender.Sender
	RacedPrivate   bool
	BundleInterval time.Duration // bundle_max_send_interval_millis; 0: off
	MinPriorityFee uint256.Int   // wei per gas, whatever the oracle says
	MaxPriorityFee uint256.Int   // wei per gas; 0: no ceiling
	MaxCancelSpend uint256.Int   // wei one cancellation may cost; 0: no budget
	LookupBlocks   uint64        // how far back receipts of forgotten operations are looked for
	HistorySize    int           // mined operations remembered
	// FollowBundleSize: preVerificationGas is asked for at the size that bundles have had of late, not at a fixed one.
	FollowBundleSize bool

	// Store keeps operations, journals and history over a restart; nil: nothing is kept.
	Store *store.Store
	// MaxHeadAge is the age of the head from which the node is not healthy: the chain, or the way to it, stands still. Default: 90 s.
	MaxHeadAge time.Duration
	// Checks are made for the probes beside the node's own.
	Checks []Check
	// Funding keeps the keys in funds.
	Funding Funding
	// Serves: the bundle senders and the JSON-RPC edge are in other processes, which use the pool of this one. InFlight tells it what the
	// builders have in flight that were there before it; nil: that is not known.
	Serves   bool
	InFlight InFlight
	// RemotePool and RemoteEdge are the pool of another process, for a process with bundle senders and for a JSON-RPC edge; nil: it is here.
	RemotePool BuilderPool
	RemoteEdge EdgePool
	// Told hears what other processes tell; nil: nobody.
	Told event.Sink
	// Lease says that the pool of the chain, with what is in the store, is this process's; nil: for ever. When it is lost the node ends.
	Lease Lease
	// Boundary is told each time an effect is about to leave the process or has come back. Tests end the process there.
	Boundary func(name string)

	// MaxSecondsBeforeValid and MaxBlocksBeforeValid are how long before its time an operation may come: it waits in the pool.
	MaxSecondsBeforeValid, MaxBlocksBeforeValid uint64

	// Shards divides the accounts among the keys, beside the claims that keep their bundles disjoint in any case.
	Shards Shards

	Pool       pool.Config
	Proposer   proposer.Config
	Validation validation.Config
	Estimation estimation.Config
	Sender     bundlesender.Config
	Follow     chain.FollowOptions
}

// Shards divides the accounts among bundle senders: the key at position i of Config.Signers gets those with
// uint160(sender) mod Count == First + i. The zero value does not divide: each key may take every operation.
type Shards struct{ Count, First uint64 }

// of returns the shard of the key at a position.
func (s Shards) of(position int) pool.Shard {
	if s.Count == 0 || position < 0 {
		return pool.Shard{}
	}
	return pool.Shard{Count: s.Count, Index: (s.First + uint64(position)) % s.Count}
}

// Node is a bundler: one pool, one validator, N bundle senders.
type Node struct {
	config    Config
	chain     *chain.Client
	heads     *chain.Client // WebSocket for subscriptions; nil: heads are polled
	usual     route
	raced     route // no sender: there is none
	source    *evm.Source
	validator *validator
	estimator *estimation.Estimator
	pool      *mempool
	history   *history
	carriers  *carriers
	left      *left
	suspicion *suspicion
	books     *books
	timeline  *timeline
	streams   *streams
	own       *ownGas
	keys      *keyring
	desk      *desk       // the pool of this process
	port      BuilderPool // the pool that bundle senders use
	seen      *seen       // offered by another process's pool; nil: it is this one's
	attendant *attendant  // nil as well
	told      event.Sink  // hears what other processes tell
	lookout   *lookout
	doubt     pool.Cursor // where the next look at old operations' nonces goes on
	standings standings
	treasury  *treasury // nil: keys are not funded
	sink      event.Sink
	log       *slog.Logger

	head         atomic.Pointer[head]
	started      chan struct{}                           // closed with the first head
	restoring    []*pool.Operation                       // in the store from before the start, until they are restored
	next         atomic.Uint64                           // worker whose turn it is for a manual call
	disagreement atomic.Pointer[validation.Disagreement] // the last one of the local EVM with the node's
	compared     comparisons                             // of the local EVM with each endpoint
	balances     balances                                // of the keys, for whoever shows them
	updating     atomic.Pointer[step]                    // of the chain, that is being taken in; nil: none is
	moves        atomic.Uint64                           // odd while a step of the chain is taken; see still
}

// ErrConfig says that a node cannot be made of its configuration.
var ErrConfig = errors.New("node configuration")

// New wires a node. heads may be nil.
func New(config Config, client, heads *chain.Client, relay txsender.Sender, sink event.Sink, log *slog.Logger) (*Node, error) {
	switch {
	case len(config.EntryPoints) == 0:
		return nil, fmt.Errorf("%w: no EntryPoint", ErrConfig)
	case len(config.Signers) == 0 && !config.Serves && config.RemoteEdge == nil:
		return nil, fmt.Errorf("%w: no signer", ErrConfig)
	}
	if err := config.Funding.check(config.Signers); err != nil {
		return nil, err
	}
	if config.Boundary == nil {
		config.Boundary = func(string) {}
	}
	stories, streams := newTimeline(min(config.HistorySize, timelineSize), time.Now), newStreams(streamBuffer)
	if config.Rules == nil {
		config.Rules = evm.ChainConfigFor(config.ChainID)
	}
	source := evm.NewSource(client, config.Rules, evm.Options{Wait: retryPause, Now: time.Now})
	n := &Node{
		config: config, chain: client, heads: heads, log: log, source: source,
		usual:    route{sender: relay, private: config.PrivateRelay},
		raced:    route{name: racedRoute, sender: config.Raced, private: config.RacedPrivate},
		carriers: newCarriers(), left: newLeft(config.LeaseTTL), own: newOwnGas(), suspicion: newSuspicion(config.Proposer.MaxBundleSize),
		timeline: stories, streams: streams, started: make(chan struct{}), lookout: newLookout(),
	}
	n.books = newBooks()
	n.history = newHistory(config.HistorySize, n.readsMined())
	if config.FollowBundleSize {
		config.Estimation.PreVerification.Expected, config.Validation.PreVerification.Expected = n.books.estimateSize, n.books.acceptSize
	}
	heard := heard(stories, streams, sink, config.Told)
	abroad := config.abroad(context.Background())
	n.sink = func(e event.Event) {
		n.forgetRemoved(e)
		heard.own(e)
		if abroad != nil {
			abroad(e)
		}
	}
	n.told = heard.told
	n.pool = &mempool{pool: pool.New(config.Pool), sink: n.sink}
	n.desk = &desk{node: n}
	n.port = n.desk
	if config.Serves {
		n.desk.register, n.desk.orders = newRegister(&config), newOrders()
	}
	find := n.pool.find
	if config.RemotePool != nil {
		n.port, n.seen, n.attendant = config.RemotePool, newSeen(), &attendant{node: n, well: ErrUnreachable}
		find = n.seen.find
	}
	config.Validation.OnDisagreement, config.Validation.OnAgreement, config.Validation.Answerer = n.onDisagreement, n.compared.agreed, chain.WithAnswerer
	config.Validation.Beside = beside
	n.validator = &validator{inner: validation.New(source, config.Validation), source: source, find: find, port: n.port, took: n.validationTook}
	n.estimator = estimation.New(source, config.Estimation)
	n.keys = newKeyring(n, &config)
	n.treasury = newTreasury(n)
	return n, nil
}

// Run runs the pipeline until the context ends, or until the store fails: what cannot be written down must not be done.
func (n *Node) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var group sync.WaitGroup
	committing, stopCommitting := context.WithCancel(context.WithoutCancel(ctx))
	committed := make(chan struct{})
	go func() { // outlives the others: it commits what they have left
		defer close(committed)
		if err := n.config.Store.Run(committing); err != nil {
			cancel(err)
		}
	}()
	defer func() {
		cancel(nil)
		group.Wait()
		n.keepReputation()
		stopCommitting()
		<-committed
	}()
	if n.config.Lease != nil {
		group.Go(func() {
			select {
			case <-n.config.Lease.Lost():
				cancel(ErrLeaseLost)
			case <-ctx.Done():
			}
		})
	}
	if err := n.keys.fill(ctx, cancel); err != nil {
		cancel(err)
	}
	group.Go(func() { n.keys.run(ctx, cancel) })
	if n.treasury != nil {
		group.Go(func() { n.treasury.run(ctx, cancel) })
	}
	if n.attendant != nil {
		group.Go(func() {
			select {
			case <-n.started:
				n.attendant.run(ctx)
			case <-ctx.Done():
			}
		})
	}
	updates := make(chan chain.Update, chain.ReorgDepth)
	follow := n.config.Follow
	follow.Hurry = n.lookout.hurry
	group.Go(func() {
		defer close(updates)
		_ = n.chain.Follow(ctx, n.heads, follow, updates) // ends with the context only
	})
	group.Go(func() { n.ageReputation(ctx) })
	var err error
	if n.restoring, err = n.stored(); err != nil {
		cancel(err)
	}
	if first, open := n.firstHead(updates); open {
		if err := n.onUpdate(ctx, first); err != nil {
			cancel(err)
		}
	}
	for update := range updates {
		if err := n.onUpdate(ctx, update); err != nil {
			cancel(err)
		}
	}
	return context.Cause(ctx)
}

// Started is closed when the first head has been seen: from then on operations are served.
func (n *Node) Started() <-chan struct{} { return n.started }

func (n *Node) chainID() *big.Int { return new(big.Int).SetUint64(n.config.ChainID) }

// balance reads an account's balance at the head, in wei.
func (n *Node) balance(ctx context.Context, at *head, account common.Address) (uint256.Int, error) {
	return n.source.View(at.header).Balance(ctx, account)
}

// head is the newest block and what follows from it.
type head struct {
	header  *types.Header
	baseFee uint256.Int // of the next block, wei per gas
	seen    time.Time

	mu       sync.Mutex
	history  *chain.FeeHistory // nil: not asked yet
	priority *uint256.Int      // nil: not known yet
}

func newHead(config Config, header *types.Header) (*head, error) {
	baseFee, err := gas.NextBaseFee(config.Rules, header)
	if err != nil {
		return nil, fmt.Errorf("block %d: %w", header.Number, err)
	}
	return &head{header: header, baseFee: baseFee, seen: time.Now()}, nil
}

func (h *head) number() uint64 { return h.header.Number.Uint64() }

// priorityFee asks the oracle at most once per head, however many senders want to know.
func (h *head) priorityFee(ctx context.Context, n *Node) (uint256.Int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.askHistory(ctx, n); err != nil {
		return uint256.Int{}, fmt.Errorf("priority fee: %w", err)
	}
	if h.priority == nil {
		fee, err := h.history.PriorityFee(chain.FeePolicy{
			Minimum: n.config.MinPriorityFee, Maximum: n.config.MaxPriorityFee, OwnGas: n.own.in,
		})
		if err != nil {
			return uint256.Int{}, fmt.Errorf("priority fee: %w", err)
		}
		h.priority = &fee
	}
	return *h.priority, nil
}

func (h *head) askHistory(ctx context.Context, n *Node) (err error) {
	if h.history == nil {
		h.history, err = n.chain.FeeHistory(ctx, h.header)
	}
	return err
}

// askAhead asks what every sender is going to want to know at this head, all in one round trip's time. What fails is asked
// again by whoever needs it. It returns when all of it has been answered.
func (n *Node) askAhead(ctx context.Context, at *head) {
	var asked sync.WaitGroup
	asked.Go(func() {
		at.mu.Lock()
		defer at.mu.Unlock()
		_ = at.askHistory(ctx, n)
	})
	asked.Go(func() {
		var signers []common.Address
		for _, w := range n.keys.all() {
			signers = append(signers, w.key.Address())
		}
		_ = n.source.View(at.header).Prefetch(ctx, signers, nil)
	})
	asked.Wait()
}

// knownPriority returns the oracle's answer, if it was asked at this head.
func (h *head) knownPriority() (uint256.Int, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.priority == nil {
		return uint256.Int{}, false
	}
	return *h.priority, true
}

// retryPause waits before state is read again from a node that does not know the block yet.
func retryPause(ctx context.Context, attempt int) error { return pause(ctx, backoffTime(attempt)) }

// pause waits, unless the context ends before.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
