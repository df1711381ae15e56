package rpc

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the server's answers into testdata instead of comparing them")

// TestWire plays the scripts in testdata: each line "--> request" is posted, and the body that comes back must be the
// line "<-- answer" after it ("<--" alone: an empty body). Other lines are comments.
func TestWire(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts in testdata (%v)", err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".txt"), func(t *testing.T) {
			t.Parallel()
			backend := newFakeBackend()
			cfg := Config{Debug: backend, Baler: backend, Watch: &fakeWatcher{}}
			if strings.Contains(script, "no-debug") {
				cfg = Config{}
			}
			playScript(t, serve(t, backend, cfg).url, script)
		})
	}
}

func playScript(t *testing.T, url, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var played bytes.Buffer
	var answer *string // what the last request got, nil if it is compared already
	lines := bufio.NewScanner(bytes.NewReader(content))
	for number := 1; lines.Scan(); number++ {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "--> "):
			if answer != nil {
				t.Fatalf("%s:%d: a request before the answer to the last one", path, number)
			}
			got := post(t, url, line[4:])
			answer = &got
		case strings.HasPrefix(line, "<--"):
			if answer == nil {
				t.Fatalf("%s:%d: an answer without a request", path, number)
			}
			got := strings.TrimRight("<-- "+*answer, " \n")
			if got != line && !*rewrite {
				t.Errorf("%s:%d:\nhave %s\nwant %s", path, number, got, line)
			}
			line, answer = got, nil
		}
		fmt.Fprintln(&played, line)
	}
	if answer != nil {
		t.Fatalf("%s: ends without an answer", path)
	}
	if *rewrite {
		if err := os.WriteFile(path, played.Bytes(), 0o644); err != nil { //nolint:gosec // a file of the repository
			t.Fatal(err)
		}
	}
}

func post(t *testing.T, url, body string) string {
	t.Helper()
	return request(t, http.MethodPost, url, strings.NewReader(body), nil).body
}

// response is an HTTP response that was read to its end.
type response struct {
	status int
	header http.Header
	body   string
}

func request(t *testing.T, method, url string, body io.Reader, header http.Header) response {
	t.Helper()
	resp, err := tryRequest(t.Context(), method, url, body, header)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// tryRequest is request for goroutines, which may not end the test.
func tryRequest(ctx context.Context, method, url string, body io.Reader, header http.Header) (response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return response{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	maps.Copy(req.Header, header)
	if host := header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return response{resp.StatusCode, resp.Header, string(answer)}, err
}
