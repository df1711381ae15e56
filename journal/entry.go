// Package journal is what one bundle sender writes down so that nothing in flight is ever forgotten, and so that what it
// did can be repeated and explained.
//
// In: the events given to the machine of package bundlesender and the effects it answered with, in order. Out: bytes for a
// store and back, the machine as the journal leaves it, a difference if the machine would act otherwise today, and a timeline
// for people. It is pure: where the bytes are kept, and when they are durable, is package store's.
//
// It promises that what it encodes it decodes to the same value, that damaged bytes are an error and never a panic or another
// value (each record carries a checksum), and that a replay fails at the first step that differs. It never decides anything:
// the journal follows the machine.
//
// # Shape
//
// A journal is a list of entries, numbered from 1 without gaps. Started begins each run of the program: the record
// that the machine was restored from, and its settings. A Step is one event with its effects. A Snapshot is the whole
// machine between two steps, so that everything before it can be dropped. A Note is a remark for people. So the first entry that
// is left is always a Started or a Snapshot, and what stands after it can be replayed.
package journal

import (
	"baler/bundlesender"
)

// Entry is one line of a journal.
type Entry struct {
	Number uint64 // from 1, without gaps
	Body   Body
}

// Body is what an entry says. The set is closed.
//
//sumtype:decl
type Body interface{ kind() byte }

// Started: the program took over the key. The machine is Restore(Config, Record).
type Started struct {
	Config bundlesender.Config
	Record bundlesender.Record
}

// Snapshot is the machine as it stands between two steps. The machine is Resume(Config, Machine).
type Snapshot struct {
	Config  bundlesender.Config
	Machine bundlesender.Snapshot
}

// Step is one event given to the machine, and what it answered.
type Step struct {
	Event   bundlesender.Event
	Effects []bundlesender.Effect
}

// Note is a remark for people, as the words in which a node refused. It changes nothing.
type Note struct{ Text string }

// The kinds are part of the format: never change one, never use one again.
const (
	kindStarted  byte = 1
	kindSnapshot byte = 2
	kindStep     byte = 3
	kindNote     byte = 4
)

func (Started) kind() byte  { return kindStarted }
func (Snapshot) kind() byte { return kindSnapshot }
func (Step) kind() byte     { return kindStep }
func (Note) kind() byte     { return kindNote }

// Begins says whether a replay can begin at the entry.
func (e Entry) Begins() bool { return e.Body.kind() == kindStarted || e.Body.kind() == kindSnapshot }
