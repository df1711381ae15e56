package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"baler/internal/redistest"
	"baler/lease"
	"baler/store"

	"github.com/ethereum/go-ethereum/common"
	"github.com/redis/go-redis/v9"
)

// journaledInRedis has a leased key send one bundle, and goes on holding the key.
func journaledInRedis(t *testing.T, client redis.UniversalClient, chainID uint64, key common.Address) *lease.Lease {
	t.Helper()
	leases := lease.New(client, chainID, lease.Options{TTL: time.Minute, TrustYoung: true})
	held, err := leases.Acquire(t.Context(), "key:"+strings.ToLower(key.Hex()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := held.Release(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	s, err := store.OpenTable(t.Context(), held, store.Meta{ChainID: chainID}, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	sendOne(t, s, key)
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	return held
}

// Journals of leased keys are read in Redis while their holders go on, with no right to write, and without a word of the password.
func TestReplayReadsJournalsOfLeasedKeys(t *testing.T) {
	server := redistest.Start(t)
	client, err := lease.Dial([]string{"redis://" + server.Addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	one, two := common.Address{1}, common.Address{2}
	holders := []*lease.Lease{journaledInRedis(t, client, 1337, one), journaledInRedis(t, client, 10, one), journaledInRedis(t, client, 10, two)}
	if err := client.Do(t.Context(), "ACL", "SETUSER", "reader", "on", ">pass-word-7", "~*", "+@read", "+ping").Err(); err != nil {
		t.Fatal(err)
	}
	reader := "redis://reader:pass-word-7@" + server.Addr
	path := privateFile(t, "redis_url = \""+reader+"\"\nlease_ttl = \"20s\"\n")
	replays := func(args ...string) (int, string) {
		t.Helper()
		code, stdout, stderr := ran(t, nil, append([]string{"replay"}, args...)...)
		if strings.Contains(stdout+stderr, "pass-word") {
			t.Errorf("%q: the password is shown: %s%s", args, stdout, stderr)
		}
		return code, stdout + stderr
	}
	told := []string{
		"journal of " + one.Hex() + " on chain 1337", "journal of " + one.Hex() + " on chain 10\n", "journal of " + two.Hex() + " on chain 10\n",
		"6 entries repeated: the machine does what is written",
	}
	for name, test := range map[string]struct {
		args []string
		code int
		want []string
		not  []string
	}{
		"by a file":      {[]string{"--config", path}, exitOK, told, nil},
		"by a flag":      {[]string{"--redis_url", reader}, exitOK, told, nil},
		"of a key":       {[]string{"--redis_url", reader, "--key", two.Hex()}, exitOK, told[2:], told[:2]},
		"of a chain":     {[]string{"--redis_url", reader, "--chain_id=1337"}, exitOK, append(told[:1:1], told[3]), told[1:3]},
		"JSON":           {[]string{"--redis_url", reader, "--chain_id=1337", "--json"}, exitOK, []string{`{"Format":1,`}, nil},
		"JSON of all":    {[]string{"--redis_url", reader, "--json"}, exitSettings, []string{"Redis has the journals of 3 keys"}, nil},
		"no such chain":  {[]string{"--redis_url", reader, "--chain_id=7"}, exitFailed, []string{"Redis holds no journal"}, nil},
		"wrong password": {[]string{"--redis_url", strings.Replace(reader, "-7", "-8", 1)}, exitFailed, []string{"--redis_url: ", "WRONGPASS"}, nil},
		"nobody there":   {[]string{"--redis_url", "redis://reader:pass-word-7@127.0.0.1:1"}, exitFailed, []string{"--redis_url: Redis does not answer"}, nil},
		"no address":     {[]string{"--redis_url", "reader:pass-word-7"}, exitSettings, []string{"--redis_url: "}, nil},
		"nowhere":        {nil, exitSettings, []string{"FILE is missing, or --redis_url"}, nil},
	} {
		code, text := replays(test.args...)
		lacks := slices.ContainsFunc(test.want, func(want string) bool { return !strings.Contains(text, want) })
		if has := slices.ContainsFunc(test.not, func(not string) bool { return strings.Contains(text, not) }); code != test.code || lacks || has {
			t.Errorf("%s: have exit code %d and\n%s\nwant %d and %q, without %q", name, code, text, test.code, test.want, test.not)
		}
	}
	for _, held := range holders {
		if !held.Valid() {
			t.Errorf("%s: the lease was lost: %v", held.Name(), held.Err())
		}
	}
}
