package store

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"pgregory.net/rapid"
)

// What waits for a commit does not wait for the history of a whole block.
func TestACommitOvertakesTheHistory(t *testing.T) {
	t.Parallel()
	s := newStore(&tableEngine{}, Options{})
	const mined = 100
	for i := range mined {
		hash := common.Hash{byte(i)}
		if err := s.EnqueueLater(t.Context(), DeleteOperations(hash), PutMined(MinedOperation{Hash: hash})); err != nil {
			t.Fatal(err)
		}
	}
	fresh := PutOperation(someOperation(200))
	if err := s.Enqueue(t.Context(), fresh); err != nil {
		t.Fatal(err)
	}
	if first := s.take(false); len(first) != 1+laterBeside || first[0].later {
		t.Errorf("the next transaction has %d calls, want the operation's, and %d of the history beside it", len(first), laterBeside)
	}
	if next := s.take(false); len(next) != laterAlone {
		t.Errorf("when nobody waits a transaction has %d calls of the history, want %d", len(next), laterAlone)
	}
	if rest := s.take(true); len(rest) != mined-laterBeside-laterAlone {
		t.Errorf("the last transaction has %d calls, want all the others", len(rest))
	}
}

// What is going to be waited for does not find a transaction of the history under way, unless so much of that waits that it must be written.
func TestTheHistoryIsHeldBackForWhatIsExpected(t *testing.T) {
	t.Parallel()
	s := newStore(&tableEngine{}, Options{})
	later := func(n int) {
		t.Helper()
		for range n {
			if err := s.EnqueueLater(t.Context(), PutMined(MinedOperation{Hash: common.Hash{1}})); err != nil {
				t.Fatal(err)
			}
		}
	}
	later(100)
	first, second := s.Expect(), s.Expect()
	if held := s.take(false); len(held) != 0 {
		t.Errorf("a transaction of %d calls begins while a commit is expected", len(held))
	}
	first()
	first()
	if held := s.take(false); len(held) != 0 {
		t.Errorf("a transaction of %d calls begins while another commit is expected", len(held))
	}
	if err := s.Enqueue(t.Context(), PutOperation(someOperation(200))); err != nil {
		t.Fatal(err)
	}
	if batch := s.take(false); len(batch) != 1+laterBeside {
		t.Errorf("the expected transaction has %d calls, want its own and %d of the history", len(batch), laterBeside)
	}
	later(maxHeldBack)
	if batch := s.take(false); len(batch) == 0 {
		t.Errorf("none of %d calls is written", maxHeldBack)
	}
	for len(s.later) >= maxHeldBack {
		s.take(false)
	}
	<-s.awakened
	second()
	select {
	case <-s.awakened:
	default:
		t.Error("the committer sleeps when nothing is expected any more")
	}
	if batch := s.take(false); len(batch) == 0 {
		t.Error("nothing is expected, and the history is not written")
	}
}

// An operation that comes back after it was mined, or a block that leaves the chain, is written after the history that it contradicts.
func TestNothingOvertakesTheHistoryOfItsOwnOperation(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]Write{
		"the operation is accepted again": PutOperation(someOperation(7)), "its block leaves the chain": Unmine(common.Hash{1}),
		"all operations are dropped": ClearOperations(),
	} {
		s := newStore(&tableEngine{}, Options{})
		for _, hash := range []common.Hash{someOperation(7).Hash, {8}} {
			if err := s.EnqueueLater(t.Context(), DeleteOperations(hash)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Enqueue(t.Context(), again); err != nil {
			t.Fatal(err)
		}
		if batch := s.take(false); len(batch) != 3 || !batch[0].later || !batch[1].later {
			t.Errorf("%s: have %d calls, the history first: %v", name, len(batch), len(batch) > 0 && batch[0].later)
		}
	}
}

// No transaction is made for what is handed over quietly: what comes next takes it along, and so does the end.
func TestWhatIsHandedOverQuietlyGoesWithTheNext(t *testing.T) {
	t.Parallel()
	s := newStore(&tableEngine{}, Options{})
	if err := s.EnqueueQuietly(t.Context(), PutOperation(someOperation(1))); err != nil {
		t.Fatal(err)
	}
	if len(s.awakened) != 0 {
		t.Error("the committer was woken for it")
	}
	s.begin(PutOperation(someOperation(2)))
	if len(s.awakened) != 1 {
		t.Error("the committer was not woken for what came next")
	}
	if batch := s.take(false); len(batch) != 2 || batch[0].done != nil || batch[1].done == nil {
		t.Errorf("have %d calls in the transaction, want both, in order", len(batch))
	}
	if err := s.EnqueueQuietly(t.Context(), PutOperation(someOperation(3))); err != nil {
		t.Fatal(err)
	}
	if rest := s.take(true); len(rest) != 1 {
		t.Errorf("the last transaction has %d calls, want the one left", len(rest))
	}
}

// TestTheOrderOfWrites looks at every pair of calls: which of the two becomes durable first.
func TestTheOrderOfWrites(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		s := newStore(&tableEngine{}, Options{})
		var handed, durable []waiting
		commit := func(last bool) int {
			batch := s.take(last)
			durable = append(durable, batch...)
			return len(batch)
		}
		for i := range rapid.IntRange(1, 120).Draw(r, "calls") {
			if rapid.IntRange(0, 3).Draw(r, "commit") == 0 {
				commit(false)
			}
			w := waiting{later: rapid.Bool().Draw(r, "later")}
			write := Write{bytes: i + 1, all: !w.later && rapid.IntRange(0, 20).Draw(r, "all") == 0} // bytes: its number
			if rapid.Bool().Draw(r, "big") {
				write.bytes += maxTransactionBytes / 3
			}
			for _, op := range rapid.SliceOfN(rapid.ByteRange(0, 9), 0, 2).Draw(r, "about") {
				write.about = append(write.about, common.Hash{op})
			}
			w.writes = []Write{write}
			handed = append(handed, w)
			if err := s.hand(w); err != nil {
				r.Fatal(err)
			}
		}
		for commit(true) > 0 {
		}
		if len(durable) != len(handed) || len(s.laterAbout) != 0 {
			r.Fatalf("have %d of %d calls, and %d operations that nothing is about any more", len(durable), len(handed), len(s.laterAbout))
		}
		at := make(map[int]int)
		for i, w := range durable {
			at[w.writes[0].bytes] = i
		}
		for j, second := range handed {
			for i, first := range handed[:j] {
				a, b := first.writes[0], second.writes[0]
				together := b.all || slices.ContainsFunc(b.about, func(op common.Hash) bool { return slices.Contains(a.about, op) })
				mayOvertake := first.later && !second.later && !together
				if at[a.bytes] > at[b.bytes] && !mayOvertake {
					r.Fatalf("call %d became durable after call %d: %s", i, j, fmt.Sprintf("%+v %+v", first, second))
				}
			}
		}
	})
}
