package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"baler/bundlesender"
	"baler/dashboard"
	"baler/gas"
	"baler/pool"
	"baler/profit"
	"baler/rejection"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

var (
	_ dashboard.Bundler  = (*Page)(nil)
	_ dashboard.Operator = (*Page)(nil)
)

// Page is the node as its live page sees it.
type Page struct{ node *Node }

// Page returns what the live page shows of the node, and what operators can do from there.
func (n *Node) Page() *Page { return &Page{n} }

// Chain implements [dashboard.Bundler].
func (p *Page) Chain() dashboard.Chain {
	c := dashboard.Chain{ID: p.node.config.ChainID, MaxHeadAge: cmp.Or(p.node.config.MaxHeadAge, staleHead).Milliseconds()}
	for _, ep := range p.node.config.EntryPoints {
		c.EntryPoints = append(c.EntryPoints, dashboard.EntryPoint{Version: ep.Version.String(), Address: ep.Address})
	}
	return c
}

// Head implements [dashboard.Bundler].
func (p *Page) Head(ctx context.Context) (dashboard.Head, bool) {
	at := p.node.head.Load()
	if at == nil {
		return dashboard.Head{}, false
	}
	head := dashboard.Head{Number: at.number(), Hash: at.header.Hash(), Seen: at.seen.UnixMilli(), BaseFee: dashboard.Wei(at.baseFee)}
	if required := p.required(ctx, at); required != nil {
		fees := dashboard.FeesOf(*required)
		head.Required = &fees
	}
	return head, true
}

// required is what an operation must offer now; nil if the node does not say.
func (p *Page) required(ctx context.Context, at *head) *gas.Fees {
	priority, err := at.priorityFee(ctx, p.node)
	if err != nil {
		return nil
	}
	fees := p.node.required(at.baseFee, priority)
	return &fees
}

// Senders implements [dashboard.Bundler]. The balances are read in one round trip at the head, where they are not known yet.
func (p *Page) Senders(ctx context.Context) []dashboard.Sender {
	workers := p.node.keys.all()
	slices.SortFunc(workers, func(a, b *worker) int {
		return p.node.keys.position(a.key.Address()) - p.node.keys.position(b.key.Address())
	})
	balances := p.node.Balances(ctx)
	senders := make([]dashboard.Sender, len(workers))
	for i, w := range workers {
		senders[i] = shownSender(w)
		if balance, known := balances[w.key.Address()]; known {
			shown := dashboard.Wei(balance)
			senders[i].Balance, senders[i].LowBalance = &shown, p.low(balance)
		}
	}
	return senders
}

// low reports whether a balance no longer pays for the largest bundle at the next base fee.
func (p *Page) low(balance uint256.Int) bool {
	cost := p.node.bundleCost(p.node.head.Load(), p.node.config.Proposer.MaxBundleGas)
	return balance.Lt(&cost)
}

func shownSender(w *worker) dashboard.Sender {
	now := w.current()
	s := dashboard.Sender{
		Signer: w.key.Address(), State: now.State.String(), Since: now.Since, Cause: now.Cause, Paused: now.Paused, Draining: w.draining.Load(),
		Auto: now.Auto, FeeIncreases: now.FeeIncreases, CancelIncreases: now.CancelIncreases, Until: now.Until, InFlight: now.InFlight,
		BackingOff: now.BackingOff, Held: now.Held,
	}
	if now.NonceKnown {
		s.Nonce = &now.Nonce
	}
	if now.Underpriced {
		s.UnderpricedSince = &now.UnderpricedSince
	}
	for _, a := range now.Attempts {
		s.Attempts = append(s.Attempts, dashboard.Attempt{
			ID: uint64(a.ID), Kind: a.Kind.String(), Nonce: a.Nonce, Hash: a.Hash, Fees: dashboard.FeesOf(a.Fees), GasLimit: a.GasLimit,
			Block: a.Block, Operations: len(a.Operations), Status: a.Status.String(), Abandoned: a.Abandoned, Hit: a.Hit,
		})
	}
	for _, line := range w.lines() {
		s.Journal = append(s.Journal, dashboard.JournalLine{Block: line.Block, State: line.State.String(), Text: line.Text, Follows: line.Follows})
	}
	return s
}

// Mempool implements [dashboard.Bundler].
func (p *Page) Mempool() dashboard.Mempool {
	m := dashboard.Mempool{}
	at := p.node.head.Load()
	if at == nil {
		return m
	}
	m.BaseFee = at.baseFee
	if priority, known := at.knownPriority(); known {
		required := p.node.required(at.baseFee, priority)
		m.Required = &required
	}
	p.node.pool.look(func(held *pool.Pool) {
		m.Bytes = held.Stats().Bytes
		for _, r := range held.DumpReputation() {
			m.Reputation = append(m.Reputation, dashboard.Reputation{Address: r.Address, Seen: r.OpsSeen, Included: r.OpsIncluded, Status: r.Status.String()})
		}
		for _, ep := range p.node.config.EntryPoints {
			for _, op := range held.Dump(ep.Address) {
				m.Operations = append(m.Operations, waiting(held, op, at))
			}
		}
	})
	for i := range m.Operations {
		op := &m.Operations[i]
		op.Skipped, op.Reason = p.node.timeline.lastSkip(op.Hash)
	}
	return m
}

