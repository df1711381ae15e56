package proposer

import (
	"context"
	"errors"
	"slices"
	"testing"

	"baler/entrypoint"
	"baler/gas"
	"baler/pool"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// The aggregators of these tests; the zero address is none.
var (
	firstAggregator  = common.Address{19: 0xa1}
	secondAggregator = common.Address{19: 0xa2}
)

// placed is an operation of the sender with the number; its signature in the bundle is empty.
func placed(sender byte, aggregator common.Address, n int) place {
	op := &userop.UserOperation{Version: userop.V07, Sender: common.Address{19: sender}, Signature: []byte{byte(n)}, PreVerificationGas: 1_000_000}
	op.Nonce.SetUint64(uint64(n))
	p := place{Operation: &pool.Operation{Op: op, Hash: common.Hash{31: byte(n)}, Aggregator: aggregator}, aggregator: aggregator, bundled: op}
	if aggregator != (common.Address{}) {
		bundled := *op
		bundled.Signature = nil
		p.bundled = &bundled
	}
	return p
}

func TestOperationsAreGroupedByAggregator(t *testing.T) {
	none := common.Address{}
	for name, c := range map[string]struct {
		places []place
		want   []arranged
	}{
		"nothing":       {nil, nil},
		"no aggregator": {[]place{placed(1, none, 0), placed(2, none, 1)}, []arranged{{none, []int{0, 1}}}},
		"mixed": {
			[]place{placed(1, firstAggregator, 0), placed(2, none, 1), placed(3, secondAggregator, 2), placed(4, firstAggregator, 3), placed(5, none, 4)},
			[]arranged{{firstAggregator, []int{0, 3}}, {none, []int{1, 4}}, {secondAggregator, []int{2}}},
		},
		"a sender that comes back to its aggregator": {
			[]place{placed(1, firstAggregator, 0), placed(1, none, 1), placed(1, firstAggregator, 2), placed(2, firstAggregator, 3)},
			[]arranged{{firstAggregator, []int{0, 3}}, {none, []int{1}}, {firstAggregator, []int{2}}},
		},
	} {
		if diff := cmp.Diff(c.want, arrange(c.places).groups, cmp.AllowUnexported(arranged{})); diff != "" {
			t.Errorf("%s (-want +have):\n%s", name, diff)
		}
	}
}

// TestGroupingKeepsEverySendersOrder: every operation is in one group, of its own aggregator, and behind the sender's
// operations that came before it; and without such senders there is one group for each aggregator.
func TestGroupingKeepsEverySendersOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var places []place
		apart := rapid.Bool().Draw(t, "one operation a sender")
		for n := range rapid.IntRange(0, 30).Draw(t, "operations") {
			sender := byte(n)
			if !apart {
				sender = rapid.Byte().Draw(t, "sender") % 5
			}
			places = append(places, placed(sender, rapid.SampledFrom([]common.Address{{}, firstAggregator, secondAggregator}).Draw(t, "aggregator"), n))
		}
		a := arrange(places)
		order := a.order()
		seen := make(map[common.Address]int)
		for _, at := range order {
			sender := places[at].Op.Sender
			if before, ok := seen[sender]; ok && before > at {
				t.Fatalf("operation %d of %v stands behind its operation %d", at, sender, before)
			}
			seen[sender] = at
		}
		all := slices.Clone(order)
		slices.Sort(all)
		for i, at := range all {
			if i != at {
				t.Fatalf("have operations %v, want each once", all)
			}
		}
		if len(all) != len(places) {
			t.Fatalf("have %d operations, want %d", len(all), len(places))
		}
		kinds := make(map[common.Address]bool)
		for _, g := range a.groups {
			if apart && kinds[g.aggregator] {
				t.Fatalf("two groups of %v without need", g.aggregator)
			}
			kinds[g.aggregator] = true
			for _, at := range g.at {
				if places[at].Aggregator != g.aggregator {
					t.Fatalf("operation %d of %v is in a group of %v", at, places[at].Aggregator, g.aggregator)
				}
			}
		}
	})
}

