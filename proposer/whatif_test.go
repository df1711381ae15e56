package proposer

import (
	"errors"
	"iter"
	"math/big"
	"slices"
	"testing"

	"baler/gas"
	"baler/pool"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

func sequence(moments ...*Moment) iter.Seq2[*Moment, error] {
	return func(yield func(*Moment, error) bool) {
		for _, m := range moments {
			if !yield(m, nil) {
				return
			}
		}
	}
}

func moment(block uint64, percent uint64, ops ...*pool.Operation) *Moment {
	policy := gas.Policy{Mode: gas.PriorityFeeMode{Value: percent}, BaseFeeOverheadPercent: 27}
	return MomentOf(block, ep07.Address, baseFee, *uint256.NewInt(10), policy, ops)
}

func TestMomentsAreReadAsTheyAreWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &Moment{
			Block: rapid.Uint64().Draw(t, "block"), EntryPoint: common.Address{rapid.Byte().Draw(t, "entry point")}, BaseFee: rapid.Uint64().Draw(t, "base fee"),
			Priority: rapid.Uint64().Draw(t, "priority"),
			Policy:   gas.Policy{Mode: gas.PriorityFeeMode{Kind: gas.BaseFeePercent, Value: rapid.Uint64().Draw(t, "value")}, BaseFeeOverheadPercent: 27, PriorityFeeOverheadPercent: 3},
		}
		for range rapid.IntRange(0, 5).Draw(t, "candidates") {
			m.Candidates = append(m.Candidates, Candidate{
				ID: [16]byte{rapid.Byte().Draw(t, "id")}, Sender: [8]byte{rapid.Byte().Draw(t, "sender")}, Staked: rapid.Bool().Draw(t, "staked"),
				MaxFee: rapid.Uint64().Draw(t, "max fee"), MaxPriority: rapid.Uint64().Draw(t, "max priority"), MaxGas: rapid.Uint64().Draw(t, "max gas"), Gas: rapid.Uint64().Draw(t, "gas"),
			})
		}
		b := m.Encode()
		back, err := DecodeMoment(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, back); diff != "" {
			t.Fatalf("(-want +have):\n%s", diff)
		}
		cut := b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")]
		if _, err := DecodeMoment(cut); !errors.Is(err, ErrMoment) {
			t.Fatalf("cut off: have %v, want %v", err, ErrMoment)
		}
	})
}

// The second operation pays half more than the bundle's priority fee, the first three times it. Both have 210,000 gas.
func TestAnotherPolicyIsReplayedOnTheSameMoments(t *testing.T) {
	rich, poor := operation(1, fees(1000, 30)), operation(2, fees(1000, 15))
	moments := []*Moment{moment(7, 100, rich, poor), moment(9, 100, poor), moment(10, 0, poor)}
	asIs, err := WhatIf{}.Replay(sequence(moments...))
	if err != nil {
		t.Fatal(err)
	}
	// As it was: the rich one at once, the poor one when nothing was added to the bundle's priority fee any more.
	want := &Replayed{Moments: 3, Bundles: 2, Operations: 2, Blocks: 3, Margin: big.NewInt(20*110_000 + 5*110_000)}
	equal := cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })
	if diff := cmp.Diff(want, asIs, equal); diff != "" {
		t.Errorf("as it was (-want +have):\n%s", diff)
	}
	for percent, want := range map[uint64]*Replayed{
		0:   {Moments: 3, Bundles: 1, Operations: 2, Margin: big.NewInt(25 * 110_000)},
		200: {Moments: 3, Bundles: 1, Operations: 1, Never: 1, Margin: big.NewInt(20 * 110_000)},
		300: {Moments: 3, Never: 2, Margin: new(big.Int)},
	} {
		policy := moments[0].Policy
		policy.Mode.Value = percent
		have, err := WhatIf{Policy: &policy}.Replay(sequence(moments...))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, have, equal); diff != "" {
			t.Errorf("%d %% (-want +have):\n%s", percent, diff)
		}
	}
}

func TestAReplayKeepsTheBundlesBounds(t *testing.T) {
	ops := []*pool.Operation{operation(1), operation(2), operation(3), operation(1, nonce(1, 0))}
	for name, c := range map[string]struct {
		w    WhatIf
		want int
	}{
		"one operation of a sender": {WhatIf{}, 3},
		"size":                      {WhatIf{MaxBundleSize: 2}, 2},
		"gas":                       {WhatIf{MaxBundleGas: 210_000}, 1},
	} {
		have, err := c.w.Replay(sequence(moment(7, 0, slices.Clone(ops)...)))
		if err != nil || have.Operations != c.want {
			t.Errorf("%s: have %d operations (%v), want %d", name, have.Operations, err, c.want)
		}
	}
}

// What a proposal considered is what a replay under its own policy bundles.
func TestTheRecordIsOfWhatWasConsidered(t *testing.T) {
	s := newScene(t)
	one, two, cheap := operation(1, fees(1000, 90)), operation(2, fees(1000, 80)), operation(3, fees(136, 10))
	s.add(t, one, two, cheap)
	p := s.propose(t, request())
	if len(p.Considered) != 3 {
		t.Fatalf("have %d operations considered, want 3", len(p.Considered))
	}
	have, err := WhatIf{}.Replay(sequence(moment(100, 0, p.Considered...)))
	if err != nil || have.Operations != len(p.Bundle.Ops) || have.Never != 1 {
		t.Errorf("have %+v (%v), want the %d of the bundle", have, err, len(p.Bundle.Ops))
	}
}
