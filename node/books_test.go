package node

import (
	"context"
	"errors"
	"log/slog"
	"math/big"
	"testing"

	"baler/bundlesender"
	"baler/chain"
	"baler/entrypoint"
	"baler/event"
	"baler/lease"
	"baler/profit"
	"baler/store"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

// operationEvent is the log of an operation that was charged for its gas at 2 wei.
func operationEvent(ep common.Address, gasUsed int64) *types.Log {
	log := &types.Log{Address: ep, Topics: []common.Hash{entrypoint.TopicUserOperationEvent, {1}, {2}, {3}}}
	for _, word := range []int64{0, 1, 2 * gasUsed, gasUsed} { // nonce, success, actualGasCost, actualGasUsed
		log.Data = append(log.Data, common.LeftPadBytes(big.NewInt(word).Bytes(), 32)...)
	}
	return log
}

// A receipt of 100 gas at 3 wei, 50 wei for data on another chain, and 7 for the chain's operator.
func TestTheBooksReadReceipts(t *testing.T) {
	ep := entrypoint.Canonical(userop.V07)
	n := &Node{config: Config{EntryPoints: []entrypoint.EntryPoint{ep}}}
	receipt := &chain.Receipt{L1Fee: *uint256.NewInt(50), OperatorFee: *uint256.NewInt(7)}
	receipt.Status, receipt.GasUsed, receipt.EffectiveGasPrice, receipt.BlockNumber = types.ReceiptStatusSuccessful, 100, big.NewInt(3), big.NewInt(7)
	receipt.Logs = []*types.Log{operationEvent(ep.Address, 200), operationEvent(common.Address{0xee}, 1_000_000), operationEvent(ep.Address, 30)}
	e := n.entryOf(common.Address{9}, settledTx{kind: bundlesender.KindBundle, operations: 2, gasLimit: 120}, receipt)
	if e.Kind != profit.Bundle || e.Cost.Uint64() != 357 || e.L1Fee.Uint64() != 50 || e.Earned.Uint64() != 460 || e.ChargedGas != 230 || e.GasLimit != 120 {
		t.Errorf("have %+v, want 460 wei earned for 230 gas, and 357 paid", e)
	}
	if have := e.Profit(); have.Cmp(big.NewInt(103)) != 0 {
		t.Errorf("have profit %v, want 103", have)
	}
	receipt.Status, receipt.Logs = types.ReceiptStatusFailed, nil
	if e := n.entryOf(common.Address{9}, settledTx{kind: bundlesender.KindBundle}, receipt); e.Kind != profit.Reverted || e.Profit().Cmp(big.NewInt(-357)) != 0 {
		t.Errorf("reverted: have %v with profit %v, want -357", e.Kind, e.Profit())
	}
	if e := n.entryOf(common.Address{9}, settledTx{kind: bundlesender.KindCancellation}, receipt); e.Kind != profit.Cancellation {
		t.Errorf("cancellation: have %v", e.Kind)
	}
}

// The size that operations are asked to pay for is that of the last 50 blocks' bundles.
func TestTheExpectedBundleSizeFollowsTheBlocks(t *testing.T) {
	b := newBooks()
	head := func(number int64) { b.seen(&types.Header{Number: big.NewInt(number), Time: uint64(number)}) }
	head(100)
	b.add(&profit.Entry{Transaction: common.Hash{1}, Block: 100, Kind: profit.Bundle, Operations: 9}, 100)
	head(101)
	if estimate, accept := b.estimateSize(), b.acceptSize(); estimate != 9 || accept != 18 {
		t.Errorf("have %d for estimates and %d for acceptance, want 9 and 18", estimate, accept)
	}
	head(151)
	if estimate := b.estimateSize(); estimate != 0 {
		t.Errorf("after 51 blocks without a bundle: have %d, want none expected", estimate)
	}
}

// A node that is behind has no receipt of what was mined: that is no reason to leave it out of the books.
func TestWhatANodeHasNoReceiptOfIsAskedForAgain(t *testing.T) {
	hash := func(n byte) common.Hash { return common.Hash{n} }
	mined := []bundlesender.Attempt{{ID: 1, Hash: hash(1), MinedHash: hash(11)}, {ID: 2, Hash: hash(2), MinedHash: hash(12)}, {ID: 3, Hash: hash(3), MinedHash: hash(13)}}
	in := func(block common.Hash) *chain.Receipt {
		return &chain.Receipt{Receipt: types.Receipt{BlockHash: block}}
	}
	found, left := receiptsOf(mined, map[common.Hash]*chain.Receipt{hash(1): in(hash(11)), hash(2): in(hash(99))})
	if len(found) != 1 || found[0].ID != 1 || len(left) != 1 || left[0].ID != 3 {
		t.Errorf("have found %+v and left %+v, want the first, and the third", found, left)
	}
}

// memoryTable is a store's table that outlives it.
type memoryTable map[string][]byte

func (m memoryTable) Load(_ context.Context, visit func(string, []byte)) error {
	for key, value := range m {
		visit(key, value)
	}
	return nil
}

func (m memoryTable) Commit(changes []lease.Change) error {
	for _, c := range changes {
		if m[c.Key] = c.Value; c.Drop {
			delete(m, c.Key)
		}
	}
	return nil
}

// The books are the sum of the transactions in them, each once, in whatever blocks it was seen mined one after the other, and also after
// restarts.
func TestTheBooksHaveEachTransactionOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := make(memoryTable)
		meta := store.Meta{ChainID: 1}
		live := func() (n *Node, stop func()) {
			kept, err := store.OpenTable(context.Background(), table, meta, store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() { ended <- kept.Run(ctx) }()
			n = &Node{config: Config{Store: kept}, books: newBooks(), log: slog.New(slog.DiscardHandler)}
			n.recallBooks()
			return n, func() {
				cancel()
				if err := <-ended; err != nil {
					t.Fatal(err)
				}
			}
		}
		n, stop := live()
		defer func() { stop() }()
		want := make(map[common.Hash]int64)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			tx := common.Hash{31: byte(rapid.IntRange(1, 4).Draw(t, "transaction"))}
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				stop()
				n, stop = live()
			case 1:
				if _, struck := n.strike(tx); struck != (want[tx] != 0) {
					t.Fatalf("transaction %s: have %v struck, want %v", tx, struck, want[tx] != 0)
				}
				delete(want, tx)
			default:
				block := uint64(rapid.IntRange(1, 5).Draw(t, "block")) //nolint:gosec // small
				want[tx] = int64(rapid.IntRange(1, 1000).Draw(t, "earned"))
				n.book(&profit.Entry{
					Transaction: tx, Block: block, BlockHash: common.Hash{byte(block)}, Signer: common.Address{1}, Kind: profit.Bundle,
					Earned: *uint256.NewInt(uint64(want[tx])), //nolint:gosec // positive
				}, &head{header: &types.Header{Number: big.NewInt(9), Time: block * 50_000}})
			}
			var sum int64
			for _, earned := range want {
				sum += earned
			}
			report, err := n.Profit(context.Background(), profit.Query{Bundles: 100})
			if err != nil || report.Total.Profit().Int64() != sum || len(report.Entries) != len(want) {
				t.Fatalf("have %v wei of %d transactions (%v), want %d of %d", report.Total.Profit(), len(report.Entries), err, sum, len(want))
			}
		}
	})
}