// fakeAggregators serve firstAggregator and secondAggregator. A signature is one byte, that of a group the bytes of all; 0xff is
// malformed, 0xfe is wrong.
type fakeAggregators struct {
	cost  gas.Aggregation
	err   error
	block common.Hash // asked for last
}

const malformed, wrong = 0xff, 0xfe

func (f *fakeAggregators) Gas(a common.Address) (gas.Aggregation, bool) {
	return f.cost, a == firstAggregator || a == secondAggregator
}

func (f *fakeAggregators) Aggregate(_ context.Context, block common.Hash, _ common.Address, ops []*userop.UserOperation) ([]byte, error) {
	f.block = block
	var all []byte
	for _, op := range ops {
		if op.Signature[0] == malformed {
			return nil, rejection.New(rejection.InvalidSignature, "malformed")
		}
		all = append(all, op.Signature...)
	}
	return all, f.err
}

func (f *fakeAggregators) Culprits(_ context.Context, _ common.Hash, _ common.Address, ops, bundled []*userop.UserOperation) (culprits []int, reasons []*rejection.Rejection, err error) {
	for i, op := range ops {
		if len(bundled[i].Signature) != 0 {
			return nil, nil, errors.New("a signature is left in the bundle")
		}
		if op.Signature[0] >= wrong {
			culprits, reasons = append(culprits, i), append(reasons, rejection.New(rejection.InvalidSignature, "wrong"))
		}
	}
	return culprits, reasons, f.err
}

func TestGroupsAreSigned(t *testing.T) {
	a := arrange([]place{placed(1, firstAggregator, 1), placed(2, common.Address{}, 2), placed(3, firstAggregator, 3), placed(4, secondAggregator, 4)})
	f, block := new(fakeAggregators), common.Hash{1, 2, 3}
	groups, failed, err := a.sign(t.Context(), f, block)
	if err != nil || len(failed) != 0 {
		t.Fatalf("have failures %v (%v), want none", failed, err)
	}
	if f.block != block {
		t.Errorf("signed on block %v, want %v", f.block, block)
	}
	want := []entrypoint.OpsPerAggregator{
		{Ops: []*userop.UserOperation{a.places[0].bundled, a.places[2].bundled}, Aggregator: firstAggregator, Signature: []byte{1, 3}},
		{Ops: []*userop.UserOperation{a.places[1].Op}},
		{Ops: []*userop.UserOperation{a.places[3].bundled}, Aggregator: secondAggregator, Signature: []byte{4}},
	}
	if diff := cmp.Diff(want, groups); diff != "" {
		t.Errorf("groups (-want +have):\n%s", diff)
	}
	calldata := (&Draft{EntryPoint: ep07, Groups: groups, Beneficiary: common.Address{9}}).callData()
	decoded, beneficiary, err := entrypoint.DecodeHandleAggregatedOps(userop.V07, calldata)
	if err != nil || beneficiary != (common.Address{9}) || len(decoded) != 3 {
		t.Errorf("have %d groups for %v (%v), want the three", len(decoded), beneficiary, err)
	}
}

func failedIndexes(failed []Failure) []int {
	var list []int
	for _, f := range failed {
		list = append(list, f.Index)
	}
	return list
}

func TestWrongSignaturesAreFailures(t *testing.T) {
	places := []place{placed(1, common.Address{}, 1), placed(2, firstAggregator, malformed), placed(3, secondAggregator, 3), placed(4, firstAggregator, 4)}
	_, failed, err := arrange(places).sign(t.Context(), new(fakeAggregators), common.Hash{})
	if diff := cmp.Diff([]int{1}, failedIndexes(failed)); diff != "" || err != nil {
		t.Errorf("a malformed signature: %v %s", err, diff)
	}

	places = append(places, placed(5, common.Address{19: 0xa3}, 5), placed(6, common.Address{19: 0xa3}, 6))
	places[1] = placed(2, firstAggregator, 2)
	_, failed, err = arrange(places).sign(t.Context(), new(fakeAggregators), common.Hash{})
	if diff := cmp.Diff([]int{4, 5}, failedIndexes(failed)); diff != "" || err != nil {
		t.Errorf("an aggregator that is not served: %v %s", err, diff)
	}
	for _, f := range failed {
		if f.Rejection.Kind != rejection.UnsupportedSigAggr || f.Rejection.Data.Aggregator == nil {
			t.Errorf("an aggregator that is not served: have %+v, want -32506 with its address", f.Rejection)
		}
	}

	trouble := &fakeAggregators{err: errors.New("no node")}
	if _, failed, err := arrange(places[:4]).sign(t.Context(), trouble, common.Hash{}); !errors.Is(err, trouble.err) || len(failed) != 0 {
		t.Errorf("the node's trouble: have %v and failures %v", err, failed)
	}
}

