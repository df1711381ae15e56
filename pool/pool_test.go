package pool

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"baler/entrypoint"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
)

var ep07 = entrypoint.Canonical(userop.V07)

// address returns a distinct address for each role and number.
func address(role byte, n uint64) (a common.Address) {
	a[0] = role
	binary.BigEndian.PutUint64(a[12:], n)
	return a
}

func sender(n uint64) common.Address { return address('s', n) }
func pm(n uint64) *common.Address    { return new(address('p', n)) }
func fac(n uint64) *common.Address   { return new(address('f', n)) }

// change varies an operation of the tests.
type change func(*Operation)

func nonce(key, seq uint64) change {
	return func(op *Operation) { op.Op.Nonce = uint256.Int{seq, key} }
}

func fees(maxFee, tip uint64) change {
	return func(op *Operation) {
		op.Op.MaxFeePerGas, op.Op.MaxPriorityFeePerGas = *uint256.NewInt(maxFee), *uint256.NewInt(tip)
	}
}
func ahead(n uint64) change { return func(op *Operation) { op.NonceAhead = n } }
func paidBy(n, wei uint64) change {
	return func(op *Operation) { op.Op.Paymaster = pm(n); op.Prefund = *uint256.NewInt(wei) }
}
func madeBy(n uint64) change { return func(op *Operation) { op.Op.Factory = fac(n) } }
func staked(s Staked) change { return func(op *Operation) { op.Staked = s } }
func valid(after, until uint64) change {
	return func(op *Operation) { op.ValidAfter, op.ValidUntil = after, until }
}
func at(ep entrypoint.EntryPoint) change { return func(op *Operation) { op.EntryPoint = ep } }
func calldata(n int) change              { return func(op *Operation) { op.Op.CallData = make([]byte, n) } }

// operation returns an operation of sender n with distinct hash for distinct contents.
func operation(n uint64, changes ...change) *Operation {
	op := &Operation{
		Op: &userop.UserOperation{
			Version: userop.V07, Sender: sender(n), CallGasLimit: 50_000, VerificationGasLimit: 100_000, PreVerificationGas: 60_000,
			MaxFeePerGas: *uint256.NewInt(1000), MaxPriorityFeePerGas: *uint256.NewInt(100),
		},
		EntryPoint: ep07,
	}
	for _, c := range changes {
		c(op)
	}
	op.Op.Version = op.EntryPoint.Version
	var delegate common.Address
	if op.Op.Authorization != nil {
		delegate = op.Op.Authorization.Address
	}
	op.Hash = crypto.Keccak256Hash(op.Op.Hash(op.EntryPoint.Address, 1, delegate).Bytes(), delegate[:])
	return op
}

func newPool(t testing.TB, changes ...func(*Config)) *Pool {
	t.Helper()
	cfg := DefaultConfig()
	for _, c := range changes {
		c(&cfg)
	}
	p := New(cfg)
	p.Head(Head{Number: 100, Timestamp: 1000, BaseFee: *uint256.NewInt(10)})
	return p
}

// add admits operations that must be accepted.
func add(t testing.TB, p *Pool, ops ...*Operation) {
	t.Helper()
	for _, op := range ops {
		if _, err := p.Add(op); err != nil {
			t.Fatalf("Add(sender %v nonce %v): %v", op.Op.Sender, &op.Op.Nonce, err)
		}
	}
	check(t, p)
}

// refused asserts that an operation is refused with a code and leaves the pool as it was.
func refused(t *testing.T, p *Pool, op *Operation, kind rejection.Kind, message string) {
	t.Helper()
	before := p.Len()
	_, err := p.Add(op)
	var r *rejection.Rejection
	if !errors.As(err, &r) {
		t.Fatalf("Add: have error %v, want a rejection", err)
	}
	if r.Kind != kind || !contains(r.Message, message) {
		t.Fatalf("Add: have %d %q, want %d with %q", r.Kind, r.Message, kind, message)
	}
	if p.Len() != before {
		t.Fatalf("a refused operation changed the pool's size from %d to %d", before, p.Len())
	}
	check(t, p)
}

func contains(s, part string) bool {
	for i := 0; i+len(part) <= len(s); i++ {
		if s[i:i+len(part)] == part {
			return true
		}
	}
	return false
}

