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
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"baler/userop"

	"github.com/alecthomas/kong"
)

// benchVersion is the EntryPoint that every contender serves.
const benchVersion = userop.V07

type cli struct {
	Run    runCommand    `cmd:"" default:"withargs" help:"Measure, and print tables."`
	Report reportCommand `cmd:"" help:"Measure everything that docs/benchmarks.md shows, and write its tables and plots."`
	Floor  floorCommand  `cmd:"" help:"Measure what a program takes that does of all this only what it cannot do without."`

	Chain       chainCommand `cmd:"" hidden:"" help:"Be the chain; the other commands start it."`
	FloorServer floorServer  `cmd:"" hidden:"" help:"Be the program that floor measures."`
}

// programs are what is measured, and with what.
type programs struct {
	Baler      string        `help:"Baler's binary." default:"bin/operators/baler" placeholder:"FILE"`
	BalerFlags []string      `help:"Further flags for baler node." placeholder:"FLAG" sep:"none"`
	Alto       string        `help:"Folder in which npm has installed Alto; empty: Baler alone." placeholder:"DIR"`
	Accounts   int           `help:"Accounts that send, one operation in flight each." default:"2500"`
	Burst      int           `help:"Operations in the burst." default:"2000"`
	Duration   time.Duration `help:"How long the steady and the saturation scenario send." default:"12s"`
	Settle     time.Duration `help:"How long what was accepted may take to be mined after that; what is not is reported." default:"15s"`
	BlockTime  time.Duration `help:"Time between blocks." default:"1s"`
	JSON       string        `help:"Write all figures to this file." placeholder:"FILE"`
}

// contenders are all that are there, Baler first.
func (p *programs) contenders() []contender {
	list := []contender{baler(p.Baler, p.BalerFlags)}
	if p.Alto != "" {
		list = append(list, alto(p.Alto))
	}
	return list
}

func (p *programs) writeJSON(all any) error {
	if p.JSON == "" {
		return nil
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(p.JSON, append(text, '\n'), 0o644)
}

type runCommand struct {
	programs
	Signers   []int           `help:"Numbers of signers to measure with." default:"1,4"`
	Scenarios []string        `help:"What to measure: steady (even rates), burst, saturation, pending (bundles out of a deep pool)." default:"steady,burst,saturation" enum:"steady,burst,saturation,pending"`
	Workload  string          `help:"What an operation does: light (one wei is moved) or heavy (twelve tokens are, to new holders: 390,000 gas)." enum:"light,heavy" default:"light"`
	Rates     []int           `help:"Operations a second in the steady scenario; each is a run." default:"20"`
	Latencies []time.Duration `help:"Added to each request of a bundler to the node; each is a run." default:"0s"`
	Pending   []int           `help:"Operations pending in the pending scenario; each is a run." default:"1000,10000"`
	Plots     string          `help:"Write plots (SVG) into this folder." placeholder:"DIR"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	parsed := kong.Parse(&cli{}, kong.Name("bench"), kong.Description("Measure bundlers side by side."), kong.BindTo(ctx, (*context.Context)(nil)))
	parsed.FatalIfErrorf(parsed.Run())
}

// Run measures every contender in every scenario.
func (c *runCommand) Run(ctx context.Context) error {
	if most := slices.Max(c.Signers); most > mostKeys || slices.Min(c.Signers) < 1 {
		return fmt.Errorf("--signers: have %v, want 1 to %d each", c.Signers, mostKeys)
	}
	build, err := c.build()
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, build)
	var all []figures
	err = withCourse(ctx, &c.programs, c.Workload == heavy, func(course *course) (err error) {
		all, err = course.measureAll(ctx, c.runs())
		return err
	})
	printTables(os.Stdout, all) // what was measured is not lost
	if err != nil {
		return err
	}
	if err := c.writeJSON(all); err != nil {
		return err
	}
	if c.Plots != "" {
		if err := plotAll(c.Plots, "bench", all); err != nil {
			return err
		}
	}
	return failures(all)
}

// runs are all combinations; the contenders of one stand together.
func (c *runCommand) runs() (list []aRun) {
	for _, s := range c.scenarios() {
		for _, latency := range c.Latencies {
			for _, signers := range c.Signers {
				for _, one := range c.contenders() {
					list = append(list, aRun{one, s, c.Workload, signers, latency})
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
			for _, rate := range c.Rates {
				list = append(list, steady(rate, c.Duration))
			}
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

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }
