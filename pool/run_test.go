package pool

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"baler/entrypoint"
	"baler/erc7562"
	"baler/rejection"
	"baler/userop"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"
)

// TestAgainstModel runs random histories through the pool and the model and compares what both say, with every index
// of the pool derived again after each step.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRun()
		t.Repeat(map[string]func(*rapid.T){
			"add":        r.add,
			"remove":     r.remove,
			"mine":       r.mine,
			"head":       r.advance,
			"candidates": r.candidates,
			"release":    r.release,
			"":           r.compare,
		})
	})
}

type run struct {
	pool    *Pool
	model   *model
	arrival int
	claims  map[common.Address]modelClaim
}

func newRun() *run {
	cfg := DefaultConfig()
	cfg.SameUnstakedEntityCount, cfg.ThrottlingSlack, cfg.BanSlack, cfg.MinInclusionRateDenominator = 5, 2, 5, 1
	cfg.ThrottledEntityCount, cfg.ThrottledEntityBundleCount, cfg.ThrottledEntityLiveBlocks = 4, 1, 4
	cfg.ReorgDepth = 8
	r := &run{
		pool:   New(cfg),
		model:  &model{cfg: cfg, deposits: make(map[paymasterKey]uint64), seen: make(map[common.Address]uint64), included: make(map[common.Address]uint64)},
		claims: make(map[common.Address]modelClaim),
	}
	r.setHead(Head{Number: 100, Timestamp: 1000, BaseFee: *uint256.NewInt(50)})
	return r
}

func (r *run) setHead(h Head) []Removed { r.model.head = h; return r.pool.Head(h) }

// drawOperation draws one of few senders, keys, factories and paymasters, so that they meet.
func (r *run) drawOperation(t *rapid.T) *Operation {
	n := rapid.Uint64Range(0, 5).Draw(t, "sender")
	k := rapid.Uint64Range(0, 1).Draw(t, "key")
	var changes []change
	if rapid.IntRange(0, 3).Draw(t, "v0.8") == 0 {
		changes = append(changes, at(entrypoint.Canonical(userop.V08)))
	}
	st := Staked{Sender: n >= 4}
	if f := rapid.Uint64Range(0, 5).Draw(t, "factory"); f < 2 {
		changes = append(changes, madeBy(f))
		st.Factory = f == 1
	}
	if p := rapid.Uint64Range(0, 4).Draw(t, "paymaster"); p < 3 {
		changes = append(changes, paidBy(p, rapid.Uint64Range(1, 100).Draw(t, "prefund")))
		st.Paymaster = p == 2
		if p == 1 && rapid.IntRange(0, 9).Draw(t, "sender as paymaster") == 0 {
			changes = append(changes, func(op *Operation) { op.Op.Paymaster = new(sender(0)) })
		}
	}
	changes = append(changes, func(op *Operation) { op.AddedBlock = r.model.head.Number }, staked(st), fees(rapid.Uint64Range(20, 200).Draw(t, "max fee"), rapid.Uint64Range(1, 20).Draw(t, "tip")))
	if rapid.IntRange(0, 4).Draw(t, "timed") == 0 {
		now := r.model.head.Timestamp
		changes = append(changes, valid(rapid.Uint64Range(now-2, now+4).Draw(t, "after"), rapid.Uint64Range(now, now+9).Draw(t, "until")))
	}
	op := operation(n, changes...)
	pending := uint64(len(r.model.lane(newLaneKey(op.EntryPoint.Address, op.Op.Sender, &uint256.Int{0, k}))))
	var next uint64 // the chain's
	for _, x := range r.model.mined {
		if x.lane == newLaneKey(op.EntryPoint.Address, op.Op.Sender, &uint256.Int{0, k}) {
			next = max(next, x.seq+1)
		}
	}
	seq := next + rapid.Uint64Range(0, pending+1).Draw(t, "sequence")
	return operation(n, append(changes, nonce(k, seq), ahead(min(seq-next, pending)))...)
}

