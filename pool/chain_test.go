package pool

import (
	"errors"
	"slices"
	"testing"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
)

func head(number, timestamp uint64) Head {
	return Head{Number: number, Timestamp: timestamp, BaseFee: *uint256.NewInt(10)}
}

func mined(op *Operation, block uint64) Inclusion {
	return Inclusion{op.EntryPoint.Address, op.Op.Sender, op.Op.Nonce, op.Hash, block}
}

func TestTimeRanges(t *testing.T) {
	p := newPool(t) // at block 100, second 1000
	refused(t, p, operation(1, valid(0, 1000)), rejection.OutOfTimeRange, "expired")
	blocks := func(op *Operation) { op.ValidityInBlocks = true }
	now, later, ends := operation(1, valid(1000, 0)), operation(2, valid(1002, 0)), operation(3, valid(0, 1002))
	behind := operation(3, nonce(0, 1), ahead(1))
	number := operation(4, valid(101, 103), blocks)
	add(t, p, now, later, ends, behind, number)
	wantOps(t, candidates(p, "a", 0), now, ends)
	wantOps(t, hashes(p.Dump(ep07.Address)), now, ends, behind, later, number)
	if have := p.Stats().Waiting; have != 2 {
		t.Errorf("have %d waiting, want 2", have)
	}

	wantRemoved(t, p.Head(head(101, 1001)))
	check(t, p)
	wantOps(t, candidates(p, "a", 0), now, ends, number)
	wantRemoved(t, p.Head(head(102, 1002)), Removed{ends, Expired}, Removed{behind, PredecessorRemoved})
	check(t, p)
	wantOps(t, candidates(p, "a", 0), now, later, number)
	p.Head(head(100, 1000)) // a reorg to an earlier head
	check(t, p)
	wantOps(t, candidates(p, "a", 0), now)
	wantRemoved(t, p.Head(head(103, 1003)), Removed{number, Expired})
	check(t, p)
}

func TestDumpHoldsWhatWaitsBehindAnother(t *testing.T) {
	p := newPool(t)
	a, b, c := operation(1), operation(1, nonce(0, 1), ahead(1), valid(2000, 0)), operation(1, nonce(0, 2), ahead(2))
	add(t, p, a, b, c)
	wantOps(t, hashes(p.Dump(ep07.Address)), a, b, c)
	wantOps(t, hashes(p.Dump(entrypoint.Canonical(userop.V08).Address)))
}

func TestMaxSecondsInPool(t *testing.T) {
	p := newPool(t, func(c *Config) { c.MaxSecondsInPool = 60 })
	old := operation(1, func(op *Operation) { op.AddedTime = 1000 })
	short := operation(2, valid(0, 1060), func(op *Operation) { op.AddedTime = 1030 })
	add(t, p, old, short)
	wantRemoved(t, p.Head(head(101, 1059)))
	wantRemoved(t, p.Head(head(102, 1060)), Removed{old, TooOld}, Removed{short, Expired})
	check(t, p)
}

func TestMinedTakesTheLaneUpToItsNonce(t *testing.T) {
	p := newPool(t)
	a, b, c, other := operation(1), operation(1, nonce(0, 1), ahead(1)), operation(1, nonce(0, 2), ahead(2)), operation(1, nonce(5, 0))
	add(t, p, a, b, c, other)
	wantRemoved(t, p.Mined(mined(b, 101)), Removed{a, NonceUsed}, Removed{b, Mined})
	check(t, p)
	wantOps(t, candidates(p, "x", 0), c)
	wantRemoved(t, p.Mined(mined(b, 101))) // told twice
	wantRemoved(t, p.SetNonce(ep07.Address, sender(1), uint256.Int{2}, 102))
	wantRemoved(t, p.SetNonce(ep07.Address, sender(1), uint256.Int{3}, 102), Removed{c, NonceUsed})
	check(t, p)
	wantOps(t, candidates(p, "x", 0), other)
}

