package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/google/go-cmp/cmp"
)

// loadReport is what demo and load print with --json; no other member may be there.
type loadReport struct {
	Totals struct {
		Accepted *int `json:"accepted"`
		Included *int `json:"included"`
		Failed   *int `json:"failed"`
		Bundles  *int `json:"bundles"`
	} `json:"totals"`
	EntryPoints []struct {
		Version     string       `json:"version"`
		Accepted    *int         `json:"accepted"`
		Included    *int         `json:"included"`
		Failed      *int         `json:"failed"`
		Bundles     *int         `json:"bundles"`
		AcceptMS    *percentiles `json:"accept_ms"`
		InclusionMS *percentiles `json:"inclusion_ms"`
		GasPerOp    *uint64      `json:"gas_per_op"`
		ProfitWei   *string      `json:"profit_wei"`
	} `json:"entry_points"`
}

type percentiles struct {
	P50 *float64 `json:"p50"`
	P99 *float64 `json:"p99"`
}

// checkReport checks the shape of a report, and that ops operations are in it, all included, for each version.
func checkReport(t *testing.T, text string, ops int, versions ...string) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewBufferString(text))
	decoder.DisallowUnknownFields()
	var r loadReport
	if err := decoder.Decode(&r); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if decoder.More() {
		t.Errorf("have more than one object: %s", text)
	}
	if strings.Contains(text, "null") {
		t.Errorf("have null in %s", text)
	}
	var accepted, included, failed, bundles int
	var have []string
	for _, e := range r.EntryPoints {
		if e.Accepted == nil || e.Included == nil || e.Failed == nil || e.Bundles == nil || e.GasPerOp == nil || e.ProfitWei == nil ||
			e.AcceptMS == nil || e.InclusionMS == nil || e.AcceptMS.P50 == nil || e.AcceptMS.P99 == nil || e.InclusionMS.P50 == nil || e.InclusionMS.P99 == nil {
			t.Fatalf("a member is missing in %s", text)
		}
		have = append(have, e.Version)
		accepted, included, failed, bundles = accepted+*e.Accepted, included+*e.Included, failed+*e.Failed, bundles+*e.Bundles
		if profit, ok := new(big.Int).SetString(*e.ProfitWei, 10); !ok || profit.Sign() < 0 {
			t.Errorf("v%s: have profit %q, want wei in decimal, and no loss", e.Version, *e.ProfitWei)
		}
		if *e.Bundles == 0 || *e.Bundles > *e.Included || *e.GasPerOp < 21_000 || *e.GasPerOp > 1_000_000 {
			t.Errorf("v%s: have %d bundles, %d gas per operation, which cannot be", e.Version, *e.Bundles, *e.GasPerOp)
		}
		if *e.AcceptMS.P50 <= 0 || *e.AcceptMS.P99 < *e.AcceptMS.P50 || *e.InclusionMS.P50 < *e.AcceptMS.P50 || *e.InclusionMS.P99 < *e.InclusionMS.P50 {
			t.Errorf("v%s: have latencies that cannot be: %s", e.Version, text)
		}
	}
	slices.Sort(have)
	if diff := cmp.Diff(versions, have); diff != "" {
		t.Errorf("versions (-want +have):\n%s", diff)
	}
	if r.Totals.Accepted == nil || r.Totals.Included == nil || r.Totals.Failed == nil || r.Totals.Bundles == nil {
		t.Fatalf("a total is missing in %s", text)
	}
	if total := []int{*r.Totals.Accepted, *r.Totals.Included, *r.Totals.Failed, *r.Totals.Bundles}; !slices.Equal(total, []int{accepted, included, failed, bundles}) {
		t.Errorf("have totals %v, want the sums %v", total, []int{accepted, included, failed, bundles})
	}
	if accepted != ops || included != ops || failed != 0 {
		t.Errorf("have %d accepted, %d included, %d failed, want %d, %d, 0", accepted, included, failed, ops, ops)
	}
}

func TestTheDemoIncludesEveryOperation(t *testing.T) {
	t.Parallel()
	p := startProgram(t, nil, "demo", "--json", "--ops", "24", "--accounts", "8", "--block-time", "200ms")
	if code := p.wait(t); code != exitOK {
		t.Fatalf("have exit code %d, want %d", code, exitOK)
	}
	checkReport(t, p.stdout.String(), 24, "0.6", "0.7", "0.8", "0.9")
}

func TestTheDemoPrintsATable(t *testing.T) {
	t.Parallel()
	p := startProgram(t, nil, "demo", "--ops=3", "--accounts=2", "--block_time=100ms", "--entry_point=0.8", "--num_signers=1")
	if code := p.wait(t); code != exitOK {
		t.Fatalf("have exit code %d, want %d", code, exitOK)
	}
	if url := regexp.MustCompile(`Live page while it runs: http://127\.0\.0\.1:\d+\n`); !url.MatchString(p.stderr.String()) {
		t.Errorf("have no address of the page in %s", p.stderr.String())
	}
	for _, want := range []string{"v0.8", "accepted", "included", "bundles", "profit"} {
		if !strings.Contains(strings.ToLower(p.stdout.String()), want) {
			t.Errorf("have the table\n%s\nwant %q in it", p.stdout.String(), want)
		}
	}
	if strings.Contains(p.stdout.String(), "v0.7") {
		t.Errorf("have a version that was not asked for in\n%s", p.stdout.String())
	}
}

