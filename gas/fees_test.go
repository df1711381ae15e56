package gas_test

import (
	"math/big"
	"testing"

	"baler/gas"

	"github.com/ethereum/go-ethereum/consensus/misc/eip1559"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

func wei(v uint64) uint256.Int { return *uint256.NewInt(v) }

func fees(maxFee, maxPriority uint64) gas.Fees {
	return gas.Fees{MaxFee: wei(maxFee), MaxPriority: wei(maxPriority)}
}

func allOnes() uint256.Int {
	var x uint256.Int
	x.SetAllOne()
	return x
}

// anyWei draws small and huge values alike.
func anyWei() *rapid.Generator[uint256.Int] {
	return rapid.Custom(func(t *rapid.T) uint256.Int {
		x := new(uint256.Int).SetUint64(rapid.Uint64().Draw(t, "low"))
		x.Lsh(x, uint(rapid.IntRange(0, 200).Draw(t, "shift")))
		return *x
	})
}

func anyFees() *rapid.Generator[gas.Fees] {
	return rapid.Custom(func(t *rapid.T) gas.Fees {
		return gas.Fees{MaxFee: anyWei().Draw(t, "maxFee"), MaxPriority: anyWei().Draw(t, "maxPriority")}
	})
}

func TestBump(t *testing.T) {
	for _, tt := range []struct {
		name    string
		in      gas.Fees
		percent uint64
		want    gas.Fees
	}{
		{"exact", fees(1000, 100), 10, fees(1100, 110)},
		{"rounded up", fees(1001, 101), 10, fees(1102, 112)},
		{"small fees grow by a wei", fees(3, 1), 10, fees(4, 2)},
		{"a zero tip grows too, nodes want both fees higher", fees(100, 0), 10, fees(110, 1)},
		{"no percentage still replaces", fees(100, 7), 0, fees(101, 8)},
		{"more than double", fees(100, 10), 150, fees(250, 25)},
		{"zero stays zero", gas.Fees{}, 10, gas.Fees{}},
		{"saturates", gas.Fees{MaxFee: allOnes(), MaxPriority: allOnes()}, 10, gas.Fees{MaxFee: allOnes(), MaxPriority: allOnes()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.in.Bump(tt.percent); got != tt.want {
				t.Errorf("%v.Bump(%d): have %v, want %v", tt.in, tt.percent, got, tt.want)
			}
		})
	}
}

// A replacement that a node compares in exact arithmetic is at least percent over the old fees, and strictly over.
func TestBumpReplacesInExactArithmetic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old := anyFees().Draw(t, "old")
		percent := rapid.Uint64Range(0, 1000).Draw(t, "percent")
		bumped := old.Bump(percent)
		if old.IsZero() {
			if !bumped.IsZero() {
				t.Fatalf("no fees became %v", bumped)
			}
			return
		}
		for _, f := range [][2]uint256.Int{{old.MaxFee, bumped.MaxFee}, {old.MaxPriority, bumped.MaxPriority}} {
			want := new(big.Int).Mul(f[0].ToBig(), new(big.Int).SetUint64(100+percent))
			have := new(big.Int).Mul(f[1].ToBig(), big.NewInt(100))
			ones := allOnes()
			if f[1] == ones {
				continue // saturated
			}
			if have.Cmp(want) < 0 || f[1].Cmp(&f[0]) <= 0 {
				t.Fatalf("%v bumped by %d%% is %v", &f[0], percent, &f[1])
			}
			// and not more than one wei over what was asked, where that is more than the old fee
			if over := have.Sub(have, want); over.Cmp(big.NewInt(100)) > 0 {
				t.Fatalf("%v bumped by %d%% is %v: too much", &f[0], percent, &f[1])
			}
		}
	})
}

func TestBundleFees(t *testing.T) {
	for _, tt := range []struct {
		name                      string
		baseFee, priority         uint64
		floor                     gas.Fees
		baseOverhead, tipOverhead uint64
		want                      gas.Fees
	}{
		{"defaults", 1000, 100, gas.Fees{}, 27, 0, fees(1370, 100)},
		{"overheads round up", 101, 11, gas.Fees{}, 27, 10, fees(129+13, 13)},
		{"a floor below changes nothing", 1000, 100, fees(1200, 90), 27, 0, fees(1370, 100)},
		{"a tip floor raises both", 1000, 100, fees(1200, 300), 27, 0, fees(1570, 300)},
		{"a fee floor raises the fee alone", 1000, 100, fees(9000, 90), 27, 0, fees(9000, 100)},
		{"a chain without base fee", 0, 100, gas.Fees{}, 27, 0, fees(100, 100)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := gas.BundleFees(wei(tt.baseFee), wei(tt.priority), tt.floor, tt.baseOverhead, tt.tipOverhead)
			if got != tt.want {
				t.Errorf("have %v, want %v", got, tt.want)
			}
		})
	}
}

func TestBundleFeesHoldFloorAndOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		floor := anyFees().Draw(t, "floor")
		baseFee, priority := anyWei().Draw(t, "baseFee"), anyWei().Draw(t, "priority")
		overhead := rapid.Uint64Range(0, 500).Draw(t, "overhead")
		got := gas.BundleFees(baseFee, priority, floor, overhead, overhead)
		if !got.Covers(floor) {
			t.Fatalf("%v is below the floor %v", got, floor)
		}
		if got.MaxFee.Cmp(&got.MaxPriority) < 0 {
			t.Fatalf("maxFee below maxPriority: %v", got)
		}
		if got.MaxFee.Cmp(&baseFee) < 0 {
			t.Fatalf("%v does not pay the base fee %v", got, &baseFee)
		}
	})
}