func (r *run) add(t *rapid.T) {
	op := r.drawOperation(t)
	if pm := op.Op.Paymaster; pm != nil {
		deposit := rapid.Uint64Range(50, 500).Draw(t, "deposit")
		r.pool.SetDeposit(op.EntryPoint.Address, *pm, *uint256.NewInt(deposit))
		r.model.deposits[paymasterKey{op.EntryPoint.Address, *pm}] = deposit
	}
	known := r.model.find(op.Hash) != nil
	want, old := r.model.verdict(op)
	if _, err := r.pool.Precheck(op); err != nil && want == 0 {
		t.Fatalf("Precheck refuses what must be admitted: %v", err)
	}
	added, err := r.pool.Add(op)
	if known {
		if err != nil || !added.Known {
			t.Fatalf("a known operation: have %+v, %v", added, err)
		}
		return
	}
	if want == 0 {
		r.admitted(t, op, old, added, err)
		return
	}
	var rej *rejection.Rejection
	if !errors.As(err, &rej) || rej.Kind != want {
		t.Fatalf("Add: have %v, want code %d", err, want)
	}
}

// admitted updates the model for an operation that Add must have let in.
func (r *run) admitted(t *rapid.T, op *Operation, old *modelOp, added Added, err error) {
	m := r.model
	r.arrival++
	o := &modelOp{Operation: op, tokens: make(map[common.Hash]bool), arrival: r.arrival}
	if old != nil {
		o.tokens = old.tokens
		m.ops = slices.DeleteFunc(m.ops, func(x *modelOp) bool { return x == old })
		m.left(old.Operation, Replaced, erc7562.NoEntity)
		for _, x := range old.all() { // GREP-050
			if x.counted() && (x.staked || x.role != erc7562.Factory) {
				m.seen[x.address] -= min(m.seen[x.address], 1)
			}
		}
		if added.Replaced == nil || *added.Replaced != old.Hash {
			t.Fatalf("have Replaced %v, want %v", added.Replaced, old.Hash)
		}
	}
	m.ops = append(m.ops, o)
	for _, x := range op.all() {
		if x.counted() {
			m.seen[x.address]++
		}
	}
	for _, x := range op.all() {
		if m.status(x.address) == Banned {
			r.ban(x.address)
		}
	}
	if (m.find(op.Hash) == nil) != (err != nil) {
		t.Fatalf("Add: have error %v, in the model: %v", err, m.find(op.Hash) != nil)
	}
}

func (r *run) ban(a common.Address) {
	for i := 0; i < len(r.model.ops); {
		o := r.model.ops[i]
		if !slices.ContainsFunc(o.all(), func(x entity) bool { return x.address == a }) {
			i++
			continue
		}
		r.cut(o, EntityBanned, erc7562.NoEntity)
		i = 0
	}
}

// cut takes an operation and those behind it in its lane out of the model.
func (r *run) cut(o *modelOp, reason Reason, culprit erc7562.Entity) {
	for _, x := range r.model.lane(key(o.Operation)) {
		if x.Op.NonceSequence() < o.Op.NonceSequence() {
			continue
		}
		if x != o {
			reason, culprit = PredecessorRemoved, erc7562.NoEntity
		}
		r.drop(x, reason, culprit)
	}
}

func (r *run) drop(o *modelOp, reason Reason, culprit erc7562.Entity) {
	r.model.ops = slices.DeleteFunc(r.model.ops, func(x *modelOp) bool { return x == o })
	r.model.left(o.Operation, reason, culprit)
	r.freeUnclaimed()
}

// freeUnclaimed ends the claims on senders none of whose operations is claimed any more.
func (r *run) freeUnclaimed() {
	for a := range r.claims {
		if !slices.ContainsFunc(r.model.ops, func(o *modelOp) bool { return o.Op.Sender == a && len(o.tokens) != 0 }) {
			delete(r.claims, a)
		}
	}
}

func (r *run) drawPending(t *rapid.T) *modelOp {
	if len(r.model.ops) == 0 {
		t.Skip("nothing is pending")
	}
	return r.model.ops[rapid.IntRange(0, len(r.model.ops)-1).Draw(t, "operation")]
}

