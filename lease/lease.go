// Package lease makes sure that a name is used by one process at a time: a key that signs, or the pool of a chain. Redis keeps
// the leases, and beside each a table of bytes that only the lease's holder writes and its next holder reads.
//
// In: a name to hold, changes of its table. Out: a Lease, which says at any moment whether the name may be used, without asking
// anybody; and the table as the last holder left it.
//
// It promises:
//
//   - A lease is held by one process at a time, by Redis' clock. Each holder has a token greater than all before it.
//   - The holder stops at the TTL minus a margin, on its own monotonic clock, counted from before it asked, whether Redis can be
//     reached or not.
//   - A change of the table is made in one step with a look at the lease: a holder that lost it, and does not know, changes
//     nothing. Changes are made once, in their order, all or none, however often a connection breaks.
//   - After a restart of Redis no free lease is given out before the longest that it may have forgotten has ended.
//   - It touches only the keys of its chain and of names it holds, and each has a TTL: the lease its own, the token and the table
//     Options.Keep since they were used last.
//
// It never decides what a name is for, never waits for another holder, and never writes what the lease does not protect.
//
// What Redis forgets is forgotten: it must persist (appendfsync always), and must not evict (maxmemory-policy noeviction). A replica
// that becomes the master lacks what it had not received: with Options.Replicas nothing counts, neither a lease nor a change, before
// so many replicas have it.
package lease

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/redis/go-redis/v9"
)

// Why a name cannot be held, or is not held any more.
var (
	ErrLost = errors.New("lease is lost")
	// ErrYoung: Redis was started a short time ago, and may have forgotten leases that are still relied on.
	ErrYoung = errors.New("redis has not been up for as long as a lease lasts")
	// ErrUptime: Redis does not say since when it has been up.
	ErrUptime = errors.New("redis does not tell its uptime: INFO must be allowed")
	// ErrGone: the table is not there any more, though its lease is: it was evicted or deleted.
	ErrGone = errors.New("the table of the lease has vanished from redis")
	// ErrReplicas: fewer replicas than Options.Replicas have what was written. It may be forgotten at a failover, so it does not count.
	ErrReplicas = errors.New("too few replicas of redis have it")
)

// HeldError says that another process holds a name.
type HeldError struct {
	Name, By string
	For      time.Duration // at most, if it is not prolonged
}

// Error implements error.
func (e *HeldError) Error() string {
	return fmt.Sprintf("%s is held by %s for another %s", e.Name, e.By, e.For.Round(time.Millisecond))
}

// Options are the times of leases. Zero means the default.
type Options struct {
	// TTL is how long a lease lasts if its holder dies. Default: 60 s.
	TTL time.Duration
	// Margin is how long before its end a holder stops using it. Default: a sixth of the TTL.
	Margin time.Duration
	// Renew is how often it is prolonged. Default: a quarter of the TTL.
	Renew time.Duration
	// Keep is how long a token and a table stay that nobody uses. Default: 30 days.
	Keep time.Duration
	// TrustYoung gives out leases although Redis was started a short time ago: it has forgotten nothing.
	TrustYoung bool
	// Replicas is how many replicas of Redis must have a lease, a renewal or a change before it counts; 0: the master alone.
	Replicas int
	// Now is the holder's monotonic clock; nil: the machine's.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.TTL <= 0 {
		o.TTL = time.Minute
	}
	if o.Margin <= 0 {
		o.Margin = o.TTL / 6
	}
	if o.Renew <= 0 {
		o.Renew = o.TTL / 4
	}
	if o.Keep <= 0 {
		o.Keep = 30 * 24 * time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Leases are the leases of one chain, as one process sees them.
type Leases struct {
	client  redis.UniversalClient
	chain   uint64
	holder  string
	options Options
}

// New returns the leases of a chain. The client stays the caller's.
func New(client redis.UniversalClient, chainID uint64, options Options) *Leases {
	return &Leases{client: client, chain: chainID, holder: processName(), options: options.withDefaults()}
}

// processName is a name that no other process has, and that people can find the process by.
func processName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	return fmt.Sprintf("%s/%d/%s", strings.ReplaceAll(host, " ", "-"), os.Getpid(), hex.EncodeToString(random[:]))
}

// Holder is this process's name.
func (l *Leases) Holder() string { return l.holder }

// keys are what a name has in Redis. The braces are Redis Cluster's: all of them are in one slot.
func (l *Leases) keys(name string) []string {
	prefix := fmt.Sprintf("baler:{%d:%s}:", l.chain, name)
	return []string{prefix + "lease", prefix + "token", prefix + "table"}
}

