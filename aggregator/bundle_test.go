package aggregator_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"baler/aggregator"
	"baler/entrypoint"
	"baler/gas"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestTwentyOperationsAreMinedWithOneSignature: eighteen accounts that are there and two that their operations create.
func TestTwentyOperationsAreMinedWithOneSignature(t *testing.T) {
	eachVersion(t, func(w *world, v userop.Version) {
		list := append(w.deployed(v, 0, 18), w.account(v, 20), w.account(v, 21))
		ops := w.signedOps(list)
		for name, a := range map[string]aggregator.Aggregator{"native": w.native(v), "contract": w.asked(v)} {
			if reason := w.revertReason(entrypoint.Canonical(v).Address, w.encode(v, w.group(a, ops))); reason != "" {
				w.t.Errorf("%s: the bundle reverts: %s", name, reason)
			}
		}
		data := w.encode(v, w.group(w.native(v), ops))
		receipt, events := w.sendBundle(v, data)
		w.wantSuccess(events, ops...)
		if paid := used(events); paid < receipt.GasUsed {
			w.t.Errorf("the operations paid for %d gas, the bundle used %d", paid, receipt.GasUsed)
		}
		w.t.Logf("v%v: %d operations, %d gas, %d an operation", v, len(ops), receipt.GasUsed, receipt.GasUsed/uint64(len(ops)))
	})
}

// secondAggregator deploys another BLS aggregator for the version, and its factory.
func (w *world) secondAggregator(v userop.Version) (aggregator.BLSDomain, common.Address) {
	w.t.Helper()
	create := func(name string, args ...any) common.Address {
		init, err := load(w.t, "shared/"+name+suffix(v)+".json").InitCode(args...)
		if err != nil {
			w.t.Fatal(err)
		}
		hash := w.post(nil, nil, init, 5_000_000)
		w.mine()
		return w.receipt(hash).ContractAddress
	}
	d := w.domain(v)
	d.Aggregator = create("BLSAggregator", d.EntryPoint)
	return d, create("BLSAccountFactory", d.EntryPoint, d.Aggregator)
}

// TestMixedBundleIsMined: two aggregators, and operations of accounts that check their own signatures, one of which could
// have used an aggregator.
func TestMixedBundleIsMined(t *testing.T) {
	eachVersion(t, func(w *world, v userop.Version) {
		first := w.signedOps(w.deployed(v, 0, 3))
		second, factory := w.secondAggregator(v)
		var others []*userop.UserOperation
		for n := range 2 {
			a := blsAccount(w.t, factory, second.Aggregator, v, n)
			if a.address == first[n].Sender {
				w.t.Fatal("one account of two aggregators")
			}
			w.post(&a.address, ether(), nil, 100_000)
			others = append(others, w.signedFor(second, creating(a, w.op(v, a.address)), a.key))
		}
		alone := w.deployed(v, 3, 1)[0]
		own := append(w.simpleOps(v, 2), w.signedAlone(w.op(v, alone.address), alone.key))

		groups := []entrypoint.OpsPerAggregator{
			w.group(w.native(v), first),
			{Ops: own},
			w.group(aggregator.NewBLS(second, aggregator.BLSGas(), w.node), others),
		}
		_, events := w.sendBundle(v, w.encode(v, groups...))
		w.wantSuccess(events, slices.Concat(first, own, others)...)

		crossed := slices.Clone(groups)
		crossed[0].Aggregator, crossed[2].Aggregator = crossed[2].Aggregator, crossed[0].Aggregator
		if reason := w.revertReason(entrypoint.Canonical(v).Address, w.encode(v, crossed...)); !strings.Contains(reason, "signature validation failed") {
			w.t.Errorf("groups with each other's aggregator: have %q, want a failed signature", reason)
		}
	})
}

// counting counts the group checks.
type counting struct {
	aggregator.Aggregator

	checks int
}

