package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// row is one figure of the table.
type row struct {
	name   string
	format string
	value  func(f figures) float64
}

func rows(settle string) []row {
	return []row{
		{"accepted", "%.0f", func(f figures) float64 { return float64(f.Accepted) }},
		{"included", "%.0f", func(f figures) float64 { return float64(f.Included) }},
		{"unsettled after " + settle, "%.0f", func(f figures) float64 { return float64(f.Missing) }},
		{"refused", "%.0f", func(f figures) float64 {
			n := 0
			for _, count := range f.Refused {
				n += count
			}
			return float64(n)
		}},
		{"operations whose call failed", "%.0f", func(f figures) float64 { return float64(f.Failed) }},
		{"bundles reverted", "%.0f", func(f figures) float64 { return float64(f.Reverted) }},
		{"accept p50, ms", "%.1f", func(f figures) float64 { return f.AcceptP50MS }},
		{"accept p99, ms", "%.1f", func(f figures) float64 { return f.AcceptP99MS }},
		{"accepted/s", "%.0f", func(f figures) float64 { return f.AcceptedPerS }},
		{"inclusion p50, blocks", "%.0f", func(f figures) float64 { return f.InclusionP50 }},
		{"inclusion p99, blocks", "%.0f", func(f figures) float64 { return f.InclusionP99 }},
		{"inclusion p50, s", "%.2f", func(f figures) float64 { return f.InclusionP50S }},
		{"inclusion p99, s", "%.2f", func(f figures) float64 { return f.InclusionP99S }},
		{"included/s", "%.0f", func(f figures) float64 { return f.IncludedPerS }},
		{"head to submitted p50, ms", "%.0f", func(f figures) float64 { return f.SubmittedP50MS }},
		{"head to submitted p99, ms", "%.0f", func(f figures) float64 { return f.SubmittedP99MS }},
		{"operations per bundle", "%.1f", func(f figures) float64 { return f.OpsPerBundle }},
		{"gas per operation", "%.0f", func(f figures) float64 { return f.GasPerOp }},
		{"gas limit ÷ used", "%.2f", func(f figures) float64 { return f.GasLimitPerUsed }},
		{"block gas filled, %", "%.0f", func(f figures) float64 { return 100 * f.BlockShare }},
		{"bundler CPU per operation, ms", "%.2f", func(f figures) float64 { return f.CPUPerOpMS }},
		{"bundler memory (peak RSS), MB", "%.0f", func(f figures) float64 { return f.RSSMB }},
		{"node CPU per operation, ms", "%.2f", func(f figures) float64 { return f.NodeCPUPerOpMS }},
		{"node requests per operation", "%.2f", func(f figures) float64 { return f.RequestsPerOp }},
	}
}

// printTables prints one table in Markdown for each scenario: a column for each contender and number of signers, and with two
// contenders the first one's ratio to the second.
func printTables(out io.Writer, all []figures) {
	for _, scenario := range distinct(all, figures.title) {
		fmt.Fprintf(out, "\n#### %s\n\n", scenario)
		var columns []figures
		for _, f := range all {
			if f.title() == scenario {
				columns = append(columns, f)
			}
		}
		head, rule := []string{""}, []string{"---"}
		for i, f := range columns {
			head, rule = append(head, f.column()), append(rule, "---")
			if rival(columns, i) {
				head, rule = append(head, "ratio"), append(rule, "---")
			}
		}
		printLine(out, head)
		printLine(out, rule)
		for _, r := range rows(fmt.Sprintf("%.0f s", columns[0].SettleS)) {
			line := []string{r.name}
			for i, f := range columns {
				line = append(line, fmt.Sprintf(r.format, r.value(f)))
				if rival(columns, i) {
					line = append(line, ratioText(r.value(columns[i-1]), r.value(f)))
				}
			}
			printLine(out, line)
		}
		for _, f := range columns {
			if len(f.Refused) > 0 {
				fmt.Fprintf(out, "\n%s refused: %s\n", f.column(), reasons(f.Refused))
			}
			if f.Failure != "" {
				fmt.Fprintf(out, "\n%s: not measured: %s\n", f.column(), strings.Join(strings.Fields(f.Failure), " "))
			}
		}
	}
}

func printLine(out io.Writer, cells []string) {
	fmt.Fprintf(out, "| %s |\n", strings.Join(cells, " | "))
}

// title names what was done: figures of one title are compared.
func (f figures) title() string {
	if f.Workload == light {
		return f.Scenario
	}
	return f.Scenario + ", " + f.Workload + " operations"
}

// column is the head of a column.
func (f figures) column() string {
	text := fmt.Sprintf("%s, %d signers", f.Bundler, f.Signers)
	if f.Signers == 1 {
		text = strings.TrimSuffix(text, "s")
	}
	if f.LatencyMS > 0 {
		text += fmt.Sprintf(", %.0f ms", f.LatencyMS)
	}
	return text
}

// rival reports whether a column is compared with the one before it.
func rival(columns []figures, i int) bool {
	return i > 0 && columns[i-1].Signers == columns[i].Signers && columns[i-1].LatencyMS == columns[i].LatencyMS && columns[i-1].Bundler != columns[i].Bundler
}

func ratioText(ours, theirs float64) string {
	if theirs == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", ours/theirs)
}

func reasons(refused map[string]int) string {
	var list []string
	for reason, n := range refused {
		list = append(list, fmt.Sprintf("%d × %s", n, reason))
	}
	slices.Sort(list)
	const most = 5
	return strings.Join(list[:min(most, len(list))], "; ")
}

// distinct returns the keys in the order in which they come first.
func distinct[T any, K comparable](list []T, key func(T) K) (keys []K) {
	for _, item := range list {
		if k := key(item); !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return keys
}
