package entrypoint_test

import (
	"bytes"
	"errors"
	"math/big"
	"testing"

	"baler/entrypoint"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

// flatTuple and packedTuple are what go-ethereum's ABI encoder wants for an operation.
type flatTuple struct {
	Sender                             common.Address
	Nonce                              *big.Int
	InitCode, CallData                 []byte
	CallGasLimit, VerificationGasLimit *big.Int
	PreVerificationGas                 *big.Int
	MaxFeePerGas, MaxPriorityFeePerGas *big.Int
	PaymasterAndData, Signature        []byte
}

type packedTuple struct {
	Sender                      common.Address
	Nonce                       *big.Int
	InitCode, CallData          []byte
	AccountGasLimits            [32]byte
	PreVerificationGas          *big.Int
	GasFees                     [32]byte
	PaymasterAndData, Signature []byte
}

func flatten(op *userop.UserOperation) flatTuple {
	f := op.Flatten()
	return flatTuple{
		f.Sender, f.Nonce.ToBig(), f.InitCode, f.CallData, f.CallGasLimit.ToBig(), f.VerificationGasLimit.ToBig(),
		f.PreVerificationGas.ToBig(), f.MaxFeePerGas.ToBig(), f.MaxPriorityFeePerGas.ToBig(), f.PaymasterAndData, f.Signature,
	}
}

func pack(op *userop.UserOperation) packedTuple {
	p := op.Pack()
	return packedTuple{
		p.Sender, p.Nonce.ToBig(), p.InitCode, p.CallData, p.AccountGasLimits, p.PreVerificationGas.ToBig(), p.GasFees,
		p.PaymasterAndData, p.Signature,
	}
}

// tuple returns the operation, tuples the operations, as arguments for abi.Pack.
func tuple(op *userop.UserOperation) any {
	if op.Version.Packed() {
		return pack(op)
	}
	return flatten(op)
}

func tuples(v userop.Version, ops []*userop.UserOperation) any {
	if v.Packed() {
		return mapped(ops, pack)
	}
	return mapped(ops, flatten)
}

func mapped[A, B any](as []A, f func(A) B) []B {
	bs := make([]B, 0, len(as))
	for _, a := range as {
		bs = append(bs, f(a))
	}
	return bs
}

type flatGroup struct {
	UserOps    []flatTuple
	Aggregator common.Address
	Signature  []byte
}

type packedGroup struct {
	UserOps    []packedTuple
	Aggregator common.Address
	Signature  []byte
}

func groupTuples(v userop.Version, groups []entrypoint.OpsPerAggregator) any {
	if v.Packed() {
		return mapped(groups, func(g entrypoint.OpsPerAggregator) packedGroup {
			return packedGroup{mapped(g.Ops, pack), g.Aggregator, g.Signature}
		})
	}
	return mapped(groups, func(g entrypoint.OpsPerAggregator) flatGroup {
		return flatGroup{mapped(g.Ops, flatten), g.Aggregator, g.Signature}
	})
}

func groups(v userop.Version) *rapid.Generator[[]entrypoint.OpsPerAggregator] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) entrypoint.OpsPerAggregator {
		return entrypoint.OpsPerAggregator{
			Ops:        rapid.SliceOfN(operations(v), 0, 3).Draw(t, "ops"),
			Aggregator: address().Draw(t, "aggregator"),
			Signature:  someBytes().Draw(t, "aggregated signature"),
		}
	}), 0, 3)
}

func TestCallsOfTheEntryPointAreThoseOfItsABI(t *testing.T) {
	eachVersion(t, func(t *testing.T, w *world) {
		v := w.ep.Version
		rapid.Check(t, func(t *rapid.T) {
			ops := rapid.SliceOfN(operations(v), 0, 4).Draw(t, "ops")
			groups := groups(v).Draw(t, "groups")
			a := address().Draw(t, "address")
			key := wide(192).Draw(t, "key")
			for name, pair := range map[string][2][]byte{
				"handleOps":           {entrypoint.EncodeHandleOps(v, ops, a), w.pack("handleOps", tuples(v, ops), a)},
				"handleAggregatedOps": {entrypoint.EncodeHandleAggregatedOps(v, groups, a), w.pack("handleAggregatedOps", groupTuples(v, groups), a)},
				"getNonce":            {entrypoint.EncodeGetNonce(a, key), w.pack("getNonce", a, key.ToBig())},
				"balanceOf":           {entrypoint.EncodeBalanceOf(a), w.pack("balanceOf", a)},
				"depositTo":           {entrypoint.EncodeDepositTo(a), w.pack("depositTo", a)},
				"getDepositInfo":      {entrypoint.EncodeGetDepositInfo(a), w.pack("getDepositInfo", a)},
			} {
				if !bytes.Equal(pair[0], pair[1]) {
					t.Fatalf("%s:\nhave %x\nwant %x", name, pair[0], pair[1])
				}
			}
			for _, op := range ops {
				have := entrypoint.EncodeGetUserOpHash(op)
				if !bytes.Equal(have, w.pack("getUserOpHash", tuple(op))) {
					t.Fatalf("getUserOpHash: have %x", have)
				}
				if len(have) != 4+op.PackedSize() {
					t.Fatalf("have %d bytes of arguments, PackedSize says %d", len(have)-4, op.PackedSize())
				}
			}
		})
	})
}

