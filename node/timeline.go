package node

import (
	"container/list"
	"slices"
	"sync"
	"time"

	"baler/event"
	"baler/rpc"

	"github.com/ethereum/go-ethereum/common"
)

// The bounds of one story: its beginning and its end are kept, what is between them is counted.
const (
	storyFirst = 8
	storyLast  = 40
)

// timelineSize is how many operations have a story. One takes about 2 kB while it waits, 0.4 kB when it is mined, and 12 kB at most.
const timelineSize = 20_000

// refusedShare is the part of that which refused operations get: one in so many.
const refusedShare = 8

// timeline remembers what happened to operations: it hears every event and keeps those that are about one, a bounded
// number for a bounded number of operations. It is safe for concurrent use and waits for nothing but its lock.
//
// Operations that never got into the pool have room of their own: whoever floods the bundler with refused operations
// makes it forget other refused ones, and none that it accepted.
type timeline struct {
	now    func() time.Time
	wanted func() bool // somebody wants notices; nil: it is not known, so they are made

	mu       sync.Mutex
	block    uint64 // head
	accepted shelf
	refused  shelf
}

// story is what is remembered of one operation.
type story struct {
	hash    common.Hash
	entries []rpc.TimelineEntry
	omitted int    // entries that were between the first storyFirst and the rest
	packed  []byte // instead of the entries, of a story that has ended in a block
	standing
}

// standing is what a story comes to.
type standing struct {
	stage  stage
	tx     common.Hash // the transaction that holds it; zero: none that a node has accepted
	reason string      // why it is not further
}

// stage is how far an operation has got.
type stage uint8

const (
	stageNone stage = iota // it waits
	stageBundled
	stageSubmitted
	stageMined
	stageRefused
	stageRemoved
)

func newTimeline(capacity int, now func() time.Time) *timeline {
	return &timeline{now: now, accepted: newShelf(capacity), refused: newShelf(capacity / refusedShare)}
}

// record takes an event in. It returns the notices that follow from it, for subscriptions.
func (t *timeline) record(e event.Event) []rpc.Notice {
	t.mu.Lock()
	defer t.mu.Unlock()
	if head, ok := e.(event.HeadSeen); ok {
		t.block = head.Number
	}
	at := moment{ms: t.now().UnixMilli(), block: t.block}
	entry, hashes := at.entryOf(e)
	var notices []rpc.Notice
	wanted := t.wanted == nil || t.wanted()
	for _, hash := range hashes {
		if t.tell(hash, entry) && wanted {
			notices = append(notices, rpc.OperationNotice{Hash: hash, Entry: entry})
		}
	}
	if added, ok := e.(event.OperationAdded); ok && added.Replaced != nil && t.accepted.get(*added.Replaced) != nil {
		successor := at.entry(eventReplaced)
		successor.Other = &added.Hash
		t.tell(*added.Replaced, successor)
	}
	if !wanted {
		return nil
	}
	if n := at.noticeOf(e); n != nil {
		notices = append(notices, n)
	}
	return notices
}

// tell adds an entry to an operation's story, unless it says nothing new.
func (t *timeline) tell(hash common.Hash, entry rpc.TimelineEntry) bool {
	s, accepted := t.accepted.get(hash), true
	if s == nil {
		s, accepted = t.place(hash, entry.Event)
	}
	if entry.Event == eventReleased && s.stage != stageBundled && s.stage != stageSubmitted {
		return false // it was mined or removed meanwhile: nothing held it any more
	}
	s.unpack() // it goes on after all
	s.add(entry)
	s.move(entry, accepted)
	if s.stage == stageMined {
		s.pack()
	}
	return true
}

// place finds the shelf for an operation that is not among the accepted ones.
func (t *timeline) place(hash common.Hash, name string) (s *story, accepted bool) {
	s = t.refused.get(hash)
	if name == eventReceived || name == eventRejected {
		if s == nil {
			s = t.refused.put(&story{hash: hash})
		}
		return s, false
	}
	if s == nil {
		s = &story{hash: hash} // its beginning is forgotten
	}
	t.refused.remove(hash)
	return t.accepted.put(s), true
}

// move changes where the story stands.
func (s *story) move(entry rpc.TimelineEntry, accepted bool) {
	switch entry.Event {
	case eventAdded:
		// It is told when the operation is durable: a bundle may have been quicker.
		if s.stage == stageNone || s.stage == stageRefused || s.stage == stageRemoved {
			s.standing = standing{}
		}
	case eventRevived, eventReleased:
		s.standing = standing{}
	case eventSkipped:
		s.reason = entry.Reason
	case eventBundled:
		if s.stage != stageSubmitted { // else this is for a replacement: the first transaction may still be mined
			s.standing = standing{stage: stageBundled}
		}
	case eventSent:
		s.standing = standing{stage: stageSubmitted, tx: *entry.Transaction}
	case eventRefused:
		if s.stage != stageSubmitted {
			s.standing = standing{reason: "its bundle was refused: " + entry.Cause}
		}
	case eventReverted: // told when its cause was found: meanwhile it may have moved on
		if s.stage == stageNone || s.stage == stageSubmitted && s.tx == *entry.Transaction {
			s.standing = standing{reason: "its bundle reverted: " + entry.Reason}
		}
	case eventMined:
		s.standing = standing{stage: stageMined, tx: *entry.Transaction}
	case eventRemoved:
		s.standing = standing{stage: stageRemoved, reason: entry.Reason}
	case eventRejected:
		if !accepted { // else somebody has sent it once more; that does not undo what became of it
			s.standing = standing{stage: stageRefused, reason: entry.Reason}
		}
	}
}

