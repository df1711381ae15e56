package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/ethereum/go-ethereum/common"
)

// Header says whose journal an exported file holds.
type Header struct {
	Format  int    // version of the encoding
	ChainID uint64 // of the key's chain
	Key     common.Address
}

// line is an entry of an exported file: one JSON object on a line of its own, with exactly one of the bodies.
type line struct {
	Number   uint64
	Started  *Started  `json:",omitempty"`
	Snapshot *Snapshot `json:",omitempty"`
	Step     *Step     `json:",omitempty"`
	Note     *Note     `json:",omitempty"`
}

// Export writes a journal as text, one JSON object on each line, the header first: for a bug report, or to look at the
// journal of a running program elsewhere.
func Export(w io.Writer, h Header, entries iter.Seq2[Entry, error]) error {
	encoder := json.NewEncoder(w)
	h.Format = version
	if err := encoder.Encode(h); err != nil {
		return err
	}
	for entry, err := range entries {
		if err != nil {
			return err
		}
		l := line{Number: entry.Number}
		switch body := entry.Body.(type) {
		case Started:
			l.Started = &body
		case Snapshot:
			l.Snapshot = &body
		case Step:
			l.Step = &body
		case Note:
			l.Note = &body
		default:
			return fmt.Errorf("journal entry of type %T has no codec", entry.Body)
		}
		if err := encoder.Encode(&l); err != nil {
			return err
		}
	}
	return nil
}

// Import reads what [Export] wrote. The sequence reads as it goes, once; it ends at the first error.
func Import(r io.Reader) (Header, iter.Seq2[Entry, error], error) {
	decoder := json.NewDecoder(r)
	decoder.DisallowUnknownFields()
	var h Header
	if err := decoder.Decode(&h); err != nil {
		return Header{}, nil, fmt.Errorf("%w: header: %w", ErrDamaged, err)
	}
	if h.Format != version {
		return Header{}, nil, fmt.Errorf("%w: have version %d, want %d", ErrVersion, h.Format, version)
	}
	return h, func(yield func(Entry, error) bool) {
		for {
			var l line
			err := decoder.Decode(&l)
			if errors.Is(err, io.EOF) {
				return
			}
			entry := Entry{Number: l.Number}
			if err == nil {
				entry.Body, err = l.body()
			}
			if err != nil {
				yield(Entry{}, fmt.Errorf("%w: after %d bytes: %w", ErrDamaged, decoder.InputOffset(), err))
				return
			}
			if !yield(entry, nil) {
				return
			}
		}
	}, nil
}

func (l *line) body() (Body, error) {
	var bodies []Body
	if l.Started != nil {
		bodies = append(bodies, *l.Started)
	}
	if l.Snapshot != nil {
		bodies = append(bodies, *l.Snapshot)
	}
	if l.Step != nil {
		bodies = append(bodies, *l.Step)
	}
	if l.Note != nil {
		bodies = append(bodies, *l.Note)
	}
	if len(bodies) != 1 {
		return nil, fmt.Errorf("entry %d has %d bodies, want one", l.Number, len(bodies))
	}
	return bodies[0], nil
}
