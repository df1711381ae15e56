package bundlesender

import (
	"encoding/json"
	"reflect"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
)

// TestSnapshotHoldsEveryFieldOfTheMachine fails when a field is added to Machine that a Snapshot does not carry: a replay
// from a snapshot would take other steps than the machine took.
func TestSnapshotHoldsEveryFieldOfTheMachine(t *testing.T) {
	m := New(DefaultConfig())
	next := uint64(1)
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		switch name := v.Type().Field(i).Name; name {
		case "cfg", "out", "told": // given to Resume; empty between steps; a listener of tests
		case "lastRow": // of which only the cause is kept
			m.lastRow = &table[len(table)-1]
		default:
			fill(t, name, v.Field(i), &next)
		}
	}
	have := Resume(m.cfg, m.Snapshot())
	if have.lastRow == nil || have.lastRow.on != m.lastRow.on {
		t.Error("the cause of the last row was lost")
	}
	have.lastRow, m.lastRow = nil, nil
	unexported := cmp.Exporter(func(reflect.Type) bool { return true })
	if diff := cmp.Diff(m, have, unexported); diff != "" {
		t.Errorf("the machine of the snapshot differs (-want +have): does Snapshot lack a field?\n%s", diff)
	}
}

// fill sets a value and all that it holds to something that is not zero, also where it is not exported.
func fill(t *testing.T, path string, v reflect.Value, next *uint64) {
	t.Helper()
	v = reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
	*next++
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8:
		v.SetUint(1) // of every enumeration
	case reflect.Uint64:
		v.SetUint(*next)
	case reflect.Int:
		v.SetInt(int64(*next))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, path+"."+v.Type().Field(i).Name, v.Field(i), next)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(t, path, v.Index(i), next)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(t, path, v.Index(i), next)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(t, path, key, next)
		fill(t, path, value, next)
		v.SetMapIndex(key, value)
	default:
		t.Fatalf("%s is a %s: say how a snapshot carries it, and fill it here", path, v.Kind())
	}
}

func TestNamesAreReadBack(t *testing.T) {
	type all struct {
		State   State
		Cause   Cause
		Outcome Outcome
		Reason  NothingReason
		Kind    Kind
		Status  AttemptStatus
		Alert   AlertKind
	}
	longest := max(len(stateNames), len(causeNames), len(outcomeNames), len(reasonNames), len(kindNames), len(statusNames), len(alertNames))
	for i := range longest {
		want := all{
			State(i % len(stateNames)), Cause(i % len(causeNames)), Outcome(i % len(outcomeNames)), NothingReason(i % len(reasonNames)),
			Kind(i % len(kindNames)), AttemptStatus(i % len(statusNames)), AlertKind(i % len(alertNames)),
		}
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatalf("value %d: %v", i, err)
		}
		var have all
		if err := json.Unmarshal(text, &have); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%s is read back as another value (-want +have):\n%s", text, diff)
		}
	}
	if _, err := json.Marshal(all{State: State(len(stateNames))}); err == nil {
		t.Error("a state without a name was written: nothing could read it back")
	}
	if err := json.Unmarshal([]byte(`{"Outcome":"taken, perhaps"}`), new(all)); err == nil {
		t.Error("an unknown outcome was read")
	}
}
