package gas_test

import (
	"bytes"
	"testing"

	"baler/gas"
)

// Whatever bytes come, their length is found, and is no more than a little over theirs.
func FuzzFastLZLength(f *testing.F) {
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte("abc"), 100))
	f.Fuzz(func(t *testing.T, data []byte) {
		if have, most := gas.FastLZLength(data), len(data)+len(data)/32+1; have > uint64(most) {
			t.Errorf("%d bytes: have %d, want at most %d", len(data), have, most)
		}
	})
}
