package edge

import (
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common/lru"
	"golang.org/x/time/rate"
)

// maxBuckets is how many keys a Rates remembers. The one that was not heard of for longest is forgotten first; a flood of
// new keys can only make others' buckets full again.
const maxBuckets = 65_536

// Rate is how often something may happen: PerSecond on average, Burst at once. PerSecond 0: as often as it likes.
type Rate struct {
	PerSecond float64
	Burst     int
}

// Rates is one token bucket per key, in bounded memory. It is safe for concurrent use; nil limits nothing.
type Rates[K comparable] struct {
	rate Rate
	now  func() time.Time

	mu      sync.Mutex
	buckets lru.BasicLRU[K, *rate.Limiter]
}

// NewRates returns buckets that are full, nil if the rate limits nothing.
func NewRates[K comparable](r Rate) *Rates[K] { return newRates[K](r, time.Now) }

func newRates[K comparable](r Rate, now func() time.Time) *Rates[K] {
	if r.PerSecond <= 0 {
		return nil
	}
	r.Burst = max(r.Burst, 1)
	return &Rates[K]{rate: r, now: now, buckets: lru.NewBasicLRU[K, *rate.Limiter](maxBuckets)}
}

// Allow takes a token from the key's bucket, and reports whether there was one.
func (r *Rates[K]) Allow(key K) bool {
	if r == nil {
		return true
	}
	return r.bucket(key).AllowN(r.now(), 1)
}

// Exhausted reports whether the key has nothing left, without taking anything.
func (r *Rates[K]) Exhausted(key K) bool {
	if r == nil {
		return false
	}
	return r.bucket(key).TokensAt(r.now()) < 1
}

func (r *Rates[K]) bucket(key K) *rate.Limiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	bucket, known := r.buckets.Get(key)
	if !known {
		bucket = rate.NewLimiter(rate.Limit(r.rate.PerSecond), r.rate.Burst)
		r.buckets.Add(key, bucket)
	}
	return bucket
}
