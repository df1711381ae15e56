package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// FileName is the store's file in the data directory.
const FileName = "baler.db"

// Format is the version of the file's layout. A file of another format is refused.
const Format = 1

// Why a store is not opened or takes no more.
var (
	ErrLocked   = errors.New("store is in use by another process")
	ErrNotStore = errors.New("not a Baler store")
	ErrDamaged  = errors.New("store is damaged")
	ErrEnded    = errors.New("store has ended: nothing more is written")
	ErrReadOnly = errors.New("store is open for reading only")
)

// MismatchError says that a store belongs to something else.
type MismatchError struct {
	What       string
	Have, Want string
}

// Error implements error.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("store is of another %s: have %s in the file, want %s", e.What, e.Have, e.Want)
}

// Meta says what a store belongs to.
type Meta struct {
	ChainID uint64
	// Fingerprint tells apart chains with the same id: the hash of the genesis block.
	Fingerprint common.Hash
}

// Options are a store's sizes. Zero means the default.
type Options struct {
	// History is how many mined operations are remembered. Default: 100,000.
	History int
	// PartBytes is how much of a journal is replayed at a restart, about: a snapshot is taken then. Default: 256 KiB.
	PartBytes int
	// KeepBytes is how much of a key's journal stays for people to read after nothing in it matters any more. Default: 4 MiB.
	KeepBytes int
	// MaxBytes is how much of a key's journal stays at most. Signed transactions and the newest snapshot always
	// stay. Default: 64 MiB.
	MaxBytes int
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		value *int
		usual int
	}{{&o.History, 100_000}, {&o.PartBytes, 256 << 10}, {&o.KeepBytes, 4 << 20}, {&o.MaxBytes, 64 << 20}} {
		if *d.value <= 0 {
			*d.value = d.usual
		}
	}
	return o
}

// Store is one open file. Its methods are safe for concurrent use.
type Store struct {
	db       *bbolt.DB
	meta     Meta
	options  Options
	readOnly bool

	mu       sync.Mutex
	queue    []waiting // in the order in which they are to become durable
	running  bool
	ended    bool
	failed   error
	stats    Stats
	awakened chan struct{} // holds one token while the committer has something to look at

	mined uint64 // operations in the history; the committer's, once it runs
}

// The buckets. Their names and keys are part of the format.
var (
	bucketMeta       = []byte("meta")
	bucketOperations = []byte("operations")  // operation hash: operation
	bucketMined      = []byte("mined")       // operation hash: mined operation
	bucketMinedOrder = []byte("mined order") // number: operation hash
	bucketMinedBlock = []byte("mined block") // block hash, operation hash: nothing
	bucketReputation = []byte("reputation")  // "all": list
	bucketJournals   = []byte("journals")    // key's address: entries and signed
	bucketEntries    = []byte("entries")     // number: entry
	bucketSigned     = []byte("signed")      // attempt: signed transaction

	keyMeta       = []byte("store")
	keyReputation = []byte("all")
)

// Open opens the store in a data directory, and makes it, and the directory, if it is not there. Close it after Run has returned.
//
// Errors: ErrLocked, ErrNotStore, ErrDamaged, *MismatchError, or the file system's.
func Open(dir string, meta Meta, options Options) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, FileName)
	s, err := open(path, &bbolt.Options{Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType}, options)
	if err != nil {
		return nil, err
	}
	s.meta = meta
	err = s.guard(s.check)
	if err == nil {
		err = s.guard(func() error { return s.db.Update(func(tx *bbolt.Tx) error { return prepare(tx, meta) }) })
	}
	if err == nil {
		err = s.guard(s.countMined)
	}
	if err == nil {
		err = syncDir(dir) // the file's name must survive too
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, errors.Join(err, s.db.Close()))
	}
	return s, nil
}

