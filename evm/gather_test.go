package evm_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"baler/evm"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// manyReads starts a read of one slot each, and returns what comes of them, in their order.
func manyReads(contexts []context.Context, view *evm.View) []chan error {
	answers := make([]chan error, len(contexts))
	for i, ctx := range contexts {
		answers[i] = make(chan error, 1)
		go func() {
			value, err := view.Storage(ctx, address(1), slotKey(byte(i)))
			if want := common.BigToHash(common.Big1); err == nil && value != want {
				err = fmt.Errorf("slot %d: have %s, want %s", i, value, want)
			}
			answers[i] <- err
		}()
		synctest.Wait() // they come one after the other
	}
	return answers
}

func slotsOfOne(n int) types.GenesisAlloc {
	storage := make(map[common.Hash]common.Hash)
	for i := range n {
		storage[slotKey(byte(i))] = common.BigToHash(common.Big1)
	}
	return types.GenesisAlloc{address(1): {Storage: storage}}
}

func contexts(n int) []context.Context {
	list := make([]context.Context, n)
	for i := range list {
		list[i] = context.Background()
	}
	return list
}

// What is wanted while reads are under way waits for one of them, and travels together.
func TestReadsThatComeTogetherTravelTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 40
		node := newFakeNode(slotsOfOne(many))
		node.gate = make(chan struct{})
		answers := manyReads(contexts(many), mustView(t, node, evm.Options{}))
		close(node.gate)
		for _, answer := range answers {
			if err := <-answer; err != nil {
				t.Error(err)
			}
		}
		if node.batches > 5 { // four at once, and one for all the others
			t.Errorf("have %d round trips for %d reads, want at most 5", node.batches, many)
		}
		if twice := node.askedTwice(); len(twice) > 0 {
			t.Errorf("have %v asked for more than once", twice)
		}
	})
}

// An operation does not wait for the reads of others where a round trip is long: as many are under way as come in that time.
func TestAFarNodeGetsMoreReadsAtOnce(t *testing.T) {
	for _, c := range []struct {
		away time.Duration
		want int // round trips of forty reads: those at once, and one for the others
	}{{0, 5}, {5 * time.Millisecond, 5}, {50 * time.Millisecond, 11}, {200 * time.Millisecond, 40}, {time.Minute, 40}} {
		synctest.Test(t, func(t *testing.T) {
			const many = 40
			node := newFakeNode(slotsOfOne(many + 1))
			var reads atomic.Int64 // of the clock: the second is when the first round trip ends
			view := mustView(t, node, evm.Options{Now: func() time.Time {
				if reads.Add(1) == 1 {
					return time.Unix(0, 0)
				}
				return time.Unix(0, 0).Add(c.away)
			}})
			if _, err := view.Storage(t.Context(), address(1), slotKey(many)); err != nil { // shows how far away the node is
				t.Fatal(err)
			}
			node.gate = make(chan struct{})
			before := node.batches
			answers := manyReads(contexts(many), view)
			close(node.gate)
			for _, answer := range answers {
				if err := <-answer; err != nil {
					t.Error(err)
				}
			}
			if have := node.batches - before; have != c.want {
				t.Errorf("%s away: have %d round trips, want %d", c.away, have, c.want)
			}
		})
	}
}

// Whoever reads for others may give up: the others get their values all the same.
func TestAReaderWhoGivesUpTakesNobodyAlong(t *testing.T) {
	for _, quitters := range [][]int{{0}, {4}, {0, 1, 2, 3}, {4, 5, 6}, {0, 4, 9}, {9}} {
		t.Run(fmt.Sprint(quitters), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const many = 10
				node := newFakeNode(slotsOfOne(many))
				node.gate = make(chan struct{})
				list := contexts(many)
				cancel := make(map[int]context.CancelFunc)
				for _, i := range quitters {
					ctx, stop := context.WithCancel(t.Context())
					list[i], cancel[i] = ctx, stop
				}
				view := mustView(t, node, evm.Options{})
				answers := manyReads(list, view)
				for _, i := range quitters {
					cancel[i]()
					synctest.Wait()
				}
				close(node.gate)
				for i, answer := range answers {
					err := <-answer
					if _, gone := cancel[i]; gone {
						if !errors.Is(err, context.Canceled) {
							t.Errorf("read %d: have error %v, want that it was given up", i, err)
						}
						continue
					}
					if err != nil {
						t.Errorf("read %d: %v", i, err)
					}
				}
				// Nothing is left behind that the next reader would wait for.
				for i := range many {
					if _, err := view.Storage(t.Context(), address(1), slotKey(byte(i))); err != nil {
						t.Errorf("read %d again: %v", i, err)
					}
				}
			})
		})
	}
}

// A node that fails fails everybody who reads, each with the node's error.
func TestAFailedTripIsTriedAgainByThoseWhoTravelledAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 10
		node := newFakeNode(slotsOfOne(many))
		node.gate, node.err = make(chan struct{}), errors.New("out of order")
		answers := manyReads(contexts(many), mustView(t, node, evm.Options{}))
		close(node.gate)
		for i, answer := range answers {
			if err := <-answer; !errors.Is(err, node.err) || !evm.IsStateError(err) {
				t.Errorf("read %d: have error %v, want the node's", i, err)
			}
		}
	})
}
