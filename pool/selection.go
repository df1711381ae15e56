package pool

import (
	"container/heap"
	"slices"

	"baler/entrypoint"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// Query asks for candidates.
type Query struct {
	Builder    string
	EntryPoint common.Address
	BaseFee    uint256.Int // of the block to come, wei per gas
	MaxOps     int         // most operations wanted
	UntilBlock uint64      // claim what is returned until this block number; 0: look only
	Shard      Shard
}

// Shard restricts a query to the senders with uint160(sender) mod Count == Index. The zero value does not.
type Shard struct{ Index, Count uint64 }

func (s Shard) holds(sender common.Address) bool {
	if s.Count < 2 {
		return true
	}
	x := new(uint256.Int).SetBytes20(sender[:])
	return x.Mod(x, uint256.NewInt(s.Count)).Uint64() == s.Index
}

// Candidates returns the operations to bundle next, best effective priority fee first, per sender by nonce: valid now,
// not of a sender another builder holds nor in its transaction, one per unstaked sender, and no more of a throttled entity than a bundle may
// hold (GREP-020). Operations that pay less than the base fee come last; they are not left out, so that who asks can
// tell an empty pool from one that is priced out.
func (p *Pool) Candidates(q Query) []*Operation {
	m := p.markets[q.EntryPoint]
	if m == nil || q.MaxOps <= 0 {
		return nil
	}
	s := selection{pool: p, query: q, senders: make(map[common.Address]struct{}, min(q.MaxOps, m.heads.len()))}
	order := p.inOrder(m, saturate(&q.BaseFee), func(e *entry) bool { return e.Staked.Sender })
	var list []*Operation
	for len(list) < q.MaxOps {
		e := order.pop()
		if e == nil {
			break
		}
		if !s.takes(e) {
			continue
		}
		order.unlock(e)
		list = append(list, e.Operation)
		if q.UntilBlock != 0 {
			p.claim(e, e.Hash, q.Builder, q.UntilBlock)
		}
	}
	return list
}

// EntryPoints lists the EntryPoints that have operations valid now, by version, then address.
func (p *Pool) EntryPoints() []entrypoint.EntryPoint {
	list := make([]entrypoint.EntryPoint, 0, len(p.markets))
	for _, m := range p.markets {
		list = append(list, m.entryPoint)
	}
	slices.SortFunc(list, func(a, b entrypoint.EntryPoint) int {
		if a.Version != b.Version {
			return int(a.Version) - int(b.Version)
		}
		return a.Address.Cmp(b.Address)
	})
	return list
}

// Dump returns the EntryPoint's operations in the order they would be bundled at the head's next base fee, those that
// are not valid yet last.
func (p *Pool) Dump(entryPoint common.Address) []*Operation {
	var list []*Operation
	if m := p.markets[entryPoint]; m != nil {
		order := p.inOrder(m, p.baseFee(), func(*entry) bool { return true })
		for e := order.pop(); e != nil; e = order.pop() {
			list = append(list, e.Operation)
			order.unlock(e)
		}
	}
	for clock := range p.waiting {
		p.waiting[clock].Scan(func(x item) bool {
			list = append(list, x.entry.from(entryPoint)...)
			return true
		})
	}
	// Whatever stands behind one that is not valid yet was not unlocked.
	if m := p.markets[entryPoint]; m != nil {
		for x := range m.heads.from(item{}) {
			entries := x.entry.lane.entries
			for i, e := range entries {
				if !p.ready(e.Operation) {
					list = append(list, operations(entries[i:])...)
					break
				}
			}
		}
	}
	return list
}

// from returns the operations of the entry's lane if it is one of the EntryPoint's.
func (e *entry) from(entryPoint common.Address) []*Operation {
	if e.lane.entryPoint != entryPoint {
		return nil
	}
	return operations(e.lane.entries)
}

func operations(entries []*entry) []*Operation {
	list := make([]*Operation, len(entries))
	for i, e := range entries {
		list[i] = e.Operation
	}
	return list
}

// selection decides which operations a query gets.
type selection struct {
	pool      *Pool
	query     Query
	senders   map[common.Address]struct{}
	throttled map[common.Address]uint64
}

func (s *selection) takes(e *entry) bool {
	sender := e.Op.Sender
	if !e.lane.account.claim.free(s.query.Builder) || s.pool.flies(e.Hash, s.query.Builder) || !s.query.Shard.holds(sender) {
		return false
	}
	if _, twice := s.senders[sender]; twice && !e.Staked.Sender {
		return false
	}
	if len(s.pool.throttled) != 0 && !s.withinThrottle(e) {
		return false
	}
	s.senders[sender] = struct{}{}
	return true
}

// withinThrottle counts the operation for its throttled entities if none has its number yet.
func (s *selection) withinThrottle(e *entry) bool {
	if s.throttled == nil {
		s.throttled = make(map[common.Address]uint64)
	}
	all := e.all()
	for _, x := range all {
		if s.pool.status(x.address) == Throttled && s.throttled[x.address] >= s.pool.config.ThrottledEntityBundleCount {
			return false
		}
	}
	for _, x := range all {
		s.throttled[x.address]++
	}
	return true
}

// order yields a market's operations best first: the heads, merged with the successors that were unlocked.
type order struct {
	pool     *Pool
	heads    *walk
	unlocked queue
	follows  func(*entry) bool
}

func (p *Pool) inOrder(m *market, base uint64, follows func(*entry) bool) *order {
	return &order{pool: p, heads: m.heads.walk(base), unlocked: queue{base: base}, follows: follows}
}

// pop returns the best entry left, or nil.
func (o *order) pop() *entry {
	head := o.heads.peek()
	if len(o.unlocked.entries) != 0 && (head == nil || better(o.unlocked.entries[0], head, o.unlocked.base)) {
		e, _ := heap.Pop(&o.unlocked).(*entry)
		return e
	}
	if head != nil {
		o.heads.next()
	}
	return head
}

// unlock makes the operation behind e in its lane available, if it may follow e in one bundle and is valid now.
func (o *order) unlock(e *entry) {
	next := e.lane.at(e.seq + 1)
	if next == nil || !o.follows(next) || !o.pool.ready(next.Operation) {
		return
	}
	heap.Push(&o.unlocked, next)
}

// queue is a heap of entries, the best on top.
type queue struct {
	base    uint64
	entries []*entry
}

func (q *queue) Len() int           { return len(q.entries) }
func (q *queue) Less(i, j int) bool { return better(q.entries[i], q.entries[j], q.base) }
func (q *queue) Swap(i, j int)      { q.entries[i], q.entries[j] = q.entries[j], q.entries[i] }
func (q *queue) Push(x any) {
	if e, ok := x.(*entry); ok {
		q.entries = append(q.entries, e)
	}
}

func (q *queue) Pop() any {
	last := len(q.entries) - 1
	e := q.entries[last]
	q.entries = q.entries[:last]
	return e
}
