package telemetry

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var rewriteMetrics = flag.Bool("rewrite-metrics", false, "write docs/metrics.md instead of comparing it")

const metricsPage = "../docs/metrics.md"

// The page is printed from the metrics themselves, so it cannot go stale:
//
//	go test ./telemetry -run TestMetricsPageIsCurrent -rewrite-metrics
func TestMetricsPageIsCurrent(t *testing.T) {
	want := metricsReference()
	if *rewriteMetrics {
		if err := os.WriteFile(metricsPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(have)); diff != "" {
		t.Errorf("docs/metrics.md is not what the code says (run this test with -rewrite-metrics):\n%s", diff)
	}
}

func metricsReference() string {
	var page strings.Builder
	page.WriteString(`# Metrics

*Printed from the code by ` + "`go test ./telemetry -run TestMetricsPageIsCurrent -rewrite-metrics`" + `; don't edit.*

` + "`GET /metrics`" + ` of the operators' server ([operations.md](operations.md)) has these in Prometheus' text format, with Go's own
(` + "`go_`" + `) and the process's (` + "`process_`" + `). [deploy](../deploy/README.md) has alert rules and a Grafana dashboard.

| metric | type | labels | meaning |
|---|---|---|---|
`)
	for _, f := range NewMetrics(time.Now).Families() {
		labels := ""
		if len(f.Labels) > 0 {
			labels = "`" + strings.Join(f.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&page, "| `%s` | %s | %s | %s |\n", f.Name, f.Type, labels, f.Help)
	}
	page.WriteString(`
A histogram is three metrics: ` + "`_bucket`, `_sum` and `_count`" + `. Amounts of wei are floating-point numbers: right to about 16 digits.

## Labels

Each label of a metric has only so many values; what comes beyond them counts as ` + "`other`" + `. Nothing that a client, a contract or a
node makes up can make series without end.

| label | at most | meaning |
|---|---|---|
`)
	for _, l := range Labels() {
		fmt.Fprintf(&page, "| `%s` | %d | %s |\n", l.Name, l.Most, l.Meaning)
	}
	return page.String()
}