func candidates(p *Pool, builder string, until uint64) []common.Hash {
	return hashes(p.Candidates(Query{Builder: builder, EntryPoint: ep07.Address, BaseFee: p.head.BaseFee, MaxOps: 1000, UntilBlock: until}))
}

func hashes(ops []*Operation) []common.Hash {
	list := make([]common.Hash, len(ops))
	for i, op := range ops {
		list[i] = op.Hash
	}
	return list
}

func wantOps(t *testing.T, have []common.Hash, want ...*Operation) {
	t.Helper()
	if diff := cmp.Diff(hashes(want), have); diff != "" {
		t.Fatalf("operations (-want +have):\n%s", diff)
	}
}

func wantRemoved(t *testing.T, have []Removed, want ...Removed) {
	t.Helper()
	type line struct {
		Hash   common.Hash
		Reason string
	}
	lines := func(list []Removed) (out []line) {
		for _, r := range list {
			out = append(out, line{r.Operation.Hash, r.Reason.String()})
		}
		return out
	}
	if diff := cmp.Diff(lines(want), lines(have)); diff != "" {
		t.Fatalf("removed (-want +have):\n%s", diff)
	}
}

func TestIdenticalOperationIsKnown(t *testing.T) {
	p := newPool(t)
	add(t, p, operation(1))
	added, err := p.Add(operation(1))
	if err != nil || !added.Known || p.Len() != 1 {
		t.Fatalf("have %+v, %v and %d operations, want Known, no error, 1 operation", added, err, p.Len())
	}
	if known, err := p.Precheck(operation(1)); !known || err != nil {
		t.Fatalf("Precheck: have %v, %v, want known", known, err)
	}
}

func TestReplacement(t *testing.T) {
	for _, tt := range []struct {
		name        string
		maxFee, tip uint64
		ok          bool
	}{
		{"same fees", 1001, 101, false}, // (differs by one wei: not the identical operation)
		{"only the priority fee raised", 1001, 200, false},
		{"only the maximum fee raised", 2000, 101, false},
		{"one wei short of 10 %", 1102, 112, false},
		{"10 % rounded up on both", 1102, 113, true},
		{"doubled", 2002, 202, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPool(t)
			old, op := operation(1, fees(1001, 102)), operation(1, fees(tt.maxFee, tt.tip))
			add(t, p, old)
			_, precheck := p.Precheck(op)
			if !tt.ok {
				refused(t, p, op, rejection.InvalidFields, "replacement underpriced")
				if precheck == nil {
					t.Fatal("Precheck let an underpriced replacement pass")
				}
				return
			}
			added, err := p.Add(op)
			if err != nil || precheck != nil {
				t.Fatalf("Add: %v, Precheck: %v", err, precheck)
			}
			check(t, p)
			if added.Replaced == nil || *added.Replaced != old.Hash {
				t.Fatalf("have Replaced %v, want %v", added.Replaced, old.Hash)
			}
			wantRemoved(t, added.Removed, Removed{old, Replaced})
			wantOps(t, candidates(p, "a", 0), op)
		})
	}
}

func TestNonceGapIsRefused(t *testing.T) {
	p := newPool(t)
	refused(t, p, operation(1, nonce(0, 2), ahead(1)), rejection.EntryPointRejected, "AA25 invalid account nonce")
	add(t, p, operation(1, nonce(0, 1)))
	refused(t, p, operation(1, nonce(0, 3), ahead(1)), rejection.EntryPointRejected, "AA25 invalid account nonce")
	add(t, p, operation(1, nonce(0, 2), ahead(1)), operation(1, nonce(7, 0))) // another key is another lane
	for seq, want := range map[uint64]uint64{0: 0, 1: 0, 2: 1, 3: 2, 4: 0} {
		if have := p.Predecessors(ep07.Address, sender(1), uint256.Int{seq}); have != want {
			t.Errorf("Predecessors(nonce %d): have %d, want %d", seq, have, want)
		}
	}
}

