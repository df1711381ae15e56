package load

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"golang.org/x/sync/errgroup"
)

// run is one load while it goes on.
type run struct {
	cfg     Config
	bundler *endpoint
	node    *endpoint
	chainID uint64
	to      common.Address // gets the transferred wei

	fees  feeCache
	pace  pacer
	watch *watcher
	tally *tally
}

// Run sends the configured load and reports on it. Operations that fail are counted in the report; an error means that
// the load itself could not be run: wrong settings, an endpoint that does not answer, no money, or ctx ended.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	r, err := begin(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer r.end()
	accounts, err := r.prepare(ctx)
	if err != nil {
		return nil, fmt.Errorf("prepare accounts: %w", err)
	}
	r.tally.enter(Funding)
	if err := r.fund(ctx, accounts); err != nil {
		return nil, fmt.Errorf("fund accounts: %w", err)
	}
	r.tally.enter(Sending)
	started := time.Now()
	if err := r.send(ctx, accounts); err != nil {
		return nil, err
	}
	took := time.Since(started)
	r.tally.enter(Settling)
	report, err := r.settle(ctx)
	if err != nil {
		return nil, fmt.Errorf("look up the bundles at the node: %w", err)
	}
	report.Took = took
	return report, nil
}

// begin connects to both endpoints and checks that they belong together; whoever begins calls end.
func begin(ctx context.Context, cfg Config) (_ *run, err error) {
	r := &run{
		cfg: cfg, tally: newTally(cfg), pace: pacer{rate: cfg.Rate},
		to: crypto.PubkeyToAddress(cfg.FundingKey.PublicKey),
	}
	if r.bundler, err = dial(ctx, cfg.BundlerURL, cfg.RequestTimeout, cfg.Concurrency+1); err != nil {
		return nil, fmt.Errorf("bundler: %w", err)
	}
	if r.node, err = dial(ctx, cfg.NodeURL, cfg.RequestTimeout, cfg.Concurrency+1); err != nil {
		r.bundler.close()
		return nil, fmt.Errorf("node: %w", err)
	}
	if err := r.checkEndpoints(ctx); err != nil {
		r.end()
		return nil, err
	}
	r.fees.read = r.node.suggestFees
	return r, nil
}

func (r *run) end() {
	r.node.close()
	r.bundler.close()
}

// checkEndpoints makes sure that bundler and node are of one chain, and that the bundler serves the EntryPoints.
func (r *run) checkEndpoints(ctx context.Context) error {
	var atBundler, atNode hexutil.Uint64
	if err := r.bundler.call(ctx, &atBundler, "eth_chainId"); err != nil {
		return fmt.Errorf("bundler: %w", err)
	}
	if err := r.node.call(ctx, &atNode, "eth_chainId"); err != nil {
		return fmt.Errorf("node: %w", err)
	}
	if atBundler != atNode {
		return fmt.Errorf("bundler and node: have chain ids %d and %d, want the same", uint64(atBundler), uint64(atNode))
	}
	r.chainID = uint64(atNode)

	var supported []common.Address
	if err := r.bundler.call(ctx, &supported, "eth_supportedEntryPoints"); err != nil {
		return fmt.Errorf("bundler: %w", err)
	}
	for _, t := range r.cfg.Targets {
		if !slices.Contains(supported, t.EntryPoint.Address) {
			return fmt.Errorf("bundler: EntryPoint v%s at %s is not supported; it has %v",
				t.EntryPoint.Version, t.EntryPoint.Address, supported)
		}
	}
	return nil
}

// send lets all accounts work, and returns when the last one is done. Only the end of ctx makes it fail.
func (r *run) send(ctx context.Context, accounts []*account) error {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	r.watch = newWatcher(r.bundler, r.cfg.PollInterval)
	var watcher sync.WaitGroup
	watcher.Go(func() { r.watch.run(watching) })

	var workers errgroup.Group
	workers.SetLimit(r.cfg.Concurrency)
	for _, a := range accounts {
		workers.Go(func() error { return r.work(ctx, a) })
	}
	err := workers.Wait()
	stop()
	watcher.Wait()
	return err
}

// newSeed makes a seed for accounts nobody had before.
func newSeed() string { return rand.Text() }

// feeCache reads the node's fees once for all the accounts that need them at about the same time.
type feeCache struct {
	read func(context.Context) (fees, error)

	mu    sync.Mutex
	last  fees
	until time.Time
}

// feesLast is for how long fees are used: less than the time between blocks of the fastest chains matters little, as
// the suggestion holds for several full blocks.
const feesLast = time.Second

func (c *feeCache) get(ctx context.Context) (fees, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Now().Before(c.until) {
		return c.last, nil
	}
	f, err := c.read(ctx)
	if err != nil {
		return fees{}, err
	}
	c.last, c.until = f, time.Now().Add(feesLast)
	return f, nil
}

// pacer spaces operations evenly at a rate per second; 0 means without a pause.
type pacer struct {
	rate float64

	mu   sync.Mutex
	next time.Time
}

func (p *pacer) wait(ctx context.Context) error {
	if p.rate == 0 {
		return ctx.Err()
	}
	p.mu.Lock()
	now := time.Now()
	slot := p.next
	if slot.Before(now) {
		slot = now
	}
	p.next = slot.Add(time.Duration(float64(time.Second) / p.rate))
	p.mu.Unlock()
	return pause(ctx, slot.Sub(now))
}

// pause waits, or returns the context's error when that ends first.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ended reports whether ctx, not a limit of our own, is why err came.
func ended(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded))
}
