package userop_test

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"

	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

type object = map[string]any

const (
	senderHex    = "0x1111111111111111111111111111111111111111"
	factoryHex   = "0x2222222222222222222222222222222222222222"
	paymasterHex = "0x3333333333333333333333333333333333333333"
)

// complete returns the JSON members of a minimal operation of the version.
func complete(v userop.Version) object {
	o := object{
		"sender": senderHex, "nonce": "0x1", "callData": "0xabcd", "callGasLimit": "0x2", "verificationGasLimit": "0x3",
		"preVerificationGas": "0x4", "maxFeePerGas": "0x5", "maxPriorityFeePerGas": "0x6", "signature": "0x",
	}
	if v == userop.V06 {
		o["initCode"], o["paymasterAndData"] = "0x", "0x"
	}
	return o
}

func sponsored(v userop.Version) object {
	return with(complete(v), object{
		"paymaster": paymasterHex, "paymasterData": "0x", "paymasterVerificationGasLimit": "0x7", "paymasterPostOpGasLimit": "0x8",
	})
}

func delegated() object {
	return with(complete(userop.V08), object{"eip7702Auth": object{
		"chainId": "0x1", "address": factoryHex, "nonce": "0x2", "yParity": "0x1", "r": "0x3", "s": "0x4",
	}})
}

// with returns the object with members replaced, or removed where the value is nil.
func with(o, changes object) object {
	o = maps.Clone(o)
	for k, v := range changes {
		if v == nil {
			delete(o, k)
		} else {
			o[k] = v
		}
	}
	return o
}

func withAuth(changes object) object {
	o := delegated()
	o["eip7702Auth"] = with(o["eip7702Auth"].(object), changes)
	return o
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestDecodeRefusesWithTheNameOfTheField(t *testing.T) {
	long := "0x" + strings.Repeat("f", 1000)
	tests := []struct {
		name    string
		version userop.Version
		json    object
		want    string
	}{
		{"decimal quantity", userop.V07, with(complete(userop.V07), object{"callGasLimit": "12"}), `callGasLimit: have "12", want a 0x-prefixed hex quantity`},
		{"JSON number", userop.V07, with(complete(userop.V07), object{"nonce": 12}), `nonce: have 12, want a 0x-prefixed hex quantity`},
		{"empty quantity", userop.V07, with(complete(userop.V07), object{"nonce": "0x"}), `nonce: have "0x", want a 0x-prefixed hex quantity`},
		{"not hex", userop.V07, with(complete(userop.V07), object{"nonce": "0xzz"}), `nonce: have "0xzz", want a 0x-prefixed hex quantity`},
		{"nonce too wide", userop.V07, with(complete(userop.V07), object{"nonce": long}), `(1004 characters), want a number of at most 256 bits`},
		{"gas too wide", userop.V07, with(complete(userop.V07), object{"callGasLimit": "0x10000000000000000"}), `callGasLimit: have "0x10000000000000000", want a number of at most 64 bits`},
		{"fee too wide", userop.V06, with(complete(userop.V06), object{"maxFeePerGas": "0x1000000000000000000000000000000"}), `want a number of at most 120 bits`},
		{"missing", userop.V07, with(complete(userop.V07), object{"callData": nil}), `callData: missing`},
		{"missing signature", userop.V06, with(complete(userop.V06), object{"signature": nil}), `signature: missing`},
		{"missing gas", userop.V06, with(complete(userop.V06), object{"preVerificationGas": nil}), `preVerificationGas: missing`},
		{"missing fee", userop.V06, with(complete(userop.V06), object{"maxPriorityFeePerGas": nil}), `maxPriorityFeePerGas: missing`},
		{"missing initCode", userop.V06, with(complete(userop.V06), object{"initCode": nil}), `initCode: missing`},
		{"odd digits", userop.V07, with(complete(userop.V07), object{"callData": "0xabc"}), `callData: have "0xabc", an odd number of hex digits`},
		{"no prefix", userop.V07, with(complete(userop.V07), object{"callData": "abcd"}), `callData: have "abcd", want 0x-prefixed hex bytes (0x if empty)`},
		{"empty string", userop.V07, with(complete(userop.V07), object{"callData": ""}), `callData: have "", want 0x-prefixed hex bytes (0x if empty)`},
		{"bytes as array", userop.V07, with(complete(userop.V07), object{"callData": []int{1}}), `callData: have [1], want 0x-prefixed hex bytes (0x if empty)`},
		{"short address", userop.V07, with(complete(userop.V07), object{"sender": "0x1234"}), `sender: have "0x1234", want a 0x-prefixed address of 20 bytes`},
		{"long address", userop.V07, with(complete(userop.V07), object{"sender": senderHex + "00"}), `sender: have "` + senderHex + `00", want a 0x-prefixed address of 20 bytes`},
		{"unknown field", userop.V07, with(complete(userop.V07), object{"gasPrice": "0x1"}), `gasPrice: not a field of a user operation of EntryPoint v0.7`},
		{"field of v0.6", userop.V07, with(complete(userop.V07), object{"initCode": "0x"}), `initCode: not a field of a user operation of EntryPoint v0.7`},
		{"field of v0.7", userop.V06, with(complete(userop.V06), object{"factory": factoryHex}), `factory: not a field of a user operation of EntryPoint v0.6`},
		{"field of v0.9", userop.V08, with(sponsored(userop.V08), object{"paymasterSignature": "0x12"}), `paymasterSignature: not a field of a user operation of EntryPoint v0.8`},
		{"wrong case of a name", userop.V07, with(complete(userop.V07), object{"calldata": "0x"}), `calldata: not a field of a user operation of EntryPoint v0.7`},
		{"short initCode", userop.V06, with(complete(userop.V06), object{"initCode": "0x1234"}), `initCode: have 2 bytes, want none or at least 20`},
		{"short paymasterAndData", userop.V06, with(complete(userop.V06), object{"paymasterAndData": "0x1234"}), `paymasterAndData: have 2 bytes, want none or at least 20`},
		{"factory alone", userop.V07, with(complete(userop.V07), object{"factory": factoryHex}), `factoryData: missing, want it together with factory`},
		{"factoryData alone", userop.V07, with(complete(userop.V07), object{"factoryData": "0x"}), `factoryData: given without factory, want both or neither`},
		{"marker before v0.8", userop.V07, with(complete(userop.V07), object{"factory": "0x7702", "factoryData": "0x"}), `the EIP-7702 marker, which EntryPoint v0.7 does not know`},
		{"paymaster alone", userop.V07, with(complete(userop.V07), object{"paymaster": paymasterHex}), `paymasterData: missing`},
		{"paymaster without postOp gas", userop.V07, with(sponsored(userop.V07), object{"paymasterPostOpGasLimit": nil}), `paymasterPostOpGasLimit: missing`},
		{"paymaster data alone", userop.V07, with(complete(userop.V07), object{"paymasterData": "0x"}), `paymasterData: given without paymaster, want all paymaster fields or none`},
		{"paymaster signature alone", userop.V09, with(complete(userop.V09), object{"paymasterSignature": "0x12"}), `paymasterSignature: given without paymaster, want all paymaster fields or none`},
		{"empty paymaster", userop.V07, with(sponsored(userop.V07), object{"paymaster": "0x"}), `paymaster: have "0x", want a 0x-prefixed address of 20 bytes`},
		{"paymaster signature too long", userop.V09, with(sponsored(userop.V09), object{"paymasterSignature": "0x" + strings.Repeat("00", 65536)}), `paymasterSignature: have 65536 bytes, want at most 65535`},
		{"broken paymaster suffix", userop.V09, with(sponsored(userop.V09), object{"paymasterData": "0x000122e325a297439656"}), `paymasterData: ends with the paymaster signature magic`},
		{"authorization not an object", userop.V08, with(delegated(), object{"eip7702Auth": "0x"}), `eip7702Auth: have "0x", want a JSON object`},
		{"AUTH-010/two authorizations", userop.V08, with(delegated(), object{"eip7702Auth": []any{delegated()["eip7702Auth"], delegated()["eip7702Auth"]}}), `eip7702Auth: have `},
		{"authorization without address", userop.V08, withAuth(object{"address": nil}), `eip7702Auth.address: missing`},
		{"authorization without parity", userop.V08, withAuth(object{"yParity": nil}), `eip7702Auth.yParity: missing`},
		{"authorization without r", userop.V08, withAuth(object{"r": nil}), `eip7702Auth.r: missing`},
		{"parity 2", userop.V08, withAuth(object{"yParity": "0x2"}), `eip7702Auth.yParity: have "0x2", want 0x0 or 0x1`},
		{"v and parity differ", userop.V08, withAuth(object{"v": "0x1b"}), `eip7702Auth.v: differs from yParity`},
		{"authorization nonce too wide", userop.V08, withAuth(object{"nonce": "0x10000000000000000"}), `eip7702Auth.nonce: have "0x10000000000000000", want a number of at most 64 bits`},
		{"unknown authorization field", userop.V08, withAuth(object{"codeAddress": factoryHex}), `eip7702Auth.codeAddress: not a field of eip7702Auth`},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			_, err := userop.Decode(encode(t, tc.json), tc.version)
			checkFieldError(t, err, tc.want)
		})
	}
}