func TestALoadOnADevelopmentStack(t *testing.T) {
	t.Parallel()
	ready := filepath.Join(t.TempDir(), "ready.json")
	dev := startProgram(t, nil, "dev", "--node-addr=127.0.0.1:0", "--rpc-addr=127.0.0.1:0", "--block-time=100ms", "--ready-file", ready)
	var report readyReport
	eventually(t, "the ready file", func() error {
		if err := dev.running(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(ready)
		if err != nil {
			return err
		}
		return json.Unmarshal(text, &report) // the file appears in one piece
	})
	checkOperators(t, report)
	for _, want := range []string{report.BundlerURL, report.AdminURL, report.AdminToken, report.NodeURL, "curl", report.Keys[0], report.Contracts.EntryPoints["0.9"].Hex()} {
		if want == "" || !strings.Contains(dev.stdout.String(), want) {
			t.Errorf("have no %q in\n%s", want, dev.stdout.String())
		}
	}
	if len(report.Samples) != sampleOps {
		t.Errorf("have %d operations to be sent by hand, want %d", len(report.Samples), sampleOps)
	}
	for _, s := range report.Samples {
		body := `{"jsonrpc":"2.0","id":1,"method":"eth_sendUserOperation","params":[` + string(s.Operation) + `,"` + s.EntryPoint.Hex() + `"]}`
		if _, text := asked(t, http.MethodPost, report.BundlerURL, "", body); !strings.Contains(text, s.Hash.Hex()) {
			t.Errorf("have %s, want the hash %s", text, s.Hash)
		}
	}
	base := []string{"load", "--json", "--url", report.BundlerURL, "--node", report.NodeURL}
	for name, test := range map[string]struct {
		args    []string
		version string
	}{
		"by version": {[]string{"--entry-point=0.9", "--ops=6", "--accounts=3"}, "0.9"},
		"by address, sponsored": {[]string{
			"--entry-point", report.Contracts.EntryPoints["0.7"].Hex(), "--factory", report.Contracts.AccountFactories["0.7"].Hex(),
			"--paymaster", report.Contracts.Paymasters["0.7"].Hex(), "--paymaster-key", report.Contracts.PaymasterSignerKey,
			"--sponsored-percent=50", "--funding-key", report.Keys[1], "--ops=6", "--accounts=3",
		}, "0.7"},
	} {
		t.Run(name, func(t *testing.T) { // one after the other
			p := startProgram(t, nil, append(slices.Clone(base), test.args...)...)
			if code := p.wait(t); code != exitOK {
				t.Fatalf("have exit code %d, want %d", code, exitOK)
			}
			checkReport(t, p.stdout.String(), 6, test.version)
		})
	}
	checkMetrics(t, report, 12)
	printed := func(command string) (env, args []string) { // as dev says it is to be typed
		_, line, found := strings.Cut(dev.stdout.String(), command)
		if !found {
			t.Fatalf("dev does not print %q", command)
		}
		line, _, _ = strings.Cut(line, "\n")
		return []string{"BALER_ADMIN_TOKEN=" + report.AdminToken}, strings.Fields(strings.TrimPrefix(command, "baler ") + line)
	}
	_, args := printed("baler top")
	p := startProgram(t, nil, append(args, "--once")...)
	code, mined := p.wait(t), 0
	if _, text, found := strings.Cut(p.stdout.String(), "   mined "); found {
		_, _ = fmt.Sscan(text, &mined) // 0 is too few
	}
	if code != exitOK || mined < 12 {
		t.Errorf("top: have exit code %d, %d mined, want %d and at least 12 in\n%s", code, mined, exitOK, p.stdout.String())
	}
	env, args := printed("baler admin drain")
	p = startProgram(t, nil, args...)
	if code := p.wait(t); code != exitFailed || !strings.Contains(p.stderr.String(), "401") {
		t.Errorf("drain without the token: have exit code %d and %s", code, p.stderr.String())
	}
	p = startProgram(t, env, args...)
	if code := p.wait(t); code != exitOK || !strings.Contains(p.stdout.String(), report.Signers[0]+" is free") {
		t.Errorf("drain: have exit code %d and %s", code, p.stdout.String())
	}
	if code := dev.stop(t, os.Interrupt); code != exitOK {
		t.Errorf("have exit code %d after SIGINT, want %d", code, exitOK)
	}
}

func TestALoadThatFailsExitsWithOne(t *testing.T) {
	t.Parallel()
	w := startWorld(t, interval(), "--bundling-mode=manual") // nothing is ever mined by itself
	for name, flags := range map[string][]string{
		"an EntryPoint's factory that is none": {"--entry-point=0.8", "--factory", common.Address{0x12}.Hex()},
		"a paymaster that is none":             {"--entry-point=0.8", "--paymaster", common.Address{0x12}.Hex(), "--paymaster-key", testKey},
	} {
		var stdout, stderr output
		args := append([]string{"load", "--url", w.url, "--node", w.chain.HTTPURL(), "--ops=1", "--accounts=1", "--sponsored-percent=100"}, flags...)
		if code := run(t.Context(), args, console{out: &stdout, err: &stderr}); code != exitFailed {
			t.Errorf("%s: have exit code %d, want %d\n%s%s", name, code, exitFailed, stdout.String(), stderr.String())
		}
	}
}