// The calls that the EntryPoint makes are compared with those it really makes.
func TestCallsByTheEntryPointAreThoseItMakes(t *testing.T) {
	eachVersion(t, func(t *testing.T, w *world) {
		v := w.ep.Version
		sender, factory, paymaster := common.Address{0xaa}, common.Address{0xfa}, common.Address{0xbb}
		w.setCode(factory, creating(validating(v, uint256.Int{}, logsCall...)))
		w.setCode(paymaster, paying(v, []byte("context of the paymaster, which is more than a word"), uint256.Int{}, false))
		w.deposit(paymaster)

		op := w.operation(sender)
		op.Factory, op.FactoryData = &factory, sender[:]
		op.Paymaster, op.PaymasterData = &paymaster, []byte("data")
		if v.Packed() {
			op.PaymasterVerificationGasLimit, op.PaymasterPostOpGasLimit = 100_000, 60_000
		}
		op.Sender = crypto.CreateAddress(factory, 0)
		op.CallData = []byte("call of the account")
		ret, ok := w.handle(op)
		if !ok {
			t.Fatal(entrypoint.RevertReason(ret))
		}
		hash, cost := w.hash(op, common.Address{}), op.MaxCost()
		creator := entrypoint.SenderCreator(v)
		calls := []call{
			{w.ep.Address, creator, entrypoint.EncodeCreateSender(op.InitCode())},
			{creator, factory, op.FactoryData},
			{w.ep.Address, op.Sender, entrypoint.EncodeValidateUserOp(op, hash, new(uint256.Int))},
			{w.ep.Address, paymaster, entrypoint.EncodeValidatePaymasterUserOp(op, hash, &cost)},
			{w.ep.Address, op.Sender, op.CallData},
		}
		for _, want := range calls {
			w.wantCall(t, want)
		}
		w.wantPostOp(t, op, entrypoint.PostOpSucceeded)
	})
}

// wantPostOp checks the call of postOp, taking from it only the amounts that depend on gas measured on chain.
func (w *world) wantPostOp(t *testing.T, op *userop.UserOperation, mode entrypoint.PostOpMode) {
	t.Helper()
	var zero uint256.Int
	selector := entrypoint.EncodePostOp(op.Version, mode, nil, &zero, &zero)[:4]
	for _, c := range w.calls {
		if c.to != *op.Paymaster || !bytes.HasPrefix(c.input, selector) {
			continue
		}
		cost := new(uint256.Int).SetBytes(c.input[4+64 : 4+96])
		price := uint256.NewInt(w.baseFee.Uint64())
		priority := op.EffectivePriorityFee(price)
		price.Add(price, &priority)
		want := entrypoint.EncodePostOp(op.Version, mode, []byte("context of the paymaster, which is more than a word"), cost, price)
		if !bytes.Equal(c.input, want) {
			t.Errorf("postOp:\nhave %x\nwant %x", c.input, want)
		}
		if cost.IsZero() {
			t.Error("postOp was called with no cost")
		}
		return
	}
	t.Error("postOp was not called")
}

func (w *world) wantCall(t *testing.T, want call) {
	t.Helper()
	for _, c := range w.calls {
		if c.from == want.from && c.to == want.to && bytes.Equal(c.input, want.input) {
			return
		}
	}
	t.Errorf("no call from %s to %s with %x among:", want.from, want.to, want.input)
	for _, c := range w.calls {
		t.Logf("%s to %s: %x", c.from, c.to, c.input)
	}
}

// creating is the code of a factory: it creates a contract with the runtime code and returns its address.
func creating(runtime []byte) []byte {
	n := byte(len(runtime))
	initCode := append([]byte{0x60, n, 0x60, 10, 0x5f, 0x39, 0x60, n, 0x5f, 0xf3}, runtime...)
	m := byte(len(initCode))
	// PUSH1 m PUSH1 at PUSH0 CODECOPY, PUSH1 m PUSH0 PUSH0 CREATE, PUSH0 MSTORE PUSH1 32 PUSH0 RETURN
	code := []byte{0x60, m, 0x60, 17, 0x5f, 0x39, 0x60, m, 0x5f, 0x5f, 0xf0, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3}
	return append(code, initCode...)
}

