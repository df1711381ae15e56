package main

import (
	"runtime/debug"
	"testing"
)

func TestTheHeapIsKeptSmallUnlessTheEnvironmentSays(t *testing.T) {
	before := debug.SetGCPercent(77)
	defer debug.SetGCPercent(before)
	for _, c := range []struct {
		environ []string
		want    int
	}{{[]string{"PATH=/bin", "GOGC=200"}, 77}, {[]string{"PATH=/bin", "GOGCX=1"}, heapGrowth}} {
		keepHeapSmall(c.environ)
		if have := debug.SetGCPercent(77); have != c.want {
			t.Errorf("%v: have %d, want %d", c.environ, have, c.want)
		}
	}
}
