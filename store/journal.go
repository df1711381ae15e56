package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"baler/bundlesender"
	"baler/journal"
)

// Journal is what one key's bundle sender writes down: every event and every effect (see package journal), and every signed
// transaction before it leaves. A nil Journal keeps nothing and works otherwise.
//
// At any time a key has one Journal, and it is used by the bundle sender that holds the key. Its methods are safe for
// concurrent use, so that an effect under way can write beside the sender's loop.
type Journal struct {
	store *Store
	key   common.Address

	mu     sync.Mutex
	config bundlesender.Config
	next   uint64 // number of the next entry
	parts  []part // oldest first; the last is being written
	err    error  // nothing is written: not yet resumed, or an entry was lost, and those after it would be worth nothing
}

// ErrNotResumed says that a journal is written to before it was read.
var ErrNotResumed = errors.New("journal was not resumed")

// part is a Started or Snapshot and the entries up to the next.
type part struct {
	first    uint64 // number of its first entry
	bytes    int
	head     int                    // bytes of its first entry
	attempts bundlesender.AttemptID // the first that may be made in it; 0: not known
}

// Journal returns the journal of a key, whether there is something in it or not.
func (s *Store) Journal(key common.Address) (*Journal, error) {
	if s == nil {
		return nil, nil
	}
	j := &Journal{store: s, key: key, next: 1, err: ErrNotResumed}
	for p, err := range s.pairs([]byte{0}, j.bucket(bucketEntries)) {
		var n uint64
		if err == nil {
			n, err = parseNumber(p.key)
		}
		if err != nil {
			return nil, fmt.Errorf("journal of %s: %w", key, err)
		}
		if journal.Begins(p.value) || len(j.parts) == 0 {
			j.parts = append(j.parts, part{first: n, head: len(p.value), attempts: firstAttempt(p)})
		}
		j.parts[len(j.parts)-1].bytes += len(p.value)
		j.next = n + 1
	}
	return j, nil
}

// firstAttempt returns the first attempt that may be made after a Started or Snapshot; 0 if it cannot be read.
func firstAttempt(p pair) bundlesender.AttemptID {
	entry, err := readEntry(p)
	if err != nil {
		return 0 // whoever needs the entry gets the error
	}
	switch body := entry.Body.(type) {
	case journal.Started:
		return bundlesender.Restore(body.Config, body.Record).Record().NextAttempt
	case journal.Snapshot:
		return body.Machine.NextAttempt
	default:
		return 0
	}
}

// Journals returns the keys that have a journal.
func (s *Store) Journals() ([]common.Address, error) {
	if s == nil {
		return nil, nil
	}
	var keys []common.Address
	err := guard(func() error {
		return s.db.View(func(tx transaction) error {
			return tx.Bucket(bucketJournals).ForEachBucket(func(name []byte) error {
				keys = append(keys, common.BytesToAddress(name))
				return nil
			})
		})
	})
	return keys, err
}

// bucket finds one of the key's buckets; it is nil if nothing was written yet.
func (j *Journal) bucket(name []byte) func(transaction) bucket {
	return func(tx transaction) bucket {
		own := tx.Bucket(bucketJournals).Bucket(j.key[:])
		if own == nil {
			return nil
		}
		return own.Bucket(name)
	}
}

// makeBucket is bucket for a transaction that writes.
func (j *Journal) makeBucket(tx transaction, name []byte) (bucket, error) {
	own, err := tx.Bucket(bucketJournals).CreateBucketIfNotExists(j.key[:])
	if err != nil {
		return nil, err
	}
	return own.CreateBucketIfNotExists(name)
}

// Entries returns the entries that are left, in order.
func (j *Journal) Entries() iter.Seq2[journal.Entry, error] { return j.entries(0) }

func (j *Journal) entries(from uint64) iter.Seq2[journal.Entry, error] {
	return func(yield func(journal.Entry, error) bool) {
		if j == nil {
			return
		}
		for p, err := range j.store.pairs(number(from), j.bucket(bucketEntries)) {
			var entry journal.Entry
			if err == nil {
				entry, err = readEntry(p)
			}
			if err != nil {
				err = fmt.Errorf("journal of %s: %w", j.key, err)
			}
			if !yield(entry, err) || err != nil {
				return
			}
		}
	}
}

func readEntry(p pair) (journal.Entry, error) {
	n, err := parseNumber(p.key)
	if err != nil {
		return journal.Entry{}, err
	}
	body, err := journal.Decode(p.value)
	if err != nil {
		return journal.Entry{}, fmt.Errorf("entry %d: %w", n, damaged(err))
	}
	return journal.Entry{Number: n, Body: body}, nil
}

// Step gives the machine an event, and writes both the event and the effects down. They become durable soon, and before
// everything handed to the store later: before a transaction of these effects leaves. Those that submit one become durable with it,
// in one transaction of the store: see Signed. If there is an error the effects are not to be run: the journal takes nothing more.
func (j *Journal) Step(ctx context.Context, m *bundlesender.Machine, e bundlesender.Event) ([]bundlesender.Effect, error) {
	effects := m.Step(e)
	if j == nil {
		return effects, nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return nil, j.err
	}
	writes, forgets, enqueue := j.append(nil, journal.Step{Event: e, Effects: effects}), false, j.store.Enqueue
	for _, effect := range effects {
		switch f := effect.(type) {
		case bundlesender.Forget:
			writes, forgets = append(writes, j.dropSigned(f.Attempts)), true
		case bundlesender.Submit:
			enqueue = j.store.EnqueueQuietly // the signed transaction comes next, or that there is none
		default:
		}
	}
	if last := j.parts[len(j.parts)-1]; last.bytes >= max(j.store.options.PartBytes, 3*last.head) {
		writes = j.append(writes, journal.Snapshot{Config: j.config, Machine: m.Snapshot()})
		j.parts[len(j.parts)-1].attempts = m.Record().NextAttempt
		forgets = true
	}
	if forgets {
		writes = j.prune(writes, m.Record())
	}
	if err := j.handed(enqueue(ctx, writes...)); err != nil {
		return nil, err
	}
	return effects, nil
}

