package store

import "fmt"

// SetBuilders keeps the names of the builders that other processes run with this pool. It replaces those kept before.
func SetBuilders(names []string) Write {
	record, err := seal(recordBuilders, names)
	return Write{err: err, bytes: len(record), apply: func(_ *Store, tx transaction) error {
		return tx.Bucket(bucketMeta).Put(keyBuilders, record)
	}}
}

// Builders returns what SetBuilders kept last.
func (s *Store) Builders() (names []string, err error) {
	if s == nil {
		return nil, nil
	}
	err = guard(func() error {
		return s.db.View(func(tx transaction) error {
			record := tx.Bucket(bucketMeta).Get(keyBuilders)
			if record == nil {
				return nil
			}
			names, err = unseal[[]string](recordBuilders, record)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("names of the builders: %w", err)
	}
	return names, nil
}