func TestReorgBringsBack(t *testing.T) {
	p := newPool(t)
	p.SetDeposit(ep07.Address, *pm(1), *uint256.NewInt(100))
	a, b, kept := operation(1, paidBy(1, 40)), operation(1, nonce(0, 1), ahead(1), paidBy(1, 40)), operation(1, nonce(0, 2), ahead(2))
	loser, winner := operation(2), operation(2, fees(9000, 900))
	add(t, p, a, b, kept, loser)
	p.Claim("x", hashes([]*Operation{a}), 103)
	p.Mined(mined(a, 101))
	p.Mined(mined(winner, 101)) // a stranger's bundle had another operation with its nonce
	p.Head(head(101, 1001))
	p.Mined(mined(b, 102))
	p.Head(head(102, 1002))
	if have, want := p.ReputationOf(*pm(1)), (Reputation{*pm(1), 2, 2, OK}); have != want {
		t.Fatalf("reputation: have %+v, want %+v", have, want)
	}
	wantOps(t, candidates(p, "y", 0), kept)

	revived, removed := p.Reorg(100, 110)
	check(t, p)
	wantOps(t, hashes(revived), a, loser, b)
	wantRemoved(t, removed)
	if have, want := p.ReputationOf(*pm(1)), (Reputation{*pm(1), 2, 0, OK}); have != want {
		t.Fatalf("reputation: have %+v, want %+v", have, want)
	}
	// Its transaction is in flight again: nobody else may take what x had.
	wantOps(t, candidates(p, "y", 0), loser)
	wantOps(t, candidates(p, "x", 0), a, loser)
	wantOps(t, hashes(p.Dump(ep07.Address)), a, b, kept, loser)
	add(t, p, operation(1, nonce(0, 3), ahead(3)))

	if revived, removed := p.Reorg(100, 110); len(revived)+len(removed) != 0 {
		t.Fatalf("the same reorg again: have %v and %v", revived, removed)
	}
}

// Two builders' transactions with operations of one sender are in flight again: the sender can be held by one of them only, and
// what is in the other's transaction is nobody else's all the same.
func TestReorgLeavesWhatIsInFlightToItsBuilder(t *testing.T) {
	settle := func(t *testing.T) (p *Pool, a, b *Operation) {
		p = newPool(t)
		a, b = operation(1), operation(1, nonce(0, 1), ahead(1))
		add(t, p, a, b)
		p.Claim("x", hashes([]*Operation{a}), 110)
		p.Mined(mined(a, 101))
		p.Head(head(101, 1001))
		p.Claim("y", hashes([]*Operation{b}), 110)
		return p, a, b
	}
	for name, reorg := range map[string]func(p *Pool, b *Operation){
		"the second waits": func(p *Pool, _ *Operation) { p.Reorg(100, 110) },
		"the second was mined too": func(p *Pool, b *Operation) {
			p.Mined(mined(b, 102))
			p.Head(head(102, 1002))
			p.Reorg(100, 110)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, a, b := settle(t)
			reorg(p, b)
			check(t, p)
			p.Claim("x", hashes([]*Operation{a}), 110) // as its builder does that sends its transaction again
			for _, builder := range []string{"y", "z"} {
				wantOps(t, candidates(p, builder, 0))
			}
			wantOps(t, p.Claim("y", hashes([]*Operation{a}), 110), a)
			p.Release("y", hashes([]*Operation{a})) // not its own
			wantOps(t, candidates(p, "y", 0))
			p.Release("x", hashes([]*Operation{a}))
			wantOps(t, candidates(p, "y", 0), a)
		})
	}
	t.Run("until it is mined", func(t *testing.T) {
		p, a, b := settle(t)
		p.Reorg(100, 110)
		p.Mined(mined(a, 101))
		p.Head(head(101, 1001))
		wantOps(t, candidates(p, "y", 0), b)
	})
	t.Run("until its builder's time is over", func(t *testing.T) {
		p, a, b := settle(t)
		p.Reorg(100, 110)
		p.ExtendClaim("x", hashes([]*Operation{a}), 112)
		p.ExtendClaim("y", hashes([]*Operation{b}), 120)
		p.Head(head(112, 1012))
		wantOps(t, candidates(p, "y", 0))
		p.Head(head(113, 1013))
		wantOps(t, candidates(p, "y", 0), a)
	})
	t.Run("until its builder is gone", func(t *testing.T) {
		p, a, _ := settle(t)
		p.Reorg(100, 110)
		p.ReleaseAll("x")
		wantOps(t, candidates(p, "y", 0), a)
	})
}

