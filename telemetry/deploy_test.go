package telemetry

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	ruleFile      = "../deploy/prometheus/baler.rules.yml"
	ruleStories   = "../deploy/prometheus/baler.rules.test.yml"
	dashboardFile = "../deploy/grafana/baler.json"
	runbook       = "../docs/operations.md"
)

func TestTheRulesAreSoundAndFireWhenTheyShould(t *testing.T) {
	t.Parallel()
	promtool(t, nil, "check", "rules", ruleFile)
	promtool(t, nil, "test", "rules", ruleStories)

	rules, stories := read(t, ruleFile), read(t, ruleStories)
	alerts := regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(rules, -1)
	if len(alerts) == 0 {
		t.Fatal("have no alerts")
	}
	for _, alert := range alerts {
		for _, story := range []string{" fires\n", " is quiet\n"} {
			if !strings.Contains(stories, "name: "+alert[1]+story) {
				t.Errorf("%s has no story in which it %s", alert[1], strings.TrimSpace(story))
			}
		}
	}
	checkNames(t, ruleFile, rules)
	checkNames(t, ruleStories, stories)
}

// Whoever is woken by an alert finds what to do about it, and every entry of the runbook is that of an alert.
func TestEveryAlertHasItsEntryInTheRunbook(t *testing.T) {
	t.Parallel()
	book, told := make(map[string]int), make(map[string]bool)
	_, entries, found := strings.Cut(read(t, runbook), "\n## Alerts\n")
	if !found {
		t.Fatal("the runbook has no section of alerts")
	}
	entries, _, _ = strings.Cut(entries, "\n## ")
	headings := regexp.MustCompile(`(?m)^### (\w+)$`).FindAllStringSubmatchIndex(entries, -1)
	for i, at := range headings {
		end := len(entries)
		if i+1 < len(headings) {
			end = headings[i+1][0]
		}
		book[entries[at[2]:at[3]]] = len(strings.TrimSpace(entries[at[1]:end]))
	}
	for rule := range strings.SplitSeq(read(t, ruleFile), "- alert: ") {
		link := regexp.MustCompile(`runbook_url: docs/operations\.md#(\w+)\n`).FindStringSubmatch(rule)
		name, _, _ := strings.Cut(rule, "\n")
		switch {
		case strings.HasPrefix(name, "groups:"): // before the first
		case link == nil || link[1] != strings.ToLower(name):
			t.Errorf("%s has no link to its entry, #%s", name, strings.ToLower(name))
		case book[name] < 100:
			t.Errorf("%s has %d bytes in the runbook, want what to do", name, book[name])
		default:
			told[name] = true
		}
	}
	for name := range book {
		if !told[name] {
			t.Errorf("the runbook tells of %s, which is no alert", name)
		}
	}
}

// dashboardPart is what a dashboard's JSON has of queries, at any depth.
type dashboardPart struct {
	Title   string
	Expr    string
	Targets []dashboardPart
	Panels  []dashboardPart
	GridPos struct{ X, Y, W, H int }
}

func TestTheDashboardAsksForWhatThereIs(t *testing.T) {
	t.Parallel()
	text := read(t, dashboardFile)
	var dashboard dashboardPart
	if err := json.Unmarshal([]byte(text), &dashboard); err != nil {
		t.Fatal(err)
	}
	var rules strings.Builder
	rules.WriteString("groups: [{name: dashboard, rules: [\n")
	taken := make(map[[2]int]string)
	for i, panel := range dashboard.Panels {
		for x := panel.GridPos.X; x < panel.GridPos.X+panel.GridPos.W; x++ {
			for y := panel.GridPos.Y; y < panel.GridPos.Y+panel.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %q is outside, or where %q is", panel.Title, other)
				}
				taken[[2]int{x, y}] = panel.Title
			}
		}
		for j, target := range panel.Targets {
			expression := strings.ReplaceAll(target.Expr, "$instance", ".*")
			fmt.Fprintf(&rules, "{record: %q, expr: %q},\n", fmt.Sprintf("panel:%d:%d", i, j), expression)
		}
		checkNames(t, panel.Title, fmt.Sprint(panel.Targets))
	}
	rules.WriteString("]}]\n")
	path := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(path, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, nil, "check", "rules", path)
	checkNames(t, dashboardFile, text)
	for _, name := range regexp.MustCompile(`\bbaler:[\w:]+`).FindAllString(text, -1) {
		if !strings.Contains(read(t, ruleFile), "record: "+name+"\n") {
			t.Errorf("the dashboard asks for %s, and no rule records it", name)
		}
	}
	for _, f := range NewMetrics(time.Now).Families() {
		if !strings.Contains(text, f.Name) && !strings.Contains(read(t, ruleFile), f.Name) && !slices.Contains(unwatched(), f.Name) {
			t.Errorf("%s is in neither the dashboard nor a rule", f.Name)
		}
	}
}

// unwatched are for looking something up, not for watching.
func unwatched() []string {
	return []string{
		"baler_head_block", "baler_head_removed_blocks_total", "baler_operations_replaced_total", "baler_operation_inclusion_blocks",
		"baler_bundle_inclusion_seconds", "baler_rpc_call_seconds", "baler_sender_fee_increases", "baler_sender_held_operations",
		"baler_sender_state_seconds_total",
	}
}

// checkNames wants every metric and every label in a text to be one of ours.
func checkNames(t *testing.T, where, text string) {
	t.Helper()
	known := make(map[string]bool)
	for _, f := range NewMetrics(time.Now).Families() {
		known[f.Name] = true
		if f.Type == "histogram" {
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				known[f.Name+part] = true
			}
		}
	}
	for _, name := range regexp.MustCompile(`\bbaler_\w+`).FindAllString(text, -1) {
		if !known[name] {
			t.Errorf("%s: there is no metric %s", where, name)
		}
	}
	labels := []string{"instance", "job", "le", "severity", "alertname"}
	for _, l := range Labels() {
		labels = append(labels, l.Name)
	}
	used := regexp.MustCompile(`by \(([a-z_, ]+)\)`).FindAllStringSubmatch(text, -1)
	used = append(used, regexp.MustCompile(`\$labels\.([a-z_]+)`).FindAllStringSubmatch(text, -1)...)
	used = append(used, regexp.MustCompile(`{{([a-z_]+)}}`).FindAllStringSubmatch(text, -1)...)
	for _, list := range used {
		for name := range strings.SplitSeq(list[1], ",") {
			if !slices.Contains(labels, strings.TrimSpace(name)) {
				t.Errorf("%s: there is no label %s", where, name)
			}
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
