package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Accepted operations (decision 14) are what clients wait for, one by one, all the time. A transaction of the file costs two fsyncs and the pages of
// several trees. So they are written to a log beside it first, which costs one fsync of a few kilobytes, and get into the file with the
// next transaction that somebody needs. What is in the log and not in the file when the process is killed gets there at the next start.

// change is a pair that is put into a bucket, or dropped (no value).
type change struct {
	bucket     []byte
	key, value []byte
}

// applyChanges makes the changes in a transaction.
func applyChanges(tx transaction, changes []change) error {
	for _, c := range changes {
		if c.value == nil {
			if err := tx.Bucket(c.bucket).Delete(c.key); err != nil {
				return err
			}
			continue
		}
		if err := tx.Bucket(c.bucket).Put(c.key, c.value); err != nil {
			return err
		}
	}
	return nil
}

// maxUnwritten is how many accepted calls the log may hold alone, before they are written to the file for their own sake.
const maxUnwritten = 64

// accepted is a call that the log holds, or is to hold.
type accepted struct {
	number  uint64 // counts such calls from the first on
	changes []change
	done    chan error
}

// Receipt says when a call of [Store.Accept] is durable. A nil one is.
type Receipt struct {
	store *Store
	done  chan error
}

// Accept hands over an operation that was accepted, and what it changed of the reputations ([PutOperation], [PutReputation]; other writes
// are a mistake of the caller's). It returns at once; [Receipt.Wait] returns when it is durable. The order is that of [Store.Enqueue],
// with the difference that it may be durable before what was handed over earlier: nothing earlier is about an operation that is new.
//
// Errors: ErrEnded, ErrReadOnly, or what made the store fail.
func (s *Store) Accept(writes ...Write) (*Receipt, error) {
	if s == nil || len(writes) == 0 {
		return nil, nil
	}
	w := waiting{writes: writes, done: make(chan error, 1)}
	receipt := &Receipt{s, w.done}
	if s.log == nil {
		return receipt, s.hand(w)
	}
	a := accepted{done: w.done}
	for _, write := range writes {
		if write.changes == nil && write.err == nil {
			return nil, errNotLogged
		}
		a.changes = append(a.changes, write.changes...)
	}
	w.done, w.logged = nil, &a
	return receipt, s.hand(w)
}

// errNotLogged: a write that only a transaction can make.
var errNotLogged = errors.New("store: such a write cannot be accepted through the log")

// Wait returns when the call is durable. If the context ends first, whether it is durable is unknown.
//
// One of those who wait writes for all that wait: there is no goroutine for it.
func (r *Receipt) Wait(ctx context.Context) error {
	if r == nil {
		return nil
	}
	var lead chan struct{} // nil: the committer answers
	if r.store.log != nil {
		lead = r.store.log.lead
	}
	for {
		select {
		case err := <-r.done:
			return err
		case <-ctx.Done():
			return fmt.Errorf("waiting for the store: %w", ctx.Err())
		case lead <- struct{}{}:
			err := r.store.writeLog()
			<-lead
			if err != nil {
				r.store.fail(err)
			}
		}
	}
}

// acceptLog is the log with what is to be written to it.
type acceptLog struct {
	file *logFile
	lead chan struct{} // held by whoever writes

	next    uint64 // number of the next call; the store's mutex guards it
	written uint64 // number of the last call in the log; the leader's
	failed  error  // likewise

	mu      sync.Mutex
	pending []*accepted
	inFile  uint64 // number of the last call that is in the file too
}

// isInFile notes up to which call all are in the file.
func (l *acceptLog) isInFile(number uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFile = number
}

// line numbers a call and puts it among those to be written. The store's mutex is held: numbers are in the order of the queue.
func (l *acceptLog) line(a *accepted) {
	a.number = l.next
	l.next++
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = append(l.pending, a)
}