func (r *run) remove(t *rapid.T) {
	o := r.drawPending(t)
	reason := rapid.SampledFrom([]Reason{ValidationFailed, BundleFailed, Dropped}).Draw(t, "reason")
	culprit := erc7562.Entity(rapid.IntRange(0, 3).Draw(t, "culprit"))
	if _, err := r.pool.Remove(o.Hash, reason, culprit); err != nil {
		t.Fatalf("Remove: %v", err)
	}
	m := r.model
	answers := culprit == erc7562.Sender || culprit == erc7562.Factory || // EREP-015
		culprit == erc7562.Paymaster && o.Staked.Sender // EREP-030
	if pm := o.Op.Paymaster; pm != nil && reason != Dropped && answers {
		m.seen[*pm] -= min(m.seen[*pm], 1)
	}
	guilty := o.blamed(culprit)
	ban := reason == BundleFailed && guilty != (common.Address{})
	if ban {
		m.seen[guilty], m.included[guilty] = m.cfg.BanOpsSeenPenalty, 0
	}
	r.cut(o, reason, culprit)
	if ban {
		r.ban(guilty)
	}
}

// blamed says again, in the words of ERC-4337 and EREP-020/030, whom a failing bundle bans.
func (op *Operation) blamed(culprit erc7562.Entity) common.Address {
	factory := op.Op.Factory != nil
	switch {
	case culprit == erc7562.NoEntity:
		return common.Address{}
	case op.Staked.Sender:
		return op.Op.Sender
	case culprit == erc7562.Sender && factory && op.Staked.Factory, culprit == erc7562.Factory && factory:
		return *op.Op.Factory
	case culprit == erc7562.Paymaster && op.Op.Paymaster != nil:
		return *op.Op.Paymaster
	default:
		return common.Address{}
	}
}

// mine includes a pending operation, or a stranger's with its nonce. All before it in its lane are gone then.
func (r *run) mine(t *rapid.T) {
	o := r.drawPending(t)
	in := Inclusion{o.EntryPoint.Address, o.Op.Sender, o.Op.Nonce, o.Hash, r.model.head.Number + 1}
	if rapid.IntRange(0, 3).Draw(t, "stranger") == 0 {
		in.Hash = common.Hash{1}
	}
	var want []Removed
	for _, x := range r.model.lane(key(o.Operation)) {
		if x.Op.NonceSequence() > o.Op.NonceSequence() {
			break
		}
		reason := NonceUsed
		if x.Hash == in.Hash {
			reason = Mined
		}
		want = append(want, Removed{x.Operation, reason})
		r.drop(x, reason, erc7562.NoEntity)
	}
	r.model.mined = append(r.model.mined, modelMined{key(o.Operation), o.Op.NonceSequence(), in.Block})
	if have := r.pool.Mined(in); !slices.Equal(have, want) {
		t.Fatalf("Mined: have %v, want %v", have, want)
	}
	r.setHead(Head{Number: in.Block, Timestamp: r.model.head.Timestamp, BaseFee: r.model.head.BaseFee})
	r.age()
}

func (r *run) advance(t *rapid.T) {
	h := r.model.head
	h.Number += rapid.Uint64Range(1, 3).Draw(t, "blocks")
	h.Timestamp += rapid.Uint64Range(1, 4).Draw(t, "seconds")
	h.BaseFee = *uint256.NewInt(rapid.Uint64Range(1, 220).Draw(t, "base fee"))
	r.setHead(h)
	r.age()
}

