package journal

import (
	"bytes"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"baler/bundlesender"
	"baler/internal/senderrun"
)

// life journals a random run of a machine, of so many steps at most, with crashes and snapshots, through the codec.
func life(t *rapid.T, most int) ([]Entry, *bundlesender.Machine) {
	cfg := bundlesender.DefaultConfig()
	cfg.ReorgDepth, cfg.MaxReplacementUnderpricedBlocks, cfg.MaxCancellationFeeIncreases = 4, 2, 3
	choices := rapid.Custom(func(t *rapid.T) uint64 { return rapid.Uint64().Draw(t, "choice") })
	run := senderrun.New(cfg, func(n int) int { return int(choices.Draw(t, "choice") % uint64(n)) })
	var journal []Entry
	write := func(b Body) {
		record, err := Encode(b)
		if err != nil {
			t.Fatal(err)
		}
		body, err := Decode(record)
		if err != nil {
			t.Fatal(err)
		}
		journal = append(journal, Entry{Number: uint64(len(journal) + 1), Body: body})
	}
	restart := func() {
		record := run.Machine.Record()
		write(Started{Config: cfg, Record: record})
		run.Restarted(bundlesender.Restore(cfg, record))
	}
	restart()
	for range rapid.IntRange(0, most).Draw(t, "steps") {
		switch rapid.IntRange(0, 40).Draw(t, "what") {
		case 0:
			restart()
		case 1:
			write(Note{Text: "a remark"})
		case 2, 3:
			write(Snapshot{Config: cfg, Machine: run.Machine.Snapshot()})
		default:
			e := run.Next()
			write(Step{Event: e, Effects: run.Step(e)})
		}
	}
	return journal, run.Machine
}

func sequence(entries []Entry) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func ignore(Moment) error { return nil }

// TestAReplayTakesTheStepsThatWereTaken: from whichever entry a replay can begin at, and it ends in the same machine.
func TestAReplayTakesTheStepsThatWereTaken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries, machine := life(t, 120)
		want := machine.Snapshot()
		want.LastCause = nil // a restart forgets it
		var begins []int
		for i, e := range entries {
			if e.Begins() {
				begins = append(begins, i)
				continue
			}
			var player Player
			if _, err := player.Play(e); !errors.Is(err, ErrGap) {
				t.Fatalf("a replay began at entry %d: have %v, want ErrGap", e.Number, err)
			}
		}
		for _, from := range slices.Compact([]int{0, rapid.SampledFrom(begins).Draw(t, "from"), begins[len(begins)-1]}) {
			var player Player
			for _, e := range entries[from:] {
				m, err := player.Play(e)
				if err != nil {
					t.Fatalf("from entry %d: %v", from+1, err)
				}
				if m.Difference != nil {
					t.Fatalf("from entry %d: %v", from+1, m.Difference)
				}
			}
			have := player.Machine().Snapshot()
			have.LastCause = nil
			if diff := cmp.Diff(want, have); diff != "" {
				t.Fatalf("from entry %d the replay ends in another machine (-want +have):\n%s", from+1, diff)
			}
		}
	})
}

func TestAReplayFailsWhereTheJournalSaysSomethingElse(t *testing.T) {
	cfg := bundlesender.DefaultConfig()
	m := bundlesender.Restore(cfg, bundlesender.Record{Auto: true})
	event := bundlesender.Head{Number: 7}
	effects := m.Step(event)
	good := []Entry{{1, Started{cfg, bundlesender.Record{Auto: true}}}, {2, Step{event, effects}}, {3, Snapshot{cfg, m.Snapshot()}}}
	if err := Replay(sequence(good), ignore); err != nil {
		t.Fatalf("the true journal: %v", err)
	}
	other := m.Snapshot()
	other.FeeIncreases++
	for name, c := range map[string]struct {
		entry   int
		body    Body
		differs uint64
		says    string
	}{
		"an effect is missing":     {1, Step{event, nil}, 2, "what the machine does"},
		"an effect is other":       {1, Step{event, []bundlesender.Effect{bundlesender.Observe{Seq: 99}}}, 2, "what the machine does"},
		"the event is other":       {1, Step{bundlesender.ModeSet{Auto: false}, effects}, 3, "the machine"}, // the same effects
		"the machine stands other": {2, Snapshot{cfg, other}, 3, "the machine"},
	} {
		t.Run(name, func(t *testing.T) {
			entries := slices.Clone(good)
			entries[c.entry].Body = c.body
			seen := 0
			err := Replay(sequence(entries), func(Moment) error { seen++; return nil })
			d, ok := errors.AsType[*Difference](err)
			if !ok || d.Number != c.differs || d.What != c.says {
				t.Errorf("have %v, want a difference in %q at entry %d", err, c.says, c.differs)
			}
			if uint64(seen) != c.differs {
				t.Errorf("have %d moments, want %d: the one that differs is shown", seen, c.differs)
			}
		})
	}
}

