package node_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"baler/devchain"
	"baler/entrypoint"
	"baler/event"
	"baler/node"
	"baler/pool"
	"baler/profit"
	"baler/proposer"
	balerrpc "baler/rpc"
	"baler/signer"
	"baler/store"
	"baler/txsender"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/holiman/uint256"
)

// line is the way to the node that has the pool: package remote without a network. It can be cut, and led to another node.
type line struct {
	mu   sync.Mutex
	pool *node.Node    // nil: nobody answers
	cut  chan struct{} // closed when the node changes
}

func newLine() *line { return &line{cut: make(chan struct{})} }

func (l *line) lead(to *node.Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.cut)
	l.pool, l.cut = to, make(chan struct{})
}

func (l *line) end() (*node.Node, chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pool == nil {
		return nil, l.cut, node.ErrUnreachable
	}
	return l.pool, l.cut, nil
}

// builders is the line as bundle senders use it.
type builders struct{ line *line }

func through[T any](b builders, call func(node.BuilderPool) (T, error)) (T, error) {
	to, _, err := b.line.end()
	if err != nil {
		var none T
		return none, err
	}
	return call(to.BuilderPool())
}

func (b builders) do(call func(node.BuilderPool) error) error {
	_, err := through(b, func(p node.BuilderPool) (struct{}, error) { return struct{}{}, call(p) })
	return err
}

func (b builders) EntryPoints(ctx context.Context) ([]entrypoint.EntryPoint, error) {
	return through(b, func(p node.BuilderPool) ([]entrypoint.EntryPoint, error) { return p.EntryPoints(ctx) })
}

func (b builders) Candidates(ctx context.Context, q pool.Query) (node.Offer, error) {
	return through(b, func(p node.BuilderPool) (node.Offer, error) { return p.Candidates(ctx, q) })
}

func (b builders) Held(ctx context.Context, builder string) ([]common.Hash, error) {
	return through(b, func(p node.BuilderPool) ([]common.Hash, error) { return p.Held(ctx, builder) })
}

func (b builders) Release(ctx context.Context, builder string, ops []common.Hash) error {
	return b.do(func(p node.BuilderPool) error { return p.Release(ctx, builder, ops) })
}

func (b builders) Claim(ctx context.Context, builder string, ops []common.Hash, until uint64) ([]common.Hash, error) {
	return through(b, func(p node.BuilderPool) ([]common.Hash, error) { return p.Claim(ctx, builder, ops, until) })
}

func (b builders) ExtendClaim(ctx context.Context, builder string, ops []common.Hash, until uint64) ([]common.Hash, error) {
	return through(b, func(p node.BuilderPool) ([]common.Hash, error) { return p.ExtendClaim(ctx, builder, ops, until) })
}

func (b builders) Resume(ctx context.Context, builder string, ops []common.Hash, until uint64) error {
	return b.do(func(p node.BuilderPool) error { return p.Resume(ctx, builder, ops, until) })
}

func (b builders) Leave(ctx context.Context, builder string, ops []common.Hash, until uint64) error {
	return b.do(func(p node.BuilderPool) error { return p.Leave(ctx, builder, ops, until) })
}

func (b builders) Revive(ctx context.Context, builder string, ops []common.Hash, until uint64) error {
	return b.do(func(p node.BuilderPool) error { return p.Revive(ctx, builder, ops, until) })
}

func (b builders) Operations(ctx context.Context, hashes []common.Hash) ([]*pool.Operation, error) {
	return through(b, func(p node.BuilderPool) ([]*pool.Operation, error) { return p.Operations(ctx, hashes) })
}

func (b builders) Remove(ctx context.Context, head common.Hash, removals []proposer.Removal) (bool, error) {
	return through(b, func(p node.BuilderPool) (bool, error) { return p.Remove(ctx, head, removals) })
}

func (b builders) Drop(ctx context.Context, ops []common.Hash) error {
	return b.do(func(p node.BuilderPool) error { return p.Drop(ctx, ops) })
}

func (b builders) Convict(ctx context.Context, r proposer.Removal, op *pool.Operation) error {
	return b.do(func(p node.BuilderPool) error { return p.Convict(ctx, r, op) })
}

func (b builders) Throttle(ctx context.Context, entities []common.Address) error {
	return b.do(func(p node.BuilderPool) error { return p.Throttle(ctx, entities) })
}

