package validation

import (
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/params"
)

// NodeCheck says which bundles the node has to run too, by one eth_call, before they are sent.
type NodeCheck uint8

// The choices. Whatever is chosen, each bundle is run here to its end, on the state that the node gave for the head's block:
// what one that is not checked relies on is that the local EVM has the chain's rules, which the others are to show.
const (
	// NodeCheckAlways asks the node for each bundle.
	NodeCheckAlways NodeCheck = iota
	// NodeCheckSampled asks for the first bundles of each kind, then for some; for each one as long as the local EVM has not
	// been compared with the node's, and from the first disagreement on. See bundleChecks.
	NodeCheckSampled
	// NodeCheckNever asks for none. It is for measurements.
	NodeCheckNever
)

const (
	// firstChecked is how many bundles of a kind the node has to agree with before it is asked for some of them only.
	firstChecked = 4
	// checkEvery: after that the node is asked for one bundle of a kind in so many.
	checkEvery = 16
)

// bundleKind is what bundles have in common that the node and the local EVM may disagree about.
type bundleKind struct {
	entryPoint common.Address
	rules      params.Rules // of the fork
	delegates  bool         // it carries EIP-7702 tuples, which nodes came to know late
}

// bundleChecks counts what the node agreed with, and decides what it is asked for. It is safe for concurrent use.
type bundleChecks struct {
	mu      sync.Mutex
	tallies map[bundleKind]tally
	differ  bool // the node and the local EVM have disagreed, about whatever
	stats   BundleStats
}

// tally is of one kind of bundles.
type tally struct {
	agreed int // bundles that both have run
	spared int // bundles that the node was not asked for, since then
}

// BundleStats count bundles that passed here.
type BundleStats struct {
	Asked  uint64 // the node had to run them too, and has answered
	Spared uint64 // it was not asked
}

// due reports whether the node is to be asked for the next bundle of a kind.
func (c *bundleChecks) due(kind bundleKind) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tallies[kind]
	return c.differ || t.agreed < firstChecked || t.spared >= checkEvery-1
}

// agreed notes that the node has agreed with the local run of a bundle.
func (c *bundleChecks) agreed(kind bundleKind) {
	c.note(kind, func(t tally) tally { return tally{agreed: t.agreed + 1} })
}

// spared notes that the node was not asked for a bundle.
func (c *bundleChecks) spared(kind bundleKind) {
	c.mu.Lock()
	c.stats.Spared++
	c.mu.Unlock()
	c.note(kind, func(t tally) tally { return tally{agreed: t.agreed, spared: t.spared + 1} })
}

func (c *bundleChecks) note(kind bundleKind, change func(tally) tally) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tallies == nil {
		c.tallies = make(map[bundleKind]tally)
	}
	c.tallies[kind] = change(c.tallies[kind])
}

// answered counts a bundle that the node has run, whatever it said.
func (c *bundleChecks) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Asked++
}

// disagreed has the node asked for every bundle from now on.
func (c *bundleChecks) disagreed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.differ = true
}

// doubt begins again with the first bundles of each kind.
func (c *bundleChecks) doubt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.tallies)
}

// DoubtBundles has the node asked for the next bundles of each kind again, as at the beginning. It is for whoever has seen a
// bundle fail on the chain that passed here.
func (v *Validator) DoubtBundles() { v.bundleChecks.doubt() }

// BundleStats counts bundles by whether the node was asked for them.
func (v *Validator) BundleStats() BundleStats {
	v.bundleChecks.mu.Lock()
	defer v.bundleChecks.mu.Unlock()
	return v.bundleChecks.stats
}

// kind returns the bundle's.
func (w *wholeBundle) kind() (bundleKind, error) {
	at, err := w.v.next(w.view, Options{Block: w.Block})
	if err != nil {
		return bundleKind{}, err
	}
	return bundleKind{w.EntryPoint.Address, at.rules, len(w.Authorizations) > 0}, nil
}

// checked reports whether the node is to be asked for the bundle.
//
// Operations with aggregators are not compared one by one (see Validator.Validate), so bundles of them are; and where nothing was
// compared yet, or the node's tracer simulates because the local EVM is not believed, nothing here stands for the node's word. Nor does
// it where a bundle is run again for a block of its own, to find out why it failed.
func (w *wholeBundle) checked(kind bundleKind) bool {
	switch w.v.cfg.NodeCheck {
	case NodeCheckNever:
		return false
	case NodeCheckSampled:
		return w.Block != nil || w.aggregated() || w.v.tracing.Load() || !w.v.check.passed.Load() || w.v.bundleChecks.due(kind)
	case NodeCheckAlways:
		return true
	default:
		return true
	}
}

// undecided reports whether the run met one of the chain's own precompiled contracts. What that would have done is not known here.
func (w *wholeBundle) undecided(run bundleRun) bool {
	for _, addr := range w.v.cfg.Precompiles {
		if _, met := run.reads.Accounts[addr]; met {
			return true
		}
	}
	return false
}