// Note writes down a remark for people.
func (j *Journal) Note(ctx context.Context, text string) error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return j.err
	}
	return j.enqueue(ctx, j.append(nil, journal.Note{Text: text}))
}

// append numbers an entry and adds it to the writes.
func (j *Journal) append(writes []Write, b journal.Body) []Write {
	record, err := journal.Encode(b)
	entry := journal.Entry{Number: j.next, Body: b}
	j.next++
	if entry.Begins() || len(j.parts) == 0 {
		j.parts = append(j.parts, part{first: entry.Number, head: len(record)})
	}
	j.parts[len(j.parts)-1].bytes += len(record)
	return append(writes, Write{err: err, bytes: len(record), apply: func(_ *Store, tx transaction) error {
		bucket, err := j.makeBucket(tx, bucketEntries)
		if err != nil {
			return err
		}
		bucket.Grows()
		return bucket.Put(number(entry.Number), record)
	}})
}

// enqueue hands the writes over in the order of their numbers.
func (j *Journal) enqueue(ctx context.Context, writes []Write) error {
	return j.handed(j.store.Enqueue(ctx, writes...))
}

// handed ends the journal if entries could not be handed over.
func (j *Journal) handed(err error) error {
	if err != nil {
		j.err = fmt.Errorf("journal of %s: %w", j.key, err)
	}
	return j.err
}

// prune drops the oldest parts: those whose attempts are all forgotten, as far as nobody wants to read them still, and
// those beyond what a journal may hold at all. The last part stays: a restart needs it.
func (j *Journal) prune(writes []Write, r bundlesender.Record) []Write {
	oldest := r.NextAttempt
	if len(r.Attempts) > 0 {
		oldest = min(oldest, r.Attempts[0].ID)
	}
	total := 0
	for _, p := range j.parts {
		total += p.bytes
	}
	drop := 0
	for ; drop < len(j.parts)-1; drop++ {
		bytes, next := j.parts[drop].bytes, j.parts[drop+1]
		matters := next.attempts == 0 || next.attempts > oldest
		if left := total - bytes; left < j.store.options.KeepBytes || matters && total <= j.store.options.MaxBytes {
			break
		}
		total -= bytes
	}
	if drop == 0 {
		return writes
	}
	j.parts = slices.Delete(j.parts, 0, drop)
	first := j.parts[0].first
	return append(writes, Write{apply: func(_ *Store, tx transaction) error {
		bucket, err := j.makeBucket(tx, bucketEntries)
		if err != nil {
			return err
		}
		return deleteBefore(bucket, number(first))
	}})
}

// deleteBefore deletes the pairs with a lower key.
func deleteBefore(bucket bucket, bound []byte) error {
	var keys [][]byte
	cursor := bucket.Cursor()
	for key, _ := cursor.First(); key != nil && string(key) < string(bound); key, _ = cursor.Next() {
		keys = append(keys, slices.Clone(key))
	}
	for _, key := range keys {
		if err := bucket.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// signedRecord is a signed transaction with what the machine knows of it.
type signedRecord struct {
	Attempt bundlesender.Attempt
	Raw     []byte // as it is sent (EIP-2718)
	Route   string `json:",omitempty"` // by which it is sent, in its owner's words
}

// Signed makes a signed transaction durable, with everything handed over before, and returns then. Only then may it leave.
// The attempt is that of the effect Submit, or one made of the effect Cancel: its hash and fees are set from the transaction.
// The route is a name that Resume tells again.
func (j *Journal) Signed(ctx context.Context, attempt bundlesender.Attempt, tx *types.Transaction, route string) error {
	if j == nil {
		return nil
	}
	write, err := j.putSigned(attempt, tx, route)
	if err == nil {
		err = j.store.Commit(ctx, write)
	}
	if err != nil {
		return fmt.Errorf("journal of %s: %w", j.key, err)
	}
	return nil
}

func (j *Journal) putSigned(attempt bundlesender.Attempt, tx *types.Transaction, route string) (Write, error) {
	raw, err := tx.MarshalBinary()
	if err != nil {
		return Write{}, err
	}
	attempt.Hash, attempt.Nonce, attempt.GasLimit = tx.Hash(), tx.Nonce(), tx.Gas()
	attempt.Fees.MaxFee.SetFromBig(tx.GasFeeCap())
	attempt.Fees.MaxPriority.SetFromBig(tx.GasTipCap())
	record, err := seal(recordSigned, signedRecord{attempt, raw, route})
	return Write{bytes: len(record), apply: func(_ *Store, tx transaction) error {
		bucket, err := j.makeBucket(tx, bucketSigned)
		if err != nil {
			return err
		}
		return bucket.Put(number(uint64(attempt.ID)), record)
	}}, err
}

func (j *Journal) dropSigned(ids []bundlesender.AttemptID) Write {
	return Write{apply: func(_ *Store, tx transaction) error {
		bucket, err := j.makeBucket(tx, bucketSigned)
		for _, id := range ids {
			if err == nil {
				err = bucket.Delete(number(uint64(id)))
			}
		}
		return err
	}}
}
