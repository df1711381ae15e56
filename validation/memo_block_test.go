package validation_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/evm"
	"baler/rejection"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
)

// What a result depends on beside the state.
func TestMemoAndTheBlock(t *testing.T) {
	f := newFixture(t, validation.Config{})
	ep := entrypoint.Canonical(userop.V07)
	a := f.deployed(userop.V07, 1)
	start := f.head().Time
	op := f.sign(f.sponsored(f.op(a), start+10_000, start-1))
	first, err := f.validate(op)
	if err != nil {
		t.Fatal(err)
	}
	next := evm.AfterHeader(f.chain.ChainConfig(), f.head())
	hits := func(opts validation.Options, name string, want uint64) error {
		t.Helper()
		before := f.v.MemoStats().Hits
		_, err := f.v.Validate(t.Context(), f.head(), ep, op, opts)
		if have := f.v.MemoStats().Hits - before; have != want {
			t.Errorf("%s: have %d hits, want %d", name, have, want)
		}
		return err
	}
	if err := hits(validation.Options{}, "the same block", 1); err != nil {
		t.Error(err)
	}
	late := next
	late.Time = start + 10_001
	refusedAs(t, hits(validation.Options{Block: &late}, "expired", 0), rejection.OutOfTimeRange, "AA32")
	late.Time = start + 9_990
	refusedAs(t, hits(validation.Options{Block: &late}, "soon expired", 0), rejection.OutOfTimeRange, "expires too soon")
	early := next
	early.Time = start - 2
	refusedAs(t, hits(validation.Options{Block: &early}, "not due", 0), rejection.OutOfTimeRange, "AA32")

	// The coinbase is warm: an operation that touches it uses less gas.
	foreign := next
	foreign.Coinbase = common.Address{0: 0x99}
	if err := hits(validation.Options{Block: &foreign}, "a coinbase that it does not touch", 1); err != nil {
		t.Error(err)
	}
	ours := next
	ours.Coinbase = *op.Paymaster
	if err := hits(validation.Options{Block: &ours}, "a coinbase that it touches", 0); err != nil {
		t.Error(err)
	}

	changed := *first
	changed.CodeHashes = slices.Clone(first.CodeHashes)
	changed.CodeHashes[slices.IndexFunc(changed.CodeHashes, func(h erc7562.CodeHash) bool { return h.Account == op.Sender })].Hash = common.Hash{1}
	if err := hits(validation.Options{First: first}, "same code as at first", 0); err != nil { // the last run had another coinbase
		t.Error(err)
	}
	if err := hits(validation.Options{First: first}, "same code as at first, again", 1); err != nil {
		t.Error(err)
	}
	if err := hits(validation.Options{First: &changed}, "other code than at first", 0); err == nil {
		t.Error("other code than at first: have it accepted")
	}
	if _, err := f.v.Validate(t.Context(), f.head(), ep, op, validation.Options{NonceAhead: 1}); err == nil {
		t.Error("one ahead: have it accepted")
	}
	// The signature is no part of an operation's hash, but of its identity here.
	forged := *op
	forged.Signature = slices.Clone(op.Signature)
	forged.Signature[3] ^= 1
	if _, err := f.validate(&forged); err == nil {
		t.Error("another signature: have it accepted")
	}
}

// What is mined need not be remembered. A reorg may bring it back: then it is run again.
func TestAMinedOperationIsForgotten(t *testing.T) {
	f := newFixture(t, validation.Config{})
	op := f.sign(f.op(f.deployed(userop.V08, 1)))
	for _, want := range []validation.MemoStats{{Misses: 1, Kept: 1}, {Misses: 1, Hits: 1, Kept: 1}, {Misses: 2, Hits: 1, Kept: 1}} {
		if want.Misses == 2 {
			f.v.Settled(entrypoint.Canonical(userop.V08), op)
			if kept := f.v.MemoStats().Kept; kept != 0 {
				t.Errorf("have %d operations remembered, want none", kept)
			}
		}
		if _, err := f.validate(op); err != nil {
			t.Fatal(err)
		}
		if have := f.v.MemoStats(); have != want {
			t.Fatalf("have %+v, want %+v", have, want)
		}
	}
}

