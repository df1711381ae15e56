package node_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	urllib "net/url"
	"slices"
	"testing"

	"baler/chain"
	"baler/devchain"
	"baler/node"
	"baler/profit"
	"baler/signer"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
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

// onLeasedKey is a chain with an edge, and what makes a life of a node whose only key, with its journal, is on a server.
func onLeasedKey(t *testing.T) (r *roles, leased func(*node.Config)) {
	t.Helper()
	r = &roles{line: newLine(), dir: t.TempDir()}
	leases := newKeyServer(t)
	r.stack = startStackOn(t, devchain.Config{Mining: devchain.Manual}, func(c *node.Config) {
		c.Signers, c.RemoteEdge = nil, edge{line: r.line}
	})
	return r, func(c *node.Config) {
		c.Signers, c.Keys = []signer.Signer{signer.NewPrivateKey(r.chain.Keys()[0])}, leases
	}
}

// booked waits until the books have so many bundles, and returns them.
func (r *roles) booked(t *testing.T, bundles uint64) (report *profit.Report) {
	t.Helper()
	eventually(t, fmt.Sprintf("bundles in the books: %d", bundles), func() (err error) {
		report, err = r.pool.Profit(t.Context(), profit.Query{Bundles: 10})
		if err == nil && report.Total.Bundles != bundles {
			err = fmt.Errorf("have %d", report.Total.Bundles)
		}
		return err
	})
	return report
}

// stepped waits until the bundle senders have acted on the head.
func stepped(t *testing.T, n *node.Node, on *devchain.Chain) {
	t.Helper()
	head := on.Head().Number.Uint64()
	eventually(t, fmt.Sprintf("the bundle senders see block %d", head), func() error {
		report, _ := n.Health(t.Context())
		health, ok := report.(node.Health)
		if !ok || len(health.Senders) == 0 || slices.ContainsFunc(health.Senders, func(s node.SenderHealth) bool { return s.Head < head }) {
			return fmt.Errorf("have %+v", report)
		}
		return nil
	})
}

// A journal says that a bundle was mined, and the books that were not durable yet do not. The next life enters it, also if it begins
// when the bundle is out of a reorg's reach and the journal is about to forget it.
func TestWhatTheBooksHaveMissedIsEnteredHoweverLongTheBundlerWasAway(t *testing.T) {
	t.Parallel()
	r, leased := onLeasedKey(t)
	r.startLife(t, leased)
	r.bundled(t)
	want := r.booked(t, 1)
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
		stepped(t, r.pool, r.chain)
	}
	r.stop()
	r.dir, r.nodeURL = t.TempDir(), ""
	r.startLife(t, leased)
	r.mine(t, 1)
	have := r.booked(t, 1)
	if diff := cmp.Diff(want.Total, have.Total); diff != "" {
		t.Errorf("the books of the next life (-first +next):\n%s", diff)
	}
}

// A journal says that a reorg has taken a bundle back, and the process died before the books were durable without it.
func TestTheBooksLoseWhatAReorgHadTakenBackBeforeADeath(t *testing.T) {
	t.Parallel()
	r, leased := onLeasedKey(t)
	r.startLife(t, leased)
	f := r.bundled(t)
	want := r.booked(t, 1)
	r.stop()
	r.chain.Hold(nil)
	if err := r.chain.Reorg(t.Context(), f.parent); err != nil {
		t.Fatal(err)
	}
	with := r.dir
	r.dir = t.TempDir() // the journal is with the key, the books are not
	r.startLife(t, leased)
	r.mine(t, 2)
	stepped(t, r.pool, r.chain)
	r.stop()
	r.dir = with
	r.startLife(t, leased)
	r.booked(t, 0)
	r.chain.Release()
	r.mine(t, 1)
	if diff := cmp.Diff(want.Total, r.booked(t, 1).Total, cmpopts.IgnoreFields(profit.Sum{}, "Earned", "Cost")); diff != "" { // the base fee is another
		t.Errorf("the books (-before the reorg +after it):\n%s", diff)
	}
}
