package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"baler/pool"
	"baler/userop"
)

// storedOperation is an operation of the pool with all that was found out about it. Its Op hides the embedded one: how it
// is written depends on its version.
type storedOperation struct {
	pool.Operation
	Op json.RawMessage
}

func encodeOperation(op *pool.Operation) (*storedOperation, error) {
	text, err := op.Op.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return &storedOperation{*op, text}, nil
}

func (s *storedOperation) decode() (*pool.Operation, error) {
	if !slices.Contains(userop.Versions(), s.EntryPoint.Version) {
		return nil, fmt.Errorf("%w: operation %s of version %d", ErrDamaged, s.Hash, s.EntryPoint.Version)
	}
	op, err := userop.Decode(s.Op, s.EntryPoint.Version)
	if err != nil {
		return nil, fmt.Errorf("%w: operation %s: %w", ErrDamaged, s.Hash, err)
	}
	s.Operation.Op = op
	return &s.Operation, nil
}

// EncodeOperation returns an operation of the pool as the store keeps it: a record with a version and a checksum.
func EncodeOperation(op *pool.Operation) ([]byte, error) {
	stored, err := encodeOperation(op)
	if err != nil {
		return nil, err
	}
	return seal(recordOperation, stored)
}

// DecodeOperation is the inverse of [EncodeOperation]. What is no such record is [ErrDamaged], or of another version.
func DecodeOperation(record []byte) (*pool.Operation, error) {
	stored, err := unseal[*storedOperation](recordOperation, record)
	if err != nil {
		return nil, err
	}
	if stored == nil {
		return nil, fmt.Errorf("%w: a record without an operation", ErrDamaged)
	}
	return stored.decode()
}

// PutOperation keeps an operation of the pool, under its hash.
func PutOperation(op *pool.Operation) Write {
	record, err := EncodeOperation(op)
	key := op.Hash
	return changing(err, []common.Hash{key}, []change{{bucketOperations, key[:], record}})
}

// changing is a write that does nothing but put and drop pairs.
func changing(err error, about []common.Hash, changes []change) Write {
	write := Write{err: err, about: about, changes: changes, apply: func(_ *Store, tx transaction) error { return applyChanges(tx, changes) }}
	for _, c := range changes {
		write.bytes += len(c.value)
	}
	return write
}

// DeleteOperations drops operations that have left the pool. Those that are not there are no error.
func DeleteOperations(hashes ...common.Hash) Write {
	return Write{about: hashes, apply: func(_ *Store, tx transaction) error {
		bucket := tx.Bucket(bucketOperations)
		for _, hash := range hashes {
			if err := bucket.Delete(hash[:]); err != nil {
				return err
			}
		}
		return nil
	}}
}

// ClearOperations drops all operations of the pool.
func ClearOperations() Write {
	return Write{all: true, apply: func(_ *Store, tx transaction) error { return tx.ClearBucket(bucketOperations) }}
}

// Operations returns the operations of the pool, in the order of their hashes. A damaged one is an error, and the
// others follow it.
func (s *Store) Operations() iter.Seq2[*pool.Operation, error] {
	return func(yield func(*pool.Operation, error) bool) {
		if s == nil {
			return
		}
		for p, err := range s.pairs([]byte{0}, func(tx transaction) bucket { return tx.Bucket(bucketOperations) }) {
			var op *pool.Operation
			if err == nil {
				op, err = readOperation(p)
			}
			if !yield(op, err) {
				return
			}
		}
	}
}

func readOperation(p pair) (*pool.Operation, error) {
	op, err := DecodeOperation(p.value)
	if err != nil {
		return nil, fmt.Errorf("operation %x: %w", p.key, err)
	}
	if common.BytesToHash(p.key) != op.Hash {
		return nil, fmt.Errorf("%w: operation %s stands under the key %x", ErrDamaged, op.Hash, p.key)
	}
	return op, nil
}

// storedReputation is the counters of one address. Its status follows from them and from the pool's settings.
type storedReputation struct{ Seen, Included uint64 }

// SetReputation keeps the reputation records of the pool, in the place of those before.
func SetReputation(list []pool.Reputation) Write {
	put := PutReputation(list)
	return Write{err: put.err, bytes: put.bytes, apply: func(s *Store, tx transaction) error {
		if err := tx.ClearBucket(bucketReputation); err != nil {
			return err
		}
		return put.apply(s, tx)
	}}
}

// PutReputation keeps reputation records of the pool beside the others. One whose counters are zero is dropped.
func PutReputation(list []pool.Reputation) Write {
	changes := make([]change, len(list))
	for i, r := range list {
		changes[i] = change{bucket: bucketReputation, key: r.Address[:]}
		if r.OpsSeen == 0 && r.OpsIncluded == 0 {
			continue
		}
		record, err := seal(recordReputation, storedReputation{r.OpsSeen, r.OpsIncluded})
		if err != nil {
			return Write{err: err}
		}
		changes[i].value = record
	}
	return changing(nil, nil, changes)
}

// SetAged keeps when the reputations were aged last.
func SetAged(at time.Time) Write {
	record, err := seal(recordAged, at.UnixMilli())
	return Write{err: err, bytes: len(record), apply: func(_ *Store, tx transaction) error {
		return tx.Bucket(bucketMeta).Put(keyAged, record)
	}}
}

// Aged returns what SetAged kept last, the zero time if nothing.
func (s *Store) Aged() (at time.Time, err error) {
	if s == nil {
		return time.Time{}, nil
	}
	err = guard(func() error {
		return s.db.View(func(tx transaction) error {
			record := tx.Bucket(bucketMeta).Get(keyAged)
			if record == nil {
				return nil
			}
			millis, err := unseal[int64](recordAged, record)
			at = time.UnixMilli(millis)
			return err
		})
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("time of the last aging: %w", err)
	}
	return at, nil
}

// Reputation returns what was kept last, by address, without the status. What can be read is returned beside an error.
func (s *Store) Reputation() ([]pool.Reputation, error) {
	if s == nil {
		return nil, nil
	}
	var list []pool.Reputation
	var errs []error
	for p, err := range s.pairs([]byte{0}, func(tx transaction) bucket { return tx.Bucket(bucketReputation) }) {
		var stored storedReputation
		if err == nil {
			stored, err = unseal[storedReputation](recordReputation, p.value)
		}
		if err == nil && len(p.key) != common.AddressLength {
			err = fmt.Errorf("%w: a key of %d bytes", ErrDamaged, len(p.key))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("reputation of %x: %w", p.key, err))
			continue
		}
		list = append(list, pool.Reputation{Address: common.BytesToAddress(p.key), OpsSeen: stored.Seen, OpsIncluded: stored.Included})
	}
	return list, errors.Join(errs...)
}
