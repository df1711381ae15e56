package estimation

import (
	"math/big"
	"testing"

	"baler/datafee"
	"baler/devchain"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

// On a rollup the estimate pays for the data, with a margin, however well the dummies compress; it is accepted once it
// is signed, and without the part for the data it is not.
func TestEstimatesPayForData(t *testing.T) {
	for _, kind := range []datafee.Kind{datafee.OPStack, datafee.Arbitrum, datafee.Scroll} {
		t.Run(kind.String(), func(t *testing.T) {
			alloc, err := devchain.DataFeeContracts(kind)
			if err != nil {
				t.Fatal(err)
			}
			h := newHarnessWith(t, alloc)
			free := h.estimator
			oracle := datafee.New(kind)
			charging := New(h.estimator.source, Config{MaxCallGas: 3_000_000, DataFees: oracle})
			h.validator = validation.New(h.estimator.source, validation.Config{Unsafe: true, DataFees: oracle})
			for i, v := range userop.Versions() {
				for j, shape := range []func(*userop.UserOperation){func(*userop.UserOperation) {}, h.sponsor} {
					a := h.account(v, int64(200+10*i+j))
					h.pay(a.address, big.NewInt(params.Ether), nil)
					asked := h.op(a, h.execute(common.Address{1}, 0, filled(700)))
					shape(asked)
					h.estimator = free
					without := h.mustEstimate(asked)
					h.estimator = charging
					with := h.mustEstimate(asked)
					if with.PreVerificationGas < without.PreVerificationGas+10_000 || with.CallGasLimit != without.CallGasLimit {
						t.Errorf("v%s: have %+v, want more preVerificationGas than %+v and the same limits", v, with, without)
					}
					op := h.complete(a, asked, with)
					res, err := h.validator.Validate(t.Context(), h.chain.Head(), entryPoint(v), op, validation.Options{})
					if err != nil {
						t.Fatalf("v%s: have %v, want it accepted", v, err)
					}
					if extra := with.PreVerificationGas - without.PreVerificationGas; extra < res.DataGas || extra > res.DataGas*3/2 {
						t.Errorf("v%s: have %d gas for data of which %d are needed, want a margin of about 25 %%", v, extra, res.DataGas)
					}
					op.PreVerificationGas = without.PreVerificationGas
					h.sign(a, op)
					if _, err := h.validator.Validate(t.Context(), h.chain.Head(), entryPoint(v), op, validation.Options{}); err == nil {
						t.Errorf("v%s: have it accepted without a fee for the data", v)
					}
				}
			}
		})
	}
}

// When L1 becomes twice as dear, so does the part for the data, at the next estimate.
func TestDataFeesFollowL1(t *testing.T) {
	alloc, err := devchain.DataFeeContracts(datafee.Arbitrum)
	if err != nil {
		t.Fatal(err)
	}
	h := newHarnessWith(t, alloc)
	h.estimator = New(h.estimator.source, Config{DataFees: datafee.New(datafee.Arbitrum)})
	asked := h.op(h.account(userop.V08, 9), h.count())
	before := h.mustEstimate(asked).PreVerificationGas
	h.call(devchain.Key(1), common.Address{19: 0xc8}, new(big.Int),
		h.pack("shared/NodeInterface.json", "setBaseFees", big.NewInt(20*params.GWei), big.NewInt(params.GWei)))
	after := h.mustEstimate(asked).PreVerificationGas
	if rise := after - before; after <= before || rise*2 < before {
		t.Errorf("have %d after %d, want the part for data doubled", after, before)
	}
}

// Without fees the operation pays the next base fee at least, and data is turned into gas by that.
func TestDataFeesWithoutAPrice(t *testing.T) {
	alloc, err := devchain.DataFeeContracts(datafee.OPStack)
	if err != nil {
		t.Fatal(err)
	}
	h := newHarnessWith(t, alloc)
	h.estimator = New(h.estimator.source, Config{DataFees: datafee.New(datafee.OPStack)})
	asked := h.op(h.account(userop.V08, 9), h.count())
	dear := h.mustEstimate(asked).PreVerificationGas
	asked.MaxFeePerGas, asked.MaxPriorityFeePerGas = uint256.Int{}, uint256.Int{}
	if cheap := h.mustEstimate(asked).PreVerificationGas; cheap <= dear {
		t.Errorf("have %d without fees, %d with 2 gwei for the bundler, want more without", cheap, dear)
	}
}
