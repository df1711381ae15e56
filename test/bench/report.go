package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"baler/devchain"

	"github.com/prometheus/procfs"
)

// reportCommand measures what docs/benchmarks.md shows. Each section is written as soon as it is measured: what comes later
// may fail without taking it along.
type reportCommand struct {
	programs
	Sections []string `help:"What to measure: peers (beside Alto), load (the goals, heavy operations), growth (how cost grows)." default:"peers,load,growth" enum:"peers,load,growth"`
	Docs     string   `help:"Folder whose benchmarks.md has the sections, and where plots/ is." default:"docs" placeholder:"DIR"`
	Go       string   `help:"The go command, for benchmarks of packages; empty: none of them." default:"go" placeholder:"FILE"`

	missing error // what was not measured, beside runs
}

// section is a part of the page.
type section struct {
	name  string
	runs  func(c *reportCommand) []aRun
	print func(ctx context.Context, c *reportCommand, out io.Writer, all []figures) error
}

func sections() []section {
	return []section{
		{"peers", (*reportCommand).peers, printPeers},
		{"load", (*reportCommand).load, printLoad},
		{"growth", (*reportCommand).growth, printGrowth},
	}
}

// goalsSection says which goals the figures of the other sections keep.
const goalsSection = "goals"

// Run measures the sections and writes them.
func (c *reportCommand) Run(ctx context.Context) error {
	page := filepath.Join(c.Docs, "benchmarks.md")
	if err := checkSections(page, append([]string{goalsSection}, c.Sections...)); err != nil {
		return err // before minutes of measuring
	}
	if err := os.MkdirAll(c.plots(), 0o755); err != nil {
		return err
	}
	began := time.Now()
	var all []figures
	err := withCourse(ctx, &c.programs, slices.Contains(c.Sections, "load"), func(course *course) error {
		for _, s := range sections() {
			if !slices.Contains(c.Sections, s.name) {
				continue
			}
			say("section %s", s.name)
			found, err := course.measureAll(ctx, s.runs(c))
			all = append(all, found...)
			if err != nil {
				return err
			}
			var text strings.Builder
			if err := s.print(ctx, c, &text, found); err != nil {
				return fmt.Errorf("section %s: %w", s.name, err)
			}
			if err := writeSection(page, s.name, text.String()); err != nil {
				return err
			}
		}
		return nil
	})
	say("%d runs in %s", len(all), time.Since(began).Round(time.Second))
	if err != nil {
		return err
	}
	if len(c.Sections) == len(sections()) { // the goals are of one run
		var text strings.Builder
		printGoals(&text, all)
		if err := writeSection(page, goalsSection, text.String()); err != nil {
			return err
		}
	}
	if err := c.writeJSON(all); err != nil {
		return err
	}
	return errors.Join(failures(all), c.missing)
}

func (c *reportCommand) plots() string { return filepath.Join(c.Docs, "plots") }

// Numbers of signers of the sections.
const (
	few  = 4
	many = 8
)

// peers are both bundlers under the same loads.
func (c *reportCommand) peers() (list []aRun) {
	const rate = 20
	for _, s := range []scenario{steady(rate, c.Duration), burst(c.Burst), saturation(c.Duration)} {
		for _, signers := range []int{1, few} {
			for _, one := range c.contenders() {
				list = append(list, aRun{one, s, light, signers, 0})
			}
		}
	}
	return list
}

// load is an even load that is far from what fits, and operations that fill blocks.
func (c *reportCommand) load() []aRun {
	const rate = 100
	all := c.contenders()
	list := []aRun{{all[0], steady(rate, c.Duration), light, few, 0}}
	for _, signers := range []int{few, many, mostKeys} {
		s := saturation(c.Duration * 3 / 2) // warmUp is a part of it
		s.flags = []string{fmt.Sprintf("--max-bundle-gas=%d", bundleGas(signers))}
		list = append(list, aRun{all[0], s, heavy, signers, 0})
		if signers == many && len(all) > 1 {
			list = append(list, aRun{all[1], s, heavy, signers, 0})
		}
	}
	return list
}

// bundleGas is how much gas a bundle may have so that one of each signer fills a block. A node takes a transaction only while its gas
// limit fits, and what operations may use is more than what they do: a quarter here.
func bundleGas(signers int) uint64 {
	const most = 1 << 24                                           // EIP-7825
	return min(most, devchain.DefaultGasLimit/uint64(signers)*5/4) //nolint:gosec // a few signers
}

func printPeers(_ context.Context, c *reportCommand, out io.Writer, all []figures) error {
	if err := c.preamble(out, "peers"); err != nil {
		return err
	}
	printTables(out, all)
	if err := plotAll(c.plots(), "peers", all); err != nil {
		return err
	}
	fmt.Fprintln(out)
	for _, p := range plots() {
		fmt.Fprintf(out, "![%s](plots/peers-%s.svg)\n", p.title, p.name)
	}
	return nil
}

func printLoad(_ context.Context, c *reportCommand, out io.Writer, all []figures) error {
	if err := c.preamble(out, "load"); err != nil {
		return err
	}
	fmt.Fprintf(out, "Heavy operations make %d token transfers each to holders that are new. `--max_bundle_gas` is such that one bundle of each signer fills a block: %d, %d and %d.\n",
		transfersEach, bundleGas(few), bundleGas(many), bundleGas(mostKeys))
	printTables(out, all)
	return nil
}

// preamble says with what and when a section was measured.
func (c *reportCommand) preamble(out io.Writer, name string) error {
	alto := ""
	if c.Alto != "" {
		alto = "PEERS=1 "
	}
	fmt.Fprintf(out, "    make report %sARGS=\"--sections %s\"\n\n", alto, name)
	machine, err := machine()
	if err != nil {
		return err
	}
	build, err := c.build()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s; %s. %s. Blocks of 60 M gas each %s, %d accounts; each phase sends for %s and waits %s at most.\n",
		time.Now().UTC().Format("2006-01-02 15:04 UTC"), machine, build, c.BlockTime, c.Accounts, c.Duration, c.Settle)
	return nil
}

// machine describes where this runs, and how busy it is with everything that runs on it.
func machine() (string, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return "", err
	}
	cpus, err := fs.CPUInfo()
	if err != nil {
		return "", err
	}
	load, err := fs.LoadAvg()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d × %s, %s, load average %.1f", runtime.NumCPU(), cpus[0].ModelName, runtime.Version(), load.Load5), nil
}
