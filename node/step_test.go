package node_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"baler/entrypoint"
	"baler/event"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// While a block is taken in, the pool knows that an account's operation is mined and the state that operations are judged by does
// not. The account's next operation is judged again when the block is taken in, however long that takes.
func TestAnOperationThatComesWhileABlockIsTakenInIsNotRefusedForIt(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	var slot atomic.Pointer[string] // of the nonce that is read while the block is taken in
	reading, goOn, refused := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var read, judged sync.Once
	slow := &stack{chain: s.chain, eth: s.eth, config: s.config, funds: s.funds, sink: func(e event.Event) {
		if v, ok := e.(event.OperationValidated); ok && v.Stage == "admission" && v.Result == "refused" {
			judged.Do(func() { close(refused) })
		}
	}}
	slow.config.Sender.MaxBlocksToWaitForMine = 1000
	slow.serve(t, dial(t, between(t, s.chain.HTTPURL(), func(body []byte) {
		if want := slot.Load(); want != nil && bytes.Contains(body, []byte(*want)) {
			read.Do(func() {
				close(reading)
				<-goOn
			})
		}
	})), dial(t, s.chain.WSURL()))
	accounts := slow.accounts(t, userop.V07, 2, true)
	sends, waits := accounts[0], accounts[1]

	s.chain.Hold(func(*types.Transaction) bool { return true })
	first := sends.send(t, sends.op(t))
	slow.sendBundle(t)
	waits.send(t, waits.op(t))
	slow.mine(t, 20) // an operation that waits for so long is doubted: its nonce is read with the next block
	lane := entrypoint.NonceSlot(userop.V07, waits.address, uint256.Int{})
	slot.Store(new(hex.EncodeToString(lane[:])))
	s.chain.Release()
	if _, err := s.chain.Mine(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	within(t, reading, "nobody has read the nonce of the operation that waits")
	eventually(t, "the block's logs are not taken in", func() error {
		var found *struct{ BlockNumber *hexutil.Uint64 }
		slow.call(t, &found, "eth_getUserOperationByHash", first)
		if found == nil || found.BlockNumber == nil {
			return errors.New("the first operation is not known to be mined")
		}
		return nil
	})

	sent := make(chan error, 1)
	op := sends.op(t)
	go func() {
		var hash common.Hash
		sent <- slow.client.CallContext(t.Context(), &hash, "eth_sendUserOperation", op, sends.ep.Address)
	}()
	within(t, refused, "the operation was not judged while the block is taken in")
	close(goOn)
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
