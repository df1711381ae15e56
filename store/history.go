package store

import (
	"bytes"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"baler/userop"
)

// MinedOperation is an operation that is in a block, whoever bundled it.
type MinedOperation struct {
	Hash        common.Hash
	EntryPoint  common.Address
	Block       uint64
	BlockHash   common.Hash
	Transaction common.Hash
	// Operation is the operation as it stood in the pool; nil if it never did.
	Operation *userop.UserOperation
	// Story is what happened to it until then, in the words of whoever remembers it; nil: not known.
	Story []byte
}

// PutMined remembers a mined operation. The oldest are forgotten beyond Options.History. One that is remembered already is
// replaced; its operation and its story stay if the new one has none.
func PutMined(m MinedOperation) Write {
	packed := &packedMined{
		Hash: m.Hash, EntryPoint: m.EntryPoint, Block: m.Block, BlockHash: m.BlockHash, Transaction: m.Transaction, Story: m.Story,
	}
	bytes := 256 + len(m.Story)
	if op := m.Operation; op != nil {
		packed.Operation = Optional[packedOperation]{packOperation(op)}
		bytes += 256 + len(op.FactoryData) + len(op.CallData) + len(op.PaymasterData) + len(op.Signature)
	}
	return Write{bytes: bytes, about: []common.Hash{m.Hash}, apply: func(s *Store, tx transaction) error { return s.putMined(tx, packed) }}
}

func (s *Store) putMined(tx transaction, m *packedMined) error {
	mined, order := tx.Bucket(bucketMined), tx.Bucket(bucketMinedOrder)
	if old := mined.Get(m.Hash[:]); old != nil {
		before, err := unpackMined(old)
		if err != nil {
			return err
		}
		if m.Operation == nil {
			m.Operation = before.Operation
		}
		if m.Story == nil {
			m.Story = before.Story
		}
		if err := s.dropMined(tx, before); err != nil {
			return err
		}
	}
	next, err := order.NextSequence()
	if err != nil {
		return err
	}
	m.Number = next
	record, err := m.record()
	if err != nil {
		return err
	}
	order.Grows()
	for _, put := range []struct {
		bucket     bucket
		key, value []byte
	}{
		{mined, m.Hash[:], record},
		{order, number(next), m.Hash[:]},
		{tx.Bucket(bucketMinedBlock), slices.Concat(m.BlockHash[:], m.Hash[:]), []byte{}},
	} {
		if err := put.bucket.Put(put.key, put.value); err != nil {
			return err
		}
	}
	s.mined++
	return s.forgetMined(tx)
}

