package journal

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"

	"baler/bundlesender"
	"baler/gas"
)

var rewrite = flag.Bool("rewrite", false, "write the timelines in testdata anew")

// story is a journal of a machine that is told what happens.
type story struct {
	machine *bundlesender.Machine
	entries []Entry
	number  uint64
	seq     bundlesender.Seq
}

func newStory(cfg bundlesender.Config) *story {
	record := bundlesender.Record{Auto: !cfg.Manual}
	s := &story{machine: bundlesender.Restore(cfg, record)}
	s.write(Started{cfg, record})
	return s
}

func (s *story) write(b Body) {
	s.entries = append(s.entries, Entry{uint64(len(s.entries) + 1), b})
}

func (s *story) step(events ...bundlesender.Event) {
	for _, e := range events {
		effects := s.machine.Step(e)
		s.write(Step{e, effects})
		for _, effect := range effects {
			switch effect := effect.(type) {
			case bundlesender.Propose:
				s.seq = effect.Seq
			case bundlesender.Observe:
				s.seq = effect.Seq
			case bundlesender.Backoff:
				s.seq = effect.Seq
			default: // nothing to answer
			}
		}
	}
}

// head brings the next block. What is told of it may be nil.
func (s *story) head(o *bundlesender.Observation) {
	s.number++
	s.step(bundlesender.Head{Number: s.number, Hash: common.Hash{1, 31: byte(s.number)}, Observation: o})
}

func (s *story) bundle(maxFee, priority uint64, operations ...byte) {
	ready := bundlesender.BundleReady{Seq: s.seq, Fees: fees(maxFee, priority), GasLimit: 210_000}
	for _, op := range operations {
		ready.Operations = append(ready.Operations, common.Hash{2, 31: op})
	}
	s.step(ready)
}

func (s *story) sent(id bundlesender.AttemptID, maxFee, priority uint64, outcome bundlesender.Outcome) {
	hash := common.Hash{3, 31: byte(id)}
	s.step(bundlesender.Signed{Attempt: id, Hash: hash, Fees: fees(maxFee, priority)})
	s.step(bundlesender.Submitted{Attempt: id, Hash: hash, Outcome: outcome})
}

// fees in tenths of a gwei.
func fees(maxFee, priority uint64) gas.Fees {
	return gas.Fees{MaxFee: *uint256.NewInt(maxFee * 1e8), MaxPriority: *uint256.NewInt(priority * 1e8)}
}

// stuck is the seed's story: a bundle that is not mined is replaced, the replacement is refused as underpriced until the
// operations are priced out, and then the nonce is cancelled.
func stuck() *story {
	cfg := bundlesender.DefaultConfig()
	cfg.MaxReplacementUnderpricedBlocks = 1
	s := newStory(cfg)
	s.head(nil)
	s.step(bundlesender.Observed{Seq: s.seq, Number: 1, Observation: bundlesender.Observation{Nonce: 5}})
	s.step(bundlesender.NothingToSend{Seq: s.seq, Reason: bundlesender.NoOperations})
	s.head(nil)
	s.bundle(30, 10, 1, 2)
	s.sent(1, 30, 10, bundlesender.Accepted)
	waiting := &bundlesender.Observation{Nonce: 5}
	s.head(waiting)
	s.head(waiting)
	s.bundle(33, 11, 1, 2, 3)
	s.write(Note{"the node answered: replacement transaction underpriced\nwanted +20%"})
	s.sent(2, 33, 11, bundlesender.ReplacementUnderpriced)
	s.write(Snapshot{cfg, s.machine.Snapshot()})
	s.head(waiting)
	s.step(bundlesender.NothingToSend{Seq: s.seq, Reason: bundlesender.NoneLeftAfterFeeFilter})
	s.head(waiting)
	s.step(bundlesender.NothingToSend{Seq: s.seq, Reason: bundlesender.NoneLeftAfterFeeFilter})
	hash := common.Hash{3, 31: 3}
	s.step(bundlesender.Signed{Attempt: 3, Hash: hash, Fees: fees(33, 11)})
	s.step(bundlesender.CancelSubmitted{Attempt: 3, Hash: hash, Fees: fees(33, 11), Outcome: bundlesender.Accepted})
	s.head(&bundlesender.Observation{Nonce: 6, Mined: []bundlesender.Mined{{Attempt: 3, Block: 7, Hash: common.Hash{1, 31: 7}}}})
	s.step(bundlesender.NothingToSend{Seq: s.seq, Reason: bundlesender.NoOperations})
	return s
}

