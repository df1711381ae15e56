package remote

import (
	"context"
	"sync"
	"testing"

	"baler/entrypoint"
	"baler/pool"
	pb "baler/remote/remotev1"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
)

// candidates asks for all of them.
func candidates(t *testing.T, c *Client) []*pool.Operation {
	t.Helper()
	offer, err := c.Builder().Candidates(t.Context(), pool.Query{Builder: "b", MaxOps: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return offer.Operations
}

func TestABuilderGetsAnOperationOnceAndThenItsHash(t *testing.T) {
	p := newFakePool("one")
	for i := range 10 {
		p.operations = append(p.operations, pooled(i, 100))
	}
	s := serve(t, quick(), "", p)
	c := connected(t, ClientConfig{}, s.url())
	first := candidates(t, c)
	if diff := cmp.Diff(p.operations, first); diff != "" {
		t.Fatalf("(-pool +builder):\n%s", diff)
	}
	p.mu.Lock()
	p.operations = append([]*pool.Operation{pooled(50, 100)}, p.operations...)
	p.mu.Unlock()
	again := candidates(t, c)
	if diff := cmp.Diff(p.operations, again); diff != "" {
		t.Fatalf("(-pool +builder):\n%s", diff)
	}
	for i, op := range first {
		if again[i+1] != op {
			t.Errorf("operation %d is another copy", i)
		}
	}
	if len(p.asked) != 0 {
		t.Errorf("%d operations were asked for by hash", len(p.asked))
	}
	// Another client has nothing yet.
	if diff := cmp.Diff(p.operations, candidates(t, connected(t, ClientConfig{}, s.url()))); diff != "" {
		t.Errorf("(-pool +builder):\n%s", diff)
	}
}

func TestAnOperationThatCameAgainIsAnotherEdition(t *testing.T) {
	p := newFakePool("one")
	p.operations = []*pool.Operation{pooled(1, 100)}
	s := serve(t, quick(), "", p)
	c := connected(t, ClientConfig{}, s.url())
	candidates(t, c)
	again := pooled(1, 100)
	again.AddedBlock, again.NonceAhead = 200, 3
	p.mu.Lock()
	p.operations = []*pool.Operation{again}
	p.mu.Unlock()
	if diff := cmp.Diff(p.operations, candidates(t, c)); diff != "" {
		t.Errorf("(-pool +builder):\n%s", diff)
	}
}

func TestWhatWasLostOnTheWayIsAskedForAgain(t *testing.T) {
	p := newFakePool("one")
	p.operations = []*pool.Operation{pooled(1, 100), pooled(2, 100), pooled(3, 100)}
	s := serve(t, quick(), "", p)
	c := connected(t, ClientConfig{}, s.url())
	candidates(t, c)
	c.cached = newCached() // as if no answer had arrived
	if diff := cmp.Diff(p.operations, candidates(t, c)); diff != "" {
		t.Errorf("(-pool +builder):\n%s", diff)
	}
	if len(p.asked) != 3 {
		t.Errorf("have %d operations asked for by hash, want 3", len(p.asked))
	}
	candidates(t, c)
	if len(p.asked) != 3 {
		t.Errorf("have %d operations asked for by hash, want the 3 of before: they are remembered", len(p.asked))
	}

	c.cached = newCached()
	gone := &vanishing{fakePool: p, gone: pooled(2, 100).Hash}
	s.Lead(gone, fakeEdge{pool: p})
	if diff := cmp.Diff([]*pool.Operation{p.operations[0], p.operations[2]}, candidates(t, c)); diff != "" {
		t.Errorf("one has left the pool meanwhile (-want +builder):\n%s", diff)
	}
}

// vanishing is a pool from which an operation disappears between two calls.
type vanishing struct {
	*fakePool
	gone common.Hash
}

func (v *vanishing) Operations(ctx context.Context, hashes []common.Hash) ([]*pool.Operation, error) {
	ops, err := v.fakePool.Operations(ctx, hashes)
	kept := ops[:0]
	for _, op := range ops {
		if op.Hash != v.gone {
			kept = append(kept, op)
		}
	}
	return kept, err
}

func TestAProposalOverTenThousandOperationsMovesTheirHashes(t *testing.T) {
	p := newFakePool("one")
	for i := range 10_000 {
		p.operations = append(p.operations, pooled(i, 300))
	}
	s := serve(t, quick(), "", p)
	c := connected(t, ClientConfig{}, s.url())
	if have := candidates(t, c); len(have) != 10_000 || have[9_999].Hash != p.operations[9_999].Hash {
		t.Fatalf("have %d operations, want 10,000 in order", len(have))
	}
	h := &builderHandler{s.Server}
	ctx := context.WithValue(t.Context(), termKey{}, s.term.Load())
	answer, err := h.Candidates(ctx, &pb.CandidatesRequest{Client: c.id, Query: encodeQuery(pool.Query{MaxOps: 10_000})})
	if err != nil {
		t.Fatal(err)
	}
	if size := proto.Size(answer); size > 10_000*48 {
		t.Errorf("have %d bytes, want at most 48 for an operation", size)
	}
	all, err := h.Operations(ctx, &pb.OperationsRequest{Hashes: encodeHashes([]common.Hash{p.operations[0].Hash})})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("an answer over 10,000 operations: %d bytes, of which whole ones would take %d", proto.Size(answer), 10_000*proto.Size(all))
}

func TestADumpOfALargePoolComesWhole(t *testing.T) {
	p := newFakePool("one")
	for i := range 40 {
		p.operations = append(p.operations, pooled(i, 100_000)) // 200 kB each as JSON
	}
	c := connected(t, ClientConfig{}, serve(t, quick(), "", p).url())
	ops, err := c.Edge().DumpMempool(t.Context(), entrypoint.Canonical(userop.V07))
	if err != nil || len(ops) != 40 || ops[39].Sender != p.operations[39].Op.Sender {
		t.Errorf("have %d operations, %v, want 40", len(ops), err)
	}
	if have := candidates(t, c); len(have) != 40 { // more than one answer holds
		t.Errorf("have %d candidates, want 40", len(have))
	}
}

func TestManyBuildersOfOneProcessAskAtOnce(t *testing.T) {
	p := newFakePool("one")
	for i := range 200 {
		p.operations = append(p.operations, pooled(i, 100))
	}
	c := connected(t, ClientConfig{}, serve(t, quick(), "", p).url())
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			offer, err := c.Builder().Candidates(t.Context(), pool.Query{Builder: "b", MaxOps: 200})
			if err != nil || len(offer.Operations) != 200 {
				t.Errorf("have %d operations, %v, want 200", len(offer.Operations), err)
			}
		})
	}
	all.Wait()
}