func TestDecodeRefusesWhatIsNoObject(t *testing.T) {
	tests := []struct{ name, json, want string }{
		{"nothing", ``, `userOperation: have incomplete JSON, want an object`},
		{"array", `[]`, `userOperation: have [], want a JSON object`},
		{"string", `"0x"`, `userOperation: have "0x", want a JSON object`},
		{"null", `null`, `userOperation: have null, want a JSON object`},
		{"cut off", `{"sender":`, `userOperation: have incomplete JSON, want an object`},
		{"not JSON", `{sender}`, `userOperation: not valid JSON: `},
		{"two objects", `{}{}`, `userOperation: have data after the JSON object`},
		{"repeated field", `{"nonce":"0x1","nonce":"0x2"}`, `nonce: given twice`},
		{"repeated in another spelling", `{"nonce":"0x1","\u006eonce":null}`, `nonce: given twice`},
		{"control characters", `{"sender":"` + "\u0085\u202e" + `"}`, `sender: have "??", want`},
		{"control characters in a name", `{"\u0000` + strings.Repeat("x", 100) + `":1,"\u0000` + strings.Repeat("x", 100) + `":1}`, `?xxx`},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			_, err := userop.Decode([]byte(tc.json), userop.V07)
			checkFieldError(t, err, tc.want)
		})
	}
}

// checkFieldError wants a short *FieldError with the text in it.
func checkFieldError(t *testing.T, err error, want string) {
	t.Helper()
	if _, ok := errors.AsType[*userop.FieldError](err); !ok {
		t.Fatalf("have error %v (%T), want a *FieldError", err, err)
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("have error %q, want %q in it", err, want)
	}
	if len(err.Error()) > 300 {
		t.Errorf("error of %d bytes echoes too much of the input", len(err.Error()))
	}
}

