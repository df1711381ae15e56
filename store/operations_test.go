package store

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"

	"baler/entrypoint"
	"baler/pool"
	"baler/userop"
)

// someOperation is an operation that differs by n, of each version in turn, with every part that its version knows.
func someOperation(n byte) *pool.Operation {
	version := userop.Versions()[int(n)%len(userop.Versions())]
	op := &userop.UserOperation{
		Version: version, Sender: common.Address{1, n}, Nonce: *uint256.NewInt(uint64(n)),
		Factory: &common.Address{2}, FactoryData: []byte{3, n}, CallData: make([]byte, 300), CallGasLimit: 4, VerificationGasLimit: 5,
		PreVerificationGas: 6, MaxFeePerGas: *uint256.NewInt(7), MaxPriorityFeePerGas: *uint256.NewInt(8),
		Paymaster: &common.Address{9}, PaymasterData: []byte{10}, Signature: []byte{11, n},
	}
	if version.Packed() {
		op.PaymasterVerificationGasLimit, op.PaymasterPostOpGasLimit = 12, 13
		op.Authorization = &types.SetCodeAuthorization{ChainID: *uint256.NewInt(1337), Address: common.Address{14}, Nonce: 15, V: 1, R: *uint256.NewInt(16), S: *uint256.NewInt(17)}
	}
	if version >= userop.V09 {
		op.PaymasterSignature = []byte{18}
	}
	ep := entrypoint.Canonical(version)
	stored := &pool.Operation{Op: op, Hash: op.Hash(ep.Address, 1337, op.Delegate()), EntryPoint: ep}
	next := uint64(100)
	for _, field := range reflect.ValueOf(stored).Elem().Fields() {
		fillField(field, &next)
	}
	return stored
}

// fillField sets what is zero to something else, so that a field that is not kept is noticed.
func fillField(v reflect.Value, next *uint64) {
	*next++
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		if v.IsZero() {
			v.SetUint(*next % 250)
		}
	case reflect.Int, reflect.Int64:
		if v.IsZero() {
			v.SetInt(int64(*next))
		}
	case reflect.String:
		if v.IsZero() {
			v.SetString(fmt.Sprint(*next))
		}
	case reflect.Array:
		if !v.IsZero() {
			return
		}
		for i := range v.Len() {
			fillField(v.Index(i), next)
		}
	case reflect.Slice:
		if v.IsNil() {
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
			for i := range v.Len() {
				fillField(v.Index(i), next)
			}
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fillField(key, next)
		fillField(value, next)
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for _, field := range v.Fields() {
			fillField(field, next)
		}
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
			fillField(v.Elem(), next)
		}
	default:
		panic(fmt.Sprintf("a field of type %s: say how it is kept, and fill it here", v.Type()))
	}
}

func TestAnOperationIsKeptWithAllThatIsKnownOfIt(t *testing.T) {
	for n := range byte(8) {
		want := someOperation(n)
		stored, err := encodeOperation(want)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(stored)
		if err != nil {
			t.Fatal(err)
		}
		var back storedOperation
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		have, err := back.decode()
		if err != nil {
			t.Fatalf("version %s: %v", want.Op.Version, err)
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("version %s (-want +have):\n%s", want.Op.Version, diff)
		}
	}
}

// TestOperationsAgainstAModel: after any puts and deletes, and any restarts, the store holds what a map would.
func TestOperationsAgainstAModel(t *testing.T) { bothEngines(t, testOperationsAgainstAModel) }

