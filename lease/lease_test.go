package lease_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"baler/internal/redistest"
	"baler/lease"

	"github.com/redis/go-redis/v9"
)

// quick are times for tests: leases end soon, and a machine under load does not lose them by accident.
func quick() lease.Options {
	return lease.Options{TTL: 2 * time.Second, Margin: 300 * time.Millisecond, Renew: 200 * time.Millisecond}
}

// process are the leases as a process of its own sees them.
func process(t *testing.T, addr string, options lease.Options) *lease.Leases {
	t.Helper()
	return chainProcess(t, addr, 1337, options)
}

func chainProcess(t *testing.T, addr string, chain uint64, options lease.Options) *lease.Leases {
	t.Helper()
	client, err := lease.Dial([]string{"redis://" + addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return lease.New(client, chain, options)
}

// acquire waits until the name can be held.
func acquire(t *testing.T, l *lease.Leases, name string) *lease.Lease {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		held, err := l.Acquire(t.Context(), name)
		if err == nil {
			t.Cleanup(func() { _ = held.Release(context.Background()) })
			return held
		}
		if time.Now().After(deadline) {
			t.Fatalf("acquire %s: %v", name, err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func lost(t *testing.T, l *lease.Lease) {
	t.Helper()
	select {
	case <-l.Lost():
	case <-time.After(time.Minute):
		t.Fatal("the lease is not lost")
	}
	if l.Valid() || !errors.Is(l.Err(), lease.ErrLost) {
		t.Errorf("have valid %v, %v, want ErrLost", l.Valid(), l.Err())
	}
}

func load(t *testing.T, l *lease.Lease) map[string]string {
	t.Helper()
	have := make(map[string]string)
	if err := l.Load(t.Context(), func(key string, value []byte) { have[key] = string(value) }); err != nil {
		t.Fatal(err)
	}
	return have
}

func mustCommit(t *testing.T, l *lease.Lease, changes ...lease.Change) {
	t.Helper()
	if err := l.Commit(changes); err != nil {
		t.Fatal(err)
	}
}

func put(key, value string) lease.Change { return lease.Change{Key: key, Value: []byte(value)} }

func TestANameIsHeldByOneProcessAtATime(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, b := process(t, server.Addr, quick()), process(t, server.Addr, quick())
	first := acquire(t, a, "key")
	if !first.Valid() {
		t.Error("it is not valid at once")
	}
	_, err := b.Acquire(t.Context(), "key")
	held, ok := errors.AsType[*lease.HeldError](err)
	if !ok || held.By != a.Holder() || held.For <= 0 || held.For > quick().TTL {
		t.Errorf("have %v, want that %s holds it for at most %s", err, a.Holder(), quick().TTL)
	}
	other := acquire(t, b, "another key")
	if other.Token() != 1 {
		t.Errorf("another name has token %d, want 1: names have nothing to do with each other", other.Token())
	}
	if err := first.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	lost(t, first)
	second, err := b.Acquire(t.Context(), "key") // at once
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = second.Release(t.Context()) }()
	if second.Token() <= first.Token() {
		t.Errorf("have token %d after %d, want a greater one", second.Token(), first.Token())
	}
}

func TestALeaseLastsAsLongAsItIsProlonged(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, b := process(t, server.Addr, quick()), process(t, server.Addr, quick())
	held := acquire(t, a, "key")
	for deadline := time.Now().Add(2 * quick().TTL); time.Now().Before(deadline); {
		if _, err := b.Acquire(t.Context(), "key"); err == nil {
			t.Fatal("two hold it")
		}
		<-time.After(50 * time.Millisecond)
	}
	if !held.Valid() {
		t.Errorf("it is not valid any more: %v", held.Err())
	}
}

func TestTheNextHolderFindsTheTable(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, b := process(t, server.Addr, quick()), process(t, server.Addr, quick())
	first := acquire(t, a, "key")
	if have := load(t, first); len(have) != 0 {
		t.Errorf("have %v, want an empty table", have)
	}
	big := strings.Repeat("x", 1<<20)
	mustCommit(t, first, put("a", "1"), put("b", "2"), put("big", big), put("\x00\xff", "binary"))
	mustCommit(t, first, lease.Change{Key: "a", Drop: true}, put("b", "3"), lease.Change{Key: "never there", Drop: true})
	seen, err := b.Look(t.Context(), "key")
	if err != nil || len(seen) != 3 || seen["b"] != "3" {
		t.Errorf("another process sees %d pairs, b %q, %v, want all three", len(seen), seen["b"], err)
	}
	if err := first.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := acquire(t, b, "key")
	have := load(t, second)
	if len(have) != 3 || have["b"] != "3" || have["big"] != big || have["\x00\xff"] != "binary" {
		t.Errorf("have %d pairs, b %q, want what the last holder left", len(have), have["b"])
	}
}

func TestAStaleHolderChangesNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	// Its clock stands still, as that of a machine that was suspended: it never finds out by itself.
	stopped := time.Now()
	options := quick()
	options.Now = func() time.Time { return stopped }
	options.Renew = time.Hour
	a, b := process(t, server.Addr, options), process(t, server.Addr, quick())
	stale := acquire(t, a, "key")
	load(t, stale)
	mustCommit(t, stale, put("a", "1"))
	fresh := acquire(t, b, "key")
	if !stale.Valid() {
		t.Fatal("the test is about a holder that believes its lease is valid")
	}
	load(t, fresh)
	mustCommit(t, fresh, put("a", "2"))
	if err := stale.Commit([]lease.Change{put("a", "3")}); !errors.Is(err, lease.ErrLost) {
		t.Errorf("have %v, want ErrLost", err)
	}
	lost(t, stale)
	if have := load(t, fresh); have["a"] != "2" {
		t.Errorf("have %q, want the new holder's value", have["a"])
	}
	if err := stale.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !fresh.Valid() {
		t.Error("the old holder gave back what is another's")
	}
}

func TestAHolderThatCannotReachRedisStopsBeforeAnotherStarts(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr)
	a, b := process(t, proxy.Addr, quick()), process(t, server.Addr, quick())
	first := acquire(t, a, "key")
	load(t, first)
	mustCommit(t, first, put("a", "1"))
	proxy.Cut()
	var overlap atomic.Bool
	written := make(chan error, 1)
	go func() { written <- first.Commit([]lease.Change{put("a", "late")}) }()
	second := acquire(t, b, "key")
	if first.Valid() {
		overlap.Store(true)
	}
	lost(t, first)
	if overlap.Load() {
		t.Error("both were valid at one moment")
	}
	load(t, second)
	mustCommit(t, second, put("a", "2"))
	proxy.Heal() // what was on its way arrives now
	if err := <-written; !errors.Is(err, lease.ErrLost) {
		t.Errorf("have %v, want ErrLost", err)
	}
	for range 20 {
		<-time.After(20 * time.Millisecond)
		if have := load(t, second); have["a"] != "2" {
			t.Fatalf("have %q, want the new holder's value", have["a"])
		}
	}
}

func TestARedisThatHangsForAWhileIsWaitedFor(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	options := quick()
	options.TTL, options.Margin = 20*time.Second, time.Second
	first := acquire(t, process(t, server.Addr, lease.Options{TTL: time.Second}), "other") // waits for the server's age
	_ = first.Release(t.Context())
	options.TTL = 10 * time.Second
	held := acquire(t, process(t, server.Addr, options), "key")
	load(t, held)
	mustCommit(t, held, put("n", "0"))
	server.Pause(t)
	written := make(chan error, 1)
	go func() {
		for i := range 5 {
			if err := held.Commit([]lease.Change{put("n", fmt.Sprint(i+1))}); err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	<-time.After(2500 * time.Millisecond) // more than one try
	server.Resume(t)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	// Copies of earlier changes that Redis reads now change nothing.
	for range 10 {
		<-time.After(20 * time.Millisecond)
		if have := load(t, held); have["n"] != "5" {
			t.Fatalf("have %q, want the last change", have["n"])
		}
	}
}

func TestAfterARestartOfRedisTheHolderGoesOn(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	options := quick()
	options.TTL, options.Margin = 4*time.Second, 500*time.Millisecond
	held := acquire(t, process(t, server.Addr, options), "key")
	load(t, held)
	mustCommit(t, held, put("a", "1"))
	server.Kill(t)
	server.Run(t)
	mustCommit(t, held, put("b", "2"))
	if have := load(t, held); have["a"] != "1" || have["b"] != "2" {
		t.Errorf("have %v, want both changes", have)
	}
	if !held.Valid() {
		t.Errorf("the lease is lost: %v", held.Err())
	}
}

func TestARedisThatForgotEverythingGivesOutNoLeaseTooEarly(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, b := process(t, server.Addr, quick()), process(t, server.Addr, quick())
	first := acquire(t, a, "key")
	load(t, first)
	mustCommit(t, first, put("a", "1"))
	server.Kill(t)
	server.Forget(t)
	server.Run(t)
	if _, err := b.Acquire(t.Context(), "key"); !errors.Is(err, lease.ErrYoung) {
		t.Fatalf("have %v, want ErrYoung", err)
	}
	if err := first.Commit([]lease.Change{put("a", "2")}); !errors.Is(err, lease.ErrLost) {
		t.Errorf("have %v, want ErrLost", err)
	}
	second := acquire(t, b, "key")
	if first.Valid() || !second.Valid() {
		t.Errorf("have valid %v and %v, want the second only", first.Valid(), second.Valid())
	}
}

func TestAnEvictedTableIsNotTakenForAnEmptyOne(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	held := acquire(t, process(t, server.Addr, quick()), "key")
	load(t, held)
	mustCommit(t, held, put("a", "1"))
	client := server.Client(t)
	if err := client.Del(t.Context(), "baler:{1337:key}:table").Err(); err != nil {
		t.Fatal(err)
	}
	if err := held.Commit([]lease.Change{put("b", "2")}); !errors.Is(err, lease.ErrGone) {
		t.Errorf("have %v, want ErrGone", err)
	}
	lost(t, held)
}

func TestADeadProcessIsFollowedAfterItsLease(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	options := quick()
	options.Renew = time.Hour // nothing prolongs it, as after kill -9
	first := acquire(t, process(t, server.Addr, options), "key")
	load(t, first)
	mustCommit(t, first, put("a", "1"))
	second := acquire(t, process(t, server.Addr, quick()), "key")
	if first.Valid() {
		t.Error("both are valid")
	}
	if have := load(t, second); have["a"] != "1" {
		t.Errorf("have %v, want what the dead left", have)
	}
}

// Every key has a TTL, and all are gone some time after the last process.
func TestEveryKeyHasAnEnd(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	options := quick()
	options.Keep = 3 * time.Second
	held := acquire(t, process(t, server.Addr, options), "key")
	load(t, held)
	mustCommit(t, held, put("a", "1"))
	client := server.Client(t)
	for deadline := time.Now().Add(2 * options.Keep); time.Now().Before(deadline); { // used, they stay
		keys := allKeys(t, client)
		if len(keys) != 3 {
			t.Fatalf("have keys %v, want lease, token and table", keys)
		}
		for _, key := range keys {
			if left := client.PTTL(t.Context(), key).Val(); left <= 0 || left > options.Keep {
				t.Fatalf("%s ends in %s, want at most %s", key, left, options.Keep)
			}
		}
		<-time.After(50 * time.Millisecond)
	}
	if err := held.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); len(allKeys(t, client)) > 0; <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("have keys %v, want none", allKeys(t, client))
		}
	}
}

func allKeys(t *testing.T, client *redis.Client) []string {
	t.Helper()
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestAProcessTouchesNothingOfOthers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client(t)
	mine := acquire(t, process(t, server.Addr, quick()), "key")
	load(t, mine)
	mustCommit(t, mine, put("a", "1"))
	if err := client.Set(t.Context(), "somebody else's", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	other := acquire(t, chainProcess(t, server.Addr, 5, quick()), "key") // another chain
	if have := load(t, other); len(have) != 0 {
		t.Errorf("have %v, want nothing of another chain", have)
	}
	mustCommit(t, other, put("a", "5"))
	if err := other.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if have := load(t, mine); !mine.Valid() || have["a"] != "1" {
		t.Errorf("have %v, valid %v, want what was there", have, mine.Valid())
	}
	if have := client.Get(t.Context(), "somebody else's").Val(); have != "x" {
		t.Errorf("have %q, want x", have)
	}
}

// A table whose values come and go needs the memory of what is in it, however long it is used.
func TestMemoryStaysFlat(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "no")
	options := quick()
	options.TTL = 10 * time.Second
	held := acquire(t, process(t, server.Addr, options), "key")
	load(t, held)
	client := server.Client(t)
	value := strings.Repeat("x", 1000)
	round := func(from int) int64 {
		for i := from; i < from+2000; i++ {
			mustCommit(t, held, put(fmt.Sprint(i), value), lease.Change{Key: fmt.Sprint(i - 100), Drop: true})
		}
		if n := client.HLen(t.Context(), "baler:{1337:key}:table").Val(); n != 101 {
			t.Fatalf("have %d pairs, want 101", n)
		}
		used, err := client.MemoryUsage(t.Context(), "baler:{1337:key}:table").Result()
		if err != nil {
			t.Fatal(err)
		}
		return used
	}
	first := round(0)
	for i := 1; i < 5; i++ {
		used := round(i * 2000)
		t.Logf("after %d changes: %d bytes in the table, %d of them values", (i+1)*2000, used, 101*len(value))
		if used > first*5/4 {
			t.Fatalf("have %d bytes after %d changes, %d after 2000: it grows", used, (i+1)*2000, first)
		}
	}
	if n := len(allKeys(t, client)); n != 3 {
		t.Errorf("have %d keys, want 3", n)
	}
}

func TestAddressesAreOfOneServerAClusterOrSentinels(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		urls []string
		want any
	}{
		{[]string{"redis://localhost:6379/1"}, &redis.Client{}},
		{[]string{"rediss://user:secret@localhost"}, &redis.Client{}},
		{[]string{"unix:///run/redis.sock"}, &redis.Client{}},
		{[]string{"redis://a:1", "redis://b:2"}, &redis.ClusterClient{}},
		{[]string{"redis-cluster://a:1"}, &redis.ClusterClient{}},
		{[]string{"redis-sentinel://a:1/0?master_name=m", "redis-sentinel://b:2/0?master_name=m"}, &redis.Client{}},
	} {
		client, err := lease.Dial(c.urls)
		if err != nil || fmt.Sprintf("%T", client) != fmt.Sprintf("%T", c.want) {
			t.Errorf("%v: have %T, %v, want %T", c.urls, client, err, c.want)
			continue
		}
		_ = client.Close()
	}
	for _, urls := range [][]string{
		nil, {"http://user:secret@x"}, {"redis-sentinel://:secret@a:1"}, {"redis://user:secret@ho st"}, {"redis://:secret@x/y"},
	} {
		_, err := lease.Dial(urls)
		if !errors.Is(err, lease.ErrURL) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v: have %v, want ErrURL without the password", urls, err)
		}
	}
}

// The keys of a name are in one slot, so that a cluster runs the scripts.
func TestLeasesWorkInACluster(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--cluster-enabled", "yes")
	one := server.Client(t)
	if err := one.Do(t.Context(), "CLUSTER", "ADDSLOTSRANGE", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); !strings.Contains(one.ClusterInfo(t.Context()).Val(), "cluster_state:ok"); <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the cluster does not come up")
		}
	}
	client, err := lease.Dial([]string{"redis-cluster://" + server.Addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	first := acquire(t, lease.New(client, 1337, quick()), "key:0xab")
	load(t, first)
	mustCommit(t, first, put("a", "1"), put("b", "2"))
	if err := first.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := acquire(t, lease.New(client, 1337, quick()), "key:0xab")
	if have := load(t, second); len(have) != 2 || second.Token() <= first.Token() {
		t.Errorf("have %v with token %d, want both values and a token greater than %d", have, second.Token(), first.Token())
	}
}
