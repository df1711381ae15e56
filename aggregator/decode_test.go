package aggregator

import (
	"bytes"
	"testing"
)

// answer encodes bytes as a contract returns them.
func answer(b []byte) []byte {
	data := appendNumber(appendNumber(nil, wordSize), len(b))
	return append(append(data, b...), make([]byte, -len(b)&(wordSize-1))...)
}

func TestAnswersAreRead(t *testing.T) {
	for n := range 100 {
		want := bytes.Repeat([]byte{7}, n)
		if have, ok := decodeBytes(answer(want)); !ok || !bytes.Equal(have, want) {
			t.Errorf("%d bytes: have %x, %t", n, have, ok)
		}
	}
	good := answer([]byte("signature"))
	for name, data := range map[string][]byte{
		"nothing":                       nil,
		"half a word":                   good[:16],
		"no length":                     good[:32],
		"less than the length says":     good[:64],
		"an offset behind the end":      append(appendNumber(nil, 1000), good[32:]...),
		"a length of more than it has":  append(appendNumber(good[:32:32], 1000), good[64:]...),
		"an offset that does not fit":   bytes.Repeat([]byte{0xff}, 96),
		"an offset near the last bytes": append(appendNumber(nil, 90), make([]byte, 64)...),
	} {
		if have, ok := decodeBytes(data); ok {
			t.Errorf("%s: have %x, want a refusal", name, have)
		}
	}
}

func FuzzDecodeBytes(f *testing.F) {
	f.Add(answer(nil))
	f.Add(answer([]byte("signature")))
	f.Fuzz(func(t *testing.T, data []byte) {
		value, ok := decodeBytes(data)
		if !ok {
			return
		}
		if again, ok := decodeBytes(answer(value)); !ok || !bytes.Equal(again, value) {
			t.Errorf("%x was read as %x, which reads as %x", data, value, again)
		}
	})
}