// forgetMined drops the oldest until the history is as long as it may be.
func (s *Store) forgetMined(tx transaction) error {
	for s.mined > uint64(s.options.History) {
		_, hash := tx.Bucket(bucketMinedOrder).Cursor().First()
		if hash == nil {
			return fmt.Errorf("%w: the history counts %d operations and holds none", ErrDamaged, s.mined)
		}
		m, err := unpackMined(tx.Bucket(bucketMined).Get(hash))
		if err != nil {
			return err
		}
		if err := s.dropMined(tx, m); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) dropMined(tx transaction, m *packedMined) error {
	s.mined--
	if err := tx.Bucket(bucketMined).Delete(m.Hash[:]); err != nil {
		return err
	}
	if err := tx.Bucket(bucketMinedOrder).Delete(number(m.Number)); err != nil {
		return err
	}
	return tx.Bucket(bucketMinedBlock).Delete(slices.Concat(m.BlockHash[:], m.Hash[:]))
}

// Unmine forgets what a block held that has left the canonical chain. Operations that return to the pool are put there with
// [PutOperation] in the same commit.
func Unmine(block common.Hash) Write {
	return Write{all: true, apply: func(s *Store, tx transaction) error {
		cursor := tx.Bucket(bucketMinedBlock).Cursor()
		var hashes [][]byte
		for key, _ := cursor.Seek(block[:]); len(key) == 2*common.HashLength && common.BytesToHash(key[:common.HashLength]) == block; key, _ = cursor.Next() {
			hashes = append(hashes, slices.Clone(key[common.HashLength:]))
		}
		for _, hash := range hashes {
			m, err := unpackMined(tx.Bucket(bucketMined).Get(hash))
			if err != nil {
				return err
			}
			if err := s.dropMined(tx, m); err != nil {
				return err
			}
		}
		return nil
	}}
}

// Mined returns what is remembered of a mined operation, nil if nothing.
func (s *Store) Mined(hash common.Hash) (*MinedOperation, error) {
	if s == nil {
		return nil, nil
	}
	var record []byte
	err := guard(func() error {
		return s.db.View(func(tx transaction) error {
			record = slices.Clone(tx.Bucket(bucketMined).Get(hash[:]))
			return nil
		})
	})
	if err != nil || record == nil {
		return nil, err
	}
	return readMinedOf(hash, record)
}

// minedInOrder returns the mined operation that stands in a place of the order; nil if it has left that place meanwhile. One that stands
// there, and is nowhere, is damage.
func (s *Store) minedInOrder(place pair) (*MinedOperation, error) {
	hash := common.BytesToHash(place.value)
	var stands bool
	var record []byte
	err := guard(func() error {
		return s.db.View(func(tx transaction) error {
			stands = bytes.Equal(tx.Bucket(bucketMinedOrder).Get(place.key), place.value)
			record = slices.Clone(tx.Bucket(bucketMined).Get(hash[:]))
			return nil
		})
	})
	switch {
	case err != nil || !stands:
		return nil, err
	case record == nil:
		return nil, fmt.Errorf("%w: mined operation %s has a place in the history, and no record", ErrDamaged, hash)
	}
	return readMinedOf(hash, record)
}

// readMinedOf reads the record that stands under an operation's hash.
func readMinedOf(hash common.Hash, record []byte) (*MinedOperation, error) {
	m, err := readMined(record)
	if err == nil && m.Hash != hash {
		err = fmt.Errorf("%w: mined operation %s stands under the key of %s", ErrDamaged, m.Hash, hash)
	}
	return m, err
}

// History returns the mined operations that are remembered, oldest first.
func (s *Store) History() iter.Seq2[*MinedOperation, error] {
	return func(yield func(*MinedOperation, error) bool) {
		if s == nil {
			return
		}
		for p, err := range s.pairs([]byte{0}, func(tx transaction) bucket { return tx.Bucket(bucketMinedOrder) }) {
			var m *MinedOperation
			if err == nil {
				m, err = s.minedInOrder(p)
			}
			if err == nil && m == nil {
				continue // forgotten or unmined meanwhile
			}
			if !yield(m, err) {
				return
			}
		}
	}
}

// Latest returns the mined operations that are remembered, newest first. A damaged one is an error, and the others follow it.
func (s *Store) Latest() iter.Seq2[*MinedOperation, error] {
	return func(yield func(*MinedOperation, error) bool) {
		if s == nil {
			return
		}
		for before := number(math.MaxUint64); before != nil; {
			var hash, record []byte
			err := guard(func() error {
				return s.db.View(func(tx transaction) error {
					cursor := tx.Bucket(bucketMinedOrder).Cursor()
					if key, _ := cursor.Seek(before); key == nil {
						before, hash = cursor.Last()
					} else {
						before, hash = cursor.Prev()
					}
					before = slices.Clone(before)
					if hash != nil {
						record = slices.Clone(tx.Bucket(bucketMined).Get(hash))
					}
					return nil
				})
			})
			if err == nil && before == nil {
				return
			}
			var m *MinedOperation
			if err == nil {
				m, err = readMined(record)
			}
			if !yield(m, err) {
				return
			}
		}
	}
}

func readMined(record []byte) (*MinedOperation, error) {
	m, err := unpackMined(record)
	if err != nil {
		return nil, err
	}
	return m.mined(), nil
}

// countMined counts the history of a file that was just opened.
func (s *Store) countMined() error {
	return s.db.View(func(tx transaction) error {
		s.mined = 0
		cursor := tx.Bucket(bucketMinedOrder).Cursor()
		for key, _ := cursor.First(); key != nil; key, _ = cursor.Next() {
			s.mined++
		}
		return nil
	})
}
