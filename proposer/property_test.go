package proposer

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"testing"

	"baler/erc7562"
	"baler/pool"
	"baler/rejection"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

// Whatever the pool and the validator say, a bundle keeps its promises, and each candidate has exactly one fate.
func TestBundleKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		req := request()
		if rapid.IntRange(0, 2).Draw(t, "tight balance") == 0 {
			req.Balance = *uint256.NewInt(rapid.Uint64Range(0, 137*2_500_000).Draw(t, "balance"))
		}
		p, err := w.proposer.Propose(w.ctx, req)
		if err != nil {
			t.Fatalf("Propose: %v", err)
		}
		w.checkFates(t, p)
		if p.Bundle == nil {
			if p.Reason == Proposed {
				t.Fatalf("no bundle, and no reason")
			}
			return
		}
		w.checkLimits(t, p.Bundle, req)
		w.checkOperations(t, p.Bundle)
		w.checkClaims(t, p)
	})
}

type world struct {
	*scene
	ctx context.Context
	ops map[common.Hash]*pool.Operation
}

func drawWorld(t *rapid.T) *world {
	w := &world{ctx: t.Context(), ops: make(map[common.Hash]*pool.Operation)}
	cfg := DefaultConfig()
	tight := func(name string) bool { return rapid.IntRange(0, 2).Draw(t, name) == 0 }
	if tight("tight gas") {
		cfg.MaxBundleGas = rapid.Uint64Range(0, 2_000_000).Draw(t, "max bundle gas")
	}
	if tight("tight size") {
		cfg.MaxBundleSize = rapid.IntRange(0, 8).Draw(t, "max bundle size")
	}
	if tight("tight bytes") {
		cfg.MaxBundleBytes = rapid.Uint64Range(0, 6000).Draw(t, "max bundle bytes")
	}
	cfg.MaxCandidates = rapid.SampledFrom([]int{100, 5, 1}).Draw(t, "max candidates")
	cfg.Packing = Packing(rapid.IntRange(0, 1).Draw(t, "packing"))
	cfg.GasMarginPercent = rapid.Uint64Range(0, 200).Draw(t, "margin")
	v := &fakeValidator{
		validations: make(map[common.Address]Validation),
		refusals:    make(map[common.Address]error),
		inBundle:    make(map[common.Address]Failure),
		deposits:    make(map[common.Address]uint256.Int),
		revenue:     rapid.SampledFrom([]float64{1, 3, 0.5}).Draw(t, "revenue"),
	}
	w.scene = &scene{pool: pool.New(pool.DefaultConfig()), validator: v}
	w.pool.Head(pool.Head{Number: 100, Timestamp: 1000, BaseFee: baseFee})
	w.proposer = New(fakePool{w.pool}, v, cfg)
	for i := range uint64(3) {
		v.deposits[address('p', i)] = *uint256.NewInt(rapid.SampledFrom([]uint64{0, 200_000_000, 1_000_000_000}).Draw(t, "deposit"))
	}
	for i := range rapid.Uint64Range(1, 12).Draw(t, "senders") {
		w.drawSender(t, i)
	}
	return w
}

// drawSender adds operations of a sender and says how their validation goes.
func (w *world) drawSender(t *rapid.T, i uint64) {
	sender := address('s', i)
	var shape []change
	if rapid.Bool().Draw(t, "staked") {
		shape = append(shape, stakedSender)
	}
	if rapid.IntRange(0, 2).Draw(t, "sponsored") == 0 {
		shape = append(shape, paidBy(rapid.Uint64Range(0, 2).Draw(t, "paymaster")))
	}
	if rapid.IntRange(0, 3).Draw(t, "v0.8") == 0 {
		shape = append(shape, at(ep08))
	}
	for seq := range rapid.Uint64Range(1, 3).Draw(t, "operations") {
		op := operation(i, append(shape, nonce(0, seq),
			fees(rapid.Uint64Range(130, 1000).Draw(t, "max fee"), rapid.Uint64Range(9, 60).Draw(t, "tip")),
			callGas(rapid.Uint64Range(10_000, 600_000).Draw(t, "call gas")),
			calldata(rapid.IntRange(0, 2000).Draw(t, "calldata")))...)
		if pm := op.Op.Paymaster; pm != nil {
			w.pool.SetDeposit(op.EntryPoint.Address, *pm, *uint256.NewInt(1e18))
		}
		if _, err := w.pool.Add(op); err != nil {
			t.Fatalf("Add: %v", err)
		}
		w.ops[op.Hash] = op
	}
	v := Validation{ContextSize: rapid.SampledFrom([]uint64{0, 10_000, 40_000}).Draw(t, "context")}
	for range rapid.IntRange(0, 2).Draw(t, "accessed") {
		v.Accessed = append(v.Accessed, address('s', rapid.Uint64Range(0, 30).Draw(t, "access")))
	}
	switch rapid.IntRange(0, 9).Draw(t, "fate") {
	case 9:
		w.validator.refusals[sender] = rejection.New(rejection.InvalidSignature, "AA24 signature error")
	case 1:
		w.validator.inBundle[sender] = Failure{Rejection: rejection.New(rejection.EntryPointRejected, "AA23 reverted"), Culprit: erc7562.Sender}
	case 2:
		v.ValidAfter = 1001
	case 3:
		v.ValidUntil = rapid.Uint64Range(990, 1020).Draw(t, "valid until")
	}
	w.validator.validations[sender] = v
}