// Who holds a sender for the sake of one operation does not get another one by a reorg that it never had.
func TestReorgGivesAnOperationToNobodyWhoNeverHadIt(t *testing.T) {
	p := newPool(t)
	a, b := operation(1), operation(1, nonce(0, 1), ahead(1))
	add(t, p, a, b)
	p.Claim("y", hashes([]*Operation{b}), 110)
	p.Mined(mined(a, 101)) // by a stranger
	p.Head(head(101, 1001))
	p.Reorg(100, 110)
	check(t, p)
	if have := p.Held("y"); !slices.Equal(have, hashes([]*Operation{b})) {
		t.Errorf("have %v held, want what was claimed: %v", have, hashes([]*Operation{b}))
	}
	if refused := p.Carry("x", hashes([]*Operation{a}), 110); len(refused) > 0 {
		t.Errorf("have %v refused to the builder that has it in a transaction, want none", refused)
	}
	wantOps(t, candidates(p, "y", 0))
}

func TestProlongKeepsWhatABuilderHas(t *testing.T) {
	p := newPool(t)
	a, b, c := operation(1), operation(1, nonce(0, 1), ahead(1)), operation(2)
	add(t, p, a, b, c)
	p.Claim("y", hashes([]*Operation{b}), 110)
	p.Carry("x", hashes([]*Operation{a, c}), 110)
	p.Prolong("x", 120)
	p.Head(head(111, 1011))
	wantOps(t, candidates(p, "z", 0)) // b is free, behind a
	p.Head(head(121, 1021))
	wantOps(t, candidates(p, "z", 0), a, c)
}

func TestReorgDropsWhatNoLongerFollows(t *testing.T) {
	p := newPool(t)
	first, third := operation(1), operation(1, nonce(0, 2))
	add(t, p, first)
	p.Mined(mined(first, 101))
	p.Mined(mined(operation(1, nonce(0, 1)), 101)) // not ours
	add(t, p, third)
	revived, removed := p.Reorg(100, 110)
	check(t, p)
	wantOps(t, hashes(revived), first)
	wantRemoved(t, removed, Removed{third, PredecessorRemoved})
}

func TestReorgForgetsBeyondItsDepth(t *testing.T) {
	p := newPool(t, func(c *Config) { c.ReorgDepth = 3 })
	a, b := operation(1), operation(2)
	add(t, p, a, b)
	p.Mined(mined(a, 101))
	p.Mined(mined(b, 102))
	p.Head(head(104, 1004))
	if revived, _ := p.Reorg(100, 0); len(revived) != 1 || revived[0] != b {
		t.Fatalf("have %d operations back, want the one of block 102", len(revived))
	}
	p.Head(head(200, 2000))
	if n := len(p.history.next) + len(p.history.marks) + len(p.history.records); n != 0 {
		t.Fatalf("the history still holds %d things", n)
	}
}

func TestReorgKeepsTheByteBudget(t *testing.T) {
	size := sizeOf(operation(1))
	p := newPool(t, func(c *Config) { c.MaxBytes = 2 * size })
	rich, poor, middle := operation(1, fees(1000, 90)), operation(2, fees(1000, 10)), operation(3, fees(1000, 50))
	add(t, p, rich, poor)
	p.Mined(mined(rich, 101))
	add(t, p, middle)
	_, removed := p.Reorg(100, 0)
	check(t, p)
	wantRemoved(t, removed, Removed{poor, Evicted})
}

