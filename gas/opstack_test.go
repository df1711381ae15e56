package gas_test

import (
	"testing"

	"baler/gas"

	"github.com/holiman/uint256"
)

// The operator fee is the specifications' own: a scalar in millionths of a wei for a gas by Isthmus, in hundreds of wei by Jovian.
func TestTheOperatorFee(t *testing.T) {
	most := new(uint256.Int).SetAllOne()
	for _, test := range []struct {
		name string
		fee  gas.OperatorFee
		used uint64
		want uint64
	}{
		{"none", gas.OperatorFee{}, 1 << 40, 0},
		{"Isthmus, rounded down", gas.NewOperatorFee(1_439_103_868, 1_256_417_826_609_331_460, false), 1_000_001, 1_256_417_826_609_331_460 + 1_439_105_307},
		{"Jovian", gas.NewOperatorFee(7, 5, true), 21_000, 7*100*21_000 + 5},
		{"no gas", gas.NewOperatorFee(7, 5, true), 0, 5},
	} {
		if have := test.fee.Of(test.used); have.Uint64() != test.want || !have.IsUint64() {
			t.Errorf("%s: have %s, want %d", test.name, have.Dec(), test.want)
		}
	}
	for _, fee := range []gas.OperatorFee{{PerMillionGas: *most}, {PerMillionGas: *uint256.NewInt(9_000_000), Constant: *most}} {
		if have := fee.Of(3); have != *most {
			t.Errorf("%+v: have %s, want it saturated", fee, have.Dec())
		}
	}
}