// A pool's process that has just begun has not read its books back when a builder tells it of a transaction. It is told again when it has:
// entered into empty books, it would be lost, and the sums before it with it.
func TestABuilderTellsAPoolThatHasNotReadItsBooksBackAgain(t *testing.T) {
	t.Parallel()
	kept := runStore(t)
	life := func() *Node {
		n, _ := poolOf(Config{Store: kept}, 0)
		n.own, n.told = newOwnGas(), func(event.Event) {}
		n.desk.register = newRegister(&n.config)
		return n
	}
	mined := func(n byte) []event.Event {
		return []event.Event{event.BundleMined{Tx: common.Hash{n}, Entry: profit.Entry{
			Transaction: common.Hash{n}, Block: 5, BlockHash: common.Hash{5}, Kind: profit.Bundle, Earned: *uint256.NewInt(uint64(n)),
		}}}
	}
	var n *Node
	for i := byte(1); i <= 2; i++ {
		n = life()
		if err := n.desk.Tell(t.Context(), mined(i)); !errors.Is(err, ErrUnreachable) {
			t.Fatalf("before it has begun: have %v, want %v", err, ErrUnreachable)
		}
		n.recallBooks()
		n.desk.register.begin(n)
		if err := n.desk.Tell(t.Context(), mined(i)); err != nil {
			t.Fatal(err)
		}
	}
	if have := n.books.books.Report(profit.Query{}).Total; have.Bundles != 2 || have.Earned.Uint64() != 1+2 {
		t.Errorf("have %d bundles that earned %s wei, want 2 and 3", have.Bundles, &have.Earned)
	}
}

