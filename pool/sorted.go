package pool

import (
	"cmp"
	"slices"
)

// chunkSize bounds the entries moved by an insertion. 256 items are 6 kB, moved in about 100 ns.
const chunkSize = 256

// item is an entry in a sorted set, with its key beside it so that a search does not chase pointers.
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

// sorted is a set of entries ascending by (key, arrival), kept in sorted chunks. The zero value is empty. An insertion
// or removal costs two binary searches and a move within one chunk.
type sorted struct {
	chunks [][]item // none is empty
	count  int
}

func (s *sorted) len() int { return s.count }

// find returns the chunk and the position in it of the first item that is not less than x.
func (s *sorted) find(x item) cursor {
	c, _ := slices.BinarySearchFunc(s.chunks, x, func(chunk []item, x item) int {
		return chunk[len(chunk)-1].compare(x)
	})
	if c == len(s.chunks) {
		return cursor{set: s, chunk: c}
	}
	i, _ := slices.BinarySearchFunc(s.chunks[c], x, item.compare)
	return cursor{set: s, chunk: c, at: i}
}

// insert adds an entry under a key. It must not be there already.
func (s *sorted) insert(key uint64, e *entry) {
	x := item{key, e.arrival, e}
	s.count++
	if len(s.chunks) == 0 {
		s.chunks = append(s.chunks, append(make([]item, 0, chunkSize), x))
		return
	}
	at := s.find(x)
	if at.chunk == len(s.chunks) {
		at.chunk--
		at.at = len(s.chunks[at.chunk])
	}
	chunk := s.chunks[at.chunk]
	if len(chunk) < chunkSize {
		s.chunks[at.chunk] = slices.Insert(chunk, at.at, x)
		return
	}
	half := append(make([]item, 0, chunkSize), chunk[chunkSize/2:]...)
	clear(chunk[chunkSize/2:])
	s.chunks[at.chunk] = chunk[:chunkSize/2]
	s.chunks = slices.Insert(s.chunks, at.chunk+1, half)
	if at.at > chunkSize/2 {
		at.chunk++
		at.at -= chunkSize / 2
	}
	s.chunks[at.chunk] = slices.Insert(s.chunks[at.chunk], at.at, x)
}

// remove takes an entry out. It must be there under the key.
func (s *sorted) remove(key uint64, e *entry) {
	at := s.find(item{key: key, arrival: e.arrival})
	if !at.valid() || at.entry() != e {
		return
	}
	s.count--
	chunk := s.chunks[at.chunk]
	if len(chunk) == 1 {
		s.chunks = slices.Delete(s.chunks, at.chunk, at.chunk+1)
		return
	}
	s.chunks[at.chunk] = slices.Delete(chunk, at.at, at.at+1)
}

// cut takes items out, which it sorts, in one pass that looks at no entry. They must be there. spare is as long, and may be overwritten.
func (s *sorted) cut(items, spare []item) {
	items = sortItems(items, spare)
	s.count -= len(items)
	kept := s.chunks[:0]
	for _, chunk := range s.chunks {
		if len(items) > 0 && items[0].compare(chunk[len(chunk)-1]) <= 0 {
			chunk = slices.DeleteFunc(chunk, func(x item) bool {
				goes := len(items) > 0 && items[0] == x
				if goes {
					items = items[1:]
				}
				return goes
			})
		}
		if len(chunk) != 0 {
			kept = append(kept, chunk)
		}
	}
	clear(s.chunks[len(kept):])
	s.chunks = kept
}

// merge adds items, which it sorts, in one pass; spare is as with cut. Chunks with room for what falls into them stay: to make all anew would have the
// collector look through them at each base fee.
func (s *sorted) merge(items, spare []item) {
	items = sortItems(items, spare)
	s.count += len(items)
	if len(s.chunks) == 0 {
		s.chunks = appendMerged(nil, nil, items)
		return
	}
	chunks := make([][]item, 0, len(s.chunks)+2*len(items)/chunkSize+1)
	for i, chunk := range s.chunks {
		here := len(items)
		if i+1 < len(s.chunks) {
			here, _ = slices.BinarySearchFunc(items, s.chunks[i+1][0], item.compare)
		}
		chunks = appendMerged(chunks, chunk, items[:here])
		items = items[here:]
	}
	s.chunks = chunks
}

// appendMerged appends a chunk with more items, both ascending: as it is, if they fit into it, or else as several that are half full, so
// that the insertions to come do not split at once.
func appendMerged(chunks [][]item, chunk, more []item) [][]item {
	if len(chunk)+len(more) <= cap(chunk) {
		return append(chunks, mergeInto(chunk, more))
	}
	all := mergeInto(append(make([]item, 0, len(chunk)+len(more)), chunk...), more)
	clear(chunk)
	for part := range slices.Chunk(all, chunkSize/2) {
		if chunk == nil {
			chunk = make([]item, 0, chunkSize)
		}
		chunks = append(chunks, append(chunk[:0], part...))
		chunk = nil
	}
	return chunks
}

// mergeInto adds items to a slice that has room for them, both ascending, from the end on.
func mergeInto(into, more []item) []item {
	i, at := len(into)-1, len(into)+len(more)-1
	into = into[:at+1]
	for j := len(more) - 1; j >= 0; at-- {
		if i >= 0 && into[i].compare(more[j]) > 0 {
			into[at] = into[i]
			i--
			continue
		}
		into[at] = more[j]
		j--
	}
	return into
}

// appendTo appends all items in order.
func (s *sorted) appendTo(items []item) []item {
	for _, chunk := range s.chunks {
		items = append(items, chunk...)
	}
	return items
}

// begin returns a cursor at the smallest item.
func (s *sorted) begin() cursor { return cursor{set: s} }

// end returns a cursor at the largest item.
func (s *sorted) end() cursor {
	c := cursor{set: s, chunk: len(s.chunks) - 1}
	if c.chunk >= 0 {
		c.at = len(s.chunks[c.chunk]) - 1
	}
	return c
}

// from returns a cursor at the first item with a key of at least key.
func (s *sorted) from(key uint64) cursor { return s.find(item{key: key}) }

// cursor walks a set. The set must not change meanwhile.
type cursor struct {
	set       *sorted
	chunk, at int
}

// before returns how many items there are from this cursor to a later one.
func (c *cursor) before(end cursor) (n int) {
	for _, chunk := range c.set.chunks[c.chunk:end.chunk] {
		n += len(chunk)
	}
	return n + end.at - c.at
}

func (c *cursor) valid() bool   { return c.chunk >= 0 && c.chunk < len(c.set.chunks) }
func (c *cursor) item() item    { return c.set.chunks[c.chunk][c.at] }
func (c *cursor) entry() *entry { return c.item().entry }

func (c *cursor) next() {
	if c.at++; c.at == len(c.set.chunks[c.chunk]) {
		c.chunk++
		c.at = 0
	}
}

func (c *cursor) prev() {
	if c.at--; c.at >= 0 {
		return
	}
	if c.chunk--; c.chunk >= 0 {
		c.at = len(c.set.chunks[c.chunk]) - 1
	}
}
