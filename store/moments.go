package store

import (
	"fmt"
	"iter"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"baler/journal"
	"baler/proposer"
)

// PutMoment keeps what a bundle sender had to choose from, the first time at each block. The oldest are forgotten beyond
// Options.MomentBytes.
func PutMoment(signer common.Address, m *proposer.Moment) Write {
	record := journal.Seal(recordMoment, m.Encode())
	key := slices.Concat(number(m.Block), m.EntryPoint[:], signer[:])
	return Write{bytes: len(record), apply: func(s *Store, tx transaction) error {
		bucket := tx.Bucket(bucketMoments)
		if bucket.Get(key) != nil {
			return nil
		}
		if err := bucket.Put(key, record); err != nil {
			return err
		}
		s.momentBytes += len(record)
		for s.momentBytes > s.options.MomentBytes {
			oldest, value := bucket.Cursor().First()
			if oldest == nil {
				return fmt.Errorf("%w: %d bytes of moments are counted, and there are none", ErrDamaged, s.momentBytes)
			}
			s.momentBytes -= len(value)
			if err := bucket.Delete(oldest); err != nil {
				return err
			}
		}
		return nil
	}}
}

// Moments returns the moments that are kept, by block. A damaged one is an error, and the others follow it.
func (s *Store) Moments() iter.Seq2[*proposer.Moment, error] {
	return recordsOf(s, bucketMoments, func(p pair) (*proposer.Moment, error) {
		kind, b, err := journal.Open(p.value)
		if err != nil {
			return nil, damaged(err)
		}
		if kind != recordMoment {
			return nil, fmt.Errorf("%w: have a record of kind %d, want %d", ErrDamaged, kind, recordMoment)
		}
		m, err := proposer.DecodeMoment(b)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return m, nil
	})
}

// countMoments counts the bytes of the moments of a store that was just opened.
func (s *Store) countMoments() error {
	return s.db.View(func(tx transaction) error {
		s.momentBytes = 0
		cursor := tx.Bucket(bucketMoments).Cursor()
		for key, value := cursor.First(); key != nil; key, value = cursor.Next() {
			s.momentBytes += len(value)
		}
		return nil
	})
}
