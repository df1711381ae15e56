package main

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// asked sends a request to the operators' server, with the token if there is one, and returns status and body.
func asked(t *testing.T, method, url, token, body string) (int, string) {
	t.Helper()
	return askedBy(t, http.DefaultClient, method, url, token, body)
}

// askedBy asks by way of the client. It may be called while the test cleans up, when the test's own context has ended.
func askedBy(t *testing.T, client *http.Client, method, url, token, body string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// checkOperators uses what a development stack offers its operators.
func checkOperators(t *testing.T, report readyReport) {
	t.Helper()
	const senders = `{"jsonrpc":"2.0","id":1,"method":"admin_senders","params":[]}`
	for _, test := range []struct {
		method, url, token, body string
		status                   int
		want                     string
	}{
		{http.MethodGet, report.AdminURL + "/livez", "", "", http.StatusOK, `"ok":true`},
		{http.MethodGet, report.AdminURL + "/readyz", "", "", http.StatusOK, `"name":"head","ok":true`},
		{http.MethodGet, report.AdminURL + "/health", "", "", http.StatusOK, `"name":"senders","ok":true`},
		{http.MethodGet, report.BundlerURL + "/livez", "", "", http.StatusOK, `"ok":true`},
		{http.MethodGet, report.BundlerURL + "/readyz", "", "", http.StatusOK, `"status":"ok"`},
		{http.MethodPost, report.AdminURL + "/rpc", "", senders, http.StatusUnauthorized, "token"},
		{http.MethodPost, report.AdminURL + "/rpc", "a wrong token", senders, http.StatusUnauthorized, "token"},
		{http.MethodPost, report.AdminURL + "/rpc", report.AdminToken, senders, http.StatusOK, `"state":"Building"`},
		{http.MethodPost, report.BundlerURL, report.AdminToken, senders, http.StatusOK, "-32601"}, // not on the public port
	} {
		status, text := asked(t, test.method, test.url, test.token, test.body)
		if status != test.status || !strings.Contains(text, test.want) {
			t.Errorf("%s %s %s: have status %d and %q, want %d and %q in it", test.method, test.url, test.body, status, text, test.status, test.want)
		}
	}
}

// checkMetrics wants a development stack's metrics to tell of the operations that were mined on it.
func checkMetrics(t *testing.T, report readyReport, mined int) {
	t.Helper()
	status, text := asked(t, http.MethodGet, report.AdminURL+"/metrics", "", "")
	if status != http.StatusOK {
		t.Fatalf("have status %d: %s", status, text)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	// sum adds up a metric's series with the label pair; of a histogram it is the number of observations.
	sum := func(name, pair string) (total float64) {
		for _, m := range families[name].GetMetric() {
			if pair == "" || slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetName()+"="+l.GetValue() == pair }) {
				total += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
		return total
	}
	for _, test := range []struct {
		name, pair string
		least      int
	}{
		{"baler_operations_received_total", "", mined},
		{"baler_operations_added_total", "", mined},
		{"baler_operations_mined_total", "success=true", mined},
		{"baler_operation_inclusion_seconds", "", mined},
		{"baler_operation_validation_seconds", "stage=admission", mined},
		{"baler_operation_validation_seconds", "stage=proposal", mined},
		{"baler_validation_memo_total", "", mined},
		{"baler_bundles_mined_total", "kind=bundle", 1},
		{"baler_bundle_earned_wei_total", "", 1},
		{"baler_bundle_attempts_total", "answer=accepted", 1},
		{"baler_bundle_cost_wei_total", "", 1},
		{"baler_sender_transitions_total", "to=Pending", 1},
		{"baler_sender_state", "", 1},
		{"baler_sender_balance_wei", "", 1},
		{"baler_sender_nonce", "", 1},
		{"baler_head_block", "", 2},
		{"baler_node_calls_total", "", 1},
		{"baler_node_requests_total", "result=ok", 1},
		{"baler_rpc_calls_total", "method=eth_sendUserOperation", mined},
		{"baler_goroutines", "owner=senders", 1},
		{"baler_goroutines", "owner=pipeline", 1},
		{"baler_goroutines", "owner=rpc", 1},
		{"baler_goroutines", "owner=operators", 1},
		{"baler_check_ok", "check=head", 1},
		{"go_goroutines", "", 1},
	} {
		if have := sum(test.name, test.pair); have < float64(test.least) {
			t.Errorf("%s{%s}: have %g, want at least %d", test.name, test.pair, have, test.least)
		}
	}
}
