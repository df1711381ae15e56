package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"sync/atomic"

	"baler/lease"

	"github.com/tidwall/btree"
)

// Table is where the pairs of a store lie that is not in a file: package lease keeps one in Redis beside each lease. Only one
// process writes it at a time, and Commit refuses those that do not know that they are not this one any more.
type Table interface {
	// Load reads all pairs, in any order.
	Load(ctx context.Context, visit func(key string, value []byte)) error
	// Commit makes all of the changes durable, or none.
	Commit(changes []lease.Change) error
}

// OpenTable opens the store in a table, and makes it if the table is empty. Everything is read once, then the table is only written.
// Close it after Run has returned.
//
// Errors: ErrNotStore, ErrDamaged, *MismatchError, or the table's.
func OpenTable(ctx context.Context, table Table, meta Meta, options Options) (*Store, error) {
	e, err := loadTable(ctx, table)
	if err != nil {
		return nil, err
	}
	return use(e, meta, options)
}

// Look makes a store of the pairs of a table that somebody else holds, to look at it. It is nil if there are none.
//
// Errors: ErrNotStore, ErrDamaged, *MismatchError.
func Look(pairs map[string]string) (*Store, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	e := &tableEngine{}
	copied := new(btree.Map[string, []byte])
	for key, value := range pairs {
		copied.Set(key, []byte(value))
	}
	e.committed.Store(copied)
	s := newStore(e, Options{})
	s.readOnly = true
	for _, step := range []func() error{func() error { return s.belongs(nil) }, e.Check} {
		if err := guard(step); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func loadTable(ctx context.Context, table Table) (*tableEngine, error) {
	pairs := new(btree.Map[string, []byte])
	if err := table.Load(ctx, func(key string, value []byte) { pairs.Set(key, value) }); err != nil {
		return nil, err
	}
	e := &tableEngine{table: table}
	e.committed.Store(pairs)
	return e, nil
}

// tableEngine is an engine over a table. Reads are answered from a copy in memory, which is as of the last commit: a transaction that
// writes works on a copy of its own, which shares all that it does not change.
type tableEngine struct {
	table     Table
	committed atomic.Pointer[btree.Map[string, []byte]]
}

// View implements [engine].
func (e *tableEngine) View(read func(transaction) error) error {
	return read(&tableTx{pairs: e.committed.Load()})
}

// Update implements [engine].
func (e *tableEngine) Update(change func(transaction) error) error {
	tx := &tableTx{pairs: e.committed.Load().Copy(), changes: make(map[string]lease.Change)}
	if err := change(tx); err != nil {
		return err
	}
	if len(tx.changes) == 0 {
		return nil
	}
	changes := make([]lease.Change, 0, len(tx.changes))
	for _, c := range tx.changes {
		changes = append(changes, c)
	}
	if err := e.table.Commit(changes); err != nil {
		return err
	}
	e.committed.Store(tx.pairs)
	return nil
}

// Check implements [engine].
func (e *tableEngine) Check() error {
	pairs := e.committed.Load()
	var err error
	pairs.Scan(func(key string, _ []byte) bool {
		if _, rest, ok := cutName(key); !ok || rest == "" {
			err = fmt.Errorf("%w: key %q is in no bucket", ErrDamaged, key)
		}
		return err == nil
	})
	return err
}

// Close implements [engine]: the table is its owner's.
func (e *tableEngine) Close() error { return nil }

// A pair's key in the table is the names of the buckets it is in, each after its length, a zero, and its key there: the pairs of a bucket stand
// together, in order. The bucket's sequence has sequenceMark in the place of the zero.
const (
	pairMark     = "\x00"
	sequenceMark = "\xff"
	maxName      = 0xfe
)

// cutName takes the first name off a key.
func cutName(key string) (name, rest string, ok bool) {
	if key == "" || key[0] == pairMark[0] || key[0] == sequenceMark[0] || len(key) < 1+int(key[0]) {
		return "", key, false
	}
	n := 1 + int(key[0])
	return key[1:n], key[n:], true
}

// tableTx is a transaction of a table.
type tableTx struct {
	pairs   *btree.Map[string, []byte]
	changes map[string]lease.Change // by key; nil: it only reads
}

func (t *tableTx) Empty() bool { return t.pairs.Len() == 0 }

// Bucket returns a bucket whether there is something in it or not: in a table a bucket is the pairs in it.
func (t *tableTx) Bucket(name []byte) bucket { return t.inner("", name) }

func (t *tableTx) inner(path string, name []byte) bucket {
	return &tableBucket{t, path + string([]byte{byte(len(name))}) + string(name)}
}

func (t *tableTx) CreateBucketIfNotExists(name []byte) (bucket, error) { return t.create("", name) }

func (t *tableTx) create(path string, name []byte) (bucket, error) {
	if len(name) == 0 || len(name) > maxName {
		return nil, fmt.Errorf("name of a bucket: have %d bytes, want 1 to %d", len(name), maxName)
	}
	return t.inner(path, name), nil
}

func (t *tableTx) ClearBucket(name []byte) error {
	prefix := string([]byte{byte(len(name))}) + string(name)
	var keys []string
	t.pairs.Ascend(prefix, func(key string, _ []byte) bool {
		if !strings.HasPrefix(key, prefix) {
			return false
		}
		keys = append(keys, key)
		return true
	})
	for _, key := range keys {
		if err := t.drop(key); err != nil {
			return err
		}
	}
	return nil
}

func (t *tableTx) put(key string, value []byte) error {
	if t.changes == nil {
		return ErrReadOnly
	}
	value = bytes.Clone(value)
	t.pairs.Set(key, value)
	t.changes[key] = lease.Change{Key: key, Value: value}
	return nil
}

func (t *tableTx) drop(key string) error {
	if t.changes == nil {
		return ErrReadOnly
	}
	if _, there := t.pairs.Delete(key); there {
		t.changes[key] = lease.Change{Key: key, Drop: true}
	}
	return nil
}

// tableBucket is a bucket of a table.
type tableBucket struct {
	tx   *tableTx
	path string
}

func (b *tableBucket) key(key []byte) string { return b.path + pairMark + string(key) }

func (b *tableBucket) Get(key []byte) []byte {
	value, _ := b.tx.pairs.Get(b.key(key))
	return value
}

func (b *tableBucket) Put(key, value []byte) error { return b.tx.put(b.key(key), value) }
func (b *tableBucket) Delete(key []byte) error     { return b.tx.drop(b.key(key)) }
func (b *tableBucket) Grows()                      {}

func (b *tableBucket) NextSequence() (uint64, error) {
	key := b.path + sequenceMark
	var last uint64
	if stored, there := b.tx.pairs.Get(key); there {
		if len(stored) != 8 {
			return 0, fmt.Errorf("%w: have a sequence of %d bytes, want 8", ErrDamaged, len(stored))
		}
		last = binary.BigEndian.Uint64(stored)
	}
	return last + 1, b.tx.put(key, number(last+1))
}

func (b *tableBucket) Bucket(name []byte) bucket { return b.tx.inner(b.path, name) }

func (b *tableBucket) CreateBucketIfNotExists(name []byte) (bucket, error) {
	return b.tx.create(b.path, name)
}

// ForEachBucket visits the buckets in this one that have something in them.
func (b *tableBucket) ForEachBucket(visit func(name []byte) error) error {
	from := b.path + "\x01"
	for pairs := b.tx.pairs.Iter(); pairs.Seek(from) && strings.HasPrefix(pairs.Key(), b.path); {
		name, _, ok := cutName(pairs.Key()[len(b.path):])
		if !ok {
			return nil // its sequence, which stands after all buckets
		}
		if err := visit([]byte(name)); err != nil {
			return err
		}
		from = b.path + string([]byte{byte(len(name))}) + name + sequenceMark + "\x00"
	}
	return nil
}

func (b *tableBucket) Cursor() cursor {
	return &tableCursor{pairs: b.tx.pairs.Iter(), prefix: b.path + pairMark, end: b.path + "\x01"}
}

// tableCursor walks through the pairs of a bucket: those from its prefix on, before its end.
type tableCursor struct {
	pairs       btree.MapIter[string, []byte]
	prefix, end string
}

// at returns the pair under the cursor if it is of the bucket.
func (c *tableCursor) at(found bool) (key, value []byte) {
	if !found || !strings.HasPrefix(c.pairs.Key(), c.prefix) {
		return nil, nil
	}
	return []byte(c.pairs.Key()[len(c.prefix):]), c.pairs.Value()
}

func (c *tableCursor) First() (key, value []byte) { return c.at(c.pairs.Seek(c.prefix)) }
func (c *tableCursor) Next() (key, value []byte)  { return c.at(c.pairs.Next()) }
func (c *tableCursor) Prev() (key, value []byte)  { return c.at(c.pairs.Prev()) }

func (c *tableCursor) Last() (key, value []byte) {
	if c.pairs.Seek(c.end) {
		return c.at(c.pairs.Prev())
	}
	return c.at(c.pairs.Last())
}

func (c *tableCursor) Seek(key []byte) (found, value []byte) {
	return c.at(c.pairs.Seek(c.prefix + string(key)))
}
