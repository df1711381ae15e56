package main

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestTheHeapIsKeptSmallUnlessTheEnvironmentSays(t *testing.T) {
	t.Parallel()
	if !saysGrowth([]string{"PATH=/bin", "GOGC=200"}) || saysGrowth([]string{"PATH=/bin", "GOGCX=1"}) {
		t.Error("it is GOGC that says")
	}
}

func TestASmallHeapMayGrowByMegabytesAndALargeOneByAShare(t *testing.T) {
	t.Parallel()
	for alive, want := range map[uint64]uint64{0: 1200, 1 << 20: 1200, 12 << 20: 100, 24 << 20: 50, 48 << 20: 25, 64 << 20: 25, 96 << 20: 37, 1 << 30: 50} {
		if have := growth(alive); have != want {
			t.Errorf("%d bytes alive: have %d %%, want %d", alive, have, want)
		}
	}
}

// What is alive becomes more: what the heap may grow follows.
func TestTheHeapsGrowthFollowsWhatIsAlive(t *testing.T) {
	before := debug.SetGCPercent(1000)
	defer debug.SetGCPercent(before)
	keepHeapSmall(nil)
	kept := make([]byte, 64<<20)
	for measured("/gc/gogc:percent") > mostGrowth*11/10 { // the test's time is the limit
		runtime.GC()
	}
	runtime.KeepAlive(kept)
}
