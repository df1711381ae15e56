package chain

import (
	"slices"
	"testing"
	"time"

	"baler/datafee"
)

func TestEveryChainThatIsNamedHasASpecOfItsOwn(t *testing.T) {
	seen := make(map[uint64]string)
	for _, name := range SpecNames() {
		stored := specs()[name]
		if len(stored.ChainIDs) == 0 {
			t.Errorf("%s: no chain has it", name)
		}
		for _, id := range stored.ChainIDs {
			if other, taken := seen[id]; taken {
				t.Errorf("chain %d has the specs %s and %s", id, other, name)
			}
			seen[id] = name
			spec := SpecOf(id)
			if spec.Name != name {
				t.Errorf("chain %d: have spec %q, want %q", id, spec.Name, name)
			}
			if spec.MaxFeePerGas.IsZero() || spec.MaxBundleFee.IsZero() || spec.MaxCancellationSpend.IsZero() || spec.BlockTime <= 0 {
				t.Errorf("%s: a limit is missing: %+v", name, spec)
			}
			if spec.MaxCancellationSpend.Gt(&spec.MaxBundleFee) || !spec.MaxFeePerGas.Gt(&spec.MinPriorityFee) {
				t.Errorf("%s: the limits do not fit together: %+v", name, spec)
			}
			if poll := spec.PollInterval(); poll < 100*time.Millisecond || poll > 2*time.Second || poll > spec.BlockTime {
				t.Errorf("%s: heads are polled every %s with a block every %s", name, poll, spec.BlockTime)
			}
		}
	}
	for id, name := range map[uint64]string{
		1: "ethereum", 11155111: "sepolia", 137: "polygon", 10: "optimism", 8453: "base", 42161: "arbitrum", 43114: "avalanche",
		56: "bnb", 100: "gnosis", 534352: "scroll", 1337: "dev",
	} {
		if seen[id] != name {
			t.Errorf("chain %d: have spec %q, want %q", id, seen[id], name)
		}
	}
}

func TestRollupsThatAreKnownChargeForData(t *testing.T) {
	for id, kind := range map[uint64]datafee.Kind{10: datafee.OPStack, 8453: datafee.OPStack, 42161: datafee.Arbitrum, 534352: datafee.Scroll, 534351: datafee.Scroll, 1: datafee.None} {
		if have := SpecOf(id).DataFees; have != kind {
			t.Errorf("chain %d: have data fees of kind %s, want %s", id, have, kind)
		}
	}
}

func TestAChainThatIsNotKnownIsTreatedWithEthereumsCare(t *testing.T) {
	unknown, ethereum := SpecOf(987654321), SpecOf(1)
	if unknown.MaxBundleFee != ethereum.MaxBundleFee || unknown.Name != "unknown" || unknown.DataFees != datafee.None {
		t.Errorf("have %+v", unknown)
	}
	like, known := SpecNamed("polygon", 987654321)
	if !known || like.MinPriorityFee != SpecOf(137).MinPriorityFee {
		t.Errorf("have %+v (%v), want Polygon's numbers", like, known)
	}
	if _, known := SpecNamed("nowhere", 1); known || slices.Contains(SpecNames(), "nowhere") {
		t.Error("a spec that there is not was found")
	}
}
