package load

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// WriteTable writes the report for people: one line per EntryPoint version, the totals, and why operations failed.
func (r *Report) WriteTable(w io.Writer) error {
	var text strings.Builder
	t := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(cells ...string) { fmt.Fprintln(t, strings.Join(cells, "\t")+"\t") }

	row("EntryPoint", "accepted", "included", "failed", "bundles", "ops/bundle", "accept p50", "p99",
		"inclusion p50", "p99", "gas/op", "profit ETH")
	for i := range r.EntryPoints {
		e := &r.EntryPoints[i]
		row("v"+e.VersionText, strconv.Itoa(e.Accepted), strconv.Itoa(e.Included), strconv.Itoa(e.Failed),
			strconv.Itoa(e.Bundles), strconv.FormatFloat(e.OpsPerBundle, 'f', 1, 64),
			milliseconds(e.AcceptMS.P50), milliseconds(e.AcceptMS.P99),
			milliseconds(e.InclusionMS.P50), milliseconds(e.InclusionMS.P99),
			strconv.FormatUint(e.GasPerOp, 10), e.Profit.ETH())
	}
	var profit Wei
	for i := range r.EntryPoints {
		profit.Add(&profit.Int, &r.EntryPoints[i].Profit.Int)
	}
	row("total", strconv.Itoa(r.Totals.Accepted), strconv.Itoa(r.Totals.Included), strconv.Itoa(r.Totals.Failed),
		strconv.Itoa(r.Totals.Bundles), "", "", "", "", "", "", profit.ETH())
	if err := t.Flush(); err != nil {
		return err
	}
	if r.Took > 0 {
		fmt.Fprintf(&text, "\n%d operations mined in %.1f s: %.1f per second\n",
			r.Totals.Included, r.Took.Seconds(), float64(r.Totals.Included)/r.Took.Seconds())
	}
	for _, f := range r.Failures {
		fmt.Fprintf(&text, "failed %d×: %s\n", f.Count, f.Reason)
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func milliseconds(ms float64) string {
	if ms >= 100 {
		return strconv.FormatFloat(ms, 'f', 0, 64) + " ms"
	}
	return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
}
