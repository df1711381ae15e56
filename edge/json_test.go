package edge

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestTheShapeOfJSON(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]int{
		``: {0, 0}, `1`: {0, 0}, `"[[["`: {0, 0}, `{}`: {1, 0}, `[]`: {1, 0}, `[ ]`: {1, 0}, `[1]`: {1, 1}, `[[]]`: {2, 1}, `["\"],["]`: {1, 1},
		`[1,2,[3,4]]`: {2, 3}, `{"a":[1,2]}`: {2, 0}, `[{"a":{"b":[]}},2]`: {4, 2}, `[,,,]`: {1, 4}, `["\\",2]`: {1, 2}, `["unended`: {1, 1},
	} {
		if depth, elements := Shape([]byte(text)); depth != want[0] || elements != want[1] {
			t.Errorf("%s: have depth %d and %d elements, want %v", text, depth, elements, want)
		}
	}
	if depth, _ := Shape([]byte(strings.Repeat("[", 1<<20))); depth != 1<<20 {
		t.Errorf("have depth %d, want %d", depth, 1<<20)
	}
}

// FuzzShape compares with decoding: of what is JSON, the shape is right.
func FuzzShape(f *testing.F) {
	for _, seed := range []string{`[1,{"a":[2]},"x,y"]`, `{"a":"\\\"[","b":[[]]}`, ` [ ] `, `"\u005b"`, `[[],[],{}]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		depth, elements := Shape(text) // never panics
		if !json.Valid(text) {
			return
		}
		decoder, level, deepest := json.NewDecoder(bytes.NewReader(text)), 0, 0
		for token, err := decoder.Token(); err == nil; token, err = decoder.Token() {
			switch token {
			case json.Delim('['), json.Delim('{'):
				level++
				deepest = max(deepest, level)
			case json.Delim(']'), json.Delim('}'):
				level--
			}
		}
		var list []json.RawMessage
		if bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("[")) {
			if err := json.Unmarshal(text, &list); err != nil {
				t.Fatal(err)
			}
		}
		if depth != deepest || elements != len(list) {
			t.Errorf("%s: have depth %d and %d elements, want %d and %d", text, depth, elements, deepest, len(list))
		}
	})
}