func TestDecodeIsLiberalWithSpelling(t *testing.T) {
	marker := userop.EIP7702Marker
	tests := []struct {
		name    string
		version userop.Version
		changes object
		check   func(op *userop.UserOperation) bool
	}{
		{"leading zeros", userop.V07, object{"nonce": "0x000" + strings.Repeat("0", 100) + "12"}, func(op *userop.UserOperation) bool { return op.Nonce.Eq(uint256.NewInt(18)) }},
		{"zero as 0x00", userop.V07, object{"callGasLimit": "0x00"}, func(op *userop.UserOperation) bool { return op.CallGasLimit == 0 }},
		{"upper case", userop.V07, object{"callData": "0xABCD", "nonce": "0XFF"}, func(op *userop.UserOperation) bool {
			return op.CallData[0] == 0xab && op.Nonce.Eq(uint256.NewInt(255))
		}},
		{"checksummed address", userop.V07, object{"sender": "0x5FF137D4b0FDCD49DcA30c7CF57E578a026d2789"}, func(op *userop.UserOperation) bool {
			return op.Sender == common.HexToAddress("0x5ff137d4b0fdcd49dca30c7cf57e578a026d2789")
		}},
		{"null is absent", userop.V07, object{"factory": json.RawMessage("null"), "paymaster": json.RawMessage("null"), "eip7702Auth": json.RawMessage("null"), "unheardOf": json.RawMessage("null")}, func(op *userop.UserOperation) bool {
			return op.Factory == nil && op.Paymaster == nil && op.Authorization == nil
		}},
		{"empty bytes", userop.V07, object{"callData": "0x"}, func(op *userop.UserOperation) bool { return op.CallData == nil }},
		{"short marker", userop.V08, object{"factory": "0x7702", "factoryData": "0x12"}, func(op *userop.UserOperation) bool {
			return op.IsEIP7702() && *op.Factory == marker && op.FactoryData[0] == 0x12
		}},
		{"long marker", userop.V08, object{"factory": "0x7702000000000000000000000000000000000000", "factoryData": "0x"}, func(op *userop.UserOperation) bool {
			return op.IsEIP7702() && op.FactoryData == nil
		}},
		{"marker without data", userop.V09, object{"factory": "0x7702"}, func(op *userop.UserOperation) bool { return op.IsEIP7702() }},
		{"padded parity", userop.V08, object{"eip7702Auth": object{"chainId": "0x0", "address": factoryHex, "nonce": "0x0", "yParity": "0x" + strings.Repeat("0", 64), "r": "0x" + strings.Repeat("0", 64), "s": "0x01"}}, func(op *userop.UserOperation) bool {
			return op.Authorization.V == 0 && op.Authorization.R.IsZero() && op.Delegate() == common.HexToAddress(factoryHex)
		}},
		{"v for parity", userop.V08, object{"eip7702Auth": object{"chainId": "0x0", "address": factoryHex, "nonce": "0x0", "v": "0x1c", "r": "0x1", "s": "0x1"}}, func(op *userop.UserOperation) bool {
			return op.Authorization.V == 1
		}},
		{"v and parity", userop.V08, object{"eip7702Auth": object{"chainId": "0x0", "address": factoryHex, "nonce": "0x0", "v": "0x1b", "yParity": "0x0", "r": "0x1", "s": "0x1"}}, func(op *userop.UserOperation) bool {
			return op.Authorization.V == 0
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			op, err := userop.Decode(encode(t, with(complete(tc.version), tc.changes)), tc.version)
			if err != nil {
				t.Fatal(err)
			}
			if !tc.check(op) {
				t.Errorf("have %+v", op)
			}
		})
	}
}

// A client of v0.9 may send the paymaster's signature in its own field, or at the end of paymasterData: the operation
// is the same.
func TestDecodeFindsThePaymasterSignature(t *testing.T) {
	const data, signature = "0xaabb", "0xccddee"
	apart := with(sponsored(userop.V09), object{"paymasterData": data, "paymasterSignature": signature})
	joined := with(sponsored(userop.V09), object{"paymasterData": "0xaabbccddee000322e325a297439656"})
	var ops []*userop.UserOperation
	for _, o := range []object{apart, joined} {
		op, err := userop.Decode(encode(t, o), userop.V09)
		if err != nil {
			t.Fatal(err)
		}
		ops = append(ops, op)
	}
	if diff := cmp.Diff(ops[0], ops[1]); diff != "" {
		t.Errorf("signature in its own field and in paymasterData differ:\n%s", diff)
	}
	if have := common.Bytes2Hex(ops[0].PaymasterSignature); have != "ccddee" {
		t.Errorf("have paymaster signature %s, want ccddee", have)
	}
	empty, err := userop.Decode(encode(t, with(sponsored(userop.V09), object{"paymasterSignature": "0x"})), userop.V09)
	if err != nil {
		t.Fatal(err)
	}
	if have := len(empty.PaymasterAndData()); have != 52 {
		t.Errorf("an empty paymaster signature: have %d bytes of paymasterAndData, want 52, without a suffix", have)
	}
}

