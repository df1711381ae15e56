package devchain

import (
	"context"
	"errors"
	"math/big"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus/misc/eip1559"
	"github.com/ethereum/go-ethereum/core/types"
)

var somebody = common.HexToAddress("0x5000000000000000000000000000000000000005")

func TestManualMiningMinesOnlyWhenAsked(t *testing.T) {
	c := startChain(t, Config{Mining: Manual})
	hash := c.send(tx{key: Key(0), to: somebody, value: big.NewInt(7)})
	if n := c.Head().Number.Uint64(); n != 0 || !c.InPool(hash) {
		t.Fatalf("before Mine: head %d, in pool %v; want 0, true", n, c.InPool(hash))
	}
	c.SetAutoMine(true) // there is none in this mode
	if c.AutoMine() {
		t.Error("manual mode mines by itself")
	}
	block := c.mine(3)
	if block.NumberU64() != 3 {
		t.Errorf("have head %d, want 3", block.NumberU64())
	}
	receipt := c.receipt(hash)
	if receipt == nil || receipt.BlockNumber.Uint64() != 1 || receipt.Status != 1 {
		t.Fatalf("have receipt %+v, want success in block 1", receipt)
	}
	if c.InPool(hash) {
		t.Error("a mined transaction is still in the pool")
	}
}

func TestOnDemandMinesEachTransaction(t *testing.T) {
	c := startChain(t, Config{})
	heads := c.heads()
	for i := range uint64(3) {
		hash := c.send(tx{key: Key(0), nonce: i, to: somebody})
		for c.receipt(hash) == nil {
			c.next(heads)
		}
	}
	if n := c.Head().Number.Uint64(); n != 3 {
		t.Errorf("have %d blocks for 3 transactions sent one after the other, want 3", n)
	}
}

// A transaction that can be in the pool but not in a block must not make the builder try in a circle: after it was
// refused, nothing is tried until something happens.
func TestOnDemandDoesNotSpinOnARefusedTransaction(t *testing.T) {
	c := startChain(t, Config{})
	heads := c.heads()
	c.Hold(func(tx *types.Transaction) bool { return *tx.To() == somebody })
	held := c.send(tx{key: Key(0), to: somebody})
	// Two blocks of another account: the refused ones were offered and passed over in each of them.
	for i := range uint64(2) {
		hash := c.send(tx{key: Key(1), nonce: i, to: common.Address{8}})
		for c.receipt(hash) == nil {
			c.next(heads)
		}
	}
	if !c.InPool(held) || c.receipt(held) != nil {
		t.Fatal("the held transaction left the pool")
	}
	// Let the builder come to rest: taking mu twice with an empty wake means that no attempt is under way or due.
	rest := func() uint64 {
		for {
			c.mu.Lock()
			idle := len(c.wake) == 0
			n := c.attempts.Load()
			c.mu.Unlock()
			if idle {
				return n
			}
			runtime.Gosched()
		}
	}
	before := rest()
	if limit := uint64(12); before > limit {
		t.Errorf("have %d attempts for 3 transactions and 2 blocks, want at most %d", before, limit)
	}
	for range 1000 {
		runtime.Gosched()
	}
	if after := rest(); after > before+1 {
		t.Errorf("have %d attempts at rest, want no more than %d", after, before+1)
	}
	c.Release()
	for c.receipt(held) == nil {
		c.next(heads)
	}
}

func TestIntervalMinesEmptyBlocksAndStopsWhenPaused(t *testing.T) {
	c := startChain(t, Config{Mining: Interval, BlockTime: 5 * time.Millisecond})
	heads := c.heads()
	first := c.next(heads).Number.Uint64()
	for want := first + 1; want < first+5; want++ {
		if have := c.next(heads).Number.Uint64(); have != want {
			t.Fatalf("have head %d, want %d", have, want)
		}
	}
	c.SetAutoMine(false)
	paused := c.Head().Number.Uint64()
	c.mine(1)
	if have := c.Head().Number.Uint64(); have != paused+1 {
		t.Errorf("while paused: have head %d after Mine(1), want %d", have, paused+1)
	}
	c.SetAutoMine(true)
	for c.next(heads).Number.Uint64() < paused+3 {
	}
}