func (c *counting) ValidateSignatures(ctx context.Context, block common.Hash, ops []*userop.UserOperation, signature []byte) error {
	c.checks++
	return c.Aggregator.ValidateSignatures(ctx, block, ops, signature)
}

// TestAWrongSignatureIsFound: the EntryPoint only says which aggregator refused; halving finds the operation, and the rest
// is mined.
func TestAWrongSignatureIsFound(t *testing.T) {
	eachVersion(t, func(w *world, v userop.Version) {
		ctx := w.t.Context()
		ops := w.signedOps(w.deployed(v, 0, 20))
		const middle = 11
		ops[middle] = clone(ops[middle])
		ops[middle].Signature = ops[3].Signature
		reason := w.revertReason(entrypoint.Canonical(v).Address, w.encode(v, w.group(w.native(v), ops)))
		if want := w.domain(v).Aggregator.Hex(); !strings.Contains(reason, "signature validation failed") || !strings.Contains(reason, want) {
			w.t.Fatalf("have %q, want SignatureValidationFailed of %s", reason, want)
		}
		for name, a := range map[string]aggregator.Aggregator{"native": w.native(v), "contract": w.asked(v)} {
			c := &counting{Aggregator: a}
			set, err := aggregator.NewSet(c)
			if err != nil {
				w.t.Fatal(err)
			}
			culprits, reasons, err := set.Culprits(ctx, w.block(), a.Address(), ops, bundled(ops))
			if err != nil {
				w.t.Fatal(err)
			}
			if diff := cmp.Diff([]int{middle}, culprits); diff != "" {
				w.t.Errorf("%s: culprits: %s", name, diff)
			}
			if len(reasons) != len(culprits) || reasons[0].Kind != rejection.InvalidSignature {
				w.t.Errorf("%s: have reasons %v, want a wrong signature", name, reasons)
			}
			if c.checks > 11 {
				w.t.Errorf("%s: one culprit of twenty took %d checks, want at most 1 + 2·5", name, c.checks)
			}
		}
		rest := slices.Delete(slices.Clone(ops), middle, middle+1)
		_, events := w.sendBundle(v, w.encode(v, w.group(w.native(v), rest)))
		w.wantSuccess(events, rest...)
	})
}

// TestCulpritsAreFoundAmongMany: any set of wrong signatures is found, and nobody else.
func TestCulpritsAreFoundAmongMany(t *testing.T) {
	w := newWorld(t)
	v := userop.V08
	good := w.signedOps([]account{w.account(v, 0), w.account(v, 1), w.account(v, 2), w.account(v, 3), w.account(v, 4), w.account(v, 5), w.account(v, 6)})
	set, err := aggregator.NewSet(w.native(v))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		ops := slices.Clone(good)
		var want []int
		for i := range ops {
			damage := rapid.SampledFrom([]string{"", "", "short", "off the curve", "calldata"}).Draw(rt, "damage")
			if damage == "" {
				continue
			}
			want = append(want, i)
			ops[i] = clone(ops[i])
			switch damage {
			case "short":
				ops[i].Signature = ops[i].Signature[:10]
			case "off the curve":
				ops[i].Signature[5] ^= 1
			case "calldata":
				ops[i].CallData = []byte{byte(i)}
			}
		}
		have, _, err := set.Culprits(t.Context(), w.block(), w.domain(v).Aggregator, ops, bundled(ops))
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(want, have); diff != "" {
			rt.Fatalf("culprits (-want +have): %s", diff)
		}
	})
}

