package dashboard

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"baler/gas"

	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"
)

// What the page shows of the pool at most.
const (
	feeBars       = 24
	entitiesShown = 8
	waitingShown  = 25
)

// Summary is the pool on the page.
type Summary struct {
	Operations  int          `json:"operations"`
	Bytes       uint64       `json:"bytes"`
	Held        int          `json:"held"`        // in the hands of a bundle sender
	NotYetValid int          `json:"notYetValid"` // their time has not come
	EntryPoints []Share      `json:"entryPoints"`
	Fees        Histogram    `json:"fees"`
	Ages        []AgeShare   `json:"ages"`
	Skipped     []CauseShare `json:"skipped"` // the most frequent first
	Paymasters  []Entity     `json:"paymasters"`
	Factories   []Entity     `json:"factories"`
	Noted       []Entity     `json:"noted"` // throttled and banned, whoever they are
	Best        []BestPaying `json:"best"`
}

// Share is how many operations are an EntryPoint's.
type Share struct {
	Address common.Address `json:"address"`
	Count   int            `json:"count"`
}

// AgeShare is how many operations are younger than so many seconds, and not younger than the last.
type AgeShare struct {
	Below uint64 `json:"below"` // seconds; 0: no bound
	Count int    `json:"count"`
}

// CauseShare is how many operations were left out of a bundle last for a cause.
type CauseShare struct {
	Cause string `json:"cause"`
	Count int    `json:"count"`
}

// Histogram is how many operations pay what: their effective priority fee at the next base fee, in wei per gas. The last
// bar holds all that pay more.
type Histogram struct {
	From      float64 `json:"from"`
	Width     float64 `json:"width"`
	Counts    []int   `json:"counts"`
	Threshold *Wei    `json:"threshold"` // priority fee that is required now; nil: not known
	Below     int     `json:"below"`     // operations that pay less than is required now, in either fee
}

// Entity is a paymaster or factory, or an address with a reputation.
type Entity struct {
	Address  common.Address `json:"address"`
	Count    int            `json:"count"` // operations in the pool
	Seen     uint64         `json:"seen"`
	Included uint64         `json:"included"`
	Status   string         `json:"status"`
}

// BestPaying is one of the operations that pay most.
type BestPaying struct {
	Hash      common.Hash    `json:"hash"`
	Sender    common.Address `json:"sender"`
	Effective Wei            `json:"effective"` // priority fee
	Age       uint64         `json:"age"`       // seconds
	Holder    string         `json:"holder,omitempty"`
	Reason    string         `json:"reason,omitempty"`
}

// ageBounds are the bounds between ages, in seconds.
func ageBounds() []uint64 { return []uint64{5, 15, 60, 300, 1800} }

// summarise counts what is in the pool, at a time in unix seconds.
func summarise(m Mempool, now uint64) Summary {
	s := Summary{Operations: len(m.Operations), Bytes: m.Bytes, Ages: make([]AgeShare, len(ageBounds())+1), Skipped: []CauseShare{}}
	for i, bound := range ageBounds() {
		s.Ages[i].Below = bound
	}
	tips := make([]uint256.Int, len(m.Operations))
	perEntryPoint, causes := make(map[common.Address]int), make(map[string]int)
	paymasters, factories := make(map[common.Address]int), make(map[common.Address]int)
	for i := range m.Operations {
		op := &m.Operations[i]
		tips[i] = effective(op.Fees, m.BaseFee)
		perEntryPoint[op.EntryPoint]++
		if op.Holder != "" {
			s.Held++
		} else if op.Skipped != "" {
			causes[op.Skipped]++
		}
		if op.NotYetValid {
			s.NotYetValid++
		}
		if m.Required != nil && (op.Fees.MaxFee.Lt(&m.Required.MaxFee) || tips[i].Lt(&m.Required.MaxPriority)) {
			s.Fees.Below++
		}
		if op.Paymaster != nil {
			paymasters[*op.Paymaster]++
		}
		if op.Factory != nil {
			factories[*op.Factory]++
		}
		age := now - min(now, op.AddedTime)
		place, _ := slices.BinarySearch(ageBounds(), age+1)
		s.Ages[place].Count++
	}
	for address, count := range perEntryPoint {
		s.EntryPoints = append(s.EntryPoints, Share{address, count})
	}
	slices.SortFunc(s.EntryPoints, func(a, b Share) int { return a.Address.Cmp(b.Address) })
	for cause, count := range causes {
		s.Skipped = append(s.Skipped, CauseShare{cause, count})
	}
	slices.SortFunc(s.Skipped, func(a, b CauseShare) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Cause, b.Cause))
	})
	s.entities(m.Reputation, paymasters, factories)
	s.Fees.draw(tips, m.Required)
	s.Best = best(m, tips, now)
	return s
}