func (b builders) Tell(ctx context.Context, events []event.Event) error {
	return b.do(func(p node.BuilderPool) error { return p.Tell(ctx, events) })
}

func (b builders) Untold() bool { return false }

func (b builders) Answer(ctx context.Context, answer node.OrderAnswer) error {
	return b.do(func(p node.BuilderPool) error { return p.Answer(ctx, answer) })
}

func (b builders) Attend(ctx context.Context, process string, take func(node.Order) error) error {
	to, cut, err := b.line.end()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-cut:
			cancel(node.ErrUnreachable)
		case <-ctx.Done():
		}
	}()
	err = to.BuilderPool().Attend(ctx, process, take)
	return errors.Join(context.Cause(ctx), err)
}

// edge is the line as the JSON-RPC edge uses it, as far as the tests do.
type edge struct {
	node.EdgePool
	line *line
}

func (e edge) Precheck(ctx context.Context, op *pool.Operation, received bool) (node.Standing, error) {
	to, _, err := e.line.end()
	if err != nil {
		return node.Standing{}, err
	}
	return to.EdgePool().Precheck(ctx, op, received)
}

func (e edge) Lane(ctx context.Context, ep, sender common.Address, nonce uint256.Int) (node.Standing, error) {
	to, _, err := e.line.end()
	if err != nil {
		return node.Standing{}, err
	}
	return to.EdgePool().Lane(ctx, ep, sender, nonce)
}

func (e edge) Admit(ctx context.Context, op *pool.Operation, deposit *uint256.Int) error {
	to, _, err := e.line.end()
	if err != nil {
		return err
	}
	return to.EdgePool().Admit(ctx, op, deposit)
}

func (e edge) Tell(ctx context.Context, events []event.Event) error {
	to, _, err := e.line.end()
	if err != nil {
		return err
	}
	return to.EdgePool().Tell(ctx, events)
}

// roles is a chain with a node for each role.
type roles struct {
	*stack // its node is the JSON-RPC edge
	line   *line
	pool   *node.Node
	stop   func() // ends the pool
	dir    string

	nodeURL string // of the chain's node for what is started next; empty: its own

	builders []*node.Node
}

// startRoles starts a pool, a JSON-RPC edge and a process with bundle senders for each number of keys.
func startRoles(t *testing.T, keys ...int) *roles {
	t.Helper()
	return startRolesWith(t, true, keys...)
}

// startRolesWith is startRoles with builders that send bundles when asked (manual), or by themselves.
func startRolesWith(t *testing.T, manual bool, keys ...int) *roles {
	t.Helper()
	r := &roles{line: newLine(), dir: t.TempDir()}
	r.stack = startStackOn(t, devchain.Config{Mining: devchain.Manual}, func(c *node.Config) {
		c.Signers, c.RemoteEdge = nil, edge{line: r.line}
	})
	r.startPool(t)
	first := 0
	for _, n := range keys {
		config := r.base()
		for _, key := range r.chain.Keys()[first : first+n] {
			config.Signers = append(config.Signers, signer.NewPrivateKey(key))
		}
		config.RemotePool, config.Sender.Manual = builders{r.line}, manual
		builder, _ := r.run(t, config)
		r.builders = append(r.builders, builder)
		first += n
	}
	r.attended(t, first)
	return r
}

func (r *roles) base() node.Config {
	config := r.config
	config.Signers, config.RemoteEdge = nil, nil
	return config
}

// startPool starts a pool on the store that the last one has left.
func (r *roles) startPool(t *testing.T) {
	t.Helper()
	r.startLife(t, func(c *node.Config) { c.Serves = true })
}

