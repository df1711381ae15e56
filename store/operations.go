package store

import (
	"encoding/json"
	"fmt"
	"iter"

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
	op, err := userop.Decode(s.Op, s.EntryPoint.Version)
	if err != nil {
		return nil, fmt.Errorf("%w: operation %s: %w", ErrDamaged, s.Hash, err)
	}
	s.Operation.Op = op
	return &s.Operation, nil
}

// PutOperation keeps an operation of the pool, under its hash.
func PutOperation(op *pool.Operation) Write {
	stored, err := encodeOperation(op)
	if err != nil {
		return Write{err: err}
	}
	record, err := seal(recordOperation, stored)
	key := op.Hash
	return Write{err: err, bytes: len(record), apply: func(_ *Store, tx transaction) error {
		return tx.Bucket(bucketOperations).Put(key[:], record)
	}}
}

// DeleteOperations drops operations that have left the pool. Those that are not there are no error.
func DeleteOperations(hashes ...common.Hash) Write {
	return Write{apply: func(_ *Store, tx transaction) error {
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
	return Write{apply: func(_ *Store, tx transaction) error { return tx.ClearBucket(bucketOperations) }}
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
	stored, err := unseal[*storedOperation](recordOperation, p.value)
	if err != nil {
		return nil, fmt.Errorf("operation %x: %w", p.key, err)
	}
	if common.BytesToHash(p.key) != stored.Hash {
		return nil, fmt.Errorf("%w: operation %s stands under the key %x", ErrDamaged, stored.Hash, p.key)
	}
	return stored.decode()
}

// SetReputation keeps the reputation records of the pool, in the place of those before.
func SetReputation(list []pool.Reputation) Write {
	record, err := seal(recordReputation, list)
	return Write{err: err, bytes: len(record), apply: func(_ *Store, tx transaction) error {
		return tx.Bucket(bucketReputation).Put(keyReputation, record)
	}}
}

// Reputation returns what SetReputation kept last; nil if nothing.
func (s *Store) Reputation() ([]pool.Reputation, error) {
	if s == nil {
		return nil, nil
	}
	var list []pool.Reputation
	err := guard(func() error {
		return s.db.View(func(tx transaction) (err error) {
			record := tx.Bucket(bucketReputation).Get(keyReputation)
			if record != nil {
				list, err = unseal[[]pool.Reputation](recordReputation, record)
			}
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reputation: %w", err)
	}
	return list, nil
}