func testOperationsAgainstAModel(t *testing.T, place string) {
	dir := place
	lives := 0
	rapid.Check(t, func(r *rapid.T) {
		lives++
		path := fmt.Sprint(dir, "/", lives)
		model := make(map[common.Hash]*pool.Operation)
		s := mustOpenFast(t, path, Options{})
		stop := start(t, s)
		for range rapid.IntRange(1, 12).Draw(r, "steps") {
			var writes []Write
			for range rapid.IntRange(1, 4).Draw(r, "writes") {
				op := someOperation(rapid.Byte().Draw(r, "operation"))
				switch rapid.IntRange(0, 12).Draw(r, "what") {
				case 0:
					writes = append(writes, ClearOperations())
					clear(model)
				case 1, 2, 3:
					writes = append(writes, DeleteOperations(op.Hash, common.Hash{1}))
					delete(model, op.Hash)
				default:
					writes = append(writes, PutOperation(op))
					model[op.Hash] = op
				}
			}
			if err := s.Commit(t.Context(), writes...); err != nil {
				r.Fatal(err)
			}
			if rapid.IntRange(0, 4).Draw(r, "restart") == 0 {
				stop()
				s = mustOpenFast(t, path, Options{})
				stop = start(t, s)
			}
		}
		have := make(map[common.Hash]*pool.Operation)
		for op, err := range s.Operations() {
			if err != nil {
				r.Fatal(err)
			}
			have[op.Hash] = op
		}
		if diff := cmp.Diff(model, have); diff != "" {
			r.Fatalf("(-want +have):\n%s", diff)
		}
		stop()
	})
}

func TestManyOperationsAreReadInPagesWhileOthersAreWritten(t *testing.T) {
	bothEngines(t, testManyOperationsAreReadInPagesWhileOthersAreWritten)
}