// A base fee that has risen over what an operation pays ends its memo.
func TestMemoAndTheBaseFee(t *testing.T) {
	f := newFixture(t, validation.Config{})
	a := f.deployed(userop.V07, 1)
	op := f.op(a)
	base := evm.AfterHeader(f.chain.ChainConfig(), f.head()).BaseFee
	op.MaxFeePerGas, op.MaxPriorityFeePerGas = *uint256.MustFromBig(base), uint256.Int{}
	f.sign(op)
	if _, err := f.validate(op); err != nil {
		t.Fatal(err)
	}
	// The same state under a header whose block was full: the next base fee is an eighth higher.
	full := types.CopyHeader(f.head())
	full.GasUsed = full.GasLimit
	view := f.v.Source().ViewAt(full.Hash(), full)
	known := f.v.Source().View(f.head())
	if view == known {
		t.Fatal("have one view for two headers")
	}
	node := &relabelledNode{Node: f.node, from: full.Hash(), to: f.head().Hash()}
	v := validation.New(evm.NewSource(node, f.chain.ChainConfig(), evm.Options{}), validation.Config{SampleEvery: -1})
	ep := entrypoint.Canonical(userop.V07)
	if _, err := v.Validate(t.Context(), f.head(), ep, op, validation.Options{}); err != nil {
		t.Fatal(err)
	}
	_, err := v.Validate(t.Context(), full, ep, op, validation.Options{})
	refusedAs(t, err, rejection.InvalidFields, "maxFeePerGas")
}

// relabelledNode answers for one block hash with the state of another.
type relabelledNode struct {
	evm.Node
	from, to common.Hash
}

func (n *relabelledNode) BatchCallContext(ctx context.Context, batch []rpc.BatchElem) error {
	raw := make([]rpc.BatchElem, len(batch))
	for i, elem := range batch {
		raw[i] = elem
		raw[i].Args = slices.Clone(elem.Args)
		for j, arg := range raw[i].Args {
			if fmt.Sprintf("%v", arg) == fmt.Sprintf("{%s}", n.from) {
				raw[i].Args[j] = map[string]any{"blockHash": n.to}
			}
		}
	}
	err := n.Node.BatchCallContext(ctx, raw)
	for i := range raw {
		batch[i].Error = raw[i].Error
	}
	return err
}

// A paymaster's deposit goes down with every operation it pays for. As long as it is enough, its other operations stay valid
// without being run again; and the result says what is left.
func TestMemoOutlivesAPaymastersPayments(t *testing.T) {
	eachVersion(t, func(t *testing.T, f *fixture, v userop.Version) {
		payer, waiting := f.deployed(v, 1), f.deployed(v, 2)
		paid := f.sign(f.sponsored(f.op(payer), 0, 0))
		op := f.sign(f.sponsored(f.op(waiting), 0, 0))
		before, err := f.validate(op)
		if err != nil {
			t.Fatal(err)
		}
		f.sendBundle(f.bundle(v, paid))
		stats := f.v.MemoStats()
		after, err := f.validate(op)
		if err != nil {
			t.Fatal(err)
		}
		if f.v.MemoStats().Hits != stats.Hits+1 {
			t.Errorf("have %+v after %+v, want a hit", f.v.MemoStats(), stats)
		}
		if !after.Paymaster.Deposit.Lt(&before.Paymaster.Deposit) {
			t.Errorf("deposit: have %s after %s, want less", after.Paymaster.Deposit.Dec(), before.Paymaster.Deposit.Dec())
		}
		slot := entrypoint.DepositSlot(v, *op.Paymaster)
		have, _ := after.ReadSet.Slot(entrypoint.Canonical(v).Address, slot)
		if entrypoint.ParseDepositSlots(v, have, common.Hash{}).Deposit != after.Paymaster.Deposit {
			t.Errorf("read set: have deposit word %s, want that of %s wei", have, after.Paymaster.Deposit.Dec())
		}
	})
}
