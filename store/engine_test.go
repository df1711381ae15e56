package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"baler/internal/redistest"
	"baler/lease"
)

// bothEngines runs a test over a file, and over a table in a real Redis. A place is a data directory, or what openPlace makes of it.
func bothEngines(t *testing.T, test func(t *testing.T, place string)) {
	t.Helper()
	t.Run("file", func(t *testing.T) { test(t, t.TempDir()) })
	t.Run("redis", func(t *testing.T) { test(t, redisPlace(t)) })
}

const redisPrefix = "redis:"

// redisPlace is a place in a Redis of its own.
func redisPlace(t *testing.T) string {
	t.Helper()
	return redisPrefix + redistest.Start(t, "--appendonly", "no").Addr + "/" + filepath.Base(t.Name())
}

// openPlace opens the store of a place. In Redis it waits for the lease of the last one who had it open, if that was killed.
func openPlace(place string, meta Meta, options Options) (*Store, error) {
	where, inRedis := strings.CutPrefix(place, redisPrefix)
	if !inRedis {
		return Open(place, meta, options)
	}
	addr, name, _ := strings.Cut(where, "/")
	client, err := lease.Dial([]string{"redis://" + addr})
	if err != nil {
		return nil, err
	}
	leases := lease.New(client, meta.ChainID, lease.Options{TTL: 5 * time.Second, Margin: 500 * time.Millisecond, Renew: 250 * time.Millisecond, TrustYoung: true})
	held, err := leases.Acquire(context.Background(), name)
	for deadline := time.Now().Add(time.Minute); err != nil && time.Now().Before(deadline); held, err = leases.Acquire(context.Background(), name) {
		<-time.After(20 * time.Millisecond)
	}
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	s, err := OpenTable(context.Background(), held, meta, options)
	if err != nil {
		return nil, errors.Join(err, held.Release(context.Background()), client.Close())
	}
	s.db = &leasedEngine{s.db, func() error { return errors.Join(held.Release(context.Background()), client.Close()) }}
	return s, nil
}

// leasedEngine gives the lease back when it is closed, as the holder of a store does.
type leasedEngine struct {
	engine
	release func() error
}

func (e *leasedEngine) Close() error { return errors.Join(e.engine.Close(), e.release()) }

// unsynced makes a store's commits not wait for the disk.
func unsynced(s *Store) {
	if e, ok := s.db.(*boltEngine); ok {
		e.db.NoSync = true
		s.log.file.sync = func(*os.File) error { return nil }
	}
}
