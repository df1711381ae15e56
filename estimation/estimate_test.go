package estimation

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"

	"baler/devchain"
	"baler/entrypoint"
	"baler/evm"
	"baler/gas"
	"baler/rejection"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

// An operation with exactly the estimated limits is accepted, mined and succeeds, pays its bundler for the gas, and with a
// tenth less of any limit it does not work.
func TestEstimatesAreEnoughAndTight(t *testing.T) {
	h := newHarness(t)
	for _, v := range userop.Versions() {
		t.Run("v"+v.String(), func(t *testing.T) {
			h := h.on(t)
			own := h.account(v, 1)
			h.journey(t, "self-paid", own, func(*userop.UserOperation) {})
			sponsored := h.account(v, 2)
			h.journey(t, "sponsored", sponsored, h.sponsor)

			paymaster := chargingPaymaster(v)
			h.pay(entryPoint(v).Address, big.NewInt(params.Ether), depositTo(h, paymaster))
			h.journey(t, "paymaster with postOp", h.account(v, 3), func(op *userop.UserOperation) { op.Paymaster = &paymaster })

			if v == userop.V06 {
				return
			}
			h.journey(t, "eip-7702", h.delegated(v, "self-paid"), func(*userop.UserOperation) {})
			h.journey(t, "eip-7702 sponsored", h.delegated(v, "sponsored"), h.sponsor)
		})
	}
}

func depositTo(h *harness, account common.Address) []byte {
	return h.pack("v0.7/EntryPoint.json", "depositTo", account)
}

// journey sends an account's first operations one after the other.
func (h *harness) journey(t *testing.T, name string, a *account, shape func(*userop.UserOperation)) {
	stranger := common.HexToAddress("0x00000000000000000000000000000000deadbeef")
	for _, step := range []struct {
		name     string
		callData []byte
	}{
		{"first operation counts", h.count()},
		{"counts again", h.count()},
		{"transfers", h.execute(stranger, 1, nil)},
		{"transfers again", h.execute(stranger, 1, nil)},
		{"calls deep and long", h.execute(h.contracts.Counter, 0, h.pack("shared/Counter.json", "burn", big.NewInt(300_000)))},
		{"carries much calldata", h.execute(stranger, 0, filled(5000))},
		{"has nothing to call", nil},
	} {
		t.Run(name+" "+step.name, func(t *testing.T) {
			h := h.on(t)
			if a.nonce == 2 {
				h.pay(a.address, big.NewInt(params.GWei), nil) // to transfer, even where the account is sponsored
			}
			op := h.op(a, step.callData)
			shape(op)
			h.estimateAndSend(a, op)
		})
	}
}

func filled(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 0xff
	}
	return b
}

func (h *harness) estimateAndSend(a *account, asked *userop.UserOperation) {
	h.t.Helper()
	estimate := h.mustEstimate(asked)
	op := h.complete(a, asked, estimate)
	h.isTight(a, op)
	if op.Paymaster == nil {
		cost := op.MaxCost()
		h.pay(op.Sender, cost.ToBig(), nil)
	}
	if _, err := h.validator.Validate(h.t.Context(), h.chain.Head(), entryPoint(op.Version), op, validation.Options{}); err != nil {
		h.t.Errorf("eth_sendUserOperation would refuse the operation: %v", err)
	}
	event, used := h.bundle(op)
	if !event.Success {
		h.t.Fatalf("the operation does not succeed with %+v", estimate)
	}
	if charged := event.ActualGasUsed.Uint64(); charged < used {
		h.t.Errorf("the bundler pays for %d gas and is paid for %d", used, charged)
	}
	a.deployed = true
	a.nonce++
}