// startLife starts a node that has the pool, on the store that the last one has left.
func (r *roles) startLife(t *testing.T, change func(*node.Config)) {
	t.Helper()
	kept, err := store.Open(r.dir, store.Meta{ChainID: r.chain.ChainID()}, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	config := r.base()
	config.Store = kept
	change(&config)
	var end func()
	r.pool, end = r.run(t, config)
	r.stop = sync.OnceFunc(func() {
		r.line.lead(nil)
		end()
		if err := kept.Close(); err != nil {
			t.Errorf("store: %v", err)
		}
	})
	t.Cleanup(r.stop)
	r.line.lead(r.pool)
}

// attended waits until the pool knows so many bundle senders.
func (r *roles) attended(t *testing.T, keys int) {
	t.Helper()
	eventually(t, "the builders come to the pool", func() error {
		if have := r.pool.Builders(); have != keys {
			return fmt.Errorf("have %d bundle senders, want %d", have, keys)
		}
		return nil
	})
}

// run runs a node until the test's end, or until it is ended.
func (r *roles) run(t *testing.T, config node.Config) (*node.Node, func()) {
	t.Helper()
	client := dial(t, cmp.Or(r.nodeURL, r.chain.HTTPURL()))
	made, err := node.New(config, client, dial(t, r.chain.WSURL()), txsender.NewRaw(client), func(event.Event) {}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- made.Run(ctx) }()
	end := sync.OnceFunc(func() {
		stop()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("node: %v", err)
		}
	})
	t.Cleanup(end)
	<-made.Started()
	return made, end
}

