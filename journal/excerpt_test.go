package journal_test

import (
	"strings"
	"testing"

	"baler/bundlesender"
	. "baler/journal"

	"github.com/ethereum/go-ethereum/common"
)

func TestAnExcerptHasTheLastMomentsAtWhichSomethingHappened(t *testing.T) {
	machine := bundlesender.New(bundlesender.DefaultConfig())
	x := NewExcerpt(3)
	number := uint64(0)
	see := func(events ...bundlesender.Event) {
		for _, e := range events {
			number++
			before := machine.Status()
			effects := machine.Step(e)
			x.See(Moment{Entry: Entry{Number: number, Body: Step{Event: e, Effects: effects}}, Before: before, After: machine.Status()})
		}
	}
	head := func(n uint64) bundlesender.Event {
		return bundlesender.Head{Number: n, Hash: common.Hash{31: byte(n)}, Observation: &bundlesender.Observation{Nonce: 4}}
	}
	see(head(10), bundlesender.PauseSet{Paused: true})
	for n := range uint64(50) {
		see(head(11 + n)) // nothing is done at any of them
	}
	see(bundlesender.SendNow{Call: 1})
	lines := x.Lines()
	var texts []string
	for _, line := range lines {
		texts = append(texts, line.Text+" -> "+strings.Join(line.Follows, "; "))
	}
	if len(lines) != 3 || lines[2].Block != 60 || !strings.Contains(texts[1], "an operator paused the sender") || !strings.Contains(texts[2], "manual call 1 -> ") {
		t.Errorf("have %q at block %d, want the first block, the pause and the call", texts, lines[len(lines)-1].Block)
	}
	see(bundlesender.PauseSet{})
	if again := x.Lines(); len(again) != 3 || again[2].Text != "an operator let the sender go on" || again[1].Text != lines[2].Text {
		t.Errorf("have %+v, want the oldest forgotten", again)
	}
}
