package node

import (
	"context"
	"errors"
	"log/slog"
	"math/big"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/event"
	"baler/pool"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
)

// heldUntil is a lease that ends.
type heldUntil struct{ over *bool }

func (l heldUntil) Valid() bool           { return !*l.over }
func (l heldUntil) Lost() <-chan struct{} { return nil }

// poolOf is a node with a pool for other processes that has some operations, and whose last life knew some builders.
func poolOf(config Config, operations int, absent ...string) (*Node, []common.Hash) {
	n := &Node{config: config, log: slog.New(slog.DiscardHandler), sink: func(event.Event) {}, books: newBooks(), carriers: newCarriers(), left: newLeft(config.LeaseTTL)}
	n.pool = &mempool{pool: pool.New(pool.DefaultConfig()), sink: n.sink}
	n.head.Store(&head{header: &types.Header{Number: big.NewInt(100)}})
	n.desk = &desk{node: n, register: newRegister(&n.config)}
	ep := entrypoint.Canonical(userop.V07)
	var hashes []common.Hash
	for i := range operations {
		op := &pool.Operation{EntryPoint: ep, Hash: common.Hash{byte(i + 1)}, Op: &userop.UserOperation{
			Version: userop.V07, Sender: common.Address{byte(i + 1)}, MaxFeePerGas: *uint256.NewInt(9), MaxPriorityFeePerGas: *uint256.NewInt(9),
		}}
		n.pool.look(func(p *pool.Pool) { _, _ = p.Add(op) })
		hashes = append(hashes, op.Hash)
	}
	n.desk.register.begin(n)
	for _, name := range absent {
		n.desk.register.absent[name] = true
	}
	return n, hashes
}

func (n *Node) offered(t *testing.T, builder string) ([]common.Hash, error) {
	t.Helper()
	offer, err := n.desk.Candidates(t.Context(), pool.Query{
		Builder: builder, EntryPoint: entrypoint.Canonical(userop.V07).Address, MaxOps: 10, UntilBlock: 100_000,
	})
	hashes := hashesOf(offer.Operations)
	slices.SortFunc(hashes, common.Hash.Cmp)
	return hashes, err
}

func TestAPoolWaitsForTheBuildersOfItsLastLife(t *testing.T) {
	t.Parallel()
	const here, absent = "0x00000000000000000000000000000000000000aA", "0x00000000000000000000000000000000000000bB"
	inFlight := func(_ context.Context, key common.Address) (live, mined []common.Hash, err error) {
		if key != common.HexToAddress(absent) {
			t.Errorf("have the journal of %s read, want that of %s", key, absent)
		}
		return []common.Hash{{1}}, nil, nil
	}
	synctest.Test(t, func(t *testing.T) {
		n, all := poolOf(Config{InFlight: inFlight}, 3, here, absent)
		if err := n.desk.Resume(t.Context(), here, all[1:2], 200); err != nil {
			t.Fatal(err)
		}
		if have, err := n.offered(t, here); !errors.Is(err, ErrUnreachable) {
			t.Errorf("before the other builder has come: have %v, %v, want %v", have, err, ErrUnreachable)
		}
		<-time.After(buildersGrace) // of the bubble
		if have, err := n.offered(t, here); err != nil || !slices.Equal(have, all[1:]) {
			t.Errorf("after the grace: have %v, %v, want all but what the absent builder has in flight", have, err)
		}
		if _, err := n.offered(t, absent); !errors.Is(err, ErrNotResumed) {
			t.Errorf("a builder that has not resumed: have %v, want %v", err, ErrNotResumed)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		n, all := poolOf(Config{InFlight: inFlight}, 3, absent)
		for _, builder := range []string{absent, here} {
			if err := n.desk.Resume(t.Context(), builder, nil, 200); err != nil {
				t.Fatal(err)
			}
		}
		if have, err := n.offered(t, here); err != nil || len(have) != len(all) {
			t.Errorf("all have come: have %v, %v, want all at once", have, err)
		}
	})
}

// A builder says that it has an operation in a transaction that the pool does not have. When a client sends that operation once more, it is
// that builder's.
func TestAnOperationThatIsSentAgainIsOfItsBuilder(t *testing.T) {
	t.Parallel()
	n, all := poolOf(Config{}, 2)
	var gone *pool.Operation
	n.pool.look(func(p *pool.Pool) {
		gone = p.Get(all[0])
		_, _ = p.Remove(all[0], pool.Dropped, erc7562.NoEntity)
	})
	for builder, has := range map[string][]common.Hash{"x": {all[0]}, "y": nil} {
		if err := n.desk.Resume(t.Context(), builder, has, 200); err != nil {
			t.Fatal(err)
		}
	}
	keep := func(context.Context, *pool.Operation) error { return nil }
	if err := n.admit(t.Context(), gone, nil, door{add: (*pool.Pool).Add, keep: keep}); err != nil {
		t.Fatal(err)
	}
	for _, offer := range []struct {
		builder string
		want    []common.Hash
	}{{"y", all[1:]}, {"x", all[:1]}} { // x may have what nobody else has
		if have, err := n.offered(t, offer.builder); err != nil || !slices.Equal(have, offer.want) {
			t.Errorf("%s is offered %v, %v, want %v", offer.builder, have, err, offer.want)
		}
	}
}

// Operations of one sender are in transactions of two builders, and the pool does not know it of the second: what that says it has is
// nobody else's, also after the first is done.
func TestWhatABuilderPresentsIsNobodyElses(t *testing.T) {
	t.Parallel()
	n, all := poolOf(Config{}, 1)
	n.port = n.desk
	second := &pool.Operation{EntryPoint: entrypoint.Canonical(userop.V07), Hash: common.Hash{9}, NonceAhead: 1, Op: &userop.UserOperation{
		Version: userop.V07, Sender: common.Address{1}, Nonce: *uint256.NewInt(1), MaxFeePerGas: *uint256.NewInt(9), MaxPriorityFeePerGas: *uint256.NewInt(9),
	}}
	n.pool.look(func(p *pool.Pool) { _, _ = p.Add(second) })
	for _, builder := range []string{"x", "y", "z"} {
		if err := n.desk.Resume(t.Context(), builder, nil, 200); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := n.offered(t, "x"); err != nil || !slices.Equal(have, all) {
		t.Fatalf("x is offered %v, %v, want %v", have, err, all)
	}
	w, held := &worker{node: n, builder: "y"}, []common.Hash{second.Hash}
	if err := w.present(t.Context(), held, held, 200); err != nil {
		t.Fatal(err)
	}
	n.pool.do(func(p *pool.Pool) []pool.Removed {
		return p.Mined(pool.Inclusion{EntryPoint: second.EntryPoint.Address, Sender: second.Op.Sender, Hash: all[0], Block: 101})
	})
	if have, err := n.offered(t, "z"); err != nil || len(have) > 0 {
		t.Errorf("z is offered %v, %v, want nothing: the operation is in a transaction of y", have, err)
	}
	if have, err := n.offered(t, "y"); err != nil || !slices.Equal(have, held) {
		t.Errorf("y is offered %v, %v, want %v", have, err, held)
	}
}

// Where blocks are short, many come before the lease of a dead builder ends and somebody else goes on with its transactions: what it has
// in flight stays out of other bundles for that long.
func TestWhatAnAbsentBuilderHasInFlightOutlastsShortBlocks(t *testing.T) {
	t.Parallel()
	const here, absent = "0x00000000000000000000000000000000000000aA", "0x00000000000000000000000000000000000000bB"
	for name, test := range map[string]struct{ ttl, lasts time.Duration }{
		"a short lease": {4 * time.Second, leftClaimTime},
		"a long lease":  {5 * time.Minute, 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n, all := poolOf(Config{LeaseTTL: test.ttl, InFlight: func(context.Context, common.Address) (live, mined []common.Hash, err error) {
					return []common.Hash{{1}}, nil, nil
				}}, 3, absent)
				if err := n.desk.Resume(t.Context(), here, nil, 10_000); err != nil {
					t.Fatal(err)
				}
				<-time.After(buildersGrace)
				have, err := n.offered(t, here)
				for left := time.Now(); time.Since(left) < test.lasts; <-time.After(100 * time.Millisecond) {
					if err != nil || !slices.Equal(have, all[1:]) {
						t.Fatalf("%s after the builder was given up, at block %d: have %v, %v, want all but what it has in flight", time.Since(left), n.head.Load().number(), have, err)
					}
					n.nextHead()
					have, err = n.offered(t, here)
				}
				for range leftClaimBlocks + 2 {
					<-time.After(100 * time.Millisecond)
					n.nextHead()
				}
				if have, err := n.offered(t, here); err != nil || !slices.Equal(have, all) {
					t.Errorf("when its time is over: have %v, %v, want all", have, err)
				}
			})
		})
	}
}