// filling is a table that takes no more when it is full.
type filling struct {
	memoryTable
	full bool
}

var errFull = errors.New("no space left")

func (f *filling) Commit(changes []lease.Change) error {
	if f.full {
		return errFull
	}
	return f.memoryTable.Commit(changes)
}

// A builder forgets what the pool has heard: the pool has heard it when it is durable. What was told to a process that died before that is
// told to the next one.
func TestABuildersTransactionIsHeardWhenItIsDurable(t *testing.T) {
	t.Parallel()
	table := make(memoryTable)
	for i, life := range []struct {
		full bool
		want error
	}{{true, errFull}, {false, nil}, {false, nil}} { // told twice: it is in the books once
		fills := &filling{memoryTable: table}
		kept, err := store.OpenTable(t.Context(), fills, store.Meta{ChainID: 1}, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- kept.Run(ctx) }()
		n, _ := poolOf(Config{Store: kept}, 0)
		n.own, n.told = newOwnGas(), func(event.Event) {}
		n.recallBooks()
		fills.full = life.full
		mined := event.BundleMined{Tx: common.Hash{1}, Entry: profit.Entry{Transaction: common.Hash{1}, Kind: profit.Bundle}}
		if err := n.desk.Tell(t.Context(), []event.Event{mined}); !errors.Is(err, life.want) {
			t.Errorf("life %d: have %v, want %v", i, err, life.want)
		}
		if have := n.books.books.Report(profit.Query{}).Total.Bundles; have != 1 {
			t.Errorf("life %d: have %d bundles in the books, want 1", i, have)
		}
		stop()
		if err := <-ended; !errors.Is(err, life.want) {
			t.Errorf("life %d ended with %v, want %v", i, err, life.want)
		}
	}
}

// The books of the pool's process follow what builders in other processes tell of their transactions, in the order in which they tell
// it. What else they ask of the pool may come later: after a time in which it was not reached, all at once.
func TestABuildersTransactionIsInTheBooksAsItWasToldLast(t *testing.T) {
	n, _ := poolOf(Config{}, 0)
	n.own, n.told = newOwnGas(), func(event.Event) {}
	tx := common.Hash{1}
	in := func(block byte) event.Event {
		return event.BundleMined{Tx: tx, Entry: profit.Entry{Transaction: tx, Block: uint64(block), BlockHash: common.Hash{block}, Kind: profit.Bundle}}
	}
	for i, step := range []struct {
		told event.Event
		want common.Hash // block; zero: it is not in the books
	}{{in(5), common.Hash{5}}, {event.BundleUnmined{Tx: tx, Block: 5}, common.Hash{}}, {in(6), common.Hash{6}}, {in(6), common.Hash{6}}} {
		if err := n.desk.Tell(t.Context(), []event.Event{step.told}); err != nil {
			t.Fatal(err)
		}
		if have := n.books.books.Report(profit.Query{Bundles: 9}).Total.Bundles; (have == 1) != (step.want != common.Hash{}) || have == 1 && !n.books.has(tx, step.want) {
			t.Errorf("step %d: have %d bundles, want it in block %s", i, have, step.want)
		}
	}
	if err := n.desk.Revive(t.Context(), "builder", []common.Hash{{7}}, 99); err != nil {
		t.Fatal(err)
	}
	if !n.books.has(tx, common.Hash{6}) {
		t.Error("what the builder had asked for when the block before was gone struck the transaction in its new block")
	}
}
