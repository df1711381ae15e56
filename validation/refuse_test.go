package validation_test

import (
	"strings"
	"testing"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/rejection"
	"baler/userop"
	"baler/validation"

	"github.com/ethereum/go-ethereum/common"
)

func failingOp() *userop.UserOperation {
	return &userop.UserOperation{Version: userop.V07, Sender: common.Address{1}, Factory: &common.Address{2}, Paymaster: &common.Address{3}}
}

// An EntryPoint's own words decide; words that it only passed on from the contract it called do not.
func TestRefusalsBelieveTheEntryPointAlone(t *testing.T) {
	cases := []struct {
		name   string
		reason string
		called erc7562.Entity
		own    bool
		kind   rejection.Kind
		entity erc7562.Entity
	}{
		{"account's fault after the paymaster was called", "AA24 signature error", erc7562.Paymaster, true, rejection.InvalidSignature, erc7562.Sender},
		{"paymaster's deposit before it was called", "AA31 paymaster deposit too low", erc7562.Sender, true, rejection.PaymasterDepositLow, erc7562.Paymaster},
		{"creation", "AA14 initCode must return sender", erc7562.Factory, true, rejection.EntryPointRejected, erc7562.Factory},
		{"a code of no class", "AA94 gas values overflow", erc7562.Sender, true, rejection.EntryPointRejected, erc7562.Sender},
		{"a factory that blames the paymaster", "AA33 reverted", erc7562.Factory, false, rejection.EntryPointRejected, erc7562.Factory},
		{"a paymaster that blames the account", "AA24 signature error", erc7562.Paymaster, false, rejection.PaymasterRejected, erc7562.Paymaster},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			refused := validation.RefusalOf(failingOp(), failedOp(0, c.reason), c.called, c.own)
			if refused.Kind != c.kind || refused.Entity != c.entity || refused.Message != c.reason {
				t.Errorf("have %d %v %q, want %d %v %q", refused.Kind, refused.Entity, refused.Message, c.kind, c.entity, c.reason)
			}
			want := map[erc7562.Entity]common.Address{erc7562.Sender: {1}, erc7562.Factory: {2}, erc7562.Paymaster: {3}}[c.entity]
			if refused.Address != want {
				t.Errorf("address: have %s, want %s", refused.Address, want)
			}
		})
	}
}

// Whatever a contract reverts with, there is a refusal of bounded size that blames an entity of the operation.
func FuzzRefusalOf(f *testing.F) {
	f.Add([]byte(nil), uint8(1), true)
	f.Add(failedOp(3, "AA24 signature error"), uint8(3), true)
	f.Add(failedOp(0, strings.Repeat("AA", 5_000)), uint8(2), false)
	f.Add(append(selector("FailedOpWithRevert(uint256,string,bytes)"), make([]byte, 96)...), uint8(1), true)
	f.Fuzz(func(t *testing.T, data []byte, entity uint8, own bool) {
		called := erc7562.Entity(entity%3) + erc7562.Sender
		refused := validation.RefusalOf(failingOp(), data, called, own)
		if refused == nil || refused.Message == "" || len(refused.Message) > 4_096 {
			t.Fatalf("have %v, want a bounded message", refused)
		}
		if refused.Entity != erc7562.Aggregator && refused.Address == (common.Address{}) {
			t.Errorf("have entity %v without an address", refused.Entity)
		}
		if !own && refused.Entity != called {
			t.Errorf("have %v blamed by words that are not the EntryPoint's, want %v", refused.Entity, called)
		}
		if code := entrypoint.AACode(refused.Message); code == "AA24" && own && refused.Kind != rejection.InvalidSignature {
			t.Errorf("have %d for %q", refused.Kind, refused.Message)
		}
	})
}
