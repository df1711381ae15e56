package validation_test

import (
	"errors"
	"testing"

	"baler/datafee"
	"baler/devchain"
	"baler/entrypoint"
	"baler/evm"
	"baler/gas"
	"baler/rejection"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

// newRollup is a chain that tells data fees of the kind.
func newRollup(t *testing.T, kind datafee.Kind) *fixture {
	t.Helper()
	alloc, err := devchain.DataFeeContracts(kind)
	if err != nil {
		t.Fatal(err)
	}
	return newFixtureWith(t, validation.Config{DataFees: datafee.New(kind)}, alloc)
}

// On an OP stack chain since Isthmus, preVerificationGas pays for what the operator takes of a transaction that uses all of the
// operation's limits.
func TestTheOperatorMustBePaid(t *testing.T) {
	f := newRollup(t, datafee.OPStack)
	op := f.op(f.deployed(userop.V07, 1))
	op.PreVerificationGas = 5_000_000
	few, err := f.validate(f.sign(op))
	if err != nil {
		t.Fatal(err)
	}
	op.CallGasLimit += 1_000_000
	many, err := f.validate(f.sign(op))
	if err != nil {
		t.Fatal(err)
	}
	base, err := gas.NextBaseFee(f.chain.ChainConfig(), f.head())
	if err != nil {
		t.Fatal(err)
	}
	fee := devchain.HeavyOperatorFee()
	more := gas.NewOperatorFee(fee.Scalar, 0, true).Of(1_000_000)
	want := gas.AtPrice(more, *uint256.NewInt(params.GWei + base.Uint64()))
	// The limit itself is data, and the calldata floor counts a part of it as used.
	if have := many.DataGas - few.DataGas; have < want*95/100 || have > want+1_000 || want < 100_000 {
		t.Errorf("a million gas more: have %d gas of preVerificationGas more, want about %d", have, want)
	}
}

// An operation must offer preVerificationGas for what its data costs too: by the wei at the price that it pays, or by the
// gas. It is refused before anything is run, and with a unit less than is enough.
func TestDataMustBePaidFor(t *testing.T) {
	for _, kind := range []datafee.Kind{datafee.OPStack, datafee.Arbitrum, datafee.Scroll} {
		t.Run(kind.String(), func(t *testing.T) {
			f := newRollup(t, kind)
			for _, v := range userop.Versions() {
				op := f.op(f.deployed(v, 1))
				op.PreVerificationGas = 5_000_000
				res, err := f.validate(f.sign(op))
				if err != nil {
					t.Fatal(err)
				}
				tx := datafee.Transaction{
					To:   entrypoint.Canonical(v).Address,
					Data: entrypoint.EncodeHandleOps(v, []*userop.UserOperation{op}, common.HexToAddress("0x8fCc0A96ee9D7B8aD1fA35e50e5bEA4A5F1b5d17")),
				}
				cost, err := datafee.New(kind).Quote(tx).Cost(t.Context(), f.v.Source().View(f.head()))
				if err != nil {
					t.Fatal(err)
				}
				base, err := gas.NextBaseFee(f.chain.ChainConfig(), f.head())
				if err != nil {
					t.Fatal(err)
				}
				price := *uint256.NewInt(params.GWei + base.Uint64())
				used := res.VerificationGasUsed + res.PaymasterVerificationGasUsed
				most := gas.TransactionGas(op, gas.PreVerification{}.Required(op, gas.VerificationLimits(op)))
				if want := cost.At(price, most); res.DataGas < want*95/100 || res.DataGas > want*105/100 || want == 0 { // another beneficiary
					t.Errorf("v%s: have %d gas for data, want about %d", v, res.DataGas, want)
				}
				least := gas.PreVerification{}.Required(op, used) + res.DataGas
				for _, offer := range []uint64{least + 700, least - 700} { // the field itself is data
					op.PreVerificationGas = offer
					res, err := f.validate(f.sign(op))
					if offer > least {
						if err != nil {
							t.Errorf("v%s: %d of %d: have %v, want it accepted", v, offer, least, err)
						}
						continue
					}
					refused := refusedAs(t, err, rejection.InvalidFields, "preVerificationGas: have ")
					if refused.Data.Rule != "LIM-070" || res != nil {
						t.Errorf("v%s: have rule %q, want LIM-070", v, refused.Data.Rule)
					}
				}
			}
		})
	}
}

// A bundle's result says what the data of the whole transaction costs, after culprits are out.
func TestABundleKnowsWhatItsDataCosts(t *testing.T) {
	for _, kind := range []datafee.Kind{datafee.None, datafee.OPStack, datafee.Arbitrum, datafee.Scroll} {
		t.Run(kind.String(), func(t *testing.T) {
			f := newRollup(t, kind)
			a, b, c := f.sign(f.op(f.deployed(userop.V07, 1))), f.signWith(f.op(f.deployed(userop.V07, 2)), f.chain.Keys()[8]), f.sign(f.op(f.deployed(userop.V07, 3)))
			cost := func(ops ...*userop.UserOperation) datafee.Cost {
				bundle := f.bundle(userop.V07, ops...)
				tx := datafee.Transaction{To: bundle.EntryPoint.Address, Data: entrypoint.EncodeHandleOps(userop.V07, ops, bundle.Beneficiary)}
				cost, err := datafee.New(kind).Quote(tx).Cost(t.Context(), f.v.Source().View(f.head()))
				if err != nil {
					t.Fatal(err)
				}
				return cost
			}
			result, err := f.v.ValidateBundle(t.Context(), f.head(), f.bundle(userop.V07, a, b, c))
			if err != nil {
				t.Fatal(err)
			}
			if want := cost(a, c); len(result.Failed) != 1 || result.DataCost != want || (want == datafee.Cost{}) != (kind == datafee.None) {
				t.Errorf("have %+v with %d failed, want %+v with one", result.DataCost, len(result.Failed), want)
			}
			if one, two := cost(a), cost(a, c); kind == datafee.OPStack && !two.Fee.Lt(new(uint256.Int).Mul(&one.Fee, uint256.NewInt(2))) {
				t.Errorf("two operations cost %s, one %s: want less than twice as much", two.Fee.Dec(), one.Fee.Dec())
			}
		})
	}
}

// What the data costs is learnt in the round trips that validation makes anyway.
func TestDataFeesTakeNoRoundTripOfTheirOwn(t *testing.T) {
	for _, kind := range []datafee.Kind{datafee.OPStack, datafee.Arbitrum, datafee.Scroll} {
		t.Run(kind.String(), func(t *testing.T) {
			f := newRollup(t, kind)
			ep := entrypoint.Canonical(userop.V07)
			a := f.deployed(userop.V07, 1)
			node := &tripNode{Node: f.node}
			v := validation.New(evm.NewSource(node, f.chain.ChainConfig(), evm.Options{}), validation.Config{SampleEvery: -1, DataFees: datafee.New(kind)})
			for i, most := range []int{3, 1, 1} {
				op := f.op(a)
				op.PreVerificationGas, op.CallGasLimit = 5_000_000, op.CallGasLimit+uint64(i)
				f.sign(op)
				f.mine()
				node.trips = 0
				if _, err := v.Validate(t.Context(), f.head(), ep, op, validation.Options{}); err != nil {
					t.Fatal(err)
				}
				if node.trips > most {
					t.Errorf("operation %d: have %d round trips, want at most %d", i, node.trips, most)
				}
			}
		})
	}
}

// A chain without the contract that tells the fee is the operator's trouble, never an operation's.
func TestWithoutAnOracleNothingIsRefused(t *testing.T) {
	f := newFixture(t, validation.Config{})
	op := f.sign(f.op(f.deployed(userop.V07, 1)))
	for _, kind := range []datafee.Kind{datafee.OPStack, datafee.Arbitrum, datafee.Scroll} {
		v := validation.New(f.v.Source(), validation.Config{DataFees: datafee.New(kind)})
		_, err := v.Validate(t.Context(), f.head(), entrypoint.Canonical(userop.V07), op, validation.Options{})
		if _, refused := errors.AsType[*rejection.Rejection](err); refused || !errors.Is(err, datafee.ErrNoOracle) {
			t.Errorf("%v: have %v, want %v and no refusal", kind, err, datafee.ErrNoOracle)
		}
	}
}