// Acquire holds a name, and prolongs the lease until it is released or lost. It does not wait for another holder.
//
// Errors: *HeldError, ErrYoung, ErrUptime, ErrReplicas, or the connection's.
func (l *Leases) Acquire(ctx context.Context, name string) (*Lease, error) {
	o := l.options
	asked := o.Now()
	asking, cancel := context.WithTimeout(ctx, 2*ioTime)
	defer cancel()
	ran, behind := l.run(asking, acquireScript, name, l.holder, o.TTL.Milliseconds(), o.Keep.Milliseconds(), o.uptime())
	answer, err := ran.Slice()
	if err != nil {
		return nil, fmt.Errorf("lease of %s: %w", name, err)
	}
	word, _ := answer[0].(string)
	switch word {
	case "held":
		by, _ := answer[1].(string)
		left, _ := answer[2].(int64)
		by, _, _ = strings.Cut(by, " ")
		return nil, &HeldError{Name: name, By: by, For: time.Duration(left) * time.Millisecond}
	case "young":
		return nil, fmt.Errorf("lease of %s: %w: up for %v s, want %d", name, ErrYoung, answer[1], o.uptime())
	case "unknown":
		return nil, fmt.Errorf("lease of %s: %w", name, ErrUptime)
	}
	token, ok := answer[1].(int64)
	if !ok || word != "acquired" {
		return nil, fmt.Errorf("lease of %s: answer %v was not understood", name, answer)
	}
	if behind != nil { // asked again it is ours still
		return nil, fmt.Errorf("lease of %s: %w", name, behind)
	}
	held := &Lease{
		leases: l, name: name, token: uint64(token), value: l.holder + " " + strconv.FormatInt(token, 10),
		until: asked.Add(o.TTL - o.Margin), lost: make(chan struct{}), stop: make(chan struct{}), done: make(chan struct{}),
	}
	go held.keep() //nolint:contextcheck // it is kept until it is released, whatever becomes of the request for it
	return held, nil
}

// uptime is how long Redis must have been up, in its own whole seconds; 0: it does not matter.
func (o Options) uptime() int64 {
	if o.TrustYoung {
		return 0
	}
	return int64((o.TTL+time.Second-1)/time.Second) + 1
}

// Lease is a name that this process holds, or held. Its methods are safe for concurrent use. Release it at the end, lost or not.
type Lease struct {
	leases *Leases
	name   string
	token  uint64
	value  string
	lost   chan struct{}
	stop   chan struct{}
	done   chan struct{}

	mu     sync.Mutex
	until  time.Time
	err    error // why it is not valid any more
	ended  bool  // stop is closed
	tables struct {
		sync.Mutex        // one change at a time
		number     uint64 // of the last change
		there      bool
	}
}

// Token is greater than that of every holder before.
func (l *Lease) Token() uint64 { return l.token }

// Name is what is held.
func (l *Lease) Name() string { return l.name }

// Valid reports whether the name may be used at this moment.
func (l *Lease) Valid() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err == nil && l.leases.options.Now().Before(l.until)
}

// Lost is closed when the lease is not valid any more.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Err says why the lease is not valid any more; nil while it is.
func (l *Lease) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// lose ends the lease for this process.
func (l *Lease) lose(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = fmt.Errorf("%s: %w: %s", l.name, ErrLost, why)
		close(l.lost)
	}
}

// left is how long the lease is valid still.
func (l *Lease) left() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until.Sub(l.leases.options.Now())
}

// keep prolongs the lease until it is lost or released.
func (l *Lease) keep() {
	defer close(l.done)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var asking sync.WaitGroup
	defer asking.Wait()
	o := l.leases.options
	renew := time.NewTicker(o.Renew)
	defer renew.Stop()
	busy := make(chan struct{}, 1) // holds a token while Redis is asked
	for {
		end := time.NewTimer(max(l.left(), time.Millisecond))
		select {
		case <-l.stop:
			end.Stop()
			return
		case <-l.lost:
			end.Stop()
			return
		case <-end.C:
			if l.left() <= 0 {
				l.lose("redis did not confirm it in time")
				return
			}
		case <-renew.C:
			end.Stop()
			select {
			case busy <- struct{}{}:
				asking.Go(func() {
					defer func() { <-busy }()
					l.renew(ctx)
				})
			default: // an answer is waited for
			}
		}
	}
}

// renew prolongs the lease; a few tries fit between one time and the next.
func (l *Lease) renew(ctx context.Context) {
	o := l.leases.options
	asked := o.Now()
	ctx, cancel := context.WithTimeout(ctx, min(o.Renew, ioTime))
	defer cancel()
	ran, behind := l.leases.run(ctx, renewScript, l.name, l.value, o.TTL.Milliseconds(), o.Keep.Milliseconds())
	ours, err := ran.Int()
	if err != nil {
		return // it is asked again, as long as there is time
	}
	if ours == 0 {
		l.lose("another process has it, or redis forgot it")
		return
	}
	if behind != nil {
		return // whoever is the master next may let it end sooner
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = asked.Add(o.TTL - o.Margin)
}

// releasePatience is how long Redis is asked again to take a lease back. Else it ends by itself.
const releasePatience = 2 * time.Second

// Release gives the name back, so that another process can have it at once, and waits until nothing prolongs the lease any more. From
// then on it is lost. A second call does nothing.
func (l *Lease) Release(ctx context.Context) error {
	l.mu.Lock()
	again, was := l.ended, l.err == nil
	l.ended = true
	l.mu.Unlock()
	if again {
		return nil
	}
	l.lose("it was given back")
	close(l.stop)
	<-l.done
	// One that was lost may still be ours in Redis. If it is another's, nothing happens.
	release := func() (struct{}, error) {
		return struct{}{}, releaseScript.Run(ctx, l.leases.client, l.leases.keys(l.name), l.value).Err()
	}
	if !was {
		_, _ = release()
		return nil
	}
	// A Sentinel that has just promoted a replica may still name the old master for a moment.
	if _, err := backoff.Retry(ctx, release, backoff.WithMaxElapsedTime(releasePatience)); err != nil {
		return fmt.Errorf("release %s: %w", l.name, err)
	}
	return nil
}