// isTight checks that the operation fails with any limit a tenth lower, the slack of ERC-7562 not counted.
func (h *harness) isTight(a *account, op *userop.UserOperation) {
	h.t.Helper()
	cfg := h.estimator.cfg
	if !h.works(op) {
		h.t.Error("the operation does not work with the limits estimated")
	}
	for _, limit := range []struct {
		name  string
		field func(*userop.UserOperation) *uint64
		slack uint64
		least uint64
	}{
		{"callGasLimit", func(op *userop.UserOperation) *uint64 { return &op.CallGasLimit }, 0, cfg.MinCallGas},
		{"verificationGasLimit", func(op *userop.UserOperation) *uint64 { return &op.VerificationGasLimit }, cfg.ValidationGasSlack, 0},
		{"paymasterVerificationGasLimit", func(op *userop.UserOperation) *uint64 { return &op.PaymasterVerificationGasLimit }, cfg.ValidationGasSlack, 0},
		{"paymasterPostOpGasLimit", func(op *userop.UserOperation) *uint64 { return &op.PaymasterPostOpGasLimit }, 0, 0},
	} {
		lower := *op
		have := limit.field(&lower)
		if *have <= limit.least {
			continue
		}
		*have = (*have - limit.slack) * 10 / 11
		h.sign(a, &lower)
		if h.works(&lower) {
			h.t.Errorf("%s: have %d, but %d is enough too", limit.name, *limit.field(op), *have)
		}
	}
}

// rejected checks that an estimation is refused.
func (h *harness) rejected(op *userop.UserOperation, kind rejection.Kind, message string) rejection.Data {
	h.t.Helper()
	e, err := h.estimate(op, nil)
	var r *rejection.Rejection
	if !errors.As(err, &r) {
		h.t.Fatalf("have %+v, %v, want a rejection", e, err)
	}
	if r.Kind != kind || !strings.Contains(r.Message, message) {
		h.t.Fatalf("have %d %q, want %d %q", r.Kind, r.Message, kind, message)
	}
	return r.Data
}

func TestAnOperationThatCannotWorkIsRefused(t *testing.T) {
	h := newHarness(t)
	for _, v := range userop.Versions() {
		t.Run("v"+v.String(), func(t *testing.T) {
			a := h.on(t).account(v, 10)
			op := func(h *harness, method string, args ...any) *userop.UserOperation {
				return h.op(a, h.execute(h.contracts.Counter, 0, h.pack("shared/Counter.json", method, args...)))
			}
			t.Run("a call that reverts with a reason", func(t *testing.T) {
				h := h.on(t)
				data := h.rejected(op(h, "fail", "no such luck"), rejection.ExecutionReverted, "no such luck")
				want := hexutil.Encode(append(common.FromHex("0x08c379a0"), h.pack("shared/Counter.json", "fail", "no such luck")[4:]...))
				if data.RevertData != want {
					t.Errorf("revert data: have %s, want %s", data.RevertData, want)
				}
			})
			t.Run("a call that needs more gas than there is", func(t *testing.T) {
				h := h.on(t)
				h.rejected(op(h, "burn", big.NewInt(4_000_000)), rejection.ExecutionReverted, "execution reverted")
			})
			t.Run("a call that needs more gas than given", func(t *testing.T) {
				h := h.on(t)
				tight := op(h, "burn", big.NewInt(200_000))
				tight.CallGasLimit = 150_000
				h.rejected(tight, rejection.ExecutionReverted, "execution reverted")
			})
			t.Run("a value the account does not have", func(t *testing.T) {
				h := h.on(t)
				h.rejected(h.op(a, h.execute(h.contracts.Counter, 1, h.pack("shared/Counter.json", "count"))), rejection.ExecutionReverted, "execution reverted")
			})
			t.Run("a wrong nonce", func(t *testing.T) {
				h := h.on(t)
				wrong := op(h, "count")
				wrong.Nonce = *uint256.NewInt(7)
				h.rejected(wrong, rejection.EntryPointRejected, "AA25 invalid account nonce")
			})
			t.Run("an account that is not there", func(t *testing.T) {
				h := h.on(t)
				wrong := op(h, "count")
				wrong.Factory, wrong.FactoryData = nil, nil
				h.rejected(wrong, rejection.EntryPointRejected, "AA20 account not deployed")
			})
			t.Run("a factory that makes another account", func(t *testing.T) {
				h := h.on(t)
				wrong := op(h, "count")
				wrong.Sender[3] ^= 1
				h.rejected(wrong, rejection.EntryPointRejected, "AA14 initCode must return sender")
			})
			t.Run("verification with too little gas given", func(t *testing.T) {
				h := h.on(t)
				wrong := op(h, "count")
				wrong.VerificationGasLimit = 20_000
				h.rejected(wrong, rejection.EntryPointRejected, "AA13 initCode failed or OOG")
			})
			t.Run("a paymaster that is not there", func(t *testing.T) {
				h := h.on(t)
				wrong := op(h, "count")
				wrong.Paymaster = &common.Address{0xaa}
				data := h.rejected(wrong, rejection.PaymasterRejected, "AA3")
				if data.Paymaster == nil || *data.Paymaster != *wrong.Paymaster {
					t.Errorf("data names paymaster %v, want %v", data.Paymaster, wrong.Paymaster)
				}
			})
			t.Run("a paymaster that reverts", func(t *testing.T) {
				h := h.on(t)
				wrong := op(h, "count")
				h.sponsor(wrong)
				wrong.PaymasterData = wrong.PaymasterData[:70]
				h.rejected(wrong, rejection.PaymasterRejected, "AA33 reverted")
			})
		})
	}
}

