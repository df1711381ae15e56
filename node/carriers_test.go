package node

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/big"
	"slices"
	"testing"
	"time"

	"baler/entrypoint"
	"baler/event"
	"baler/pool"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

// No operation is in live transactions of two builders, whatever comes before what: bundles are sent and mined, blocks leave the
// chain, the pool and the builders are killed and come back, and each hears of the chain when it does.
func TestNoOperationIsInLiveTransactionsOfTwoBuilders(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := newForks()
		actions := map[string]func(*rapid.T, *forkBuilder){
			"submit": f.submit, "offer": f.offer, "send": f.send, "give back": f.giveBack, "cancel": f.cancel, "mine": f.mine, "reorg": f.reorg,
			"pool sees": f.poolSees, "builder sees": f.builderSees, "builder dies": f.builderDies, "builder begins": f.builderBegins, "pool restarts": f.poolRestarts,
		}
		often := []string{"submit", "offer", "send", "mine", "reorg", "pool sees", "builder sees"}
		draw := rapid.SampledFrom(slices.Concat(often, slices.Sorted(maps.Keys(actions))))
		for range 500 {
			name, b := draw.Draw(t, "what"), f.builders[rapid.IntRange(0, len(f.builders)-1).Draw(t, "builder")]
			if !b.away || name == "builder begins" || name == "pool restarts" {
				actions[name](t, b)
			}
			f.check(t)
		}
	})
}

// forks is a chain, a pool, and builders that follow it.
type forks struct {
	node     *Node
	chain    []forkBlock // canonical
	seen     []forkBlock // by the pool
	made     byte        // blocks
	builders []*forkBuilder
	ops      map[common.Hash]*pool.Operation
	sent     [3]uint64 // operations of each account
}

type forkBlock struct {
	block
	txs []*forkTx
}

type forkTx struct {
	hash common.Hash
	ops  []common.Hash
	dead bool // a cancellation took its nonce
}

type forkBuilder struct {
	name    string
	txs     []*forkTx   // in the order of their nonces
	view    []forkBlock // of the chain
	offered []common.Hash
	away    bool
}

var forkEntryPoint = entrypoint.Canonical(userop.V07)

func newForks() *forks {
	f := &forks{ops: make(map[common.Hash]*pool.Operation)}
	f.grow(nil)
	for i := range 3 {
		f.builders = append(f.builders, &forkBuilder{name: common.Address{byte(i + 1)}.Hex(), view: f.chain})
	}
	f.begin(nil)
	for _, b := range f.builders {
		_ = f.node.desk.Resume(context.Background(), b.name, f.allOf(b), 2000)
	}
	return f
}

// grow adds a block to the chain.
func (f *forks) grow(txs []*forkTx) {
	f.made++
	f.chain = append(slices.Clone(f.chain), forkBlock{block{uint64(100 + len(f.chain)), common.Hash{0xb, f.made}}, txs})
}

// blockOf returns the block that has mined a transaction.
func blockOf(chain []forkBlock, tx *forkTx) common.Hash {
	for _, b := range chain {
		if slices.Contains(b.txs, tx) {
			return b.hash
		}
	}
	return common.Hash{}
}

func (f *forks) isMined(chain []forkBlock, op common.Hash) bool {
	return slices.ContainsFunc(chain, func(b forkBlock) bool {
		return slices.ContainsFunc(b.txs, func(tx *forkTx) bool { return slices.Contains(tx.ops, op) })
	})
}

// carries is what a builder's journal says.
func (f *forks) carries(b *forkBuilder) (live, mined []common.Hash) {
	for _, tx := range b.txs {
		switch {
		case tx.dead:
		case blockOf(b.view, tx) == (common.Hash{}):
			live = append(live, tx.ops...)
		default:
			mined = append(mined, tx.ops...)
		}
	}
	return live, mined
}

func (f *forks) allOf(b *forkBuilder) []common.Hash {
	live, mined := f.carries(b)
	return append(live, mined...)
}

