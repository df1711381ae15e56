package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
)

// LogName is the log of accepted operations in the data directory. What is in it belongs to the store's file.
const LogName = "accepted.log"

// A log is batches. Each begins on a page of its own, with a head: a checksum of all that follows (and of what the store belongs to), how long the text
// is, and the number of its first call. So what was written and synced before is never written to again, as long as anybody needs it. From the beginning on the numbers
// of batches grow; the first that does not fit is from an earlier time, and where the log ends.
const (
	logPage    = 4096
	logHead    = 4 + 4 + 8
	logAtFirst = 1 << 20 // bytes: writing to what is there already changes only what is written
	maxLogText = 1 << 30
)

// logged is a batch that was found in a log.
type logged struct {
	first uint64 // the number of its first call
	text  []byte
}

// logFile is a log that is open for writing. Its user calls it from one goroutine at a time.
type logFile struct {
	file *os.File
	seed uint32 // of the checksums: a batch of another store is none
	end  int64  // where the next batch goes
	sync func(*os.File) error
}

// openLogFile opens a log, and makes it if it is not there. It returns what is in it, in order. What begins after the call of the number
// inFile is needed.
//
// Errors: ErrDamaged, or the file system's.
func openLogFile(path string, meta Meta, inFile uint64) (*logFile, []logged, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	l := &logFile{file: file, seed: crc32.Checksum(meta.fingerprint(), castagnoli()), sync: syncData}
	found, err := l.read(inFile)
	if err == nil {
		err = l.reserve()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, errors.Join(err, file.Close()))
	}
	return l, found, nil
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// reserve makes the file as long as it usually gets.
func (l *logFile) reserve() error {
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	missing := logAtFirst - info.Size()
	if missing <= 0 {
		return nil
	}
	if _, err := l.file.WriteAt(make([]byte, missing), info.Size()); err != nil {
		return err
	}
	return l.file.Sync()
}

// read returns the batches of the file. A kill leaves at most the last one unfinished, which nobody was told of: if others follow one that
// cannot be read, the file is damaged.
func (l *logFile) read(inFile uint64) ([]logged, error) {
	text, err := io.ReadAll(l.file)
	if err != nil {
		return nil, err
	}
	var found []logged
	for {
		batch, ok := l.parse(text[l.end:])
		if !ok || len(found) > 0 && batch.first <= found[len(found)-1].first {
			break
		}
		found = append(found, batch)
		l.end += pagesOf(len(batch.text))
	}
	last := inFile
	if len(found) > 0 {
		last = max(last, found[len(found)-1].first)
	}
	for at := l.end; at < int64(len(text)); at += logPage {
		if batch, ok := l.parse(text[at:]); ok && batch.first > last {
			return nil, fmt.Errorf("%w: something is missing before call %d", ErrDamaged, batch.first)
		}
	}
	return found, nil
}

// parse reads the batch at the beginning of a text.
func (l *logFile) parse(text []byte) (logged, bool) {
	if len(text) < logHead {
		return logged{}, false
	}
	length := binary.BigEndian.Uint32(text[4:])
	if length == 0 || uint64(length) > uint64(len(text)-logHead) {
		return logged{}, false
	}
	body := text[4 : logHead+int(length)]
	if crc32.Update(l.seed, castagnoli(), body) != binary.BigEndian.Uint32(text) {
		return logged{}, false
	}
	return logged{first: binary.BigEndian.Uint64(text[8:]), text: slices.Clone(text[logHead : logHead+int(length)])}, true
}

// pagesOf is how many bytes a batch takes in the file.
func pagesOf(text int) int64 { return int64((logHead + text + logPage - 1) / logPage * logPage) }

// append makes a batch durable.
func (l *logFile) append(first uint64, text []byte) error {
	if len(text) > maxLogText {
		return fmt.Errorf("have %d bytes, want at most %d", len(text), maxLogText)
	}
	batch := make([]byte, pagesOf(len(text)))
	binary.BigEndian.PutUint32(batch[4:], uint32(len(text))) //nolint:gosec // at most maxLogText
	binary.BigEndian.PutUint64(batch[8:], first)
	copy(batch[logHead:], text)
	binary.BigEndian.PutUint32(batch, crc32.Update(l.seed, castagnoli(), batch[4:logHead+len(text)]))
	if _, err := l.file.WriteAt(batch, l.end); err != nil {
		return err
	}
	if err := l.sync(l.file); err != nil {
		return err
	}
	l.end += int64(len(batch))
	return nil
}

// rewind begins the log anew: what is in it is not needed any more.
func (l *logFile) rewind() { l.end = 0 }

func (l *logFile) close() error { return l.file.Close() }
