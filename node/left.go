package node

import (
	"sync"
	"time"

	"baler/pool"
)

const (
	// leftClaimBlocks and leftClaimTime are how long operations in transactions of a key that was lost stay out of other bundles here,
	// whichever is longer: its next holder, who may have a pool of its own, still has these transactions out.
	leftClaimBlocks = 32
	leftClaimTime   = time.Minute
)

// left knows the builders that are gone, whose transactions may still be mined. The claims that they left end at a block, and where blocks
// are short many come before the lease of a dead holder ends: they are prolonged with each head for some time.
type left struct {
	lasts time.Duration

	mu    sync.Mutex
	since map[string]time.Time // by builder
}

// newLeft: ttl is for how long a key stays with a holder that is dead; 0: keys are not leased.
func newLeft(ttl time.Duration) *left {
	return &left{lasts: max(leftClaimTime, 2*ttl), since: make(map[string]time.Time)}
}

func (l *left) gone(builder string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since[builder] = time.Now()
}

func (l *left) back(builder string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.since, builder)
}

// prolong keeps what they have theirs until a block number.
func (l *left) prolong(p *pool.Pool, until uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for builder, since := range l.since {
		if time.Since(since) > l.lasts {
			delete(l.since, builder)
			continue
		}
		p.Prolong(builder, until)
	}
}
