package devchain

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth"
	"github.com/ethereum/go-ethereum/eth/ethconfig"
	"github.com/ethereum/go-ethereum/eth/filters"
	"github.com/ethereum/go-ethereum/eth/tracers"
	_ "github.com/ethereum/go-ethereum/eth/tracers/native" // registers callTracer, prestateTracer, erc7562Tracer, ...
	"github.com/ethereum/go-ethereum/node"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"
)

// indexTimeout bounds the wait for geth's transaction index at the start, which takes microseconds.
const indexTimeout = 10 * time.Second

// Chain is a running chain. Its methods may be called from any goroutine.
//
// It owns two goroutines, one that makes blocks and one that listens to the pool, besides those of the node. All end
// with [Chain.Close].
type Chain struct {
	cfg       Config
	rules     *params.ChainConfig
	contracts Contracts
	keys      []*ecdsa.PrivateKey
	stack     *node.Node
	eth       *eth.Ethereum
	client    *rpc.Client

	// mu is held while a block is built or the head is moved: one at a time.
	mu          sync.Mutex
	nextBaseFee *big.Int                      // of the next block only; nil: EIP-1559 decides
	branch      uint64                        // how often Reorg was called; makes the blocks of branches differ
	clockAhead  time.Duration                 // how far block time runs before the wall clock
	held        func(*types.Transaction) bool // nil: nothing is held
	failed      error                         // first error of automatic mining

	// sends is held for reading while a transaction enters the pool and for writing while the pool is rebuilt.
	sends sync.RWMutex

	autoMine atomic.Bool
	attempts atomic.Uint64 // blocks begun by automatic mining, made or not
	wake     chan struct{} // "look at the pool again"; capacity 1, never blocks a sender
	quit     chan struct{}
	workers  sync.WaitGroup
	close    func() error
}

// Start starts a chain and returns when it serves. ctx bounds the start only; the caller owns the chain and must Close it.
func Start(ctx context.Context, cfg Config) (*Chain, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("devchain: start: %w", err)
	}
	cfg, host, port, err := cfg.withDefaults(time.Now())
	if err != nil {
		return nil, err
	}
	c := &Chain{
		cfg:   cfg,
		rules: ChainConfig(cfg.ChainID),
		wake:  make(chan struct{}, 1),
		quit:  make(chan struct{}),
	}
	c.close = sync.OnceValue(c.shutDown)
	c.autoMine.Store(cfg.Mining != Manual)

	genesis, err := c.genesis()
	if err != nil {
		return nil, err
	}
	if err := c.startNode(genesis, host, port); err != nil {
		return nil, err
	}
	c.startMining()
	return c, nil
}

// genesis builds the genesis block's description and fills the contracts and keys.
func (c *Chain) genesis() (*core.Genesis, error) {
	contracts, alloc, err := genesisContracts(c.rules, c.cfg.GenesisTime)
	if err != nil {
		return nil, err
	}
	keys, funded := genesisKeys(c.cfg.FundedKeys)
	maps.Copy(alloc, funded)
	for address, account := range c.cfg.Alloc {
		if _, taken := alloc[address]; taken {
			return nil, fmt.Errorf("%w: alloc: %v is an account of the chain itself", ErrConfig, address)
		}
		alloc[address] = account
	}
	c.contracts, c.keys = contracts, keys
	return &core.Genesis{
		Config:     c.rules,
		Timestamp:  c.cfg.GenesisTime,
		ExtraData:  []byte("baler"),
		GasLimit:   c.cfg.GasLimit,
		BaseFee:    new(big.Int).Set(c.cfg.BaseFee),
		Difficulty: new(big.Int),
		Alloc:      alloc,
	}, nil
}

// startNode starts geth over the genesis block.
func (c *Chain) startNode(genesis *core.Genesis, host string, port int) error {
	stack, err := node.New(nodeConfig(host, port))
	if err != nil {
		return fmt.Errorf("devchain: node: %w", err)
	}
	backend, err := eth.New(stack, ethConfig(genesis))
	if err != nil {
		return errors.Join(fmt.Errorf("devchain: eth service: %w", err), stack.Close())
	}
	stack.RegisterAPIs(tracers.APIs(backend.APIBackend))
	stack.RegisterAPIs([]rpc.API{
		{Namespace: "eth", Service: filters.NewFilterAPI(filters.NewFilterSystem(backend.APIBackend, filters.Config{}))},
		{Namespace: "eth", Service: &sendAPI{chain: c}},
		{Namespace: "dev", Service: &devAPI{chain: c}},
	})
	if err := stack.Start(); err != nil {
		return fmt.Errorf("devchain: start node: %w", err) // it has closed itself
	}
	c.stack, c.eth, c.client = stack, backend, stack.Attach()
	if err := c.openIndex(); err != nil {
		c.client.Close()
		return errors.Join(err, stack.Close())
	}
	return nil
}

