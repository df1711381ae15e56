package node_test

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"baler/event"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// While a block is taken in, the pool knows that an account's operation is mined and the state that operations are judged by does
// not. The account's next operation is judged again when the block is taken in, however long that takes.
func TestAnOperationThatComesWhileABlockIsTakenInIsNotRefusedForIt(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	var slow atomic.Bool // what is asked for while a block is taken in has no answer
	reading, waits, refused := make(chan struct{}), make(chan struct{}), make(chan struct{})
	goOn := sync.OnceFunc(func() { close(waits) })
	defer goOn()
	var read, judged sync.Once
	b := &stack{chain: s.chain, eth: s.eth, config: s.config, funds: s.funds, sink: func(e event.Event) {
		if v, ok := e.(event.OperationValidated); ok && v.Stage == "admission" && v.Result == "refused" {
			judged.Do(func() { close(refused) })
		}
	}}
	b.serve(t, dial(t, between(t, s.chain.HTTPURL(), func(body []byte) {
		if slow.Load() && bytes.Contains(body, []byte("eth_feeHistory")) {
			read.Do(func() {
				close(reading)
				<-waits
			})
		}
	})), dial(t, s.chain.WSURL()))
	sends := b.account(t, userop.V07, true)
	b.mine(t, 1)
	first := sends.send(t, sends.op(t))
	b.sendBundle(t)
	slow.Store(true)
	if _, err := s.chain.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	within(t, reading, "nobody has asked for fees")
	eventually(t, "the block's logs are not taken in", func() error {
		var found *struct{ BlockNumber *hexutil.Uint64 }
		b.call(t, &found, "eth_getUserOperationByHash", first)
		if found == nil || found.BlockNumber == nil {
			return errors.New("the first operation is not known to be mined")
		}
		return nil
	})

	sent := make(chan error, 1)
	op := sends.op(t)
	go func() {
		var hash common.Hash
		sent <- b.client.CallContext(t.Context(), &hash, "eth_sendUserOperation", op, sends.ep.Address)
	}()
	within(t, refused, "the operation was not judged while the block is taken in")
	goOn()
	select {
	case err := <-sent:
		if err != nil {
			t.Errorf("have %v, want the operation accepted", err)
		}
	case <-time.After(waiting):
		t.Fatal("the operation has no answer")
	}
}

// within fails the test if something does not happen in time.
func within(t *testing.T, happens <-chan struct{}, otherwise string) {
	t.Helper()
	select {
	case <-happens:
	case <-time.After(waiting):
		t.Fatal(otherwise)
	}
}