// checkFates: each candidate is in the bundle, skipped or removed, and none is two of these.
func (w *world) checkFates(t *rapid.T, p *Proposal) {
	fates := make(map[common.Hash]string)
	set := func(h common.Hash, fate string) {
		if fates[h] != "" {
			t.Fatalf("operation %v: %v and %v", h, fates[h], fate)
		}
		if w.ops[h] == nil {
			t.Fatalf("operation %v is not of this pool", h)
		}
		fates[h] = fate
	}
	if p.Bundle != nil {
		for _, h := range p.Bundle.Hashes() {
			set(h, "in the bundle")
		}
	}
	for _, s := range p.Skipped {
		if s.Reason == 0 || s.String() == "" {
			t.Fatalf("skipped without a reason: %+v", s)
		}
		set(s.Hash, fmt.Sprintf("skipped: %v", s))
	}
	for _, r := range p.Removed {
		if r.Rejection == nil || r.Reason == 0 {
			t.Fatalf("removed without a reason: %+v", r)
		}
		set(r.Hash, fmt.Sprintf("removed: %v", r.Rejection))
	}
	if len(fates) == 0 && len(w.ops) != 0 {
		t.Fatalf("no candidate has a fate")
	}
}

func (w *world) checkLimits(t *rapid.T, b *Bundle, req Request) {
	cfg := w.proposer.config
	var sum uint64
	for _, op := range b.Ops {
		units, _ := op.Op.MaxGas()
		sum += units
	}
	if sum > cfg.MaxBundleGas || b.GasLimit > cfg.MaxBundleGas || b.GasLimit < b.ExpectedGasUsed {
		t.Fatalf("gas: have sum %d, limit %d, expected %d, want at most %d", sum, b.GasLimit, b.ExpectedGasUsed, cfg.MaxBundleGas)
	}
	if len(b.Ops) == 0 || len(b.Ops) > cfg.MaxBundleSize {
		t.Fatalf("have %d operations, want 1 to %d", len(b.Ops), cfg.MaxBundleSize)
	}
	if uint64(len(b.CallData)) > cfg.MaxBundleBytes {
		t.Fatalf("have %d bytes, want at most %d", len(b.CallData), cfg.MaxBundleBytes)
	}
	cost := new(uint256.Int).Mul(uint256.NewInt(b.GasLimit), &b.Fees.MaxFee)
	if cost.Gt(&req.Balance) {
		t.Fatalf("the bundle may cost %v wei, the signer has %v", cost, &req.Balance)
	}
	if b.ExpectedProfit().Sign() < 0 {
		t.Fatalf("expected profit %v", b.ExpectedProfit())
	}
}

func (w *world) checkOperations(t *rapid.T, b *Bundle) {
	bySender := make(map[common.Address]uint64)
	spent := make(map[common.Address]*big.Int)
	var context uint64
	for _, op := range b.Ops {
		sender := op.Op.Sender
		if n := bySender[sender]; n != 0 && !op.Staked.Sender {
			t.Fatalf("sender %v is unstaked and has two operations in the bundle", sender)
		}
		if op.Op.NonceSequence() != bySender[sender] {
			t.Fatalf("sender %v: nonce %d comes in place %d", sender, op.Op.NonceSequence(), bySender[sender])
		}
		bySender[sender]++
		if op.EntryPoint != b.EntryPoint {
			t.Fatalf("an operation for EntryPoint %v in a bundle for %v", op.EntryPoint, b.EntryPoint)
		}
		if _, failing := w.validator.inBundle[sender]; failing || w.validator.refusals[sender] != nil {
			t.Fatalf("sender %v's operation fails and is in the bundle", sender)
		}
		v := w.validator.validations[sender]
		context += v.ContextSize
		if v.ValidAfter > 1000 || v.ValidUntil != 0 && v.ValidUntil < 1000+w.proposer.config.ExpiryMargin {
			t.Fatalf("sender %v's operation is not valid long enough: %+v", sender, v)
		}
		if pm := op.Op.Paymaster; pm != nil {
			if spent[*pm] == nil {
				spent[*pm] = new(big.Int)
			}
			spent[*pm].Add(spent[*pm], op.Prefund.ToBig())
			deposit := w.validator.deposits[*pm]
			if spent[*pm].Cmp(deposit.ToBig()) > 0 {
				t.Fatalf("paymaster %v pays up to %v of a deposit of %v", pm, spent[*pm], &deposit)
			}
		}
	}
	if context > w.proposer.config.MaxContextBytes {
		t.Fatalf("have %d bytes of context", context)
	}
	for _, op := range b.Ops {
		for _, a := range w.validator.validations[op.Op.Sender].Accessed {
			if bySender[a] != 0 && a != op.Op.Sender {
				t.Fatalf("sender %v's operation uses %v, a sender of the bundle", op.Op.Sender, a)
			}
		}
	}
}

// checkClaims: the builder holds the bundle and what is to be removed, nothing else.
func (w *world) checkClaims(t *rapid.T, p *Proposal) {
	want := make(map[common.Hash]bool)
	for _, h := range p.Bundle.Hashes() {
		want[h] = true
	}
	for _, r := range p.Removed {
		want[r.Hash] = true
	}
	held := w.pool.Held("x")
	for _, h := range held {
		if !want[h] {
			t.Fatalf("operation %v is still claimed", h)
		}
	}
	if len(held) != len(want) {
		t.Fatalf("have %d claims, want %d", len(held), len(want))
	}
}

func TestParsePacking(t *testing.T) {
	for _, p := range []Packing{PackPriority, PackFill} {
		if have, err := ParsePacking(p.String()); err != nil || have != p {
			t.Errorf("ParsePacking(%q): have %v, %v", p.String(), have, err)
		}
	}
	if _, err := ParsePacking("Fill"); !errors.Is(err, ErrPacking) {
		t.Errorf("ParsePacking(Fill): have %v, want %v", err, ErrPacking)
	}
}
