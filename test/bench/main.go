// Command bench measures bundlers side by side: on one chain, under one load, by one client.
//
// In: the programs to measure. Out: a table and plots. The chain is a process of its own (geth in process, as in `baler
// dev`), and so is each bundler, one after the other: processor time and memory are read from the system, what was
// included when is read from the chain, and what a bundler asks of the node is counted on the way. It never takes a
// bundler's word for anything but the operation's hash.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"time"

	"baler/devchain"
	"baler/entrypoint"
	"baler/load"
	"baler/userop"

	"github.com/alecthomas/kong"
	"github.com/holiman/uint256"
)

// benchVersion is the EntryPoint that every contender serves.
const benchVersion = userop.V07

type cli struct {
	Run   runCommand   `cmd:"" default:"withargs" help:"Measure, and print a table."`
	Chain chainCommand `cmd:"" hidden:"" help:"Be the chain; run starts it."`
}

type runCommand struct {
	Baler      string          `help:"Baler's binary." default:"bin/baler" placeholder:"FILE"`
	BalerFlags []string        `help:"Further flags for baler node." placeholder:"FLAG" sep:"none"`
	Alto       string          `help:"Folder in which npm has installed Alto; empty: Baler alone." placeholder:"DIR"`
	Signers    []int           `help:"Numbers of signers to measure with." default:"1,4"`
	Scenarios  []string        `help:"What to measure: steady, burst, saturation, pending." default:"steady,burst,saturation" enum:"steady,burst,saturation,pending"`
	Accounts   int             `help:"Accounts that send, one operation in flight each." default:"4000"`
	Rate       int             `help:"Operations a second in the steady scenario." default:"20"`
	Burst      int             `help:"Operations in the burst." default:"2000"`
	Duration   time.Duration   `help:"How long the steady and the saturation scenario send." default:"30s"`
	BlockTime  time.Duration   `help:"Time between blocks." default:"1s"`
	Latencies  []time.Duration `help:"Added to each request of a bundler to the node; each is a run." default:"0s"`
	Pending    []int           `help:"Operations pending in the pending scenario; each is a run." default:"1000,10000"`
	JSON       string          `help:"Write all figures to this file." placeholder:"FILE"`
	Plots      string          `help:"Write plots (SVG) into this folder." placeholder:"DIR"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	parsed := kong.Parse(&cli{}, kong.Name("bench"), kong.Description("Measure bundlers side by side."), kong.BindTo(ctx, (*context.Context)(nil)))
	parsed.FatalIfErrorf(parsed.Run())
}

// Run measures every contender in every scenario.
func (c *runCommand) Run(ctx context.Context) (err error) {
	if most := slices.Max(c.Signers); most > mostKeys || slices.Min(c.Signers) < 1 {
		return fmt.Errorf("--signers: have %v, want 1 to %d each", c.Signers, mostKeys)
	}
	say("starting the chain, and creating %d accounts", c.Accounts)
	node, ready, err := startChain(ctx, c.BlockTime)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.stop()) }()
	fleet, err := newFleet(ctx, ready, c.Accounts)
	if err != nil {
		return err
	}
	w, err := newWatch(ctx, ready)
	if err != nil {
		return err
	}
	watching, stopWatching := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- w.run(watching) }()
	defer func() {
		stopWatching()
		err = errors.Join(err, <-ended)
	}()

	contenders := []contender{baler(c.Baler, c.BalerFlags)}
	if c.Alto != "" {
		contenders = append(contenders, alto(c.Alto))
	}
	var all []figures
	for _, r := range c.runs(contenders) {
		say("%s", r)
		if err := ready.delay(ctx, r.latency); err != nil {
			return err
		}
		f, err := measure(ctx, r, node, ready, fleet, w)
		if err != nil {
			printTables(os.Stdout, all) // what was measured is not lost
			return fmt.Errorf("%s: %w", r, err)
		}
		all = append(all, f)
	}
	printTables(os.Stdout, all)
	if c.JSON != "" {
		text, err := json.MarshalIndent(all, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(c.JSON, append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	if c.Plots != "" {
		return plotAll(c.Plots, all)
	}
	return nil
}

// aRun is one contender under one load.
type aRun struct {
	contender contender
	scenario  scenario
	signers   int
	latency   time.Duration
}

// String says what is measured.
func (r aRun) String() string {
	return fmt.Sprintf("%s, %s, %d signers, %v latency", r.contender.name, r.scenario.name, r.signers, r.latency)
}

// runs are all combinations; the contenders of one stand together.
func (c *runCommand) runs(contenders []contender) (list []aRun) {
	for _, s := range c.scenarios() {
		for _, latency := range c.Latencies {
			for _, signers := range c.Signers {
				for _, one := range contenders {
					list = append(list, aRun{one, s, signers, latency})
				}
			}
		}
	}
	return list
}

func (c *runCommand) scenarios() []scenario {
	var list []scenario
	for _, name := range c.Scenarios {
		switch name {
		case "steady":
			list = append(list, steady(c.Rate, c.Duration))
		case "burst":
			list = append(list, burst(c.Burst))
		case "pending":
			for _, n := range c.Pending {
				list = append(list, pending(n))
			}
		default:
			list = append(list, saturation(c.Duration))
		}
	}
	return list
}

// newFleet makes the accounts that all contenders are measured with.
func newFleet(ctx context.Context, ready chainReady, accounts int) (*load.Fleet, error) {
	contracts, err := devchain.DefaultContracts()
	if err != nil {
		return nil, err
	}
	return load.NewFleet(ctx, load.FleetConfig{
		NodeURL: ready.NodeURL, Accounts: accounts, FundingKey: devchain.Key(fundingKey), Multicall3: contracts.Multicall3,
		FundPerAccount: uint256.NewInt(1e18),
		Target:         load.Target{EntryPoint: entrypoint.Canonical(benchVersion), Factory: contracts.AccountFactories[benchVersion]},
	})
}

// freshGas is what an account's first operation takes beyond the estimate, which is made with an account that may have had
// one: nonce and deposit are zero before it.
const freshGas = 50_000

// startTime is how long a bundler may take until it answers.
const startTime = time.Minute

// measure runs one contender in one scenario.
func measure(ctx context.Context, r aRun, node *process, ready chainReady, fleet *load.Fleet, w *watch) (f figures, err error) {
	f = figures{Bundler: r.contender.name, Scenario: r.scenario.name, Signers: r.signers, LatencyMS: float64(r.latency.Milliseconds())}
	port, err := freePort(ctx)
	if err != nil {
		return f, err
	}
	bundler, clean, err := r.contender.start(ctx, ready, r.scenario, r.signers, port)
	if err != nil {
		return f, err
	}
	bundler.drain()
	defer func() { err = errors.Join(err, bundler.stop(), clean()) }() // stopping twice does no harm
	url := "http://127.0.0.1:" + strconv.Itoa(port)
	if err := fleet.Shape(ctx, url, ready.NodeURL, time.Now().Add(startTime)); err != nil {
		return f, fmt.Errorf("%w\n%s", err, bundler.stderr)
	}
	fleet.VerificationGasLimit += freshGas
	fleet.MaxFeePerGas = *uint256.NewInt(100e9) // full blocks raise the base fee by an eighth each
	fleet.MaxPriorityFeePerGas = *uint256.NewInt(2e9)
	d, err := newDriver(ctx, r.scenario, fleet, w, url, entrypoint.Canonical(benchVersion).Address)
	if err != nil {
		return f, err
	}
	defer d.bundler.Close()
	before, err := look(ctx, bundler, node, ready)
	if err != nil {
		return f, err
	}
	if err := d.run(ctx); err != nil {
		return f, err
	}
	after, err := look(ctx, bundler, node, ready)
	if err != nil {
		return f, err
	}
	f.measured(d, w.since())
	if r.scenario.leaves {
		if err := bundler.stop(); err != nil {
			return f, err
		}
		if err := w.quiet(ctx); err != nil {
			return f, err
		}
		if err := fleet.Refresh(ctx, ready.NodeURL); err != nil {
			return f, err
		}
	}
	f.used([2]usage{before.bundler, after.bundler}, [2]usage{before.node, after.node}, before.asked, after.asked)
	return f, nil
}

// looked is what the programs have used at one moment.
type looked struct {
	bundler, node usage
	asked         asked
}

func look(ctx context.Context, bundler, node *process, ready chainReady) (l looked, err error) {
	if l.bundler, err = bundler.usage(); err != nil {
		return l, err
	}
	if l.node, err = node.usage(); err != nil {
		return l, err
	}
	l.asked, err = ready.asked(ctx)
	return l, err
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }
