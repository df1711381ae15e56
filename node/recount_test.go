package node_test

import (
	"errors"
	"testing"

	"baler/chain"
	"baler/devchain"
	"baler/node"
	"baler/profit"
	"baler/signer"

	"github.com/google/go-cmp/cmp"
)

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
	r.dir = t.TempDir() // the journal is with the key
	r.startLife(t, leased)
	r.mine(t, 1)
	have := booked("the bundle is in the books of the next life")
	if diff := cmp.Diff(want.Total, have.Total); diff != "" {
		t.Errorf("the books of the next life (-first +next):\n%s", diff)
	}
}