// pack makes a story small that nothing is likely to be added to: there are many of them, and they are seldom told.
func (s *story) pack() {
	if s.omitted > 0 {
		return // it goes on only as it is
	}
	if packed := packStory(s.entries); packed != nil {
		s.packed, s.entries = packed, nil
	}
}

// unpack undoes it.
func (s *story) unpack() {
	if s.packed != nil {
		s.entries, s.packed = s.told(), nil
	}
}

// add appends an entry, or counts it if it is the last one again.
func (s *story) add(entry rpc.TimelineEntry) {
	if n := len(s.entries); n > 0 && sameAgain(&s.entries[n-1], &entry) {
		last := &s.entries[n-1]
		entry.Times, entry.LastAt, entry.LastBlock = max(last.Times, 1)+1, entry.At, entry.Block
		entry.At, entry.Block = last.At, last.Block
		*last = entry
		return
	}
	s.entries = append(s.entries, entry)
	if len(s.entries) > storyFirst+storyLast {
		s.entries = slices.Delete(s.entries, storyFirst, storyFirst+1)
		s.omitted++
	}
}

// sameAgain reports whether an entry repeats another: an operation is received again when a client sends it again, and
// skipped with every proposal while it pays too little.
func sameAgain(a, b *rpc.TimelineEntry) bool {
	return a.Event == b.Event && a.Cause == b.Cause && (a.Event == eventReceived || a.Event == eventSkipped)
}

// of returns an operation's story as it is told, nil if nothing is remembered.
func (t *timeline) of(hash common.Hash) []rpc.TimelineEntry {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.find(hash)
	if s == nil {
		return nil
	}
	return s.told()
}

// kept returns an operation's story as the store keeps it, nil if nothing is remembered.
func (t *timeline) kept(hash common.Hash) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.find(hash)
	switch {
	case s == nil:
		return nil
	case s.packed != nil:
		return s.packed
	}
	return packStory(s.told())
}

// told is the story with what was omitted from it in one entry.
func (s *story) told() []rpc.TimelineEntry {
	switch {
	case s.packed != nil:
		entries, err := unpackStory(s.packed)
		if err != nil {
			return nil // it was packed here
		}
		return entries
	case s.omitted == 0:
		return slices.Clone(s.entries)
	}
	before, after := s.entries[storyFirst-1], s.entries[storyFirst]
	gap := rpc.TimelineEntry{
		At: before.At, Block: before.Block, Event: eventOmitted, Times: s.omitted, LastAt: after.At, LastBlock: after.Block,
	}
	return slices.Concat(s.entries[:storyFirst], []rpc.TimelineEntry{gap}, s.entries[storyFirst:])
}

// standing returns where an operation's story stands; known is false if nothing is remembered.
func (t *timeline) standing(hash common.Hash) (now standing, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.find(hash)
	if s == nil {
		return standing{}, false
	}
	return s.standing, true
}

// lastSkip returns why an operation that waits was left out of a bundle last, without its numbers and with them; empty if
// it was not since it last began to wait.
func (t *timeline) lastSkip(hash common.Hash) (cause, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.find(hash)
	if s == nil || len(s.entries) == 0 || s.entries[len(s.entries)-1].Event != eventSkipped {
		return "", ""
	}
	last := &s.entries[len(s.entries)-1]
	return last.Cause, last.Reason
}

func (t *timeline) find(hash common.Hash) *story {
	if s := t.accepted.get(hash); s != nil {
		return s
	}
	return t.refused.get(hash)
}

// shelf holds the stories of as many operations as fit; the oldest leave first.
type shelf struct {
	capacity int
	order    *list.List // of *story, oldest first
	places   map[common.Hash]*list.Element
}

func newShelf(capacity int) shelf {
	return shelf{capacity: max(capacity, 1), order: list.New(), places: make(map[common.Hash]*list.Element)}
}

func (s *shelf) get(hash common.Hash) *story {
	place := s.places[hash]
	if place == nil {
		return nil
	}
	found, _ := place.Value.(*story)
	return found
}

// put adds a story that is not there yet, and lets the oldest go if there is no room.
func (s *shelf) put(added *story) *story {
	s.places[added.hash] = s.order.PushBack(added)
	if len(s.places) > s.capacity {
		if oldest, ok := s.order.Front().Value.(*story); ok {
			s.remove(oldest.hash)
		}
	}
	return added
}

func (s *shelf) remove(hash common.Hash) {
	if place := s.places[hash]; place != nil {
		s.order.Remove(place)
		delete(s.places, hash)
	}
}