// openIndex tells geth's transaction index that it is complete from genesis on. Every block made here indexes its
// transactions when it becomes the head, but geth begins with an index of unknown extent and answers "transaction
// indexing is in progress" instead of "not found" until it has looked, some time after the first blocks.
func (c *Chain) openIndex() error {
	bc := c.eth.BlockChain()
	rawdb.WriteTxIndexTail(c.eth.ChainDb(), 0)
	if err := c.setHead(bc.GetBlockByNumber(0)); err != nil { // announces the head; the index reads its extent again
		return err
	}
	poll := time.NewTicker(100 * time.Microsecond)
	defer poll.Stop()
	for deadline := time.Now().Add(indexTimeout); !bc.TxIndexDone(); <-poll.C {
		if time.Now().After(deadline) {
			return fmt.Errorf("devchain: the transaction index is not ready after %v", indexTimeout)
		}
	}
	return nil
}

// nodeConfig is a node in memory without peers, serving HTTP and WebSocket on one port.
func nodeConfig(host string, port int) *node.Config {
	cfg := node.DefaultConfig
	modules := []string{"eth", "debug", "dev", "net", "txpool", "web3"}
	cfg.Name = "baler-devchain"
	cfg.DataDir = ""
	cfg.UseLightweightKDF = true
	cfg.P2P = p2p.Config{NoDiscovery: true, NoDial: true}
	cfg.HTTPHost, cfg.HTTPPort, cfg.HTTPModules = host, port, modules
	cfg.WSHost, cfg.WSPort, cfg.WSModules = host, port, modules
	if ip := net.ParseIP(host); ip != nil && !ip.IsLoopback() {
		cfg.HTTPVirtualHosts = []string{"*"} // the user asked to serve others; they use names we cannot know
	}
	return &cfg
}

// ethConfig is an archive node: the hash scheme without pruning keeps every state readable.
func ethConfig(genesis *core.Genesis) *ethconfig.Config {
	cfg := ethconfig.Defaults
	cfg.Genesis = genesis
	cfg.SyncMode = ethconfig.FullSync
	cfg.StateScheme = rawdb.HashScheme
	cfg.NoPruning = true
	cfg.SnapshotCache = 0
	cfg.DatabaseCache, cfg.TrieCleanCache, cfg.TrieDirtyCache = 16, 16, 16 // MB
	cfg.TransactionHistory = 0                                             // index all
	cfg.LogNoHistory = true                                                // search blooms, do not index
	cfg.TxPool.NoLocals = true                                             // a local transaction would be sent again after Drop
	cfg.TxPool.Journal = ""
	cfg.RPCTxFeeCap = 0 // tests raise the base fee far
	return &cfg
}

// Close stops mining and the node and waits for their goroutines. It may be called more than once. Its error is the
// first error of automatic mining, if there was one, and that of the node's shutdown. A client that still holds a
// subscription then may leave one goroutine of geth's filter system waiting for ever; unsubscribe first.
func (c *Chain) Close() error { return c.close() }

func (c *Chain) shutDown() error {
	close(c.quit)
	c.workers.Wait()
	c.client.Close()
	return errors.Join(c.failed, c.stack.Close())
}

// HTTPURL returns the URL of the JSON-RPC server.
func (c *Chain) HTTPURL() string { return c.stack.HTTPEndpoint() }

// WSURL returns the URL of the WebSocket server.
func (c *Chain) WSURL() string { return c.stack.WSEndpoint() }

// ChainID returns the chain id.
func (c *Chain) ChainID() uint64 { return c.cfg.ChainID }

// ChainConfig returns the chain's rules; the caller may change the copy.
func (c *Chain) ChainConfig() *params.ChainConfig { return ChainConfig(c.cfg.ChainID) }

// Keys returns the funded keys, [Key](0) first.
func (c *Chain) Keys() []*ecdsa.PrivateKey { return slices.Clone(c.keys) }

// Contracts returns what stands where on the chain.
func (c *Chain) Contracts() Contracts {
	out := c.contracts
	out.EntryPoints = maps.Clone(out.EntryPoints)
	out.SenderCreators = maps.Clone(out.SenderCreators)
	out.AccountFactories = maps.Clone(out.AccountFactories)
	out.Paymasters = maps.Clone(out.Paymasters)
	out.Simple7702Accounts = maps.Clone(out.Simple7702Accounts)
	return out
}

// Client returns an in-process client of the node, with subscriptions. It is closed by [Chain.Close].
func (c *Chain) Client() *rpc.Client { return c.client }

// Head returns the header of the current head.
func (c *Chain) Head() *types.Header { return types.CopyHeader(c.eth.BlockChain().CurrentBlock()) }

// InPool reports whether the node's pool holds the transaction, executable or not.
func (c *Chain) InPool(hash common.Hash) bool { return c.eth.TxPool().Has(hash) }

// Handler returns the node's JSON-RPC over HTTP, for a server of the caller's that looks at requests before the node does.
func (c *Chain) Handler() (http.Handler, error) {
	server, err := c.stack.RPCHandler()
	if err != nil {
		return nil, fmt.Errorf("devchain: %w", err)
	}
	return server, nil
}