// nextHead is a block without operations.
func (n *Node) nextHead() {
	last := n.head.Load().header
	next := &head{header: &types.Header{Number: new(big.Int).Add(last.Number, common.Big1), Time: last.Time + 1}}
	n.head.Store(next)
	n.tellPool(next)
}

func TestAPoolWhoseLeaseIsOverPromisesNothing(t *testing.T) {
	t.Parallel()
	over := false
	n, all := poolOf(Config{Lease: heldUntil{&over}}, 1)
	if err := n.desk.Resume(t.Context(), "a", nil, 200); err != nil {
		t.Fatal(err)
	}
	if have, err := n.offered(t, "a"); err != nil || !slices.Equal(have, all) {
		t.Errorf("have %v, %v, want all", have, err)
	}
	over = true
	if _, err := n.offered(t, "a"); !errors.Is(err, ErrUnreachable) {
		t.Errorf("Candidates: have %v, want %v", err, ErrUnreachable)
	}
	if _, err := n.desk.ExtendClaim(t.Context(), "a", all, 300); !errors.Is(err, ErrUnreachable) {
		t.Errorf("ExtendClaim: have %v, want %v", err, ErrUnreachable)
	}
	if err := n.desk.Resume(t.Context(), "b", nil, 300); !errors.Is(err, ErrUnreachable) {
		t.Errorf("Resume: have %v, want %v", err, ErrUnreachable)
	}
}

// What a builder finds out at another head than the pool's says nothing against an operation.
func TestARemovalCountsAtThePoolsHeadOnly(t *testing.T) {
	t.Parallel()
	n, all := poolOf(Config{}, 1)
	n.port = n.desk
	if applied, err := n.desk.Remove(t.Context(), common.Hash{1}, nil); applied || err != nil {
		t.Errorf("at another head: have %t, %v, want it not applied", applied, err)
	}
	n.moves.Add(1)
	if applied, err := n.desk.Remove(t.Context(), n.head.Load().header.Hash(), nil); applied || err != nil {
		t.Errorf("between two heads: have %t, %v, want it not applied", applied, err)
	}
	if left, _ := n.desk.Operations(t.Context(), all); len(left) != 1 {
		t.Errorf("have %d operations, want 1", len(left))
	}
}
