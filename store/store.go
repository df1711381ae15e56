package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"

	"github.com/ethereum/go-ethereum/common"
)

// FileName is the store's file in the data directory.
const FileName = "baler.db"

// Format is the version of the file's layout. A file of another format is refused, but for one of the format before: it becomes one of
// this format when it is opened.
const Format = 3

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
	// Earnings is how many mined transactions of ours the books remember one by one. Default: 100,000.
	Earnings int
	// MomentBytes is how much of what bundles were chosen from is remembered. Default: 32 MiB.
	MomentBytes int
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
	}{{&o.History, 100_000}, {&o.Earnings, 100_000}, {&o.MomentBytes, 32 << 20}, {&o.PartBytes, 256 << 10}, {&o.KeepBytes, 4 << 20}, {&o.MaxBytes, 64 << 20}} {
		if *d.value <= 0 {
			*d.value = d.usual
		}
	}
	return o
}

// Store is one open store. Its methods are safe for concurrent use.
type Store struct {
	db       engine
	meta     Meta
	options  Options
	readOnly bool
	log      *acceptLog // nil: what is accepted waits for its transaction

	mu         sync.Mutex
	queue      []waiting // in the order in which they are to become durable
	later      []waiting // those that the others may overtake
	expected   int       // commits that are announced; see Expect
	running    bool
	ended      bool
	failed     error
	stats      Stats
	unwritten  int                 // of the queue, those that the log has, or is about to have
	laterAbout map[common.Hash]int // of how many of these each operation is a part
	awakened   chan struct{}       // holds one token while the committer has something to look at

	mined       uint64 // operations in the history; the committer's, once it runs
	earnings    uint64 // entries of the books; likewise
	momentBytes int    // of all moments; likewise
}

// The buckets. Their names and keys are part of the format.
var (
	bucketMeta       = []byte("meta")
	bucketOperations = []byte("operations")  // operation hash: operation
	bucketMined      = []byte("mined")       // operation hash: mined operation
	bucketMinedOrder = []byte("mined order") // number: operation hash
	bucketMinedBlock = []byte("mined block") // block hash, operation hash: nothing
	bucketReputation = []byte("reputation")  // address: counters
	bucketJournals   = []byte("journals")    // key's address: entries and signed
	bucketEntries    = []byte("entries")     // number: entry
	bucketSigned     = []byte("signed")      // attempt: signed transaction
	bucketEarnings   = []byte("earnings")    // block number, transaction hash: entry of the books
	bucketAccounts   = []byte("accounts")    // day, key's address: sum
	bucketMoments    = []byte("moments")     // block number, EntryPoint, key: moment

	keyMeta = []byte("store")
	keyAged = []byte("aged")

	keyBuilders = []byte("builders")
)

// Open opens the store in a data directory, and makes it, and the directory, if it is not there. Close it after Run has returned.
//
// Errors: ErrLocked, ErrNotStore, ErrDamaged, *MismatchError, or the file system's.
func Open(dir string, meta Meta, options Options) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, FileName)
	db, err := openBolt(path, false)
	if err == nil {
		var s *Store
		if s, err = use(db, meta, options); err == nil {
			err = s.openLog(filepath.Join(dir, LogName))
		}
		if err == nil {
			err = syncDir(dir) // the files' names must survive too
		}
		if err == nil {
			return s, nil
		}
		err = errors.Join(err, db.Close())
	}
	return nil, fmt.Errorf("%s: %w", path, err)
}

// use makes a store of an engine. After an error the engine is the caller's to close.
func use(db engine, meta Meta, options Options) (*Store, error) {
	s := newStore(db, options)
	s.meta = meta
	for _, step := range []func() error{
		func() error { return s.belongs(&meta) },
		db.Check,
		func() error { return db.Update(prepare(meta)) },
		s.countMined,
		s.countEarnings,
		s.countMoments,
	} {
		if err := guard(step); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func newStore(db engine, options Options) *Store {
	return &Store{db: db, options: options.withDefaults(), awakened: make(chan struct{}, 1), laterAbout: make(map[common.Hash]int)}
}

// OpenReadOnly opens a store, the file or its directory, to look at it. It must not be in use.
func OpenReadOnly(path string) (*Store, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, FileName)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	db, err := openBolt(path, true)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s := newStore(db, Options{})
	s.readOnly = true
	for _, step := range []func() error{func() error { return s.belongs(nil) }, db.Check} {
		if err := guard(step); err != nil {
			return nil, fmt.Errorf("%s: %w", path, errors.Join(err, db.Close()))
		}
	}
	return s, nil
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
	s.queue, s.later = nil, nil
	s.mu.Unlock()
	for _, w := range left {
		w.answer(ErrEnded)
	}
	if s.log != nil {
		return errors.Join(s.log.file.close(), s.db.Close())
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
	case m.Format != Format && m.Format != Format-1:
		return &MismatchError{"format", fmt.Sprint(m.Format), fmt.Sprint(Format)}
	case m.ChainID != want.ChainID:
		return &MismatchError{"chain", fmt.Sprintf("chain id %d", m.ChainID), fmt.Sprint(want.ChainID)}
	case m.Fingerprint != want.Fingerprint:
		return &MismatchError{"chain", fmt.Sprintf("fingerprint %s", m.Fingerprint), want.Fingerprint.Hex()}
	default:
		return nil
	}
}

func buckets() [][]byte {
	return [][]byte{bucketMeta, bucketOperations, bucketMined, bucketMinedOrder, bucketMinedBlock, bucketReputation, bucketJournals}
}

// laterBuckets are those that a store of this format may lack; opening it makes them.
func laterBuckets() [][]byte { return [][]byte{bucketEarnings, bucketAccounts, bucketMoments} }

// readMeta returns nil for an empty store.
func readMeta(tx transaction) (*storedMeta, error) {
	if tx.Empty() {
		return nil, nil
	}
	bucket := tx.Bucket(bucketMeta)
	if bucket == nil {
		return nil, ErrNotStore
	}
	m, err := unseal[storedMeta](recordMeta, bucket.Get(keyMeta))
	if err != nil {
		return nil, err
	}
	return &m, nil
}

// belongs says whether it is a store, of this program and of the chain that is wanted; nil: of any, but not empty.
func (s *Store) belongs(want *Meta) error {
	return s.db.View(func(tx transaction) error {
		stored, err := readMeta(tx)
		switch {
		case err != nil:
			return err
		case stored == nil && want == nil:
			return ErrNotStore
		case stored == nil:
			return nil // an empty store
		case want == nil:
			s.meta = stored.Meta
			return stored.check(stored.Meta)
		default:
			return stored.check(*want)
		}
	})
}

// prepare makes an empty store ours, and gives one of this format or the one before what it lacks. What a program of the format before
// could not read is written from then on, so the store says that it is of this one.
func prepare(meta Meta) func(transaction) error {
	return func(tx transaction) error {
		empty := tx.Empty()
		for _, name := range laterBuckets() {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		if !empty {
			if stored, err := readMeta(tx); err != nil || stored.Format == Format {
				return err
			}
		}
		for _, name := range buckets() {
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
}

// guard turns what goes wrong inside the file into errors: bbolt panics over pages that are not what they should be, and a
// file that was cut off faults where it was mapped into memory.
func guard(f func() error) (err error) {
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