// TestSignaturesThatMakeUpForEachOther: two signatures, each wrong, whose sum is right. Their group is good; without one
// of them the other one is found.
func TestSignaturesThatMakeUpForEachOther(t *testing.T) {
	w := newWorld(t)
	v := userop.V07
	ops := w.signedOps(w.deployed(v, 0, 3))
	ops[0], ops[1] = clone(ops[0]), clone(ops[1])
	ops[0].Signature, ops[1].Signature = ops[1].Signature, ops[0].Signature
	set, err := aggregator.NewSet(w.native(v))
	if err != nil {
		t.Fatal(err)
	}
	at := w.domain(v).Aggregator
	culprits, _, err := set.Culprits(t.Context(), w.block(), at, ops, bundled(ops))
	if err != nil || len(culprits) != 0 {
		t.Errorf("the whole group: have culprits %v (%v), want none", culprits, err)
	}
	culprits, _, err = set.Culprits(t.Context(), w.block(), at, ops[1:], bundled(ops[1:]))
	if err != nil || !slices.Equal(culprits, []int{0}) {
		t.Errorf("without the first: have culprits %v (%v), want [0]", culprits, err)
	}
	for i, op := range ops[:2] {
		_, _, err := set.Accept(t.Context(), w.block(), at, op)
		if _, refused := errors.AsType[*rejection.Rejection](err); !refused {
			t.Errorf("operation %d is accepted at the door (%v)", i, err)
		}
	}
	_, events := w.sendBundle(v, w.encode(v, w.group(w.native(v), ops)))
	w.wantSuccess(events, ops...)
}

// offering returns the operations with the least preVerificationGas that the rule asks of them in a group of their number,
// as far as validation uses what is given, and the sum of the signatures.
func (w *world) offering(list []account, verification uint64) []*userop.UserOperation {
	w.t.Helper()
	p := gas.PreVerification{BundleSize: uint64(len(list)), OverheadGas: 42_000}
	ops := make([]*userop.UserOperation, len(list))
	for i, a := range list {
		op := w.op(a.version, a.address)
		for range 3 { // preVerificationGas is in the calldata that it pays for
			op.PreVerificationGas = p.RequiredAggregated(gas.Aggregated{Op: op, VerificationGasUsed: verification}, aggregator.BLSGas(), uint64(len(list)))
		}
		ops[i] = w.signed(op, a.key)
	}
	return ops
}

// TestTheLeastGasCoversTheGroup: operations that offer no more than the rule asks pay for all that their bundle uses,
// whatever its size; and the rule does not ask for much more than that.
func TestTheLeastGasCoversTheGroup(t *testing.T) {
	eachVersion(t, func(w *world, v userop.Version) {
		list := w.deployed(v, 0, 20)
		w.sendBundle(v, w.encode(v, w.group(w.native(v), w.signedOps(list)))) // from now on nonces and counters are not new
		for _, n := range []int{1, 2, 5, 20} {
			ops := w.offering(list[:n], 30_000)
			receipt, events := w.sendBundle(v, w.encode(v, w.group(w.native(v), ops)))
			w.wantSuccess(events, ops...)
			paid := used(events)
			w.t.Logf("v%v, %2d operations: %d gas used, %d paid (%.2f), %d an operation", v, n, receipt.GasUsed, paid, float64(paid)/float64(receipt.GasUsed), receipt.GasUsed/uint64(n))
			if paid < receipt.GasUsed {
				w.t.Errorf("%d operations: they paid for %d gas, the bundle used %d", n, paid, receipt.GasUsed)
			}
			if paid > receipt.GasUsed*14/10 {
				w.t.Errorf("%d operations: they paid for %d gas, the bundle used only %d", n, paid, receipt.GasUsed)
			}
		}
	})
}