// begin starts a life of the pool on what the last one kept.
func (f *forks) begin(kept []*pool.Operation) {
	config := Config{EntryPoints: []entrypoint.EntryPoint{forkEntryPoint}, InFlight: func(_ context.Context, key common.Address) (live, mined []common.Hash, err error) {
		i := slices.IndexFunc(f.builders, func(b *forkBuilder) bool { return b.name == key.Hex() })
		live, mined = f.carries(f.builders[i])
		return live, mined, nil
	}}
	last := f.node
	n := &Node{config: config, log: slog.New(slog.DiscardHandler), sink: func(event.Event) {}, books: newBooks(), carriers: newCarriers(), left: newLeft(0), history: newHistory(1000, nil)}
	n.pool = &mempool{pool: pool.New(pool.DefaultConfig()), sink: n.sink}
	n.desk = &desk{node: n, register: newRegister(&n.config)}
	f.node = n
	var gone []block
	if last != nil {
		n.history.mined, n.history.order = last.history.mined, last.history.order
		for _, b := range f.seen {
			if !slices.ContainsFunc(f.chain, func(x forkBlock) bool { return x.hash == b.hash }) {
				gone = append(gone, b.block)
			}
		}
	}
	f.head(f.chain[len(f.chain)-1])
	lost := n.unmine(gone)
	f.seen = f.chain
	for _, op := range kept { // what was mined meanwhile
		f.include(op)
	}
	f.readd(append(kept, lost...))
	n.desk.register.begin(n)
	for _, b := range f.builders {
		n.desk.register.absent[b.name] = true
	}
}

func (f *forks) head(b forkBlock) {
	f.node.head.Store(&head{header: &types.Header{Number: new(big.Int).SetUint64(b.number)}})
	f.node.carriers.forget(b.number)
	f.node.pool.look(func(p *pool.Pool) { p.Head(pool.Head{Number: b.number, Timestamp: b.number}) })
}

// include remembers where an operation is mined, if it is.
func (f *forks) include(op *pool.Operation) {
	for _, b := range f.seen {
		for _, tx := range b.txs {
			if slices.Contains(tx.ops, op.Hash) {
				f.node.included(&types.Log{Address: forkEntryPoint.Address, BlockNumber: b.number, BlockHash: b.hash, TxHash: tx.hash},
					entrypoint.UserOperationEvent{UserOpHash: op.Hash}, op)
			}
		}
	}
}

// readd puts operations back that are still valid.
func (f *forks) readd(ops []*pool.Operation) {
	slices.SortFunc(ops, func(a, b *pool.Operation) int { return a.Op.Nonce.Cmp(&b.Op.Nonce) })
	for _, op := range ops {
		if !f.isMined(f.seen, op.Hash) {
			again := *f.ops[op.Hash]
			again.NonceAhead = again.Op.Nonce.Uint64() - f.next(op.Op.Sender)
			f.node.pool.look(func(p *pool.Pool) {
				if _, err := p.Readmit(&again); err == nil {
					f.node.toItsBuilder(p, again.Hash)
				}
			})
		}
	}
}

// next is the account's nonce, as the pool sees the chain.
func (f *forks) next(sender common.Address) (n uint64) {
	for hash, op := range f.ops {
		if op.Op.Sender == sender && f.isMined(f.seen, hash) {
			n++
		}
	}
	return n
}

func (f *forks) submit(t *rapid.T, _ *forkBuilder) {
	account := rapid.IntRange(0, len(f.sent)-1).Draw(t, "account")
	sender, nonce := common.Address{0xa, byte(account)}, f.sent[account]
	op := &pool.Operation{EntryPoint: forkEntryPoint, Hash: common.Hash{0xa, byte(account), byte(nonce)}, NonceAhead: nonce - f.next(sender), Op: &userop.UserOperation{
		Version: userop.V07, Sender: sender, Nonce: *uint256.NewInt(nonce), MaxFeePerGas: *uint256.NewInt(9), MaxPriorityFeePerGas: *uint256.NewInt(9),
	}}
	var err error
	f.node.pool.look(func(p *pool.Pool) { _, err = p.Add(op) })
	if err == nil {
		f.ops[op.Hash] = op
		f.sent[account]++
	}
}

