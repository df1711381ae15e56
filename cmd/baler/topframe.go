package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// frame draws one look, with rates since the one before it (the zero look: none), in at most so many columns.
func frame(now, before look, width int) string {
	var page strings.Builder
	line := func(format string, args ...any) {
		text := []rune(fmt.Sprintf(format, args...))
		page.WriteString(strings.TrimRight(string(text[:min(len(text), max(width, 20))]), " ") + "\n")
	}
	h := now.health
	line("baler top   chain %d   block %d, %s old   %s", h.ChainID, h.Head, (time.Duration(h.HeadAgeMS) * time.Millisecond).Round(100*time.Millisecond), h.Status)
	line("")
	mined, rate := now.sum("baler_operations_mined_total"), "-"
	if seconds := now.at.Sub(before.at).Seconds(); before.metrics != nil && seconds > 0 {
		rate = fmt.Sprintf("%.1f", 60*max(mined-before.sum("baler_operations_mined_total"), 0)/seconds)
	}
	line("operations   waiting %d   mined %.0f (%s a minute)   refused %.0f   removed %.0f", h.Operations, mined, rate,
		now.sum("baler_operations_rejected_total"), now.sum("baler_operations_removed_total"))
	earned, paid := now.sum("baler_bundle_earned_wei_total"), now.sum("baler_bundle_cost_wei_total")
	line("bundles      mined %.0f   reverted %.0f   earned %s   paid %s   profit %s", now.sum("baler_bundles_mined_total"),
		now.sum("baler_bundles_reverted_total"), coins(earned), coins(paid), coins(earned-paid))
	if mined > 0 {
		line("node         calls %.0f   for each mined operation %.1f", now.sum("baler_node_calls_total"), now.sum("baler_node_calls_total")/mined)
	}
	line("")
	line("%-12s %-14s %8s %7s %5s %5s %14s  %s", "SIGNER", "STATE", "FOR", "NONCE", "OUT", "HELD", "BALANCE", "WAITS FOR")
	for _, s := range h.Senders {
		signer := s.Signer.Hex()
		line("%-12s %-14s %8s %7.0f %5.0f %5.0f %14s  %s", signer[:6]+".."+signer[38:], s.State,
			time.Duration(now.of("baler_sender_state_age_seconds", signer)*float64(time.Second)).Round(time.Second),
			now.of("baler_sender_nonce", signer), now.of("baler_sender_live_attempts", signer),
			now.of("baler_sender_held_operations", signer), coins(now.of("baler_sender_balance_wei", signer)), s.Doing)
	}
	if fees := now.by("baler_pool_priority_fee_wei", "quantile"); len(fees) > 0 {
		line("")
		line("mempool      pays above the next base fee, gwei:   least %.3f   middle %.3f   most %.3f", fees["0"]/1e9, fees["0.5"]/1e9, fees["1"]/1e9)
	}
	for _, list := range []struct{ title, metric, label string }{
		{"SKIPPED, BECAUSE", "baler_operations_skipped_total", "cause"},
		{"REFUSED, BECAUSE", "baler_operations_rejected_total", "reason"},
		{"NEEDS A PERSON", "baler_alerts_total", "kind"},
	} {
		counts := now.by(list.metric, list.label)
		if len(counts) == 0 {
			continue
		}
		line("")
		line("%8s  %s", "TIMES", list.title)
		for _, name := range most(counts, 5) {
			line("%8.0f  %s", counts[name], name)
		}
	}
	for _, check := range h.Checks {
		if !check.OK {
			line("")
			line("%s: %s", check.Name, check.Reason)
		}
	}
	return page.String()
}

// coins is an amount of wei in the chain's coin.
func coins(wei float64) string { return fmt.Sprintf("%.6f", wei/1e18) }

// most returns the names with the highest counts.
func most(counts map[string]float64, n int) []string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
	return names[:min(n, len(names))]
}

// sum adds up a metric's series.
func (l look) sum(name string) (total float64) {
	for _, m := range l.metrics[name].GetMetric() {
		total += valueOf(m)
	}
	return total
}

// by adds up a metric's series by the value of a label.
func (l look) by(name, label string) map[string]float64 {
	totals := make(map[string]float64)
	for _, m := range l.metrics[name].GetMetric() {
		for _, pair := range m.GetLabel() {
			if pair.GetName() == label {
				totals[pair.GetValue()] += valueOf(m)
			}
		}
	}
	return totals
}

// of is the sum of a bundle sender's series.
func (l look) of(name, signer string) float64 { return l.by(name, "signer")[signer] }

func valueOf(m *dto.Metric) float64 { return m.GetCounter().GetValue() + m.GetGauge().GetValue() }
