package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// How much the heap may grow from one collection to the next, where GOGC does not say. What is alive is small and what comes in bursts
// is garbage soon, so memory matters more than the few percent of processor time that collecting twice as often takes: half of what is
// alive. With next to nothing alive that would be a collection each second at any load, for the sake of a few megabytes.
const (
	heapGrowth  = 50       // percent of what is alive
	leastGrowth = 12 << 20 // bytes
)

// keepHeapSmall sets it, and has it follow what is alive.
func keepHeapSmall(environ []string) {
	if !slices.ContainsFunc(environ, func(setting string) bool { return strings.HasPrefix(setting, "GOGC=") }) {
		grow(growth(measured("/gc/heap/live:bytes")))
		followHeap()
	}
}

// growth is how much the heap may grow with so many bytes alive, in percent of them: GOGC's unit.
func growth(alive uint64) int {
	return int(max(heapGrowth, leastGrowth*100/max(alive, 1<<20))) //nolint:gosec // at most 1,200
}

// grown is the growth that was set last.
var grown atomic.Int64

func grow(percent int) {
	grown.Store(int64(percent))
	debug.SetGCPercent(percent)
}

// followHeap sets the growth anew after collections, for as long as the process lives. Several chains have one heap: once is enough.
var followHeap = sync.OnceFunc(func() {
	var watch, after func(struct{})
	watch = func(struct{}) { runtime.AddCleanup(new([16]byte), after, struct{}{}) } // what nobody has is gone with the next collection
	after = func(struct{}) {
		// To set it stops the world for a moment: not for a difference that nobody sees.
		want, is := growth(measured("/gc/heap/live:bytes")), int(grown.Load())
		if want*10 > is*11 || want*11 < is*10 {
			grow(want)
		}
		watch(struct{}{})
	}
	watch(struct{}{})
})

// measured reads one of the runtime's metrics: of the last collection, if it is about one.
func measured(name string) uint64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
