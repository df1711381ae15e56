package pool

import (
	"cmp"
	"slices"

	"github.com/tidwall/btree"
)

// item is an entry in an order, with its key beside it so that a search does not chase pointers.
type item struct {
	key     uint64
	arrival uint64
	entry   *entry
}

func (a item) compare(b item) int {
	if a.key != b.key {
		return cmp.Compare(a.key, b.key)
	}
	return cmp.Compare(a.arrival, b.arrival)
}

// sorted is items ascending by key, those with the same key by arrival.
type sorted = btree.BTreeG[item]

func newSorted() *sorted {
	return btree.NewBTreeGOptions(func(a, b item) bool { return a.compare(b) < 0 }, btree.Options{NoLocks: true})
}

// sortedItems are a hundred items or so in ascending order. To move them takes less time than to look for them in a tree.
type sortedItems []item

// insert adds an item. It must not be there already.
func (s *sortedItems) insert(x item) {
	at, _ := slices.BinarySearchFunc(*s, x, item.compare)
	*s = slices.Insert(*s, at, x)
}

// remove takes an item out, and reports whether it was there.
func (s *sortedItems) remove(x item) bool {
	at, found := slices.BinarySearchFunc(*s, x, item.compare)
	if found {
		*s = slices.Delete(*s, at, at+1)
	}
	return found
}

// split takes the items out that go elsewhere, and returns them.
func (s *sortedItems) split(goes func(item) bool) sortedItems {
	var gone sortedItems
	*s = slices.DeleteFunc(*s, func(x item) bool {
		if !goes(x) {
			return false
		}
		gone = append(gone, x)
		return true
	})
	return gone
}
