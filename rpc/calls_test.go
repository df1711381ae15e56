package rpc

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

func TestEveryAnsweredCallIsTold(t *testing.T) {
	t.Parallel()
	type told struct {
		method string
		code   int
	}
	var mu sync.Mutex
	var have []told
	backend := newFakeBackend()
	s := serve(t, backend, Config{Baler: backend, OnCall: func(method string, code int, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		if took < 0 {
			t.Errorf("%s: took %s", method, took)
		}
		have = append(have, told{method, code})
	}})
	post(t, s.url, `{"jsonrpc":"2.0","id":1,"method":"baler_getUserOperationStatus","params":["`+hashInternal.Hex()+`"]}`)
	post(t, s.url, `{"jsonrpc":"2.0","id":1,"method":"baler_getUserOperationStatus","params":["`+common.Hash{}.Hex()+`"]}`)
	post(t, s.url, `{"jsonrpc":"2.0","id":1,"method":"eth_nothing","params":[]}`) // nobody's call
	want := []told{{"baler_getUserOperationStatus", codeInternal}, {"baler_getUserOperationStatus", 0}}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(have, want) {
		t.Errorf("have %v, want %v", have, want)
	}
}
