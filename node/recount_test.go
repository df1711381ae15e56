package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	urllib "net/url"
	"testing"

	"baler/chain"
	"baler/devchain"
	"baler/node"
	"baler/profit"
	"baler/signer"

	"github.com/google/go-cmp/cmp"
)

// withoutReceipts stands before a node and fails what asks for a receipt. It returns its URL.
func withoutReceipts(t *testing.T, url string) string {
	t.Helper()
	node, err := urllib.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(node)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || bytes.Contains(body, []byte("eth_getTransactionReceipt")) {
			http.Error(w, "not today", http.StatusServiceUnavailable)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// A journal says that a bundle was mined, and the books that were not durable yet do not. The next life enters it, also if it begins
// when the bundle is out of a reorg's reach and the journal is about to forget it.
func TestWhatTheBooksHaveMissedIsEnteredHoweverLongTheBundlerWasAway(t *testing.T) {
	t.Parallel()
	r, leases := &roles{line: newLine(), dir: t.TempDir()}, newKeyServer(t)
	r.stack = startStackOn(t, devchain.Config{Mining: devchain.Manual}, func(c *node.Config) {
		c.Signers, c.RemoteEdge = nil, edge{line: r.line}
	})
	leased := func(c *node.Config) {
		c.Signers, c.Keys = []signer.Signer{signer.NewPrivateKey(r.chain.Keys()[0])}, leases
	}
	booked := func(what string) (report *profit.Report) {
		t.Helper()
		eventually(t, what, func() (err error) {
			report, err = r.pool.Profit(t.Context(), profit.Query{Bundles: 10})
			if err == nil && report.Total.Bundles != 1 {
				err = errors.New("it is not in the books")
			}
			return err
		})
		return report
	}
	r.startLife(t, leased)
	r.bundled(t)
	want := booked("the bundle is in the books")
	r.stop()
	if _, err := r.chain.Mine(t.Context(), chain.ReorgDepth+6); err != nil {
		t.Fatal(err)
	}
	// A life between in which the node gives no receipt.
	r.dir = t.TempDir() // the journal is with the key
	r.nodeURL = withoutReceipts(t, r.chain.HTTPURL())
	r.startLife(t, leased)
	for range 3 {
		r.mine(t, 1)
		eventually(t, "the bundle sender sees the head", func() error {
			report, _ := r.pool.Health(t.Context())
			health, ok := report.(node.Health)
			if !ok || len(health.Senders) != 1 || health.Senders[0].Head < r.chain.Head().Number.Uint64() {
				return fmt.Errorf("have %+v", report)
			}
			return nil
		})
	}
	r.stop()
	r.dir, r.nodeURL = t.TempDir(), ""
	r.startLife(t, leased)
	r.mine(t, 1)
	have := booked("the bundle is in the books of the next life")
	if diff := cmp.Diff(want.Total, have.Total); diff != "" {
		t.Errorf("the books of the next life (-first +next):\n%s", diff)
	}
}