// age does in the model what a head does.
func (r *run) age() {
	m := r.model
	for i := 0; i < len(m.ops); {
		if o := m.ops[i]; o.ValidUntil != 0 && o.ValidUntil <= m.head.Timestamp {
			r.cut(o, Expired, erc7562.NoEntity)
			i = 0
			continue
		}
		i++
	}
	throttled := make(map[common.Address]bool)
	for a := range m.seen {
		throttled[a] = m.status(a) == Throttled
	}
	for i := 0; i < len(m.ops); {
		o := m.ops[i]
		if slices.ContainsFunc(o.all(), func(x entity) bool { return throttled[x.address] }) && o.AddedBlock+m.cfg.ThrottledEntityLiveBlocks < m.head.Number {
			r.cut(o, ThrottledTooLong, erc7562.NoEntity)
			i = 0
			continue
		}
		i++
	}
	for a, c := range r.claims {
		if c.until < m.head.Number {
			for _, o := range m.ops {
				if o.Op.Sender == a {
					clear(o.tokens)
				}
			}
			delete(r.claims, a)
		}
	}
}

func (r *run) candidates(t *rapid.T) {
	q := Query{
		Builder:    rapid.SampledFrom([]string{"x", "y"}).Draw(t, "builder"),
		EntryPoint: entrypoint.Canonical(rapid.SampledFrom([]userop.Version{userop.V07, userop.V08}).Draw(t, "version")).Address,
		BaseFee:    *uint256.NewInt(rapid.Uint64Range(1, 220).Draw(t, "base fee")),
		MaxOps:     rapid.IntRange(1, 12).Draw(t, "max"),
	}
	if rapid.Bool().Draw(t, "claim") {
		q.UntilBlock = r.model.head.Number + rapid.Uint64Range(0, 4).Draw(t, "claim blocks")
	}
	want := r.model.offered(q, r.claims)
	have := hashes(r.pool.Candidates(q))
	if diff := cmp.Diff(want, have, cmp.Transformer("empty", func(l []common.Hash) []common.Hash { return append([]common.Hash{}, l...) })); diff != "" && len(want)+len(have) != 0 {
		t.Fatalf("candidates (-want +have):\n%s", diff)
	}
	for _, h := range want {
		if q.UntilBlock == 0 {
			break
		}
		o := r.model.find(h)
		o.tokens[h] = true
		c := r.claims[o.Op.Sender]
		r.claims[o.Op.Sender] = modelClaim{q.Builder, max(c.until, q.UntilBlock)}
	}
}

func (r *run) release(t *rapid.T) {
	builder := rapid.SampledFrom([]string{"x", "y"}).Draw(t, "builder")
	held := r.pool.Held(builder)
	if len(held) == 0 {
		t.Skip("nothing is held")
	}
	h := held[rapid.IntRange(0, len(held)-1).Draw(t, "token")]
	r.pool.Release(builder, []common.Hash{h})
	for _, o := range r.model.ops {
		delete(o.tokens, h)
	}
	r.freeUnclaimed()
}

// compare checks the pool's indexes, and its contents against the model's.
func (r *run) compare(t *rapid.T) {
	check(t, r.pool)
	m := r.model
	if r.pool.Len() != len(m.ops) {
		t.Fatalf("have %d operations, want %d", r.pool.Len(), len(m.ops))
	}
	for _, o := range m.ops {
		if r.pool.Get(o.Hash) != o.Operation {
			t.Fatalf("operation %v is missing", o.Hash)
		}
		if have, want := r.pool.Holder(o.Hash), r.claims[o.Op.Sender].builder; have != want {
			t.Fatalf("operation %v is held by %q, want %q", o.Hash, have, want)
		}
	}
	addresses := make(map[common.Address]bool)
	for a := range m.seen {
		addresses[a] = true
	}
	for a := range m.included {
		addresses[a] = true
	}
	for a := range addresses {
		want := Reputation{a, m.seen[a], m.included[a], m.status(a)}
		if have := r.pool.ReputationOf(a); have != want {
			t.Fatalf("reputation: have %s, want %s", fmt.Sprint(have), fmt.Sprint(want))
		}
	}
	dumped := 0
	for _, v := range []userop.Version{userop.V07, userop.V08} {
		dumped += len(r.pool.Dump(entrypoint.Canonical(v).Address))
	}
	if dumped != len(m.ops) {
		t.Fatalf("dumps hold %d operations, want %d", dumped, len(m.ops))
	}
}
