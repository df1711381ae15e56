package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"baler/bundlesender"
)

// Difference says that the machine, given what the journal says was given to it, does something else than the journal says it
// did: the journal was written by another version of the machine, or one of the two is broken.
type Difference struct {
	Number     uint64 // of the entry
	What       string
	Have, Want string // what the machine does now, and what is written: the part that differs
}

// Error implements error.
func (d *Difference) Error() string {
	return fmt.Sprintf("entry %d: %s differs from the journal: have %s, want %s", d.Number, d.What, d.Have, d.Want)
}

// ErrGap says that entries are missing.
var ErrGap = errors.New("journal has a gap")

// Moment is one entry and how the machine stood before and after it.
type Moment struct {
	Entry
	Before, After bundlesender.Status
	// Difference is nil if the machine did what is written.
	Difference *Difference
}

// Player steps a machine through a journal, from an entry at which a replay can begin on. The zero Player is ready.
type Player struct {
	machine *bundlesender.Machine
	last    uint64
}

// Play takes the next entry. After a Difference the machine is where its own steps have brought it.
func (p *Player) Play(e Entry) (Moment, error) {
	if p.machine != nil && e.Number != p.last+1 {
		return Moment{}, fmt.Errorf("%w: entry %d follows entry %d", ErrGap, e.Number, p.last)
	}
	if p.machine == nil && !e.Begins() {
		return Moment{}, fmt.Errorf("%w: entry %d is the first that is left, and no replay can begin there", ErrGap, e.Number)
	}
	m := Moment{Entry: e}
	first := p.machine == nil
	if !first {
		m.Before = p.machine.Status()
	}
	var err error
	switch body := e.Body.(type) {
	case Started:
		p.machine = bundlesender.Restore(body.Config, body.Record)
	case Snapshot:
		m.Difference, err = p.check(e.Number, body)
	case Step:
		m.Difference, err = p.step(e.Number, body)
	case Note:
	default:
		err = fmt.Errorf("entry %d: %T cannot be replayed", e.Number, e.Body)
	}
	if err != nil {
		return Moment{}, err
	}
	p.last = e.Number
	m.After = p.machine.Status()
	if first {
		m.Before = m.After
	}
	return m, nil
}

// Machine returns the machine as the entries played so far leave it; nil before the first.
func (p *Player) Machine() *bundlesender.Machine { return p.machine }

// check compares a snapshot with the machine, and goes on from the snapshot.
func (p *Player) check(number uint64, s Snapshot) (*Difference, error) {
	before := p.machine
	p.machine = bundlesender.Resume(s.Config, s.Machine)
	if before == nil {
		return nil, nil
	}
	have := before.Snapshot()
	return compare(number, "the machine", &have, &s.Machine)
}

func (p *Player) step(number uint64, s Step) (*Difference, error) {
	have := Step{Event: s.Event, Effects: p.machine.Step(s.Event)}
	return compare(number, "what the machine does", &have, &s)
}

func compare(number uint64, what string, have, want any) (*Difference, error) {
	haveText, err := json.Marshal(have)
	if err != nil {
		return nil, err
	}
	wantText, err := json.Marshal(want)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(haveText, wantText) {
		return nil, nil
	}
	from := 0
	for from < min(len(haveText), len(wantText)) && haveText[from] == wantText[from] {
		from++
	}
	return &Difference{Number: number, What: what, Have: excerpt(haveText, from), Want: excerpt(wantText, from)}, nil
}

// excerpt is the part of a text around the place where it differs from another.
func excerpt(text []byte, at int) string {
	const before, after = 60, 200
	part := string(text[max(0, at-before):min(len(text), at+after)])
	if at > before {
		part = "..." + part
	}
	if at+after < len(text) {
		part += "..."
	}
	return part
}

// Replay plays all entries and passes each moment on. It ends at the first error, and at the first Difference, which it
// returns after the moment was passed on.
func Replay(entries iter.Seq2[Entry, error], see func(Moment) error) error {
	var player Player
	for entry, err := range entries {
		if err != nil {
			return err
		}
		moment, err := player.Play(entry)
		if err != nil {
			return err
		}
		if err := see(moment); err != nil {
			return err
		}
		if moment.Difference != nil {
			return moment.Difference
		}
	}
	return nil
}
