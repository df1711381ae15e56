package gas_test

import (
	"testing"

	"baler/gas"

	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

func TestTheHighestBaseFeeIsTheLastAtWhichAnOperationIsTaken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := gas.Policy{
			Mode: gas.PriorityFeeMode{
				Kind:  rapid.SampledFrom([]gas.PriorityFeeModeKind{gas.PriorityFeeIncreasePercent, gas.BaseFeePercent}).Draw(t, "kind"),
				Value: rapid.Uint64Range(0, 300).Draw(t, "value"),
			},
			BaseFeeOverheadPercent:     rapid.Uint64Range(0, 300).Draw(t, "base fee overhead"),
			PriorityFeeOverheadPercent: rapid.Uint64Range(0, 300).Draw(t, "priority fee overhead"),
		}
		op, priority := anyFees().Draw(t, "operation"), wei(rapid.Uint64().Draw(t, "priority"))
		if op.MaxFee.BitLen() > 200 {
			op.MaxFee = wei(rapid.Uint64().Draw(t, "max fee"))
		}
		taken := func(baseFee uint256.Int) bool {
			_, required := p.Required(baseFee, priority)
			return gas.Pays(op, required)
		}
		highest, ok := p.HighestBaseFee(op, priority)
		if !ok {
			if taken(uint256.Int{}) {
				t.Fatalf("have no base fee, want it taken at 0 at least")
			}
			return
		}
		next := highest
		next.AddUint64(&next, 1)
		if !taken(highest) || taken(next) {
			t.Fatalf("have %v: taken %v there, %v at one wei more", highest.Dec(), taken(highest), taken(next))
		}
	})
}