// Between validation and Add the operation before it may be mined.
func TestPredecessorMinedMeanwhile(t *testing.T) {
	p := newPool(t)
	first := operation(1, nonce(0, 5))
	add(t, p, first)
	p.Mined(Inclusion{ep07.Address, sender(1), uint256.Int{5}, first.Hash, 101})
	refused(t, p, operation(1, nonce(0, 5), fees(5000, 5000)), rejection.EntryPointRejected, "AA25")
	add(t, p, operation(1, nonce(0, 6), ahead(1)))
}

func TestLimits(t *testing.T) {
	all := Staked{Sender: true, Factory: true, Paymaster: true}
	t.Run("UREP-010 an unstaked sender has four, over all keys", func(t *testing.T) {
		p := newPool(t)
		for i := range uint64(4) {
			add(t, p, operation(1, nonce(i, 0)))
		}
		refused(t, p, operation(1, nonce(9, 0)), rejection.StakeTooLow, "unstaked sender")
		add(t, p, operation(1, nonce(0, 0), fees(2000, 200))) // a replacement needs no room
		add(t, p, operation(2))
	})
	t.Run("UREP-020 an unstaked paymaster has ten, and more as it gets operations included", func(t *testing.T) {
		p := newPool(t)
		p.SetDeposit(ep07.Address, *pm(1), *uint256.NewInt(1e9))
		var first *Operation
		for i := range uint64(10) {
			op := operation(i, paidBy(1, 1))
			if i == 0 {
				first = op
			}
			add(t, p, op)
		}
		refused(t, p, operation(50, paidBy(1, 1)), rejection.StakeTooLow, "unstaked paymaster")
		// 10 seen, 5 included: 10 + 5/10*5 = 12 operations are allowed.
		p.SetReputation([]Reputation{{Address: *pm(1), OpsSeen: 10, OpsIncluded: 5}})
		add(t, p, operation(50, paidBy(1, 1)), operation(51, paidBy(1, 1)))
		refused(t, p, operation(52, paidBy(1, 1)), rejection.StakeTooLow, "unstaked paymaster")
		add(t, p, operation(0, paidBy(1, 1), fees(2000, 200)))
		if p.Get(first.Hash) != nil {
			t.Fatal("the replaced operation is still there")
		}
	})
	t.Run("an unstaked factory has ten", func(t *testing.T) {
		p := newPool(t)
		for i := range uint64(10) {
			add(t, p, operation(i, madeBy(1)))
		}
		refused(t, p, operation(50, madeBy(1)), rejection.StakeTooLow, "unstaked factory")
	})
	t.Run("SREP-040 staked entities have no limit", func(t *testing.T) {
		p := newPool(t)
		p.SetDeposit(ep07.Address, *pm(1), *uint256.NewInt(1e9))
		for i := range uint64(100) {
			add(t, p, operation(1, nonce(i, 0), paidBy(1, 1), madeBy(1), staked(all)))
		}
	})
	t.Run("an allowed entity has no limit", func(t *testing.T) {
		p := newPool(t, func(c *Config) { c.Allow = []common.Address{*fac(1)} })
		for i := range uint64(30) {
			add(t, p, operation(i, madeBy(1)))
		}
	})
	t.Run("a blocked entity is banned", func(t *testing.T) {
		p := newPool(t, func(c *Config) { c.Block = []common.Address{*fac(1)} })
		refused(t, p, operation(1, madeBy(1)), rejection.Throttled, "banned")
		if _, err := p.Precheck(operation(1, madeBy(1))); err == nil {
			t.Fatal("Precheck let a banned entity pass")
		}
	})
}

// What was acknowledged once comes back after a restart, however many of its sender are there: a reorg may have brought
// back those before it.
func TestReadmissionKnowsNoLimits(t *testing.T) {
	p := newPool(t)
	p.SetDeposit(ep07.Address, *pm(1), *uint256.NewInt(100))
	for i := range uint64(4) {
		add(t, p, operation(1, nonce(0, i), ahead(i)))
	}
	add(t, p, operation(2, paidBy(1, 60)))
	fifth, sponsored := operation(1, nonce(0, 4), ahead(4)), operation(3, paidBy(1, 60))
	refused(t, p, fifth, rejection.StakeTooLow, "unstaked sender")
	refused(t, p, sponsored, rejection.PaymasterDepositLow, "need 120 wei")
	for _, op := range []*Operation{fifth, sponsored} {
		if _, err := p.Readmit(op); err != nil {
			t.Errorf("Readmit: %v", err)
		}
	}
	check(t, p)
	_, err := p.Readmit(operation(1, nonce(0, 6), ahead(6))) // the chain decides about nonces still
	if err == nil || !contains(err.Error(), "AA25") {
		t.Errorf("Readmit with a gap: have error %v, want AA25", err)
	}
}

