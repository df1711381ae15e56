package remote

import (
	"context"
	"errors"
	"testing"
	"time"

	"baler/event"
	"baler/node"
	"baler/pool"
	"baler/rejection"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
)

func TestACallReachesThePoolAndItsAnswerComesBack(t *testing.T) {
	p := newFakePool("one")
	p.operations = []*pool.Operation{pooled(1, 10), pooled(2, 10)}
	c := connected(t, ClientConfig{}, serve(t, quick(), "", p).url())

	offer, err := c.Builder().Candidates(t.Context(), pool.Query{Builder: "b", MaxOps: 10})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(node.Offer{Head: common.Hash{1}, BundleSize: 3, Operations: p.operations}, offer); diff != "" {
		t.Errorf("(-pool +builder):\n%s", diff)
	}
	if err := c.Edge().Admit(t.Context(), pooled(3, 10), uint256.NewInt(5)); err != nil {
		t.Error(err)
	}
	if p.admitted[pooled(3, 10).Hash] != 1 {
		t.Errorf("have %v admitted", p.admitted)
	}
	eventually(t, "the client has heard of the pool", func() bool { return c.Health() == nil })
}

func TestARefusalOfThePoolIsARefusalAtTheEdge(t *testing.T) {
	p := newFakePool("one")
	paymaster := common.Address{7}
	refusal := &rejection.Rejection{
		Kind: rejection.PaymasterDepositLow, Message: "paymaster deposit too low",
		Data: rejection.Data{Paymaster: &paymaster, RevertData: "0x" + string(make([]byte, 0))},
	}
	p.fail = refusal
	c := connected(t, ClientConfig{}, serve(t, quick(), "", p).url())
	have, ok := errors.AsType[*rejection.Rejection](c.Edge().Admit(t.Context(), pooled(1, 10), nil))
	if !ok {
		t.Fatalf("have %v, want a refusal", have)
	}
	if diff := cmp.Diff(refusal, have); diff != "" {
		t.Errorf("(-pool +edge):\n%s", diff)
	}
	if p.admitted[pooled(1, 10).Hash] != 1 {
		t.Errorf("have %d attempts, want 1: a refusal is an answer", p.admitted[pooled(1, 10).Hash])
	}
}

func TestACallThatIsNotAnsweredEndsWhenItsTimeIsOver(t *testing.T) {
	p := newFakePool("one")
	p.block = make(chan struct{})
	defer close(p.block)
	url := serve(t, quick(), "", p).url()
	hasty := connected(t, ClientConfig{BuilderTime: 100 * time.Millisecond}, url)
	if err := hasty.Edge().Admit(t.Context(), pooled(1, 10), nil); err != nil { // it is connected now
		t.Fatal(err)
	}
	_, err := hasty.Builder().Held(t.Context(), "b")
	if e, ok := errors.AsType[*Error](err); !ok || e.Cause != TimedOut || !errors.Is(err, node.ErrUnreachable) {
		t.Errorf("have %v, want that it timed out", err)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		t.Errorf("%v: the caller's own context has not ended", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	<-p.held
	go func() {
		<-p.held
		cancel()
	}()
	_, err = connected(t, ClientConfig{}, url).Builder().Held(ctx, "b")
	if e, ok := errors.AsType[*Error](err); !ok || e.Cause != Canceled || !errors.Is(err, context.Canceled) {
		t.Errorf("have %v, want that the caller gave up", err)
	}
}

func TestCallsAreToldOnBothSidesAndTheHeadToTheClient(t *testing.T) {
	p := newFakePool("one")
	s := serve(t, quick(), "", p)
	c := connected(t, ClientConfig{}, s.url())
	told := make(chan event.PoolAsked, 16)
	for _, side := range []interface{ Observe(event.Sink) }{s, c} {
		side.Observe(func(e event.Event) {
			if asked, is := e.(event.PoolAsked); is && asked.Method == "Admit" {
				told <- asked
			}
		})
	}
	s.Hear(event.HeadSeen{Number: 17, Hash: common.Hash{17}})
	if err := c.Edge().Admit(t.Context(), pooled(1, 10), nil); err != nil {
		t.Fatal(err)
	}
	p.fail = errors.New("the disk is full")
	if err := c.Edge().Admit(t.Context(), pooled(1, 10), nil); err == nil {
		t.Fatal("have no error")
	}
	for _, want := range []string{"served ok", "asked ok", "served failed", "asked failed"} {
		if have := <-told; have.Side+" "+have.Result != want || have.Took <= 0 {
			t.Errorf("have %+v, want %s", have, want)
		}
	}
	eventually(t, "the client knows the pool's head", func() bool {
		number, hash := c.Head()
		return number == 17 && hash == common.Hash{17}
	})
}
