package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/alecthomas/kong"
	"golang.org/x/sync/errgroup"
)

// chainRun is one chain of several in one process: a section of the configuration file, read as if it were a file of its own.
type chainRun struct {
	name   string
	parsed *kong.Context
	out    console
}

// chains returns the sections that the command runs side by side: those of the file, if the command is `node` and none was chosen.
func (line *cli) chains(parsed *kong.Context) ([]string, error) {
	if line.Config == "" || parsed.Command() != "node" || chosenSection(parsed) != "" {
		return nil, nil
	}
	config, err := line.Config.read()
	if err != nil {
		return nil, err
	}
	return config.order, nil
}

// runChains runs the command for each section until the first has ended; that ends the others too. They share nothing but the
// process: each has its node, its keys, its store and its server.
func runChains(ctx context.Context, args, names []string, c console) error {
	var runs []chainRun
	for _, name := range names {
		run, err := readChain(args, name, c)
		if err != nil {
			return badSetting("chain %s: %w", name, err)
		}
		runs = append(runs, run)
	}
	if err := apart(runs); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, run := range runs {
		group.Go(func() error {
			if err := runCommand(ctx, run.parsed, run.out); err != nil {
				return fmt.Errorf("chain %s: %w", run.name, err)
			}
			if ctx.Err() == nil {
				return fmt.Errorf("chain %s: it has ended", run.name)
			}
			return nil
		})
	}
	return group.Wait()
}

// readChain reads the settings of one section.
func readChain(args []string, name string, c console) (chainRun, error) {
	var line cli
	run := chainRun{name: name, out: c}
	run.out.chain = name
	parser, err := newParser(&line, kong.Writers(c.out, c.err), kong.Exit(func(int) {}))
	if err != nil {
		return run, err
	}
	// The global flag may stand anywhere before a bare `--`.
	args = append([]string{"--chain=" + name}, args...)
	if c.args != nil { // its settings are read again by themselves
		run.out.args, run.out.level = args, new(slog.LevelVar)
	}
	if run.parsed, err = parser.Parse(hyphenate(args)); err != nil {
		return run, err
	}
	settings := settingsOf(run.parsed)
	run.out.now = inEffectOf(settings)
	return run, checkContradictions(settings)
}

// apart refuses what two chains cannot share.
func apart(runs []chainRun) error {
	taken := make(map[string]string)
	for _, run := range runs {
		for _, flag := range run.parsed.Flags() {
			switch flag.Name {
			case "rpc-addr", "admin-addr", dataDir:
			default:
				continue
			}
			value := flag.Target.String()
			if value == "" || strings.HasSuffix(value, ":0") {
				continue
			}
			if other, shared := taken[flag.Name+value]; shared {
				return badSetting("--%s: chains %s and %s both have %q, want one of its own for each, in its section", flag.Name, other, run.name, value)
			}
			taken[flag.Name+value] = run.name
		}
	}
	return nil
}