// rough is a life among reorgs, strangers, calls and crashes.
func rough() *story {
	cfg := bundlesender.DefaultConfig()
	cfg.Manual, cfg.ReorgDepth = true, 2
	s := newStory(cfg)
	s.head(nil)
	s.step(bundlesender.SendNow{Call: 1}, bundlesender.Observed{Seq: s.seq, Failed: true})
	s.step(bundlesender.Retry{Seq: s.seq}, bundlesender.SendNow{Call: 2})
	s.step(bundlesender.Observed{Seq: s.seq, Number: 1, Observation: bundlesender.Observation{Nonce: 0}})
	s.bundle(20, 1, 7)
	s.sent(1, 20, 1, bundlesender.Unknown)
	s.step(bundlesender.ForeignPending{Nonce: 1, Hash: common.Hash{9}})
	mined := bundlesender.Mined{Attempt: 1, Block: 2, Hash: common.Hash{1, 31: 2}}
	s.head(&bundlesender.Observation{Nonce: 1, Mined: []bundlesender.Mined{mined}})
	s.head(&bundlesender.Observation{Nonce: 0, Reorged: []bundlesender.AttemptID{1}})
	record := s.machine.Record()
	s.machine = bundlesender.Restore(cfg, record)
	s.write(Started{cfg, record})
	s.head(&bundlesender.Observation{Nonce: 1, Mined: []bundlesender.Mined{{Attempt: 1, Block: 4, Hash: common.Hash{1, 31: 4}}}})
	for range 4 {
		s.head(&bundlesender.Observation{Nonce: 1})
	}
	s.step(bundlesender.ModeSet{Auto: true}, bundlesender.IntervalElapsed{}, bundlesender.LeaseLost{}, bundlesender.SendNow{Call: 3})
	return s
}

func timeline(t *testing.T, s *story, all bool) string {
	t.Helper()
	var out bytes.Buffer
	line := NewTimeline(&out, all)
	if err := Replay(sequence(s.entries), line.See); err != nil {
		t.Fatal(err)
	}
	if err := line.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestTimelines(t *testing.T) {
	for name, s := range map[string]*story{"stuck": stuck(), "rough": rough()} {
		t.Run(name, func(t *testing.T) {
			path := "testdata/" + name + ".timeline"
			have := timeline(t, s, false)
			if *rewrite {
				if err := os.WriteFile(path, []byte(have), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), have); diff != "" {
				t.Errorf("timeline (-want +have); if it is meant, run with -rewrite:\n%s", diff)
			}
		})
	}
}

func TestATimelineOfAllLeavesNothingOut(t *testing.T) {
	s := stuck()
	s.head(nil)
	text := timeline(t, s, true)
	entries := 0
	for line := range strings.Lines(text) {
		if strings.TrimLeft(line[:7], " ") != "" {
			entries++
		}
	}
	if have, want := entries, len(s.entries)+1; have != want {
		t.Errorf("have %d lines with a number, want %d, one for each entry and the title:\n%s", have, want, text)
	}
}

func TestATimelineShowsADifference(t *testing.T) {
	s := stuck()
	step := s.entries[4].Body.(Step)
	s.entries[4].Body = Step{step.Event, nil}
	var out bytes.Buffer
	err := Replay(sequence(s.entries), NewTimeline(&out, false).See)
	if _, ok := errors.AsType[*Difference](err); !ok {
		t.Fatalf("have %v, want a difference", err)
	}
	if !strings.Contains(out.String(), "DIFFERS: what the machine does") {
		t.Errorf("the timeline does not say what differs:\n%s", out.String())
	}
}

// broken is a writer that fails.
type broken struct{}

var errBroken = errors.New("broken")

func (broken) Write([]byte) (int, error) { return 0, errBroken }

func TestATimelineSaysThatItCannotWrite(t *testing.T) {
	if err := Replay(sequence(stuck().entries), NewTimeline(broken{}, false).See); !errors.Is(err, errBroken) {
		t.Errorf("have %v, want the writer's error", err)
	}
}

func TestGweiIsExact(t *testing.T) {
	for wei, want := range map[string]string{
		"0": "0", "1": "0.000000001", "1000000000": "1", "1500000000": "1.5", "123456789012": "123.456789012",
		"1000000000000000000000000000": "1000000000000000000",
	} {
		if have := gwei(*uint256.MustFromDecimal(wei)); have != want {
			t.Errorf("%s wei: have %s, want %s gwei", wei, have, want)
		}
	}
}
