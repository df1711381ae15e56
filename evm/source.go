package evm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"
)

// Node is what the package needs of a JSON-RPC client; *rpc.Client satisfies it.
type Node interface {
	CallContext(ctx context.Context, result any, method string, args ...any) error
	BatchCallContext(ctx context.Context, batch []rpc.BatchElem) error
}

// Options are the limits of a source. The zero value means the defaults.
type Options struct {
	BatchSize  int    // requests in one JSON-RPC batch; default 250
	CodeBytes  uint64 // bytes of contract code kept; default 64 MiB
	Views      int    // blocks whose state is kept; default 4
	Attempts   int    // tries of a read while the node does not know the block yet; default 4
	MaxReads   int    // values one run may read; default 20,000. More is an error, not a verdict
	MaxRounds  int    // speculative rounds of Execute before it reads one value at a time; default 12
	Settlement uint64 // blocks after which code seen at an address is taken as final; default 64
	NoLoader   bool   // read by single requests only, though the node may take the state loader's calls

	// Wait pauses before the attempt-th retry (1, 2, ...); it returns early with the context's error. Nil: no pause.
	Wait func(ctx context.Context, attempt int) error
	// Now tells how long reads take: a node that is far away gets more of them at once. Nil: it is taken for near.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.BatchSize <= 0 {
		o.BatchSize = 250
	}
	if o.CodeBytes == 0 {
		o.CodeBytes = 64 << 20
	}
	if o.Views <= 0 {
		o.Views = 4
	}
	if o.Attempts <= 0 {
		o.Attempts = 4
	}
	if o.MaxReads <= 0 {
		o.MaxReads = 20_000
	}
	if o.MaxRounds <= 0 {
		o.MaxRounds = 12
	}
	if o.Settlement == 0 {
		o.Settlement = 64
	}
	if o.Wait == nil {
		o.Wait = func(ctx context.Context, _ int) error { return ctx.Err() }
	}
	return o
}

// Source reads the state of one chain from one node. It lives as long as the process: code is kept by hash, jump
// destination analyses too, and the latest blocks' views.
//
// It finds out by itself how to read. The first reads are JSON-RPC batches of single requests, which any node answers;
// with them travel calls of a *state loader*: eth_calls whose state override makes every contract wanted return the slots
// it is asked for. If the node answers these, and the same, later reads are made by them alone: one batch of a few
// eth_calls, however many values are wanted.
type Source struct {
	node   Node
	cfg    *params.ChainConfig
	opts   Options
	loader loader
	lists  accessLists
	pace   pace

	code      *lru.SizeConstrainedCache[common.Hash, []byte]
	codeAt    *lru.Cache[common.Address, codeSighting]
	jumpDests *jumpDests
	contracts *precompiles
	familiar  atomic.Int32 // accounts in a row that were met for the first time and had code that is known

	mu     sync.Mutex
	views  lru.BasicLRU[common.Hash, *View]
	latest latestView
}

// latestView is the view that was asked for last, by its header: to hash a header costs more than to find the view.
type latestView struct {
	header *types.Header
	view   *View
}

// codeSighting is the code an address had at the earliest block it was seen at.
type codeSighting struct {
	hash   common.Hash
	number uint64
	mayGo  bool // there is none, or it is an EIP-7702 delegation: it may be another one at any block
}

// NewSource returns a source over the node, for a chain with the given fork rules (see [ChainConfigFor]).
func NewSource(node Node, cfg *params.ChainConfig, opts Options) *Source {
	opts = opts.withDefaults()
	s := &Source{
		pace:      pace{now: opts.Now},
		node:      node,
		cfg:       cfg,
		opts:      opts,
		code:      lru.NewSizeConstrainedCache[common.Hash, []byte](opts.CodeBytes),
		codeAt:    lru.NewCache[common.Address, codeSighting](100_000),
		jumpDests: &jumpDests{lru.NewCache[common.Hash, vm.BitVec](2_000)},
		contracts: newPrecompiles(),
		views:     lru.NewBasicLRU[common.Hash, *View](opts.Views),
	}
	s.loader.off.Store(opts.NoLoader)
	return s
}

