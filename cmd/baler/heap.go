package main

import (
	"runtime/debug"
	"slices"
	"strings"
)

// heapGrowth is how much the heap may grow from one collection to the next, in percent, where GOGC does not say. What is
// alive is small and what comes in bursts is garbage soon, so memory matters more than the few percent of processor time that
// collecting twice as often takes.
const heapGrowth = 50

// keepHeapSmall sets it.
func keepHeapSmall(environ []string) {
	if !slices.ContainsFunc(environ, func(setting string) bool { return strings.HasPrefix(setting, "GOGC=") }) {
		debug.SetGCPercent(heapGrowth)
	}
}