func TestPaymasterDeposit(t *testing.T) {
	p := newPool(t)
	refused(t, p, operation(1, paidBy(1, 1)), rejection.PaymasterDepositLow, "too low: "+pm(1).Hex()+" has 0 wei")
	p.SetDeposit(ep07.Address, *pm(1), *uint256.NewInt(100))
	op := operation(1, paidBy(1, 60))
	add(t, p, op)
	refused(t, p, operation(2, paidBy(1, 41)), rejection.PaymasterDepositLow, "need 101 wei")
	add(t, p, operation(2, paidBy(1, 40)))
	// A replacement takes the place of the old reservation.
	refused(t, p, operation(1, paidBy(1, 61), fees(2000, 200)), rejection.PaymasterDepositLow, "need 101 wei")
	add(t, p, operation(1, paidBy(1, 50), fees(2000, 200)))
	add(t, p, operation(3, paidBy(1, 10)))
	// The same paymaster at another EntryPoint is another deposit.
	v08 := entrypoint.Canonical(userop.V08)
	refused(t, p, operation(4, paidBy(1, 1), at(v08)), rejection.PaymasterDepositLow, "too low: "+pm(1).Hex()+" has 0 wei")
}

// What needs no validation to be refused costs none.
func TestPrecheckRefusesWhatAddWould(t *testing.T) {
	p := newPool(t)
	p.SetDeposit(ep07.Address, *pm(1), *uint256.NewInt(1000))
	for seq := range uint64(4) {
		add(t, p, operation(1, nonce(0, seq), ahead(seq)))
	}
	add(t, p, operation(2, paidBy(1, 600)), operation(5, staked(Staked{Sender: true})))
	p.SetReputation([]Reputation{{Address: *fac(9), OpsSeen: 10_000}, {Address: *pm(9), OpsSeen: 200}})
	for name, tt := range map[string]struct {
		op   *Operation
		want rejection.Kind // 0: admitted
	}{
		"fifth of an unstaked sender":       {operation(1, nonce(0, 4), ahead(4)), rejection.StakeTooLow},
		"fifth by another key":              {operation(1, nonce(7, 0)), rejection.StakeTooLow},
		"fifth of a sender staked since":    {operation(1, nonce(7, 0), staked(Staked{Sender: true})), 0},
		"of a sender known as staked":       {operation(5, nonce(7, 0)), 0},
		"gap":                               {operation(2, nonce(0, 2)), rejection.EntryPointRejected},
		"underpriced replacement":           {operation(2, fees(1010, 101)), rejection.InvalidFields},
		"replacement":                       {operation(2, fees(2000, 200)), 0},
		"banned factory":                    {operation(3, madeBy(9)), rejection.Throttled},
		"throttled paymaster, none pending": {operation(3, paidBy(9, 0)), 0},
		"sender as paymaster":               {operation(3, func(op *Operation) { op.Op.Paymaster = new(sender(1)) }), rejection.OpcodeViolation},
		"more than the deposit":             {operation(3, paidBy(1, 500)), rejection.PaymasterDepositLow},
		"the deposit":                       {operation(3, paidBy(1, 400)), 0},
		"cost not known, deposit too low":   {operation(3, paidBy(1, 0)), rejection.PaymasterDepositLow},
	} {
		_, err := p.Precheck(tt.op)
		var r *rejection.Rejection
		if errors.As(err, &r); tt.want == 0 && err != nil || tt.want != 0 && (r == nil || r.Kind != tt.want) {
			t.Errorf("%s: have %v, want %d", name, err, tt.want)
		}
	}
	// What was let in once is not kept out by limits, but by a ban.
	if _, err := p.PrecheckAgain(operation(1, nonce(0, 4), ahead(4))); err != nil {
		t.Errorf("again: %v", err)
	}
	if _, err := p.PrecheckAgain(operation(3, madeBy(9))); err == nil {
		t.Error("again: an operation of a banned factory passes")
	}
	check(t, p)
}