func TestReputation(t *testing.T) {
	deposit := func(p *Pool) { p.SetDeposit(ep07.Address, *pm(1), *uint256.NewInt(1e9)) }
	st := staked(Staked{Paymaster: true})
	t.Run("status by the ERC's formula", func(t *testing.T) {
		p := newPool(t)
		for _, tt := range []struct {
			seen, included uint64
			want           Status
		}{{0, 0, OK}, {109, 0, OK}, {110, 0, Throttled}, {109 + 50, 5, OK}, {160, 5, Throttled}, {509, 0, Throttled}, {510, 0, Banned}, {560, 5, Banned}, {10_000, 0, Banned}} {
			p.SetReputation([]Reputation{{Address: *pm(1), OpsSeen: tt.seen, OpsIncluded: tt.included}})
			if have := p.ReputationOf(*pm(1)).Status; have != tt.want {
				t.Errorf("%d seen, %d included: have %v, want %v", tt.seen, tt.included, have, tt.want)
			}
			check(t, p)
		}
	})
	t.Run("a throttled entity: four in the pool, four in a bundle, ten blocks", func(t *testing.T) {
		p := newPool(t)
		deposit(p)
		p.config.ThrottledEntityBundleCount = 3
		p.SetReputation([]Reputation{{Address: *pm(1), OpsSeen: 110}})
		var ops []*Operation
		for i := range uint64(4) {
			ops = append(ops, operation(i, paidBy(1, 1), st, func(op *Operation) { op.AddedBlock = 100 + i }))
		}
		add(t, p, ops...)
		refused(t, p, operation(9, paidBy(1, 1), st), rejection.Throttled, "throttled")
		wantOps(t, candidates(p, "x", 0), ops[:3]...)
		wantRemoved(t, p.Head(head(110, 1010)))
		wantRemoved(t, p.Head(head(112, 1012)), Removed{ops[0], ThrottledTooLong}, Removed{ops[1], ThrottledTooLong})
		check(t, p)
	})
	t.Run("GREP-010 a banned entity's operations leave", func(t *testing.T) {
		p := newPool(t)
		deposit(p)
		a, b, behind := operation(1, paidBy(1, 1), st), operation(2), operation(1, nonce(0, 1), ahead(1))
		add(t, p, a, b, behind)
		removed := p.SetReputation([]Reputation{{Address: *pm(1), OpsSeen: 10_000}})
		wantRemoved(t, removed, Removed{a, EntityBanned}, Removed{behind, PredecessorRemoved})
		refused(t, p, operation(3, paidBy(1, 1), st), rejection.Throttled, "paymaster")
	})
	t.Run("GREP-040 also if the operation has left the pool since", func(t *testing.T) {
		p := newPool(t)
		deposit(p)
		a, b := operation(1, paidBy(1, 1)), operation(2, paidBy(1, 1))
		add(t, p, a, b)
		if _, err := p.Remove(a.Hash, ValidationFailed, erc7562.Paymaster); err != nil {
			t.Fatal(err)
		}
		wantRemoved(t, p.Blame(a, erc7562.Sender)) // unstaked: nobody to ban
		wantRemoved(t, p.Blame(a, erc7562.Paymaster), Removed{b, EntityBanned})
		check(t, p)
	})
	t.Run("GREP-040 who makes a bundle fail is banned", func(t *testing.T) {
		p := newPool(t)
		deposit(p)
		a, b := operation(1, paidBy(1, 1)), operation(2, paidBy(1, 1))
		add(t, p, a, b)
		removed, err := p.Remove(a.Hash, BundleFailed, erc7562.Paymaster)
		if err != nil {
			t.Fatal(err)
		}
		wantRemoved(t, removed, Removed{a, BundleFailed}, Removed{b, EntityBanned})
		check(t, p)
	})
	t.Run("EREP-015 a paymaster is not charged for others' failures", func(t *testing.T) {
		p := newPool(t)
		deposit(p)
		a := operation(1, paidBy(1, 1))
		add(t, p, a)
		if have := p.ReputationOf(*pm(1)).OpsSeen; have != 1 {
			t.Fatalf("have %d seen, want 1", have)
		}
		if _, err := p.Remove(a.Hash, ValidationFailed, erc7562.Sender); err != nil {
			t.Fatal(err)
		}
		if have := p.ReputationOf(*pm(1)).OpsSeen; have != 0 {
			t.Fatalf("have %d seen, want 0", have)
		}
	})
	t.Run("EREP-030 a staked account answers for its paymaster", func(t *testing.T) {
		p := newPool(t)
		deposit(p)
		for i, accountStaked := range []bool{true, false} {
			a := operation(1, paidBy(1, 1), staked(Staked{Sender: accountStaked, Paymaster: true}), calldata(i))
			add(t, p, a)
			if _, err := p.Remove(a.Hash, ValidationFailed, erc7562.Paymaster); err != nil {
				t.Fatal(err)
			}
		}
		// The account keeps what it was charged with, the paymaster only what it failed with the other account.
		want := []Reputation{{*pm(1), 1, 0, OK}, {sender(1), 1, 0, OK}}
		if diff := cmp.Diff(want, p.DumpReputation()); diff != "" {
			t.Errorf("reputations (-want +have):\n%s", diff)
		}
	})
	t.Run("GREP-050 a replacement moves the charge, and charges nobody twice", func(t *testing.T) {
		p := newPool(t)
		deposit(p)
		p.SetDeposit(ep07.Address, *pm(2), *uint256.NewInt(1e9))
		charged := func(first, second uint64) {
			t.Helper()
			for n, want := range map[uint64]uint64{1: first, 2: second} {
				if have := p.ReputationOf(*pm(n)).OpsSeen; have != want {
					t.Errorf("paymaster %d: have %d seen, want %d", n, have, want)
				}
			}
		}
		add(t, p, operation(1, paidBy(1, 1)))
		charged(1, 0)
		add(t, p, operation(1, paidBy(1, 1), fees(2000, 200)))
		charged(1, 0)
		add(t, p, operation(1, paidBy(2, 1), fees(3000, 300)))
		charged(0, 1)
		add(t, p, operation(1, fees(4000, 400)))
		charged(0, 0)
		// A record whose charge was taken back is told until the hour is over.
		if have := len(p.DumpReputation()); have != 2 {
			t.Errorf("have %d records, want 2", have)
		}
		if p.Decay(1); len(p.DumpReputation()) != 0 {
			t.Errorf("an hour later: have %v, want none", p.DumpReputation())
		}
		check(t, p)
	})
	t.Run("what comes in again after a restart is not charged again", func(t *testing.T) {
		p := newPool(t)
		deposit(p)
		if _, err := p.Readmit(operation(1, paidBy(1, 1), st)); err != nil {
			t.Fatal(err)
		}
		if have := p.ReputationOf(*pm(1)).OpsSeen; have != 0 {
			t.Errorf("have %d seen, want 0", have)
		}
	})
	t.Run("changed records are told once", func(t *testing.T) {
		p := newPool(t)
		deposit(p)
		add(t, p, operation(1, paidBy(1, 1)))
		want := []Reputation{{*pm(1), 1, 0, OK}}
		if diff := cmp.Diff(want, p.ChangedReputation()); diff != "" {
			t.Errorf("changed (-want +have):\n%s", diff)
		}
		if have := p.ChangedReputation(); len(have) != 0 {
			t.Errorf("told again: %v", have)
		}
		p.ClearReputation()
		if diff := cmp.Diff([]Reputation{{Address: *pm(1)}}, p.ChangedReputation()); diff != "" {
			t.Errorf("cleared (-want +have):\n%s", diff)
		}
	})
	t.Run("an unstaked factory is charged only for its own failures", func(t *testing.T) {
		p := newPool(t)
		for i, culprit := range []erc7562.Entity{erc7562.Sender, erc7562.Factory} {
			a := operation(1, madeBy(1), calldata(i))
			add(t, p, a)
			if _, err := p.Remove(a.Hash, ValidationFailed, culprit); err != nil {
				t.Fatal(err)
			}
		}
		if have := p.ReputationOf(*fac(1)).OpsSeen; have != 1 {
			t.Fatalf("have %d seen, want 1", have)
		}
	})
	t.Run("hourly decay", func(t *testing.T) {
		p := newPool(t)
		p.SetReputation([]Reputation{{Address: *pm(1), OpsSeen: 240, OpsIncluded: 24}, {Address: *pm(2), OpsSeen: 1}, {Address: *pm(3), OpsSeen: 1<<64 - 1}})
		p.Decay(1)
		want := []Reputation{{*pm(1), 230, 23, OK}, {*pm(3), (1<<64-1)/24*23 + (1<<64-1)%24*23/24, 0, Banned}}
		if diff := cmp.Diff(want, p.DumpReputation()); diff != "" {
			t.Errorf("reputations (-want +have):\n%s", diff)
		}
		check(t, p)
		p.Decay(96)
		if have := p.ReputationOf(*pm(1)); have.OpsSeen > 3 || have.Status != OK {
			t.Errorf("after 4 days: have %+v, want about 1 %%", have)
		}
		p.ClearReputation()
		if have := p.DumpReputation(); len(have) != 0 {
			t.Errorf("after clearing: have %v", have)
		}
	})
}

