package journal

import (
	"slices"

	"baler/bundlesender"
)

// Line is a moment in words, as [Timeline] prints it.
type Line struct {
	Block   uint64 // the newest that the sender had seen; 0: none
	State   bundlesender.State
	Text    string
	Follows []string // what the machine did about it
}

// Excerpt is the end of a journal: the last moments at which something happened. Whoever shares it, locks it.
type Excerpt struct {
	size    int
	moments []Moment // oldest first
}

// NewExcerpt returns an excerpt of so many moments.
func NewExcerpt(size int) *Excerpt { return &Excerpt{size: max(size, 1)} }

// See takes a moment in, unless it only says that time goes on.
func (x *Excerpt) See(m Moment) {
	if len(followsOf(m)) == 0 && (isTick(m.Body) || isSnapshot(m.Body)) {
		return
	}
	if len(x.moments) >= x.size {
		x.moments = slices.Delete(x.moments, 0, len(x.moments)-x.size+1)
	}
	x.moments = append(x.moments, m)
}

// Lines returns the excerpt in words, oldest first.
func (x *Excerpt) Lines() []Line {
	lines := make([]Line, len(x.moments))
	for i, m := range x.moments {
		lines[i] = Line{Block: m.After.Head, State: m.After.State, Text: bodyText(m.Body), Follows: followsOf(m)}
	}
	return lines
}
