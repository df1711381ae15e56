package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// curve is how a cost grows with a size.
type curve struct {
	name   string // of the cost, with its unit
	size   string // what the size counts
	points []point
}

type point struct{ size, cost float64 }

// step is from one point to the next: how many times larger the size became, and how many times the cost.
type step struct{ size, cost float64 }

func (c curve) steps() (list []step) {
	for i := 1; i < len(c.points); i++ {
		a, b := c.points[i-1], c.points[i]
		list = append(list, step{ratio(b.size, a.size), ratio(b.cost, a.cost)})
	}
	return list
}

// noise is what a cost may be over its line: caches, and whatever else runs on the machine.
const noise = 1.25

// linear reports whether no step is worse than linear.
func (c curve) linear() bool {
	return !slices.ContainsFunc(c.steps(), func(s step) bool { return s.cost > s.size*noise })
}

// printCurves prints a line for each curve: the costs at each size, and between them how the cost grew with the size.
func printCurves(out io.Writer, curves []curve) {
	for _, size := range distinct(curves, func(c curve) string { return c.size + sizes(c) }) {
		var group []curve
		for _, c := range curves {
			if c.size+sizes(c) == size {
				group = append(group, c)
			}
		}
		head, rule := []string{group[0].size}, []string{"---"}
		for i, p := range group[0].points {
			if i > 0 {
				head, rule = append(head, fmt.Sprintf("× %.4g", group[0].steps()[i-1].size)), append(rule, "---")
			}
			head, rule = append(head, plain(p.size)), append(rule, "---")
		}
		fmt.Fprintln(out)
		printLine(out, append(head, "no worse than linear"))
		printLine(out, append(rule, "---"))
		for _, c := range group {
			line := []string{c.name}
			for i, p := range c.points {
				if i > 0 {
					line = append(line, fmt.Sprintf("*× %.2f*", c.steps()[i-1].cost))
				}
				line = append(line, plain(p.cost))
			}
			verdict := "yes"
			if !c.linear() {
				verdict = "**no**"
			}
			printLine(out, append(line, verdict))
		}
	}
}

// plain writes a number of four digits, or of all before the point.
func plain(x float64) string {
	if x >= 1000 {
		return strconv.FormatFloat(x, 'f', 0, 64)
	}
	return strconv.FormatFloat(x, 'g', 4, 64)
}

func sizes(c curve) string {
	var text strings.Builder
	for _, p := range c.points {
		fmt.Fprintf(&text, " %v", p.size)
	}
	return text.String()
}

// growth is the runs whose size changes from one to the next: signers, the node's latency, pending operations.
func (c *reportCommand) growth() (list []aRun) {
	const rate = 100
	one := c.contenders()[0]
	for _, signers := range signerSteps() {
		list = append(list, aRun{one, saturation(c.Duration), light, signers, 0})
	}
	for _, latency := range latencySteps() {
		list = append(list, aRun{one, steady(rate, c.Duration), light, few, latency})
	}
	for _, n := range pendingSteps(c.Accounts) {
		list = append(list, aRun{one, pending(n), light, 1, 0})
	}
	return list
}

func signerSteps() []int { return []int{1, few, mostKeys} }

func latencySteps() []time.Duration {
	return []time.Duration{time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond}
}

// pendingSteps are as deep as the accounts allow, up to 10,000. Deeper pools are for the benchmarks of the packages: to send
// 100,000 operations through JSON-RPC would take minutes.
func pendingSteps(accounts int) []int {
	most := accounts * deep
	return []int{max(1, most/10), most}
}

// runCurves are the curves that the runs are points of.
func runCurves(all []figures) []curve {
	var signers, latency, depth []figures
	for _, f := range all {
		switch {
		case f.Failure != "":
		case f.LatencyMS > 0:
			latency = append(latency, f)
		case f.Pending > 0:
			depth = append(depth, f)
		default:
			signers = append(signers, f)
		}
	}
	type cost struct {
		name  string
		value func(f figures) float64
	}
	of := func(size string, list []figures, at func(f figures) float64, costs ...cost) (curves []curve) {
		for _, one := range costs {
			c := curve{name: one.name, size: size}
			for _, f := range list {
				c.points = append(c.points, point{at(f), one.value(f)})
			}
			curves = append(curves, c)
		}
		return curves
	}
	cpu := cost{"bundler CPU per operation, ms", func(f figures) float64 { return f.CPUPerOpMS }}
	requests := cost{"node requests per operation", func(f figures) float64 { return f.RequestsPerOp }}
	memory := cost{"peak memory, MB", func(f figures) float64 { return f.RSSMB }}
	submitted := cost{"head to submitted p50, ms", func(f figures) float64 { return f.SubmittedP50MS }}
	inclusion := cost{"inclusion p50, s", func(f figures) float64 { return f.InclusionP50S }}
	accept := cost{"accept p50, ms", func(f figures) float64 { return f.AcceptP50MS }}
	return slices.Concat(
		of("signers", signers, func(f figures) float64 { return float64(f.Signers) },
			cost{"time per included operation, ms", func(f figures) float64 { return ratio(1000, f.IncludedPerS) }}, cpu, requests, memory),
		of("node latency, ms", latency, func(f figures) float64 { return f.LatencyMS }, submitted, inclusion, accept, cpu, requests),
		of("pending operations", depth, func(f figures) float64 { return float64(f.Pending) }, submitted, accept, memory),
	)
}