func TestSetBaseFeeIsExactForOneBlock(t *testing.T) {
	c := startChain(t, Config{Mining: Manual})
	c.mine(2)
	poor := c.send(tx{key: Key(0), to: somebody, cap: 100})
	rich := c.send(tx{key: Key(1), to: somebody, cap: 5_000})
	c.SetBaseFee(gwei(4_321))
	block := c.mine(1)
	if have := block.BaseFee(); have.Cmp(gwei(4_321)) != 0 {
		t.Fatalf("have base fee %v, want %v", have, gwei(4_321))
	}
	if c.receipt(poor) != nil || !c.InPool(poor) {
		t.Error("a transaction under the base fee was mined or lost")
	}
	receipt := c.receipt(rich)
	if receipt == nil || receipt.EffectiveGasPrice.Cmp(gwei(4_322)) != 0 {
		t.Errorf("have receipt %+v, want effective gas price %v", receipt, gwei(4_322))
	}
	next := c.mine(1)
	if want := eip1559.CalcBaseFee(c.ChainConfig(), block.Header()); next.BaseFee().Cmp(want) != 0 {
		t.Errorf("the block after: have base fee %v, want EIP-1559's %v", next.BaseFee(), want)
	}
	history, err := c.eth.FeeHistory(t.Context(), 2, nil, []float64{50})
	if err != nil {
		t.Fatal(err)
	}
	if have := history.BaseFee[0]; have.Cmp(gwei(4_321)) != 0 {
		t.Errorf("eth_feeHistory: have base fee %v, want %v", have, gwei(4_321))
	}
	// Down to the floor: the poor one goes.
	c.SetBaseFee(big.NewInt(7))
	c.mine(1)
	if c.receipt(poor) == nil {
		t.Error("the base fee fell and the transaction was not mined")
	}
}