func (f *forks) until() uint64 { return f.node.head.Load().number() + claimBlocks }

func (f *forks) offer(t *rapid.T, b *forkBuilder) {
	if len(b.offered) > 0 {
		return // a proposal is under way
	}
	q := pool.Query{Builder: b.name, EntryPoint: forkEntryPoint.Address, MaxOps: 3, UntilBlock: f.until()}
	offer, err := f.node.desk.Candidates(t.Context(), q)
	if errors.Is(err, ErrNotResumed) {
		f.resume(t, b)
		offer, err = f.node.desk.Candidates(t.Context(), q)
	}
	if err == nil {
		b.offered = hashesOf(offer.Operations)
	}
}

// send puts some of what was offered into a transaction, if it is still claimed.
func (f *forks) send(t *rapid.T, b *forkBuilder) {
	chosen := slices.DeleteFunc(slices.Clone(b.offered), func(op common.Hash) bool { return f.has(b, op) })
	if len(chosen) == 0 {
		return
	}
	chosen = chosen[:rapid.IntRange(1, len(chosen)).Draw(t, "size")]
	refused, err := f.node.desk.ExtendClaim(t.Context(), b.name, chosen, f.until())
	if err == nil && len(refused) > 0 {
		refused, err = f.node.desk.Claim(t.Context(), b.name, refused, f.until())
	}
	if err == nil && len(refused) == 0 {
		b.txs = append(b.txs, &forkTx{hash: common.Hash{0xf, b.name[3], byte(len(b.txs))}, ops: chosen})
	}
	f.release(t, b, b.offered)
	b.offered = nil
}

// has: the operation is in a transaction of the builder that may be mined or is, as far as it knows.
func (f *forks) has(b *forkBuilder, op common.Hash) bool {
	return slices.ContainsFunc(b.txs, func(tx *forkTx) bool { return !tx.dead && slices.Contains(tx.ops, op) })
}

func (f *forks) release(t *rapid.T, b *forkBuilder, ops []common.Hash) {
	_ = f.node.desk.Release(t.Context(), b.name, slices.DeleteFunc(slices.Clone(ops), func(op common.Hash) bool { return f.has(b, op) }))
}

func (f *forks) giveBack(t *rapid.T, b *forkBuilder) {
	f.release(t, b, b.offered)
	b.offered = nil
}

// first returns the builder's transaction that is next to be mined.
func (f *forks) first(b *forkBuilder) *forkTx {
	for _, tx := range b.txs {
		if !tx.dead && blockOf(f.chain, tx) == (common.Hash{}) {
			return tx
		}
	}
	return nil
}

// cancel has another transaction use a nonce.
func (f *forks) cancel(t *rapid.T, b *forkBuilder) {
	f.builderSees(t, b)
	if tx := f.first(b); tx != nil {
		tx.dead = true
		f.release(t, b, tx.ops)
	}
}

// mine makes a block of some builders' transactions, as far as the accounts' nonces allow.
func (f *forks) mine(t *rapid.T, _ *forkBuilder) {
	var txs []*forkTx
	parent := f.chain
	for _, b := range f.builders {
		if tx := f.first(b); tx != nil && rapid.Bool().Draw(t, "mined") && f.fits(txs, tx) {
			txs = append(txs, tx)
		}
	}
	f.chain = parent
	f.grow(txs)
}

// fits: each operation of the transaction has the nonce that is next after the chain and those before it.
func (f *forks) fits(before []*forkTx, tx *forkTx) bool {
	chain := append(slices.Clone(f.chain), forkBlock{txs: append(slices.Clone(before), tx)})
	for _, op := range tx.ops {
		for nonce := range op[2] {
			if !f.isMined(chain, common.Hash{op[0], op[1], nonce}) {
				return false
			}
		}
	}
	return true
}

func (f *forks) reorg(t *rapid.T, b *forkBuilder) {
	depth := rapid.IntRange(1, 4).Draw(t, "depth")
	f.chain = slices.Clone(f.chain[:max(1, len(f.chain)-depth)])
	f.mine(t, b)
}

