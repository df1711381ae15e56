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
	"baler/lease"
	"baler/store"

	"github.com/ethereum/go-ethereum/common"
	"github.com/redis/go-redis/v9"
)

// replayCommand prints a journal and repeats it.
type replayCommand struct {
	File string `arg:"" optional:"" help:"A data directory, the store in it, or a journal written with --json. Without it: the journals in Redis." placeholder:"FILE"`
	Key  string `help:"Only the journal of this key. Default: each in turn." placeholder:"ADDRESS"`

	RedisURL []string `help:"Redis that has the journals of leased keys. Spelt as for 'baler node'. It is only read, and no lease is taken: the bundlers may run." name:"redis-url" placeholder:"URL" secret:""`
	ChainID  uint64   `help:"Only the journals of the chain with this id; 0: of every chain." name:"chain-id" default:"0"`

	All  bool `help:"Print also the blocks at which a sender had nothing to do."`
	JSON bool `help:"Print the journal as lines of JSON, which this command reads too, and don't repeat it." name:"json"`
}

// keyJournal is the journal of one key, wherever it was read.
type keyJournal struct {
	header  journal.Header
	entries iter.Seq2[journal.Entry, error]
}

// Run prints the journals, and fails if today's machine does otherwise than they say.
func (c *replayCommand) Run(ctx context.Context, out console) error {
	journals, closing, err := c.open(ctx)
	if err != nil {
		return err
	}
	err = c.print(ctx, journals, out)
	return errors.Join(err, closing.Close())
}

func (c *replayCommand) print(ctx context.Context, journals []keyJournal, out console) error {
	if c.JSON {
		if len(journals) != 1 {
			return badSetting("--key: %s has the journals of %d keys, and --json prints one", c.place(), len(journals))
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
func (c *replayCommand) open(ctx context.Context) ([]keyJournal, io.Closer, error) {
	key, err := optionalAddress("--key", c.Key)
	if err != nil {
		return nil, nil, err
	}
	journals, closing, err := c.read(ctx)
	if err != nil {
		return nil, nil, err
	}
	journals = slices.DeleteFunc(journals, func(j keyJournal) bool {
		return key != (common.Address{}) && j.header.Key != key || c.ChainID != 0 && j.header.ChainID != c.ChainID
	})
	if len(journals) == 0 {
		err := fmt.Errorf("%s holds no journal", c.place())
		if c.Key != "" {
			err = badSetting("--key: %s holds no journal of %s", c.place(), key)
		}
		return nil, nil, errors.Join(err, closing.Close())
	}
	return journals, closing, nil
}

// place is where the journals are read, as people may see it.
func (c *replayCommand) place() string {
	if c.File == "" {
		return "Redis"
	}
	return c.File
}

// read reads all journals that there are.
func (c *replayCommand) read(ctx context.Context) ([]keyJournal, io.Closer, error) {
	if c.File == "" {
		return openRedis(ctx, c.RedisURL)
	}
	text, err := exported(c.File)
	if err != nil {
		return nil, nil, badSetting("%w", err)
	}
	if text {
		return openExport(c.File)
	}
	return openStore(c.File)
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
	journals, err := journalsOf(s)
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return journals, s, nil
}

// journalsOf returns the journals in a store.
func journalsOf(s *store.Store) (journals []keyJournal, err error) {
	keys, err := s.Journals()
	for _, key := range keys {
		var j *store.Journal
		if err == nil {
			j, err = s.Journal(key)
		}
		if err == nil {
			journals = append(journals, keyJournal{journal.Header{ChainID: s.Meta().ChainID, Key: key}, j.Entries()})
		}
	}
	return journals, err
}

// openRedis reads the journals of leased keys: what Redis has of them now, whoever holds them.
func openRedis(ctx context.Context, urls []string) ([]keyJournal, io.Closer, error) {
	if len(urls) == 0 {
		return nil, nil, badSetting("FILE is missing, or --redis_url: where the journals are")
	}
	client, err := lease.Dial(urls)
	if err != nil {
		return nil, nil, badSetting("--redis_url: %w", err)
	}
	defer func() { _ = client.Close() }()
	err = client.Ping(ctx).Err()
	if _, answered := errors.AsType[redis.Error](err); answered { // in Redis' own words: a password that is wrong, a right that is missing
		return nil, nil, fmt.Errorf("--redis_url: %w", err)
	} else if err != nil { // its text may hold an address with a password
		return nil, nil, errors.New("--redis_url: Redis does not answer")
	}
	tables, err := lease.Tables(ctx, client)
	if err != nil {
		return nil, nil, fmt.Errorf("--redis_url: %w", err)
	}
	var all []keyJournal
	for _, pairs := range tables {
		s, err := store.Look(pairs)
		if err != nil {
			return nil, nil, fmt.Errorf("--redis_url: %w", err)
		}
		journals, err := journalsOf(s)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, journals...)
	}
	return all, io.NopCloser(nil), nil
}