func TestReorgReturnsTransactionsToThePool(t *testing.T) {
	c := startChain(t, Config{})
	c.SetAutoMine(false)
	c.mine(2)
	heads := c.heads()
	first := c.send(tx{key: Key(0), to: somebody, value: big.NewInt(5)})
	old := c.mine(1)
	second := c.send(tx{key: Key(0), nonce: 1, to: somebody, value: big.NewInt(6)})
	c.mine(2)
	c.SetAutoMine(true)

	if err := c.Reorg(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if c.AutoMine() {
		t.Error("automatic mining goes on after Reorg")
	}
	if n := c.Head().Number.Uint64(); n != 2 {
		t.Fatalf("have head %d, want 2", n)
	}
	for _, hash := range []common.Hash{first, second} {
		if c.receipt(hash) != nil || !c.InPool(hash) {
			t.Errorf("%v: have receipt %v, in pool %v; want none, true", hash, c.receipt(hash), c.InPool(hash))
		}
	}
	balance, err := c.eth.BalanceAt(t.Context(), somebody, nil)
	if err != nil || balance.Sign() != 0 {
		t.Errorf("after the reorg: have balance %v (%v), want 0", balance, err)
	}
	c.Hold(func(tx *types.Transaction) bool { return tx.Hash() == second })
	fresh := c.mine(1)
	if fresh.Hash() == old.Hash() || fresh.NumberU64() != old.NumberU64() {
		t.Errorf("new branch: have block %d %v, want another block %d than %v", fresh.NumberU64(), fresh.Hash(), old.NumberU64(), old.Hash())
	}
	if receipt := c.receipt(first); receipt == nil || receipt.BlockHash != fresh.Hash() {
		t.Errorf("have receipt %+v, want it in the new block %v", receipt, fresh.Hash())
	}
	if c.receipt(second) != nil || !c.InPool(second) {
		t.Error("the held transaction was mined or lost")
	}
	// The old block still can be read by its hash, with its state.
	if _, err := c.eth.BalanceAtHash(t.Context(), somebody, old.Hash()); err != nil {
		t.Errorf("state of the orphan: %v", err)
	}
	var numbers []uint64
	for range 5 {
		numbers = append(numbers, c.next(heads).Number.Uint64())
	}
	if want := []uint64{3, 4, 5, 2, 3}; !slices.Equal(numbers, want) {
		t.Errorf("newHeads: have %v, want %v", numbers, want)
	}
}

func TestReplaceBranchSwitchesInOneStep(t *testing.T) {
	c := startChain(t, Config{Mining: Manual})
	c.mine(2)
	again := c.send(tx{key: Key(0), to: somebody, value: big.NewInt(5)})
	old := c.mine(1)
	lost := c.send(tx{key: Key(1), to: somebody, value: big.NewInt(6)})
	c.mine(1)
	c.Hold(func(tx *types.Transaction) bool { return tx.Hash() == lost })
	heads := c.heads()

	c.SetBaseFee(gwei(3))
	blocks, err := c.ReplaceBranch(t.Context(), 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	head := c.next(heads)
	if have := c.Head().Hash(); have != blocks[2].Hash() || head.Hash() != have || head.Number.Uint64() != 5 {
		t.Errorf("have head %v, first head announced %d %v; want block 5 %v", have, head.Number, head.Hash(), blocks[2].Hash())
	}
	if blocks[0].BaseFee().Cmp(gwei(3)) != 0 {
		t.Errorf("have base fee %v in the first block of the branch, want %v", blocks[0].BaseFee(), gwei(3))
	}
	if want := eip1559.CalcBaseFee(c.ChainConfig(), blocks[0].Header()); blocks[1].BaseFee().Cmp(want) != 0 {
		t.Errorf("have base fee %v in the second block of the branch, want EIP-1559's %v", blocks[1].BaseFee(), want)
	}
	if receipt := c.receipt(again); receipt == nil || receipt.BlockHash != blocks[0].Hash() || blocks[0].Hash() == old.Hash() {
		t.Errorf("have receipt %+v, want it in the first new block %v", receipt, blocks[0].Hash())
	}
	if c.receipt(lost) != nil || !c.InPool(lost) {
		t.Error("the held transaction is mined on the new branch, or lost")
	}
	for i, block := range blocks {
		byNumber, err := c.eth.HeaderByNumber(t.Context(), block.Number())
		if err != nil || byNumber.Hash() != block.Hash() {
			t.Errorf("canonical block %d: have %v (%v), want new block %d %v", block.Number(), byNumber, err, i, block.Hash())
		}
	}
	// A shorter branch may win too.
	if _, err := c.ReplaceBranch(t.Context(), 2, 1); err != nil {
		t.Fatal(err)
	}
	if have := c.Head().Number.Uint64(); have != 3 {
		t.Errorf("have head %d, want 3", have)
	}
	if header, err := c.eth.HeaderByNumber(t.Context(), big.NewInt(4)); !errors.Is(err, ethereum.NotFound) {
		t.Errorf("block 4 after a shorter branch: have %v (%v), want not found", header, err)
	}
	if _, err := c.ReplaceBranch(t.Context(), 2, 0); !errors.Is(err, ErrReorg) {
		t.Errorf("a branch of no blocks: have %v, want ErrReorg", err)
	}
}

func TestReorgRefusesWhatItCannotDo(t *testing.T) {
	c := startChain(t, Config{Mining: Manual})
	c.mine(MaxReorgDepth + 2)
	head := c.Head().Number.Uint64()
	for _, parent := range []uint64{head, head + 1, head - MaxReorgDepth - 1} {
		if err := c.Reorg(t.Context(), parent); !errors.Is(err, ErrReorg) {
			t.Errorf("Reorg(%d) at head %d: have %v, want ErrReorg", parent, head, err)
		}
	}
	if have := c.Head().Number.Uint64(); have != head {
		t.Errorf("a refused reorg moved the head from %d to %d", head, have)
	}
	if err := c.Reorg(t.Context(), head-MaxReorgDepth); err != nil {
		t.Errorf("Reorg at the greatest depth: %v", err)
	}
}

func TestDropForgetsOneTransactionOnly(t *testing.T) {
	c := startChain(t, Config{Mining: Manual})
	gone := c.sign(tx{key: Key(0), to: somebody})
	if err := c.Drop(gone.Hash()); !errors.Is(err, ErrNotInPool) {
		t.Errorf("Drop of an unknown transaction: have %v, want ErrNotInPool", err)
	}
	if err := c.eth.SendTransaction(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	after := c.send(tx{key: Key(0), nonce: 1, to: somebody})
	others := []common.Hash{
		c.send(tx{key: Key(1), to: somebody}), c.send(tx{key: Key(1), nonce: 1, to: somebody}),
		c.send(tx{key: Key(1), nonce: 2, to: somebody}),
	}
	if err := c.Drop(gone.Hash()); err != nil {
		t.Fatal(err)
	}
	block := c.mine(1)
	if have := len(block.Transactions()); have != len(others) {
		t.Errorf("have %d transactions in the block, want %d", have, len(others))
	}
	for _, hash := range others {
		if c.receipt(hash) == nil {
			t.Errorf("%v was not mined", hash)
		}
	}
	if c.InPool(gone.Hash()) || !c.InPool(after) {
		t.Errorf("in pool: dropped %v, its successor %v; want false, true", c.InPool(gone.Hash()), c.InPool(after))
	}
	if err := c.eth.SendTransaction(t.Context(), gone); err != nil {
		t.Fatalf("send again: %v", err)
	}
	c.mine(1)
	if c.receipt(gone.Hash()) == nil || c.receipt(after) == nil {
		t.Error("sent again, the transaction and its successor were not mined")
	}
}

func TestHoldKeepsATransactionReplaceable(t *testing.T) {
	c := startChain(t, Config{Mining: Manual})
	c.Hold(nil)
	stuck := c.send(tx{key: Key(0), to: somebody, tip: 10, cap: 100})
	c.mine(2)
	if !c.InPool(stuck) {
		t.Fatal("the held transaction left the pool")
	}
	low := c.sign(tx{key: Key(0), to: somebody, tip: 10, cap: 109})
	if err := c.eth.SendTransaction(t.Context(), low); err == nil || !strings.Contains(err.Error(), "replacement transaction underpriced") {
		t.Errorf("replacement by less than 10%%: have %v, want \"replacement transaction underpriced\"", err)
	}
	better := c.send(tx{key: Key(0), to: somebody, tip: 11, cap: 110})
	c.Release()
	c.mine(1)
	if c.receipt(better) == nil || c.receipt(stuck) != nil || c.InPool(stuck) {
		t.Error("want the replacement mined and the replaced one gone")
	}
}

func TestAdvanceTimeMovesTheNextBlock(t *testing.T) {
	c := startChain(t, Config{Mining: Manual, GenesisTime: 1_900_000_000})
	if have := c.mine(1).Time(); have != 1_900_000_001 {
		t.Errorf("clock behind the chain: have time %d, want the parent's plus one", have)
	}
	c = startChain(t, Config{Mining: Manual})
	before := uint64(time.Now().Unix())
	c.AdvanceTime(time.Hour)
	if have := c.mine(1).Time(); have < before+3600 {
		t.Errorf("have time %d, want at least an hour after %d", have, before)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, cfg := range map[string]Config{
		"mode":       {Mining: Manual + 1},
		"gas limit":  {GasLimit: 10},
		"base fee":   {BaseFee: big.NewInt(-1)},
		"keys":       {FundedKeys: -1},
		"many keys":  {FundedKeys: maxFundedKeys + 1},
		"block time": {BlockTime: -time.Second},
		"address":    {HTTPAddr: "nowhere"},
		"port":       {HTTPAddr: "127.0.0.1:70000"},
		"alloc":      {Alloc: types.GenesisAlloc{addressOf(Key(0)): {Balance: big.NewInt(1)}}},
	} {
		if c, err := Start(t.Context(), cfg); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: have %v, want ErrConfig", name, err)
			if c != nil {
				_ = c.Close()
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, Config{}); !errors.Is(err, context.Canceled) {
		t.Errorf("start with a cancelled context: have %v", err)
	}
}

// TestCloseEndsEveryGoroutine starts and closes chains of each mode while they work and looks for what is left.
func TestCloseEndsEveryGoroutine(t *testing.T) {
	before := make(map[string]bool)
	for id := range nodeGoroutines() {
		before[id] = true
	}
	for _, mode := range []Mode{OnDemand, Interval, Manual} {
		c, err := Start(t.Context(), Config{Mining: mode, BlockTime: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Mine(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := c.Close(); err != nil {
				t.Errorf("%v: close: %v", mode, err)
			}
		}
		if _, err := c.Mine(t.Context(), 1); !errors.Is(err, errClosed) {
			t.Errorf("%v: Mine after Close: have %v, want errClosed", mode, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		var left []string
		for id, stack := range nodeGoroutines() {
			if !before[id] {
				left = append(left, stack)
			}
		}
		if len(left) == 0 {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%d goroutines left:\n%s", len(left), strings.Join(left, "\n\n"))
		}
		runtime.Gosched()
	}
}

// nodeGoroutines returns the stacks of the goroutines of nodes and chains, by the goroutine's number. geth's cache of
// transaction senders is one for the process and lives as long as it.
func nodeGoroutines() map[string]string {
	buf := make([]byte, 4<<20)
	buf = buf[:runtime.Stack(buf, true)]
	found := make(map[string]string)
	for i, stack := range strings.Split(string(buf), "\n\n") {
		ours := strings.Contains(stack, "ethereum/go-ethereum") || strings.Contains(stack, "devchain.(*Chain)")
		if i == 0 || !ours || strings.Contains(stack, "newTxSenderCacher") { // 0 is the caller
			continue
		}
		id, _, _ := strings.Cut(stack, " [")
		found[id] = stack
	}
	return found
}
