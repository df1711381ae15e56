package pool

import (
	"testing"

	"baler/erc7562"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

// TestNoOperationIsLostOrDoubled lets everything happen to a small pool, in any order: every operation that was admitted is
// pending, or its removal was told, once; what returned was gone; the indexes are what they should be; and the budgets hold.
func TestNoOperationIsLostOrDoubled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newStorm()
		t.Repeat(map[string]func(*rapid.T){
			"add":        s.add,
			"readmit":    s.readmit,
			"remove":     s.remove,
			"mine":       s.mine,
			"nonce":      s.nonce,
			"reorg":      s.reorg,
			"head":       s.advance,
			"candidates": s.candidates,
			"claim":      s.claims,
			"reputation": s.reputation,
			"blame":      s.blame,
			"clear":      s.clear,
			"":           s.check,
		})
	})
}

// storm is a pool and what it has told.
type storm struct {
	pool    *Pool
	ops     map[common.Hash]*Operation
	pending map[common.Hash]bool
	known   []common.Hash // all that ever were admitted, in order
}

// stormBytes is room for about a dozen operations.
const stormBytes = 12 * (entryOverhead + 100)

func newStorm() *storm {
	cfg := DefaultConfig()
	cfg.MaxBytes, cfg.MaxSecondsInPool, cfg.ReorgDepth = stormBytes, 30, 8
	cfg.ThrottlingSlack, cfg.BanSlack, cfg.MinInclusionRateDenominator = 2, 6, 1
	s := &storm{pool: New(cfg), ops: make(map[common.Hash]*Operation), pending: make(map[common.Hash]bool)}
	s.pool.Head(Head{Number: 100, Timestamp: 1000, BaseFee: *uint256.NewInt(50)})
	return s
}

// gone takes note of removals.
func (s *storm) gone(t *rapid.T, removed []Removed) {
	t.Helper()
	for _, r := range removed {
		if !s.pending[r.Operation.Hash] {
			t.Fatalf("%s: %v was told, which is not pending", r.Reason, r.Operation.Hash)
		}
		delete(s.pending, r.Operation.Hash)
	}
}

func (s *storm) came(t *rapid.T, op *Operation) {
	t.Helper()
	if s.pending[op.Hash] {
		t.Fatalf("%v is in the pool twice", op.Hash)
	}
	s.pending[op.Hash] = true
	if s.ops[op.Hash] == nil {
		s.ops[op.Hash] = op
		s.known = append(s.known, op.Hash)
	}
}

func (s *storm) draw(t *rapid.T) *Operation {
	n := rapid.Uint64Range(0, 5).Draw(t, "sender")
	k := rapid.Uint64Range(0, 1).Draw(t, "key")
	behind := s.pool.Predecessors(ep07.Address, sender(n), uint256.Int{1 << 40, k})
	first := uint64(0)
	if lane := s.pool.lanes[newLaneKey(ep07.Address, sender(n), &uint256.Int{0, k})]; lane != nil {
		first, behind = lane.first().seq, uint64(len(lane.entries))
	} else if next, mined := s.pool.history.sequence(newLaneKey(ep07.Address, sender(n), &uint256.Int{0, k})); mined {
		first = next
	}
	ahead := rapid.Uint64Range(0, behind).Draw(t, "place")
	changes := []change{
		nonce(k, first+ahead), func(op *Operation) { op.NonceAhead = ahead },
		fees(rapid.Uint64Range(20, 400).Draw(t, "max fee"), rapid.Uint64Range(1, 40).Draw(t, "tip")),
		staked(Staked{Sender: n >= 4, Paymaster: true}), calldata(rapid.IntRange(0, 200).Draw(t, "size")),
		func(op *Operation) { op.AddedBlock, op.AddedTime = s.pool.head.Number, s.pool.head.Timestamp },
	}
	if p := rapid.Uint64Range(0, 3).Draw(t, "paymaster"); p < 2 {
		changes = append(changes, paidBy(p, rapid.Uint64Range(1, 100).Draw(t, "prefund")))
		s.pool.SetDeposit(ep07.Address, *pm(p), *uint256.NewInt(rapid.Uint64Range(50, 500).Draw(t, "deposit")))
	}
	switch now := s.pool.head; rapid.IntRange(0, 5).Draw(t, "time") {
	case 0:
		changes = append(changes, valid(rapid.Uint64Range(now.Timestamp, now.Timestamp+5).Draw(t, "after"), now.Timestamp+9))
	case 1:
		changes = append(changes, valid(rapid.Uint64Range(now.Number, now.Number+3).Draw(t, "after"), now.Number+6),
			func(op *Operation) { op.ValidityInBlocks = true })
	default:
	}
	return operation(n, changes...)
}

func (s *storm) add(t *rapid.T) { s.put(t, s.draw(t), s.pool.Add) }

func (s *storm) readmit(t *rapid.T) { s.put(t, s.draw(t), s.pool.Readmit) }

func (s *storm) put(t *rapid.T, op *Operation, put func(*Operation) (Added, error)) {
	added, err := put(op)
	if added.Known {
		return
	}
	refused := err != nil
	if refused && len(added.Removed) == 0 {
		return // nothing changed
	}
	s.came(t, op)
	s.gone(t, added.Removed) // the operation itself among them, if it banned an entity of its own
	if refused == s.pending[op.Hash] {
		t.Fatalf("refused: %v, pending: %v", err, s.pending[op.Hash])
	}
}

func (s *storm) pick(t *rapid.T) *Operation {
	if len(s.known) == 0 {
		t.Skip("nothing was ever admitted")
	}
	return s.ops[rapid.SampledFrom(s.known).Draw(t, "operation")]
}