// BenchmarkGasPerOperation prints what one operation costs the bundler in gas: the same accounts with one signature for
// the group, with one bundle for each, and with signatures the accounts check alone; and accounts that check ECDSA.
func BenchmarkGasPerOperation(b *testing.B) {
	const v, n = userop.V07, 20
	w := newWorld(b)
	list := w.deployed(v, 0, n)
	w.sendBundle(v, w.encode(v, w.group(w.native(v), w.signedOps(list))))
	simple := w.simpleOps(v, n)
	ecdsa := w.encode(v, entrypoint.OpsPerAggregator{Ops: simple})
	w.sendBundle(v, ecdsa)

	for _, ways := range []struct {
		name   string
		bundle func(at int) []byte
		each   int // operations of a bundle
	}{
		{"aggregated", func(int) []byte { return w.encode(v, w.group(w.native(v), w.signedOps(list))) }, n},
		{"aggregated-one-by-one", func(at int) []byte { return w.encode(v, w.group(w.native(v), w.signedOps(list[at:at+1]))) }, 1},
		{"each-account-alone", func(int) []byte {
			var ops []*userop.UserOperation
			for _, a := range list {
				ops = append(ops, w.signedAlone(w.op(v, a.address), a.key))
			}
			return entrypoint.EncodeHandleOps(v, ops, w.bundler())
		}, n},
		{"ecdsa", func(int) []byte { return entrypoint.EncodeHandleOps(v, w.resigned(simple), w.bundler()) }, n},
	} {
		b.Run(ways.name, func(b *testing.B) {
			var total uint64
			var size, ops int
			for b.Loop() {
				total, size, ops = 0, 0, 0
				for at := 0; at < n; at += ways.each {
					data := ways.bundle(at)
					receipt, events := w.sendBundle(v, data)
					total, size, ops = total+receipt.GasUsed, size+len(data), ops+len(events)
				}
			}
			b.ReportMetric(float64(total)/float64(ops), "gas/operation")
			b.ReportMetric(float64(size)/float64(ops), "bytes/operation")
		})
	}
}

// TestFindingCulpritsTakesFewChecks: k culprits among n take at most about 2k·log2(n) checks.
func TestFindingCulpritsTakesFewChecks(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct{ n, k, most int }{{1, 1, 1}, {64, 0, 1}, {64, 1, 13}, {64, 2, 24}, {128, 128, 255}} {
		t.Run(fmt.Sprintf("%d of %d", c.k, c.n), func(t *testing.T) {
			ops := make([]*userop.UserOperation, c.n)
			for i := range ops {
				ops[i] = &userop.UserOperation{Signature: []byte{0}}
			}
			want := random.Perm(c.n)[:c.k]
			slices.Sort(want)
			for _, i := range want {
				ops[i] = &userop.UserOperation{Signature: []byte{1}}
			}
			a := &parity{}
			set, err := aggregator.NewSet(a)
			if err != nil {
				t.Fatal(err)
			}
			have, _, err := set.Culprits(t.Context(), common.Hash{}, common.Address{}, ops, ops)
			if err != nil || !slices.Equal(have, want) {
				t.Fatalf("have %v (%v), want %v", have, err, want)
			}
			if a.checks > c.most {
				t.Errorf("have %d checks, want at most %d", a.checks, c.most)
			}
		})
	}
	a := &parity{err: errors.New("no node")}
	set, err := aggregator.NewSet(a)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := set.Culprits(t.Context(), common.Hash{}, common.Address{}, make([]*userop.UserOperation, 4), make([]*userop.UserOperation, 4)); !errors.Is(err, a.err) {
		t.Errorf("have %v, want the node's trouble", err)
	}
}

// parity is an aggregator to which the signature 1 is wrong.
type parity struct {
	checks int
	err    error
}

func (*parity) Address() common.Address { return common.Address{} }
func (*parity) Gas() gas.Aggregation    { return gas.Aggregation{} }

func (*parity) ValidateUserOpSignature(context.Context, common.Hash, *userop.UserOperation) ([]byte, error) {
	return nil, nil
}

func (p *parity) AggregateSignatures(context.Context, common.Hash, []*userop.UserOperation) ([]byte, error) {
	return nil, p.err
}

func (p *parity) ValidateSignatures(_ context.Context, _ common.Hash, ops []*userop.UserOperation, _ []byte) error {
	p.checks++
	for _, op := range ops {
		if op.Signature[0] != 0 {
			return rejection.New(rejection.InvalidSignature, "wrong")
		}
	}
	return nil
}