func TestCulpritsOfAWholeBundle(t *testing.T) {
	places := []place{
		placed(1, firstAggregator, 1), placed(2, secondAggregator, wrong), placed(3, firstAggregator, wrong), placed(3, common.Address{}, 3),
		placed(3, firstAggregator, wrong), placed(4, firstAggregator, 4),
	}
	a := arrange(places)
	failed, err := a.culprits(t.Context(), new(fakeAggregators), common.Hash{}, firstAggregator)
	if diff := cmp.Diff([]int{2, 4}, failedIndexes(failed)); diff != "" || err != nil {
		t.Errorf("both groups of the first: %v %s", err, diff)
	}
	places[1] = placed(2, secondAggregator, 2)
	if _, err := arrange(places).culprits(t.Context(), new(fakeAggregators), common.Hash{}, secondAggregator); !errors.Is(err, errNoCulprit) {
		t.Errorf("nobody to blame: have %v, want errNoCulprit", err)
	}
	trouble := &fakeAggregators{err: errors.New("no node")}
	if _, err := a.culprits(t.Context(), trouble, common.Hash{}, firstAggregator); !errors.Is(err, trouble.err) {
		t.Errorf("the node's trouble: have %v", err)
	}
}

// TestAGroupTooSmallWaits: operations that share the cost of a group are left out while they are too few for what they
// offer; operations without aggregator are not concerned.
func TestAGroupTooSmallWaits(t *testing.T) {
	f := &fakeAggregators{cost: gas.Aggregation{GroupGas: 100_000, OperationGas: 60_000, SignatureBytes: 64}}
	p := gas.PreVerification{BundleSize: 4}
	places := []place{placed(1, common.Address{}, 0)}
	for n := range 4 {
		x := placed(byte(2+n), firstAggregator, n+1)
		for range 3 {
			x.bundled.PreVerificationGas = p.RequiredAggregated(gas.Aggregated{Op: x.bundled}, f.cost, 4)
		}
		places = append(places, x)
	}
	if short := arrange(places).shortages(f, p); len(short) != 0 {
		t.Errorf("four that offer their quarters: have %+v, want nobody short", short)
	}
	short := arrange(places[:4]).shortages(f, p)
	if len(short) != 3 {
		t.Fatalf("three that offer quarters: have %+v, want all three short", short)
	}
	for i, s := range short {
		if s.at != i+1 || s.want <= s.have || s.have != places[i+1].bundled.PreVerificationGas {
			t.Errorf("have %+v, want place %d with less than it takes", s, i+1)
		}
	}
	if short := arrange(places).shortages(f, gas.PreVerification{}); len(short) != 4 {
		t.Errorf("four that rely on a larger bundle: have %+v, want all short", short)
	}
	rich := placed(9, firstAggregator, 9)
	rich.bundled.PreVerificationGas = 10 * places[1].bundled.PreVerificationGas
	places[1] = rich
	if short := arrange(places[:2]).shortages(f, p); len(short) != 0 {
		t.Errorf("one that bears all: have %+v, want nobody short", short)
	}
	costly := places[2]
	costly.signatureGas = f.cost.OperationGas + 50_000
	if short := arrange([]place{rich, costly, places[3], places[4]}).shortages(f, p); len(short) == 0 || short[0].at != 1 {
		t.Errorf("one whose signature costs more than it offers: have %+v, want place 1 short", short)
	}
}