func TestClear(t *testing.T) {
	p := newPool(t)
	p.SetDeposit(ep07.Address, *pm(1), *uint256.NewInt(100))
	a, b := operation(1, paidBy(1, 1)), operation(2)
	add(t, p, a, b)
	p.Claim("x", hashes([]*Operation{a}), 200)
	wantRemoved(t, p.Clear(), Removed{a, Cleared}, Removed{b, Cleared})
	check(t, p)
	if s := p.Stats(); s.Operations != 0 || s.Bytes != 0 || s.Claimed != 0 || len(p.EntryPoints()) != 0 {
		t.Errorf("have %+v, want nothing", s)
	}
	add(t, p, b)
}

func TestRemoveUnknown(t *testing.T) {
	p := newPool(t)
	if _, err := p.Remove(common.Hash{1}, Dropped, erc7562.NoEntity); !errors.Is(err, ErrUnknown) {
		t.Fatalf("have %v, want %v", err, ErrUnknown)
	}
	if p.Get(common.Hash{1}) != nil || p.Holder(common.Hash{1}) != "" {
		t.Fatal("an unknown operation is there")
	}
}

func TestEntryPoints(t *testing.T) {
	p := newPool(t)
	v06, v09 := entrypoint.Canonical(userop.V06), entrypoint.Canonical(userop.V09)
	add(t, p, operation(1, at(v09)), operation(2, at(v06)), operation(3, valid(2000, 0)))
	if have, want := p.EntryPoints(), []entrypoint.EntryPoint{v06, v09}; !slices.Equal(have, want) {
		t.Fatalf("have %v, want %v", have, want)
	}
	if have := p.Stats().EntryPoints[ep07.Address]; have != 1 {
		t.Fatalf("have %d operations of v0.7, want 1", have)
	}
}

