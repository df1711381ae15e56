package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"

	"baler/journal"
	"baler/store"

	"github.com/ethereum/go-ethereum/common"
)

// replayCommand prints a journal and repeats it.
type replayCommand struct {
	File string `arg:"" help:"A data directory, the store in it, or a journal written with --json." placeholder:"FILE"`
	Key  string `help:"Only the journal of this key. Default: each in turn." placeholder:"ADDRESS"`
	All  bool   `help:"Print also the blocks at which a sender had nothing to do."`
	JSON bool   `help:"Print the journal as lines of JSON, which this command reads too, and don't repeat it." name:"json"`
}

// keyJournal is the journal of one key, wherever it was read.
type keyJournal struct {
	header  journal.Header
	entries iter.Seq2[journal.Entry, error]
}

// Run prints the journals, and fails if today's machine does otherwise than they say.
func (c *replayCommand) Run(ctx context.Context, out console) error {
	journals, closing, err := c.open()
	if err != nil {
		return err
	}
	err = c.print(ctx, journals, out)
	return errors.Join(err, closing.Close())
}

func (c *replayCommand) print(ctx context.Context, journals []keyJournal, out console) error {
	if c.JSON {
		if len(journals) != 1 {
			return badSetting("--key: %s has the journals of %d keys, and --json prints one", c.File, len(journals))
		}
		return journal.Export(out.out, journals[0].header, until(ctx, journals[0].entries))
	}
	var errs []error
	for i, j := range journals {
		if i > 0 {
			fmt.Fprintln(out.out)
		}
		if err := c.replay(ctx, j, out.out); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", j.header.Key, err))
		}
	}
	return errors.Join(errs...)
}

// replay prints one journal as a timeline while it is repeated.
func (c *replayCommand) replay(ctx context.Context, j keyJournal, w io.Writer) error {
	buffered := bufio.NewWriter(w)
	fmt.Fprintf(buffered, "journal of %s on chain %d\n\n", j.header.Key, j.header.ChainID)
	timeline, entries := journal.NewTimeline(buffered, c.All), 0
	err := journal.Replay(until(ctx, j.entries), func(m journal.Moment) error {
		entries++
		return timeline.See(m)
	})
	err = errors.Join(err, timeline.Close())
	if err == nil {
		fmt.Fprintf(buffered, "\n%d entries repeated: the machine does what is written\n", entries)
	}
	return errors.Join(err, buffered.Flush())
}

// until ends a sequence with the context.
func until(ctx context.Context, entries iter.Seq2[journal.Entry, error]) iter.Seq2[journal.Entry, error] {
	return func(yield func(journal.Entry, error) bool) {
		for entry, err := range entries {
			if ctx.Err() != nil {
				entry, err = journal.Entry{}, ctx.Err()
			}
			if !yield(entry, err) || err != nil {
				return
			}
		}
	}
}

// open finds the journals that are asked for. What it returns to close is never nil if there is no error.
func (c *replayCommand) open() ([]keyJournal, io.Closer, error) {
	key, err := optionalAddress("--key", c.Key)
	if err != nil {
		return nil, nil, err
	}
	text, err := exported(c.File)
	if err != nil {
		return nil, nil, badSetting("%w", err)
	}
	var journals []keyJournal
	var closing io.Closer
	if text {
		journals, closing, err = openExport(c.File)
	} else {
		journals, closing, err = openStore(c.File)
	}
	if err != nil {
		return nil, nil, err
	}
	if key != (common.Address{}) {
		journals = slices.DeleteFunc(journals, func(j keyJournal) bool { return j.header.Key != key })
	}
	if len(journals) == 0 {
		err := fmt.Errorf("%s holds no journal", c.File)
		if c.Key != "" {
			err = badSetting("--key: %s holds no journal of %s", c.File, key)
		}
		return nil, nil, errors.Join(err, closing.Close())
	}
	return journals, closing, nil
}

// exported says whether the file is text, as --json writes it, and not a store.
func exported(path string) (bool, error) {
	file, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || info.IsDir() {
		return false, err
	}
	first := make([]byte, 1)
	_, err = io.ReadFull(file, first)
	return err == nil && first[0] == '{', nil
}

func openExport(path string) ([]keyJournal, io.Closer, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	header, entries, err := journal.Import(bufio.NewReader(file))
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", path, err), file.Close())
	}
	return []keyJournal{{header, entries}}, file, nil
}

func openStore(path string) ([]keyJournal, io.Closer, error) {
	s, err := store.OpenReadOnly(path)
	if errors.Is(err, store.ErrLocked) {
		err = fmt.Errorf("%w: stop the bundler first", err)
	}
	if err != nil {
		return nil, nil, err
	}
	keys, err := s.Journals()
	var journals []keyJournal
	for _, key := range keys {
		var j *store.Journal
		if err == nil {
			j, err = s.Journal(key)
		}
		if err == nil {
			journals = append(journals, keyJournal{journal.Header{ChainID: s.Meta().ChainID, Key: key}, j.Entries()})
		}
	}
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return journals, s, nil
}
