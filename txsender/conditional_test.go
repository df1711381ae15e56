package txsender

import (
	"context"
	"encoding/json"
	"maps"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"pgregory.net/rapid"
)

// heard remembers the arguments of calls.
type heard struct {
	method string
	args   []any
}

func (h *heard) CallContext(_ context.Context, result any, method string, args ...any) error {
	h.method, h.args = method, args
	*result.(*common.Hash) = someTx().Hash()
	return nil
}

func TestTheNumberOfConditionsIsLimited(t *testing.T) {
	a, b, c := common.Address{1}, common.Address{2}, common.Address{3}
	slots := func(n int) map[common.Hash]common.Hash {
		out := make(map[common.Hash]common.Hash)
		for i := range n {
			out[common.Hash{byte(i)}] = common.Hash{0xff, byte(i)}
		}
		return out
	}
	known := KnownAccounts{a: {Slots: slots(5)}, b: {Slots: slots(2)}, c: {Root: common.Hash{9}}}
	limited := known.limit(5)
	if have := []int{len(limited[a].Slots), len(limited[b].Slots), limited[c].slots()}; have[0] != 2 || have[1] != 2 || have[2] != 1 {
		t.Errorf("have %v conditions, want 2, 2 and the root: each account keeps some", have)
	}
	if limited[a].Slots[common.Hash{1}] != (common.Hash{0xff, 1}) {
		t.Error("a value was lost")
	}
	if all := known.limit(8); all.slots() != 8 {
		t.Errorf("have %d of 8", all.slots())
	}
}

func TestALimitTakesNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		known := make(KnownAccounts)
		for range rapid.IntRange(0, 6).Draw(t, "accounts") {
			account := KnownAccount{Slots: make(map[common.Hash]common.Hash)}
			if rapid.IntRange(0, 3).Draw(t, "root") == 0 {
				account.Root = common.Hash{1}
			}
			for range rapid.IntRange(0, 6).Draw(t, "slots") {
				account.Slots[common.Hash{rapid.Byte().Draw(t, "slot")}] = common.Hash{rapid.Byte().Draw(t, "value")}
			}
			known[common.Address{rapid.Byte().Draw(t, "account")}] = account
		}
		n := rapid.IntRange(0, 40).Draw(t, "limit")
		limited := known.limit(n)
		if have, want := limited.slots(), min(n, known.slots()); have != want {
			t.Fatalf("have %d conditions, want %d", have, want)
		}
		for address, account := range limited {
			if account.slots() == 0 {
				t.Fatal("an account without conditions")
			}
			if account.Root != known[address].Root {
				t.Fatal("another root")
			}
			for slot, value := range account.Slots {
				if have, ok := known[address].Slots[slot]; !ok || have != value {
					t.Fatal("another value")
				}
			}
		}
		again, _ := json.Marshal(known.limit(n))
		if first, _ := json.Marshal(limited); string(first) != string(again) {
			t.Fatal("another choice")
		}
	})
}

func TestALimitOfTheConfigHolds(t *testing.T) {
	node := new(heard)
	sender := mustNew(t, Config{Kind: KindConditional, Node: node, MaxKnownSlots: 1})
	known := KnownAccounts{{1}: {Slots: map[common.Hash]common.Hash{{1}: {}, {2}: {}}}}
	before := maps.Clone(known[common.Address{1}].Slots)
	mustTake(t, Send(t.Context(), sender, someTx(), Hints{KnownAccounts: known}))
	if have := node.args[1].(conditions).KnownAccounts.slots(); have != 1 {
		t.Errorf("have %d conditions, want 1", have)
	}
	if !maps.Equal(before, known[common.Address{1}].Slots) {
		t.Error("the caller's hints were changed")
	}
}

// The sequencers of Arbitrum chains compare block bounds with Ethereum's block number.
func TestBlockBoundsAreNotSentWhereTheyMeanAnotherChain(t *testing.T) {
	for chainID, wants := range map[uint64]bool{1: true, 10: true, 42161: false, 42170: false, 421614: false} {
		node := new(heard)
		sender := mustNew(t, Config{Kind: KindConditional, ChainID: chainID, Node: node})
		mustTake(t, Send(t.Context(), sender, someTx(), Hints{BlockMin: 1, BlockMax: 2, TimeMax: 3}))
		sent := node.args[1].(conditions)
		if have := sent.BlockNumberMin != nil && sent.BlockNumberMax != nil; have != wants || sent.TimestampMax == nil {
			t.Errorf("chain %d: have block bounds %t, want %t, and the time's", chainID, have, wants)
		}
	}
	node := new(heard)
	sender := mustNew(t, Config{Kind: KindConditional, ChainID: 42161, Node: node})
	mustTake(t, Send(t.Context(), sender, someTx(), Hints{BlockMax: 2}))
	if node.method != sendRawTransaction {
		t.Errorf("nothing is left to ask for: have %s", node.method)
	}
}

func TestConditionsAreWrittenAsTheERCSays(t *testing.T) {
	text, err := json.Marshal(conditions{KnownAccounts: KnownAccounts{
		{1}: {Root: common.Hash{2}, Slots: map[common.Hash]common.Hash{{3}: {4}}},
	}})
	want := `{"knownAccounts":{"0x0100000000000000000000000000000000000000":"` + common.Hash{2}.Hex() + `"}}`
	if err != nil || string(text) != want {
		t.Errorf("have %s (%v), want %s", text, err, want)
	}
}
