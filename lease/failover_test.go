package lease_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"baler/internal/redistest"
	"baler/lease"
)

// sentinelProcess are the leases as a process sees them that asks a Sentinel for the master.
func sentinelProcess(t *testing.T, sentinel string, options lease.Options) *lease.Leases {
	t.Helper()
	client, err := lease.Dial([]string{"redis-sentinel://" + sentinel + "/0?master_name=keys"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return lease.New(client, 1337, options)
}

// A Sentinel promotes a replica while a key is held and its table is written. At no moment do two processes have it, and what was
// acknowledged is there afterwards, for the holder and for the next one.
func TestAFailoverForgetsNothingThatReplicasWereWaitedFor(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t)
	redistest.StartReplica(t, master)
	redistest.StartReplica(t, master)
	sentinel := redistest.StartSentinel(t, "keys", master, 2)
	options := lease.Options{TTL: 20 * time.Second, Margin: time.Second, Renew: 200 * time.Millisecond, Replicas: 1, TrustYoung: true}
	first := acquire(t, sentinelProcess(t, sentinel, options), "key")
	load(t, first)

	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	rival := sentinelProcess(t, sentinel, options)
	group.Go(func() { // wants it all the time
		for ctx.Err() == nil {
			second, err := rival.Acquire(ctx, "key")
			if err == nil {
				if first.Valid() {
					t.Error("two processes have the key at one moment")
				}
				_ = second.Release(context.WithoutCancel(ctx))
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	})

	const before, after = 100, 100
	acknowledged := 0
	write := func() {
		if err := first.Commit([]lease.Change{put(fmt.Sprint(acknowledged), "x")}); err != nil {
			t.Fatalf("change %d: %v", acknowledged, err)
		}
		acknowledged++
	}
	for range before {
		write()
	}
	master.Kill(t)
	began := time.Now()
	write()
	t.Logf("written again %s after the master was killed", time.Since(began).Round(10*time.Millisecond))
	for range after {
		write()
	}
	stop()
	group.Wait()
	if !first.Valid() {
		t.Errorf("the holder lost the key, though there was time: %v", first.Err())
	}
	if err := first.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := acquire(t, rival, "key")
	have := make(map[string]string)
	for began := time.Now(); ; { // a client may meet the dead master once more, as any reader may
		err := second.Load(t.Context(), func(key string, value []byte) { have[key] = string(value) })
		if err == nil {
			break
		}
		if time.Since(began) > 10*time.Second {
			t.Fatal(err)
		}
	}
	if len(have) != acknowledged || second.Token() <= first.Token() {
		t.Errorf("the next holder has %d changes and token %d, want %d and a token greater than %d", len(have), second.Token(), acknowledged, first.Token())
	}
}

// What no replica has is not acknowledged: a replica that is promoted then lacks nothing that somebody relied on.
func TestAChangeThatNoReplicaHasDoesNotCount(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t)
	replica := redistest.StartReplica(t, master)
	options := lease.Options{TTL: 4 * time.Second, Margin: 500 * time.Millisecond, Renew: 200 * time.Millisecond, TrustYoung: true}
	waiting := options
	waiting.Replicas = 1
	held := acquire(t, process(t, master.Addr, waiting), "key")
	load(t, held)
	mustCommit(t, held, put("a", "1"))
	replica.Pause(t)
	if err := held.Commit([]lease.Change{put("a", "2")}); !errors.Is(err, lease.ErrLost) {
		t.Errorf("have %v, want that the change did not count, and the lease is lost", err)
	}
	lost(t, held)
	if _, err := process(t, master.Addr, waiting).Acquire(t.Context(), "other"); !errors.Is(err, lease.ErrReplicas) {
		t.Errorf("have %v, want ErrReplicas", err)
	}
	master.Kill(t)
	replica.Resume(t)
	promoted := replica.Client(t)
	for deadline := time.Now().Add(time.Minute); promoted.ReplicaOf(t.Context(), "NO", "ONE").Err() != nil; <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the replica does not answer")
		}
	}
	next := acquire(t, process(t, replica.Addr, options), "key")
	if have := load(t, next); have["a"] == "" || next.Token() <= held.Token() {
		t.Errorf("have %v with token %d, want what counted, and a token greater than %d", have, next.Token(), held.Token())
	}
}

