package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
)

// How much the heap may grow from one collection to the next, where GOGC does not say. What is alive is small and what comes in bursts
// is garbage soon, so memory matters more than the tenth of processor time that collecting four times as often as Go does takes: a quarter
// of what is alive. With little alive that would be several collections a second, for the sake of a few megabytes; with very much alive,
// ten thousand operations that wait, a collection takes long, and bundles wait for the processor: half of it then.
const (
	heapGrowth  = 25       // percent of what is alive
	manyAlive   = 64 << 20 // bytes: more is more in proportion
	mostGrowth  = 50       // percent
	leastGrowth = 12 << 20 // bytes
)

// keepHeapSmall sets it, and has it follow what is alive.
func keepHeapSmall(environ []string) {
	if !saysGrowth(environ) {
		paceHeap()
		followHeap()
	}
}

func saysGrowth(environ []string) bool {
	return slices.ContainsFunc(environ, func(setting string) bool { return strings.HasPrefix(setting, "GOGC=") })
}

// growth is how much the heap may grow with so many bytes alive, in percent of them: GOGC's unit.
func growth(alive uint64) uint64 {
	return max(heapGrowth, min(heapGrowth*alive/manyAlive, mostGrowth), leastGrowth*100/max(alive, 1<<20))
}

// paceHeap sets the growth for what the last collection found alive. To set it stops the world for a moment: not for a difference that
// nobody sees.
func paceHeap() {
	want, is := growth(measured("/gc/heap/live:bytes")), measured("/gc/gogc:percent")
	if want > is+is/10 || want < is-is/10 {
		debug.SetGCPercent(int(want)) //nolint:gosec // at most 1,200
	}
}

// followHeap paces the heap after each collection, for as long as the process lives.
func followHeap() {
	nobodys := new([16]byte) // is gone with the next collection
	runtime.AddCleanup(nobodys, func(struct{}) {
		paceHeap()
		followHeap()
	}, struct{}{})
}

// measured reads one of the runtime's metrics.
func measured(name string) uint64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
