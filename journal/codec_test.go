package journal

import (
	"encoding"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"baler/bundlesender"
)

// declared returns the types of package bundlesender that have the method: the members of a closed set.
func declared(t *testing.T, method string) []string {
	t.Helper()
	paths, err := filepath.Glob("../bundlesender/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv != nil && f.Name.Name == method {
				if name, ok := f.Recv.List[0].Type.(*ast.Ident); ok {
					found = append(found, name.Name)
				}
			}
		}
	}
	slices.Sort(found)
	return found
}

func TestEveryEventAndEffectHasACodec(t *testing.T) {
	for _, set := range []struct {
		method string
		have   []string
	}{
		{"isEvent", slices.Sorted(maps.Keys(events))},
		{"isEffect", slices.Sorted(maps.Keys(effects))},
	} {
		want := declared(t, set.method)
		if len(want) == 0 {
			t.Fatalf("no type with %s found: the search is wrong", set.method)
		}
		if diff := cmp.Diff(want, set.have); diff != "" {
			t.Errorf("types with %s and their codecs in registry.go (-declared +codecs):\n%s", set.method, diff)
		}
	}
}

func TestACodecReadsTheTypeThatItIsNamedAfter(t *testing.T) {
	for name, decode := range events {
		if e, err := decode([]byte("{}")); err != nil || reflect.TypeOf(e).Name() != name {
			t.Errorf("codec %s: have a %T (%v)", name, e, err)
		}
	}
	for name, decode := range effects {
		if e, err := decode([]byte("{}")); err != nil || reflect.TypeOf(e).Name() != name {
			t.Errorf("codec %s: have a %T (%v)", name, e, err)
		}
	}
}

func TestWhatIsEncodedIsDecodedToTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawBody(t)
		record, err := Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		have, err := Decode(record)
		if err != nil {
			t.Fatalf("%s: %v", record, err)
		}
		if diff := cmp.Diff(want, have, sameError()); diff != "" {
			t.Fatalf("decoded to another value (-want +have):\n%s", diff)
		}
		if want, have := (Entry{Body: want}).Begins(), Begins(record); want != have {
			t.Fatalf("Begins of the record: have %v, want %v", have, want)
		}
	})
}

func TestDamageIsFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		record, err := Encode(drawBody(t))
		if err != nil {
			t.Fatal(err)
		}
		damaged := slices.Clone(record)
		switch i := rapid.IntRange(0, len(record)-1).Draw(t, "at"); {
		case rapid.Bool().Draw(t, "cut"):
			damaged = damaged[:i]
		default:
			damaged[i] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		}
		if _, err := Decode(damaged); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
			t.Fatalf("have %v, want ErrDamaged or ErrVersion", err)
		}
	})
}

func TestRecordsOfAnotherVersionSaySo(t *testing.T) {
	for name, record := range map[string][]byte{
		"encoding": append([]byte{version + 1}, Seal(kindNote, []byte(`{"Text":"x"}`))[1:]...),
		"kind":     Seal(99, []byte(`{}`)),
		"event":    Seal(kindStep, []byte(`{"Event":{"BundleDreamt":{}},"Effects":null}`)),
		"effect":   Seal(kindStep, []byte(`{"Event":{"Retry":{}},"Effects":[{"Dream":{}}]}`)),
	} {
		if _, err := Decode(record); !errors.Is(err, ErrVersion) {
			t.Errorf("another %s: have %v, want ErrVersion", name, err)
		}
	}
	// A checksum that is right does not make nonsense sound.
	for _, payload := range []string{
		``, `[]`, `{"Event":{}}`, `{"Event":null}`, `{"Event":{"Retry":{},"Head":{}}}`, `{"Event":{"Retry":{"Sequence":1}}}`,
		`{"Event":{"Retry":{}}} {}`, `{"Event":{"Retry":{}},"Effects":[{"ManualDone":{"Err":{}}}]}`,
		`{"Event":{"Submitted":{"Outcome":"perhaps"}}}`, `{"Event":{"Head":{"Hash":"0x12"}}}`,
	} {
		if body, err := Decode(Seal(kindStep, []byte(payload))); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: have %v, %v, want ErrDamaged", payload, body, err)
		}
	}
}

// stranger is an event that this package does not know.
type stranger struct{ bundlesender.Event }

