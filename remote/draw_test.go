package remote

import (
	"encoding/json"
	"math/big"
	"reflect"
	"time"

	"baler/erc7562"
	"baler/pool"
	"baler/profit"
	"baler/rejection"
	"baler/rpc"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

// draw returns a value with every field set to something, or to nothing where that is possible: a field that is forgotten on the
// way shows.
func draw[T any](t *rapid.T) T {
	var v T
	drawInto(t, reflect.ValueOf(&v).Elem())
	return v
}

// drawInto fills a value. Types whose values are a closed set get one of it.
func drawInto(t *rapid.T, v reflect.Value) {
	if drawClosed(t, v) {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				drawInto(t, v.Field(i))
			}
		}
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "there") {
			v.Set(reflect.New(v.Type().Elem()))
			drawInto(t, v.Elem())
		}
	case reflect.Slice:
		n := rapid.IntRange(0, 3).Draw(t, "length")
		if n == 0 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			drawInto(t, v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			drawInto(t, v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		drawInto(t, key)
		drawInto(t, value)
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString(rapid.StringN(0, 12, 40).Draw(t, "text"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "flag"))
	case reflect.Int64:
		v.SetInt(rapid.Int64Range(0, 1<<62).Draw(t, "number"))
	case reflect.Int:
		v.SetInt(int64(rapid.IntRange(0, 1<<31-1).Draw(t, "count")))
	case reflect.Uint, reflect.Uint32:
		v.SetUint(uint64(rapid.Uint32().Draw(t, "place")))
	case reflect.Uint8:
		v.SetUint(uint64(rapid.Byte().Draw(t, "byte")))
	case reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, "number"))
	default:
		t.Fatalf("nothing draws a %v", v.Type())
	}
}

// drawClosed fills a value whose type has its own rules.
func drawClosed(t *rapid.T, v reflect.Value) bool {
	one := func(value any) bool {
		v.Set(reflect.ValueOf(value))
		return true
	}
	switch v.Interface().(type) {
	case uint256.Int:
		return one(drawNumber(t, 256))
	case *big.Int:
		if !rapid.Bool().Draw(t, "expected") {
			return true
		}
		n := drawNumber(t, 200)
		return one(signed(&n, !n.IsZero() && rapid.Bool().Draw(t, "loss")))
	case time.Duration:
		return one(time.Duration(rapid.Int64Range(0, 1<<62).Draw(t, "took")))
	case profit.Kind:
		return one(rapid.SampledFrom([]profit.Kind{profit.Bundle, profit.Reverted, profit.Cancellation}).Draw(t, "kind"))
	case profit.Day:
		return one(profit.Day(rapid.IntRange(0, 40_000).Draw(t, "day")))
	case rejection.Kind:
		return one(rapid.SampledFrom(rejectionKinds()).Draw(t, "code"))
	case rpc.OperationState:
		return one(rapid.SampledFrom(states()).Draw(t, "state"))
	case pool.Reason:
		return one(pool.Reason(rapid.IntRange(int(pool.Mined), int(pool.Cleared)).Draw(t, "reason")))
	case erc7562.Entity:
		return one(erc7562.Entity(rapid.IntRange(0, int(erc7562.Aggregator)).Draw(t, "entity")))
	case erc7562.CodeHashes: // no account twice
		return one(erc7562.CodeHashes{{Account: common.Address{rapid.Byte().Draw(t, "account")}, Hash: common.Hash{rapid.Byte().Draw(t, "hash")}}})
	case userop.Version:
		return one(rapid.SampledFrom(userop.Versions()).Draw(t, "version"))
	case json.RawMessage:
		return one(json.RawMessage(`{"status":"0x1"}`))
	case *userop.UserOperation:
		return one(drawOperation(t, rapid.SampledFrom(userop.Versions()).Draw(t, "version")))
	case *types.Log:
		l := new(types.Log)
		drawInto(t, reflect.ValueOf(l).Elem())
		if l.Topics == nil {
			l.Topics = []common.Hash{}
		}
		return one(l)
	default:
		return false
	}
}

func rejectionKinds() []rejection.Kind {
	return []rejection.Kind{
		rejection.InvalidFields, rejection.EntryPointRejected, rejection.PaymasterRejected, rejection.OpcodeViolation, rejection.OutOfTimeRange,
		rejection.Throttled, rejection.StakeTooLow, rejection.UnsupportedSigAggr, rejection.InvalidSignature, rejection.PaymasterDepositLow,
		rejection.ExecutionReverted,
	}
}

func states() []rpc.OperationState {
	return []rpc.OperationState{
		rpc.StateNotFound, rpc.StateRejected, rpc.StatePending, rpc.StateBundled, rpc.StateSubmitted, rpc.StateIncluded, rpc.StateFailed,
		rpc.StateDropped,
	}
}

func drawNumber(t *rapid.T, bits uint) (n uint256.Int) {
	for i := range n {
		n[i] = rapid.Uint64().Draw(t, "word")
	}
	return *n.Rsh(&n, 256-bits+uint(rapid.IntRange(0, int(bits)).Draw(t, "shift")))
}

// drawOperation returns an operation as it is after it was decoded: what its version does not have is not there.
func drawOperation(t *rapid.T, version userop.Version) *userop.UserOperation {
	var op userop.UserOperation
	op.Version = version
	for _, field := range []any{
		&op.Sender, &op.Nonce, &op.CallData, &op.CallGasLimit, &op.VerificationGasLimit, &op.PreVerificationGas, &op.Signature, &op.Factory, &op.Paymaster,
	} {
		drawInto(t, reflect.ValueOf(field).Elem())
	}
	op.MaxFeePerGas, op.MaxPriorityFeePerGas = drawNumber(t, 120), drawNumber(t, 120)
	if op.Factory != nil {
		drawInto(t, reflect.ValueOf(&op.FactoryData).Elem())
		if version >= userop.V08 && rapid.Bool().Draw(t, "7702") {
			*op.Factory = userop.EIP7702Marker
		}
	}
	if op.Paymaster != nil {
		drawInto(t, reflect.ValueOf(&op.PaymasterData).Elem())
		if version.Packed() {
			op.PaymasterVerificationGasLimit, op.PaymasterPostOpGasLimit = draw[uint64](t), draw[uint64](t)
		}
		if version >= userop.V09 {
			drawInto(t, reflect.ValueOf(&op.PaymasterSignature).Elem())
		}
	}
	if rapid.Bool().Draw(t, "authorization") {
		auth := draw[types.SetCodeAuthorization](t)
		auth.V &= 1
		op.Authorization = &auth
	}
	return &op
}
