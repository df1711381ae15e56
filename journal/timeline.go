package journal

import (
	"fmt"
	"io"
	"strings"

	"baler/bundlesender"
)

// Timeline prints moments for people: for each entry the block, the state, what happened, what the machine did about
// it and why.
type Timeline struct {
	out   io.Writer
	all   bool
	quiet int // heads and intervals left out since the last line
	begun bool
	err   error
}

// NewTimeline returns a timeline on out. With all it leaves nothing out; without, it only counts the heads and intervals at
// which nothing was done.
func NewTimeline(out io.Writer, all bool) *Timeline { return &Timeline{out: out, all: all} }

// See prints a moment. The error is the writer's.
func (t *Timeline) See(m Moment) error {
	if !t.begun {
		t.begun = true
		t.printf("%7s  %7s  %-13s  %s\n", "entry", "block", "state", "what happened, and what follows")
	}
	follows := followsOf(m)
	if !t.all && len(follows) == 0 {
		switch {
		case isTick(m.Body):
			t.quiet++
			return t.err
		case isSnapshot(m.Body):
			return t.err
		}
	}
	t.flushQuiet()
	block := "-"
	if m.After.Head > 0 {
		block = fmt.Sprint(m.After.Head)
	}
	t.printf("%7d  %7s  %-13s  %s\n", m.Number, block, m.After.State, bodyText(m.Body))
	for _, line := range follows {
		t.printf("%35s%s\n", "", line)
	}
	return t.err
}

// Close prints what is left to print.
func (t *Timeline) Close() error {
	t.flushQuiet()
	return t.err
}

func (t *Timeline) flushQuiet() {
	if t.quiet > 0 {
		t.printf("%31s  (%d x nothing to do)\n", "", t.quiet)
		t.quiet = 0
	}
}

func (t *Timeline) printf(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.out, format, args...)
	}
}

// isTick says whether the entry is one of the many that only say that time goes on.
func isTick(b Body) bool {
	step, ok := b.(Step)
	if !ok {
		return false
	}
	switch step.Event.(type) {
	case bundlesender.Head, bundlesender.IntervalElapsed:
		return true
	default:
		return false
	}
}

func isSnapshot(b Body) bool {
	_, ok := b.(Snapshot)
	return ok
}

func bodyText(b Body) string {
	switch b := b.(type) {
	case Started:
		return fmt.Sprintf("the program started: nonce %s, %s, %s remembered, next is attempt %d",
			nonceText(b.Record.Nonce, b.Record.NonceKnown), modeText(b.Record.Auto), count(len(b.Record.Attempts), "attempt"), max(b.Record.NextAttempt, 1))
	case Snapshot:
		return "(snapshot)"
	case Note:
		return "note: " + oneLine(b.Text)
	case Step:
		return eventText(b.Event)
	default:
		return fmt.Sprintf("%T", b)
	}
}

// followsOf is what the machine did, and which of its numbers changed by it.
func followsOf(m Moment) []string {
	var lines []string
	if step, ok := m.Body.(Step); ok {
		for _, effect := range step.Effects {
			lines = append(lines, effectText(effect))
		}
		if changed := changes(m.Before, m.After); changed != "" {
			lines = append(lines, "  "+changed)
		}
	}
	if d := m.Difference; d != nil {
		lines = append(lines, "DIFFERS: "+d.What, "  have "+d.Have, "  want "+d.Want)
	}
	return lines
}

// changes says which of the machine's counters an entry changed.
func changes(before, after bundlesender.Status) string {
	var parts []string
	if before.FeeIncreases != after.FeeIncreases {
		parts = append(parts, fmt.Sprintf("fee increases %d", after.FeeIncreases))
	}
	if before.CancelIncreases != after.CancelIncreases {
		parts = append(parts, fmt.Sprintf("cancellation fee increases %d", after.CancelIncreases))
	}
	switch {
	case after.Underpriced && !before.Underpriced:
		parts = append(parts, fmt.Sprintf("underpriced since block %d", after.UnderpricedSince))
	case before.Underpriced && !after.Underpriced:
		parts = append(parts, "no longer underpriced")
	}
	if before.Until != after.Until && (after.State == bundlesender.Pending || after.State == bundlesender.CancelPending) {
		parts = append(parts, fmt.Sprintf("waits until block %d", after.Until))
	}
	if before.Nonce != after.Nonce || before.NonceKnown != after.NonceKnown {
		parts = append(parts, "nonce "+nonceText(after.Nonce, after.NonceKnown))
	}
	if before.Auto != after.Auto {
		parts = append(parts, modeText(after.Auto))
	}
	if before.Held != after.Held {
		parts = append(parts, "holds "+count(after.Held, "operation"))
	}
	return strings.Join(parts, ", ")
}

func nonceText(nonce uint64, known bool) string {
	if !known {
		return "unknown"
	}
	return fmt.Sprint(nonce)
}

func modeText(auto bool) string {
	if auto {
		return "auto"
	}
	return "manual"
}

// count says "1 operation", "2 operations".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// oneLine keeps a foreign text from breaking the timeline's lines or steering a terminal.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}
