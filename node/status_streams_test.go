package node

import (
	"sync"
	"testing"

	"baler/event"
	"baler/rpc"

	"github.com/ethereum/go-ethereum/common"
)

func TestASubscriberHearsItsTopicInOrder(t *testing.T) {
	t.Parallel()
	s := newStreams(8)
	var passed []event.Event
	sink := heard(newTimeline(10, new(clock).now), s, func(e event.Event) { passed = append(passed, e) }, nil).own
	operations, stopOperations := s.watch(rpc.TopicOperations)
	bundles, stopBundles := s.watch(rpc.TopicBundles)
	senders, stopSenders := s.watch(rpc.TopicSenders)
	both := []common.Hash{hashOf(1), hashOf(2)}
	all := []event.Event{
		event.OperationReceived{Hash: both[0]},
		event.BundleProposed{Hashes: both},
		event.SenderMoved{From: "Building", To: "Pending"},
		event.BundleSent{Hashes: both, Operations: 2, Answer: "rejected"},
		event.Alert{Kind: "signer balance low"},
		event.BundleMined{Operations: 0},
		event.HeadSeen{Number: 1},
	}
	for _, e := range all {
		sink(e)
	}
	for _, stop := range []func(){stopOperations, stopBundles, stopSenders, stopSenders} { // twice is no mistake
		stop()
	}
	want := []string{"received 1", "bundled 1", "bundled 2", "refused 1", "refused 2"}
	for n := range operations {
		o, ok := n.(rpc.OperationNotice)
		if have := o.Entry.Event + " " + string('0'+rune(o.Hash[31])); !ok || len(want) == 0 || have != want[0] {
			t.Fatalf("operations: have %s, want %v next", have, want)
		}
		want = want[1:]
	}
	wantBundles := []string{"proposed", "refused", "mined"}
	for n := range bundles {
		b, ok := n.(rpc.BundleNotice)
		if !ok || len(wantBundles) == 0 || b.Event != wantBundles[0] || b.Cancels != (b.Event == "mined") {
			t.Fatalf("bundles: have %+v, want %v next", n, wantBundles)
		}
		wantBundles = wantBundles[1:]
	}
	moves := 0
	for range senders {
		moves++
	}
	if len(want) != 0 || len(wantBundles) != 0 || moves != 2 || len(passed) != len(all) {
		t.Errorf("have not heard %v, %v; %d of senders, %d passed on; want all, 2, %d", want, wantBundles, moves, len(passed), len(all))
	}
}

func TestASubscriberThatDoesNotReadIsLetGoAndHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	const buffer = 4
	s := newStreams(buffer)
	slow, stopSlow := s.watch(rpc.TopicSenders)
	quick, stopQuick := s.watch(rpc.TopicSenders)
	defer stopQuick()
	sink := heard(newTimeline(10, new(clock).now), s, nil, nil).own
	for i := range 3 * buffer {
		sink(event.SenderMoved{Block: uint64(i)})
		if n, ok := (<-quick).(rpc.SenderNotice); !ok || n.Block != uint64(i) {
			t.Fatalf("the other subscriber: have %+v, want block %d", n, i)
		}
	}
	got := 0
	for range slow { // ends: its channel is closed
		got++
	}
	if got != buffer {
		t.Errorf("have %d notices, want the %d that were buffered", got, buffer)
	}
	stopSlow()
	if len(s.open) != 1 {
		t.Errorf("have %d subscribers, want 1", len(s.open))
	}
}

func TestSubscribersComeAndGoWhileEventsPass(t *testing.T) {
	t.Parallel()
	s := newStreams(2)
	sink := heard(newTimeline(10, new(clock).now), s, nil, nil).own
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 200 {
				notices, stop := s.watch(rpc.TopicOperations)
				sink(event.OperationReceived{Hash: hashOf(1)})
				<-notices
				stop()
			}
		})
	}
	group.Wait()
	if len(s.open) != 0 {
		t.Errorf("have %d subscribers, want none", len(s.open))
	}
}
