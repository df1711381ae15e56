package store

import (
	"fmt"
	"iter"
	"slices"

	"baler/profit"
)

// PutEarning keeps an entry of the books with the accounts that changed with it. The oldest entries are forgotten beyond
// Options.Earnings; accounts stay.
func PutEarning(e *profit.Entry, changed ...profit.Account) Write {
	record, err := seal(recordEarning, e)
	if err != nil {
		return Write{err: err}
	}
	accounts, err := sealAccounts(changed)
	key := earningKey(e)
	return Write{err: err, bytes: 1024, apply: func(s *Store, tx transaction) error {
		bucket := tx.Bucket(bucketEarnings)
		if bucket.Get(key) == nil {
			s.earnings++
		}
		if err := bucket.Put(key, record); err != nil {
			return err
		}
		if err := putAccounts(tx, accounts); err != nil {
			return err
		}
		for ; s.earnings > uint64(s.options.Earnings); s.earnings-- {
			oldest, _ := bucket.Cursor().First()
			if err := bucket.Delete(oldest); err != nil {
				return err
			}
		}
		return nil
	}}
}

// DeleteEarning drops an entry whose block has left the chain, and keeps the account that changed with it.
func DeleteEarning(e *profit.Entry, changed profit.Account) Write {
	accounts, err := sealAccounts([]profit.Account{changed})
	key := earningKey(e)
	return Write{err: err, bytes: 512, apply: func(s *Store, tx transaction) error {
		bucket := tx.Bucket(bucketEarnings)
		if bucket.Get(key) != nil {
			s.earnings--
		}
		if err := bucket.Delete(key); err != nil {
			return err
		}
		return putAccounts(tx, accounts)
	}}
}

// earningKey sorts entries by their blocks.
func earningKey(e *profit.Entry) []byte { return slices.Concat(number(e.Block), e.Transaction[:]) }

// sealAccounts returns the accounts as records; the record of an empty one is nil.
func sealAccounts(accounts []profit.Account) ([]pair, error) {
	pairs := make([]pair, len(accounts))
	for i, a := range accounts {
		pairs[i].key = slices.Concat(number(uint64(a.Day)), a.Signer[:])
		if a.IsZero() {
			continue
		}
		var err error
		if pairs[i].value, err = seal(recordAccount, a); err != nil {
			return nil, err
		}
	}
	return pairs, nil
}

func putAccounts(tx transaction, accounts []pair) error {
	bucket := tx.Bucket(bucketAccounts)
	for _, p := range accounts {
		err := bucket.Delete(p.key)
		if p.value != nil {
			err = bucket.Put(p.key, p.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Earnings returns the entries that are kept, oldest first. A damaged one is an error, and the others follow it.
func (s *Store) Earnings() iter.Seq2[*profit.Entry, error] {
	return recordsOf(s, bucketEarnings, func(p pair) (*profit.Entry, error) {
		e, err := unseal[profit.Entry](recordEarning, p.value)
		if err == nil && !slices.Equal(earningKey(&e), p.key) {
			err = fmt.Errorf("%w: transaction %s stands under another key", ErrDamaged, e.Transaction)
		}
		return &e, err
	})
}

// Accounts returns the sums of all bundle senders and days, the oldest day first. A damaged one is an error, and the
// others follow it.
func (s *Store) Accounts() iter.Seq2[*profit.Account, error] {
	return recordsOf(s, bucketAccounts, func(p pair) (*profit.Account, error) {
		a, err := unseal[profit.Account](recordAccount, p.value)
		return &a, err
	})
}

// recordsOf reads the records of a bucket; the bucket of an older store may be missing.
func recordsOf[T any](s *Store, name []byte, read func(pair) (*T, error)) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		if s == nil {
			return
		}
		for p, err := range s.pairs([]byte{0}, func(tx transaction) bucket { return tx.Bucket(name) }) {
			var value *T
			if err == nil {
				value, err = read(p)
			}
			if !yield(value, err) {
				return
			}
		}
	}
}

// countEarnings counts the entries of a file that was just opened.
func (s *Store) countEarnings() error {
	return s.db.View(func(tx transaction) error {
		s.earnings = 0
		cursor := tx.Bucket(bucketEarnings).Cursor()
		for key, _ := cursor.First(); key != nil; key, _ = cursor.Next() {
			s.earnings++
		}
		return nil
	})
}