func TestExecuteUserOpReplacesTheCall(t *testing.T) {
	eachVersion(t, func(t *testing.T, w *world) {
		sender := common.Address{0xaa}
		w.account(sender, uint256.Int{}, logsCall...)
		selector := entrypoint.ExecuteUserOpSelector()
		for nonce, tc := range []struct {
			callData []byte
			called   bool
		}{
			{nil, false},
			{selector[:3], true},
			{selector[:], true},
			{append(selector[:], 1, 2, 3), true},
			{[]byte("something else"), true},
		} {
			op := w.operation(sender)
			op.Nonce.SetUint64(uint64(nonce))
			op.CallData = tc.callData
			if ret, ok := w.handle(op); !ok {
				t.Fatal(entrypoint.RevertReason(ret))
			}
			data, called := entrypoint.AccountCall(op, w.hash(op, common.Address{}))
			if called != tc.called {
				t.Errorf("%x: have a call %t, want %t", tc.callData, called, tc.called)
			}
			last := w.lastCallTo(sender)
			if called != !bytes.HasPrefix(last, entrypoint.EncodeValidateUserOp(op, common.Hash{}, new(uint256.Int))[:4]) {
				t.Errorf("%x: the EntryPoint's last call of the account is %x", tc.callData, last)
			}
			if called && !bytes.Equal(last, data) {
				t.Errorf("%x: have %x, the EntryPoint calls with %x", tc.callData, data, last)
			}
		}
	})
}

func (w *world) lastCallTo(a common.Address) (input []byte) {
	for _, c := range w.calls {
		if c.to == a {
			input = c.input
		}
	}
	return input
}

func TestInitEip7702SenderIsTheCallTheEntryPointMakes(t *testing.T) {
	for _, v := range []userop.Version{userop.V08, userop.V09} {
		w := newWorld(t, v)
		sender, delegate := common.Address{0xaa}, common.Address{0xde}
		w.account(delegate, uint256.Int{}, logsCall...)
		w.setCode(sender, types.AddressToDelegation(delegate))
		w.deposit(sender)
		marker := userop.EIP7702Marker
		op := w.operation(sender)
		op.Factory, op.FactoryData = &marker, []byte("initialise")
		if ret, ok := w.handle(op); !ok {
			t.Fatal(entrypoint.RevertReason(ret))
		}
		w.wantCall(t, call{w.ep.Address, entrypoint.SenderCreator(v), entrypoint.EncodeInitEip7702Sender(sender, op.FactoryData)})
		w.wantCall(t, call{w.ep.Address, sender, entrypoint.EncodeValidateUserOp(op, w.hash(op, delegate), new(uint256.Int))})
	}
}

func TestBundleRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := versions().Draw(t, "version")
		beneficiary := address().Draw(t, "beneficiary")
		want := rapid.SliceOfN(operations(v), 1, 4).Draw(t, "ops")
		ops, to, err := entrypoint.DecodeHandleOps(v, entrypoint.EncodeHandleOps(v, want, beneficiary))
		if err != nil || to != beneficiary {
			t.Fatalf("have beneficiary %s, error %v", to, err)
		}
		if diff := cmp.Diff(want, ops); diff != "" {
			t.Fatal(diff)
		}

		wantGroups := groups(v).Draw(t, "groups")
		calldata := entrypoint.EncodeHandleAggregatedOps(v, wantGroups, beneficiary)
		have, to, err := entrypoint.DecodeHandleAggregatedOps(v, calldata)
		if err != nil || to != beneficiary {
			t.Fatalf("have beneficiary %s, error %v", to, err)
		}
		if !bytes.Equal(entrypoint.EncodeHandleAggregatedOps(v, have, to), calldata) {
			t.Fatal("groups changed on the way")
		}
		var flat []*userop.UserOperation
		for _, g := range wantGroups {
			flat = append(flat, g.Ops...)
		}
		ops, _, err = entrypoint.DecodeBundle(v, calldata)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(flat, ops); diff != "" {
			t.Fatal(diff)
		}
	})
}