func TestReasonsHaveWords(t *testing.T) {
	seen := make(map[string]bool)
	for r := Mined; r <= Cleared; r++ {
		if s := r.String(); seen[s] || contains(s, "reason ") {
			t.Errorf("reason %d reads %q", r, s)
		} else {
			seen[s] = true
		}
	}
}

func TestReorgRestoresWhatIsCounted(t *testing.T) {
	delegated := func(n uint64) change {
		return func(op *Operation) { op.Op.Authorization = &types.SetCodeAuthorization{Address: address('d', n)} }
	}
	p := newPool(t)
	a, b := operation(1, madeBy(1)), operation(2, delegated(1))
	add(t, p, a, b)
	p.Mined(mined(operation(1, fees(9000, 900)), 101))
	p.Mined(mined(b, 101))
	if have := p.ReputationOf(*fac(1)).OpsSeen; have != 0 {
		t.Fatalf("have %d seen, want 0: the operation went to a stranger", have)
	}
	// Meanwhile the sender delegated to another contract: both together may not be pending (AUTH-040).
	add(t, p, operation(2, nonce(1, 0), delegated(2)))
	revived, _ := p.Reorg(100, 0)
	check(t, p)
	wantOps(t, hashes(revived), a)
	if have := p.ReputationOf(*fac(1)).OpsSeen; have != 1 {
		t.Fatalf("have %d seen, want 1", have)
	}
}

// A paymaster nobody's operation names is forgotten, however many were asked about.
func TestUnusedDepositsAreForgotten(t *testing.T) {
	p := newPool(t)
	for i := range uint64(5) {
		p.SetDeposit(ep07.Address, *pm(i), *uint256.NewInt(100))
	}
	add(t, p, operation(1, paidBy(1, 60)))
	p.Head(head(101, 1001))
	check(t, p)
	if len(p.paymasters) != 1 {
		t.Fatalf("have %d deposits, want the one in use", len(p.paymasters))
	}
	refused(t, p, operation(2, paidBy(1, 41)), rejection.PaymasterDepositLow, "has 100 wei")
	refused(t, p, operation(2, paidBy(2, 1)), rejection.PaymasterDepositLow, "has 0 wei")
}
