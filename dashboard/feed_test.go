package dashboard

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

// TestAReaderThatFollowsTheFeedHasTheDocuments: whatever is put, and wherever the reader stops and comes back, it ends up with
// the documents there are, either through the changes or because it is told to begin again.
func TestAReaderThatFollowsTheFeedHasTheDocuments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newFeed(rapid.IntRange(1, 8).Draw(t, "ring"))
		have, last := f.snapshot()
		for range rapid.IntRange(0, 40).Draw(t, "rounds") {
			for range rapid.IntRange(0, 10).Draw(t, "changes") {
				var value any = rapid.IntRange(0, 3).Draw(t, "value")
				if value == 0 {
					value = nil
				}
				if err := f.put(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key"), value); err != nil {
					t.Fatal(err)
				}
			}
			number, ok := f.number(f.id(last))
			if !ok || number != last {
				t.Fatalf("id %q: have %d, %v, want %d", f.id(last), number, ok, last)
			}
			changes, ok, _ := f.since(last)
			if !ok {
				have, last = f.snapshot()
			}
			for _, c := range changes {
				if c.ID <= last {
					t.Fatalf("change %d comes after %d", c.ID, last)
				}
				last = c.ID
				if c.Value == nil {
					delete(have, c.Key)
				} else {
					have[c.Key] = c.Value
				}
			}
			want, newest := f.snapshot()
			if text(t, have) != text(t, want) || last != newest {
				t.Fatalf("have %s at %d, want %s at %d", text(t, have), last, text(t, want), newest)
			}
		}
	})
}

func text(t *rapid.T, docs map[string]json.RawMessage) string {
	all, err := json.Marshal(docs)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

func TestAnIDOfAnotherProcessIsNotUnderstood(t *testing.T) {
	f := newFeed(4)
	for _, id := range []string{"", "7", "-7", "other-7", f.epoch, f.epoch + "-", f.epoch + "-x", f.epoch + "--1"} {
		if n, ok := f.number(id); ok {
			t.Errorf("%q: have %d, want it refused", id, n)
		}
	}
	if _, ok, _ := f.since(1); ok {
		t.Error("a change that has not come yet is known")
	}
}

func TestAChangeWakesReadersAndTheSameValueDoesNot(t *testing.T) {
	f := newFeed(4)
	_, _, later := f.since(0)
	if err := f.put("a", 1); err != nil {
		t.Fatal(err)
	}
	select {
	case <-later:
	default:
		t.Fatal("a change wakes nobody")
	}
	_, _, later = f.since(1)
	if err := f.put("a", 1); err != nil {
		t.Fatal(err)
	}
	select {
	case <-later:
		t.Fatal("a document that is the same wakes readers")
	default:
	}
	if err := f.put("a", func() {}); err == nil {
		t.Error("a value that has no JSON was taken")
	}
}
