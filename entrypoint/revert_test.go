package entrypoint_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"baler/entrypoint"
	"baler/userop"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
)

// revertData encodes an error by its signature, "Name(type,type)".
func revertData(t testing.TB, signature string, args ...any) []byte {
	t.Helper()
	name, types, _ := strings.Cut(strings.TrimSuffix(signature, ")"), "(")
	if name == "" {
		t.Fatalf("bad signature %q", signature)
	}
	var arguments abi.Arguments
	for _, typ := range strings.FieldsFunc(types, func(r rune) bool { return r == ',' }) {
		parsed, err := abi.NewType(typ, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		arguments = append(arguments, abi.Argument{Type: parsed})
	}
	data, err := arguments.Pack(args...)
	if err != nil {
		t.Fatal(err)
	}
	return append(crypto.Keccak256([]byte(signature))[:4], data...)
}

func TestDecodeRevert(t *testing.T) {
	a := common.HexToAddress("0x5FF137D4b0FDCD49DcA30c7CF57E578a026d2789")
	inner := revertData(t, "Error(string)", "no money")
	nested := inner
	for range 50 {
		nested = revertData(t, "PostOpReverted(bytes)", nested)
	}
	tests := []struct {
		name string
		data []byte
		want entrypoint.Revert
		text string
	}{
		{"FailedOp", revertData(t, "FailedOp(uint256,string)", uint256.NewInt(3).ToBig(), "AA24 signature error"), entrypoint.FailedOp{3, "AA24 signature error"}, "AA24 signature error"},
		{"FailedOpWithRevert", revertData(t, "FailedOpWithRevert(uint256,string,bytes)", uint256.NewInt(3).ToBig(), "AA23 reverted", inner), entrypoint.FailedOpWithRevert{3, "AA23 reverted", inner}, "AA23 reverted: no money"},
		{"FailedOpWithRevert without data", revertData(t, "FailedOpWithRevert(uint256,string,bytes)", uint256.NewInt(0).ToBig(), "AA23 reverted", []byte{}), entrypoint.FailedOpWithRevert{0, "AA23 reverted", []byte{}}, "AA23 reverted"},
		{"SignatureValidationFailed", revertData(t, "SignatureValidationFailed(address)", a), entrypoint.SignatureValidationFailed{a}, "signature validation failed in aggregator 0x5FF137D4b0FDCD49DcA30c7CF57E578a026d2789"},
		{"PostOpReverted", revertData(t, "PostOpReverted(bytes)", inner), entrypoint.PostOpReverted{inner}, "postOp reverted: no money"},
		{"Error", inner, entrypoint.ErrorString{"no money"}, "no money"},
		{"Panic", revertData(t, "Panic(uint256)", uint256.NewInt(0x11).ToBig()), entrypoint.Panic{*uint256.NewInt(0x11)}, "panic 0x11 (arithmetic overflow)"},
		{"Panic with a wide code", revertData(t, "Panic(uint256)", new(uint256.Int).Lsh(uint256.NewInt(1), 64).ToBig()), entrypoint.Panic{*new(uint256.Int).Lsh(uint256.NewInt(1), 64)}, "panic 0x10000000000000000"},
		{"SenderAddressResult", revertData(t, "SenderAddressResult(address)", a), entrypoint.SenderAddressResult{a}, "sender address 0x5FF137D4b0FDCD49DcA30c7CF57E578a026d2789"},
		{"DelegateAndRevert", revertData(t, "DelegateAndRevert(bool,bytes)", true, []byte{1}), entrypoint.DelegateAndRevert{true, []byte{1}}, "delegate call answered: success true, 0x01"},
		{"named", revertData(t, "Reentrancy()"), entrypoint.NamedError{"Reentrancy", []byte{}}, "Reentrancy"},
		{"named with arguments", revertData(t, "InvalidPaymasterData(uint256)", uint256.NewInt(5).ToBig()), entrypoint.NamedError{"InvalidPaymasterData", common.LeftPadBytes([]byte{5}, 32)}, "InvalidPaymasterData(0x" + strings.Repeat("0", 63) + "5)"},
		{"nothing", nil, entrypoint.UnknownRevert{}, "reverted without a reason"},
		{"unknown", []byte{1, 2, 3, 4, 5}, entrypoint.UnknownRevert{[]byte{1, 2, 3, 4, 5}}, "reverted with 0x0102030405"},
		{"cut off", inner[:36], entrypoint.UnknownRevert{inner[:36]}, "reverted with 0x08c379a0" + strings.Repeat("0", 62) + "20"},
		{"long", bytes.Repeat([]byte{0xee}, 100), entrypoint.UnknownRevert{bytes.Repeat([]byte{0xee}, 100)}, "reverted with 0x" + strings.Repeat("ee", 64) + "… (100 bytes)"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, entrypoint.DecodeRevert(tc.data)); diff != "" {
				t.Error(diff)
			}
			if have := entrypoint.RevertReason(tc.data); have != tc.text {
				t.Errorf("have %q, want %q", have, tc.text)
			}
		})
	}
	if have := entrypoint.RevertReason(nested); !strings.HasPrefix(have, "postOp reverted: postOp reverted: ") || len(have) > 600 {
		t.Errorf("deep nesting: have %q", have)
	}
}

// A contract chooses these texts: they must not break a log line or a page.
func TestRevertTextIsFitToShow(t *testing.T) {
	for name, message := range map[string]string{
		"control characters":  "a\x00b\nc\x1b[31m",
		"broken UTF-8":        "a\xff\xfe",
		"right-to-left trick": "a\u202eb",
		"endless":             strings.Repeat("é", 100_000),
	} {
		have := entrypoint.RevertReason(revertData(t, "Error(string)", message))
		if len(have) > 520 || !utf8.ValidString(have) || strings.ContainsAny(have, "\x00\n\x1b\u202e") {
			t.Errorf("%s: have %q", name, have)
		}
	}
}