func TestRoles(t *testing.T) {
	p := newPool(t)
	p.SetDeposit(ep07.Address, *pm(1), *uint256.NewInt(100))
	add(t, p, operation(1, paidBy(1, 1), madeBy(1)))
	asSender := func(a common.Address) change { return func(op *Operation) { op.Op.Sender = a } }
	refused(t, p, operation(0, asSender(*pm(1))), rejection.OpcodeViolation, "used as a different entity")
	refused(t, p, operation(0, asSender(*fac(1))), rejection.OpcodeViolation, "used as a different entity")
	refused(t, p, operation(2, func(op *Operation) { op.Op.Factory = new(sender(1)) }), rejection.OpcodeViolation, "used as a sender")
	refused(t, p, operation(2, func(op *Operation) { op.AssociatedStorageIn = []common.Address{sender(1)} }), rejection.OpcodeViolation, "associated storage")
	add(t, p, operation(2, func(op *Operation) { op.AssociatedStorageIn = []common.Address{sender(2)} }))
}

func TestDelegationsOfOneSenderAgree(t *testing.T) {
	delegated := func(n uint64) change {
		return func(op *Operation) { op.Op.Authorization = &types.SetCodeAuthorization{Address: address('d', n)} }
	}
	p := newPool(t)
	add(t, p, operation(1, delegated(1)))
	refused(t, p, operation(1, nonce(1, 0), delegated(2)), rejection.OpcodeViolation, "delegation")
	add(t, p, operation(1, nonce(1, 0), delegated(1)), operation(1, nonce(2, 0)))
	add(t, p, operation(2, delegated(1)))
	add(t, p, operation(2, delegated(2), fees(2000, 200))) // alone, it may change its mind
}

func TestOrder(t *testing.T) {
	p := newPool(t)
	low := operation(1, fees(1000, 5))
	capped := operation(2, fees(40, 1000)) // pays 30 at base fee 10, 5 at 35
	rich := operation(3, fees(1000, 20))   // pays 20 at either
	poor := operation(4, fees(8, 8))       // under the base fee
	twin := operation(5, fees(1000, 20))   // as much as rich, but younger
	second := operation(3, nonce(0, 1), ahead(1), fees(1000, 900))
	add(t, p, low, capped, rich, poor, twin, second)
	wantOps(t, candidates(p, "a", 0), capped, rich, twin, low, poor)
	p.Head(Head{Number: 101, Timestamp: 1001, BaseFee: *uint256.NewInt(35)})
	check(t, p)
	wantOps(t, candidates(p, "a", 0), rich, twin, low, capped, poor)
	wantOps(t, hashes(p.Dump(ep07.Address)), rich, second, twin, low, capped, poor)
	p.Head(Head{Number: 102, Timestamp: 1002, BaseFee: *uint256.NewInt(10)})
	wantOps(t, candidates(p, "a", 0), capped, rich, twin, low, poor)
}

func TestOneOperationPerUnstakedSender(t *testing.T) {
	p := newPool(t)
	a0, a1, b := operation(1, fees(1000, 5)), operation(1, nonce(0, 1), ahead(1), fees(1000, 500)), operation(1, nonce(1, 0), fees(1000, 50))
	s := staked(Staked{Sender: true})
	c0, c1, c2 := operation(2, s, fees(1000, 30)), operation(2, s, nonce(0, 1), ahead(1), fees(1000, 40)), operation(2, s, nonce(0, 2), ahead(2), fees(1000, 1))
	d := operation(2, s, nonce(4, 0), fees(1000, 35))
	add(t, p, a0, a1, b, c0, c1, c2, d)
	wantOps(t, candidates(p, "a", 0), b, d, c0, c1, c2)
}

