package pool

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A set that items were added to, taken out of and merged into has what a plain list has, in order, and nothing that has left it stays
// reachable.
func TestSortedIsTheSortedList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var set sorted
		var list []item
		arrival := uint64(0)
		made := func() item {
			arrival++
			return item{rapid.Uint64Range(0, 1<<rapid.IntRange(0, 40).Draw(t, "size")).Draw(t, "key"), arrival, &entry{arrival: arrival}}
		}
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"insert", "merge", "cut"}).Draw(t, "step") {
			case "insert":
				for range rapid.IntRange(1, 300).Draw(t, "items") {
					x := made()
					set.insert(x.key, x.entry)
					list = append(list, x)
				}
			case "merge":
				var items []item
				for range rapid.IntRange(1, 900).Draw(t, "items") {
					items = append(items, made())
				}
				list = append(list, items...)
				set.merge(items, make([]item, len(items)))
			case "cut":
				every := rapid.Uint64Range(1, 5).Draw(t, "every")
				leaves := func(x item) bool { return x.arrival%every == 0 }
				gone := slices.DeleteFunc(slices.Clone(list), func(x item) bool { return !leaves(x) })
				gone = rapid.Permutation(gone).Draw(t, "order")
				set.cut(gone, make([]item, len(gone)))
				list = slices.DeleteFunc(list, leaves)
			}
			slices.SortFunc(list, item.compare)
			if have := set.appendTo(nil); !slices.Equal(have, list) || set.len() != len(list) {
				t.Fatalf("have %d items (%d counted), want %d in order", len(have), set.len(), len(list))
			}
			for i, chunk := range set.chunks {
				if len(chunk) == 0 || cap(chunk) != chunkSize {
					t.Fatalf("chunk %d has %d items and room for %d, want room for %d and some items", i, len(chunk), cap(chunk), chunkSize)
				}
				if slices.ContainsFunc(chunk[len(chunk):cap(chunk)], func(x item) bool { return x.entry != nil }) {
					t.Fatalf("chunk %d keeps an entry that has left it", i)
				}
			}
		}
	})
}