// goCurves runs the benchmarks of packages whose names end in the size, and returns a curve of time and one of memory for each.
func goCurves(ctx context.Context, goCommand string) ([]curve, error) {
	cmd := exec.CommandContext(ctx, goCommand, "test", "-run", "^$", "-bench", "^BenchmarkGrowth", "-benchmem", "-benchtime", "100ms", "-count", "3", "-p", "1",
		"./pool", "./proposer", "./entrypoint", "./validation")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return parseBenchmarks(string(out)), nil
}

// benchmarkLine is "BenchmarkGrowthSelect/pending=1000-2   100   1234 ns/op   56 B/op   7 allocs/op".
var benchmarkLine = regexp.MustCompile(`(?m)^BenchmarkGrowth(\w+)/(\w+)=(\d+)\S*\s+\d+\s+(.*)$`)

// allocations end the names of their curves, which are in the tables only.
const allocations = "allocations"

// parseBenchmarks reads what `go test -bench` prints.
func parseBenchmarks(text string) (curves []curve) {
	type unit struct {
		name string
		per  float64 // of the benchmark's
	}
	units := map[string]unit{"ns/op": {"µs", 1000}, "B/operation": {"bytes per operation", 1}, "allocs/op": {allocations, 1}}
	sizes := map[string]string{"pending": "pending operations, in the packages", "operations": "operations of a bundle"}
	for _, match := range benchmarkLine.FindAllStringSubmatch(text, -1) {
		size, err := strconv.ParseFloat(match[3], 64)
		if err != nil {
			continue
		}
		fields := strings.Fields(match[4])
		for i := 0; i+1 < len(fields); i += 2 {
			unit, wanted := units[fields[i+1]]
			value, err := strconv.ParseFloat(fields[i], 64)
			if !wanted || err != nil {
				continue
			}
			name := words(match[1]) + ", " + unit.name
			at := slices.IndexFunc(curves, func(c curve) bool { return c.name == name })
			if at < 0 {
				at = len(curves)
				curves = append(curves, curve{name: name, size: cmp.Or(sizes[match[2]], match[2])})
			}
			curves[at].least(point{size, value / unit.per})
		}
	}
	return curves
}

// least takes a point in, or a better one of the same size: what runs beside a benchmark makes it slower only.
func (c *curve) least(p point) {
	at := slices.IndexFunc(c.points, func(have point) bool { return have.size == p.size })
	if at < 0 {
		c.points = append(c.points, p)
		return
	}
	c.points[at].cost = min(c.points[at].cost, p.cost)
}

// words spells a name in camel case out.
func words(name string) string {
	var text strings.Builder
	for i, r := range name {
		if i > 0 && r >= 'A' && r <= 'Z' {
			text.WriteByte(' ')
		}
		text.WriteRune(r)
	}
	return strings.ToLower(text.String())
}

func printGrowth(ctx context.Context, c *reportCommand, out io.Writer, all []figures) error {
	if err := c.preamble(out, "growth"); err != nil {
		return err
	}
	curves := runCurves(all)
	if c.Go != "" {
		found, err := goCurves(ctx, c.Go)
		if err != nil {
			fmt.Fprintln(out, "\nThe benchmarks of the packages failed.")
			c.missing = err // the runs are not lost for it
		}
		curves = append(curves, found...)
	}
	printCurves(out, curves)
	fmt.Fprintln(out)
	names, err := plotCurves(c.plots(), "growth", curves)
	if err != nil {
		return err
	}
	for _, name := range names {
		fmt.Fprintf(out, "![%s](plots/%s)\n", name.title, name.file)
	}
	for _, curve := range curves {
		if !curve.linear() {
			say("worse than linear: %s by %s", curve.name, curve.size)
		}
	}
	return nil
}
