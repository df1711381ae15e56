package pool

import (
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// fataler is what check needs of a *testing.T or a *rapid.T.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

var _ fataler = (*testing.T)(nil)

// check derives every index of the pool again from its lanes and compares.
func check(t fataler, p *Pool) {
	t.Helper()
	var bytes uint64
	all := make(map[*entry]bool)
	refs := make(map[common.Address]map[*entry]struct{})
	sent := make(map[common.Address]int)
	authorized := make(map[common.Address]int)
	reserved := make(map[paymasterKey]uint256.Int)
	counts := make(map[paymasterKey]int)
	tokens := make(map[common.Hash]*entry)
	heldTokens := make(map[common.Address]int)
	for k, l := range p.lanes {
		if len(l.entries) == 0 || l.laneKey != k || p.accounts[k.sender] != l.account || !slices.Contains(l.account.lanes, l) {
			t.Fatalf("lane %+v is empty or not linked to its account", k)
		}
		for i, e := range l.entries {
			if e.lane != l || e.seq != l.first().seq+uint64(i) || e.seq != e.Op.NonceSequence() {
				t.Fatalf("lane %+v is not contiguous at %d", k, i)
			}
			if p.ops[e.Hash] != e || all[e] {
				t.Fatalf("operation %v is not indexed by its hash, or is there twice", e.Hash)
			}
			all[e] = true
			bytes += e.size
			sent[k.sender]++
			if e.Op.Authorization != nil {
				authorized[k.sender]++
				if l.account.delegate != e.Op.Authorization.Address {
					t.Fatalf("AUTH-040: sender %v has delegations to different contracts", k.sender)
				}
			}
			for _, x := range e.entities() {
				if refs[x.address] == nil {
					refs[x.address] = make(map[*entry]struct{})
				}
				refs[x.address][e] = struct{}{}
			}
			if pm := e.Op.Paymaster; pm != nil {
				pk := paymasterKey{k.entryPoint, *pm}
				sum := reserved[pk]
				reserved[pk] = *sum.Add(&sum, &e.Prefund)
				counts[pk]++
			}
			for _, h := range e.tokens {
				if tokens[h] != nil {
					t.Fatalf("token %v is on two operations", h)
				}
				tokens[h] = e
				heldTokens[k.sender]++
			}
		}
	}
	if len(all) != len(p.ops) || bytes != p.bytes {
		t.Fatalf("have %d operations of %d bytes indexed, want %d of %d", len(p.ops), p.bytes, len(all), bytes)
	}
	checkAccounts(t, p, sent, authorized, refs)
	for k, d := range p.paymasters {
		want := reserved[k]
		if !d.reserved.Eq(&want) || d.count != counts[k] {
			t.Fatalf("paymaster %v: have %v wei reserved by %d operations, want %v by %d", k, &d.reserved, d.count, &want, counts[k])
		}
	}
	for k := range reserved {
		if p.paymasters[k] == nil {
			t.Fatalf("paymaster %v is not known", k)
		}
	}
	checkClaims(t, p, tokens, heldTokens)
	for h, f := range p.flights {
		if p.tokens[h] != nil || f.builder == "" {
			t.Fatalf("operation %v is claimed, and in the transaction of another builder %q", h, f.builder)
		}
	}
	checkOrders(t, p, all)
	for a := range p.standings {
		_, indexed := p.throttled[a]
		if indexed != (p.status(a) == Throttled) {
			t.Fatalf("%v is %v, indexed as throttled: %v", a, p.status(a), indexed)
		}
	}
}

func checkAccounts(t fataler, p *Pool, sent, authorized map[common.Address]int, refs map[common.Address]map[*entry]struct{}) {
	t.Helper()
	for a, x := range p.accounts {
		if x.address != a || x.sent != sent[a] || x.authorized != authorized[a] || len(x.refs) != len(refs[a]) {
			t.Fatalf("account %v: have sent %d, authorized %d, refs %d, want %d, %d, %d", a, x.sent, x.authorized, len(x.refs), sent[a], authorized[a], len(refs[a]))
		}
		for e := range x.refs {
			if !has(refs[a], e) {
				t.Fatalf("account %v refers to an operation that does not name it", a)
			}
		}
		if x.sent == 0 && len(x.refs) == 0 {
			t.Fatalf("account %v is named by nothing", a)
		}
	}
	for a := range sent {
		if p.accounts[a] == nil {
			t.Fatalf("sender %v has no account", a)
		}
	}
	for a := range refs {
		if p.accounts[a] == nil {
			t.Fatalf("entity %v has no account", a)
		}
	}
}

func checkClaims(t fataler, p *Pool, tokens map[common.Hash]*entry, held map[common.Address]int) {
	t.Helper()
	if len(tokens) != len(p.tokens) || len(held) != len(p.held) {
		t.Fatalf("have %d tokens of %d senders indexed, want %d of %d", len(p.tokens), len(p.held), len(tokens), len(held))
	}
	for h, e := range tokens {
		if p.tokens[h] != e {
			t.Fatalf("token %v is not indexed", h)
		}
	}
	for a, x := range p.accounts {
		c := x.claim
		if c.tokens != held[a] || (c.tokens != 0) != (c.builder != "") || (c.tokens != 0) != (p.held[a] == x) {
			t.Fatalf("account %v: claim %+v, want %d tokens", a, c, held[a])
		}
	}
}

func checkOrders(t fataler, p *Pool, all map[*entry]bool) {
	t.Helper()
	heads, waits := 0, 0
	for _, l := range p.lanes {
		first := l.first()
		if first.waits {
			waits++
		} else {
			heads++
			if m := p.markets[l.entryPoint]; m == nil || !holds(&m.heads, first) {
				t.Fatalf("the first of lane %+v is neither waiting nor a candidate", l.laneKey)
			}
			if !p.ready(first.Operation) {
				t.Fatalf("the first of lane %+v is a candidate before its time", l.laneKey)
			}
		}
		if !holds(&p.tails, l.last()) {
			t.Fatalf("the last of lane %+v is not among the tails", l.laneKey)
		}
	}
	if n := p.waiting[bySeconds].Len() + p.waiting[byBlocks].Len(); n != waits {
		t.Fatalf("have %d waiting, want %d", n, waits)
	}
	n := 0
	for _, m := range p.markets {
		checkRanking(t, &m.heads, p.baseFee())
		if m.heads.len() == 0 {
			t.Fatalf("the market of %v is empty", m.entryPoint)
		}
		n += m.heads.len()
	}
	checkRanking(t, &p.tails, p.baseFee())
	if n != heads || p.tails.len() != len(p.lanes) {
		t.Fatalf("have %d heads and %d tails, want %d and %d", n, p.tails.len(), heads, len(p.lanes))
	}
	for clock := range p.expiry {
		want := 0
		for e := range all {
			if e.expires[clock] != never {
				want++
			}
		}
		if have := p.expiry[clock].Len(); have != want {
			t.Fatalf("clock %d: have %d operations that end, want %d", clock, have, want)
		}
	}
}

func holds(r *ranking, e *entry) bool {
	at := r.bucketOf(e.byTurn())
	return at >= 0 && slices.Contains(r.buckets[at].turns, e.byTurn())
}

// checkRanking checks that every entry is in the orders of its bucket and that a walk yields all in order of worth, both ways.
func checkRanking(t fataler, r *ranking, base uint64) {
	t.Helper()
	var all []item
	for i, b := range r.buckets {
		if len(b.turns) == 0 || len(b.turns) > bucketSize || r.last[i] != b.turns[len(b.turns)-1] {
			t.Fatalf("ranking: a bucket of %d entries, its last %+v", len(b.turns), r.last[i])
		}
		all = append(all, b.turns...)
		for name, o := range map[string]struct {
			items sortedItems
			of    func(*entry) item
		}{"turn": {b.turns, (*entry).byTurn}, "tip": {b.tips, (*entry).byTip}, "fee": {b.fees, (*entry).byFee}} {
			if len(o.items) != len(b.turns) || !slices.IsSortedFunc(o.items, item.compare) {
				t.Fatalf("ranking: %d entries by %s of %d, sorted %v", len(o.items), name, len(b.turns), slices.IsSortedFunc(o.items, item.compare))
			}
			for _, x := range o.items {
				if x != o.of(x.entry) || !slices.Contains(b.turns, x.entry.byTurn()) {
					t.Fatalf("ranking: %+v by %s is not of this bucket", x, name)
				}
			}
			if slices.ContainsFunc(o.items[len(o.items):cap(o.items)], func(x item) bool { return x.entry != nil }) {
				t.Fatalf("ranking: an order by %s keeps an entry that has left it", name)
			}
		}
	}
	if len(all) != r.len() || !slices.IsSortedFunc(all, item.compare) {
		t.Fatalf("ranking: %d entries, %d counted, sorted by turn %v", len(all), r.len(), slices.IsSortedFunc(all, item.compare))
	}
	var forward, backward []*entry
	for w := r.walk(base); w.peek() != nil; w.next() {
		forward = append(forward, w.peek())
	}
	for w := r.walkBack(base); w.peek() != nil; w.next() {
		backward = append(backward, w.peek())
	}
	slices.Reverse(backward)
	if !slices.Equal(forward, backward) || len(forward) != r.len() {
		t.Fatalf("ranking: %d entries best first, %d worst first, %d in all, or in another order", len(forward), len(backward), r.len())
	}
	for i := 1; i < len(forward); i++ {
		if !better(forward[i-1], forward[i], base) {
			t.Fatalf("ranking: entry %d is not better than entry %d at base fee %d", i-1, i, base)
		}
	}
}
