package dashboard

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
)

// ringSize is how many changes are remembered for readers that come back.
const ringSize = 4096

// change is a document that is new, other than it was, or gone (Value is nil then).
type change struct {
	ID    uint64          `json:"-"`
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

// feed holds the documents of the page and their last changes. A change has a number; with its number a reader asks for
// what came after it. Safe for concurrent use.
type feed struct {
	epoch string // of this process: numbers of another life mean nothing

	mu      sync.Mutex
	docs    map[string]json.RawMessage
	ring    []change // of the last changes, the change with number n at n % len
	last    uint64   // number of the newest change
	changed chan struct{}
}

func newFeed(size int) *feed {
	return &feed{
		epoch: rand.Text()[:8], docs: make(map[string]json.RawMessage), ring: make([]change, size), changed: make(chan struct{}),
	}
}

// put makes the document what the value says; nil takes it away. Without a difference nothing changes.
func (f *feed) put(key string, value any) error {
	var text json.RawMessage
	if value != nil {
		var err error
		if text, err = json.Marshal(value); err != nil {
			return fmt.Errorf("document %s: %w", key, err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if bytes.Equal(f.docs[key], text) {
		return nil
	}
	if text == nil {
		delete(f.docs, key)
	} else {
		f.docs[key] = text
	}
	f.last++
	f.ring[f.last%uint64(len(f.ring))] = change{f.last, key, text}
	close(f.changed)
	f.changed = make(chan struct{})
	return nil
}

// snapshot returns all documents, and the number of the newest change in them.
func (f *feed) snapshot() (docs map[string]json.RawMessage, last uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.docs), f.last
}

// since returns the changes after a number, for each document only the newest. ok is false if some are forgotten, or
// the number is of no change yet. later is closed when there is something new.
func (f *feed) since(number uint64) (changes []change, ok bool, later <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if number > f.last || f.last-number > uint64(len(f.ring)) {
		return nil, false, f.changed
	}
	newest := make(map[string]uint64)
	for n := number + 1; n <= f.last; n++ {
		newest[f.ring[n%uint64(len(f.ring))].Key] = n
	}
	for n := number + 1; n <= f.last; n++ {
		if c := f.ring[n%uint64(len(f.ring))]; newest[c.Key] == n {
			changes = append(changes, c)
		}
	}
	return changes, true, f.changed
}

// id is a change's number as a reader keeps it.
func (f *feed) id(number uint64) string { return f.epoch + "-" + strconv.FormatUint(number, 10) }

// number reads what id wrote; false if it is not of this process.
func (f *feed) number(id string) (uint64, bool) {
	epoch, digits, found := strings.Cut(id, "-")
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, found && err == nil && epoch == f.epoch
}
