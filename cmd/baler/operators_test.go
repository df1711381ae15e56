package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// asked sends a request to the operators' server, with the token if there is one, and returns status and body.
func asked(t *testing.T, method, url, token, body string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(request)
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