func TestAReplayFailsAtAGap(t *testing.T) {
	entries := []Entry{{4, Started{}}, {5, Note{"x"}}, {7, Note{"y"}}}
	if err := Replay(sequence(entries), ignore); !errors.Is(err, ErrGap) {
		t.Errorf("have %v, want ErrGap", err)
	}
}

func TestAnExportIsImportedAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries, _ := life(t, 25)
		var file bytes.Buffer
		want := Header{Format: version, ChainID: 1337, Key: [20]byte{1}}
		if err := Export(&file, want, sequence(entries)); err != nil {
			t.Fatal(err)
		}
		if lines := strings.Count(file.String(), "\n"); lines != len(entries)+1 {
			t.Fatalf("have %d lines for %d entries: want one each, and the header", lines, len(entries))
		}
		have, sequence, err := Import(&file)
		if err != nil || have != want {
			t.Fatalf("header: have %v, %v, want %v", have, err, want)
		}
		var imported []Entry
		for e, err := range sequence {
			if err != nil {
				t.Fatal(err)
			}
			imported = append(imported, e)
		}
		if diff := cmp.Diff(entries, imported, sameError()); diff != "" {
			t.Fatalf("imported (-want +have):\n%s", diff)
		}
	})
}

func TestAnImportRefusesWhatIsNoJournal(t *testing.T) {
	const header = `{"Format":1,"ChainID":1337,"Key":"0x0000000000000000000000000000000000000001"}` + "\n"
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"empty":              {"", ErrDamaged},
		"text":               {"entry block state", ErrDamaged},
		"other format":       {`{"Format":2}`, ErrVersion},
		"no body":            {header + `{"Number":1}`, ErrDamaged},
		"two bodies":         {header + `{"Number":1,"Note":{"Text":"a"},"Started":{}}`, ErrDamaged},
		"unknown body":       {header + `{"Number":1,"Dream":{}}`, ErrDamaged},
		"cut off":            {header + `{"Number":1,"Note":{"Te`, ErrDamaged},
		"unknown event":      {header + `{"Number":1,"Step":{"Event":{"Dream":{}}}}`, ErrVersion},
		"begins in a middle": {header + `{"Number":9,"Note":{"Text":"a"}}`, ErrGap},
	} {
		t.Run(name, func(t *testing.T) {
			_, entries, err := Import(strings.NewReader(c.text))
			if err == nil {
				err = Replay(entries, ignore)
			}
			if !errors.Is(err, c.want) {
				t.Errorf("have %v, want %v", err, c.want)
			}
		})
	}
}

func FuzzImport(f *testing.F) {
	f.Add([]byte(`{"Format":1,"ChainID":1337,"Key":"0x0000000000000000000000000000000000000001"}
{"Number":1,"Started":{"Config":{},"Record":{}}}
{"Number":2,"Step":{"Event":{"Head":{"Number":1}},"Effects":[]}}`))
	f.Fuzz(func(_ *testing.T, text []byte) {
		if _, entries, err := Import(bytes.NewReader(text)); err == nil {
			_ = Replay(entries, NewTimeline(new(bytes.Buffer), true).See) // any text: an error, never a panic
		}
	})
}
