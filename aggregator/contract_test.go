package aggregator_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"testing"

	"baler/aggregator"
	"baler/aggregator/bls"
	"baler/entrypoint"
	"baler/proposer"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

// TestHashingIsTheContracts compares enough messages that each of the map's three ways is taken by some of them.
func TestHashingIsTheContracts(t *testing.T) {
	w := newWorld(t)
	at := w.chain.Contracts().BLSAggregators[userop.V07]
	const n = 64
	batch := make([]rpc.BatchElem, n)
	message := func(i int) [32]byte { return [32]byte{0: byte(i), 31: byte(i)} }
	for i := range batch {
		input := pack(t, "shared/BLSAggregator.json", "hashToG1", message(i))
		batch[i] = rpc.BatchElem{
			Method: "eth_call", Result: new(hexutil.Bytes),
			Args: []any{map[string]any{"to": at, "input": hexutil.Bytes(input)}, "latest"},
		}
	}
	if err := w.node.BatchCallContext(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	for i, answer := range batch {
		if answer.Error != nil {
			t.Fatal(answer.Error)
		}
		have := bls.HashToG1(message(i)).Bytes()
		if want := *answer.Result.(*hexutil.Bytes); !bytes.Equal(have[:], want) {
			t.Errorf("message %d: have %x, the contract has %x", i, have, want)
		}
	}
}

// abiOp is the operation as the contract's ABI takes it.
func abiOp(op *userop.UserOperation) any {
	big64 := func(n uint64) *big.Int { return new(big.Int).SetUint64(n) }
	if !op.Version.Packed() {
		return struct {
			Sender               common.Address
			Nonce                *big.Int
			InitCode             []byte
			CallData             []byte
			CallGasLimit         *big.Int
			VerificationGasLimit *big.Int
			PreVerificationGas   *big.Int
			MaxFeePerGas         *big.Int
			MaxPriorityFeePerGas *big.Int
			PaymasterAndData     []byte
			Signature            []byte
		}{
			op.Sender, op.Nonce.ToBig(), op.InitCode(), op.CallData, big64(op.CallGasLimit), big64(op.VerificationGasLimit),
			big64(op.PreVerificationGas), op.MaxFeePerGas.ToBig(), op.MaxPriorityFeePerGas.ToBig(), op.PaymasterAndData(), op.Signature,
		}
	}
	return struct {
		Sender             common.Address
		Nonce              *big.Int
		InitCode           []byte
		CallData           []byte
		AccountGasLimits   [32]byte
		PreVerificationGas *big.Int
		GasFees            [32]byte
		PaymasterAndData   []byte
		Signature          []byte
	}{
		op.Sender, op.Nonce.ToBig(), op.InitCode(), op.CallData, op.AccountGasLimits(), big64(op.PreVerificationGas), op.GasFees(),
		op.PaymasterAndData(), op.Signature,
	}
}

// TestMessagesAreTheContracts: what a signer signs is what the contract checks, whatever the operation holds.
func TestMessagesAreTheContracts(t *testing.T) {
	eachVersion(t, func(w *world, v userop.Version) {
		a := w.account(v, 0)
		artifact := "shared/BLSAggregator" + suffix(v) + ".json"
		rapid.Check(w.t.(*testing.T), func(rt *rapid.T) {
			bytesOf := rapid.SliceOfN(rapid.Byte(), 0, 200)
			op := creating(a, &userop.UserOperation{
				Version: v, Sender: a.address, CallData: bytesOf.Draw(rt, "callData"),
				CallGasLimit: rapid.Uint64().Draw(rt, "call"), VerificationGasLimit: rapid.Uint64().Draw(rt, "verification"),
				PreVerificationGas: rapid.Uint64().Draw(rt, "pvg"), Signature: bytesOf.Draw(rt, "signature"),
			})
			op.Nonce.SetBytes(bytesOf.Draw(rt, "nonce"))
			op.MaxFeePerGas.SetUint64(rapid.Uint64().Draw(rt, "fee"))
			op.MaxPriorityFeePerGas.SetUint64(rapid.Uint64().Draw(rt, "priority"))
			if rapid.Bool().Draw(rt, "paymaster") {
				op.Paymaster, op.PaymasterData = &common.Address{1}, bytesOf.Draw(rt, "paymasterData")
				if v.Packed() {
					op.PaymasterVerificationGasLimit = rapid.Uint64().Draw(rt, "paymasterGas")
				}
				if v == userop.V09 {
					op.PaymasterSignature = bytesOf.Draw(rt, "paymasterSignature")
				}
			}
			want := w.call(artifact, w.domain(v).Aggregator, "getUserOpMessage", abiOp(op))[0].([32]byte)
			if have := w.domain(v).Message(op, a.key.PublicKey()); have != want {
				rt.Fatalf("have %x, the contract has %x", have, want)
			}
		})
	})
}

// TestBothWaysAggregateAlike: adding up here and asking the contract give the same bytes, and both take the result.
func TestBothWaysAggregateAlike(t *testing.T) {
	eachVersion(t, func(w *world, v userop.Version) {
		ctx := w.t.Context()
		list := append(w.deployed(v, 0, 3), w.account(v, 20)) // the last one's key is in its initCode
		ops := w.signedOps(list)
		native, asked := w.native(v), w.asked(v)
		for n := range len(ops) + 1 {
			here, err := native.AggregateSignatures(ctx, w.block(), ops[:n])
			if err != nil {
				w.t.Fatal(err)
			}
			there, err := asked.AggregateSignatures(ctx, w.block(), ops[:n])
			if err != nil {
				w.t.Fatal(err)
			}
			if !bytes.Equal(here, there) {
				w.t.Errorf("%d operations: have %x, the contract has %x", n, here, there)
			}
			if n == 0 {
				continue
			}
			for name, a := range map[string]aggregator.Aggregator{"native": native, "contract": asked} {
				if err := a.ValidateSignatures(ctx, w.block(), bundled(ops[:n]), here); err != nil {
					w.t.Errorf("%d operations, %s: %v", n, name, err)
				}
			}
		}
		for i, op := range ops {
			for name, a := range map[string]aggregator.Aggregator{"native": native, "contract": asked} {
				alternative, err := a.ValidateUserOpSignature(ctx, w.block(), op)
				if err != nil || len(alternative) != 0 {
					w.t.Errorf("operation %d, %s: have alternative %x (%v), want an empty one", i, name, alternative, err)
				}
			}
		}
	})
}

// TestBothWaysRefuseAlike: what the contract refuses is refused here, as a wrong signature.
func TestBothWaysRefuseAlike(t *testing.T) {
	eachVersion(t, func(w *world, v userop.Version) {
		ctx := w.t.Context()
		list := append(w.deployed(v, 0, 2), w.account(v, 20))
		good := w.signedOps(list)
		simple := w.simpleOps(v, 1)[0]
		change := func(i int, f func(op *userop.UserOperation)) *userop.UserOperation {
			op := clone(good[i])
			f(op)
			return op
		}
		for name, op := range map[string]*userop.UserOperation{
			"no signature":                 change(0, func(op *userop.UserOperation) { op.Signature = nil }),
			"a byte too many":              change(0, func(op *userop.UserOperation) { op.Signature = append(op.Signature, 0) }),
			"a signature off the curve":    change(0, func(op *userop.UserOperation) { op.Signature[63] ^= 1 }),
			"infinity":                     change(0, func(op *userop.UserOperation) { op.Signature = make([]byte, 64) }),
			"a coordinate over the field":  change(0, func(op *userop.UserOperation) { op.Signature[0] = 0xff }),
			"another account's signature":  change(0, func(op *userop.UserOperation) { op.Signature = good[1].Signature }),
			"another nonce":                change(0, func(op *userop.UserOperation) { op.Nonce.AddUint64(&op.Nonce, 1) }),
			"other calldata":               change(0, func(op *userop.UserOperation) { op.CallData = []byte{1} }),
			"an account that is not there": change(0, func(op *userop.UserOperation) { op.Sender = common.Address{1} }),
			"an account without a key":     change(0, func(op *userop.UserOperation) { op.Sender = simple.Sender }),
			"an initCode without a key":    change(2, func(op *userop.UserOperation) { op.FactoryData = op.FactoryData[:100] }),
			"an initCode with a key of zeros": change(2, func(op *userop.UserOperation) {
				op.FactoryData = append(bytes.Clone(op.FactoryData), make([]byte, 128)...)
			}),
			"an initCode with a key off G2": change(2, func(op *userop.UserOperation) {
				op.FactoryData = append(bytes.Clone(op.FactoryData), bytes.Repeat([]byte{1}, 128)...)
			}),
			"an initCode with another key":       change(2, func(op *userop.UserOperation) { op.FactoryData = list[1].factoryData }),
			"a signature for the account itself": w.signedAlone(clone(good[0]), list[0].key),
		} {
			for way, a := range map[string]aggregator.Aggregator{"native": w.native(v), "contract": w.asked(v)} {
				_, err := a.ValidateUserOpSignature(ctx, w.block(), op)
				w.wantWrongSignature(name+", "+way, err)
			}
		}
		sum := w.group(w.native(v), good).Signature
		for name, c := range map[string]struct {
			ops       []*userop.UserOperation
			signature []byte
		}{
			"one operation missing": {bundled(good[:2]), sum},
			"one twice":             {bundled([]*userop.UserOperation{good[0], good[1], good[2], good[2]}), sum},
			"a signature left":      {append(bundled(good[:2]), good[2]), sum},
			"no signature":          {bundled(good), nil},
			"an empty group":        {nil, sum},
		} {
			for way, a := range map[string]aggregator.Aggregator{"native": w.native(v), "contract": w.asked(v)} {
				w.wantWrongSignature(name+", "+way, a.ValidateSignatures(ctx, w.block(), c.ops, c.signature))
			}
		}
	})
}

func (w *world) wantWrongSignature(what string, err error) {
	w.t.Helper()
	var refused *rejection.Rejection
	switch {
	case !errors.As(err, &refused):
		w.t.Errorf("%s: have %v, want a rejection", what, err)
	case refused.Kind != rejection.InvalidSignature || refused.Data.Aggregator == nil:
		w.t.Errorf("%s: have %d (%+v), want %d with the aggregator", what, refused.Kind, refused.Data, rejection.InvalidSignature)
	}
}

// TestTheNodesTroubleIsNoRejection: an operation is not refused because of a block the node does not have.
func TestTheNodesTroubleIsNoRejection(t *testing.T) {
	w := newWorld(t)
	ops := w.signedOps(w.deployed(userop.V07, 0, 1))
	unknown := common.Hash{1}
	contract := w.asked(userop.V07)
	elsewhere := aggregator.NewContract(common.Address{1}, userop.V07, aggregator.BLSGas(), w.node)
	for name, f := range map[string]func() error{
		"native, unknown block": func() error {
			_, err := w.native(userop.V07).ValidateUserOpSignature(t.Context(), unknown, ops[0])
			return err
		},
		"contract, unknown block": func() error {
			_, err := contract.ValidateUserOpSignature(t.Context(), unknown, ops[0])
			return err
		},
		"no contract there": func() error {
			_, err := elsewhere.AggregateSignatures(t.Context(), w.block(), ops)
			return err
		},
	} {
		var refused *rejection.Rejection
		if err := f(); err == nil || errors.As(err, &refused) {
			t.Errorf("%s: have %v, want an error that is no rejection", name, err)
		}
	}
}

func TestSetOfAggregators(t *testing.T) {
	w := newWorld(t)
	native := w.native(userop.V07)
	set, err := aggregator.NewSet(native, w.native(userop.V08))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := aggregator.NewSet(native, w.asked(userop.V07)); !errors.Is(err, aggregator.ErrDuplicate) {
		t.Errorf("one address twice: have %v, want ErrDuplicate", err)
	}
	if have := len(set.Addresses()); have != 2 {
		t.Errorf("have %d addresses, want 2", have)
	}
	ops := w.signedOps(w.deployed(userop.V07, 0, 1))
	unknown := common.Address{1}
	if _, ok := set.Gas(unknown); ok {
		t.Error("an unknown aggregator has costs")
	}
	if _, err := set.Aggregate(t.Context(), w.block(), unknown, ops); !errors.Is(err, aggregator.ErrUnknown) {
		t.Errorf("aggregate for an unknown one: have %v, want ErrUnknown", err)
	}
	if _, _, err := set.Culprits(t.Context(), w.block(), unknown, ops, ops); !errors.Is(err, aggregator.ErrUnknown) {
		t.Errorf("culprits of an unknown one: have %v, want ErrUnknown", err)
	}
	var refused *rejection.Rejection
	_, _, err = set.Accept(t.Context(), w.block(), unknown, ops[0])
	if !errors.As(err, &refused) || refused.Kind != rejection.UnsupportedSigAggr || refused.Data.Aggregator == nil || *refused.Data.Aggregator != unknown {
		t.Errorf("an operation of an unknown aggregator: have %v, want -32506 with its address", err)
	}
	op, signature, err := set.Accept(t.Context(), w.block(), native.Address(), ops[0])
	if err != nil || len(op.Signature) != 0 || !bytes.Equal(signature, ops[0].Signature) {
		t.Errorf("an operation of a known one: have signature %x in %x (%v), want its own in an empty one", signature, op.Signature, err)
	}
	if len(ops[0].Signature) == 0 {
		t.Error("the operation itself was changed")
	}
	wrong := clone(ops[0])
	wrong.CallData = nil
	if _, _, err := set.Accept(t.Context(), w.block(), native.Address(), wrong); !errors.As(err, &refused) || refused.Kind != rejection.InvalidSignature {
		t.Errorf("a wrong signature: have %v, want -32507", err)
	}
}

// The set is what the proposer asks.
var _ proposer.Aggregators = (*aggregator.Set)(nil)

// TestAggregatorsAreStaked: ERC-7562 asks every aggregator for a stake (EREP-040).
func TestAggregatorsAreStaked(t *testing.T) {
	eachVersion(t, func(w *world, v userop.Version) {
		info, err := entrypoint.DecodeDepositInfo(w.rawCall(entrypoint.Canonical(v).Address, entrypoint.EncodeGetDepositInfo(w.domain(v).Aggregator)))
		if err != nil {
			w.t.Fatal(err)
		}
		if !info.Staked || info.Stake.Lt(uint256.NewInt(params.Ether)) || info.UnstakeDelaySec < 86_400 {
			w.t.Errorf("have %+v, want at least 1 ETH for a day", info)
		}
	})
}

func TestSelectorsAreTheContracts(t *testing.T) {
	for _, v := range userop.Versions() {
		abi := load(t, "shared/BLSAggregator"+suffix(v)+".json").ABI
		for method, have := range aggregator.SelectorsForTest(v) {
			want := load(t, "shared/BLSAccount.json").ABI.Methods[method].ID
			if m, ok := abi.Methods[method]; ok {
				want = m.ID
			}
			if fmt.Sprintf("%x", have) != fmt.Sprintf("%x", want) {
				t.Errorf("v%v, %s: have %x, want %x", v, method, have, want)
			}
		}
	}
}
