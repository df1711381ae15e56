package store

import (
	"bytes"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"go.etcd.io/bbolt"
)

// maxDepth is how deep the buckets of a store lie in each other.
const maxDepth = 3

// checkFile looks at all pages of a file.
func checkFile(tx *bbolt.Tx) error {
	if err := tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error { return checkBucket(name, bucket, 1) }); err != nil {
		return err
	}
	if err := checkBuckets(boltTx{tx}); err != nil {
		return err
	}
	// bbolt's own check knows the pages that are free, too. It runs in a goroutine of its own, in which nothing could be
	// recovered, and comes to no end where pages lead back to themselves: so it comes after ours, which finds these.
	var errs error
	for err := range tx.Check() {
		if errs == nil {
			errs = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	return errs
}

// checkBucket looks whether all keys are in order, there and below. Where they are, no page is met twice.
func checkBucket(name []byte, bucket *bbolt.Bucket, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: bucket %q lies too deep", ErrDamaged, name)
	}
	var last []byte
	cursor := bucket.Cursor()
	for key, value := cursor.First(); key != nil; key, value = cursor.Next() {
		if last != nil && bytes.Compare(last, key) >= 0 {
			return fmt.Errorf("%w: key %x follows %x in bucket %q", ErrDamaged, key, last, name)
		}
		last = key
		if value != nil {
			continue
		}
		inner := bucket.Bucket(key)
		if inner == nil {
			return fmt.Errorf("%w: key %x in bucket %q has no value", ErrDamaged, key, name)
		}
		if err := checkBucket(key, inner, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// checkBuckets looks whether all that prepare makes is there, and for each key what the first write of its journal makes.
func checkBuckets(tx transaction) error {
	if tx.Empty() {
		return nil
	}
	for _, name := range buckets() {
		if tx.Bucket(name) == nil {
			return fmt.Errorf("%w: bucket %q is missing", ErrDamaged, name)
		}
	}
	journals := tx.Bucket(bucketJournals)
	return journals.ForEachBucket(func(key []byte) error {
		own := journals.Bucket(key)
		if len(key) != common.AddressLength || own == nil || own.Bucket(bucketEntries) == nil || own.Bucket(bucketSigned) == nil {
			return fmt.Errorf("%w: journal of %x", ErrDamaged, key)
		}
		return nil
	})
}