// poolSees has the pool follow the chain, as takeIn does.
func (f *forks) poolSees(*rapid.T, *forkBuilder) {
	var gone []block
	for _, b := range f.seen {
		if !slices.ContainsFunc(f.chain, func(x forkBlock) bool { return x.hash == b.hash }) {
			gone = append(gone, b.block)
		}
	}
	lost := f.node.unmine(gone)
	kept := len(f.seen) - len(gone)
	for i := kept; i < len(f.chain); i++ {
		b := f.chain[i]
		f.seen = f.chain[:i+1]
		for _, tx := range b.txs {
			for _, hash := range tx.ops {
				f.minedInPool(b, tx, hash)
			}
		}
		f.head(b)
		f.readd(lost)
		lost = nil
	}
}

func (f *forks) minedInPool(b forkBlock, tx *forkTx, hash common.Hash) {
	op := f.ops[hash]
	var ours *pool.Operation
	f.node.pool.do(func(p *pool.Pool) []pool.Removed {
		ours = p.Get(hash)
		return p.Mined(pool.Inclusion{EntryPoint: forkEntryPoint.Address, Sender: op.Op.Sender, Nonce: op.Op.Nonce, Hash: hash, Block: b.number})
	})
	f.node.included(&types.Log{Address: forkEntryPoint.Address, BlockNumber: b.number, BlockHash: b.hash, TxHash: tx.hash},
		entrypoint.UserOperationEvent{UserOpHash: hash}, ours)
}

// builderSees has a builder follow the chain: what has left it waits again, and all that waits is claimed.
func (f *forks) builderSees(t *rapid.T, b *forkBuilder) {
	before := b.view
	b.view = f.chain
	for _, tx := range b.txs {
		if was := blockOf(before, tx); was != (common.Hash{}) && was != blockOf(b.view, tx) {
			_ = f.node.desk.Revive(t.Context(), b.name, tx.ops, f.until())
		}
	}
	w := &worker{node: f.node, builder: b.name}
	f.node.port = f.node.desk
	live, _ := f.carries(b)
	_ = w.present(t.Context(), live, f.allOf(b), f.until())
}

// builderDies: it says nothing.
func (f *forks) builderDies(_ *rapid.T, b *forkBuilder) { b.away, b.offered = true, nil }

// builderBegins: it runs, maybe once more.
func (f *forks) builderBegins(t *rapid.T, b *forkBuilder) { f.resume(t, b) }

// resume begins a builder, from its journal.
func (f *forks) resume(t *rapid.T, b *forkBuilder) {
	b.away, b.offered = false, nil
	if err := f.node.desk.Resume(t.Context(), b.name, f.allOf(b), f.until()); err != nil {
		t.Fatal(err)
	}
}

// poolRestarts begins the pool anew. Some builders come at once; the journals of the others are read.
func (f *forks) poolRestarts(t *rapid.T, _ *forkBuilder) {
	var kept []*pool.Operation
	f.node.pool.look(func(p *pool.Pool) { kept = p.Dump(forkEntryPoint.Address) })
	f.begin(kept)
	for _, b := range f.builders {
		if !b.away && rapid.Bool().Draw(t, "comes at once") {
			offered := b.offered
			f.resume(t, b)
			b.offered = offered // its proposal goes on
		}
	}
	r := f.node.desk.register
	r.begun = time.Now().Add(-2 * buildersGrace)
	if err := r.complete(t.Context(), f.node); err != nil {
		t.Fatal(err)
	}
}

// check looks at the chain, and at all that may be mined still.
func (f *forks) check(t *rapid.T) {
	owner := make(map[common.Hash]*forkBuilder)
	for _, b := range f.builders {
		for _, tx := range b.txs {
			for _, op := range tx.ops {
				if other := owner[op]; !tx.dead && other != nil && other != b {
					t.Fatalf("operation %s is in transactions of %s and %s", op, other.name, b.name)
				}
				if !tx.dead {
					owner[op] = b
				}
			}
		}
	}
}
