package store

import (
	"errors"
	"fmt"
	"os"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// boltEngine is the embedded engine: one file, one fsync for each transaction.
type boltEngine struct{ db *bbolt.DB }

// lockTimeout is how long bbolt tries to lock the file: a store that is in use will not be free soon.
const lockTimeout = 60 * time.Millisecond

// openBolt opens a file, and makes it unless it is opened for reading only.
func openBolt(path string, readOnly bool) (*boltEngine, error) {
	how := &bbolt.Options{Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType, ReadOnly: readOnly}
	e := &boltEngine{}
	err := guard(func() (err error) {
		e.db, err = bbolt.Open(path, 0o600, how)
		return err
	})
	switch {
	case err == nil:
		return e, nil
	case errors.Is(err, bolterrors.ErrTimeout):
		err = ErrLocked
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch):
		err = fmt.Errorf("%w: %w", ErrNotStore, err)
	case errors.Is(err, bolterrors.ErrChecksum):
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil, err
}

// View implements [engine].
func (e *boltEngine) View(read func(transaction) error) error {
	return e.db.View(func(tx *bbolt.Tx) error { return read(boltTx{tx}) })
}

// Update implements [engine].
func (e *boltEngine) Update(change func(transaction) error) error {
	return e.db.Update(func(tx *bbolt.Tx) error { return change(boltTx{tx}) })
}

// Close implements [engine].
func (e *boltEngine) Close() error { return e.db.Close() }

// Check implements [engine]: records have checksums, but the pages that lead to them have none.
func (e *boltEngine) Check() error {
	return e.db.View(func(tx *bbolt.Tx) error {
		info, err := os.Stat(e.db.Path())
		if err != nil {
			return err
		}
		if info.Size() < tx.Size() {
			return fmt.Errorf("%w: have %d bytes, want %d", ErrDamaged, info.Size(), tx.Size())
		}
		return checkFile(tx)
	})
}

// boltTx is a transaction of the file.
type boltTx struct{ tx *bbolt.Tx }

func (t boltTx) Empty() bool {
	first, _ := t.tx.Cursor().First()
	return first == nil
}

func (t boltTx) Bucket(name []byte) bucket { return boltBucketOrNil(t.tx.Bucket(name)) }

func (t boltTx) CreateBucketIfNotExists(name []byte) (bucket, error) {
	b, err := t.tx.CreateBucketIfNotExists(name)
	return boltBucketOrNil(b), err
}

func (t boltTx) ClearBucket(name []byte) error {
	if err := t.tx.DeleteBucket(name); err != nil {
		return err
	}
	_, err := t.tx.CreateBucket(name)
	return err
}

// boltBucket is a bucket of the file.
type boltBucket struct{ b *bbolt.Bucket }

// boltBucketOrNil makes of bbolt's nil one that is equal to nil.
func boltBucketOrNil(b *bbolt.Bucket) bucket {
	if b == nil {
		return nil
	}
	return boltBucket{b}
}

func (b boltBucket) Get(key []byte) []byte         { return b.b.Get(key) }
func (b boltBucket) Put(key, value []byte) error   { return b.b.Put(key, value) }
func (b boltBucket) Delete(key []byte) error       { return b.b.Delete(key) }
func (b boltBucket) Cursor() cursor                { return b.b.Cursor() }
func (b boltBucket) NextSequence() (uint64, error) { return b.b.NextSequence() }
func (b boltBucket) Bucket(name []byte) bucket     { return boltBucketOrNil(b.b.Bucket(name)) }

func (b boltBucket) ForEachBucket(visit func([]byte) error) error { return b.b.ForEachBucket(visit) }

func (b boltBucket) CreateBucketIfNotExists(name []byte) (bucket, error) {
	inner, err := b.b.CreateBucketIfNotExists(name)
	return boltBucketOrNil(inner), err
}

// Grows has pages filled to the end before a new one is begun.
func (b boltBucket) Grows() { b.b.FillPercent = 0.9 }