func TestClaims(t *testing.T) {
	p := newPool(t)
	a, a2, b := operation(1, fees(1000, 50)), operation(1, nonce(1, 0), fees(1000, 40)), operation(2, fees(1000, 30))
	add(t, p, a, a2, b)
	claimed := p.Candidates(Query{Builder: "x", EntryPoint: ep07.Address, BaseFee: p.head.BaseFee, MaxOps: 1, UntilBlock: 103})
	wantOps(t, hashes(claimed), a)
	check(t, p)
	wantOps(t, candidates(p, "y", 0), b) // all of sender 1 is x's
	wantOps(t, candidates(p, "x", 0), a, b)
	if have := p.Claim("y", hashes([]*Operation{a, a2, b}), 103); len(have) != 2 {
		t.Fatalf("y was refused %v, want both operations of sender 1", have)
	}
	wantOps(t, candidates(p, "x", 0), a)

	// A replacement stays with x: its old version may be in flight.
	better := operation(1, fees(2000, 100))
	add(t, p, better)
	wantOps(t, candidates(p, "y", 0), b)
	wantOps(t, candidates(p, "x", 0), better)
	p.Release("y", []common.Hash{a.Hash}) // not y's to release
	check(t, p)
	wantOps(t, candidates(p, "y", 0), b)
	p.Release("x", []common.Hash{a.Hash})
	check(t, p)
	wantOps(t, candidates(p, "y", 0), better, b)

	// A claim lasts through its block and no longer, unless it is extended.
	p.Claim("x", []common.Hash{better.Hash}, 103)
	p.Head(Head{Number: 103, Timestamp: 1003, BaseFee: *uint256.NewInt(10)})
	if p.Holder(better.Hash) != "x" || p.Holder(b.Hash) != "y" {
		t.Fatalf("at block 103: have holders %q and %q, want x and y", p.Holder(better.Hash), p.Holder(b.Hash))
	}
	if missing := p.ExtendClaim("x", []common.Hash{better.Hash, b.Hash}, 110); !slices.Equal(missing, []common.Hash{b.Hash}) {
		t.Fatalf("ExtendClaim: have missing %v, want y's operation", missing)
	}
	p.Head(Head{Number: 104, Timestamp: 1004, BaseFee: *uint256.NewInt(10)})
	check(t, p)
	wantOps(t, candidates(p, "z", 0), b)
	wantOps(t, p.Held("x"), better)
	p.Claim("x", []common.Hash{better.Hash}, 105) // claiming again does not shorten
	p.Head(Head{Number: 106, Timestamp: 1006, BaseFee: *uint256.NewInt(10)})
	wantOps(t, p.Held("x"), better)
	p.ReleaseAll("x")
	check(t, p)
	wantOps(t, candidates(p, "z", 0), better, b)
}

func TestShards(t *testing.T) {
	p := newPool(t)
	for i := range uint64(40) {
		add(t, p, operation(i))
	}
	seen := make(map[common.Hash]bool)
	for i := range uint64(3) {
		for _, op := range p.Candidates(Query{EntryPoint: ep07.Address, BaseFee: p.head.BaseFee, MaxOps: 100, Shard: Shard{i, 3}}) {
			mod := new(uint256.Int).SetBytes(op.Op.Sender[:])
			if mod.Mod(mod, uint256.NewInt(3)).Uint64() != i || seen[op.Hash] {
				t.Fatalf("shard %d got sender %v", i, op.Op.Sender)
			}
			seen[op.Hash] = true
		}
	}
	if len(seen) != 40 {
		t.Fatalf("shards cover %d operations, want 40", len(seen))
	}
}

func TestEviction(t *testing.T) {
	size := sizeOf(operation(1))
	p := newPool(t, func(c *Config) { c.MaxBytes = 3 * size })
	a, b, b2 := operation(1, fees(1000, 10)), operation(2, fees(1000, 50)), operation(2, nonce(0, 1), ahead(1), fees(1000, 20))
	add(t, p, a, b, b2)
	refused(t, p, operation(3, fees(1000, 10)), rejection.InvalidFields, "the pool is full")
	p.Claim("x", []common.Hash{a.Hash}, 200) // in flight: not evicted, though it pays least
	rich := operation(4, fees(1000, 60))
	added, err := p.Add(rich)
	if err != nil {
		t.Fatal(err)
	}
	check(t, p)
	wantRemoved(t, added.Removed, Removed{b2, Evicted})
	// What does not even fit an emptied pool changes nothing.
	refused(t, p, operation(5, fees(1000, 1000), calldata(int(3*size))), rejection.InvalidFields, "the pool is full")
}