// writeLog writes what is pending to the log, and answers those who wait for it.
func (s *Store) writeLog() error {
	l := s.log
	l.mu.Lock()
	batch, inFile := l.pending, l.inFile
	l.pending = nil
	l.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	err := l.failed
	if last := batch[len(batch)-1].number; err == nil && last > inFile { // else all are in the file already
		if l.written <= inFile {
			l.file.rewind() // nothing in the log is needed any more
		}
		if err = l.file.append(batch[0].number, encodeAccepted(batch)); err != nil {
			err = fmt.Errorf("the log of accepted operations failed, and the store takes nothing more: %w", err)
		}
		l.written, l.failed = last, err
	}
	for _, a := range batch {
		a.done <- err // has room for it
	}
	return err
}

// keyAccepted is the number of the last accepted call that is in the file.
var keyAccepted = []byte("accepted")

// putAccepted says in a transaction that a call is in the file.
func putAccepted(tx transaction, number uint64) error {
	record, err := seal(recordAccepted, number)
	if err != nil {
		return err
	}
	return tx.Bucket(bucketMeta).Put(keyAccepted, record)
}

func readAccepted(tx transaction) (number uint64, err error) {
	record := tx.Bucket(bucketMeta).Get(keyAccepted)
	if record == nil {
		return 0, nil
	}
	return unseal[uint64](recordAccepted, record)
}

// openLog opens the log of a data directory, and puts into the file what only the log has.
func (s *Store) openLog(path string) error {
	var last uint64
	err := guard(func() error {
		return s.db.View(func(tx transaction) (err error) {
			last, err = readAccepted(tx)
			return err
		})
	})
	if err != nil {
		return err
	}
	file, found, err := openLogFile(path, s.meta, last)
	if err != nil {
		return err
	}
	before := last
	err = guard(func() error {
		return s.db.Update(func(tx transaction) error {
			for _, batch := range found {
				calls, err := decodeAccepted(batch)
				if err != nil {
					return err
				}
				for i, changes := range calls {
					number := batch.first + uint64(i)
					if number <= before {
						continue
					}
					if err := applyChanges(tx, changes); err != nil {
						return err
					}
					last = number
				}
			}
			if last == before {
				return nil
			}
			return putAccepted(tx, last)
		})
	})
	if err != nil {
		return errors.Join(err, file.close())
	}
	s.log = &acceptLog{file: file, lead: make(chan struct{}, 1), next: last + 1, written: last, inFile: last}
	return nil
}

// encodeAccepted is the text of a batch: of each call how many changes it has, and the parts of each, all after their lengths.
func encodeAccepted(batch []*accepted) []byte {
	var text []byte
	part := func(b []byte) {
		text = binary.AppendUvarint(text, uint64(len(b)))
		text = append(text, b...)
	}
	for _, a := range batch {
		text = binary.AppendUvarint(text, uint64(len(a.changes)))
		for _, c := range a.changes {
			part(c.bucket)
			part(c.key)
			part(c.value)
		}
	}
	return text
}

// decodeAccepted is the inverse of encodeAccepted.
func decodeAccepted(batch logged) (calls [][]change, err error) {
	text := batch.text
	number := func() uint64 {
		n, size := binary.Uvarint(text)
		if size <= 0 {
			err, text = ErrDamaged, nil
			return 0
		}
		text = text[size:]
		return n
	}
	part := func() (b []byte) {
		n := number()
		if n > uint64(len(text)) {
			err, text = ErrDamaged, nil
			return nil
		}
		b, text = text[:n:n], text[n:]
		return b
	}
	for len(text) > 0 {
		var changes []change
		for range number() {
			c := change{part(), part(), part()}
			if err != nil || !slices.ContainsFunc(loggedBuckets(), func(name []byte) bool { return string(name) == string(c.bucket) }) || len(c.key) == 0 {
				return nil, fmt.Errorf("%w: call %d in the log of accepted operations", ErrDamaged, batch.first+uint64(len(calls)))
			}
			if len(c.value) == 0 {
				c.value = nil
			}
			changes = append(changes, c)
		}
		calls = append(calls, changes)
	}
	return calls, err
}

// loggedBuckets are those that accepted calls change.
func loggedBuckets() [][]byte { return [][]byte{bucketOperations, bucketReputation} }

// fingerprint tells logs of different stores apart.
func (m Meta) fingerprint() []byte {
	return append(binary.BigEndian.AppendUint64(nil, m.ChainID), m.Fingerprint[:]...)
}