// Offsets that point to one place again and again must not decode to more than the calldata is long.
func TestDecodingHostileBundlesIsLinear(t *testing.T) {
	word := func(n int) []byte { return common.BigToHash(big.NewInt(int64(n))).Bytes() }
	for _, v := range userop.Versions() {
		one := []*userop.UserOperation{{Version: v}}
		encoded := entrypoint.EncodeHandleOps(v, one, common.Address{})
		const n = 4000
		// n offsets, each to the same operation behind them.
		data := append(bytes.Clone(encoded[:4]), word(64)...)
		data = append(append(data, word(0)...), word(n)...)
		for range n {
			data = append(data, word(32*n)...)
		}
		data = append(data, encoded[4+4*32:]...)
		if _, _, err := entrypoint.DecodeHandleOps(v, data); !errors.Is(err, entrypoint.ErrMalformed) {
			t.Errorf("v%v: have error %v, want %v", v, err, entrypoint.ErrMalformed)
		}

		// n groups, each with the same array of operations.
		group := entrypoint.EncodeHandleAggregatedOps(v, []entrypoint.OpsPerAggregator{{Ops: one}}, common.Address{})
		data = append(bytes.Clone(group[:4]), word(64)...)
		data = append(append(data, word(0)...), word(n)...)
		for range n {
			data = append(data, word(32*n)...)
		}
		data = append(data, group[4+4*32:]...)
		if _, _, err := entrypoint.DecodeHandleAggregatedOps(v, data); !errors.Is(err, entrypoint.ErrMalformed) {
			t.Errorf("v%v: groups: have error %v, want %v", v, err, entrypoint.ErrMalformed)
		}
	}
}

func TestDecodeHandleOpsRefuses(t *testing.T) {
	valid := entrypoint.EncodeHandleOps(userop.V08, []*userop.UserOperation{{Version: userop.V08}}, common.Address{1})
	with := func(at int, b ...byte) []byte {
		data := bytes.Clone(valid)
		copy(data[at:], b)
		return data
	}
	tests := []struct {
		name string
		data []byte
	}{
		{"nothing", nil},
		{"another function", with(0, 0xff)},
		{"the selector alone", valid[:4]},
		{"cut off", valid[:len(valid)-1]},
		{"a dirty beneficiary", with(4+32, 1)},
		{"an array outside", with(4+28, 0xff)},
		{"a huge offset", with(4, 0xff)},
		{"a huge array", with(4+64, 0xff)},
		{"an operation outside", with(4+3*32+29, 0xff)},
		{"a dirty sender", with(4+4*32, 1)},
		{"a huge byte string", with(len(valid)-32, 0xff)},
		{"a v0.6 bundle", entrypoint.EncodeHandleOps(userop.V06, nil, common.Address{1})},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if _, _, err := entrypoint.DecodeHandleOps(userop.V08, tc.data); !errors.Is(err, entrypoint.ErrMalformed) {
				t.Errorf("have error %v, want %v", err, entrypoint.ErrMalformed)
			}
		})
	}
	bad := userop.UserOperation{Version: userop.V07, CallData: []byte{1}}
	data := entrypoint.EncodeHandleOps(userop.V07, []*userop.UserOperation{{Version: userop.V07}, &bad}, common.Address{1})
	data[len(data)-bad.ABISize()+4*32] = 1 // a verification gas limit of more than 64 bits
	var field *userop.FieldError
	if _, _, err := entrypoint.DecodeHandleOps(userop.V07, data); !errors.As(err, &field) || field.Field != "accountGasLimits" {
		t.Errorf("have error %v, want one of accountGasLimits", err)
	}
}

func FuzzDecodeBundle(f *testing.F) {
	for _, v := range userop.Versions() {
		op := &userop.UserOperation{Version: v, CallData: []byte{1, 2, 3}, Signature: make([]byte, 65)}
		f.Add(entrypoint.EncodeHandleOps(v, []*userop.UserOperation{op, op}, common.Address{1}), uint8(v-1))
		f.Add(entrypoint.EncodeHandleAggregatedOps(v, []entrypoint.OpsPerAggregator{{Ops: []*userop.UserOperation{op}}}, common.Address{1}), uint8(v-1))
	}
	f.Fuzz(func(t *testing.T, data []byte, version uint8) {
		v := userop.Versions()[version%4]
		ops, beneficiary, err := entrypoint.DecodeBundle(v, data)
		if err != nil {
			return
		}
		if len(ops) > len(data)/(9*32) {
			t.Fatalf("have %d operations out of %d bytes", len(ops), len(data))
		}
		again, to, err := entrypoint.DecodeHandleOps(v, entrypoint.EncodeHandleOps(v, ops, beneficiary))
		if err != nil || to != beneficiary {
			t.Fatalf("have beneficiary %s, error %v", to, err)
		}
		if diff := cmp.Diff(ops, again); diff != "" && len(ops) > 0 {
			t.Fatal(diff)
		}
	})
}

func BenchmarkEncodeHandleOps100(b *testing.B) {
	paymaster := common.Address{1}
	for _, v := range userop.Versions() {
		b.Run(v.String(), func(b *testing.B) {
			op := &userop.UserOperation{
				Version: v, CallData: make([]byte, 200), Paymaster: &paymaster, PaymasterData: make([]byte, 129), Signature: make([]byte, 65),
			}
			ops := make([]*userop.UserOperation, 100)
			for i := range ops {
				ops[i] = op
			}
			b.ReportAllocs()
			for b.Loop() {
				entrypoint.EncodeHandleOps(v, ops, common.Address{2})
			}
		})
	}
}
