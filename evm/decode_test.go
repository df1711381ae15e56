package evm

import (
	"math/big"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
)

func TestStorageValuesAreReadAsNodesPrintThem(t *testing.T) {
	for text, want := range map[string]int64{
		"0x": 0, "0x0": 0, "0x00": 0, "0x5": 5, "0x05": 5, "0xAb": 0xab,
		"0x" + strings.Repeat("0", 63) + "7": 7,
	} {
		have, err := decodeWord(&text)
		if err != nil || have != common.BigToHash(big.NewInt(want)) {
			t.Errorf("%q: have %s, %v, want %d", text, have, err, want)
		}
	}
	for _, text := range []string{"", "5", "0xg", "null", "0x" + strings.Repeat("0", 65)} {
		if have, err := decodeWord(&text); err == nil {
			t.Errorf("%q: have %s, want an error", text, have)
		}
	}
}

func FuzzDecodeWord(f *testing.F) {
	f.Add("0x1")
	f.Add("0x" + strings.Repeat("f", 64))
	f.Add("0X1")
	f.Fuzz(func(t *testing.T, text string) {
		word, err := decodeWord(&text)
		if err != nil {
			return
		}
		want, ok := new(big.Int).SetString("0"+strings.TrimPrefix(text, "0x"), 16)
		if !ok || common.BigToHash(want) != word {
			t.Errorf("%q: have %s, want %v", text, word, want)
		}
	})
}