func TestAACode(t *testing.T) {
	for reason, want := range map[string]string{
		"AA24 signature error": "AA24", "AA95": "AA95", "AA2": "", "": "", "AAxx": "", "reverted: AA24": "", "aa24": "",
	} {
		if have := entrypoint.AACode(reason); have != want {
			t.Errorf("%q: have %q, want %q", reason, have, want)
		}
	}
}

// What the real contracts say when an operation cannot be handled.
func TestRevertsOfTheRealContracts(t *testing.T) {
	eachVersion(t, func(t *testing.T, w *world) {
		v := w.ep.Version
		sender, paymaster := common.Address{0xaa}, common.Address{0xbb}
		w.account(sender, uint256.Int{}, logsCall...)
		good := func() *userop.UserOperation { return w.operation(sender) }
		money := revertData(t, "Error(string)", "no money")
		withRevert := func(index uint64, reason string) entrypoint.Revert {
			if v == userop.V06 {
				return entrypoint.FailedOp{index, reason + ": no money"}
			}
			return entrypoint.FailedOpWithRevert{index, reason, money}
		}

		second := w.operation(common.Address{0xcc})
		undeployed := entrypoint.Revert(entrypoint.FailedOp{1, "AA20 account not deployed"})
		if v <= userop.V07 { // only their simulation names it
			undeployed = entrypoint.UnknownRevert{}
		}
		w.wantRevert(t, "undeployed", undeployed, good(), second)

		w.setCode(second.Sender, validating(v, *uint256.NewInt(1), logsCall...))
		w.deposit(second.Sender)
		w.wantRevert(t, "signature", entrypoint.FailedOp{1, "AA24 signature error"}, good(), second)

		w.setCode(second.Sender, refusing(money))
		w.wantRevert(t, "account reverts", withRevert(1, "AA23 reverted"), good(), second)

		w.setCode(paymaster, refusing(money))
		w.deposit(paymaster)
		sponsored := good()
		sponsored.Paymaster = &paymaster
		if v.Packed() {
			sponsored.PaymasterVerificationGasLimit = 100_000
		}
		w.wantRevert(t, "paymaster reverts", withRevert(0, "AA33 reverted"), sponsored)

		again := good()
		again.Nonce.SetUint64(7)
		w.wantRevert(t, "nonce", entrypoint.FailedOp{0, "AA25 invalid account nonce"}, again)

		ret, err := w.call(w.ep.Address, entrypoint.EncodeHandleOps(v, nil, common.Address{}), nil)
		want := entrypoint.Revert(entrypoint.ErrorString{"AA90 invalid beneficiary"})
		if v == userop.V09 {
			want = entrypoint.NamedError{"InvalidBeneficiary", make([]byte, 32)}
		}
		if diff := cmp.Diff(want, entrypoint.DecodeRevert(ret)); err == nil || diff != "" {
			t.Errorf("beneficiary: have error %v\n%s", err, diff)
		}

		aggregator := common.Address{0xdd}
		w.setCode(aggregator, refusing(nil))
		groups := []entrypoint.OpsPerAggregator{{Ops: []*userop.UserOperation{good()}, Aggregator: aggregator}}
		ret, err = w.call(w.ep.Address, entrypoint.EncodeHandleAggregatedOps(v, groups, eoa), nil)
		if diff := cmp.Diff(entrypoint.SignatureValidationFailed{aggregator}, entrypoint.DecodeRevert(ret)); err == nil || diff != "" {
			t.Errorf("aggregator: have error %v\n%s", err, diff)
		}

		factory := common.Address{0xfa}
		w.setCode(factory, answering(common.LeftPadBytes(sender[:], 32)))
		ret, err = w.call(w.ep.Address, w.pack("getSenderAddress", factory[:]), nil)
		if diff := cmp.Diff(entrypoint.SenderAddressResult{sender}, entrypoint.DecodeRevert(ret)); err == nil || diff != "" {
			t.Errorf("getSenderAddress: have error %v\n%s", err, diff)
		}
		if ret, ok := w.handle(good()); !ok {
			t.Errorf("the good operation alone: %s", entrypoint.RevertReason(ret))
		}
	})
}

func (w *world) wantRevert(t *testing.T, name string, want entrypoint.Revert, ops ...*userop.UserOperation) {
	t.Helper()
	ret, ok := w.handle(ops...)
	if ok {
		t.Errorf("%s: handleOps did not revert", name)
	}
	if diff := cmp.Diff(want, entrypoint.DecodeRevert(ret)); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
}

func FuzzDecodeRevert(f *testing.F) {
	f.Add(revertData(f, "FailedOp(uint256,string)", uint256.NewInt(3).ToBig(), "AA24 signature error"))
	f.Add(revertData(f, "FailedOpWithRevert(uint256,string,bytes)", uint256.NewInt(3).ToBig(), "AA23 reverted", []byte{1}))
	f.Add(revertData(f, "PostOpReverted(bytes)", revertData(f, "Error(string)", "é\x00")))
	f.Add(revertData(f, "DelegateAndRevert(bool,bytes)", true, []byte{1}))
	f.Fuzz(func(t *testing.T, data []byte) {
		text := entrypoint.RevertReason(data)
		if text == "" && len(data) < 4 {
			t.Fatal("no text")
		}
		if len(text) > 600 || !utf8.ValidString(text) {
			t.Fatalf("have a text of %d bytes: %q", len(text), text)
		}
	})
}