// OpenReadOnly opens a store, the file or its directory, to look at it. It must not be in use.
func OpenReadOnly(path string) (*Store, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, FileName)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	s, err := open(path, &bbolt.Options{Timeout: lockTimeout, ReadOnly: true}, Options{})
	if err != nil {
		return nil, err
	}
	s.readOnly = true
	err = s.guard(func() error {
		if err := s.check(); err != nil {
			return err
		}
		return s.db.View(func(tx *bbolt.Tx) error {
			stored, err := readMeta(tx)
			if err == nil && stored == nil {
				err = ErrNotStore
			}
			if err != nil {
				return err
			}
			s.meta = stored.Meta
			return stored.check(stored.Meta)
		})
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, errors.Join(err, s.db.Close()))
	}
	return s, nil
}

// lockTimeout is how long bbolt tries to lock the file: a store that is in use will not be free soon.
const lockTimeout = 60 * time.Millisecond

func open(path string, how *bbolt.Options, options Options) (*Store, error) {
	s := &Store{options: options.withDefaults(), awakened: make(chan struct{}, 1)}
	err := s.guard(func() (err error) {
		s.db, err = bbolt.Open(path, 0o600, how)
		return err
	})
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, bolterrors.ErrTimeout):
		err = ErrLocked
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch):
		err = fmt.Errorf("%w: %w", ErrNotStore, err)
	case errors.Is(err, bolterrors.ErrChecksum):
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil, fmt.Errorf("%s: %w", path, err)
}

// check looks at the structure of the whole file: that every page is used once, and that all keys are in order. What the pages
// hold has checksums; that nothing is missing has not.
func (s *Store) check() error {
	return s.db.View(func(tx *bbolt.Tx) error {
		info, err := os.Stat(s.db.Path())
		if err != nil {
			return err
		}
		if info.Size() < tx.Size() {
			return fmt.Errorf("%w: have %d bytes, want %d", ErrDamaged, info.Size(), tx.Size())
		}
		for err := range tx.Check() {
			// The others are not asked for: bbolt's check would not come to an end where pages point in a circle.
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return nil
	})
}

// Meta returns what the store belongs to.
func (s *Store) Meta() Meta {
	if s == nil {
		return Meta{}
	}
	return s.meta
}

// Close closes the file. What was handed over and not yet committed is lost: let Run return first.
func (s *Store) Close() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	s.ended = true
	left := s.queue
	s.queue = nil
	s.mu.Unlock()
	for _, w := range left {
		w.answer(ErrEnded)
	}
	return s.db.Close()
}

// storedMeta is the record that says what a file is.
type storedMeta struct {
	Format int
	Meta
}

func (m *storedMeta) check(want Meta) error {
	switch {
	case m.Format != Format:
		return &MismatchError{"format", fmt.Sprint(m.Format), fmt.Sprint(Format)}
	case m.ChainID != want.ChainID:
		return &MismatchError{"chain", fmt.Sprintf("chain id %d", m.ChainID), fmt.Sprint(want.ChainID)}
	case m.Fingerprint != want.Fingerprint:
		return &MismatchError{"chain", fmt.Sprintf("fingerprint %s", m.Fingerprint), want.Fingerprint.Hex()}
	default:
		return nil
	}
}

// readMeta returns nil for an empty file.
func readMeta(tx *bbolt.Tx) (*storedMeta, error) {
	bucket := tx.Bucket(bucketMeta)
	if bucket == nil {
		if first, _ := tx.Cursor().First(); first != nil {
			return nil, ErrNotStore
		}
		return nil, nil
	}
	m, err := unseal[storedMeta](recordMeta, bucket.Get(keyMeta))
	if err != nil {
		return nil, err
	}
	return &m, nil
}

// prepare checks whose file it is, or makes it ours if it is empty.
func prepare(tx *bbolt.Tx, meta Meta) error {
	stored, err := readMeta(tx)
	if err != nil {
		return err
	}
	if stored != nil {
		return stored.check(meta)
	}
	for _, name := range [][]byte{
		bucketMeta, bucketOperations, bucketMined, bucketMinedOrder, bucketMinedBlock, bucketReputation, bucketJournals,
	} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	record, err := seal(recordMeta, storedMeta{Format, meta})
	if err != nil {
		return err
	}
	return tx.Bucket(bucketMeta).Put(keyMeta, record)
}

// guard turns what goes wrong inside the file into errors: bbolt panics over pages that are not what they should be, and a
// file that was cut off faults where it was mapped into memory.
func (s *Store) guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	return f()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
