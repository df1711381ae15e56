package evm

import (
	"sync/atomic"
	"time"
)

const (
	// fewTrips is how many reads of one view are under way at once where the node is near. What is wanted meanwhile waits for the first of
	// them to come back, and travels together: the more operations come in at once, the fewer requests each of them costs.
	fewTrips = 4
	// manyTrips is how many there are at most, however far away the node is.
	manyTrips = 64
	// tripsPerSecond is how many a far node gets: as many are under way as it takes for that. With four, an operation would
	// wait for a quarter of a round trip before its own begins.
	tripsPerSecond = 200
)

// pace is how long a read takes, so that the number of those under way follows from it. It is safe for concurrent use.
type pace struct {
	now  func() time.Time // nil: not known, the node is taken for near
	took atomic.Int64     // nanoseconds, of the quicker ones; 0: not known yet
}

// begin begins a trip; what it returns ends one that has succeeded.
func (p *pace) begin() (end func()) {
	if p.now == nil {
		return func() {}
	}
	begun := p.now()
	return func() {
		took, before := p.now().Sub(begun).Nanoseconds(), p.took.Load()
		if before > 0 && took > before { // a node that is busy is not farther away
			took = before + (took-before)/16
		}
		p.took.Store(max(took, 1))
	}
}

// trips is how many reads may be under way.
func (p *pace) trips() int {
	return min(max(fewTrips, int(time.Duration(p.took.Load())*tripsPerSecond/time.Second)), manyTrips)
}