// LoaderWorks reports whether reads are made by the state loader's calls: false until the node has shown that it takes
// them.
func (s *Source) LoaderWorks() bool { return s.loader.works.Load() }

// Config returns the chain's fork rules.
func (s *Source) Config() *params.ChainConfig { return s.cfg }

// Node returns the node the source reads from.
func (s *Source) Node() Node { return s.node }

// View returns the state after the header's block. Views of the same block share what they read. The header must not be changed any more.
func (s *Source) View(header *types.Header) *View {
	s.mu.Lock()
	latest := s.latest
	s.mu.Unlock()
	if latest.header == header {
		return latest.view
	}
	view := s.ViewAt(header.Hash(), header)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest = latestView{header, view}
	return view
}

// ViewAt is [Source.View] for a chain whose block hash is not go-ethereum's hash of the header's fields.
func (s *Source) ViewAt(hash common.Hash, header *types.Header) *View {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.views.Get(hash); ok {
		return v
	}
	v := &View{
		source:   s,
		hash:     hash,
		header:   header,
		accounts: make(table[common.Address, account]),
		nonces:   make(table[common.Address, uint64]),
		slots:    make(table[Slot, common.Hash]),
	}
	s.views.Add(hash, v)
	return v
}

// intern keeps code by its hash and returns the one copy of it.
func (s *Source) intern(hash common.Hash, code []byte) []byte {
	if kept, ok := s.code.Get(hash); ok {
		return kept
	}
	s.code.Add(hash, code)
	return code
}

// settledCode returns the code of an address without asking the node, if it can't have changed: since EIP-6780 code
// that is not an EIP-7702 delegation stays, once a reorg can no longer undo its deployment.
func (s *Source) settledCode(addr common.Address, header *types.Header) (hash common.Hash, code []byte, ok bool) {
	seen, ok := s.codeAt.Get(addr)
	number := header.Number.Uint64()
	if !ok || seen.mayGo || number < seen.number+s.opts.Settlement || !s.cfg.IsCancun(header.Number, header.Time) {
		return common.Hash{}, nil, false
	}
	code, ok = s.code.Get(seen.hash)
	return seen.hash, code, ok
}

// sight remembers which code an address had at a block.
func (s *Source) sight(addr common.Address, hash common.Hash, code []byte, number uint64) {
	if seen, ok := s.codeAt.Peek(addr); ok && seen.hash == hash && seen.number <= number {
		return
	}
	_, delegated := types.ParseDelegation(code)
	s.codeAt.Add(addr, codeSighting{hash, number, delegated || len(code) == 0})
}

// jumpDests shares jump destination analyses between runs; it implements vm.JumpDestCache.
type jumpDests struct {
	cache *lru.Cache[common.Hash, vm.BitVec]
}

func (j *jumpDests) Load(hash common.Hash) (vm.BitVec, bool) { return j.cache.Get(hash) }
func (j *jumpDests) Store(hash common.Hash, bits vm.BitVec)  { j.cache.Add(hash, bits) }

// ErrTooManyReads is the cause of a state error when a run reads more values than Options.MaxReads.
var ErrTooManyReads = errors.New("too many state reads")

// StateError says that state could not be read: the node's trouble, never the called contract's.
type StateError struct {
	Block common.Hash
	Err   error
}

// Error implements error.
func (e *StateError) Error() string { return fmt.Sprintf("read state at block %s: %v", e.Block, e.Err) }

// Unwrap returns the cause.
func (e *StateError) Unwrap() error { return e.Err }

// IsStateError reports whether err means that state could not be read, so that nothing is known about the call.
func IsStateError(err error) bool {
	var se *StateError
	return errors.As(err, &se)
}