func TestAnEventWithoutACodecIsRefused(t *testing.T) {
	for _, step := range []Step{{}, {Event: stranger{}}, {Event: bundlesender.Retry{}, Effects: []bundlesender.Effect{nil}}} {
		if record, err := Encode(step); err == nil {
			t.Errorf("%v was encoded: %s", step, record)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, body := range []Body{
		Started{Config: bundlesender.DefaultConfig()},
		Snapshot{},
		Note{"said so"},
		Step{Event: bundlesender.Head{Observation: &bundlesender.Observation{Nonce: 7, Dropped: []bundlesender.AttemptID{1}}}},
		Step{Event: bundlesender.LeaseLost{}, Effects: []bundlesender.Effect{bundlesender.ManualDone{Call: 1, Err: bundlesender.ErrStopped}}},
	} {
		text, err := payload(body)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body.kind(), text)
	}
	f.Fuzz(func(t *testing.T, kind byte, text []byte) {
		if _, err := Decode(text); err == nil {
			t.Fatalf("%q has no sound checksum, and was read", text)
		}
		body, err := Decode(Seal(kind, text)) // what the checksum does not find
		if err != nil {
			return
		}
		record, err := Encode(body)
		if err != nil {
			t.Fatalf("%#v was read and cannot be written: %v", body, err)
		}
		again, err := Decode(record)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(body, again, sameError()); diff != "" {
			t.Fatalf("read again, it is another (-first +again):\n%s", diff)
		}
		var player Player
		if _, err := player.Play(Entry{Number: 1, Body: body}); err == nil {
			_ = player.Machine().Status()
		}
	})
}

// sameError compares errors by their texts and types.
func sameError() cmp.Option {
	return cmp.Comparer(func(a, b error) bool {
		return a == nil && b == nil || a != nil && b != nil && a.Error() == b.Error() && reflect.TypeOf(a) == reflect.TypeOf(b)
	})
}

func drawBody(t *rapid.T) Body {
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0:
		return *draw[Started](t)
	case 1:
		return *draw[Snapshot](t)
	case 2:
		return *draw[Note](t)
	default:
		step := Step{Event: drawMember(t, events)}
		for range rapid.IntRange(0, 3).Draw(t, "effects") {
			step.Effects = append(step.Effects, drawMember(t, effects))
		}
		return step
	}
}

// drawMember returns a random value of one of the types that have a codec.
func drawMember[T any](t *rapid.T, codecs map[string]func([]byte) (T, error)) T {
	name := rapid.SampledFrom(slices.Sorted(maps.Keys(codecs))).Draw(t, "type")
	zero, err := codecs[name]([]byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	v := reflect.New(reflect.TypeOf(zero))
	drawInto(t, v.Elem())
	member, ok := reflect.TypeAssert[T](v.Elem())
	if !ok {
		t.Fatalf("%s is no member of its set", name)
	}
	return member
}

func draw[T any](t *rapid.T) *T {
	v := new(T)
	drawInto(t, reflect.ValueOf(v).Elem())
	return v
}

// drawInto fills a value at random. A new kind of field must be drawn here, or the test fails.
func drawInto(t *rapid.T, v reflect.Value) {
	if v.Type() == reflect.TypeFor[error]() {
		if e := drawError(t); e != nil {
			v.Set(reflect.ValueOf(e))
		}
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Uint8:
		drawName(t, v)
	case reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, "uint64"))
	case reflect.Int:
		v.SetInt(int64(rapid.Int().Draw(t, "int")))
	case reflect.String:
		v.SetString(rapid.StringOf(rapid.RuneFrom([]rune("ab\"\n<é"))).Draw(t, "string"))
	case reflect.Array: // hashes and addresses are bytes, big numbers are words
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.Set(reflect.ValueOf(common.BytesToHash(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "hash"))))
			return
		}
		for i := range v.Len() {
			v.Index(i).SetUint(rapid.Uint64().Draw(t, "word"))
		}
	case reflect.Struct:
		for _, field := range v.Fields() {
			drawInto(t, field)
		}
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "set") {
			v.Set(reflect.New(v.Type().Elem()))
			drawInto(t, v.Elem())
		}
	case reflect.Slice:
		if n := rapid.IntRange(-1, 3).Draw(t, "length"); n >= 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				drawInto(t, v.Index(i))
			}
		}
	default:
		t.Fatalf("a field of kind %s: draw it here, and be sure that JSON keeps it", v.Kind())
	}
}

// drawName draws a member of an enumeration that has a name.
func drawName(t *rapid.T, v reflect.Value) {
	var named []uint64
	for i := range uint64(256) {
		v.SetUint(i)
		m, ok := reflect.TypeAssert[encoding.TextMarshaler](v)
		if !ok {
			t.Fatalf("%s has no text form: its numbers would be in the journal", v.Type())
		}
		if _, err := m.MarshalText(); err == nil {
			named = append(named, i)
		}
	}
	v.SetUint(rapid.SampledFrom(named).Draw(t, "name"))
}

func drawError(t *rapid.T) error {
	switch rapid.IntRange(0, 6).Draw(t, "error") {
	case 0:
		return bundlesender.ErrStopped
	case 1:
		return bundlesender.ErrNodeFailed
	case 6:
		return bundlesender.ErrPaused
	case 2:
		return &bundlesender.NothingError{Reason: bundlesender.NoneLeftAfterSimulation}
	case 3:
		return &bundlesender.RefusedError{Outcome: bundlesender.InsufficientFunds}
	case 4:
		return errors.New(strings.Repeat("x", rapid.IntRange(0, 3).Draw(t, "length")))
	default:
		return nil
	}
}