func (s *storm) remove(t *rapid.T) {
	op := s.pick(t)
	reason := rapid.SampledFrom([]Reason{ValidationFailed, BundleFailed, Dropped}).Draw(t, "reason")
	removed, err := s.pool.Remove(op.Hash, reason, erc7562.Entity(rapid.IntRange(0, 3).Draw(t, "culprit")))
	if (err == nil) != s.pending[op.Hash] {
		t.Fatalf("Remove: have %v of an operation that is pending: %v", err, s.pending[op.Hash])
	}
	s.gone(t, removed)
}

func (s *storm) mine(t *rapid.T) {
	op := s.pick(t)
	in := Inclusion{ep07.Address, op.Op.Sender, op.Op.Nonce, op.Hash, s.pool.head.Number + 1}
	if rapid.Bool().Draw(t, "another with its nonce") {
		in.Hash = common.Hash{1}
	}
	s.gone(t, s.pool.Mined(in))
	s.head(t, 1, 1)
}

func (s *storm) nonce(t *rapid.T) {
	op := s.pick(t)
	next := op.Op.Nonce
	next.AddUint64(&next, rapid.Uint64Range(0, 2).Draw(t, "more"))
	s.gone(t, s.pool.SetNonce(ep07.Address, op.Op.Sender, next, s.pool.head.Number))
}

func (s *storm) reorg(t *rapid.T) {
	parent := s.pool.head.Number - rapid.Uint64Range(1, 6).Draw(t, "blocks")
	revived, removed := s.pool.Reorg(parent, parent+20)
	// What returns may be evicted at once, so the two are told together.
	for _, op := range revived {
		s.came(t, op)
	}
	s.gone(t, removed)
	s.setHead(t, parent+1, s.pool.head.Timestamp-rapid.Uint64Range(0, 3).Draw(t, "seconds back"))
}

func (s *storm) advance(t *rapid.T) {
	s.head(t, rapid.Uint64Range(1, 3).Draw(t, "blocks"), rapid.Uint64Range(1, 8).Draw(t, "seconds"))
}

func (s *storm) head(t *rapid.T, blocks, seconds uint64) {
	s.setHead(t, s.pool.head.Number+blocks, s.pool.head.Timestamp+seconds)
}

func (s *storm) setHead(t *rapid.T, number, timestamp uint64) {
	s.gone(t, s.pool.Head(Head{
		Number: number, Timestamp: timestamp, BaseFee: *uint256.NewInt(rapid.Uint64Range(1, 220).Draw(t, "base fee")),
	}))
}

func (s *storm) candidates(t *rapid.T) {
	q := Query{
		Builder: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "builder"), EntryPoint: ep07.Address, BaseFee: s.pool.head.BaseFee, MaxOps: 5,
		UntilBlock: s.pool.head.Number + rapid.Uint64Range(0, 4).Draw(t, "until"), Shard: Shard{Index: rapid.Uint64Range(0, 1).Draw(t, "shard"), Count: 2},
	}
	for _, op := range s.pool.Candidates(q) {
		if !s.pending[op.Hash] || !s.pool.ready(op) || !q.Shard.holds(op.Op.Sender) || s.pool.Holder(op.Hash) != q.Builder {
			t.Fatalf("%v is offered: pending %v, ready %v, held by %q", op.Hash, s.pending[op.Hash], s.pool.ready(op), s.pool.Holder(op.Hash))
		}
	}
}

func (s *storm) claims(t *rapid.T) {
	builder := rapid.SampledFrom([]string{"x", "y"}).Draw(t, "builder")
	switch held := s.pool.Held(builder); rapid.IntRange(0, 3).Draw(t, "what") {
	case 0:
		s.pool.Claim(builder, []common.Hash{s.pick(t).Hash}, s.pool.head.Number+3)
	case 1:
		s.pool.ExtendClaim(builder, held, s.pool.head.Number+5)
	case 2:
		s.pool.Release(builder, held)
	default:
		s.pool.ReleaseAll(builder)
	}
}

func (s *storm) reputation(t *rapid.T) {
	if rapid.Bool().Draw(t, "an hour passes") {
		s.pool.Decay(1)
		return
	}
	s.gone(t, s.pool.SetReputation([]Reputation{{
		Address: *pm(rapid.Uint64Range(0, 1).Draw(t, "paymaster")), OpsSeen: rapid.Uint64Range(0, 12).Draw(t, "seen"),
		OpsIncluded: rapid.Uint64Range(0, 6).Draw(t, "included"),
	}}))
}

func (s *storm) blame(t *rapid.T) {
	s.gone(t, s.pool.Blame(s.pick(t), erc7562.Entity(rapid.IntRange(0, 3).Draw(t, "culprit"))))
}

func (s *storm) clear(t *rapid.T) {
	if rapid.IntRange(0, 5).Draw(t, "sure") == 0 {
		s.gone(t, s.pool.Clear())
	}
}

func (s *storm) check(t *rapid.T) {
	check(t, s.pool)
	if have := s.pool.Len(); have != len(s.pending) {
		t.Fatalf("have %d operations, want %d by what was told", have, len(s.pending))
	}
	for hash := range s.pending {
		if s.pool.Get(hash) == nil {
			t.Fatalf("%v left and nobody was told", hash)
		}
	}
	held := 0
	for _, a := range s.pool.held {
		held += a.sent
	}
	if s.pool.bytes > stormBytes && held == 0 {
		t.Fatalf("have %d bytes, want at most %d", s.pool.bytes, stormBytes)
	}
	if len(s.pool.Dump(ep07.Address)) != len(s.pending) {
		t.Fatalf("a dump has %d operations, want %d", len(s.pool.Dump(ep07.Address)), len(s.pending))
	}
}