// effective is the priority fee that an operation really pays on top of the base fee; none if it cannot pay that.
func effective(f gas.Fees, baseFee uint256.Int) uint256.Int {
	var left uint256.Int
	if f.MaxFee.Gt(&baseFee) {
		left.Sub(&f.MaxFee, &baseFee)
	}
	if left.Gt(&f.MaxPriority) {
		return f.MaxPriority
	}
	return left
}

// draw sorts the fees into bars between the least and nearly the most, so that one that pays a fortune does not make all others
// one bar. What is required now is within the picture, too.
func (h *Histogram) draw(tips []uint256.Int, required *gas.Fees) {
	h.Counts = []int{}
	if required != nil {
		threshold := Wei(required.MaxPriority)
		h.Threshold = &threshold
	}
	if len(tips) == 0 {
		return
	}
	fees := make([]float64, len(tips))
	for i := range tips {
		fees[i] = tips[i].Float64()
	}
	slices.Sort(fees)
	from, to := fees[0], fees[(len(fees)-1)*98/100]
	if required != nil {
		threshold := required.MaxPriority.Float64()
		from, to = min(from, threshold), max(to, threshold)
	}
	if to <= from {
		to = from + max(from, 1)
	}
	h.From, h.Width, h.Counts = from, (to-from)/(feeBars-1), make([]int, feeBars)
	for _, fee := range fees {
		h.Counts[min(int((fee-from)/h.Width), feeBars-1)]++
	}
}

// entities are those that occur most, and those that are not in good standing.
func (s *Summary) entities(records []Reputation, paymasters, factories map[common.Address]int) {
	standing := make(map[common.Address]Reputation, len(records))
	for _, r := range records {
		standing[r.Address] = r
	}
	top := func(counts map[common.Address]int) []Entity {
		list := make([]Entity, 0, len(counts))
		for address, count := range counts {
			r, known := standing[address]
			if !known {
				r.Status = "ok"
			}
			list = append(list, Entity{address, count, r.Seen, r.Included, r.Status})
		}
		slices.SortFunc(list, func(a, b Entity) int { return cmp.Or(cmp.Compare(b.Count, a.Count), a.Address.Cmp(b.Address)) })
		return list[:min(len(list), entitiesShown)]
	}
	s.Paymasters, s.Factories = top(paymasters), top(factories)
	s.Noted = []Entity{}
	for _, address := range slices.SortedFunc(maps.Keys(standing), func(a, b common.Address) int { return bytes.Compare(a[:], b[:]) }) {
		if r := standing[address]; r.Status != "ok" && len(s.Noted) < 2*entitiesShown {
			s.Noted = append(s.Noted, Entity{address, paymasters[address] + factories[address], r.Seen, r.Included, r.Status})
		}
	}
}

// best are the operations that pay most.
func best(m Mempool, tips []uint256.Int, now uint64) []BestPaying {
	order := make([]int, len(tips))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(tips[b].Cmp(&tips[a]), m.Operations[a].Hash.Cmp(m.Operations[b].Hash))
	})
	list := make([]BestPaying, 0, waitingShown)
	for _, i := range order[:min(len(order), waitingShown)] {
		op := &m.Operations[i]
		list = append(list, BestPaying{op.Hash, op.Sender, Wei(tips[i]), now - min(now, op.AddedTime), op.Holder, op.Reason})
	}
	return list
}