func testManyOperationsAreReadInPagesWhileOthersAreWritten(t *testing.T, place string) {
	s := mustOpenFast(t, place, Options{})
	start(t, s)
	var want []common.Hash
	op := *someOperation(1)
	for i := range 3*pageOf + 7 {
		op.Hash = common.Hash{byte(i >> 8), byte(i), 1}
		want = append(want, op.Hash)
		if err := s.Enqueue(t.Context(), PutOperation(&op)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Commit(t.Context(), DeleteOperations()); err != nil {
		t.Fatal(err)
	}
	var have []common.Hash
	for op, err := range s.Operations() {
		if err != nil {
			t.Fatal(err)
		}
		have = append(have, op.Hash)
		if err := s.Commit(t.Context(), DeleteOperations(op.Hash)); err != nil { // a reader that writes
			t.Fatal(err)
		}
	}
	if !slices.Equal(have, want) {
		t.Errorf("have %d operations, want %d, each once and in order", len(have), len(want))
	}
	for op, err := range s.Operations() {
		t.Errorf("left: %v, %v", op, err)
	}
}

func TestReputationIsTheLastThatWasSet(t *testing.T) {
	bothEngines(t, testReputationIsTheLastThatWasSet)
}

func testReputationIsTheLastThatWasSet(t *testing.T, place string) {
	dir := place
	s := mustOpen(t, dir, Options{})
	stop := start(t, s)
	if list, err := s.Reputation(); list != nil || err != nil {
		t.Errorf("at first: have %v, %v", list, err)
	}
	if at, err := s.Aged(); !at.IsZero() || err != nil {
		t.Errorf("at first: aged %v, %v", at, err)
	}
	aged := time.Date(2026, 11, 25, 13, 0, 0, 0, time.UTC)
	record := func(n byte, seen, included uint64) pool.Reputation {
		return pool.Reputation{Address: common.Address{n}, OpsSeen: seen, OpsIncluded: included}
	}
	for _, write := range []Write{
		SetReputation([]pool.Reputation{record(9, 1, 1)}),
		SetReputation([]pool.Reputation{record(0, 10, 0), record(1, 10, 1), record(2, 10, 2)}),
		PutReputation([]pool.Reputation{record(1, 0, 0), record(2, 11, 2), record(3, 1<<64-1, 0)}),
		PutReputation(nil),
		SetAged(aged.Add(-time.Hour)),
		SetAged(aged),
		SetBuilders([]string{"a"}),
		SetBuilders([]string{"b", "c"}),
	} {
		if err := s.Commit(t.Context(), write); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	s = mustOpen(t, dir, Options{})
	defer mustClose(t, s)
	have, err := s.Reputation()
	if err != nil {
		t.Fatal(err)
	}
	if names, err := s.Builders(); !slices.Equal(names, []string{"b", "c"}) || err != nil {
		t.Errorf("builders: have %v, %v, want b and c", names, err)
	}
	if at, err := s.Aged(); !at.Equal(aged) || err != nil {
		t.Errorf("aged: have %v, %v, want %v", at, err, aged)
	}
	if diff := cmp.Diff([]pool.Reputation{record(0, 10, 0), record(2, 11, 2), record(3, 1<<64-1, 0)}, have); diff != "" {
		t.Errorf("(-want +have):\n%s", diff)
	}
}

// TestHistoryAgainstAModel: the history is what was mined last and not unmined, and no more than it may hold.
func TestHistoryAgainstAModel(t *testing.T) { bothEngines(t, testHistoryAgainstAModel) }

func testHistoryAgainstAModel(t *testing.T, place string) {
	dir := place
	lives := 0
	rapid.Check(t, func(r *rapid.T) {
		lives++
		path, options := fmt.Sprint(dir, "/", lives), Options{History: 6}
		var model []MinedOperation // oldest first
		s := mustOpenFast(t, path, options)
		stop := start(t, s)
		for range rapid.IntRange(1, 30).Draw(r, "steps") {
			var write Write
			if block := (common.Hash{rapid.ByteRange(0, 5).Draw(r, "block")}); rapid.IntRange(0, 5).Draw(r, "unmine") == 0 {
				write = Unmine(block)
				model = slices.DeleteFunc(model, func(m MinedOperation) bool { return m.BlockHash == block })
			} else {
				m := drawMined(r, block)
				write = PutMined(m)
				model = remember(model, m, options.History)
			}
			if err := s.Commit(t.Context(), write); err != nil {
				r.Fatal(err)
			}
			if rapid.IntRange(0, 9).Draw(r, "restart") == 0 {
				stop()
				s = mustOpenFast(t, path, options)
				stop = start(t, s)
			}
		}
		var have []MinedOperation
		for m, err := range s.History() {
			if err != nil {
				r.Fatal(err)
			}
			have = append(have, *m)
			if single, err := s.Mined(m.Hash); err != nil || !cmp.Equal(single, m) {
				r.Fatalf("alone: have %v, %v", single, err)
			}
		}
		if diff := cmp.Diff(model, have); diff != "" && len(model)+len(have) > 0 {
			r.Fatalf("(-want +have):\n%s", diff)
		}
		if m, err := s.Mined(common.Hash{99}); m != nil || err != nil {
			r.Fatalf("never mined: have %v, %v", m, err)
		}
		stop()
	})
}

func drawMined(r *rapid.T, block common.Hash) MinedOperation {
	n := rapid.ByteRange(0, 20).Draw(r, "operation")
	m := MinedOperation{Hash: common.Hash{n + 1}, EntryPoint: common.Address{1}, Block: uint64(block[0]), BlockHash: block, Transaction: common.Hash{3, n}}
	if rapid.Bool().Draw(r, "ours") {
		m.Operation = someOperation(n).Op
	}
	return m
}

// remember is PutMined on a list.
func remember(model []MinedOperation, m MinedOperation, most int) []MinedOperation {
	for i, old := range model {
		if old.Hash != m.Hash {
			continue
		}
		if m.Operation == nil {
			m.Operation = old.Operation
		}
		model = slices.Delete(model, i, i+1)
		break
	}
	model = append(model, m)
	return model[max(0, len(model)-most):]
}

func BenchmarkOperations(b *testing.B) {
	ops := make(map[common.Hash]*pool.Operation)
	op := *someOperation(1)
	for i := range 5000 {
		next := op
		next.Hash = common.Hash{byte(i >> 8), byte(i)}
		ops[next.Hash] = &next
	}
	s := mustOpen(b, b.TempDir(), Options{})
	stop := start(b, s)
	for _, op := range ops {
		if err := s.Enqueue(b.Context(), PutOperation(op)); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Commit(b.Context(), DeleteOperations()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() { // what a restart with 5,000 pending operations reads
		have := maps.Clone(ops)
		for op, err := range s.Operations() {
			if err != nil {
				b.Fatal(err)
			}
			delete(have, op.Hash)
		}
		if len(have) > 0 {
			b.Fatalf("%d operations were not read", len(have))
		}
	}
	stop()
}
