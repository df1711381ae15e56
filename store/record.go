package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"baler/journal"
)

// The kinds of the store's own records; the journal's entries have theirs. Part of the format, so two that were given one number by
// mistake keep it: moments and the time of ageing are in buckets of their own, and no record is read by its kind without its bucket. The
// next kind has number 112.
const (
	recordMeta        byte = 101
	recordOperation   byte = 102
	recordMined       byte = 103 // of stores of format 2
	recordReputation  byte = 104
	recordSigned      byte = 105
	recordEarning     byte = 106
	recordAccount     byte = 107
	recordMoment      byte = 108
	recordAged        byte = 108
	recordBuilders    byte = 109
	recordAccepted    byte = 110
	recordMinedPacked byte = 111
)

// seal returns a value as a record.
func seal[T any](kind byte, v T) ([]byte, error) {
	text, err := json.Marshal(&v) // by pointer: big numbers marshal themselves only where they can be addressed
	if err != nil {
		return nil, err
	}
	return journal.Seal(kind, text), nil
}

// unseal is the inverse of seal.
func unseal[T any](kind byte, record []byte) (T, error) {
	var v T
	have, text, err := journal.Open(record)
	if err != nil {
		return v, damaged(err)
	}
	if have != kind {
		return v, fmt.Errorf("%w: have a record of kind %d, want %d", ErrDamaged, have, kind)
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return v, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return v, nil
}

// damaged says of a journal's damage that it is the store's.
func damaged(err error) error {
	if errors.Is(err, journal.ErrDamaged) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// number is a key that sorts by value.
func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func parseNumber(key []byte) (uint64, error) {
	if len(key) != 8 {
		return 0, fmt.Errorf("%w: have a number of %d bytes, want 8", ErrDamaged, len(key))
	}
	return binary.BigEndian.Uint64(key), nil
}

// pair is a key and its value, copied out of the file.
type pair struct{ key, value []byte }

// pageOf is how many pairs are read in one transaction: a reader that is slow, or that writes meanwhile, holds up nobody.
const pageOf = 256

// pairs reads a bucket in the order of its keys, from a key on. What is written meanwhile may or may not be seen.
func (s *Store) pairs(from []byte, bucket func(transaction) bucket) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		for from != nil {
			var page []pair
			err := guard(func() error {
				return s.db.View(func(tx transaction) error {
					page, from = readPage(bucket(tx), from)
					return nil
				})
			})
			if err != nil {
				yield(pair{}, err)
				return
			}
			for _, p := range page {
				if !yield(p, nil) {
					return
				}
			}
		}
	}
}

// readPage returns some pairs and the key to go on from, nil at the end.
func readPage(bucket bucket, from []byte) (page []pair, next []byte) {
	if bucket == nil {
		return nil, nil
	}
	cursor := bucket.Cursor()
	for key, value := cursor.Seek(from); key != nil; key, value = cursor.Next() {
		if len(page) == pageOf {
			return page, bytes.Clone(key)
		}
		page = append(page, pair{bytes.Clone(key), bytes.Clone(value)})
	}
	return page, nil
}
