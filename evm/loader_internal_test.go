package evm

import (
	"bytes"
	"errors"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// Whatever a node answers, it is either as many words as were asked for, each in its place, or an error.
func FuzzLoaderAnswers(f *testing.F) {
	f.Add([]byte{1, 2, 3}, []byte{}, uint8(1), uint8(3))
	f.Add(bytes.Repeat([]byte{7}, 128), bytes.Repeat([]byte{9}, 96), uint8(2), uint8(3))
	f.Fuzz(func(t *testing.T, first, second []byte, accounts, slots uint8) {
		addrs := make([]common.Address, accounts%8)
		keys := make([]Slot, slots%8)
		for i := range addrs {
			addrs[i] = common.Address{19: byte(i)}
		}
		for i := range keys {
			keys[i] = Slot{common.Address{19: byte(7 - i%3)}, common.Hash{31: byte(i)}}
		}
		c := newLoaderCalls(addrs, keys, blockRef{})
		answers := [][]byte{first, second}
		for i := range c.calls {
			c.answers[i] = (*hexutil.Bytes)(&answers[i%2])
		}
		gotAccounts, gotSlots, err := c.decode()
		if err != nil {
			if !errors.Is(err, errLoader) {
				t.Fatalf("have %v, want errLoader", err)
			}
			return
		}
		if len(gotAccounts) != len(addrs) || len(gotSlots) != len(keys) {
			t.Fatalf("have %d accounts and %d slots, want %d and %d", len(gotAccounts), len(gotSlots), len(addrs), len(keys))
		}
		if len(keys) == 0 {
			return
		}
		answer := answers[(len(c.calls)-1)%2]
		for at, from := range c.order {
			if gotSlots[from] != common.Hash(answer[32*at:]) {
				t.Errorf("slot %d: have %s, want word %d", from, gotSlots[from], at)
			}
		}
	})
}
