package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"baler/devchain"
	"baler/entrypoint"
	"baler/load"

	"github.com/holiman/uint256"
)

// course is where contenders are measured one after the other: a chain, and accounts with money and tokens.
type course struct {
	node   *process
	ready  chainReady
	fleet  *load.Fleet
	watch  *watch
	tokens tokens
	settle time.Duration
}

// withCourse runs what uses a course, and takes it away again.
func withCourse(ctx context.Context, p *programs, heavily bool, use func(*course) error) (err error) {
	remove, err := p.installed()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	say("starting the chain, and creating %d accounts", p.Accounts)
	c := &course{settle: p.Settle}
	if c.node, c.ready, err = startChain(ctx, p.BlockTime); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.node.stop()) }()
	if err := c.people(ctx, p.Accounts, heavily); err != nil {
		return err
	}
	if c.watch, err = newWatch(ctx, c.ready); err != nil {
		return err
	}
	watching, stopWatching := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- c.watch.run(watching) }()
	defer func() {
		stopWatching()
		err = errors.Join(err, <-ended)
	}()
	say("each account sends its first operation, which costs more than any other")
	first := burst(p.Accounts)
	f := c.measure(ctx, aRun{baler(p.Baler, p.BalerFlags), first, light, 4, 0}, firstGas)
	if f.Failure != "" || f.Missing > 0 {
		return fmt.Errorf("the first operations: %d are missing: %s", f.Missing, f.Failure)
	}
	return use(c)
}

// people makes the accounts that all contenders are measured with.
func (c *course) people(ctx context.Context, accounts int, heavily bool) error {
	contracts, err := devchain.DefaultContracts()
	if err != nil {
		return err
	}
	if c.tokens, err = newTokens(contracts); err != nil {
		return err
	}
	cfg := load.FleetConfig{
		NodeURL: c.ready.NodeURL, Accounts: accounts, FundingKey: devchain.Key(fundingKey), Multicall3: contracts.Multicall3,
		FundPerAccount: uint256.NewInt(1e18),
		Target:         load.Target{EntryPoint: entrypoint.Canonical(benchVersion), Factory: contracts.AccountFactories[benchVersion]},
	}
	if heavily {
		if err := c.tokens.equip(ctx, &cfg); err != nil {
			return err
		}
	}
	c.fleet, err = load.NewFleet(ctx, cfg)
	return err
}

// aRun is one contender under one load.
type aRun struct {
	contender contender
	scenario  scenario
	workload  string
	signers   int
	latency   time.Duration
}

// String says what is measured.
func (r aRun) String() string {
	return fmt.Sprintf("%s, %s, %s operations, %d signers, %v latency", r.contender.name, r.scenario.name, r.workload, r.signers, r.latency)
}

// measureAll measures one after the other. A run that fails is a figure, and the next one goes on; an error is the end of ctx.
func (c *course) measureAll(ctx context.Context, runs []aRun) ([]figures, error) {
	var all []figures
	for i, r := range runs {
		say("%d of %d: %s", i+1, len(runs), r)
		f := c.measure(ctx, r, depositGas)
		if err := ctx.Err(); err != nil {
			return all, err
		}
		if f.Failure != "" {
			say("failed: %s", f.Failure)
		}
		all = append(all, f)
	}
	return all, nil
}

// failures is an error that names the runs that failed.
func failures(all []figures) (err error) {
	for _, f := range all {
		if f.Failure != "" {
			err = errors.Join(err, fmt.Errorf("%s, %s: %s", f.title(), f.column(), f.Failure))
		}
	}
	return err
}

// What an operation may take in verification beyond the estimate, which is made with one account for all.
const (
	firstGas   = 50_000 // nonce and deposit are zero before an account's first operation
	depositGas = 15_000 // the account pays the EntryPoint, because what it left there is less than the operation's most
)

// startTime is how long a bundler may take until it answers.
const startTime = time.Minute

// measure runs one contender in one scenario.
func (c *course) measure(ctx context.Context, r aRun, moreGas uint64) figures {
	f := figures{
		Bundler: r.contender.name, Scenario: r.scenario.name, Workload: r.workload, Signers: r.signers,
		LatencyMS: float64(r.latency.Milliseconds()), SettleS: c.settle.Seconds(), Pending: r.scenario.pending,
	}
	if err := c.attempt(ctx, r, moreGas, &f); err != nil {
		f.Failure = err.Error()
	}
	return f
}

func (c *course) attempt(ctx context.Context, r aRun, moreGas uint64, f *figures) (err error) {
	if err := c.ready.delay(ctx, r.latency); err != nil {
		return err
	}
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	bundler, clean, err := r.contender.start(ctx, c.ready, r.scenario, r.signers, port)
	if err != nil {
		return err
	}
	bundler.drain()
	defer func() { err = errors.Join(err, bundler.stop(), clean()) }() // stopping twice does no harm
	url := "http://" + "127.0.0.1:" + strconv.Itoa(port)
	if err := c.shape(ctx, r, url, moreGas); err != nil {
		return fmt.Errorf("%w\n%s", err, bundler.stderr)
	}
	r.scenario.settle = c.settle
	d, err := newDriver(ctx, r.scenario, c.fleet, c.watch, url, entrypoint.Canonical(benchVersion).Address)
	if err != nil {
		return err
	}
	defer d.bundler.Close()
	before, err := c.look(ctx, bundler)
	if err != nil {
		return err
	}
	if err := d.run(ctx); err != nil {
		return errors.Join(err, c.clear(ctx, bundler))
	}
	after, err := c.look(ctx, bundler)
	if err != nil {
		return errors.Join(err, c.clear(ctx, bundler))
	}
	f.measured(d, c.watch.since())
	f.used([2]usage{before.bundler, after.bundler}, [2]usage{before.node, after.node}, before.asked, after.asked)
	if d.unsettled() > 0 {
		return c.clear(ctx, bundler)
	}
	return nil
}

// shape gives the fleet's operations what they do, their limits and their fees.
func (c *course) shape(ctx context.Context, r aRun, url string, moreGas uint64) error {
	c.fleet.Call = nil
	if r.workload == heavy {
		c.fleet.Call = c.tokens.call
	}
	if err := c.fleet.Shape(ctx, url, c.ready.NodeURL, time.Now().Add(startTime)); err != nil {
		return err
	}
	c.fleet.VerificationGasLimit += moreGas
	c.fleet.MaxFeePerGas = *uint256.NewInt(100e9) // full blocks raise the base fee by an eighth each
	c.fleet.MaxPriorityFeePerGas = *uint256.NewInt(2e9)
	return nil
}

// clear ends a bundler that has not settled everything, and makes nothing of it reach the next one.
func (c *course) clear(ctx context.Context, bundler *process) error {
	if err := bundler.stop(); err != nil {
		return err
	}
	if err := c.ready.forget(ctx); err != nil {
		return err
	}
	if err := c.watch.await(ctx, c.watch.now()+2); err != nil { // a block may have been in the making
		return err
	}
	return c.fleet.Refresh(ctx, c.ready.NodeURL)
}

// looked is what the programs have used at one moment.
type looked struct {
	bundler, node usage
	asked         asked
}

func (c *course) look(ctx context.Context, bundler *process) (l looked, err error) {
	if l.bundler, err = bundler.usage(); err != nil {
		return l, err
	}
	if l.node, err = c.node.usage(); err != nil {
		return l, err
	}
	l.asked, err = c.ready.asked(ctx)
	return l, err
}