// waiting is one operation of the pool as the page counts it.
func waiting(held *pool.Pool, op *pool.Operation, at *head) dashboard.Waiting {
	w := dashboard.Waiting{
		Hash: op.Hash, EntryPoint: op.EntryPoint.Address, Sender: op.Op.Sender, Paymaster: op.Op.Paymaster,
		Fees: gas.Fees{MaxFee: op.Op.MaxFeePerGas, MaxPriority: op.Op.MaxPriorityFeePerGas}, AddedTime: op.AddedTime, Holder: held.Holder(op.Hash),
	}
	if !op.Op.IsEIP7702() {
		w.Factory = op.Op.Factory
	}
	clock := at.header.Time
	if op.ValidityInBlocks {
		clock = at.number()
	}
	w.NotYetValid = op.ValidAfter > clock
	return w
}

// Endpoints implements [dashboard.Bundler].
func (p *Page) Endpoints(context.Context) []dashboard.Endpoint {
	list := p.node.shownEndpoints(time.Now().UnixMilli())
	if heads := p.node.heads; heads != nil {
		list = append(list, dashboard.Endpoint{Name: heads.Origin(), Role: "head subscription", Status: list[0].Status, Well: list[0].Well})
	}
	return list
}

// Books implements [dashboard.Bundler].
func (p *Page) Books(limit int) ([]dashboard.Earning, dashboard.Totals) {
	report, err := p.node.Profit(context.Background(), profit.Query{Bundles: limit})
	if err != nil {
		return nil, dashboard.Totals{}
	}
	earnings := make([]dashboard.Earning, 0, len(report.Entries))
	for _, e := range slices.Backward(report.Entries) {
		earnings = append(earnings, dashboard.Earning{
			Transaction: e.Transaction, Signer: e.Signer, EntryPoint: e.EntryPoint, Reverted: e.Kind == profit.Reverted, Cancels: e.Kind == profit.Cancellation,
			Block: e.Block, Time: e.Time, Operations: e.Operations, GasLimit: e.GasLimit, GasUsed: e.GasUsed, Cost: e.Cost, Earned: e.Earned,
		})
	}
	t := &report.Total
	return earnings, dashboard.Totals{
		Bundles: t.Bundles, Reverted: t.Reverted, Cancellations: t.Cancellations, Operations: t.Operations,
		Earned: dashboard.Wei(t.Earned), Cost: dashboard.Wei(t.Cost),
	}
}

// post hands an operator's event to the worker of a key.
func (p *Page) post(signer common.Address, e bundlesender.Event) error {
	for _, w := range p.node.keys.all() {
		if w.key.Address() != signer {
			continue
		}
		if w.current().State == bundlesender.Stopped {
			return bundlesender.ErrStopped
		}
		w.post(e)
		return nil
	}
	return fmt.Errorf("%w: no bundle sender has the key %s", dashboard.ErrNotFound, signer)
}

// Pause implements [dashboard.Operator].
func (p *Page) Pause(_ context.Context, signer common.Address, paused bool) error {
	return p.post(signer, bundlesender.PauseSet{Paused: paused})
}

// CancelNow implements [dashboard.Operator].
func (p *Page) CancelNow(_ context.Context, signer common.Address) error {
	return p.post(signer, bundlesender.CancelNow{})
}

// DrainKey implements [dashboard.Operator].
func (p *Page) DrainKey(ctx context.Context, signer common.Address) error {
	_, err := p.node.DrainKey(ctx, signer)
	if _, no := errors.AsType[*rejection.Rejection](err); no {
		return fmt.Errorf("%w: %w", dashboard.ErrNotFound, err)
	}
	return err
}

// Ban implements [dashboard.Operator].
func (p *Page) Ban(_ context.Context, entity common.Address) (int, error) {
	var count int
	var status pool.Status
	p.node.pool.do(func(held *pool.Pool) []pool.Removed {
		removed := held.SetReputation([]pool.Reputation{{Address: entity, OpsSeen: p.node.config.Pool.BanOpsSeenPenalty}})
		count, status = len(removed), held.ReputationOf(entity).Status
		return removed
	})
	if status != pool.Banned {
		return count, fmt.Errorf("%s is on the list of those that are always allowed", entity)
	}
	p.node.keepReputation()
	return count, nil
}