// receives asks the pool's node, as the edge would, for an operation's receipt.
func (r *roles) receives(t *testing.T, hash common.Hash) *balerrpc.OperationReceipt {
	t.Helper()
	receipt, err := r.pool.EdgePool().UserOperationReceipt(t.Context(), hash)
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

// sendNow has a bundle sent.
func (r *roles) sendNow(t *testing.T) common.Hash {
	t.Helper()
	tx, err := r.pool.EdgePool().SendBundleNow(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func (r *roles) statusOf(t *testing.T, hash common.Hash) balerrpc.OperationState {
	t.Helper()
	status, err := r.pool.EdgePool().UserOperationStatus(t.Context(), hash)
	if err != nil {
		t.Fatal(err)
	}
	return status.State
}

// comesTo waits until an operation has a status.
func (r *roles) comesTo(t *testing.T, hash common.Hash, want balerrpc.OperationState) {
	t.Helper()
	eventually(t, "operation is "+string(want), func() error {
		if have := r.statusOf(t, hash); have != want {
			return fmt.Errorf("have %s", have)
		}
		return nil
	})
}

func (r *roles) submit(t *testing.T, a *account, nonce uint64) common.Hash {
	t.Helper()
	a.nonce = nonce
	hash, err := r.node.SendUserOperation(t.Context(), a.ep, a.op(t))
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func TestAnOperationGoesItsWayThroughThreeRoles(t *testing.T) {
	t.Parallel()
	r := startRoles(t, 1)
	builder := r.builders[0]
	a := r.accounts(t, userop.V07, 1, false)[0]
	first := r.submit(t, a, 0)
	a.factory = nil
	if have := r.statusOf(t, first); have != balerrpc.StatePending {
		t.Errorf("have status %s, want pending", have)
	}
	// Behind one that waits, as the pool knows and the edge does not.
	estimate := a.op(t, func(op *userop.UserOperation) { op.Nonce = *uint256.NewInt(1) })
	if _, err := r.node.EstimateUserOperationGas(t.Context(), a.ep, estimate, userop.Given{}, nil); err == nil {
		t.Error("an estimate for an account that is not there: have no refusal")
	}
	tx := r.sendNow(t)
	r.comesTo(t, first, balerrpc.StateSubmitted)
	r.mine(t, 1)
	r.comesTo(t, first, balerrpc.StateIncluded)
	if receipt := r.receives(t, first); receipt == nil || !receipt.Success {
		t.Errorf("have receipt %+v, want success", receipt)
	}
	second, third := r.submit(t, a, 1), r.submit(t, a, 2)
	if r.sendNow(t) == tx {
		t.Error("the same transaction once more")
	}
	r.mine(t, 1)
	r.comesTo(t, second, balerrpc.StateIncluded)
	r.sendNow(t)
	r.mine(t, 1)
	r.comesTo(t, third, balerrpc.StateIncluded)
	if _, err := r.pool.EdgePool().SendBundleNow(t.Context()); !errors.Is(err, balerrpc.ErrNothingToSend) {
		t.Errorf("have %v, want %v", err, balerrpc.ErrNothingToSend)
	}
	eventually(t, "the books of the pool have the bundles of the builder", func() error {
		report, err := r.pool.Profit(t.Context(), profit.Query{Bundles: 10})
		if err != nil || report.Total.Bundles != 3 || report.Total.Operations != 3 {
			return fmt.Errorf("have %+v, %w", report, err)
		}
		return nil
	})
	eventually(t, "what is mined is not remembered by any process", func() error {
		for _, n := range []*node.Node{r.node, r.pool, builder} {
			if kept := n.MemoStats().Kept; kept > 0 {
				return fmt.Errorf("have the validations of %d operations", kept)
			}
		}
		return nil
	})
	if done := builder.MemoStats(); done.Misses == 0 {
		t.Errorf("have %+v, want that the builder has validated something", done)
	}
	// What the edge refuses, the pool's process can tell of.
	bad := a.op(t, func(op *userop.UserOperation) { op.Nonce = *uint256.NewInt(7) })
	if hash, err := r.node.SendUserOperation(t.Context(), a.ep, bad); err == nil {
		t.Error("an operation with a gap in its nonces is accepted")
	} else {
		r.comesTo(t, hash, balerrpc.StateRejected)
	}
}

func TestAPoolThatBeginsAnewHandsOutNothingTwice(t *testing.T) {
	t.Parallel()
	r := startRoles(t, 1, 1)
	accounts := r.accounts(t, userop.V07, 2, true)
	inFlight := r.submit(t, accounts[0], 0)
	r.sendNow(t)
	r.comesTo(t, inFlight, balerrpc.StateSubmitted)

	r.stop()
	accounts[1].nonce = 0
	if _, err := r.node.SendUserOperation(t.Context(), accounts[1].ep, accounts[1].op(t)); !errors.Is(err, node.ErrUnreachable) {
		t.Errorf("without a pool: have %v, want %v", err, node.ErrUnreachable)
	}
	r.startPool(t)
	waits := r.submit(t, accounts[1], 0)
	r.attended(t, 2)
	r.sendNow(t) // by the other builder: it does not take what is in flight
	r.mine(t, 1)
	r.comesTo(t, inFlight, balerrpc.StateIncluded)
	r.comesTo(t, waits, balerrpc.StateIncluded)
	eventually(t, "both bundles are in the books", func() error {
		report, err := r.pool.Profit(t.Context(), profit.Query{Bundles: 10})
		if err != nil || report.Total.Bundles != 2 || report.Total.Operations != 2 || report.Total.Reverted != 0 {
			return fmt.Errorf("have %+v, %w", report, err)
		}
		return nil
	})
}

// waiting returns the transaction of the first key that waits in the node's pool, nil if there is none.
func (r *roles) waiting(t *testing.T) *common.Hash {
	t.Helper()
	var content map[string]map[string]struct {
		Hash common.Hash `json:"hash"`
	}
	key := crypto.PubkeyToAddress(r.chain.Keys()[0].PublicKey)
	if err := r.chain.Client().CallContext(t.Context(), &content, "txpool_contentFrom", key); err != nil {
		t.Fatal(err)
	}
	for _, tx := range content["pending"] {
		return &tx.Hash
	}
	return nil
}

// Without its pool a builder replaces a transaction that is stuck, with the operations that it has in flight already.
func TestAStuckTransactionIsReplacedWhileThePoolIsAway(t *testing.T) {
	t.Parallel()
	r := startRolesWith(t, false, 1)
	a := r.accounts(t, userop.V07, 1, true)[0]
	r.chain.Hold(nil)
	hash := r.submit(t, a, 0)
	var first *common.Hash
	eventually(t, "a bundle waits", func() error {
		r.mine(t, 1)
		if first = r.waiting(t); first == nil {
			return errors.New("none")
		}
		return nil
	})
	r.comesTo(t, hash, balerrpc.StateSubmitted)
	r.stop()
	eventually(t, "the bundle is replaced", func() error {
		r.mine(t, 1)
		if second := r.waiting(t); second == nil || *second == *first {
			return errors.New("it is not")
		}
		return nil
	})
	r.startPool(t)
	r.comesTo(t, hash, balerrpc.StatePending) // it was told of no bundle; which one holds it the builder knows
	r.chain.Release()
	r.mine(t, 1)
	r.comesTo(t, hash, balerrpc.StateIncluded)
	// It may have been replaced once more since.
	receipt := r.receives(t, hash)
	if receipt == nil || !receipt.Success || strings.Contains(string(receipt.Receipt), first.Hex()) {
		t.Errorf("have receipt %t, want one of another transaction than %s", receipt != nil && receipt.Success, first)
	}
}
