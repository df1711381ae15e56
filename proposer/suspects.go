package proposer

import (
	"cmp"
	"slices"

	"github.com/ethereum/go-ethereum/common"
)

// Suspects finds the operation that makes a node or relay refuse whole bundles without saying which, by splitting: a
// refused bundle is followed by one of half its size, until a single operation is refused. That one is deferred for some
// blocks, so that healthy operations flow meanwhile.
//
// A refusal of a single operation is held against it only once another bundle has been accepted after it: while
// everything is refused, it is the provider's trouble, and no operation is to blame. With MaxStrikes it is a culprit,
// and is to be removed: a healthy operation would have to meet that many outages in a row, each of them over by the time
// another bundle is sent.
//
// Suspects is pure: blocks are its clock. It is not safe for concurrent use.
type Suspects struct {
	config SuspectsConfig
	limits map[string]int // by builder; absent: no limit
	known  map[common.Hash]*suspect
}

// SuspectsConfig holds the numbers. DefaultSuspectsConfig has the defaults.
type SuspectsConfig struct {
	MaxStrikes  int    // refusals that make a culprit
	DeferBlocks uint64 // blocks a suspect waits after its first refusal; doubled with each strike
	MaxDefer    uint64 // most blocks it waits for its strikes; it also waits until other operations had a turn
	NoLimit     int    // the bundle size from which a builder is not limited any more
}

// DefaultSuspectsConfig returns the defaults.
func DefaultSuspectsConfig() SuspectsConfig {
	return SuspectsConfig{MaxStrikes: 6, DeferBlocks: 2, MaxDefer: 64, NoLimit: 128}
}

type suspect struct {
	strikes int
	until   uint64 // block up to which it is deferred
	pending bool   // refused alone since the last acceptance
}

// NewSuspects returns a record without suspects.
func NewSuspects(config SuspectsConfig) *Suspects {
	return &Suspects{config: config, limits: make(map[string]int), known: make(map[common.Hash]*suspect)}
}

// Limit is the most operations the builder's next bundle may have; 0: no limit.
func (s *Suspects) Limit(builder string) int { return s.limits[builder] }

// Deferred lists the operations that must not be bundled at a block, in order of their hashes.
func (s *Suspects) Deferred(block uint64) []common.Hash {
	var deferred []common.Hash
	for hash, x := range s.known {
		if block <= x.until {
			deferred = append(deferred, hash)
		}
	}
	slices.SortFunc(deferred, common.Hash.Cmp)
	return deferred
}

// Apart lists the suspects that have been refused alone more than once, with others accepted between, and whose wait is
// over, in order of their hashes. Each is to be tried alone: in a bundle with others it would take these along, and be
// found again only by splitting again. After a provider's outage every operation may have one strike: these flow in
// bundles again.
func (s *Suspects) Apart(block uint64) []common.Hash {
	var apart []common.Hash
	for hash, x := range s.known {
		if x.strikes > 1 && block > x.until {
			apart = append(apart, hash)
		}
	}
	slices.SortFunc(apart, common.Hash.Cmp)
	return apart
}

// Refused: a bundle was refused, or reverted on chain, for a reason that names no operation.
func (s *Suspects) Refused(builder string, ops []common.Hash, block uint64) {
	if len(ops) != 1 {
		s.halve(builder, len(ops))
		return
	}
	x := s.known[ops[0]]
	if x == nil {
		x = new(suspect)
		s.known[ops[0]] = x
	}
	x.pending = true
	// One more block than there are suspects: with one bundle a block, somebody else has a turn before they are through.
	turns := uint64(len(s.known)) + 1
	x.until = block + max(turns, s.deferral(x))
}

func (s *Suspects) deferral(x *suspect) uint64 {
	return min(s.config.DeferBlocks<<min(x.strikes, 32), s.config.MaxDefer)
}

// Shrink: a bundle reverted for its size, out of gas: the next is half as large.
func (s *Suspects) Shrink(builder string, ops int) { s.halve(builder, ops) }

func (s *Suspects) halve(builder string, size int) {
	limit := max(1, size/2)
	if old := s.limits[builder]; old != 0 {
		limit = min(limit, old)
	}
	s.limits[builder] = limit
}

// Mined: a bundle of the builder did what it should. Its next may be twice as large.
func (s *Suspects) Mined(builder string) {
	if limit := 2 * s.limits[builder]; limit >= s.config.NoLimit {
		delete(s.limits, builder)
	} else if limit > 0 {
		s.limits[builder] = limit
	}
}

// Accepted: a bundle was taken. What was refused alone before it is held against those operations, which now only wait
// for their strikes. It returns the culprits, to be removed; they are forgotten here.
func (s *Suspects) Accepted(ops []common.Hash, block uint64) (culprits []common.Hash) {
	for _, hash := range ops {
		delete(s.known, hash)
	}
	for hash, x := range s.known {
		if !x.pending {
			continue
		}
		x.pending = false
		if x.strikes++; x.strikes >= s.config.MaxStrikes {
			culprits = append(culprits, hash)
			delete(s.known, hash)
		}
		x.until = min(x.until, block+s.deferral(x))
	}
	slices.SortFunc(culprits, common.Hash.Cmp)
	return culprits
}

// Forget drops what is known of operations that left the pool.
func (s *Suspects) Forget(gone func(common.Hash) bool) {
	for hash := range s.known {
		if gone(hash) {
			delete(s.known, hash)
		}
	}
}

// Strikes lists the suspects with their strikes, worst first, for display.
func (s *Suspects) Strikes() []Strike {
	list := make([]Strike, 0, len(s.known))
	for hash, x := range s.known {
		list = append(list, Strike{Hash: hash, Strikes: x.strikes, Until: x.until})
	}
	slices.SortFunc(list, func(a, b Strike) int {
		return cmp.Or(cmp.Compare(b.Strikes, a.Strikes), a.Hash.Cmp(b.Hash))
	})
	return list
}

// Strike is a suspect: how often it was refused alone while others were accepted, and the last block it waits for.
type Strike struct {
	Hash    common.Hash
	Strikes int
	Until   uint64
}