func TestDecodePartialSaysWhatCame(t *testing.T) {
	minimal := object{"sender": senderHex, "nonce": "0x0", "callData": "0x"}
	stub := with(minimal, object{"paymaster": paymasterHex, "paymasterData": "0x"})
	auth := with(minimal, object{"eip7702Auth": object{"chainId": "0x1", "address": factoryHex, "nonce": "0x0"}})
	tests := []struct {
		name string
		json object
		want userop.Given
	}{
		{"nothing", minimal, userop.Given{}},
		{"a paymaster without limits", stub, userop.Given{}},
		{"an unsigned authorization", auth, userop.Given{}},
		{"zero is given", with(minimal, object{"callGasLimit": "0x0", "signature": "0x"}), userop.Given{CallGasLimit: true, Signature: true}},
		{"null is not", with(minimal, object{"callGasLimit": json.RawMessage("null")}), userop.Given{}},
		{"fees", with(minimal, object{"maxFeePerGas": "0x1", "maxPriorityFeePerGas": "0x1"}), userop.Given{MaxFeePerGas: true, MaxPriorityFeePerGas: true}},
		{"everything", sponsored(userop.V08), userop.Given{
			CallGasLimit: true, VerificationGasLimit: true, PreVerificationGas: true, MaxFeePerGas: true, MaxPriorityFeePerGas: true,
			PaymasterVerificationGasLimit: true, PaymasterPostOpGasLimit: true, Signature: true,
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			_, given, err := userop.DecodePartial(encode(t, tc.json), userop.V08)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, given); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, missing := range []string{"sender", "nonce", "callData"} {
		_, _, err := userop.DecodePartial(encode(t, with(minimal, object{missing: nil})), userop.V08)
		checkFieldError(t, err, missing+": missing")
	}
	_, _, err := userop.DecodePartial(encode(t, with(minimal, object{"maxFeePerGas": "7"})), userop.V08)
	checkFieldError(t, err, `maxFeePerGas: have "7"`)
}

func TestJSONRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := versions().Draw(t, "version")
		op := operations(v).Draw(t, "operation")
		raw, err := json.Marshal(op)
		if err != nil {
			t.Fatal(err)
		}
		back, err := userop.Decode(raw, v)
		if err != nil {
			t.Fatalf("%v in %s", err, raw)
		}
		if diff := cmp.Diff(op, back); diff != "" {
			t.Fatalf("%s\n%s", raw, diff)
		}
	})
}

func TestJSONShapeOfEachVersion(t *testing.T) {
	factory, paymaster := userop.EIP7702Marker, common.HexToAddress(paymasterHex)
	op := &userop.UserOperation{
		Sender: common.HexToAddress(senderHex), Factory: &factory, Paymaster: &paymaster, PaymasterSignature: []byte{1},
	}
	common := []string{"sender", "nonce", "callData", "callGasLimit", "verificationGasLimit", "preVerificationGas", "maxFeePerGas", "maxPriorityFeePerGas", "signature"}
	later := append([]string{"factory", "factoryData", "paymaster", "paymasterData", "paymasterVerificationGasLimit", "paymasterPostOpGasLimit"}, common...)
	want := map[userop.Version][]string{
		userop.V06: append([]string{"initCode", "paymasterAndData"}, common...),
		userop.V07: later,
		userop.V08: later,
		userop.V09: append([]string{"paymasterSignature"}, later...),
	}
	for _, v := range userop.Versions() {
		op.Version = v
		var have map[string]string
		if err := json.Unmarshal(encode(t, op), &have); err != nil {
			t.Fatal(err)
		}
		for _, name := range want[v] {
			if have[name] == "" {
				t.Errorf("v%v: have no %s", v, name)
			}
			delete(have, name)
		}
		for name := range have {
			t.Errorf("v%v: have %s, want it absent", v, name)
		}
	}
	op.Version = userop.V08
	if raw := string(encode(t, op)); !strings.Contains(raw, `"factory":"0x7702"`) {
		t.Errorf("have %s, want the marker in its short form", raw)
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range userop.Versions() {
		f.Add(encode(f, complete(v)), uint8(v), false)
	}
	f.Add(encode(f, sponsored(userop.V09)), uint8(userop.V09), true)
	f.Add(encode(f, delegated()), uint8(userop.V08), true)
	f.Add([]byte(`{"sender":null,"sender":1}`), uint8(userop.V07), true)
	f.Fuzz(func(t *testing.T, raw []byte, version uint8, partial bool) {
		v := userop.Versions()[version%4]
		op, err := userop.Decode(raw, v)
		if partial {
			op, _, err = userop.DecodePartial(raw, v)
		}
		if err != nil {
			if _, ok := errors.AsType[*userop.FieldError](err); !ok {
				t.Fatalf("have error %v (%T), want a *FieldError", err, err)
			}
			return
		}
		back, err := userop.Decode(encode(t, op), v)
		if err != nil {
			t.Fatalf("decoded, but not what it was encoded to: %v", err)
		}
		if diff := cmp.Diff(op, back); diff != "" {
			t.Fatal(diff)
		}
		checkConsistent(t, op)
	})
}