func TestAnUnsafeRedisIsDoubted(t *testing.T) {
	t.Parallel()
	safe := redistest.Start(t, "--maxmemory-policy", "noeviction")
	unsafe := redistest.Start(t, "--appendfsync", "everysec", "--maxmemory-policy", "allkeys-lru")
	for _, c := range []struct {
		name     string
		server   *redistest.Server
		replicas int
		want     []string
	}{
		{"a safe one", safe, 0, nil},
		{"replicas that are not there", safe, 1, []string{"0 replicas are connected, want 1"}},
		{"no fsync, eviction", unsafe, 0, []string{"appendfsync is everysec", "maxmemory-policy is allkeys-lru"}},
	} {
		doubts := lease.Doubts(t.Context(), c.server.Client(t), c.replicas)
		if len(doubts) != len(c.want) {
			t.Errorf("%s: have %q, want %q", c.name, doubts, c.want)
			continue
		}
		for i, want := range c.want {
			if !strings.Contains(doubts[i], want) {
				t.Errorf("%s: have %q, want %q", c.name, doubts[i], want)
			}
		}
	}
	redistest.StartReplica(t, safe)
	if doubts := lease.Doubts(t.Context(), safe.Client(t), 0); len(doubts) != 1 || !strings.Contains(doubts[0], "1 replicas may be promoted") {
		t.Errorf("have %q, want a doubt about the replica", doubts)
	}
	if doubts := lease.Doubts(t.Context(), safe.Client(t), 1); doubts != nil {
		t.Errorf("have %q, want none: the replica is waited for", doubts)
	}
}

// skewed is a clock that is off by so much, and runs at so many percent of the true speed.
func skewed(off time.Duration, percent int64) func() time.Time {
	began := time.Now()
	return func() time.Time { return began.Add(off + time.Since(began)*time.Duration(percent)/100) }
}

// What o'clock a process believes it is does not matter: leases are counted by Redis' clock, and by how long ago the holder asked. A clock
// that runs too slow by less than the margin changes nothing either; one that is worse makes its holder believe for too long, and
// what it writes then is refused.
func TestClocksThatDisagreeMakeNoTwoHolders(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		off     time.Duration
		percent int64
		wrong   bool // it believes for too long
	}{
		"ten years ahead":      {10 * 365 * 24 * time.Hour, 100, false},
		"ten years behind":     {-10 * 365 * 24 * time.Hour, 100, false},
		"twice as fast":        {0, 200, false},
		"slow by a tenth":      {0, 90, false},
		"at a twentieth of it": {time.Hour, 5, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			way := redistest.NewProxy(t, server.Addr)
			options := quick()
			options.Now = skewed(c.off, c.percent)
			first, rival := acquire(t, process(t, way.Addr, options), "key"), process(t, server.Addr, quick())
			load(t, first)
			mustCommit(t, first, put("a", "1"))
			for range 10 { // it is prolonged, whatever its clock says
				if _, err := rival.Acquire(t.Context(), "key"); err == nil {
					t.Fatal("two hold it")
				}
				<-time.After(50 * time.Millisecond)
			}
			way.Cut()
			second := acquire(t, rival, "key")
			if first.Valid() && !c.wrong {
				t.Error("both are valid at one moment")
			}
			load(t, second)
			mustCommit(t, second, put("a", "2"))
			way.Heal()
			if err := first.Commit([]lease.Change{put("a", "3")}); !errors.Is(err, lease.ErrLost) {
				t.Errorf("have %v, want ErrLost", err)
			}
			if have := load(t, second); have["a"] != "2" || !second.Valid() {
				t.Errorf("have %v, valid %v, want what the new holder wrote", have, second.Valid())
			}
		})
	}
}
