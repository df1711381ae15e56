package main

import (
	"fmt"
	"io"
	"slices"
)

// goal is a bound for a figure.
type goal struct {
	what  string
	want  string
	value func(all []figures) (value float64, where string, ok bool)
	met   func(value float64) bool
	form  string
}

func atMost(bound float64) func(float64) bool  { return func(v float64) bool { return v <= bound } }
func atLeast(bound float64) func(float64) bool { return func(v float64) bool { return v >= bound } }

func goals() []goal {
	rate := func(f figures) bool { return f.Scenario == "steady 100/s" && f.LatencyMS == 0 }
	heavily := func(f figures) bool { return f.Workload == heavy }
	saturated := func(f figures) bool { return f.Workload == light && f.Scenario == "saturation" }
	loaded := func(f figures) bool { return saturated(f) || heavily(f) }
	// At a few operations a second what a bundler does at each head counts for more than the operations.
	under := func(f figures) bool { return f.Workload == light && f.LatencyMS == 0 && f.Pending == 0 }
	return []goal{
		{"saturation: share of the block gas that is filled, %", "≥ 90", most(heavily, func(f figures) float64 { return 100 * f.BlockShare }), atLeast(90), "%.0f"},
		{"100 operations/s: accept p99, ms", "≤ 15", most(rate, func(f figures) float64 { return f.AcceptP99MS }), atMost(15), "%.1f"},
		{"100 operations/s: inclusion p50, s, with blocks of 1 s", "≤ 2", most(rate, func(f figures) float64 { return f.InclusionP50S }), atMost(2), "%.2f"},
		{"bundles of 100, deepest pool: head to submitted p50, ms", "≤ 50", deepest(func(f figures) float64 { return f.SubmittedP50MS }), atMost(50), "%.0f"},
		{"at load: node requests per operation", "≤ 2", most(loaded, func(f figures) float64 { return f.RequestsPerOp }), atMost(2), "%.2f"},
		{"bundler CPU per operation, times Alto's", "≤ 0.1", worstBesideAlto(under, func(f figures) float64 { return f.CPUPerOpMS }), atMost(0.1), "%.2f"},
		{"the same in saturation", "≤ 0.1", worstBesideAlto(saturated, func(f figures) float64 { return f.CPUPerOpMS }), atMost(0.1), "%.2f"},
		{"peak memory, times Alto's", "≤ 0.33", worstBesideAlto(under, func(f figures) float64 { return f.RSSMB }), atMost(1. / 3), "%.2f"},
		{"the same in saturation", "≤ 0.33", worstBesideAlto(saturated, func(f figures) float64 { return f.RSSMB }), atMost(1. / 3), "%.2f"},
	}
}

// most returns the largest figure of Baler's runs of a kind, and which run's it is.
func most(of func(f figures) bool, value func(f figures) float64) func([]figures) (float64, string, bool) {
	return func(all []figures) (found float64, where string, ok bool) {
		for _, f := range all {
			if f.Bundler != balerName || f.Failure != "" || !of(f) {
				continue
			}
			if v := value(f); !ok || v > found {
				found, where, ok = v, f.title()+", "+f.column(), true
			}
		}
		return found, where, ok
	}
}

func deepest(value func(f figures) float64) func([]figures) (float64, string, bool) {
	return func(all []figures) (float64, string, bool) {
		depth := 0
		for _, f := range all {
			depth = max(depth, f.Pending)
		}
		return most(func(f figures) bool { return depth > 0 && f.Pending == depth }, value)(all)
	}
}

// worstBesideAlto compares runs of equal loads.
func worstBesideAlto(of func(f figures) bool, value func(f figures) float64) func([]figures) (float64, string, bool) {
	return func(all []figures) (float64, string, bool) {
		compared := func(f figures) float64 {
			at := slices.IndexFunc(all, func(a figures) bool {
				return a.Bundler == altoName && a.Failure == "" && a.title() == f.title() && a.Signers == f.Signers
			})
			if at < 0 {
				return 0
			}
			return ratio(value(f), value(all[at]))
		}
		return most(func(f figures) bool { return of(f) && compared(f) > 0 }, compared)(all)
	}
}

// printGoals prints which bounds the figures keep.
func printGoals(out io.Writer, all []figures) {
	printLine(out, []string{"goal", "bound", "measured", "kept", "in"})
	printLine(out, []string{"---", "---", "---", "---", "---"})
	for _, g := range goals() {
		value, where, ok := g.value(all)
		line := []string{g.what, g.want, "not measured", "", ""}
		if ok {
			line[2], line[3], line[4] = fmt.Sprintf(g.form, value), "yes", where
			if !g.met(value) {
				line[3] = "**no**"
			}
		}
		printLine(out, line)
	}
}