func TestEffectivePriorityAndPrice(t *testing.T) {
	for _, tt := range []struct {
		name            string
		in              gas.Fees
		baseFee         uint64
		priority, price uint64
	}{
		{"the tip fits", fees(100, 10), 50, 10, 60},
		{"the tip is cut", fees(100, 60), 50, 50, 100},
		{"nothing is left", fees(100, 10), 100, 0, 100},
		{"below the base fee", fees(100, 10), 200, 0, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.in.EffectivePriority(wei(tt.baseFee)); got != wei(tt.priority) {
				t.Errorf("effective priority: have %v, want %d", &got, tt.priority)
			}
			if got := tt.in.EffectivePrice(wei(tt.baseFee)); got != wei(tt.price) {
				t.Errorf("effective price: have %v, want %d", &got, tt.price)
			}
		})
	}
}

func TestPercentIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := anyWei().Draw(t, "x")
		percent := rapid.Uint64().Draw(t, "percent")
		want := new(big.Int).Mul(x.ToBig(), new(big.Int).SetUint64(percent))
		want.Add(want, big.NewInt(99)).Div(want, big.NewInt(100))
		limit := allOnes()
		if want.Cmp(limit.ToBig()) > 0 {
			want = limit.ToBig()
		}
		if got := gas.Percent(x, percent); got.ToBig().Cmp(want) != 0 {
			t.Fatalf("%d%% of %v: have %v, want %v", percent, &x, &got, want)
		}
	})
}

func TestRequiredFees(t *testing.T) {
	// next base fee 1000, overhead 27 %, tip 100
	bundle := fees(1370, 100)
	for _, tt := range []struct {
		name        string
		mode        gas.PriorityFeeMode
		replacement bool
		want        gas.Fees
	}{
		{"zero value asks the bundle's fees", gas.PriorityFeeMode{}, false, fees(1370, 100)},
		{"increase", gas.PriorityFeeMode{Kind: gas.PriorityFeeIncreasePercent, Value: 25}, false, fees(1395, 125)},
		{"increase rounds up", gas.PriorityFeeMode{Kind: gas.PriorityFeeIncreasePercent, Value: 1}, false, fees(1371, 101)},
		{"part of the base fee", gas.PriorityFeeMode{Kind: gas.BaseFeePercent, Value: 5}, false, fees(1320, 50)},
		{"a replacement asks the bundle's own", gas.PriorityFeeMode{Kind: gas.BaseFeePercent, Value: 50}, true, fees(1370, 100)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := gas.RequiredFees(tt.mode, bundle, wei(1000), tt.replacement)
			if got != tt.want {
				t.Fatalf("have %v, want %v", got, tt.want)
			}
			if !gas.Pays(got, got) {
				t.Error("the required fees do not pay")
			}
			for _, less := range []gas.Fees{
				fees(got.MaxFee.Uint64()-1, got.MaxPriority.Uint64()),
				fees(got.MaxFee.Uint64(), got.MaxPriority.Uint64()-1),
			} {
				if gas.Pays(less, got) {
					t.Errorf("%v pays %v", less, got)
				}
			}
		})
	}
}

func TestPriorityFeeModeIsReadAsItIsWritten(t *testing.T) {
	for kind, spelling := range map[gas.PriorityFeeModeKind]string{
		gas.PriorityFeeIncreasePercent: "priority_fee_increase_percent",
		gas.BaseFeePercent:             "base_fee_percent",
	} {
		mode, err := gas.ParsePriorityFeeMode(spelling, 7)
		if err != nil || mode.Kind != kind || mode.Value != 7 {
			t.Errorf("%s: have %v, %v", spelling, mode, err)
		}
		if mode.String() != spelling+"=7" {
			t.Errorf("have %s, want %s=7", mode, spelling)
		}
		text, err := kind.MarshalText()
		if err != nil || string(text) != spelling {
			t.Errorf("MarshalText: have %s, %v", text, err)
		}
		var back gas.PriorityFeeModeKind
		if err := back.UnmarshalText(text); err != nil || back != kind {
			t.Errorf("UnmarshalText(%s): have %v, %v", text, back, err)
		}
	}
	if _, err := gas.ParsePriorityFeeMode("priority", 7); err == nil {
		t.Error("an unknown kind is read")
	}
}

func TestNextBaseFee(t *testing.T) {
	config := params.MainnetChainConfig
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Uint64Range(5000, 100_000_000).Draw(t, "limit")
		parent := &types.Header{
			Number:   big.NewInt(23_000_000),
			GasLimit: limit,
			GasUsed:  rapid.Uint64Range(0, limit).Draw(t, "used"),
			BaseFee:  new(big.Int).SetUint64(rapid.Uint64().Draw(t, "baseFee")),
		}
		got, err := gas.NextBaseFee(config, parent)
		if err != nil {
			t.Fatal(err)
		}
		child := &types.Header{Number: big.NewInt(23_000_001), GasLimit: limit, BaseFee: got.ToBig()}
		if err := eip1559.VerifyEIP1559Header(config, parent, child); err != nil {
			t.Fatalf("a node refuses the base fee: %v", err)
		}
	})
}

func TestNextBaseFeeOfABrokenHeader(t *testing.T) {
	for name, header := range map[string]*types.Header{
		"no base fee":  {Number: big.NewInt(23_000_000), GasLimit: 30_000_000},
		"no gas limit": {Number: big.NewInt(23_000_000), BaseFee: big.NewInt(7)},
	} {
		if _, err := gas.NextBaseFee(params.MainnetChainConfig, header); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