func TestAnEstimateNeedsNoFundsFeesOrSignature(t *testing.T) {
	h := newHarness(t)
	for _, v := range userop.Versions() {
		t.Run("v"+v.String(), func(t *testing.T) {
			h := h.on(t)
			a := h.account(v, 20)
			full := h.mustEstimate(h.op(a, h.count()))

			bare := h.op(a, h.count())
			bare.MaxFeePerGas, bare.MaxPriorityFeePerGas, bare.Signature = uint256.Int{}, uint256.Int{}, nil
			got, err := h.estimator.EstimateUserOperationGas(t.Context(), h.chain.Head(), entryPoint(v), bare, userop.Given{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if *got != *full {
				t.Errorf("without fees and signature: have %+v, want %+v", got, full)
			}
		})
	}
}

// An account with a deposit pays nothing now, but the estimate of an operation without fees must do for one that does.
func TestAnEstimateWithoutFeesIncludesPaying(t *testing.T) {
	h := newHarness(t)
	for _, v := range userop.Versions() {
		t.Run("v"+v.String(), func(t *testing.T) {
			h := h.on(t)
			a := h.account(v, 30)
			h.pay(entryPoint(v).Address, big.NewInt(params.Ether/100), depositTo(h, a.address))
			cheap := h.op(a, h.count())
			cheap.MaxFeePerGas, cheap.MaxPriorityFeePerGas = uint256.Int{}, uint256.Int{}
			estimate := h.mustEstimate(cheap)

			dear := h.op(a, h.count())
			dear.MaxFeePerGas = *uint256.NewInt(1000e9)
			op := h.complete(a, dear, estimate)
			if !h.works(op) {
				t.Errorf("the limits %+v do not do for an account that pays", estimate)
			}
		})
	}
}

func TestEstimateUnderStateOverrides(t *testing.T) {
	h := newHarness(t)
	a := h.account(userop.V08, 40)
	value := h.op(a, h.execute(h.contracts.Counter, 1000, h.pack("shared/Counter.json", "count")))
	h.rejected(value, rejection.ExecutionReverted, "execution reverted")
	if _, err := h.estimate(value, evm.Overrides{a.address: {Balance: uint256.NewInt(1000)}}); err != nil {
		t.Errorf("with the balance overridden: %v", err)
	}

	nowhere := common.HexToAddress("0x00000000000000000000000000000000000c0de0")
	op := h.op(a, h.execute(nowhere, 0, nil))
	plain := h.mustEstimate(op)
	spender := evm.Overrides{nowhere: {Code: common.FromHex("0x60015a5500")}} // a fresh slot is written
	dearer, err := h.estimate(op, spender)
	if err != nil {
		t.Fatal(err)
	}
	const freshSlot = 22_100
	if plain.CallGasLimit >= freshSlot || dearer.CallGasLimit < freshSlot {
		t.Errorf("the overridden code is not run: call gas limit %d, without it %d", dearer.CallGasLimit, plain.CallGasLimit)
	}
	if len(spender) != 1 {
		t.Errorf("the caller's overrides were changed: %v", spender)
	}

	var r *rejection.Rejection
	_, err = h.estimate(op, evm.Overrides{nowhere: {State: map[common.Hash]common.Hash{}, StateDiff: map[common.Hash]common.Hash{}}})
	if !errors.As(err, &r) || r.Kind != rejection.InvalidFields {
		t.Errorf("contradicting overrides: have %v, want %d", err, rejection.InvalidFields)
	}
}

func TestAnEstimateKeepsWhatIsGiven(t *testing.T) {
	h := newHarness(t)
	a := h.account(userop.V07, 50)
	op := h.op(a, h.count())
	free := h.mustEstimate(op)

	bounded := *op
	bounded.CallGasLimit, bounded.VerificationGasLimit = free.CallGasLimit+5_000, free.VerificationGasLimit+5_000
	within := h.mustEstimate(&bounded)
	if within.CallGasLimit > bounded.CallGasLimit || within.VerificationGasLimit > bounded.VerificationGasLimit {
		t.Errorf("have %+v, over the limits given", within)
	}

	h.sponsor(op)
	op.PaymasterPostOpGasLimit = 33_333
	if e := h.mustEstimate(op); e.PaymasterPostOpGasLimit != 33_333 {
		t.Errorf("postOp gas limit: have %d, want the 33333 given", e.PaymasterPostOpGasLimit)
	}
}

func TestAnAuthorizationForAnotherChainIsRefused(t *testing.T) {
	h := newHarness(t)
	op := h.op(h.delegated(userop.V08, "elsewhere"), h.count())
	op.Authorization.ChainID = *uint256.NewInt(5)
	h.rejected(op, rejection.InvalidFields, "eip7702Auth.chainId")
}

func TestTheShapeMustFitTheEntryPoint(t *testing.T) {
	h := newHarness(t)
	op := h.op(h.account(userop.V06, 60), h.count())
	var r *rejection.Rejection
	_, err := h.estimator.EstimateUserOperationGas(t.Context(), h.chain.Head(), entryPoint(userop.V07), op, userop.Given{}, nil)
	if !errors.As(err, &r) || r.Kind != rejection.InvalidFields {
		t.Errorf("have %v, want %d", err, rejection.InvalidFields)
	}
}

// A paymaster that lends against tokens refuses what an operation may cost with the greatest limits; it must be asked
// for what the operation needs.
func TestATokenPaymasterLendsWhatIsNeeded(t *testing.T) {
	h := newHarness(t)
	a := h.account(userop.V07, 70)
	op := h.op(a, h.count())
	op.Paymaster = &h.contracts.TokenPaymaster
	h.rejected(op, rejection.PaymasterRejected, "TokenPaymaster: no balance")

	// It lends 100 wei for each unit; 450,000 gas at 20 gwei are 9e15 wei.
	mint := h.pack("v0.7/LegacyTokenPaymaster.json", "mintTokens", a.address, big.NewInt(9e13))
	h.call(devchain.OwnerKey(), h.contracts.TokenPaymaster, new(big.Int), mint)
	h.estimateAndSend(a, op)
}

// The gas limit of a measured bundle does for all its operations, and so does that of one that was not measured.
func TestTheBundleGasLimitDoesForRealBundles(t *testing.T) {
	h := newHarness(t)
	for _, v := range userop.Versions() {
		for _, measured := range []bool{true, false} {
			t.Run(fmt.Sprintf("v%s measured=%t", v, measured), func(t *testing.T) {
				h := h.on(t)
				var bundle gas.Bundle
				for i := range int64(5) {
					salt := 80 + i
					if measured {
						salt += 10
					}
					a := h.account(v, salt)
					op := h.op(a, h.execute(h.contracts.Counter, 0, h.pack("shared/Counter.json", "burn", big.NewInt(100_000*i))))
					if i%2 == 1 {
						h.sponsor(op)
					}
					op = h.complete(a, op, h.mustEstimate(op))
					if op.Paymaster == nil {
						cost := op.MaxCost()
						h.pay(op.Sender, cost.ToBig(), nil)
					}
					bundle.Ops = append(bundle.Ops, op)
				}
				if measured {
					bundle.Measured = h.measure(bundle.Ops)
				}
				events, used := h.bundleOf(bundle)
				var charged uint64
				for i, event := range events {
					if !event.Success {
						t.Errorf("operation %d does not succeed", i)
					}
					charged += event.ActualGasUsed.Uint64()
				}
				if charged < used {
					t.Errorf("the bundler pays for %d gas and is paid for %d", used, charged)
				}
			})
		}
	}
}

func TestEstimatesAtTheSameTimeDoNotMix(t *testing.T) {
	h := newHarness(t)
	ops := make([]*userop.UserOperation, 8)
	want := make([]Estimate, len(ops))
	for i := range ops {
		burn := h.pack("shared/Counter.json", "burn", big.NewInt(50_000*int64(i)))
		ops[i] = h.op(h.account(userop.V08, 100+int64(i)), h.execute(h.contracts.Counter, 0, burn))
		want[i] = *h.mustEstimate(ops[i])
	}
	fresh := New(evm.NewSource(h.eth.Client(), h.estimator.source.Config(), evm.Options{}), h.estimator.cfg)
	have := make([]*Estimate, len(ops))
	errs := make([]error, len(ops))
	var group sync.WaitGroup
	for i, op := range ops {
		group.Go(func() {
			have[i], errs[i] = fresh.EstimateUserOperationGas(t.Context(), h.chain.Head(), entryPoint(op.Version), op, userop.Given{Signature: true}, nil)
		})
	}
	group.Wait()
	for i := range ops {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		if *have[i] != want[i] {
			t.Errorf("operation %d: have %+v, alone %+v", i, *have[i], want[i])
		}
	}
}

// A node that cannot be reached is no fault of the operation's.
func TestTheNodesTroubleIsNotARejection(t *testing.T) {
	h := newHarness(t)
	op := h.op(h.account(userop.V07, 120), h.count())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fresh := New(evm.NewSource(h.eth.Client(), h.estimator.source.Config(), evm.Options{}), h.estimator.cfg)
	_, err := fresh.EstimateUserOperationGas(ctx, h.chain.Head(), entryPoint(op.Version), op, userop.Given{Signature: true}, nil)
	var r *rejection.Rejection
	if err == nil || errors.As(err, &r) || !evm.IsStateError(err) {
		t.Errorf("have %v, want a state error", err)
	}
}

// measure returns the gas that handleOps uses with the operations, at the head.
func (h *harness) measure(ops []*userop.UserOperation) (used uint64) {
	h.t.Helper()
	bundler := h.estimator.cfg.Beneficiary
	ep := entryPoint(ops[0].Version)
	view := h.estimator.source.View(h.chain.Head())
	err := view.Execute(h.t.Context(), evm.RunOptions{Origin: bundler}, func(run *evm.Run) error {
		var err error
		_, used, err = run.Call(bundler, ep.Address, nil, entrypoint.EncodeHandleOps(ep.Version, ops, bundler), 30_000_000, nil)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return used
}

func BenchmarkEstimate(b *testing.B) {
	h := newHarness(b)
	op := h.op(h.account(userop.V07, 1), h.count())
	h.sponsor(op)
	b.ReportAllocs()
	for b.Loop() {
		h.mustEstimate(op)
	}
}
