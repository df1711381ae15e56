// Command baler bundles ERC-4337 user operations and gets them mined.
//
// Flags, environment and a TOML file are read into one settings struct here; the parts are wired together here;
// signals end here. Everything else is in the packages.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"reflect"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"
	"github.com/redis/go-redis/v9"
)

// Exit codes of the program.
const (
	exitOK       = 0
	exitFailed   = 1 // it ran, and did not reach its goal
	exitSettings = 2 // a setting is missing or wrong
)

// cli is the command line.
type cli struct {
	Config configFile `help:"TOML file with settings; its keys are flag names. Flags and environment come before it." placeholder:"FILE"`
	Chain  string     `help:"Section [chain.NAME] of the file whose settings are used beside the common ones. Without it 'baler node' runs all sections, side by side." placeholder:"NAME"`

	Demo    demoCommand    `cmd:"" help:"Run a chain, a bundler and a load of real operations, and print what happened."`
	Dev     devCommand     `cmd:"" help:"Run a chain and a bundler until interrupted, and print how to reach them."`
	Node    nodeCommand    `cmd:"" help:"Run the bundler against a node."`
	Pool    poolCommand    `cmd:"" help:"Serve the pool of a chain to 'baler rpc' and 'baler builder'; one process does, others stand by."`
	RPC     rpcCommand     `cmd:"" name:"rpc" help:"Serve JSON-RPC and validate, for the pool of 'baler pool'. As many processes as wanted."`
	Builder builderCommand `cmd:"" help:"Bundle the operations in the pool of 'baler pool', with the keys that this process holds."`

	Load loadCommand `cmd:"" help:"Send a load of real operations to any bundler, and report."`

	Admin    adminCommand   `cmd:"" help:"Look after the bundle senders' keys: their funds, and which are used."`
	Explain  explainCommand `cmd:"" help:"Tell an operation's whole story: what happened to it, why it waits, when it will be taken."`
	Whatif   whatifCommand  `cmd:"" help:"Replay what bundles were chosen from under other fee policies, and print what they would have earned."`
	Settings configCommand  `cmd:"" name:"config" help:"Look at the settings of 'baler node', 'pool', 'rpc' or 'builder'."`

	Probe      probeCommand      `cmd:"" help:"Ask a running bundler's probe, and end with exit code 0 if it says yes: for containers without a shell."`
	Top        topCommand        `cmd:"" help:"Show the bundle senders and the mempool of a running bundler, live in the terminal."`
	Completion completionCommand `cmd:"" help:"Print how to turn on completion of commands and flags in this shell."`

	Replay replayCommand `cmd:"" help:"Print a journal as a timeline, and repeat it through the machine."`
}

// settingsError is a missing or wrong setting: one line, exit code 2.
type settingsError struct{ err error }

func (e settingsError) Error() string { return e.err.Error() }
func (e settingsError) Unwrap() error { return e.err }

func badSetting(format string, args ...any) error { return settingsError{fmt.Errorf(format, args...)} }

// console is where a command reads and writes; tests have their own.
type console struct {
	out, err io.Writer
	boundary func(name string) // see node.Config.Boundary
	chain    string            // the section that is run; empty: there are none
	environ  []string          // looked through for settings that there are not

	args  []string       // the command line, to be read again at a SIGHUP; nil: never
	now   []inEffect     // what it says
	level *slog.LevelVar // of the log; nil: it does not change
}

func main() {
	redis.SetLogger(noRedisLog{})
	signal.Ignore(syscall.SIGXFSZ) // a limit on file sizes is an error of the write, as a full disk is, not the end of the process
	// The first signal asks for a clean stop; a second one ends the process as usual.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], console{
		out: os.Stdout, err: os.Stderr, environ: os.Environ(), args: os.Args[1:], level: new(slog.LevelVar),
	}))
}

// noRedisLog drops what Redis' client prints by itself, in a form of its own: what fails comes back as an error, and is logged once.
type noRedisLog struct{}

// Printf drops a line.
func (noRedisLog) Printf(context.Context, string, ...any) {}

// run parses the arguments, runs the command, and returns the exit code.
func run(ctx context.Context, args []string, c console) int {
	var line cli
	exited := -1
	parser, err := newParser(&line, kong.Writers(c.out, c.err), kong.Exit(func(code int) { exited = code }))
	if err != nil {
		_, _ = fmt.Fprintln(c.err, "baler:", err)
		return exitSettings
	}
	if os.Getenv("COMP_LINE") != "" { // a shell asks how a line can go on
		kongcompletion.Register(parser)
		return max(exited, exitOK)
	}
	parsed, err := parser.Parse(hyphenate(args))
	if exited >= 0 { // --help
		return exited
	}
	var chains []string
	if err == nil {
		err = checkEnvironment(c.environ, parser.Model)
	}
	if err == nil {
		chains, err = line.chains(parsed)
	}
	if err == nil && len(chains) == 0 {
		err = checkContradictions(settingsOf(parsed))
	}
	switch {
	case err != nil:
	case len(chains) > 0:
		err = runChains(ctx, args, chains, c)
	default:
		c.chain = chosenSection(parsed)
		if c.args != nil {
			c.args, c.now = args, inEffectOf(settingsOf(parsed)) // of this chain alone
		}
		err = runCommand(ctx, parsed, c)
	}
	return exitCode(err, c)
}

// runCommand runs the command that was chosen. Kong's way of running one keeps all that it knows of the command line in memory, some
// megabytes, for as long as the command runs.
func runCommand(ctx context.Context, parsed *kong.Context, c console) error {
	type runner interface {
		Run(context.Context, console) error
	}
	if command, ok := reflect.TypeAssert[runner](parsed.Selected().Target.Addr()); ok {
		return command.Run(ctx, c)
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	return parsed.Run(parsed, c)
}

func exitCode(err error, c console) int {
	if err == nil {
		return exitOK
	}
	// Joined errors come in several lines; what a user or a script reads is one.
	_, _ = fmt.Fprintln(c.err, "baler:", strings.ReplaceAll(err.Error(), "\n", "; "))
	if _, ok := errors.AsType[settingsError](err); ok {
		return exitSettings
	}
	if _, ok := errors.AsType[*kong.ParseError](err); ok {
		return exitSettings
	}
	return exitFailed
}

func newParser(line *cli, options ...kong.Option) (*kong.Kong, error) {
	return kong.New(line, append([]kong.Option{
		kong.Name("baler"),
		kong.Description("An ERC-4337 bundler. Each flag is also an environment variable: --node-http is BALER_NODE_HTTP."),
		kong.DefaultEnvars("BALER"),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	}, options...)...)
}
